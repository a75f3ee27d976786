/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat/spill-file.h: where extents lie, that space is given back and used
 * again, what is refused and leaves nothing behind, and where the file is made.
 */
#include "git-fat/spill-file.h"

#include "tests/unit/git-fat/private-tmpfs.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIB 1024u
#define MIB (1024u * KIB)

/* Something that was written; `number` says what it contains. */
struct piece {
	struct spill_extent extent;
	unsigned int number;
	size_t nr_bytes; /* 0: nothing is there */
};

static void file_init(struct spill_file *file)
{
	ck_assert_int_eq(spill_file_init(file), 0);
}

/* The space that the file takes. */
static uint64_t bytes_used(const struct spill_file *file)
{
	struct stat st;

	ck_assert_int_eq(fstat(file->fd, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_uint_eq(st.st_nlink, 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Never 0, and another for each number. */
static unsigned char content(unsigned int number, size_t i)
{
	return (unsigned char)(1 + (i * 7 + i / 251 + number * 31u) % 255);
}

static int piece_write(struct spill_file *file, struct piece *piece,
		       unsigned int number, size_t nr_bytes)
{
	unsigned char *data = malloc(nr_bytes);
	int rc;

	for (size_t i = 0; i < nr_bytes; i++)
		data[i] = content(number, i);
	rc = spill_file_write(file, data, nr_bytes, &piece->extent);
	free(data);
	piece->number = number;
	piece->nr_bytes = rc == 0 ? nr_bytes : 0;
	return rc;
}

static void piece_check(const struct spill_file *file,
			const struct piece *piece, size_t offset, size_t n)
{
	unsigned char *data = malloc(n);

	ck_assert_int_eq(spill_file_read(file, &piece->extent, offset, data, n),
			 0);
	for (size_t i = 0; i < n; i++)
		if (data[i] != content(piece->number, offset + i))
			ck_abort_msg("piece %u, byte %zu: %d", piece->number,
				     offset + i, data[i]);
	free(data);
}

static void piece_remove(struct spill_file *file, struct piece *piece)
{
	piece_check(file, piece, 0, piece->nr_bytes);
	spill_file_remove(file, &piece->extent);
	piece->nr_bytes = 0;
}

/* ---- extents ------------------------------------------------------------- */

START_TEST(what_is_written_is_read)
{
	struct spill_file file;
	struct piece pieces[3];

	file_init(&file);
	ck_assert_int_eq(piece_write(&file, &pieces[0], 0, 1), 0);
	ck_assert_int_eq(piece_write(&file, &pieces[1], 1, 300 * KIB + 5), 0);
	ck_assert_int_eq(piece_write(&file, &pieces[2], 2, 4096), 0);
	piece_check(&file, &pieces[1], 0, 300 * KIB + 5);
	piece_check(&file, &pieces[1], 300 * KIB + 4, 1);
	piece_check(&file, &pieces[1], 4099, 8191);
	piece_check(&file, &pieces[1], 300 * KIB + 5, 0);
	piece_check(&file, &pieces[0], 0, 1);
	piece_check(&file, &pieces[2], 0, 4096);
	spill_file_fini(&file);
}
END_TEST

START_TEST(whole_blocks_are_counted)
{
	struct spill_file file;
	uint64_t block;

	file_init(&file);
	block = spill_file_round_up(&file, 1);
	ck_assert_uint_ge(block, 4096);
	ck_assert_uint_eq(spill_file_round_up(&file, block), block);
	ck_assert_uint_eq(spill_file_round_up(&file, block + 1), 2 * block);
	ck_assert_uint_eq(spill_file_round_up(&file, 9 * block - 1), 9 * block);
	spill_file_fini(&file);
}
END_TEST

/* From between two others, which keep theirs. */
START_TEST(removed_space_is_given_back)
{
	struct spill_file file;
	struct piece pieces[3];

	file_init(&file);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_int_eq(
			piece_write(&file, &pieces[i], i, 200 * KIB - 1), 0);
	ck_assert_uint_ge(bytes_used(&file), 600 * KIB - 3);
	piece_remove(&file, &pieces[1]);
	ck_assert_uint_le(bytes_used(&file), 400 * KIB + 64 * KIB);
	piece_remove(&file, &pieces[2]);
	piece_remove(&file, &pieces[0]);
	ck_assert_uint_eq(bytes_used(&file), 0);
	spill_file_fini(&file);
}
END_TEST

/* ---- the limit ----------------------------------------------------------- */

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

START_TEST(all_below_the_limit_is_used)
{
	struct spill_file file;
	struct piece pieces[5];

	limit_file_size(4 * MIB + 4095);
	file_init(&file);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_int_eq(piece_write(&file, &pieces[i], i, MIB), 0);
	ck_assert_int_eq(piece_write(&file, &pieces[4], 4, 1), -EFBIG);
	/* Gaps of one and of two; a whole one is filled to the last byte. */
	piece_remove(&file, &pieces[1]);
	ck_assert_int_eq(piece_write(&file, &pieces[4], 4, MIB + 1), -EFBIG);
	ck_assert_int_eq(piece_write(&file, &pieces[4], 4, MIB), 0);
	piece_remove(&file, &pieces[2]);
	piece_remove(&file, &pieces[4]);
	ck_assert_int_eq(piece_write(&file, &pieces[4], 4, 2 * MIB), 0);
	piece_check(&file, &pieces[0], 0, MIB);
	piece_check(&file, &pieces[3], 0, MIB);
	piece_remove(&file, &pieces[0]);
	ck_assert_int_eq(piece_write(&file, &pieces[0], 0, MIB), 0);
	ck_assert_int_eq(piece_write(&file, &pieces[1], 1, 1), -EFBIG);
	spill_file_fini(&file);
}
END_TEST

#define NR_PIECES 24
#define NR_BLOCKS 128

/* The longest run of blocks that no piece lies in. */
static uint64_t longest_gap(const struct spill_file *file,
			    const struct piece *pieces)
{
	bool used[NR_BLOCKS] = { false };
	uint64_t run = 0, longest = 0;

	for (unsigned int i = 0; i < NR_PIECES; i++) {
		const struct spill_extent *extent = &pieces[i].extent;

		if (!pieces[i].nr_bytes)
			continue;
		ck_assert_uint_ge(extent->bytes, pieces[i].nr_bytes);
		for (uint64_t at = 0; at < extent->bytes;
		     at += file->block_bytes) {
			uint64_t block =
				(extent->offset + at) / file->block_bytes;

			ck_assert_uint_lt(block, NR_BLOCKS);
			ck_assert(!used[block]);
			used[block] = true;
		}
	}
	for (unsigned int i = 0; i < NR_BLOCKS; i++) {
		run = used[i] ? 0 : run + 1;
		longest = run > longest ? run : longest;
	}
	return longest * file->block_bytes;
}

/* They come and go: one is refused only when no gap would take it. */
START_TEST(gaps_of_all_sizes_are_found)
{
	struct piece pieces[NR_PIECES] = { 0 };
	struct spill_file file;
	unsigned int seed = 1, nr_refused = 0;

	file_init(&file);
	file.limit_bytes = NR_BLOCKS * file.block_bytes;
	for (unsigned int round = 0; round < 1500; round++) {
		struct piece *piece =
			&pieces[(unsigned int)rand_r(&seed) % NR_PIECES];
		size_t nr_bytes =
			1 + (size_t)rand_r(&seed) % (16 * file.block_bytes);
		uint64_t gap;
		int rc;

		if (piece->nr_bytes)
			piece_remove(&file, piece);
		gap = longest_gap(&file, pieces);
		rc = piece_write(&file, piece, round, nr_bytes);
		ck_assert_int_eq(rc, gap >= nr_bytes ? 0 : -EFBIG);
		nr_refused += rc < 0;
	}
	ck_assert_uint_gt(nr_refused, 100);
	ck_assert_uint_lt(nr_refused, 1400);
	spill_file_fini(&file);
}
END_TEST

/* A write that comes out short, and then fails. */
START_TEST(a_failed_write_leaves_nothing)
{
	struct spill_file file;
	struct piece pieces[2];

	file_init(&file);
	signal(SIGXFSZ, SIG_IGN);
	limit_file_size(500 * KIB);
	ck_assert_int_eq(piece_write(&file, &pieces[0], 0, 600 * KIB), -EFBIG);
	ck_assert_uint_eq(bytes_used(&file), 0);
	/* Its place is free again. */
	ck_assert_int_eq(piece_write(&file, &pieces[1], 1, 400 * KIB), 0);
	piece_check(&file, &pieces[1], 0, 400 * KIB);
	spill_file_fini(&file);
}
END_TEST

START_TEST(a_full_file_system)
{
	char dir[PATH_MAX];
	struct spill_file file;
	struct piece pieces[2];

	snprintf(dir, sizeof(dir), "%s/spill", unit_dir());
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert(private_tmpfs_mount(dir, 0, "size=500k"));
	setenv("TMPDIR", dir, 1);
	file_init(&file);
	ck_assert_int_eq(piece_write(&file, &pieces[0], 0, 300 * KIB), 0);
	ck_assert_int_eq(piece_write(&file, &pieces[1], 1, 300 * KIB), -ENOSPC);
	ck_assert_uint_eq(bytes_used(&file), 300 * KIB);
	piece_remove(&file, &pieces[0]);
	ck_assert_int_eq(piece_write(&file, &pieces[1], 1, 480 * KIB), 0);
	piece_check(&file, &pieces[1], 0, 480 * KIB);
	spill_file_fini(&file);
}
END_TEST

START_TEST(a_cut_file_is_an_error)
{
	struct spill_file file;
	struct piece piece;
	unsigned char data[10];

	file_init(&file);
	ck_assert_int_eq(piece_write(&file, &piece, 0, 10000), 0);
	ck_assert_int_eq(ftruncate(file.fd, 9995), 0);
	ck_assert_int_eq(spill_file_read(&file, &piece.extent, 9990, data, 10),
			 -EIO);
	piece_check(&file, &piece, 0, 9995);
	spill_file_fini(&file);
}
END_TEST

/* ---- where it is made ---------------------------------------------------- */

static void check_works(void)
{
	struct spill_file file;
	struct piece piece;

	file_init(&file);
	ck_assert_int_eq(piece_write(&file, &piece, 0, 10 * KIB), 0);
	ck_assert_uint_ge(bytes_used(&file), 10 * KIB);
	piece_remove(&file, &piece);
	ck_assert_uint_eq(bytes_used(&file), 0);
	spill_file_fini(&file);
}

START_TEST(a_bad_tmpdir_is_passed_over)
{
	setenv("TMPDIR", _i ? "/proc" : "/no/such/directory", 1);
	check_works();
}
END_TEST

/* $TMPDIR first, then the directory that outlives a boot. */
START_TEST(the_right_directory_is_taken)
{
	char dir[PATH_MAX];
	struct spill_file file;
	struct stat want, st;

	snprintf(dir, sizeof(dir), "%s/right", unit_dir());
	if (_i)
		strcpy(dir, "/var/tmp");
	else
		ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert(private_tmpfs_mount(dir, 0, NULL));
	setenv("TMPDIR", _i ? "/no/such/directory" : dir, 1);
	file_init(&file);
	ck_assert_int_eq(stat(dir, &want), 0);
	ck_assert_int_eq(fstat(file.fd, &st), 0);
	ck_assert_uint_eq(st.st_dev, want.st_dev);
	spill_file_fini(&file);
}
END_TEST

/* No directory takes a file. */
START_TEST(a_memfd_is_the_last_resort)
{
	ck_assert(private_tmpfs_mount("/var/tmp", MS_RDONLY, NULL));
	unsetenv("TMPDIR");
	check_works();
}
END_TEST

/* ---- threads ------------------------------------------------------------- */

struct churner {
	pthread_t thread;
	struct spill_file *file;
	unsigned int seed;
};

/* Reads what it wrote, whatever the others write and remove. */
static void *churn(void *arg)
{
	struct churner *churner = arg;
	struct piece pieces[4] = { 0 };

	for (unsigned int i = 0; i < 300; i++) {
		struct piece *piece = &pieces[i % 4];
		size_t nr_bytes =
			1 + (size_t)rand_r(&churner->seed) % (60 * KIB);

		if (piece->nr_bytes)
			piece_remove(churner->file, piece);
		ck_assert_int_eq(piece_write(churner->file, piece,
					     churner->seed + i, nr_bytes),
				 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		piece_remove(churner->file, &pieces[i]);
	return NULL;
}

START_TEST(threads_do_not_meet)
{
	struct spill_file file;
	struct churner churners[4];

	file_init(&file);
	/* Room for 15 others, and as many gaps that are just too small. */
	file.limit_bytes = 32 * spill_file_round_up(&file, 60 * KIB);
	for (unsigned int i = 0; i < 4; i++) {
		churners[i].file = &file;
		churners[i].seed = i;
		ck_assert_int_eq(pthread_create(&churners[i].thread, NULL,
						churn, &churners[i]),
				 0);
	}
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(churners[i].thread, NULL);
	ck_assert_uint_eq(bytes_used(&file), 0);
	spill_file_fini(&file);
}
END_TEST

/* ---- the suite ----------------------------------------------------------- */

Suite *suite_spill_file(void)
{
	Suite *suite = suite_create("spill-file");
	TCase *tc = tcase_create("spill-file");

	tcase_add_test(tc, what_is_written_is_read);
	tcase_add_test(tc, whole_blocks_are_counted);
	tcase_add_test(tc, removed_space_is_given_back);
	tcase_add_test(tc, all_below_the_limit_is_used);
	tcase_add_test(tc, gaps_of_all_sizes_are_found);
	tcase_add_test(tc, a_failed_write_leaves_nothing);
	tcase_add_test(tc, a_cut_file_is_an_error);
	tcase_add_loop_test(tc, a_bad_tmpdir_is_passed_over, 0, 2);
	if (private_tmpfs_can_mount()) {
		tcase_add_test(tc, a_full_file_system);
		tcase_add_loop_test(tc, the_right_directory_is_taken, 0, 2);
		tcase_add_test(tc, a_memfd_is_the_last_resort);
	} else {
		unit_skip("spill-file/a_full_file_system",
			  "no right to mount a tmpfs");
		unit_skip("spill-file/the_right_directory_is_taken",
			  "no right to mount a tmpfs");
		unit_skip("spill-file/a_memfd_is_the_last_resort",
			  "no right to mount a tmpfs");
	}
	tcase_add_test(tc, threads_do_not_meet);
	suite_add_tcase(suite, tc);
	return suite;
}
