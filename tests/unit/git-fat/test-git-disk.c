/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat/git-disk.h: any part of the disk is what the whole has there,
 * whatever the cache holds, whoever asks, and whatever git does meanwhile.
 */
#include "git-fat/git-disk.h"

#include "git-fat/walk.h"
#include "tests/unit/git-fat/repository-fixture.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct fixture fixture;
static char revision[OBJECT_NAME_BYTES];
static struct git_disk *disk;
static struct git_disk_reader *reader;
static struct error_text err;
/* The disk up to its last used cluster, and a bit more. */
static uint8_t *dump;
static size_t dump_bytes;

static void setup(void)
{
	fixture_init(&fixture);
}

static void close_disk(void)
{
	git_disk_reader_close(reader);
	git_disk_close(disk);
	free(dump);
	reader = NULL;
	disk = NULL;
	dump = NULL;
}

static void teardown(void)
{
	close_disk();
	fixture_fini(&fixture);
}

static git_oid make_commit(void)
{
	struct fixture_tree tree = { .bytes = NULL };
	struct fixture_tree sub = { .bytes = NULL };
	git_oid id;

	for (unsigned int i = 0; i < 40; i++) {
		char name[32];

		sprintf(name, "file number %02u", i);
		id = fixture_random_blob(&fixture, i, i * i * 67);
		fixture_tree_add(&sub, "100644", name, strlen(name), &id);
	}
	id = fixture_tree_write(&fixture, &sub);
	fixture_tree_add(&tree, "40000", "a", 1, &id);
	fixture_tree_add(&tree, "40000", "b", 1, &id);
	id = fixture_random_blob(&fixture, 99, 3000000);
	fixture_tree_add(&tree, "100644", "c", 1, &id);
	id = fixture_tree_write(&fixture, &tree);
	return fixture_commit(&fixture, &id, 1700000001);
}

static void open_disk(uint64_t cache_bytes)
{
	git_oid id = make_commit();
	struct git_disk_options options =
		fixture_options(&fixture, &id, revision);

	options.cache_bytes = cache_bytes;
	disk = fixture_disk(&options);
	ck_assert_int_eq(git_disk_reader_open(disk, &reader, &err), 0);
}

static void must_read(uint64_t offset, void *buffer, size_t nr_bytes)
{
	int rc = git_disk_read(reader, offset, buffer, nr_bytes, &err);

	ck_assert_msg(rc == 0, "%d: %s", rc, err.text);
}

/* All of it at once, by another disk with room for everything. */
static void make_dump(void)
{
	struct git_disk *kept = disk;
	struct git_disk_reader *kept_reader = reader;
	const struct volume *volume;

	open_disk(GIT_DISK_DEFAULT_CACHE_BYTES);
	volume = git_disk_volume(disk);
	dump_bytes = volume->data_sector * 512 +
		     (size_t)(layout_end(git_disk_layout(disk)) + 3) * 4096;
	dump = malloc(dump_bytes);
	must_read(0, dump, dump_bytes);
	git_disk_reader_close(reader);
	git_disk_close(disk);
	disk = kept;
	reader = kept_reader;
}

static uint32_t seed = 1;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

/* Half of them in the files, for most of the disk is in front of those. */
static void random_range(uint64_t *ret_offset, size_t *ret_bytes)
{
	uint64_t data = git_disk_volume(disk)->data_sector * 512;
	uint64_t start = draw(2) ? data : 0;
	size_t most = draw(4) ? 5000 : 300000;

	*ret_offset = start + draw((uint32_t)(dump_bytes - start));
	*ret_bytes = draw((uint32_t)most);
	if (*ret_bytes > dump_bytes - *ret_offset)
		*ret_bytes = dump_bytes - (size_t)*ret_offset;
}

static const uint64_t budgets[] = { 0, 1 << 20, 64 << 20 };

START_TEST(any_part_is_that_of_the_whole)
{
	static uint8_t bytes[300000];

	open_disk(budgets[_i]);
	make_dump();
	for (unsigned int i = 0; i < 600; i++) {
		uint64_t offset;
		size_t nr_bytes;

		random_range(&offset, &nr_bytes);
		memset(bytes, 0xee, sizeof(bytes));
		must_read(offset, bytes, nr_bytes);
		if (memcmp(bytes, dump + offset, nr_bytes) != 0)
			ck_abort_msg("%zu bytes at %llu differ", nr_bytes,
				     (unsigned long long)offset);
		ck_assert_uint_eq(bytes[nr_bytes], 0xee);
	}
}
END_TEST

START_TEST(the_end_can_be_read)
{
	static uint8_t bytes[10000], zeros[10000];

	open_disk(1 << 20);
	memset(bytes, 0xee, sizeof(bytes));
	must_read(git_disk_size_bytes(disk) - sizeof(bytes), bytes,
		  sizeof(bytes));
	ck_assert_mem_eq(bytes, zeros, sizeof(bytes));
	must_read(git_disk_size_bytes(disk), bytes, 0);
}
END_TEST

