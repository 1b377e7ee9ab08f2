// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * tcp-rtt, variant iter: each read of the iterator's file gives the record of every connection that exists then, in the
 * network namespace of the process that opened it. Nothing runs in the path of packets.
 */
#include "tcp-rtt-sock.h"

DUAL_LICENSE;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} KERNEL_TYPE;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} KERNEL_TYPE;

SEC("iter/tcp")
int tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *skc = ctx->sk_common;
	struct record record = {};
	struct tcp_sock *tp;

	/* The last call has no socket; listeners have no connection; sockets in TIME_WAIT are no tcp_sock. */
	if (!skc || skc->skc_state == TCP_LISTEN)
		return 0;
	tp = bpf_skc_to_tcp_sock(skc);
	if (!tp)
		return 0;
	read_connection(&record, tp);
	read_values(&record, tp);
	bpf_seq_write(ctx->meta->seq, &record, sizeof(record));
	return 0;
}
