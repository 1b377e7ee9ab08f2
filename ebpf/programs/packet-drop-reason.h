/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * packet-drop: the reason.
 *
 * Kernels before v5.17 have no enumeration of reasons, and their kfree_skb tracepoint has no such argument. The relocation
 * below stands unguarded, so that these kernels refuse the variant instead of taking something else for the reason.
 */
#ifndef PACKET_DROP_REASON_H
#define PACKET_DROP_REASON_H

#include "packet-drop.h"
#include <portolan/core.h>

enum skb_drop_reason {
	SKB_DROP_REASON_NOT_SPECIFIED = 2, /* 0 in v5.17, 1 in v5.18: the value is the kernel's own in any case */
};

static inline void set_reason(struct drop_key *key, __u32 reason)
{
	key->reason = reason;
	key->reason_given = reason != core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NOT_SPECIFIED);
}

#endif
