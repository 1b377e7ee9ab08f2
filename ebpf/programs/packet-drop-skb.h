/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * packet-drop: what the dropped packet itself tells. skb->dev is left alone: UDP keeps something else in its place.
 */
#ifndef PACKET_DROP_SKB_H
#define PACKET_DROP_SKB_H

#include "packet-drop-reason.h"

struct sk_buff {
	unsigned int len;
	int skb_iif;
	__be16 protocol;
} KERNEL_TYPE;

#endif
