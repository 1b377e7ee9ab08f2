/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * flow-meter on socket buffers. Headers are loaded relative to the network header, which is right with and without a link
 * header and for buffers in pieces. Only UAPI is used: no BTF of the kernel is needed.
 */
#ifndef FLOW_METER_SKB_H
#define FLOW_METER_SKB_H

#include <portolan/uapi.h>

typedef struct __sk_buff packet_ctx;
#include "flow-meter.h"

static inline bool load(packet_ctx *ctx, __u32 offset, void *to, __u32 byte_sz)
{
	return bpf_skb_load_bytes_relative(ctx, offset, to, byte_sz, BPF_HDR_START_NET) == 0;
}

static inline __u8 ip_version(packet_ctx *ctx, __u32 offset)
{
	__u8 first = 0;

	load(ctx, offset, &first, sizeof(first));
	return first >> 4;
}

static inline __u16 ether_type_of(__u8 ip_version)
{
	return ip_version == 4 ? ETH_P_IP : ip_version == 6 ? ETH_P_IPV6 : 0;
}

static inline void meter(packet_ctx *ctx, enum direction direction)
{
	struct flow_key key = {.ifindex = ctx->ifindex, .direction = direction};
	__u16 ether_type = ntohs((__u16)ctx->protocol);
	struct packet_size size = {};
	__u32 offset = 0, packets = 1, gso_size;

	/*
	 * The outermost VLAN tag is metadata of the buffer. If the protocol is VLAN nevertheless, a tag stands in the
	 * packet: at the network header (QinQ, received) or before it (sent by an interface that does not insert tags).
	 */
	if (is_vlan(ether_type)) {
		struct vlan_tag tag;

		if (!load(ctx, offset, &tag, sizeof(tag)))
			return;
		ether_type = ether_type_of(ip_version(ctx, sizeof(tag)));
		if (ether_type && ether_type == ntohs(tag.protocol))
			offset = sizeof(tag);
		else
			ether_type = ether_type_of(ip_version(ctx, 0));
	}
	if (!parse(ctx, offset, ether_type, &key, &size))
		return;
	if (!size.total)
		size.total = ctx->len; /* with the link header, there being no better number */
	gso_size = ctx->gso_size;
	if (gso_size && size.total > size.headers) {
		packets = (size.total - size.headers + gso_size - 1) / gso_size;
		size.total += (packets - 1) * size.headers;
	}
	count_flow(&key, packets, size.total);
}

#endif
