/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * packet-drop: how many packets and bytes the kernel dropped, where and why.
 *
 * All variants count in one map, each CPU for itself. Nothing is put out per packet: a storm of drops costs one addition
 * each, and its reader asks as often as it likes. What a variant cannot see is 0.
 */
#ifndef PACKET_DROP_H
#define PACKET_DROP_H

#include <portolan/bpf.h>

struct drop_key {
	__u64 location; /* return address in the kernel's code, for kallsyms */
	/*
	 * enum skb_drop_reason as this kernel numbers it: numbers change between kernels, its BTF has the names.
	 * Upper half: the subsystem that defines the reason (since v6.4).
	 */
	__u32 reason;
	__u32 ingress_ifindex; /* the interface the packet came in on; 0: sent by this node */
	__u16 protocol;        /* EtherType, host byte order */
	__u16 reason_given;    /* 0 where the kernel's code says SKB_DROP_REASON_NOT_SPECIFIED: go by `location` */
	__u32 zero;            /* fills up the key */
};

struct drop_count {
	__u64 packets;
	__u64 bytes;   /* from the header that the packet's data began with where it was dropped */
	__u64 last_ns; /* CLOCK_MONOTONIC */
};

/*
 * A kernel has a few hundred places that drop, a node sees dozens. A slot for each CPU is paid for in each entry: with 256
 * CPUs this is 6 MiB.
 */
struct {
	map_number(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	map_number(max_entries, 1024);
	map_type(key, struct drop_key);
	map_type(value, struct drop_count);
} drops SEC(".maps");

static inline void count_drop(const struct drop_key *key, __u64 bytes)
{
	struct drop_count *count = bpf_map_lookup_elem(&drops, key);

	if (!count) {
		struct drop_count none = {};

		/* Another CPU may enter the key first; then this fails, and the entry is there all the same. */
		bpf_map_update_elem(&drops, key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&drops, key);
		if (!count)
			return;
	}
	/* An interrupt may drop a packet in the middle of an addition: they are atomic although each CPU has its own. */
	__sync_fetch_and_add(&count->packets, 1);
	__sync_fetch_and_add(&count->bytes, bytes);
	count->last_ns = bpf_ktime_get_ns();
}

#endif
