/* SPDX-License-Identifier: BSD-2-Clause */
/* What a sleep costs: an event there and back between two threads. */
#include "blkback/sleep-cost.h"

#include "common/clock.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The first has the start of the thread in it. */
#define ROUNDS 9u
/* A processor may be a real-time task's alone: so long for it all. */
#define DEADLINE_MS 100
#define PING UINT64_C(1)
#define END UINT64_C(2)

struct partners {
	int there_fd, back_fd, done_fd; /* eventfds */
	uint64_t cost_ns;
};

static bool wait_event(int fd, uint64_t *ret_value)
{
	struct pollfd event = { .fd = fd, .events = POLLIN };

	return poll(&event, 1, DEADLINE_MS) == 1 &&
	       read(fd, ret_value, sizeof(*ret_value)) == sizeof(*ret_value);
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

static void *ask(void *arg)
{
	struct partners *partners = arg;

	partners->cost_ns = measure(partners);
	send_event(partners->there_fd, END);
	send_event(partners->done_fd, END);
	return NULL;
}

/* A thread on that processor alone. */
static bool start_on(unsigned int cpu, void *(*run)(void *),
		     struct partners *partners, pthread_t *ret_thread)
{
	pthread_attr_t attr;
	cpu_set_t set;
	bool started;

	if (pthread_attr_init(&attr))
		return false;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	started = !pthread_attr_setaffinity_np(&attr, sizeof(set), &set) &&
		  !pthread_create(ret_thread, &attr, run, partners);
	pthread_attr_destroy(&attr);
	return started;
}

/* Anywhere, so that it comes to its end. */
static void set_free(pthread_t thread, const cpu_set_t *allowed)
{
	pthread_setaffinity_np(thread, sizeof(*allowed), allowed);
}

static void measure_between(const unsigned int cpus[2],
			    const cpu_set_t *allowed, struct partners *partners)
{
	pthread_t asking, answering;
	uint64_t value;
	bool in_time;

	if (!start_on(cpus[0], answer, partners, &answering))
		return;
	if (start_on(cpus[1], ask, partners, &asking)) {
		in_time = wait_event(partners->done_fd, &value);
		set_free(asking, allowed);
		set_free(answering, allowed);
		pthread_join(asking, NULL);
		if (!in_time)
			partners->cost_ns = 0;
	} else {
		send_event(partners->there_fd, END);
		set_free(answering, allowed);
	}
	pthread_join(answering, NULL);
}

/* False when there are no two. */
static bool find_cpus(unsigned int cpus[2], cpu_set_t *allowed)
{
	unsigned int nr = 0;

	if (sched_getaffinity(0, sizeof(*allowed), allowed) < 0)
		return false;
	for (unsigned int cpu = 0; cpu < CPU_SETSIZE && nr < 2; cpu++) {
		if (CPU_ISSET(cpu, allowed))
			cpus[nr++] = cpu;
	}
	return nr == 2;
}

uint64_t sleep_cost_ns(void)
{
	struct partners partners = {
		.there_fd = eventfd(0, EFD_CLOEXEC),
		.back_fd = eventfd(0, EFD_CLOEXEC),
		.done_fd = eventfd(0, EFD_CLOEXEC),
	};
	unsigned int cpus[2];
	cpu_set_t allowed;

	if (partners.there_fd >= 0 && partners.back_fd >= 0 &&
	    partners.done_fd >= 0 && find_cpus(cpus, &allowed))
		measure_between(cpus, &allowed, &partners);
	if (partners.there_fd >= 0)
		close(partners.there_fd);
	if (partners.back_fd >= 0)
		close(partners.back_fd);
	if (partners.done_fd >= 0)
		close(partners.done_fd);
	return partners.cost_ns < SLEEP_COST_MAX_NS ? partners.cost_ns
						    : SLEEP_COST_MAX_NS;
}
