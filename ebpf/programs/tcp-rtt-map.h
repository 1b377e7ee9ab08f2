/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * tcp-rtt: where the variants that see each segment keep their records.
 *
 * The key is a number that is the socket's own while it lives: its address, or its cookie. A record is updated in place
 * and put out through `events` once, with the final values, when the socket goes. One event a connection bounds the cost
 * whatever the traffic is; whoever wants the state in between reads the map.
 */
#ifndef TCP_RTT_MAP_H
#define TCP_RTT_MAP_H

#include "tcp-rtt.h"

/* 16384 are enough for a busy node in 2 MiB; beyond that, connections which were idle for longest leave the map. */
struct {
	map_number(type, BPF_MAP_TYPE_LRU_HASH);
	map_number(max_entries, 16384);
	map_type(key, __u64);
	map_type(value, struct record);
} connections SEC(".maps");

#endif
