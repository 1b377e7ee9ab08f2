/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * tcp-rtt: smoothed round-trip time, jitter and retransmissions of each TCP connection.
 *
 * All variants give the same record of a connection. The values are those of TCP_INFO: srtt_us is tcpi_rtt, jitter_us is
 * tcpi_rttvar, retransmits is tcpi_total_retrans.
 */
#ifndef TCP_RTT_H
#define TCP_RTT_H

#include <portolan/bpf.h>

/* jitter_us of a variant that cannot see it. */
#define JITTER_UNKNOWN 0xffffffffU

/* A connection, in 64 bytes without padding. */
struct record {
	__u64 updated_ns;    /* CLOCK_MONOTONIC */
	__u32 srtt_us;       /* smoothed round-trip time */
	__u32 jitter_us;     /* its mean deviation */
	__u32 retransmits;   /* segments sent again since the connection began */
	__u32 netns;         /* inode number of the network namespace; 0 if the variant cannot see it */
	__u8 local_addr[16]; /* IPv6 in network byte order; IPv4 as ::ffff:a.b.c.d */
	__u8 remote_addr[16];
	__u16 local_port; /* host byte order */
	__u16 remote_port;
	__u32 updates; /* how often this record was updated */
};

static inline void ipv4_mapped(__u8 addr[16], __be32 ipv4)
{
	__u32 *words = (__u32 *)addr;

	words[0] = 0;
	words[1] = 0;
	words[2] = htonl(0xffff);
	words[3] = ipv4;
}

#endif
