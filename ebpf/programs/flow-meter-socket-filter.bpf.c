// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * flow-meter, variant socket-filter: the filter of a packet socket bound to the interface. It keeps nothing of a packet, so
 * nothing is queued on the socket; the interface's own hooks stay as they are.
 */
#include "flow-meter-skb.h"

DUAL_LICENSE;

/* include/uapi/linux/if_packet.h */
#define PACKET_OUTGOING 4

SEC("socket")
int flow_both(struct __sk_buff *ctx)
{
	meter(ctx, ctx->pkt_type == PACKET_OUTGOING ? EGRESS : INGRESS);
	return 0;
}
