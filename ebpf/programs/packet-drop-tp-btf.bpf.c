// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* packet-drop, variant tp-btf: the raw tracepoint with typed arguments. */
#include "packet-drop-skb.h"

DUAL_LICENSE;

/*
 * TP_PROTO(struct sk_buff *skb, void *location, enum skb_drop_reason reason), since v5.17;
 * v6.11 appended struct sock *rx_sk.
 */
SEC("tp_btf/kfree_skb")
int kfree_skb(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct drop_key key = {};

	key.location = ctx[1];
	set_reason(&key, ctx[2]);
	key.ingress_ifindex = skb->skb_iif;
	key.protocol = ntohs(skb->protocol);
	count_drop(&key, skb->len);
	return 0;
}
