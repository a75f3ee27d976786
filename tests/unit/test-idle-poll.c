/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/idle-poll.h: when to look, and when to let it be. */
#include "blkback/idle-poll.h"
#include "blkback/sleep-cost.h"
#include "common/clock.h"
#include "tests/unit/unit.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define WINDOW 10000u

static struct idle_poll poll;
static uint64_t now;

static void setup(void)
{
	now = 1000000;
	idle_poll_init(&poll, WINDOW);
}

/* Rests, without looking, for so long. */
static bool rest(uint64_t gap_ns)
{
	bool worth = idle_poll_rest(&poll, now);

	now += gap_ns;
	idle_poll_work(&poll, now);
	now += 300;
	return worth;
}

/* Looks until it is told to sleep; for how long. */
static uint64_t look(uint64_t step_ns)
{
	uint64_t start = now;

	if (!idle_poll_rest(&poll, now))
		return 0;
	do
		now += step_ns;
	while (idle_poll_goes_on(&poll, now));
	return now - start;
}

static void make_busy(void)
{
	for (unsigned int i = 0; i < 100; i++)
		rest(WINDOW / 2);
}

START_TEST(begins_asleep)
{
	ck_assert(!rest(WINDOW / 2));
}
END_TEST

START_TEST(looks_when_requests_come_soon)
{
	unsigned int n = 0;

	while (!rest(WINDOW / 2))
		ck_assert_uint_lt(++n, 50);
	ck_assert(rest(WINDOW / 2));
	/* But no longer than a sleep would cost. */
	ck_assert_uint_ge(look(100), WINDOW);
	idle_poll_work(&poll, now);
	ck_assert_uint_le(look(100), WINDOW + 100);
}
END_TEST

/* What comes later than a sleep costs is slept for. */
START_TEST(sleeps_when_they_come_late)
{
	unsigned int n = 0;

	make_busy();
	while (rest(WINDOW * 4))
		ck_assert_uint_lt(++n, 50);
	ck_assert(!rest(WINDOW * 4));
}
END_TEST

/* A long quiet time is one gap, and does not outweigh what comes after it. */
START_TEST(forgets_quiet_times)
{
	unsigned int n = 0;

	make_busy();
	rest(UINT64_C(3600) * 1000000000);
	while (!rest(WINDOW / 2))
		ck_assert_uint_lt(++n, 20);
}
END_TEST

/* Somebody else needed the CPU: it is left alone for a while. */
START_TEST(leaves_a_busy_host_alone)
{
	make_busy();
	ck_assert_uint_le(look(WINDOW * 3), WINDOW * 3);
	idle_poll_work(&poll, now);
	ck_assert_uint_eq(look(100), 0);
	for (unsigned int i = 0; i < 1000; i++)
		ck_assert(!rest(WINDOW / 2));
	now += 50000000;
	ck_assert(rest(WINDOW / 2));
}
END_TEST

/* The time at rest counts from its beginning, however often it is looked at. */
START_TEST(one_window_a_rest)
{
	make_busy();
	ck_assert_uint_ge(look(100), WINDOW);
	ck_assert_uint_le(look(100), 100);
	ck_assert_uint_le(look(100), 100);
}
END_TEST

/* Two processors away from each other; and this thread may go anywhere again. */
START_TEST(cost_is_measured)
{
	cpu_set_t before, after;
	uint64_t cost;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cost = sleep_cost_ns();
	ck_assert_int_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	ck_assert(CPU_EQUAL(&before, &after));
	if (CPU_COUNT(&before) == 1) {
		ck_assert_uint_eq(cost, 0);
		return;
	}
	/* Not what two system calls take. */
	ck_assert_uint_ge(cost, 1000);
	ck_assert_uint_le(cost, SLEEP_COST_MAX_NS);
}
END_TEST

START_TEST(one_processor_costs_nothing)
{
	cpu_set_t before, one;
	int nr = 0;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	while (!CPU_ISSET(nr, &before))
		nr++;
	CPU_ZERO(&one);
	CPU_SET(nr, &one);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	ck_assert_uint_eq(sleep_cost_ns(), 0);
	ck_assert_int_eq(sched_setaffinity(0, sizeof(before), &before), 0);
}
END_TEST

/* A real-time task that has one of the first two processors for itself. */
static pid_t start_hog(int nr)
{
	const struct sched_param param = { .sched_priority = 50 };
	cpu_set_t allowed, one;
	int cpu = -1;
	pid_t pid;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (nr++; nr; nr--)
		while (!CPU_ISSET(++cpu, &allowed))
			;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	alarm(10); /* whatever becomes of who is to kill it */
	if (sched_setaffinity(0, sizeof(one), &one) < 0 ||
	    sched_setscheduler(0, SCHED_FIFO, &param) < 0)
		_exit(1);
	for (;;)
		;
}

static bool has_begun(pid_t pid)
{
	int policy;

	ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
	policy = sched_getscheduler(pid);
	return policy == SCHED_FIFO;
}

/*
 * It has 950 ms of each second, by Linux's default.  This thread itself may be put
 * behind it when the other processor is busy, but not each time.
 */
START_TEST(hog_is_not_waited_for)
{
	uint64_t start, took = UINT64_MAX;
	cpu_set_t allowed;
	pid_t pid;

	ck_assert_int_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	if (CPU_COUNT(&allowed) == 1)
		return; /* there is nothing to measure between */
	pid = start_hog(_i);
	while (!has_begun(pid))
		sched_yield();
	for (unsigned int i = 0; i < 5 && took >= 500; i++) {
		start = clock_now_ms();
		sleep_cost_ns();
		took = clock_now_ms() - start;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ck_assert_uint_lt(took, 500);
}
END_TEST

Suite *suite_idle_poll(void)
{
	Suite *suite = suite_create("idle-poll");
	TCase *tc = tcase_create("idle-poll");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, begins_asleep);
	tcase_add_test(tc, looks_when_requests_come_soon);
	tcase_add_test(tc, sleeps_when_they_come_late);
	tcase_add_test(tc, forgets_quiet_times);
	tcase_add_test(tc, leaves_a_busy_host_alone);
	tcase_add_test(tc, one_window_a_rest);
	tcase_add_test(tc, cost_is_measured);
	tcase_add_test(tc, one_processor_costs_nothing);
	tcase_add_loop_test(tc, hog_is_not_waited_for, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
