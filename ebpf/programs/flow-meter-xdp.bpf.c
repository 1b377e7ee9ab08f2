// SPDX-License-Identifier: GPL-2.0-only OR MIT
/* flow-meter, variant xdp: received frames, in the driver, before the kernel makes a socket buffer of them. */
#include <portolan/uapi.h>

typedef struct xdp_md packet_ctx;
#include "flow-meter.h"

DUAL_LICENSE;

/* include/uapi/linux/if_ether.h */
struct ethhdr {
	__u8 h_dest[6];
	__u8 h_source[6];
	__be16 h_proto;
};

/* Far beyond all headers: the verifier wants a bound for what is added to a packet pointer. */
#define OFFSET_MASK 0x1fff

static inline bool load(packet_ctx *ctx, __u32 offset, void *to, __u32 byte_sz)
{
	void *from = (void *)(__u64)ctx->data + (offset & OFFSET_MASK);

	if (from + byte_sz > (void *)(__u64)ctx->data_end)
		return 0;
	__builtin_memcpy(to, from, byte_sz);
	return 1;
}

SEC("xdp")
int flow_ingress(struct xdp_md *ctx)
{
	struct flow_key key = {.ifindex = ctx->ingress_ifindex, .direction = INGRESS};
	struct packet_size size = {};
	__u32 offset = sizeof(struct ethhdr);
	struct ethhdr eth;
	struct vlan_tag tag;
	__u16 ether_type;

	if (!load(ctx, 0, &eth, sizeof(eth)))
		return XDP_PASS;
	ether_type = ntohs(eth.h_proto);
#pragma unroll
	for (int tags = 0; tags < 2; tags++) {
		if (!is_vlan(ether_type) || !load(ctx, offset, &tag, sizeof(tag)))
			break;
		offset += sizeof(tag);
		ether_type = ntohs(tag.protocol);
	}
	if (parse(ctx, offset, ether_type, &key, &size))
		count_flow(&key, 1, size.total);
	return XDP_PASS;
}
