/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* tcp-rtt: final records go out through perf event rings, one a CPU, which the reader makes. */
#ifndef TCP_RTT_PERF_H
#define TCP_RTT_PERF_H

#include "tcp-rtt.h"

/* Without max_entries: the loader makes it one for each possible CPU. */
struct {
	map_number(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	map_type(key, __u32);
	map_type(value, __u32);
} events SEC(".maps");

static inline void put_out(void *ctx, struct record *record)
{
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, record, sizeof(*record));
}

#endif
