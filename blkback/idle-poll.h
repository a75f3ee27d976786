/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether to look at a ring for a while before going to sleep, and for how
 * long.  A sleep costs both sides: the guest an event, us a wake-up.  Looking
 * for as long as that costs is at worst twice as dear as knowing what comes;
 * and it is done only while requests have lately come that soon, and while the
 * host has a CPU to spare.  So a disk at rest sleeps.
 *
 * Pure arithmetic; nothing here looks at a clock.
 */
#ifndef XEN_DISKD_IDLE_POLL_H
#define XEN_DISKD_IDLE_POLL_H

#include <stdbool.h>
#include <stdint.h>

struct idle_poll {
	uint64_t window_ns; /* the longest look: what a sleep costs */
	uint64_t gap_ns; /* from rest to request, as it has been lately */
	uint64_t rest_since_ns; /* 0: not at rest */
	uint64_t last_look_ns;
	uint64_t off_until_ns; /* the host is busy */
};

void idle_poll_init(struct idle_poll *poll, uint64_t sleep_cost_ns);

/* There is nothing to do.  True when it is worth while to look for more. */
bool idle_poll_rest(struct idle_poll *poll, uint64_t now_ns);

/*
 * Nothing has come yet.  False when it is time to sleep: the window is over, or
 * between two looks somebody else had the CPU.
 */
bool idle_poll_goes_on(struct idle_poll *poll, uint64_t now_ns);

/* A request has come, whether we looked or slept. */
void idle_poll_work(struct idle_poll *poll, uint64_t now_ns);

#endif
