/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What every program needs: integer types, sections, maps, helper functions. */
#ifndef PORTOLAN_BPF_H
#define PORTOLAN_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef _Bool bool;

/* A field in network byte order. */
typedef __u16 __be16;
typedef __u32 __be32;

#define inline inline __attribute__((always_inline))

#define SEC(name) __attribute__((section(name), used))

/* Every program says the same: its GPL-only helpers are open to it, and its source may be used under MIT. */
#define DUAL_LICENSE char LICENSE[] SEC("license") = "Dual MIT/GPL"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ntohs(x) __builtin_bswap16(x)
#define ntohl(x) __builtin_bswap32(x)
#else
#define ntohs(x) (x)
#define ntohl(x) (x)
#endif
#define htons(x) ntohs(x)
#define htonl(x) ntohl(x)

/*
 * Maps are defined through BTF: a variable in section `.maps` whose structure type carries numbers as array
 * dimensions and key and value as pointee types. The member names are libbpf's.
 */
#define map_number(member, number) int(*member)[number]
#define map_type(member, type_name) typeof(type_name) *member

/* enum bpf_map_type of include/uapi/linux/bpf.h. */
#define BPF_MAP_TYPE_PERF_EVENT_ARRAY 4
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_LRU_PERCPU_HASH 10
#define BPF_MAP_TYPE_RINGBUF 27

/* Flags of bpf_map_update_elem() and of bpf_perf_event_output(), include/uapi/linux/bpf.h. */
#define BPF_ANY 0
#define BPF_NOEXIST 1
#define BPF_F_CURRENT_CPU 0xffffffffULL

/* Helper functions by number: BPF_FUNC_* of include/uapi/linux/bpf.h. */
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static long (*const bpf_probe_read)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)4;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data, __u64 size) = (void *)25;
static __u64 (*const bpf_get_socket_cookie)(void *ctx) = (void *)46;
static long (*const bpf_sock_ops_cb_flags_set)(void *ctx, int flags) = (void *)59;
static long (*const bpf_skb_load_bytes_relative)(const void *skb, __u32 offset, void *to, __u32 len,
						 __u32 start_header) = (void *)68;
static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *unsafe_ptr) = (void *)113;
static long (*const bpf_seq_write)(void *seq, const void *data, __u32 len) = (void *)127;
static long (*const bpf_ringbuf_output)(void *ringbuf, void *data, __u64 size, __u64 flags) = (void *)130;
static void *(*const bpf_skc_to_tcp_sock)(void *sk) = (void *)137;

#endif
