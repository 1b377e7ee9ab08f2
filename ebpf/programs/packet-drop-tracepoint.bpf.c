// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * packet-drop, variant tracepoint: only what the tracepoint itself records. No memory of the kernel is read, which
 * lockdown=confidentiality would forbid.
 */
#include "packet-drop-reason.h"

DUAL_LICENSE;

/* The record of the tracepoint, whose members move from kernel to kernel (v5.17, v6.11). */
struct trace_event_raw_kfree_skb {
	void *location;
	unsigned short protocol;
	enum skb_drop_reason reason;
} KERNEL_TYPE;

SEC("tracepoint/skb/kfree_skb")
int kfree_skb(struct trace_event_raw_kfree_skb *ctx)
{
	struct drop_key key = {};

	key.location = (__u64)ctx->location;
	set_reason(&key, ctx->reason);
	key.protocol = ctx->protocol;
	count_drop(&key, 0);
	return 0;
}
