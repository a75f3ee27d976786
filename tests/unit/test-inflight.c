/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/inflight.h: sizes, the parts of several queues, a clean start. */
#include "blkback/inflight.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int table_fd(size_t bytes)
{
	int fd = memfd_create("table", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

START_TEST(sizes)
{
	/* 32 entries of 2080 bytes are 16.25 pages: 17, and a header's. */
	ck_assert_uint_eq(inflight_bytes(1, 32), 18 * 4096);
	ck_assert_uint_eq(inflight_bytes(4, 32), 72 * 4096);
	/* 512 entries are exactly 260 pages. */
	ck_assert_uint_eq(inflight_bytes(1, 512), 261 * 4096);
}
END_TEST

static const struct {
	long difference;
	unsigned int nr_queues, nr_slots;
} wrong[] = {
	{ -1, 1, 32 },        { 1, 1, 32 },          { -4096, 1, 32 },
	{ 4096, 1, 32 },      { -18 * 4096, 1, 32 }, { -18 * 4096, 2, 32 },
	{ 18 * 4096, 2, 32 },
};

static void wrong_sizes_are_refused_row(int row)
{
	struct inflight table = { 0 };
	size_t right =
		inflight_bytes(wrong[row].nr_queues, wrong[row].nr_slots);
	int fd = table_fd((size_t)((long)right + wrong[row].difference));

	ck_assert_int_eq(inflight_map(fd, 0, wrong[row].nr_queues,
				      wrong[row].nr_slots, &table),
			 -EINVAL);
	ck_assert_ptr_null(table.mapping);
	close(fd);
}

ROWS_TEST(wrong_sizes_are_refused, NR_OF(wrong))

START_TEST(bad_descriptors_are_refused)
{
	struct inflight table = { 0 };
	int fds[2];

	ck_assert_int_eq(inflight_map(-1, 0, 1, 32, &table), -EBADF);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(inflight_map(fds[0], 0, 1, 32, &table), -EINVAL);
	inflight_unmap(&table);
	inflight_unmap(&table);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(starts_empty)
{
	struct inflight table;
	int fd = table_fd(inflight_bytes(1, 32));
	uint32_t header[4];
	char junk[18 * 4096];

	memset(junk, 0xa5, sizeof(junk));
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	ck_assert_int_eq(inflight_map(fd, 0, 1, 32, &table), 0);
	ck_assert_uint_eq(table.nr_entries, 32);
	for (int i = 0; i < 32; i++)
		ck_assert_uint_eq(table.entries[i].state, INFLIGHT_FREE);
	/* The header is there for whoever maps it later: "xbdi", 1. */
	ck_assert_int_eq(pread(fd, header, 16, 0), 16);
	ck_assert_int_eq(memcmp(header, "xbdi", 4), 0);
	ck_assert_uint_eq(header[1], 1);
	ck_assert_uint_eq(header[2], 32);
	ck_assert_uint_eq(header[3], 2080);
	inflight_unmap(&table);
	close(fd);
}
END_TEST

START_TEST(queues_have_parts_of_their_own)
{
	struct inflight tables[3], again;
	int fd = table_fd(inflight_bytes(3, 32));

	for (unsigned int q = 0; q < 3; q++) {
		ck_assert_int_eq(inflight_map(fd, q, 3, 32, &tables[q]), 0);
		memset(tables[q].entries, (int)(q + 1),
		       32 * sizeof(struct inflight_entry));
	}
	/* No part reaches into another, and all is in the descriptor. */
	for (unsigned int q = 0; q < 3; q++) {
		ck_assert_uint_eq(tables[q].entries[0].nr_segments,
				  (q + 1) * 0x101);
		ck_assert_uint_eq(tables[q].entries[31].segments[255].gref,
				  (q + 1) * 0x1010101);
	}
	/* Whoever maps a part anew empties that part, and no other. */
	ck_assert_int_eq(inflight_map(fd, 1, 3, 32, &again), 0);
	ck_assert_uint_eq(tables[1].entries[31].state, INFLIGHT_FREE);
	ck_assert_uint_eq(tables[0].entries[31].state, 0x1010101);
	ck_assert_uint_eq(tables[2].entries[0].state, 0x3030303);
	again.entries[31].nr_segments = 0x202;
	ck_assert_uint_eq(tables[1].entries[31].nr_segments, 0x202);
	inflight_unmap(&again);
	for (unsigned int q = 0; q < 3; q++)
		inflight_unmap(&tables[q]);
	close(fd);
}
END_TEST

Suite *suite_inflight(void)
{
	Suite *suite = suite_create("inflight");
	TCase *tc = tcase_create("inflight");

	tcase_add_test(tc, sizes);
	tcase_add_test(tc, wrong_sizes_are_refused);
	tcase_add_test(tc, bad_descriptors_are_refused);
	tcase_add_test(tc, starts_empty);
	tcase_add_test(tc, queues_have_parts_of_their_own);
	suite_add_tcase(suite, tc);
	return suite;
}
