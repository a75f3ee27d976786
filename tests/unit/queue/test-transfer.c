/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkback/transfer.h: bytes between a guest's pages and buffers, either way,
 * copied or through mapped pages, and what becomes of bad references.
 */
#include "blkback/transfer.h"
#include "tests/unit/queue/fake-transport.h"
#include "tests/unit/unit.h"

#include <string.h>

#define NR_REQUESTS 6
#define NR_SEGMENTS INFLIGHT_SEGMENTS_MAX
/* Each way there is: by grant copies, mapped, and mapped as far as fits. */
static const unsigned int ways[] = { 0, FAKE_PAGES, 5 };

static struct gnttab *gt;
static struct transfer *transfer;
static struct inflight_entry entries[NR_REQUESTS];
static struct blk_request requests[NR_REQUESTS];
static unsigned char buffers[NR_REQUESTS][NR_SEGMENTS * 4096];
static struct list list;

static void setup(void)
{
	fake_reset();
	for (unsigned int i = 0; i < FAKE_PAGES; i++) {
		fake_grants[i] = FAKE_GRANT_READ_WRITE;
		for (unsigned int b = 0; b < 4096; b++)
			fake_pages[i][b] = (unsigned char)(b / 512 + i * 8);
	}
	ck_assert_int_eq(gnttab_open(&gt), 0);
	list_init(&list);
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		entries[r] = (struct inflight_entry){ .id = r };
		requests[r] = (struct blk_request){
			.entry = &entries[r],
			.buffer = buffers[r],
		};
		list_add_tail(&list, &requests[r].node);
		memset(buffers[r], 0xcc, sizeof(buffers[r]));
	}
}

static void teardown(void)
{
	transfer_free(transfer);
	gnttab_close(gt);
	ck_assert_uint_eq(fake_live_pages(), 0);
}

static void way(int which)
{
	ck_assert_int_eq(transfer_new(gt, FAKE_DOMID, ways[which], &transfer),
			 0);
}

static void segment(unsigned int r, uint32_t ref, unsigned int first_sect,
		    unsigned int nr_sectors)
{
	struct inflight_entry *entry = &entries[r];

	entry->segments[entry->nr_segments++] = (struct inflight_segment){
		.gref = ref,
		.offset_bytes = (uint16_t)(first_sect * 512),
		.length_bytes = (uint16_t)(nr_sectors * 512),
	};
	entry->length_bytes += nr_sectors * 512;
}

/* Sector by sector, in the order of the segments. */
START_TEST(out_of_the_guest)
{
	static const unsigned char expected[] = { 11 * 8 + 3, 11 * 8 + 4,
						  12 * 8, 12 * 8 + 1,
						  11 * 8 + 7 };

	way(_i);
	entries[0].operation = BLKIF_OP_WRITE;
	segment(0, 11, 3, 2);
	segment(0, 12, 0, 2);
	segment(0, 11, 7, 1);
	transfer_data(transfer, &list, true);
	for (unsigned int s = 0; s < sizeof(expected); s++) {
		ck_assert_uint_eq(buffers[0][s * 512], expected[s]);
		ck_assert_uint_eq(buffers[0][s * 512 + 511], expected[s]);
	}
	ck_assert_uint_eq(buffers[0][sizeof(expected) * 512], 0xcc);
	ck_assert_int_eq(requests[0].status, BLKIF_RSP_OKAY);
}
END_TEST

START_TEST(into_the_guest)
{
	way(_i);
	entries[0].operation = BLKIF_OP_READ;
	segment(0, 11, 3, 2);
	segment(0, 12, 7, 1);
	for (unsigned int b = 0; b < 3 * 512; b++)
		buffers[0][b] = (unsigned char)(200 + b / 512);
	transfer_data(transfer, &list, false);
	for (unsigned int s = 0; s < 8; s++) {
		ck_assert_uint_eq(fake_pages[11][s * 512 + 511],
				  s == 3 || s == 4 ? 200 + s - 3 : 88 + s);
		ck_assert_uint_eq(fake_pages[12][s * 512],
				  s == 7 ? 202 : 96 + s);
	}
}
END_TEST

