// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * packet-drop, variant raw-tp: the raw tracepoint with untyped arguments, for which the kernel needs no BTF of its own
 * once the object is relocated. The packet is read with bpf_probe_read_kernel(): any kernel with a reason has it.
 */
#include "packet-drop-skb.h"

DUAL_LICENSE;

/* Arguments as in variant tp-btf. */
SEC("raw_tp/kfree_skb")
int kfree_skb(__u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct drop_key key = {};

	key.location = ctx[1];
	set_reason(&key, ctx[2]);
	key.ingress_ifindex = core_read(bpf_probe_read_kernel, skb->skb_iif);
	key.protocol = ntohs(core_read(bpf_probe_read_kernel, skb->protocol));
	count_drop(&key, core_read(bpf_probe_read_kernel, skb->len));
	return 0;
}
