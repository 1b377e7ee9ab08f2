/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * flow-meter: packets and bytes of each flow on an interface.
 *
 * Bytes are those of IP packets as on the wire: from the first byte of the outermost IP header to the last of its payload,
 * without link header and padding. Where the kernel hands over a train of segments as one packet (GSO, GRO), its segments
 * are counted, and the IP and TCP or UDP header is added for each but the first.
 */
#ifndef FLOW_METER_H
#define FLOW_METER_H

#include <portolan/bpf.h>
#include <portolan/uapi.h>

enum direction {
	INGRESS = 0,
	EGRESS = 1,
};

/* A flow as its packets name it, in 48 bytes. One connection is two flows. */
struct flow_key {
	__u8 src_addr[16]; /* IPv6 in network byte order; IPv4 as ::ffff:a.b.c.d */
	__u8 dst_addr[16];
	__u16 src_port; /* host byte order; 0 if not TCP, UDP or SCTP, or in a fragment after the first */
	__u16 dst_port;
	__u32 ifindex;
	__u8 protocol;  /* IPPROTO_*: that behind the IPv6 extension headers */
	__u8 direction; /* enum direction */
	__u8 zero[6];   /* fills up the key */
};

struct flow_count {
	__u64 packets;
	__u64 bytes;
	__u64 first_ns; /* CLOCK_MONOTONIC */
	__u64 last_ns;
};

/*
 * 16384 flows in about 2 MiB. All CPUs share the counters: a flow mostly stays on one CPU, so additions seldom meet,
 * whereas a slot for each CPU in each entry would take 128 MiB on a node with 256 of them. Beyond that number the flows idle
 * for longest leave the map.
 */
struct {
	map_number(type, BPF_MAP_TYPE_LRU_HASH);
	map_number(max_entries, 16384);
	map_type(key, struct flow_key);
	map_type(value, struct flow_count);
} flows SEC(".maps");

static inline void count_flow(const struct flow_key *key, __u64 packets, __u64 bytes)
{
	struct flow_count *count = bpf_map_lookup_elem(&flows, key);
	__u64 now_ns = bpf_ktime_get_ns();

	if (!count) {
		struct flow_count none = {.first_ns = now_ns};

		/* Another CPU may enter the flow first; then this fails, and the entry is there all the same. */
		bpf_map_update_elem(&flows, key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&flows, key);
		if (!count)
			return;
	}
	__sync_fetch_and_add(&count->packets, packets);
	__sync_fetch_and_add(&count->bytes, bytes);
	count->last_ns = now_ns;
}

/* include/uapi/linux/if_ether.h */
#define ETH_P_IP 0x0800
#define ETH_P_8021Q 0x8100
#define ETH_P_IPV6 0x86dd
#define ETH_P_8021AD 0x88a8

struct vlan_tag {
	__be16 tci;
	__be16 protocol; /* of what follows */
};

/* include/uapi/linux/in.h, in6.h */
#define IPPROTO_HOPOPTS 0
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_AH 51
#define IPPROTO_DSTOPTS 60
#define IPPROTO_SCTP 132

/* include/uapi/linux/ip.h; the halves of the first byte are taken by shifting, whatever the byte order. */
struct iphdr {
	__u8 version_ihl;
	__u8 tos;
	__be16 tot_len;
	__be16 id;
	__be16 frag_off; /* the lower 13 bits are the offset */
	__u8 ttl;
	__u8 protocol;
	__be16 check;
	__be32 saddr;
	__be32 daddr;
};

#define IP_OFFSET_MASK 0x1fff

/* include/uapi/linux/ipv6.h */
struct ipv6hdr {
	__u8 version_class;
	__u8 class_label[3];
	__be16 payload_len;
	__u8 nexthdr;
	__u8 hop_limit;
	__be32 saddr[4];
	__be32 daddr[4];
};

/* The first 8 bytes of any IPv6 extension header. */
struct ipv6_ext {
	__u8 nexthdr;
	__u8 hdrlen;     /* beyond the first 8 bytes, in units of 8; AH: of 4; a fragment header has 8 bytes always */
	__be16 frag_off; /* of a fragment header: the upper 13 bits are the offset */
	__u32 rest;
};

#define IPV6_OFFSET_MASK 0xfff8

/* Extension headers walked through: five kinds, one of which may stand twice (RFC 8200, section 4.1). */
#define IPV6_EXT_MAX 6

/* TCP, UDP and SCTP begin with the ports. */
struct l4_ports {
	__be16 source;
	__be16 dest;
};

#define UDP_HEADER_BYTE_SZ 8
/* Where TCP has its header's length in 4 bytes, in the upper half of a byte. */
#define TCP_DOFF_OFFSET 12

