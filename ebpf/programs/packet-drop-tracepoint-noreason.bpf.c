// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* packet-drop, variant tracepoint-noreason: the tracepoint as it was before v5.17. */
#include "packet-drop.h"
#include <portolan/core.h>

DUAL_LICENSE;

struct trace_event_raw_kfree_skb {
	void *location;
	unsigned short protocol;
} KERNEL_TYPE;

SEC("tracepoint/skb/kfree_skb")
int kfree_skb(struct trace_event_raw_kfree_skb *ctx)
{
	struct drop_key key = {};

	key.location = (__u64)ctx->location;
	key.protocol = ctx->protocol;
	count_drop(&key, 0);
	return 0;
}
