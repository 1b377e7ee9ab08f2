// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* flow-meter, variant cgroup-skb: the packets of the sockets of a cgroup (v2), on whatever interface. */
#include "flow-meter-skb.h"

DUAL_LICENSE;

/* 1 lets the packet pass. */
SEC("cgroup_skb/ingress")
int flow_ingress(struct __sk_buff *ctx)
{
	meter(ctx, INGRESS);
	return 1;
}

SEC("cgroup_skb/egress")
int flow_egress(struct __sk_buff *ctx)
{
	meter(ctx, EGRESS);
	return 1;
}
