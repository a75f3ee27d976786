/* SPDX-License-Identifier: BSD-2-Clause */
/* What a sleep costs: an event there and back between two threads. */
#include "blkback/sleep-cost.h"

#include "common/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The first has the start of the thread in it. */
#define ROUNDS 9u
#define PING UINT64_C(1)
#define END UINT64_C(2)

struct partners {
	int there_fd, back_fd; /* eventfds */
};

/*
 * Two threads on one processor would wake each other in no time.  True when both
 * have been given one of their own; with a single one there is no use in looking
 * at a ring while the guest cannot run.
 */
static bool put_apart(const cpu_set_t *allowed, pthread_attr_t *partner)
{
	cpu_set_t mine, other;
	int nr = sched_getcpu();

	CPU_ZERO(&mine);
	CPU_ZERO(&other);
	if (nr < 0 || nr >= CPU_SETSIZE || !CPU_ISSET(nr, allowed))
		return false;
	CPU_SET(nr, &mine);
	for (int i = 1; i < CPU_SETSIZE && !CPU_COUNT(&other); i++) {
		int next = (nr + i) % CPU_SETSIZE;

		if (CPU_ISSET(next, allowed))
			CPU_SET(next, &other);
	}
	return CPU_COUNT(&other) &&
	       !pthread_attr_setaffinity_np(partner, sizeof(other), &other) &&
	       !sched_setaffinity(0, sizeof(mine), &mine);
}

static bool wait_event(int fd, uint64_t *ret_value)
{
	return read(fd, ret_value, sizeof(*ret_value)) == sizeof(*ret_value);
}

static bool send_event(int fd, uint64_t value)
{
	return write(fd, &value, sizeof(value)) == sizeof(value);
}

static void *answer(void *arg)
{
	const struct partners *partners = arg;
	uint64_t value;

	while (wait_event(partners->there_fd, &value) && value == PING &&
	       send_event(partners->back_fd, PING))
		;
	return NULL;
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* The median of some rounds; 0 when one fails. */
static uint64_t measure(const struct partners *partners)
{
	uint64_t took[ROUNDS], value;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		uint64_t start = clock_now_ns();

		if (!send_event(partners->there_fd, PING) ||
		    !wait_event(partners->back_fd, &value))
			return 0;
		took[i] = clock_now_ns() - start;
	}
	qsort(took, ROUNDS, sizeof(took[0]), by_size);
	return took[ROUNDS / 2];
}

static uint64_t measure_with(struct partners *partners,
			     const pthread_attr_t *attr)
{
	pthread_t thread;
	uint64_t cost;

	if (partners->there_fd < 0 || partners->back_fd < 0 ||
	    pthread_create(&thread, attr, answer, partners))
		return 0;
	cost = measure(partners);
	send_event(partners->there_fd, END);
	pthread_join(thread, NULL);
	return cost < SLEEP_COST_MAX_NS ? cost : SLEEP_COST_MAX_NS;
}

uint64_t sleep_cost_ns(void)
{
	struct partners partners = { eventfd(0, EFD_CLOEXEC),
				     eventfd(0, EFD_CLOEXEC) };
	pthread_attr_t attr;
	cpu_set_t allowed;
	uint64_t cost = 0;

	if (!sched_getaffinity(0, sizeof(allowed), &allowed) &&
	    !pthread_attr_init(&attr)) {
		if (put_apart(&allowed, &attr))
			cost = measure_with(&partners, &attr);
		sched_setaffinity(0, sizeof(allowed), &allowed);
		pthread_attr_destroy(&attr);
	}
	if (partners.there_fd >= 0)
		close(partners.there_fd);
	if (partners.back_fd >= 0)
		close(partners.back_fd);
	return cost;
}
