// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * tcp-rtt, variant fexit: the return of tcp_rcv_established(), where the segment just received counts already. What is sent
 * again is seen at a tracepoint, as in variant tp-btf.
 */
#include "tcp-rtt-live.h"
#include "tcp-rtt-ringbuf.h"

DUAL_LICENSE;

/* void tcp_rcv_established(struct sock *sk, struct sk_buff *skb) */
SEC("fexit/tcp_rcv_established")
int tcp_rcv_established(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	/* A reset may have closed and destroyed the socket meanwhile: a record made now would never be finished. */
	if (sk->__sk_common.skc_state != TCP_CLOSE)
		update_connection(sk);
	return 0;
}

/* TP_PROTO(const struct sock *sk, const struct sk_buff *skb), later kernels append int err; the segment counts already. */
SEC("tp_btf/tcp_retransmit_skb")
int tcp_retransmit_skb(__u64 *ctx)
{
	update_connection((struct sock *)ctx[0]);
	return 0;
}

/* void tcp_v4_destroy_sock(struct sock *sk): IPv6 sockets pass here too. */
SEC("fentry/tcp_v4_destroy_sock")
int tcp_v4_destroy_sock(__u64 *ctx)
{
	struct record final;

	if (finish_connection((struct sock *)ctx[0], &final))
		put_out(&final);
	return 0;
}
