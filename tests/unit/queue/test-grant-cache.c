/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/grant-cache.h: what stays mapped, and for how long. */
#include "blkback/grant-cache.h"
#include "tests/unit/queue/fake-transport.h"
#include "tests/unit/queue/guest.h"
#include "tests/unit/unit.h"

#define MAX_PAGES 16u

static struct gnttab *gt;
static struct grant_cache *cache;

static void setup(void)
{
	fake_reset();
	for (unsigned int i = 0; i < FAKE_PAGES; i++)
		fake_grants[i] = FAKE_GRANT_READ_WRITE;
	ck_assert_int_eq(gnttab_open(&gt), 0);
	ck_assert_int_eq(grant_cache_new(gt, FAKE_DOMID, MAX_PAGES, &cache), 0);
}

static void teardown(void)
{
	grant_cache_free(cache);
	gnttab_close(gt);
	ck_assert_uint_eq(fake_live_pages(), 0);
}

/* The very page, and mapped just once. */
START_TEST(maps_once)
{
	for (unsigned int round = 0; round < 3; round++) {
		for (uint32_t ref = 3; ref < 3 + MAX_PAGES; ref++) {
			unsigned char *page = grant_cache_get(cache, ref);

			ck_assert_ptr_nonnull(page);
			fake_pages[ref][77] = (unsigned char)(ref + round);
			ck_assert_uint_eq(page[77], ref + round);
			page[78] = (unsigned char)(ref + round);
			ck_assert_uint_eq(fake_pages[ref][78], ref + round);
		}
		ck_assert_uint_eq(fake_live_pages(), MAX_PAGES);
		ck_assert_uint_eq(grant_cache_pages(cache), MAX_PAGES);
	}
}
END_TEST

START_TEST(is_never_more_than_full)
{
	for (uint32_t ref = 0; ref < MAX_PAGES; ref++)
		ck_assert_ptr_nonnull(grant_cache_get(cache, ref));
	ck_assert_ptr_null(grant_cache_get(cache, MAX_PAGES));
	ck_assert_uint_eq(fake_live_pages(), MAX_PAGES);
	/* Those that are there are got all the same. */
	ck_assert_ptr_nonnull(grant_cache_get(cache, 0));
}
END_TEST

START_TEST(what_cannot_be_mapped)
{
	fake_grants[5] = FAKE_GRANT_NONE;
	fake_grants[6] = FAKE_GRANT_READ_ONLY;
	ck_assert_ptr_null(grant_cache_get(cache, 5));
	ck_assert_ptr_null(grant_cache_get(cache, 6));
	ck_assert_ptr_null(grant_cache_get(cache, UINT32_MAX));
	ck_assert_uint_eq(grant_cache_pages(cache), 0);
	/* It is not remembered as bad. */
	fake_grants[5] = FAKE_GRANT_READ_WRITE;
	ck_assert_ptr_nonnull(grant_cache_get(cache, 5));
}
END_TEST

START_TEST(releases_what_rests)
{
	for (uint32_t ref = 0; ref < MAX_PAGES; ref++)
		grant_cache_get(cache, ref);
	ck_assert_uint_eq(grant_cache_release_idle(cache), MAX_PAGES);
	for (uint32_t ref = 0; ref < MAX_PAGES; ref += 2)
		grant_cache_get(cache, ref);
	ck_assert_uint_eq(grant_cache_release_idle(cache), MAX_PAGES / 2);
	ck_assert_uint_eq(fake_live_pages(), MAX_PAGES / 2);
	/* There is room again, and the others are still found. */
	for (uint32_t ref = 20; ref < 20 + MAX_PAGES / 2; ref++)
		ck_assert_ptr_nonnull(grant_cache_get(cache, ref));
	for (uint32_t ref = 0; ref < MAX_PAGES; ref += 2)
		ck_assert_ptr_nonnull(grant_cache_get(cache, ref));
	ck_assert_uint_eq(fake_live_pages(), MAX_PAGES);
	grant_cache_release_idle(cache);
	ck_assert_uint_eq(grant_cache_release_idle(cache), 0);
	ck_assert_uint_eq(fake_live_pages(), 0);
}
END_TEST

Suite *suite_grant_cache(void)
{
	Suite *suite = suite_create("grant-cache");
	TCase *tc = tcase_create("grant-cache");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, maps_once);
	tcase_add_test(tc, is_never_more_than_full);
	tcase_add_test(tc, what_cannot_be_mapped);
	tcase_add_test(tc, releases_what_rests);
	suite_add_tcase(suite, tc);
	return suite;
}
