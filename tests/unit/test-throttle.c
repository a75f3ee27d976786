/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/throttle.h: how much passes in a given time, and whose it is. */
#include "blkback/throttle.h"
#include "tests/unit/unit.h"

#define S UINT64_C(1000000000)
#define MS UINT64_C(1000000)

static struct throttle throttle;
static uint64_t now;

static void setup(void)
{
	throttle = (struct throttle){ 0 };
	now = 7 * S;
}

static void limit(uint64_t iops, uint64_t bps)
{
	const struct block_limits limits = { .iops = iops, .bps = bps };

	throttle_set(&throttle, &limits);
}

/* Takes as many as it may, of so many bytes, at this time. */
static unsigned int take_all(struct throttle_payer *payer, uint64_t bytes)
{
	unsigned int nr = 0;
	uint64_t waited;

	while (throttle_may_take(payer, true, now, &waited) && nr < 1000000) {
		throttle_pay(&throttle, payer, bytes, now);
		nr++;
	}
	return nr;
}

/* Takes what it may for so long, waking when it is told to. */
static uint64_t take_for(struct throttle_payer *payers, unsigned int nr,
			 uint64_t bytes, uint64_t ns, uint64_t *counts)
{
	uint64_t end = now + ns, sum = 0;

	while (now < end) {
		uint64_t wait_ms = UINT64_MAX;

		for (unsigned int i = 0; i < nr; i++) {
			unsigned int taken = take_all(&payers[i], bytes);
			uint64_t ms = throttle_wait_ms(&payers[i], now);

			counts[i] += taken;
			sum += taken;
			wait_ms = ms < wait_ms ? ms : wait_ms;
		}
		now += wait_ms * MS;
	}
	return sum;
}

START_TEST(without_limits)
{
	struct throttle_payer payer = { 0 };
	uint64_t waited;

	ck_assert(!throttle_active(&throttle));
	throttle_pay(&throttle, &payer, 1 << 20, now);
	ck_assert(throttle_may_take(&payer, true, now, &waited));
	ck_assert_uint_eq(waited, 0);
	limit(1, 0);
	ck_assert(throttle_active(&throttle));
	limit(0, 4096);
	ck_assert(throttle_active(&throttle));
	limit(0, 0);
	ck_assert(!throttle_active(&throttle));
}
END_TEST

static const struct {
	uint64_t iops, bps, bytes;
	uint64_t burst; /* at once, after a rest */
	uint64_t in_10_s; /* and on, in all */
} rates[] = {
	/* A tenth of a second's worth, and the one that makes the debt. */
	{ 1, 0, 4096, 1, 10 },
	{ 10, 0, 4096, 2, 101 },
	{ 500, 0, 512, 51, 5050 },
	{ 100000, 0, 4096, 10001, 1010000 },
	{ 0, 4096, 4096, 1, 10 },
	{ 0, 1 << 20, 4096, 26, 2585 },
	/* Larger than what the bucket holds. */
	{ 0, 1 << 20, 1 << 20, 1, 10 },
	{ 0, UINT64_C(1) << 30, 1 << 20, 103, 10342 },
	/* The tighter of the two. */
	{ 100, 1 << 20, 4096, 11, 1010 },
	{ 100, 1 << 20, 1 << 20, 1, 10 },
	/* No bytes: only the requests count. */
	{ 500, 4096, 0, 51, 5050 },
};

static void passes_row(int row)
{
	struct throttle_payer payer = { 0 };
	uint64_t sum, count = 0, wanted = rates[row].in_10_s;

	setup();
	limit(rates[row].iops, rates[row].bps);
	sum = take_all(&payer, rates[row].bytes);
	ck_assert_uint_eq(sum, rates[row].burst);
	sum += take_for(&payer, 1, rates[row].bytes, 10 * S, &count);
	/* Costs are whole nanoseconds, waits whole milliseconds. */
	ck_assert_msg(sum >= wanted - wanted / 100 - 1 && sum <= wanted + 1,
		      "%llu passed, not %llu", (unsigned long long)sum,
		      (unsigned long long)wanted);
}

