/* SPDX-License-Identifier: BSD-2-Clause */
/* What it costs on this machine that two threads sleep and wake each other. */
#ifndef XEN_DISKD_SLEEP_COST_H
#define XEN_DISKD_SLEEP_COST_H

#include <stdint.h>

/* A machine that was busy when it was asked is not to be believed more. */
#define SLEEP_COST_MAX_NS UINT64_C(100000)

/*
 * Nanoseconds from one thread's event to its answer when both sleep between: what
 * a guest and a queue that wait for each other lose to a sleep of both, and the
 * wake-ups of a processor from its own rest with it.  Measured for about a
 * millisecond, by two threads of its own on two processors; 0 when there is one only,
 * or it cannot be, as when one of the two does not get to run for 100 ms; and
 * SLEEP_COST_MAX_NS at most.  Any thread.
 */
uint64_t sleep_cost_ns(void);

#endif
