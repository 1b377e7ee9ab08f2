// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* flow-meter, variant tcx: programs in the interface's own list, each owned by a link. */
#include "flow-meter-skb.h"

DUAL_LICENSE;

SEC("tcx/ingress")
int flow_ingress(struct __sk_buff *ctx)
{
	meter(ctx, INGRESS);
	return TCX_NEXT;
}

SEC("tcx/egress")
int flow_egress(struct __sk_buff *ctx)
{
	meter(ctx, EGRESS);
	return TCX_NEXT;
}