/* What needs no I/O is had at once; the rest after it has been read once. */
START_TEST(try_read)
{
	uint64_t data;
	static uint8_t bytes[2][20000];

	open_disk(64 << 20);
	data = git_disk_volume(disk)->data_sector * 512;
	ck_assert_int_eq(git_disk_try_read(disk, 0, bytes[0], 4096), 0);
	must_read(0, bytes[1], 4096);
	ck_assert_mem_eq(bytes[0], bytes[1], 4096);
	ck_assert_int_eq(git_disk_try_read(disk, 2080 * 512, bytes[0], 4096),
			 0);
	must_read(2080 * 512, bytes[1], 4096);
	ck_assert_mem_eq(bytes[0], bytes[1], 4096);
	ck_assert_int_eq(git_disk_try_read(disk, data, bytes[0], 20000),
			 -EAGAIN);
	must_read(data, bytes[1], 20000);
	ck_assert_int_eq(git_disk_try_read(disk, data, bytes[0], 20000), 0);
	ck_assert_mem_eq(bytes[0], bytes[1], 20000);
	ck_assert_int_eq(git_disk_try_read(disk,
					   git_disk_size_bytes(disk) - 4096,
					   bytes[0], 4096),
			 0);
}
END_TEST

START_TEST(prefetch)
{
	static uint8_t bytes[4000000];
	uint64_t data;

	open_disk(64 << 20);
	make_dump();
	data = git_disk_volume(disk)->data_sector * 512;
	git_disk_prefetch(reader, data, 4096 * 3);
	/* "c" starts there, and is too long to be prefetched in part. */
	ck_assert_int_eq(git_disk_try_read(disk, data, bytes, 1000000), 0);
	ck_assert_mem_eq(bytes, dump + data, 1000000);
	git_disk_prefetch(reader, 0, dump_bytes);
	for (uint64_t at = data; at + 4096 <= dump_bytes; at += 4096) {
		ck_assert_int_eq(git_disk_try_read(disk, at, bytes, 4096), 0);
		ck_assert(memcmp(bytes, dump + at, 4096) == 0);
	}
}
END_TEST

/*
 * No range does harm, be it ever so far beyond the end, where the numbers of
 * clusters would start anew; and none wraps around.
 */
START_TEST(prefetch_beyond_the_end)
{
	static const uint64_t offsets[] = { 1ull << 44, 1ull << 63, 1ull << 40,
					    0 };
	static const struct fixture_file files[] = {
		{ MODE_FILE, "a", "a" },
		{ MODE_GITLINK, "module", NULL },
	};
	git_oid id = fixture_files(&fixture, files, NR_OF(files));
	struct git_disk_options options =
		fixture_options(&fixture, &id, revision);
	uint64_t data;
	uint8_t byte;

	disk = fixture_disk(&options);
	ck_assert_int_eq(git_disk_reader_open(disk, &reader, &err), 0);
	data = git_disk_volume(disk)->data_sector * 512;
	for (size_t i = 0; i < NR_OF(offsets); i++) {
		for (int j = -3; j < 4; j++) {
			uint64_t at = data + offsets[i] + (uint64_t)(j * 4096);

			if (offsets[i])
				git_disk_prefetch(reader, at, 1);
		}
	}
	git_disk_prefetch(reader, data, 0);
	git_disk_prefetch(reader, UINT64_MAX, UINT64_MAX);
	ck_assert_int_eq(git_disk_try_read(disk, data, &byte, 1), -EAGAIN);
	git_disk_prefetch(reader, 1, UINT64_MAX);
	ck_assert_int_eq(git_disk_try_read(disk, data, &byte, 1), 0);
	ck_assert_int_eq(git_disk_try_read(disk, data + 4096, &byte, 1), 0);
}
END_TEST

/* Other packs take the place of the objects while the disk is open. */
START_TEST(gc_meanwhile)
{
	static uint8_t bytes[300000];

	open_disk(0);
	make_dump();
	must_read(0, bytes, 4096);
	fixture_git(&fixture, "gc --prune=now -q");
	must_read(dump_bytes - 300000, bytes, 300000);
	ck_assert(memcmp(bytes, dump + dump_bytes - 300000, 300000) == 0);
	fixture_git(&fixture, "repack -a -d -f -q --depth=3");
	for (size_t at = 0; at + 300000 <= dump_bytes; at += 300000) {
		must_read(at, bytes, 300000);
		ck_assert(memcmp(bytes, dump + at, 300000) == 0);
	}
}
END_TEST