ROWS_TEST(passes, NR_OF(rates))

/* Whoever is woken late has not lost what it was due. */
START_TEST(late_wakes_cost_nothing)
{
	struct throttle_payer payer = { 0 };
	uint64_t sum = 0;

	limit(1000, 0);
	for (unsigned int i = 0; i < 200; i++) {
		sum += take_all(&payer, 4096);
		now += 50 * MS;
	}
	ck_assert_uint_ge(sum, 10000);
	ck_assert_uint_le(sum, 10101);
}
END_TEST

/* A rest fills the bucket, and no more than that. */
START_TEST(a_long_rest)
{
	struct throttle_payer payer = { 0 };

	limit(500, 0);
	take_all(&payer, 512);
	now += 3600 * S;
	ck_assert_uint_eq(take_all(&payer, 512), 51);
}
END_TEST

/* Queues that want all of it get the same, and the first is no better off. */
START_TEST(queues_take_turns)
{
	struct throttle_payer payers[4] = { { 0 } };
	uint64_t counts[4] = { 0 };

	/* One has been at it alone; the others come later. */
	limit(400, 0);
	take_for(payers, 1, 4096, 5 * S, counts);
	counts[0] = 0;
	ck_assert_uint_le(take_for(payers, 4, 4096, 10 * S, counts), 4004);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_msg(counts[i] >= 950 && counts[i] <= 1050,
			      "queue %u: %llu", i,
			      (unsigned long long)counts[i]);
}
END_TEST

/* What was spent under the old limits does not weigh on the new ones. */
START_TEST(new_limits)
{
	struct throttle_payer payer = { 0 };

	limit(0, 4096);
	ck_assert_uint_eq(take_all(&payer, 1 << 20), 1);
	ck_assert_uint_ge(throttle_wait_ms(&payer, now), 255000);
	limit(500, 0);
	payer.paid_ns = 0; /* as the queue does when it is woken */
	ck_assert_uint_eq(take_all(&payer, 1 << 20), 51);
}
END_TEST

/* Time counts as waiting only while there is something to wait for. */
START_TEST(waiting_is_measured)
{
	struct throttle_payer payer = { 0 };
	uint64_t waited;

	limit(1, 0);
	throttle_pay(&throttle, &payer, 0, now);
	ck_assert(!throttle_may_take(&payer, false, now, &waited));
	ck_assert(!payer.waits);
	now += 100 * MS;
	ck_assert(!throttle_may_take(&payer, true, now, &waited));
	ck_assert(payer.waits);
	ck_assert_uint_eq(throttle_wait_ms(&payer, now), 800);
	now += 300 * MS;
	ck_assert(!throttle_may_take(&payer, true, now, &waited));
	ck_assert_uint_eq(waited, 0);
	now += 500 * MS - 1;
	ck_assert(!throttle_may_take(&payer, true, now, &waited));
	ck_assert_uint_eq(throttle_wait_ms(&payer, now), 1);
	now++;
	ck_assert(throttle_may_take(&payer, true, now, &waited));
	ck_assert(!payer.waits);
	ck_assert_uint_eq(waited, 800 * MS);
}
END_TEST

Suite *suite_throttle(void)
{
	Suite *suite = suite_create("throttle");
	TCase *tc = tcase_create("throttle");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, without_limits);
	tcase_add_test(tc, passes);
	tcase_add_test(tc, late_wakes_cost_nothing);
	tcase_add_test(tc, a_long_rest);
	tcase_add_test(tc, queues_take_turns);
	tcase_add_test(tc, new_limits);
	tcase_add_test(tc, waiting_is_measured);
	suite_add_tcase(suite, tc);
	return suite;
}
