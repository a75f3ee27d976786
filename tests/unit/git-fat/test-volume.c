/* SPDX-License-Identifier: BSD-2-Clause */
/* git-fat/volume.h: labels, geometry, sectors and file allocation tables. */
#include "git-fat/volume.h"

#include "tests/unit/git-fat/unit-git-fat.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static const uint8_t label[] = "GIT        ";

/* A root of one cluster with a file behind it, `used` clusters in all. */
static struct layout_tree root;
static struct layout_entry file;

static struct layout layout_of(uint32_t used)
{
	uint64_t bytes = (uint64_t)(used - 1) * LAYOUT_CLUSTER_BYTES;

	file = (struct layout_entry){
		/* One cluster in all that the FAT tests look at. */
		.size_bytes = (uint32_t)bytes,
		.first_cluster = 1,
	};
	root = (struct layout_tree){
		.nr_files = used > 1,
		.directory_clusters = 1,
		.nr_clusters = used,
	};
	return (struct layout){ .entries = &file, .trees = &root };
}

static uint32_t get32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

static uint16_t get16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static const struct {
	const char *text;
	const char *want; /* NULL: refused */
} labels[] = {
	{ "GIT", "GIT        " },
	{ "g", "G          " },
	{ "my disk", "MY DISK    " },
	{ "ELEVENCHARS", "ELEVENCHARS" },
	{ "a-b_c~1{}", "A-B_C~1{}  " },
	{ "!#$%&'()@^`", "!#$%&'()@^`" },
	{ "", NULL },
	{ " A", NULL },
	{ "TWELVECHARS.", NULL },
	{ "TWELVE CHARS", NULL },
	{ "a.b", NULL },
	{ "a*", NULL },
	{ "a\tb", NULL },
	{ "\xc3\xa9", NULL },
	{ "a/b", NULL },
	{ "a+b", NULL },
};

static void labels_are_checked_row(int row)
{
	uint8_t got[VOLUME_LABEL_BYTES + 1] = "untouched..";
	struct error_text err = { "" };
	int rc = volume_parse_label(labels[row].text, got, &err);

	ck_assert_int_eq(rc, labels[row].want ? 0 : -EINVAL);
	if (labels[row].want)
		ck_assert_mem_eq(got, labels[row].want, VOLUME_LABEL_BYTES);
	else
		ck_assert_ptr_nonnull(strstr(err.text, "label"));
}

ROWS_TEST(labels_are_checked, NR_OF(labels))

static const struct {
	uint32_t used;
	bool partition;
	uint32_t nr_clusters, nr_free, fat_sectors;
	uint64_t fat_sector, data_sector, end_sector;
} geometries[] = {
	{ 1, true, 65536, 65535, 520, 2080, 3120, 527408 },
	{ 1, false, 65536, 65535, 520, 32, 1072, 525360 },
	{ 65535, true, 65536, 1, 520, 2080, 3120, 527408 },
	{ 65536, true, 65536, 0, 520, 2080, 3120, 527408 },
	{ 65537, true, 65537, 0, 520, 2080, 3120, 527416 },
	/* (66558 + 2) * 4 bytes are 65 clusters of FAT, and one more is 66. */
	{ 66558, false, 66558, 0, 520, 32, 1072, 533536 },
	{ 66559, false, 66559, 0, 528, 32, 1088, 533560 },
	/* The most that FAT32 has: sectors still count in 32 bits. */
	{ LAYOUT_CLUSTERS_MAX, true, 0x0ffffff5, 0, 2097152, 2080, 4196384,
	  2151679944 },
};

static void geometry_row(int row)
{
	struct layout layout = layout_of(geometries[row].used);
	struct volume volume;

	volume_init(&volume, &layout, geometries[row].partition, label, 7);
	ck_assert_uint_eq(volume.nr_clusters, geometries[row].nr_clusters);
	ck_assert_uint_eq(volume.nr_free_clusters, geometries[row].nr_free);
	ck_assert_uint_eq(volume.fat_sectors, geometries[row].fat_sectors);
	ck_assert_uint_eq(volume.fat_sector, geometries[row].fat_sector);
	ck_assert_uint_eq(volume.data_sector, geometries[row].data_sector);
	ck_assert_uint_eq(volume.end_sector, geometries[row].end_sector);
	ck_assert_uint_le(volume.end_sector, UINT32_MAX);
	ck_assert_uint_eq(volume.data_sector % 8, 0);
}