/* The same bytes, out of whatever packs. */
START_TEST(packs_do_not_matter)
{
	uint8_t *first;

	make_dump();
	first = dump;
	fixture_git(&fixture, "repack -a -d -f -q");
	make_dump();
	ck_assert(memcmp(first, dump, dump_bytes) == 0);
	free(first);
}
END_TEST

START_TEST(missing_blob_is_named)
{
	git_oid id = fixture_random_blob(&fixture, 99, 3000000);
	static uint8_t bytes[8192];
	uint64_t data;
	int rc;

	open_disk(1 << 20);
	data = git_disk_volume(disk)->data_sector * 512;
	must_read(data, bytes, 4096);
	fixture_remove(&fixture, &id);
	rc = git_disk_read(reader, data, bytes, sizeof(bytes), &err);
	ck_assert_msg(rc == -ENOENT && strstr(err.text, git_oid_tostr_s(&id)) &&
			      strstr(err.text, "missing"),
		      "%d: %s", rc, err.text);
	ck_assert_int_eq(git_disk_try_read(disk, data + 4096, bytes, 4096),
			 -EAGAIN);
	/* When it is there again, so is the file. */
	fixture_random_blob(&fixture, 99, 3000000);
	must_read(data, bytes, sizeof(bytes));
}
END_TEST

START_TEST(errors_name_the_repository)
{
	git_oid id = fixture_blob(&fixture, "x");
	struct git_disk_options options =
		fixture_options(&fixture, &id, revision);
	struct fixture_tree tree = { .bytes = NULL };

	ck_assert_int_eq(git_disk_open(&options, &disk, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, fixture.path));
	memset(id.id, 0xab, sizeof(id.id));
	fixture_tree_add(&tree, "100644", "gone", 4, &id);
	id = fixture_tree_write(&fixture, &tree);
	options = fixture_options(&fixture, &id, revision);
	ck_assert_int_eq(git_disk_open(&options, &disk, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, fixture.path));
	ck_assert_ptr_nonnull(strstr(err.text, "'gone': object abab"));
	ck_assert_ptr_null(disk);
}
END_TEST

/* ---- what the disk is made from ----------------------------------------------- */

START_TEST(version_serial_and_time)
{
	struct git_disk_options options;
	uint8_t slot[32];
	git_oid id;

	open_disk(1 << 20);
	ck_assert_str_eq(git_disk_version(disk), revision);
	git_oid_fromstr(&id, revision);
	ck_assert_uint_eq(git_disk_volume(disk)->serial,
			  (uint32_t)id.id[0] << 24 | (uint32_t)id.id[1] << 16 |
				  (uint32_t)id.id[2] << 8 | id.id[3]);
	must_read(git_disk_volume(disk)->data_sector * 512, slot, 32);
	ck_assert_mem_eq(slot, "GIT        \x08", 12);
	/* 2023-11-14 22:13:21 UTC */
	ck_assert_mem_eq(slot + 22, "\xaa\xb1\x6e\x57", 4);
	ck_assert_uint_eq(slot[13], 100);
	/* A tree has no time: the first that FAT knows. */
	id = git_disk_tree(disk)->tree;
	close_disk();
	options = fixture_options(&fixture, &id, revision);
	disk = fixture_disk(&options);
	ck_assert_str_eq(git_disk_version(disk), revision);
	ck_assert_int_eq(git_disk_reader_open(disk, &reader, &err), 0);
	must_read(git_disk_volume(disk)->data_sector * 512, slot, 32);
	ck_assert_mem_eq(slot + 22, "\0\0\x21\0", 4);
}
END_TEST

START_TEST(label_is_in_both_places)
{
	git_oid id = make_commit();
	struct git_disk_options options =
		fixture_options(&fixture, &id, revision);
	uint8_t sector[512];

	options.label = "my disk";
	disk = fixture_disk(&options);
	ck_assert_int_eq(git_disk_reader_open(disk, &reader, &err), 0);
	must_read(2048 * 512, sector, 512);
	ck_assert_mem_eq(sector + 71, "MY DISK    ", 11);
	must_read(git_disk_volume(disk)->data_sector * 512, sector, 512);
	ck_assert_mem_eq(sector, "MY DISK    \x08", 12);
	close_disk();
	options.label = "a.b";
	ck_assert_int_eq(git_disk_open(&options, &disk, &err), -EINVAL);
}
END_TEST

static const struct {
	const char *key, *value;
	int rc;
} settings[] = {
	{ "ref", "main", 0 },         { "path", "sub", 0 },
	{ "label", "X", 0 },          { "partition", "mbr", 0 },
	{ "partition", "none", 0 },   { "partition", "gpt", -EINVAL },
	{ "partition", "", -EINVAL }, { "symlinks", "text", 0 },
	{ "symlinks", "follow", 0 },  { "symlinks", "yes", -EINVAL },
	{ "cache", "16M", 0 },        { "cache", "0", 0 },
	{ "cache", "lots", -EINVAL }, { "cache", "-1", -EINVAL },
	{ "verify", "on", 0 },        { "verify", "off", 0 },
	{ "verify", "1", -EINVAL },   { "repository", "x", -EINVAL },
	{ "", "x", -EINVAL },
};