/* Only those that go that way, and are no errors already. */
START_TEST(leaves_others_alone)
{
	way(_i);
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		entries[r].operation = r % 2 ? BLKIF_OP_WRITE : BLKIF_OP_READ;
		segment(r, r, 0, 8);
	}
	requests[3].status = BLKIF_RSP_ERROR;
	entries[5].nr_segments = 0;
	transfer_data(transfer, &list, true);
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		ck_assert_uint_eq(buffers[r][0], r == 1 ? 8 : 0xcc);
		ck_assert_uint_eq(fake_pages[r][0], r * 8);
		ck_assert_ptr_eq(container_of(list_pop(&list),
					      struct blk_request, node),
				 &requests[r]);
	}
	ck_assert(list_empty(&list));
}
END_TEST

/* More segments than a batch has, and one bad one in the midst of them. */
START_TEST(bad_ones_harm_nobody)
{
	way(_i);
	fake_grants[60] = FAKE_GRANT_NONE;
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		entries[r].operation = BLKIF_OP_WRITE;
		for (unsigned int s = 0; s < NR_SEGMENTS; s++)
			segment(r, r == 4 && s == 99 ? 60 : s % 50, 0, 8);
	}
	transfer_data(transfer, &list, true);
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		ck_assert_int_eq(requests[r].status,
				 r == 4 ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY);
		for (unsigned int s = 0; r != 4 && s < NR_SEGMENTS; s++)
			ck_assert_uint_eq(buffers[r][s * 4096],
					  (unsigned char)(s % 50 * 8));
	}
}
END_TEST

/* Segments in the wire's layout, in the guest's page. */
static void put_segment(uint32_t page, unsigned int index, uint32_t ref)
{
	unsigned char *at = fake_pages[page] + index * 8;

	memset(at, 0, 8);
	at[0] = (unsigned char)ref;
	at[5] = 7;
}

START_TEST(indirect)
{
	way(_i);
	fake_grants[60] = FAKE_GRANT_NONE;
	for (unsigned int s = 0; s < NR_SEGMENTS; s++)
		put_segment(20, s, s % 20);
	put_segment(21, 0, 9);
	fake_pages[21][5] = 8; /* no such sector */
	for (unsigned int r = 0; r < 4; r++) {
		static const uint32_t refs[] = { 20, 60, 21, 20 };

		entries[r].nr_segments = NR_SEGMENTS;
		requests[r].indirect = r != 3;
		requests[r].indirect_ref = refs[r];
	}
	transfer_indirect(transfer, &list);
	/* Where grants persist those of the segments do, too, until one cannot. */
	ck_assert_uint_eq(transfer_nr_mapped(transfer), ways[_i] ? 1 : 0);
	ck_assert_int_eq(requests[0].status, BLKIF_RSP_OKAY);
	ck_assert_uint_eq(entries[0].length_bytes, NR_SEGMENTS * 4096);
	ck_assert_uint_eq(entries[0].segments[33].gref, 13);
	for (unsigned int r = 1; r < 3; r++) {
		ck_assert_int_eq(requests[r].status, BLKIF_RSP_ERROR);
		ck_assert_uint_eq(entries[r].nr_segments, 0);
		ck_assert(!requests[r].indirect);
	}
	ck_assert_int_eq(requests[3].status, BLKIF_RSP_OKAY);
	ck_assert_uint_eq(entries[3].length_bytes, 0);
}
END_TEST

/* Where they cannot be mapped, that is not tried for each request. */
START_TEST(indirect_read_only)
{
	way(1);
	fake_grants[20] = FAKE_GRANT_READ_ONLY;
	put_segment(20, 0, 9);
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		entries[r].nr_segments = 1;
		requests[r].indirect = true;
		requests[r].indirect_ref = 20;
	}
	transfer_indirect(transfer, &list);
	for (unsigned int r = 0; r < NR_REQUESTS; r++) {
		ck_assert_int_eq(requests[r].status, BLKIF_RSP_OKAY);
		ck_assert_uint_eq(entries[r].segments[0].gref, 9);
	}
	ck_assert_uint_eq(fake_nr_map_tries(), 1);
}
END_TEST

Suite *suite_transfer(void)
{
	Suite *suite = suite_create("transfer");
	TCase *tc = tcase_create("transfer");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, out_of_the_guest, 0, NR_OF(ways));
	tcase_add_loop_test(tc, into_the_guest, 0, NR_OF(ways));
	tcase_add_loop_test(tc, leaves_others_alone, 0, NR_OF(ways));
	tcase_add_loop_test(tc, bad_ones_harm_nobody, 0, NR_OF(ways));
	tcase_add_loop_test(tc, indirect, 0, NR_OF(ways));
	tcase_add_test(tc, indirect_read_only);
	suite_add_tcase(suite, tc);
	return suite;
}
