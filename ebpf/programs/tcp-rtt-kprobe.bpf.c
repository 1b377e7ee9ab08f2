// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * tcp-rtt, variant kprobe: for kernels without typed tracepoints or without ring buffer.
 *
 * Memory is read with bpf_probe_read(), which is there since v4.1; bpf_probe_read_kernel() came with v5.5. On x86-64 and
 * arm64, where an address tells by itself whether it is the kernel's, both do the same. tcp_rcv_established() is probed
 * at its entry, so the values are those after the segment before.
 */
#define READ_BY_PROBE
#include "tcp-rtt-live.h"
#include "tcp-rtt-perf.h"
#include <portolan/pt_regs.h>

DUAL_LICENSE;

/* void tcp_rcv_established(struct sock *sk, struct sk_buff *skb, …) */
SEC("kprobe/tcp_rcv_established")
int tcp_rcv_established(struct pt_regs *ctx)
{
	update_connection((struct sock *)pt_regs_param1(ctx));
	return 0;
}

/* int tcp_retransmit_skb(struct sock *sk, …): at its entry, so this segment counts with the next update only. */
SEC("kprobe/tcp_retransmit_skb")
int tcp_retransmit_skb(struct pt_regs *ctx)
{
	update_connection((struct sock *)pt_regs_param1(ctx));
	return 0;
}

/* void tcp_v4_destroy_sock(struct sock *sk): called through a pointer, hence never inlined. IPv6 sockets pass here too. */
SEC("kprobe/tcp_v4_destroy_sock")
int tcp_v4_destroy_sock(struct pt_regs *ctx)
{
	struct record final;

	if (finish_connection((struct sock *)pt_regs_param1(ctx), &final))
		put_out(ctx, &final);
	return 0;
}