ROWS_TEST(geometry, NR_OF(geometries))

START_TEST(boot_sector)
{
	struct layout layout = layout_of(3);
	struct volume volume;
	uint8_t bytes[512];

	volume_init(&volume, &layout, true, label, 0x12345678);
	volume_read_sector(&volume, 2048, bytes);
	ck_assert_mem_eq(bytes, "\xeb\x58\x90MSWIN4.1", 11);
	ck_assert_uint_eq(get16(bytes + 11), 512);
	ck_assert_uint_eq(bytes[13], 8);
	ck_assert_uint_eq(get16(bytes + 14), 32);
	ck_assert_uint_eq(bytes[16], 2);
	ck_assert_uint_eq(get32(bytes + 17), 0);
	ck_assert_uint_eq(bytes[21], 0xf8);
	ck_assert_uint_eq(get16(bytes + 24), 63);
	ck_assert_uint_eq(get16(bytes + 26), 255);
	ck_assert_uint_eq(get32(bytes + 28), 2048);
	ck_assert_uint_eq(get32(bytes + 32), 527408 - 2048);
	ck_assert_uint_eq(get32(bytes + 36), 520);
	ck_assert_uint_eq(get32(bytes + 44), 2);
	ck_assert_uint_eq(get16(bytes + 48), 1);
	ck_assert_uint_eq(get16(bytes + 50), 6);
	ck_assert_uint_eq(bytes[66], 0x29);
	ck_assert_uint_eq(get32(bytes + 67), 0x12345678);
	ck_assert_mem_eq(bytes + 71, "GIT        FAT32   ", 19);
	ck_assert_mem_eq(bytes + 510, "\x55\xaa", 2);
}
END_TEST

START_TEST(sectors_in_front)
{
	struct layout layout = layout_of(3);
	uint8_t bytes[512], other[512], zeros[512] = { 0 };
	struct volume volume;

	volume_init(&volume, &layout, _i, label, 0x12345678);
	for (uint64_t i = 0; i < volume.fat_sector; i++) {
		uint64_t at = i - volume.partition_sector;

		volume_read_sector(&volume, i, bytes);
		if (at < 3 || (at >= 6 && at < 9) || (_i && i == 0))
			ck_assert_mem_eq(bytes + 510, "\x55\xaa", 2);
		else
			ck_assert_mem_eq(bytes, zeros, 512);
		if (at < 3) {
			volume_read_sector(&volume, i + 6, other);
			ck_assert_mem_eq(bytes, other, 512);
		}
	}
	volume_read_sector(&volume, volume.partition_sector + 1, bytes);
	ck_assert_uint_eq(get32(bytes), 0x41615252);
	ck_assert_uint_eq(get32(bytes + 484), 0x61417272);
	ck_assert_uint_eq(get32(bytes + 488), 65533);
	ck_assert_uint_eq(get32(bytes + 492), 5);
	ck_assert_uint_eq(get32(bytes + 508), 0xaa550000);
}
END_TEST

START_TEST(partition_table)
{
	struct layout layout = layout_of(3);
	uint8_t bytes[512], zeros[512] = { 0 };
	struct volume volume;

	volume_init(&volume, &layout, true, label, 0x12345678);
	volume_read_sector(&volume, 0, bytes);
	ck_assert_mem_eq(bytes, zeros, 440);
	ck_assert_uint_eq(get32(bytes + 440), 0x12345678);
	ck_assert_mem_eq(bytes + 446, "\0\xfe\xff\xff\x0c\xfe\xff\xff", 8);
	ck_assert_uint_eq(get32(bytes + 454), 2048);
	ck_assert_uint_eq(get32(bytes + 458), 527408 - 2048);
	ck_assert_mem_eq(bytes + 462, zeros, 48);
}
END_TEST

