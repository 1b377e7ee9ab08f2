// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * tcp-rtt, variant sockops: TCP calls the program back for the sockets of a cgroup (v2) and hands over UAPI members: no
 * type of the kernel is read, so no BTF is needed anywhere.
 *
 * BPF_SOCK_OPS_RTT_CB comes once a round trip, from within tcp_rtt_estimator() before that writes srtt_us: the value is
 * that of the sample before.
 */
#include "tcp-rtt-map.h"
#include "tcp-rtt-perf.h"
#include <portolan/uapi.h>

DUAL_LICENSE;

/* `remote_port` is loaded as 16 bits and on little endian shifted to the upper half: swapping the whole is right on both. */
static inline __u16 remote_port(struct bpf_sock_ops *ctx)
{
	return ntohl(ctx->remote_port);
}

static inline void read_connection(struct record *record, struct bpf_sock_ops *ctx)
{
	__u32 *local = (__u32 *)record->local_addr;
	__u32 *remote = (__u32 *)record->remote_addr;

	record->local_port = ctx->local_port;
	record->remote_port = remote_port(ctx);
	if (ctx->family == AF_INET) {
		ipv4_mapped(record->local_addr, ctx->local_ip4);
		ipv4_mapped(record->remote_addr, ctx->remote_ip4);
		return;
	}
	local[0] = ctx->local_ip6[0];
	local[1] = ctx->local_ip6[1];
	local[2] = ctx->local_ip6[2];
	local[3] = ctx->local_ip6[3];
	remote[0] = ctx->remote_ip6[0];
	remote[1] = ctx->remote_ip6[1];
	remote[2] = ctx->remote_ip6[2];
	remote[3] = ctx->remote_ip6[3];
}

static inline void read_values(struct record *record, struct bpf_sock_ops *ctx)
{
	record->updated_ns = bpf_ktime_get_ns();
	record->srtt_us = ctx->srtt_us >> 3; /* kept in eighths of a microsecond */
	record->jitter_us = JITTER_UNKNOWN;
	record->retransmits = ctx->total_retrans;
	record->updates++;
}

static inline void update_connection(struct bpf_sock_ops *ctx)
{
	__u64 key = bpf_get_socket_cookie(ctx);
	struct record *known = bpf_map_lookup_elem(&connections, &key);
	struct record record = {};

	if (known) {
		read_values(known, ctx);
		return;
	}
	read_connection(&record, ctx);
	read_values(&record, ctx);
	bpf_map_update_elem(&connections, &key, &record, BPF_ANY);
}

static inline void finish_connection(struct bpf_sock_ops *ctx)
{
	__u64 key = bpf_get_socket_cookie(ctx);
	struct record *known = bpf_map_lookup_elem(&connections, &key);
	struct record final;

	if (!known)
		return;
	final = *known;
	bpf_map_delete_elem(&connections, &key);
	if (ctx->srtt_us)
		read_values(&final, ctx);
	put_out(ctx, &final);
}

SEC("sockops")
int tcp_callback(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		/* Other programs of the cgroup may have asked for callbacks of their own. */
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_RTT_CB_FLAG |
						       BPF_SOCK_OPS_RETRANS_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG);
		update_connection(ctx);
		break;
	case BPF_SOCK_OPS_RTT_CB:
	case BPF_SOCK_OPS_RETRANS_CB:
		update_connection(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		/* args: the state before, the state to come. */
		if (ctx->args[1] == TCP_CLOSE)
			finish_connection(ctx);
		break;
	}
	return 1;
}
