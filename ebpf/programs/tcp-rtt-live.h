/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* tcp-rtt: the life of a connection in the map, its socket's address being the key. */
#ifndef TCP_RTT_LIVE_H
#define TCP_RTT_LIVE_H

#include "tcp-rtt-map.h"
#include "tcp-rtt-sock.h"

/* Enters or updates the connection of `sk`. */
static inline void update_connection(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sock_of(sk);
	struct record *known, record = {};
	__u64 key = (__u64)sk;

	if (!tp)
		return;
	known = bpf_map_lookup_elem(&connections, &key);
	if (known) {
		read_values(known, tp);
		return;
	}
	read_connection(&record, tp);
	read_values(&record, tp);
	bpf_map_update_elem(&connections, &key, &record, BPF_ANY);
}

/* Takes the connection of `sk` out of the map, with its final values; false if it was not there. */
static inline bool finish_connection(struct sock *sk, struct record *final)
{
	struct tcp_sock *tp = tcp_sock_of(sk);
	__u64 key = (__u64)sk;
	struct record *known = bpf_map_lookup_elem(&connections, &key);

	if (!known)
		return 0;
	*final = *known;
	bpf_map_delete_elem(&connections, &key);
	/* tcp_disconnect() has zeroed the values of an aborted connection: then the last ones seen stand. */
	if (tp && READ(tp->srtt_us))
		read_values(final, tp);
	return 1;
}

#endif