START_TEST(fsinfo_of_a_full_disk)
{
	struct layout layout = layout_of(70000);
	struct volume volume;
	uint8_t bytes[512];

	volume_init(&volume, &layout, false, label, 1);
	volume_read_sector(&volume, 1, bytes);
	ck_assert_uint_eq(get32(bytes + 488), 0);
	ck_assert_uint_eq(get32(bytes + 492), UINT32_MAX);
}
END_TEST

static uint32_t fat_value(uint32_t cluster, uint32_t used)
{
	if (cluster < 2)
		return cluster ? 0x0fffffff : 0x0ffffff8;
	if (cluster >= used + 2)
		return 0;
	return cluster == 2 || cluster == used + 1 ? 0x0fffffff : cluster + 1;
}

/* Not an assertion each: those are slow. */
static void check_fat(const uint8_t *bytes, uint32_t first, uint32_t nr,
		      uint32_t used)
{
	for (uint32_t i = 0; i < nr; i++) {
		uint32_t value = get32(bytes + (size_t)i * 4);

		if (value != fat_value(first + i, used))
			ck_abort_msg("%u used, cluster %u: %x", used, first + i,
				     value);
	}
}

START_TEST(fat_in_any_pieces)
{
	static const uint32_t used[] = { 1, 2, 3, 129, 65536, 66559 };
	static uint8_t bytes[70000 * 4];

	for (size_t i = 0; i < NR_OF(used); i++) {
		struct layout layout = layout_of(used[i]);
		struct volume volume;
		uint32_t nr_entries, nr;

		volume_init(&volume, &layout, true, label, 1);
		nr_entries = volume.fat_sectors * 128;
		for (uint32_t step = 1; step < 70000; step = step * 9 + 1) {
			uint32_t start = used[i] > 300 ? used[i] - 300 : 0;

			for (uint32_t at = step > 500 ? 0 : start;
			     at < nr_entries && at < start + 70000; at += nr) {
				nr = nr_entries - at < step ? nr_entries - at
							    : step;
				volume_read_fat(&volume, &layout, at, nr,
						bytes);
				check_fat(bytes, at, nr, used[i]);
				if (step < 500 && at > used[i] + 300)
					break;
			}
		}
	}
}
END_TEST

/* The last cluster that FAT32 has is the end of a chain, not a bad one. */
START_TEST(fat_of_the_biggest)
{
	struct layout layout = layout_of(LAYOUT_CLUSTERS_MAX);
	struct layout_tree trees[2] = { root, root };
	struct layout_entry entry = { .tree = 1, .first_cluster = 1 };
	struct volume volume;
	uint8_t bytes[16];

	/* A directory takes the place of a file that could not be so big. */
	trees[0].nr_files = 0;
	trees[0].nr_subdirectories = 1;
	trees[1].nr_files = 0;
	trees[1].directory_clusters = LAYOUT_CLUSTERS_MAX - 1;
	trees[1].nr_clusters = LAYOUT_CLUSTERS_MAX - 1;
	layout.trees = trees;
	layout.entries = &entry;
	volume_init(&volume, &layout, true, label, 1);
	volume_read_fat(&volume, &layout, 0x0ffffff5, 4, bytes);
	ck_assert_uint_eq(get32(bytes), 0x0ffffff6);
	ck_assert_uint_eq(get32(bytes + 4), 0x0fffffff);
	ck_assert_uint_eq(get32(bytes + 8), 0);
	ck_assert_uint_eq(get32(bytes + 12), 0);
}
END_TEST

Suite *suite_volume(void)
{
	Suite *suite = suite_create("volume");
	TCase *tc = tcase_create("volume");

	tcase_add_test(tc, labels_are_checked);
	tcase_add_test(tc, geometry);
	tcase_add_test(tc, boot_sector);
	tcase_add_loop_test(tc, sectors_in_front, 0, 2);
	tcase_add_test(tc, partition_table);
	tcase_add_test(tc, fsinfo_of_a_full_disk);
	tcase_add_test(tc, fat_in_any_pieces);
	tcase_add_test(tc, fat_of_the_biggest);
	suite_add_tcase(suite, tc);
	return suite;
}
