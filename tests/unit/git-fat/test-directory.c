/* SPDX-License-Identifier: BSD-2-Clause */
/* git-fat/directory.h: times, and the very bytes of slots. */
#include "git-fat/directory.h"

#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DATE(y, m, d) (((y)-1980) << 9 | (m) << 5 | (d))
#define TIME(h, m, s) ((h) << 11 | (m) << 5 | (s) / 2)

static const struct {
	int64_t time_s;
	uint16_t date, time;
	uint8_t hundredths;
} times[] = {
	{ 0, DATE(1980, 1, 1), 0, 0 },
	{ -1, DATE(1980, 1, 1), 0, 0 },
	{ INT64_MIN, DATE(1980, 1, 1), 0, 0 },
	{ 315532799, DATE(1980, 1, 1), 0, 0 },
	{ 315532800, DATE(1980, 1, 1), 0, 0 },
	{ 315532801, DATE(1980, 1, 1), 0, 100 },
	{ 951782399, DATE(2000, 2, 28), TIME(23, 59, 58), 100 },
	{ 951827696, DATE(2000, 2, 29), TIME(12, 34, 56), 0 },
	{ 951827697, DATE(2000, 2, 29), TIME(12, 34, 56), 100 },
	{ 1700000001, DATE(2023, 11, 14), TIME(22, 13, 20), 100 },
	{ 4107542400, DATE(2100, 3, 1), 0, 0 },
	{ 4354819198, DATE(2107, 12, 31), TIME(23, 59, 58), 0 },
	{ 4354819199, DATE(2107, 12, 31), TIME(23, 59, 58), 100 },
	{ 4354819200, DATE(2107, 12, 31), TIME(23, 59, 58), 100 },
	{ INT64_MAX, DATE(2107, 12, 31), TIME(23, 59, 58), 100 },
};

static void times_are_mapped_row(int row)
{
	struct fat_time got = fat_time_from_unix(times[row].time_s);

	ck_assert_uint_eq(got.date, times[row].date);
	ck_assert_uint_eq(got.time, times[row].time);
	ck_assert_uint_eq(got.hundredths, times[row].hundredths);
}

ROWS_TEST(times_are_mapped, NR_OF(times))

START_TEST(times_are_utc)
{
	setenv("TZ", "America/New_York", 1);
	unit_rows(times_are_mapped_row, NR_OF(times));
}
END_TEST

/* "EMPTY", "README" and "thirteenunits", as git has them in a tree. */
static const char tree_object[] = "100644 EMPTY\0aaaaaaaaaaaaaaaaaaaa"
				  "100644 README\0bbbbbbbbbbbbbbbbbbbb"
				  "40000 thirteenunits\0cccccccccccccccccccc";

#define TREE_BYTES (sizeof(tree_object) - 1)

static struct fat_names *names;
static struct layout_entry entries[] = {
	{ .size_bytes = 0, .first_cluster = 1, .position = 0 },
	{ .size_bytes = 0x12345, .first_cluster = 1, .position = 1 },
	{ .tree = 1, .first_cluster = 0x20000, .position = 2 },
};
static struct layout_tree trees[] = {
	{ .nr_files = 2,
	  .nr_subdirectories = 1,
	  .nr_slots = 6,
	  .directory_clusters = 1 },
	{ .directory_clusters = 1 },
};
static const struct layout layout = { .entries = entries, .trees = trees };

static uint8_t *build(uint32_t cluster, uint32_t parent)
{
	struct directory_source source = {
		.layout = &layout,
		.extent = { .kind = LAYOUT_DIRECTORY,
			    .first_cluster = cluster,
			    .nr_clusters = 1,
			    .tree = &trees[0],
			    .parent_cluster = parent },
		.label = (const uint8_t *)"LABEL      ",
		.time = { .date = 0x1234, .time = 0x5678, .hundredths = 100 },
	};
	uint8_t *bytes;

	trees[0].nr_slots = cluster == 2 ? 5 : 6;
	ck_assert_int_eq(fat_names_new(&names), 0);
	ck_assert_int_eq(directory_read_names(&trees[0], cluster == 2,
					      tree_object, TREE_BYTES, names),
			 0);
	source.names = names;
	ck_assert_int_eq(directory_build(&source, &bytes), 0);
	return bytes;
}

#define STAMP "\x78\x56\x34\x12\x34\x12"

/* name, attributes, clusters, size: the whole slot. */
static void check_slot(const uint8_t *slot, const char *name,
		       uint8_t attributes, uint32_t cluster, uint32_t size)
{
	uint8_t want[32] = { 0 };

	memcpy(want, name, 11);
	want[11] = attributes;
	want[13] = 100;
	memcpy(want + 14, STAMP, 6);
	want[20] = (uint8_t)(cluster >> 16);
	want[21] = (uint8_t)(cluster >> 24);
	memcpy(want + 22, STAMP, 4);
	want[26] = (uint8_t)cluster;
	want[27] = (uint8_t)(cluster >> 8);
	for (unsigned int i = 0; i < 4; i++)
		want[28 + i] = (uint8_t)(size >> 8 * i);
	ck_assert_mem_eq(slot, want, 32);
}

