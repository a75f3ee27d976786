/* SPDX-License-Identifier: BSD-2-Clause */
/* When to look before sleeping. */
#include "blkback/idle-poll.h"

/* Longer gaps count as this many windows: a quiet minute is soon forgotten. */
#define GAP_WINDOWS_MAX 16u
/* The weight of the newest gap. */
#define GAP_SHARE 8u
/*
 * What we slept through is seen late, by about what a sleep costs: that much
 * more than a window may still be within one.
 */
#define WORTH_WINDOWS 2u
/* Two looks are far less than a microsecond apart, if nobody comes between. */
#define PREEMPTED_WINDOWS 1u
#define OFF_NS (50u * 1000 * 1000)

void idle_poll_init(struct idle_poll *poll, uint64_t sleep_cost_ns)
{
	*poll = (struct idle_poll){
		.window_ns = sleep_cost_ns,
		.gap_ns = GAP_WINDOWS_MAX * sleep_cost_ns,
	};
}

bool idle_poll_rest(struct idle_poll *poll, uint64_t now_ns)
{
	if (!poll->rest_since_ns)
		poll->rest_since_ns = now_ns;
	poll->last_look_ns = now_ns;
	return poll->gap_ns <= WORTH_WINDOWS * poll->window_ns &&
	       now_ns >= poll->off_until_ns;
}

bool idle_poll_goes_on(struct idle_poll *poll, uint64_t now_ns)
{
	if (now_ns - poll->last_look_ns > PREEMPTED_WINDOWS * poll->window_ns)
		poll->off_until_ns = now_ns + OFF_NS;
	poll->last_look_ns = now_ns;
	return now_ns >= poll->off_until_ns &&
	       now_ns - poll->rest_since_ns < poll->window_ns;
}

void idle_poll_work(struct idle_poll *poll, uint64_t now_ns)
{
	uint64_t most = GAP_WINDOWS_MAX * poll->window_ns, gap;

	if (!poll->rest_since_ns)
		return;
	gap = now_ns - poll->rest_since_ns;
	if (gap > most)
		gap = most;
	poll->gap_ns = (poll->gap_ns * (GAP_SHARE - 1) + gap) / GAP_SHARE;
	poll->rest_since_ns = 0;
}
