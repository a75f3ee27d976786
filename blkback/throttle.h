/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Limits on what a guest does in a second: token buckets that the queues of a
 * disk share.  Each holds what the limit grants in THROTTLE_BURST_MS.
 *
 * Who takes a request pays for it once its size is known, if need be with what
 * the bucket does not hold yet, and takes the next one when that is paid off.
 * So a request of any size passes in the end, and queues that all want more
 * than there is take turns: nobody pays twice before another's debt is older.
 *
 * A bucket is one number, the time at which it will be full again: paying moves
 * it, and time does the rest.  Nothing here looks at a clock.
 */
#ifndef XEN_DISKD_THROTTLE_H
#define XEN_DISKD_THROTTLE_H

#include "providers/provider-spec.h"

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_BURST_MS 100u

struct throttle_bucket {
	uint64_t per_s; /* 0: no limit */
	uint64_t full_ns; /* when it is full again */
};

/* Of a disk.  Zeroed: no limits.  Only through the functions below. */
struct throttle {
	struct throttle_bucket ops, bytes;
};

/* A queue's part; its thread's own. */
struct throttle_payer {
	uint64_t paid_ns; /* when its last request is paid off */
	uint64_t waits_since_ns;
	bool waits;
};

/* Sets both limits; what was spent before is forgotten.  Any thread. */
void throttle_set(struct throttle *throttle, const struct block_limits *limits);

/* Whether there is any limit.  Any thread. */
bool throttle_active(const struct throttle *throttle);

/* Takes bytes (0 for what moves none), and one request, off the buckets. */
void throttle_pay(struct throttle *throttle, struct throttle_payer *payer,
		  uint64_t bytes, uint64_t now_ns);

/*
 * Whether the payer may take a request.  If not, and there are some, it waits,
 * until it is asked again at a time when it may.  *ret_waited_ns is for how
 * long it has, when that has ended; else 0.
 */
bool throttle_may_take(struct throttle_payer *payer, bool has_requests,
		       uint64_t now_ns, uint64_t *ret_waited_ns);

/* How long a payer that waits has still to do so, rounded up; at least 1. */
uint64_t throttle_wait_ms(const struct throttle_payer *payer, uint64_t now_ns);

/*
 * A payer that is new, or whose limits have changed: what the disk owes holds it
 * up too, or a guest would be rid of its debts by connecting again.
 */
void throttle_join(const struct throttle *throttle,
		   struct throttle_payer *payer);

#endif
