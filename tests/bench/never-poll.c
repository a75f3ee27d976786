/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue that sleeps at once: how often one looks at its ring before depends
 * on the clock, and instructions are to be counted that do not.
 */
#include "blkback/idle-poll.h"

void idle_poll_init(struct idle_poll *poll, uint64_t sleep_cost_ns)
{
	(void)sleep_cost_ns;
	*poll = (struct idle_poll){ 0 };
}

bool idle_poll_rest(struct idle_poll *poll, uint64_t now_ns)
{
	(void)poll;
	(void)now_ns;
	return false;
}

bool idle_poll_goes_on(struct idle_poll *poll, uint64_t now_ns)
{
	(void)poll;
	(void)now_ns;
	return false;
}

void idle_poll_work(struct idle_poll *poll, uint64_t now_ns)
{
	(void)poll;
	(void)now_ns;
}
