// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * tcp-rtt, variant tp-btf: raw tracepoints with typed arguments.
 *
 * tcp_probe is passed by each segment of an established connection before the segment is processed: the values read
 * there are those after the segment before it. tcp_retransmit_skb shows a peer that has fallen silent. At
 * tcp_destroy_sock the values are final.
 */
#include "tcp-rtt-live.h"
#include "tcp-rtt-ringbuf.h"

DUAL_LICENSE;

/* TP_PROTO(struct sock *sk, const struct sk_buff *skb) */
SEC("tp_btf/tcp_probe")
int tcp_probe(__u64 *ctx)
{
	update_connection((struct sock *)ctx[0]);
	return 0;
}

/* TP_PROTO(const struct sock *sk, const struct sk_buff *skb), later kernels append int err; the segment counts already. */
SEC("tp_btf/tcp_retransmit_skb")
int tcp_retransmit_skb(__u64 *ctx)
{
	update_connection((struct sock *)ctx[0]);
	return 0;
}

/* TP_PROTO(struct sock *sk) */
SEC("tp_btf/tcp_destroy_sock")
int tcp_destroy_sock(__u64 *ctx)
{
	struct record final;

	if (finish_connection((struct sock *)ctx[0], &final))
		put_out(&final);
	return 0;
}
