/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/page-pool.h: runs that never overlap, fragmentation, misuse. */
#include "blkback/page-pool.h"
#include "tests/unit/unit.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>

/* 16 MiB. */
#define PAGES 4096u

static struct page_pool pool;

static void setup(void)
{
	ck_assert_int_eq(page_pool_init(&pool, PAGES), 0);
}

static void teardown(void)
{
	page_pool_fini(&pool);
	page_pool_fini(&pool);
}

START_TEST(the_largest_run)
{
	unsigned char *all = page_pool_take(&pool, PAGES);

	ck_assert_ptr_nonnull(all);
	ck_assert_uint_eq((uintptr_t)all % 4096, 0);
	ck_assert_ptr_null(page_pool_take(&pool, 1));
	/* All of it is there to be written. */
	all[0] = all[16 * 1024 * 1024 - 1] = 1;
	page_pool_give(&pool, all, PAGES);
	ck_assert_ptr_nonnull(page_pool_take(&pool, PAGES));
}
END_TEST

/* The smallest and the largest pool, to their last page. */
START_TEST(other_sizes)
{
	unsigned int nr = _i ? PAGE_POOL_PAGES_MAX : PAGE_POOL_PAGES_MIN;
	unsigned char *all;

	page_pool_fini(&pool);
	ck_assert_int_eq(page_pool_init(&pool, nr), 0);
	ck_assert_ptr_nonnull(page_pool_take(&pool, nr - 1));
	ck_assert_ptr_null(page_pool_take(&pool, 2));
	all = page_pool_take(&pool, 1);
	ck_assert_ptr_nonnull(all);
	all[4095] = 1;
	ck_assert_ptr_null(page_pool_take(&pool, 1));
	page_pool_give(&pool, all, 1);
	ck_assert_ptr_eq(page_pool_take(&pool, 1), all);
}
END_TEST

START_TEST(sizes_out_of_bounds_abort)
{
	page_pool_fini(&pool);
	page_pool_init(&pool,
		       _i ? PAGE_POOL_PAGES_MAX + 1 : PAGE_POOL_PAGES_MIN - 1);
}
END_TEST

START_TEST(single_pages)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		uint32_t *page = page_pool_take(&pool, 1);

		ck_assert_ptr_nonnull(page);
		/* A page that was handed out before is not zero. */
		ck_assert_uint_eq(*page, 0);
		*page = i + 1;
	}
	ck_assert_ptr_null(page_pool_take(&pool, 1));
}
END_TEST

START_TEST(fragments)
{
	static unsigned char *pages[PAGES];
	unsigned char *run;

	for (unsigned int i = 0; i < PAGES; i++)
		pages[i] = page_pool_take(&pool, 1);
	/* Half of it is free, and no two together. */
	for (unsigned int i = 0; i < PAGES; i += 2)
		page_pool_give(&pool, pages[i], 1);
	ck_assert_ptr_null(page_pool_take(&pool, 2));
	page_pool_give(&pool, pages[2001], 1);
	run = page_pool_take(&pool, 3);
	ck_assert_ptr_eq(run, pages[2000]);
	ck_assert_ptr_null(page_pool_take(&pool, 2));
	/* What is before the last run is found. */
	page_pool_give(&pool, pages[1], 1);
	ck_assert_ptr_eq(page_pool_take(&pool, 3), pages[0]);
	/* The very end of the pool. */
	page_pool_give(&pool, pages[PAGES - 1], 1);
	ck_assert_ptr_eq(page_pool_take(&pool, 2), pages[PAGES - 2]);
}
END_TEST

/* Random takes and gives against a stamp in each page. */
START_TEST(runs_never_overlap)
{
	static struct {
		unsigned char *run;
		unsigned int nr;
	} held[64];
	uint32_t random = 12345;

	for (unsigned int i = 0; i < 1500; i++) {
		unsigned int at, nr;

		random = random * 1664525 + 1013904223;
		at = random >> 8 & 63;
		nr = 1 + (random >> 16) % 256;
		for (unsigned int p = 0; held[at].run && p < held[at].nr; p++)
			ck_assert_uint_eq(held[at].run[p * 4096], at);
		if (held[at].run) {
			page_pool_give(&pool, held[at].run, held[at].nr);
			held[at].run = NULL;
			continue;
		}
		held[at].run = page_pool_take(&pool, nr);
		held[at].nr = nr;
		for (unsigned int p = 0; held[at].run && p < nr; p++)
			held[at].run[p * 4096] = (unsigned char)at;
	}
	for (int i = 0; i < 64; i++) {
		if (held[i].run)
			page_pool_give(&pool, held[i].run, held[i].nr);
	}
	ck_assert_ptr_nonnull(page_pool_take(&pool, PAGES));
}
END_TEST

/* What was used last is in the processor's caches. */
START_TEST(the_same_pages_are_used_again)
{
	unsigned char *first = page_pool_take(&pool, 3);
	unsigned char *second = page_pool_take(&pool, 65);
	unsigned char *third = page_pool_take(&pool, 1);

	ck_assert_ptr_eq(second, first + 3 * 4096);
	ck_assert_ptr_eq(third, second + 65 * 4096);
	page_pool_give(&pool, first, 3);
	ck_assert_ptr_eq(page_pool_take(&pool, 2), first);
	ck_assert_ptr_eq(page_pool_take(&pool, 2), third + 4096);
	ck_assert_ptr_eq(page_pool_take(&pool, 1), first + 2 * 4096);
	page_pool_give(&pool, second, 65);
	ck_assert_ptr_eq(page_pool_take(&pool, 64), second);
}
END_TEST

START_TEST(giving_twice_aborts)
{
	void *page = page_pool_take(&pool, 2);

	page_pool_give(&pool, page, 2);
	page_pool_give(&pool, page, 2);
}
END_TEST

START_TEST(giving_too_much_aborts)
{
	page_pool_give(&pool, page_pool_take(&pool, 2), 3);
}
END_TEST

START_TEST(taking_nothing_aborts)
{
	page_pool_take(&pool, (unsigned int)_i * (PAGES + 1));
}
END_TEST

Suite *suite_page_pool(void)
{
	Suite *suite = suite_create("page-pool");
	TCase *tc = tcase_create("page-pool");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_largest_run);
	tcase_add_loop_test(tc, other_sizes, 0, 2);
	tcase_add_loop_test_raise_signal(tc, sizes_out_of_bounds_abort, SIGABRT,
					 0, 2);
	tcase_add_test(tc, single_pages);
	tcase_add_test(tc, fragments);
	tcase_add_test(tc, runs_never_overlap);
	tcase_add_test(tc, the_same_pages_are_used_again);
	tcase_add_test_raise_signal(tc, giving_twice_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, giving_too_much_aborts, SIGABRT);
	tcase_add_loop_test_raise_signal(tc, taking_nothing_aborts, SIGABRT, 0,
					 2);
	suite_add_tcase(suite, tc);
	return suite;
}
