/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* tcp-rtt: final records go out through one ring buffer (since v5.8). */
#ifndef TCP_RTT_RINGBUF_H
#define TCP_RTT_RINGBUF_H

#include "tcp-rtt.h"

/* 4096 records; a power of two and a multiple of the page size, be that 4, 16 or 64 KiB. */
struct {
	map_number(type, BPF_MAP_TYPE_RINGBUF);
	map_number(max_entries, 256 * 1024);
} events SEC(".maps");

static inline void put_out(struct record *record)
{
	bpf_ringbuf_output(&events, record, sizeof(*record), 0);
}

#endif