static void check_rest(const uint8_t *bytes, size_t from)
{
	static const uint8_t zeros[LAYOUT_CLUSTER_BYTES];

	ck_assert_mem_eq(bytes + from, zeros, LAYOUT_CLUSTER_BYTES - from);
}

/* From slot `at` on: what is the same in the root and elsewhere. */
static void check_entries(const uint8_t *slots, uint32_t base)
{
	const uint8_t *part = slots + 64;

	check_slot(slots, "EMPTY      ", 0x21, 0, 0);
	check_slot(slots + 32, "README     ", 0x21, base + 1, 0x12345);
	/* 13 units: no end, no padding, and one part. */
	ck_assert_uint_eq(part[0], 0x41);
	ck_assert_mem_eq(part + 1, "t\0h\0i\0r\0t\0\x0f\0", 12);
	ck_assert_uint_eq(part[13], fat_short_name_checksum(
					    (const uint8_t *)"THIRTE~1   "));
	ck_assert_mem_eq(part + 14, "e\0e\0n\0u\0n\0i\0\0\0t\0s", 18);
	check_slot(slots + 96, "THIRTE~1   ", 0x11, base + 0x20000, 0);
}

START_TEST(root_directory)
{
	uint8_t *bytes = build(2, 0);

	check_slot(bytes, "LABEL      ", 0x08, 0, 0);
	check_entries(bytes + 32, 2);
	check_rest(bytes, 32 + 128);
	free(bytes);
	fat_names_free(names);
}
END_TEST

START_TEST(other_directory)
{
	uint8_t *bytes = build(0x123456, 0x7890a);

	check_slot(bytes, ".          ", 0x11, 0x123456, 0);
	check_slot(bytes + 32, "..         ", 0x11, 0x7890a, 0);
	check_entries(bytes + 64, 0x123456);
	check_rest(bytes, 64 + 128);
	free(bytes);
	fat_names_free(names);
}
END_TEST

/* A name that does not fill its part: 0 behind it, and then all ones. */
START_TEST(long_name_is_padded)
{
	static const char object[] = "100644 lower\0aaaaaaaaaaaaaaaaaaaa";
	struct layout_tree tree = { .nr_files = 1,
				    .nr_slots = 3,
				    .directory_clusters = 1 };
	struct directory_source source = {
		.layout = &layout,
		.extent = { .first_cluster = 2, .tree = &tree },
		.label = (const uint8_t *)"LABEL      ",
	};
	uint8_t *bytes;

	ck_assert_int_eq(fat_names_new(&names), 0);
	ck_assert_int_eq(directory_read_names(&tree, true, object,
					      sizeof(object) - 1, names),
			 0);
	source.names = names;
	ck_assert_int_eq(directory_build(&source, &bytes), 0);
	ck_assert_uint_eq(bytes[32], 0x41);
	ck_assert_mem_eq(bytes + 33, "l\0o\0w\0e\0r\0\x0f\0", 12);
	ck_assert_mem_eq(bytes + 46, "\0\0\xff\xff\xff\xff\xff\xff", 8);
	ck_assert_mem_eq(bytes + 54, "\xff\xff\xff\xff\0\0\xff\xff\xff\xff",
			 10);
	ck_assert_mem_eq(bytes + 64, "LOWER      \x21", 12);
	check_rest(bytes, 96);
	free(bytes);
	fat_names_free(names);
}
END_TEST

/* A tree that is not what it was laid out from is not taken for it. */
START_TEST(other_names_are_refused)
{
	struct layout_tree tree = trees[0];

	ck_assert_int_eq(fat_names_new(&names), 0);
	tree.nr_slots = 6;
	ck_assert_int_eq(directory_read_names(&tree, false, tree_object,
					      TREE_BYTES, names),
			 0);
	ck_assert_int_eq(directory_read_names(&tree, true, tree_object,
					      TREE_BYTES, names),
			 -EIO);
	ck_assert_int_eq(directory_read_names(&tree, false, tree_object,
					      TREE_BYTES - 1, names),
			 -EIO);
	tree.nr_files = 1;
	ck_assert_int_eq(directory_read_names(&tree, false, tree_object,
					      TREE_BYTES, names),
			 -EIO);
	tree.nr_files = 2;
	tree.nr_slots = 7;
	ck_assert_int_eq(directory_read_names(&tree, false, tree_object,
					      TREE_BYTES, names),
			 -EIO);
	fat_names_free(names);
}
END_TEST

Suite *suite_directory(void)
{
	Suite *suite = suite_create("directory");
	TCase *tc = tcase_create("directory");

	tcase_add_test(tc, times_are_mapped);
	tcase_add_test(tc, times_are_utc);
	tcase_add_test(tc, root_directory);
	tcase_add_test(tc, other_directory);
	tcase_add_test(tc, long_name_is_padded);
	tcase_add_test(tc, other_names_are_refused);
	suite_add_tcase(suite, tc);
	return suite;
}