/* What is known of a packet besides its flow. */
struct packet_size {
	__u32 total;   /* the IP packet; 0 if its header cannot hold the number (BIG TCP) */
	__u32 headers; /* the headers that each segment of it carries */
};

static inline bool is_vlan(__u16 ether_type)
{
	return ether_type == ETH_P_8021Q || ether_type == ETH_P_8021AD;
}

static inline void ipv4_mapped(__u8 addr[16], __be32 ipv4)
{
	__u32 *words = (__u32 *)addr;

	words[0] = 0;
	words[1] = 0;
	words[2] = htonl(0xffff);
	words[3] = ipv4;
}

/* Copies bytes of the packet; false if it is shorter. Each variant has its own way, on its own `packet_ctx`. */
static inline bool load(packet_ctx *ctx, __u32 offset, void *to, __u32 byte_sz);

static inline bool load_ports(packet_ctx *ctx, __u32 offset, struct flow_key *key, struct packet_size *size)
{
	struct l4_ports ports;
	__u8 doff;

	if (key->protocol != IPPROTO_TCP && key->protocol != IPPROTO_UDP && key->protocol != IPPROTO_SCTP)
		return 1;
	if (!load(ctx, offset, &ports, sizeof(ports)))
		return 0;
	key->src_port = ntohs(ports.source);
	key->dst_port = ntohs(ports.dest);
	if (key->protocol == IPPROTO_UDP)
		size->headers += UDP_HEADER_BYTE_SZ;
	else if (key->protocol == IPPROTO_TCP && load(ctx, offset + TCP_DOFF_OFFSET, &doff, sizeof(doff)))
		size->headers += (doff >> 4) * 4;
	return 1;
}

static inline bool parse_ipv4(packet_ctx *ctx, __u32 offset, struct flow_key *key, struct packet_size *size)
{
	struct iphdr ip;

	if (!load(ctx, offset, &ip, sizeof(ip)) || ip.version_ihl >> 4 != 4)
		return 0;
	ipv4_mapped(key->src_addr, ip.saddr);
	ipv4_mapped(key->dst_addr, ip.daddr);
	key->protocol = ip.protocol;
	size->total = ntohs(ip.tot_len);
	size->headers = (ip.version_ihl & 0xf) * 4;
	if (ntohs(ip.frag_off) & IP_OFFSET_MASK)
		return 1;
	return load_ports(ctx, offset + size->headers, key, size);
}

static inline bool parse_ipv6(packet_ctx *ctx, __u32 offset, struct flow_key *key, struct packet_size *size)
{
	struct ipv6hdr ip;
	struct ipv6_ext ext;

	if (!load(ctx, offset, &ip, sizeof(ip)) || ip.version_class >> 4 != 6)
		return 0;
	__builtin_memcpy(key->src_addr, ip.saddr, sizeof(key->src_addr));
	__builtin_memcpy(key->dst_addr, ip.daddr, sizeof(key->dst_addr));
	key->protocol = ip.nexthdr;
	size->headers = sizeof(ip);
	if (ip.payload_len)
		size->total = sizeof(ip) + ntohs(ip.payload_len);

#pragma unroll
	for (int i = 0; i < IPV6_EXT_MAX; i++) {
		if (key->protocol != IPPROTO_HOPOPTS && key->protocol != IPPROTO_ROUTING &&
		    key->protocol != IPPROTO_FRAGMENT && key->protocol != IPPROTO_AH &&
		    key->protocol != IPPROTO_DSTOPTS)
			break;
		if (!load(ctx, offset + size->headers, &ext, sizeof(ext)))
			return 0;
		if (key->protocol == IPPROTO_FRAGMENT) {
			size->headers += sizeof(ext);
			if (ntohs(ext.frag_off) & IPV6_OFFSET_MASK) {
				key->protocol = ext.nexthdr;
				return 1;
			}
		} else if (key->protocol == IPPROTO_AH) {
			size->headers += (ext.hdrlen + 2) * 4;
		} else {
			size->headers += (ext.hdrlen + 1) * 8;
		}
		key->protocol = ext.nexthdr;
	}
	return load_ports(ctx, offset + size->headers, key, size);
}

/* Fills in the flow of the IP packet at `offset`; false if there is none, or only a part of its headers. */
static inline bool parse(packet_ctx *ctx, __u32 offset, __u16 ether_type, struct flow_key *key,
			 struct packet_size *size)
{
	if (ether_type == ETH_P_IP)
		return parse_ipv4(ctx, offset, key, size);
	if (ether_type == ETH_P_IPV6)
		return parse_ipv6(ctx, offset, key, size);
	return 0;
}

#endif
