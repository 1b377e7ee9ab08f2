// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * flow-meter, variant tc: direct-action filters of a clsact qdisc. They answer TC_ACT_UNSPEC, not TC_ACT_OK, which would
 * keep the filters after them from seeing the packet.
 */
#include "flow-meter-skb.h"

DUAL_LICENSE;

SEC("tc")
int flow_ingress(struct __sk_buff *ctx)
{
	meter(ctx, INGRESS);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int flow_egress(struct __sk_buff *ctx)
{
	meter(ctx, EGRESS);
	return TC_ACT_UNSPEC;
}