static void options_are_parsed_row(int row)
{
	struct git_disk_options options, before;
	int rc;

	git_disk_options_init(&options);
	before = options;
	err.text[0] = '\0';
	rc = git_disk_options_set(&options, settings[row].key,
				  settings[row].value, &err);
	ck_assert_int_eq(rc, settings[row].rc);
	if (rc == 0)
		return;
	ck_assert_mem_eq(&options, &before, sizeof(options));
	ck_assert_uint_gt(strlen(err.text), 0);
}

ROWS_TEST(options_are_parsed, NR_OF(settings))

START_TEST(options_are_set)
{
	struct git_disk_options o;

	git_disk_options_init(&o);
	ck_assert_str_eq(o.revision, "HEAD");
	ck_assert(o.partition && !o.follow_links && !o.verify);
	ck_assert_uint_eq(o.cache_bytes, 64 << 20);
	git_disk_options_set(&o, "ref", "r", &err);
	git_disk_options_set(&o, "path", "p", &err);
	git_disk_options_set(&o, "label", "l", &err);
	git_disk_options_set(&o, "partition", "none", &err);
	git_disk_options_set(&o, "symlinks", "follow", &err);
	git_disk_options_set(&o, "cache", "3K", &err);
	git_disk_options_set(&o, "verify", "on", &err);
	ck_assert_str_eq(o.revision, "r");
	ck_assert_str_eq(o.subdirectory, "p");
	ck_assert_str_eq(o.label, "l");
	ck_assert(!o.partition && o.follow_links && o.verify);
	ck_assert_uint_eq(o.cache_bytes, 3072);
}
END_TEST

/* ---- walking --------------------------------------------------------------------- */

struct walked {
	char text[4096];
	unsigned int nr, stop_at;
};

static int note_path(const struct walk_path *path, void *context)
{
	struct walked *walked = context;
	size_t used = strlen(walked->text);

	if (++walked->nr == walked->stop_at)
		return 7;
	snprintf(walked->text + used, sizeof(walked->text) - used, "%s%s@%u\n",
		 path->text, path->directory ? "/" : "", path->first_cluster);
	return 0;
}

START_TEST(walk)
{
	static const struct fixture_file files[] = {
		{ MODE_FILE, "A", "a" },
		{ MODE_FILE, "a", "b" },
		{ MODE_FILE, "empty", "" },
		{ MODE_FILE, "d/\xc3\xa9:", "x" },
		{ MODE_GITLINK, "d/m", NULL },
		{ MODE_FILE, "z/y/x", "x" },
	};
	git_oid id = fixture_files(&fixture, files, NR_OF(files));
	struct git_disk_options options =
		fixture_options(&fixture, &id, revision);
	struct walked walked = { .nr = 0 };

	disk = fixture_disk(&options);
	ck_assert_int_eq(git_disk_reader_open(disk, &reader, &err), 0);
	ck_assert_int_eq(git_disk_walk(reader, note_path, &walked, &err), 0);
	ck_assert_str_eq(walked.text, "A@3\n"
				      "a~63d8@4\n"
				      "empty@0\n"
				      "d/@5\n"
				      "d/\xc3\xa9\xef\x80\xba@6\n"
				      "d/m/@7\n"
				      "z/@8\n"
				      "z/y/@9\n"
				      "z/y/x@10\n");
	walked = (struct walked){ .stop_at = 5 };
	ck_assert_int_eq(git_disk_walk(reader, note_path, &walked, &err), 7);
	ck_assert_uint_eq(walked.nr, 5);
}
END_TEST

Suite *suite_git_disk(void)
{
	Suite *suite = suite_create("git-disk");
	TCase *tc = tcase_create("git-disk");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, any_part_is_that_of_the_whole, 0,
			    NR_OF(budgets));
	tcase_add_test(tc, the_end_can_be_read);
	tcase_add_test(tc, try_read);
	tcase_add_test(tc, prefetch);
	tcase_add_test(tc, prefetch_beyond_the_end);
	tcase_add_test(tc, gc_meanwhile);
	tcase_add_test(tc, packs_do_not_matter);
	tcase_add_test(tc, missing_blob_is_named);
	tcase_add_test(tc, errors_name_the_repository);
	tcase_add_test(tc, version_serial_and_time);
	tcase_add_test(tc, label_is_in_both_places);
	tcase_add_test(tc, options_are_parsed);
	tcase_add_test(tc, options_are_set);
	tcase_add_test(tc, walk);
	suite_add_tcase(suite, tc);
	return suite;
}
