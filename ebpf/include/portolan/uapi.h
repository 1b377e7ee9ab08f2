/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Contexts of the network program types, from include/uapi/linux/bpf.h. UAPI never moves a member, so they are declared
 * up to the last one read, without CO-RE: an object that reads only these needs no BTF of the kernel.
 */
#ifndef PORTOLAN_UAPI_H
#define PORTOLAN_UAPI_H

#include <portolan/bpf.h>

/* The verifier takes a context pointer only as it came: each access keeps its own constant offset. */
#define CONTEXT __attribute__((preserve_static_offset))

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__be32 protocol; /* a __be16 in the lower half */
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
	__u32 napi_id;
	__u32 family;
	__u32 remote_ip4;
	__u32 local_ip4;
	__u32 remote_ip6[4];
	__u32 local_ip6[4];
	__u32 remote_port;
	__u32 local_port;
	__u32 data_meta;
	__u64 flow_keys;
	__u64 tstamp;
	__u32 wire_len;
	__u32 gso_segs;
	__u64 sk;
	__u32 gso_size; /* since v5.7 */
} CONTEXT;

struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
} CONTEXT;

struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family;
	__be32 remote_ip4;
	__be32 local_ip4;
	__be32 remote_ip6[4];
	__be32 local_ip6[4];
	__be32 remote_port; /* a __be16 in the upper half of the value on little endian, see remote_port() */
	__u32 local_port; /* host byte order */
	__u32 is_fullsock;
	__u32 snd_cwnd;
	__u32 srtt_us; /* smoothed RTT, left shift 3 */
	__u32 bpf_sock_ops_cb_flags;
	__u32 state;
	__u32 rtt_min;
	__u32 snd_ssthresh;
	__u32 rcv_nxt;
	__u32 snd_nxt;
	__u32 snd_una;
	__u32 mss_cache;
	__u32 ecn_flags;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	__u32 packets_out;
	__u32 retrans_out;
	__u32 total_retrans;
} CONTEXT;

#define BPF_SOCK_OPS_RETRANS_CB_FLAG 2
#define BPF_SOCK_OPS_STATE_CB_FLAG 4
#define BPF_SOCK_OPS_RTT_CB_FLAG 8 /* since v5.3 */

#define BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB 4
#define BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB 5
#define BPF_SOCK_OPS_RETRANS_CB 9
#define BPF_SOCK_OPS_STATE_CB 10
#define BPF_SOCK_OPS_RTT_CB 12

/* include/net/tcp_states.h; bpf.h repeats the numbers as BPF_TCP_*. */
#define TCP_CLOSE 7
#define TCP_LISTEN 10

/* Return values: go on with the next program or filter. include/uapi/linux/bpf.h, pkt_cls.h. */
#define TCX_NEXT (-1)
#define TC_ACT_UNSPEC (-1)
#define XDP_PASS 2

/* Offsets of bpf_skb_load_bytes_relative() count from the network header, include/uapi/linux/bpf.h. */
#define BPF_HDR_START_NET 1

/* include/linux/socket.h: part of the system call interface. */
#define AF_INET 2
#define AF_INET6 10

#endif
