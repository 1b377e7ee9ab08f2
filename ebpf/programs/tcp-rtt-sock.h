/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * tcp-rtt: a record read from the kernel's `struct tcp_sock`.
 *
 * Where the verifier knows the types of pointers, members are read as they stand, and a pointer that leads nowhere reads
 * as zero. A file that defines READ_BY_PROBE gets the same through bpf_probe_read().
 */
#ifndef TCP_RTT_SOCK_H
#define TCP_RTT_SOCK_H

#include "tcp-rtt.h"
#include <portolan/core.h>
#include <portolan/uapi.h>

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
} KERNEL_TYPE;

struct ns_common {
	__u32 inum;
} KERNEL_TYPE;

struct net {
	struct ns_common ns;
} KERNEL_TYPE;

typedef struct {
	struct net *net;
} KERNEL_TYPE possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
} KERNEL_TYPE;

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
} KERNEL_TYPE;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} KERNEL_TYPE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 srtt_us;
	__u32 mdev_us;
	__u32 total_retrans;
} KERNEL_TYPE;

#ifdef READ_BY_PROBE
#define READ(member) core_read(bpf_probe_read, member)
/* Every `struct sock` that a TCP function is called with begins a `struct tcp_sock`. */
#define tcp_sock_of(sk) ((struct tcp_sock *)(sk))
#else
#define READ(member) (member)
/* NULL if the socket is none of TCP or only a request or in TIME_WAIT. */
#define tcp_sock_of(sk) ((struct tcp_sock *)bpf_skc_to_tcp_sock(sk))
#endif

static inline void read_in6(__u8 addr[16], struct in6_addr *in6)
{
	__u32 *words = (__u32 *)addr;

	words[0] = READ(in6->in6_u.u6_addr32[0]);
	words[1] = READ(in6->in6_u.u6_addr32[1]);
	words[2] = READ(in6->in6_u.u6_addr32[2]);
	words[3] = READ(in6->in6_u.u6_addr32[3]);
}

/* Who talks to whom. The local port is inet_sport: skc_num is 0 again when a closed socket is destroyed. */
static inline void read_connection(struct record *record, struct tcp_sock *tp)
{
	struct inet_sock *inet = &tp->inet_conn.icsk_inet;
	struct sock_common *skc = &inet->sk.__sk_common;

	/* Kernels without CONFIG_NET_NS or CONFIG_IPV6 lack the members asked for here. */
	if (core_field_exists(skc->skc_net.net)) {
		struct net *net = READ(skc->skc_net.net);

		record->netns = READ(net->ns.inum);
	}
	record->local_port = ntohs(READ(inet->inet_sport));
	record->remote_port = ntohs(READ(skc->skc_dport));
	if (READ(skc->skc_family) == AF_INET) {
		ipv4_mapped(record->local_addr, READ(skc->skc_rcv_saddr));
		ipv4_mapped(record->remote_addr, READ(skc->skc_daddr));
	} else if (core_field_exists(skc->skc_v6_daddr)) {
		/* The IPv4 addresses of a dual-stack socket stand here as ::ffff:a.b.c.d already. */
		read_in6(record->local_addr, &skc->skc_v6_rcv_saddr);
		read_in6(record->remote_addr, &skc->skc_v6_daddr);
	}
}

static inline void read_values(struct record *record, struct tcp_sock *tp)
{
	record->updated_ns = bpf_ktime_get_ns();
	record->srtt_us = READ(tp->srtt_us) >> 3;   /* kept in eighths of a microsecond */
	record->jitter_us = READ(tp->mdev_us) >> 2; /* kept in quarters of one */
	record->retransmits = READ(tp->total_retrans);
	record->updates++;
}

#endif
