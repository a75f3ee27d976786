/* SPDX-License-Identifier: BSD-2-Clause */
/* providers/file-map.h on a real file in memory. */
#include "providers/file-map.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE FILE_MAP_PAGE_BYTES
#define CHUNK FILE_MAP_CHUNK_BYTES

static struct file_map map;
static int fd = -1;
static unsigned char *buffer; /* two chunks */

static void setup(void)
{
	buffer = calloc(1, 2 * CHUNK + 1);
	ck_assert_ptr_nonnull(buffer);
	fd = memfd_create("image", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
}

static void teardown(void)
{
	file_map_fini(&map);
	close(fd);
	free(buffer);
}

/* An image that is one hole. */
static void set_up_image(uint64_t bytes)
{
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	file_map_init(&map, fd, bytes);
	ck_assert_ptr_nonnull(map.bytes);
}

static struct block_io io_of(enum block_op op, uint64_t offset, uint64_t bytes,
			     struct iovec *iov)
{
	*iov = (struct iovec){ buffer, bytes };
	return (struct block_io){
		.op = op,
		.offset_bytes = offset,
		.length_bytes = bytes,
		.iov = iov,
		.nr_iov = 1,
	};
}

/* As the provider does it.  Whether it was read out of the mapping. */
static bool do_read(uint64_t offset, uint64_t bytes)
{
	struct iovec iov;
	struct block_io io = io_of(BLOCK_OP_READ, offset, bytes, &iov);

	memset(buffer, 0xdb, bytes);
	if (file_map_read(&map, &io))
		return true;
	ck_assert_int_eq(pread(fd, buffer, bytes, (off_t)offset),
			 (ssize_t)bytes);
	return false;
}

/* By somebody else; and by us. */
static void write_file(uint64_t offset, uint64_t bytes, int value)
{
	memset(buffer, value, bytes);
	ck_assert_int_eq(pwrite(fd, buffer, bytes, (off_t)offset),
			 (ssize_t)bytes);
}

static void do_write(uint64_t offset, uint64_t bytes, int value)
{
	write_file(offset, bytes, value);
	file_map_written(&map, offset, bytes);
}

static void check_bytes(uint64_t start, uint64_t bytes, int value)
{
	const unsigned char *data = buffer + start;

	ck_assert_msg(data[0] == value &&
			      memcmp(data, data + 1, bytes - 1) == 0,
		      "not %llu bytes %#x", (unsigned long long)bytes, value);
}

/* Pages that the file has. */
static uint64_t pages_of_file(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512 / PAGE;
}

/* Bytes of the file that this process has mapped. */
static uint64_t bytes_mapped(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	unsigned long kilobytes = 0;
	bool inside = false;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)map.bytes);
	while (fgets(line, sizeof(line), f)) {
		inside |= !strncmp(line, start, strlen(start));
		if (inside && sscanf(line, "Rss: %lu", &kilobytes) == 1)
			break;
	}
	fclose(f);
	ck_assert(inside);
	return (uint64_t)kilobytes << 10;
}

/* What was written by us, and what others had written before. */
START_TEST(what_is_there_is_mapped)
{
	write_file(2 * PAGE, 8 * PAGE, 0x11);
	write_file(64 * PAGE, PAGE, 0x12);
	set_up_image(2 * CHUNK);
	ck_assert(do_read(2 * PAGE, 8 * PAGE));
	check_bytes(0, 8 * PAGE, 0x11);
	ck_assert(do_read(2 * PAGE + 512, 512));
	ck_assert(do_read(5 * PAGE - 512, 1024));
	ck_assert(do_read(64 * PAGE, PAGE));
	check_bytes(0, PAGE, 0x12);
	do_write(20 * PAGE + 512, 512, 0x22);
	ck_assert(do_read(20 * PAGE, PAGE));
	check_bytes(0, 512, 0);
	check_bytes(512, 512, 0x22);
	check_bytes(1024, PAGE - 1024, 0);
	/* In a chunk that was not read before. */
	do_write(100 * PAGE, 512, 0x23);
	ck_assert(do_read(100 * PAGE, PAGE));
}
END_TEST

/* One byte that is not zero is enough, wherever in a page; 0 bytes are not. */
START_TEST(looks_at_all_of_a_page)
{
	set_up_image(2 * CHUNK - 512);
	for (unsigned int i = 0; i < 64; i += 2)
		ck_assert_int_eq(
			pwrite(fd, "\1", 1, (off_t)(i * PAGE + i * 65)), 1);
	ck_assert_int_eq(pwrite(fd, "\1", 1, 2 * CHUNK - 513), 1);
	for (unsigned int i = 0; i < 64; i++)
		ck_assert_int_eq(do_read((uint64_t)i * PAGE, PAGE), i % 2 == 0);
	ck_assert_uint_eq(pages_of_file(), 33);
	ck_assert(do_read(2 * CHUNK - PAGE, PAGE - 512));
	ck_assert(!do_read(2 * CHUNK - 2 * PAGE, PAGE));
	ck_assert_uint_eq(pages_of_file(), 33);
}
END_TEST

/* No read makes a page of one, however often and whatever is beside it. */
START_TEST(holes_stay_holes)
{
	set_up_image(2 * CHUNK);
	for (int i = 0; i < 3; i++) {
		ck_assert(!do_read(0, 2 * CHUNK));
		check_bytes(0, 2 * CHUNK, 0);
	}
	ck_assert_uint_eq(pages_of_file(), 0);
	/* At both sides of the border between two chunks. */
	do_write(CHUNK - PAGE, 2 * PAGE, 0x33);
	do_write(5 * PAGE, PAGE, 0x44);
	ck_assert_uint_eq(pages_of_file(), 3);
	ck_assert(do_read(CHUNK - PAGE, 2 * PAGE));
	check_bytes(0, 2 * PAGE, 0x33);
	ck_assert(do_read(5 * PAGE, PAGE));
	for (int i = 0; i < 3; i++) {
		ck_assert(!do_read(4 * PAGE, 2 * PAGE));
		check_bytes(0, PAGE, 0);
		check_bytes(PAGE, PAGE, 0x44);
		ck_assert(!do_read(5 * PAGE, 2 * PAGE));
		ck_assert(!do_read(CHUNK - 2 * PAGE, 4 * PAGE));
		ck_assert(!do_read(6 * PAGE - 512, 1024));
	}
	ck_assert_uint_eq(pages_of_file(), 3);
}
END_TEST

/* Zeroes that are there look like a hole, but for those that we have written. */
START_TEST(zeroes_may_be_there)
{
	set_up_image(CHUNK);
	do_write(0, PAGE, 0);
	ck_assert(do_read(0, PAGE));
	file_map_fini(&map);
	set_up_image(CHUNK);
	for (int i = 0; i < 3; i++)
		ck_assert(!do_read(0, PAGE));
}
END_TEST

START_TEST(pieces)
{
	struct iovec iov[3] = { { buffer, 512 },
				{ buffer + 8192, 2 * PAGE },
				{ buffer + 4096, 3584 } };
	struct block_io io = { .op = BLOCK_OP_READ,
			       .offset_bytes = CHUNK - PAGE,
			       .length_bytes = 3 * PAGE,
			       .iov = iov,
			       .nr_iov = 3 };

	set_up_image(2 * CHUNK);
	/* All zeroes but for the last byte of the second page. */
	write_file(CHUNK - PAGE, PAGE, 1);
	write_file(CHUNK + PAGE, PAGE, 3);
	ck_assert_int_eq(pwrite(fd, "\2", 1, CHUNK + PAGE - 1), 1);
	memset(buffer, 0xdb, CHUNK);
	ck_assert(file_map_read(&map, &io));
	check_bytes(0, 512, 1);
	check_bytes(512, 3584, 0xdb);
	check_bytes(8192, 3584, 1);
	check_bytes(8192 + 3584, PAGE - 1, 0);
	check_bytes(8192 + 3584 + PAGE - 1, 1, 2);
	check_bytes(8192 + 3584 + PAGE, 512, 3);
	check_bytes(4096, 3584, 3);
	/* The rest of it. */
	io.done_bytes = PAGE;
	io.iov = &(struct iovec){ buffer, 2 * PAGE };
	io.nr_iov = 1;
	ck_assert(file_map_read(&map, &io));
	check_bytes(PAGE - 1, 1, 2);
}
END_TEST

START_TEST(punched_is_a_hole)
{
	set_up_image(2 * CHUNK);
	do_write(0, 2 * CHUNK, 0x55);
	ck_assert(do_read(0, 2 * CHUNK));
	ck_assert_int_eq(fallocate(fd,
				   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   CHUNK - PAGE, 2 * PAGE),
			 0);
	file_map_punched(&map, CHUNK - PAGE, 2 * PAGE);
	ck_assert(!do_read(CHUNK - PAGE, PAGE));
	check_bytes(0, PAGE, 0);
	ck_assert(!do_read(CHUNK, PAGE));
	ck_assert(do_read(CHUNK - 2 * PAGE, PAGE));
	ck_assert(do_read(CHUNK + PAGE, PAGE));
	ck_assert_uint_eq(pages_of_file(), 2 * CHUNK / PAGE - 2);
	/* Past the end of what is mapped. */
	file_map_punched(&map, 0, UINT64_C(1) << 40);
	ck_assert(!do_read(0, PAGE));
}
END_TEST

/* Others write to it, make it longer, cut it short. */
START_TEST(changed_behind_our_back)
{
	struct iovec iov;
	struct block_io io;

	set_up_image(CHUNK);
	do_write(0, CHUNK, 0x66);
	memset(buffer, 0x67, PAGE);
	ck_assert_int_eq(pwrite(fd, buffer, PAGE, 0), PAGE);
	ck_assert(do_read(0, 2 * PAGE));
	check_bytes(0, PAGE, 0x67);
	check_bytes(PAGE, PAGE, 0x66);

	ck_assert_int_eq(ftruncate(fd, 2 * CHUNK), 0);
	do_write(CHUNK, PAGE, 0x68);
	ck_assert(!do_read(CHUNK, PAGE));
	ck_assert(!do_read(CHUNK - PAGE, 2 * PAGE));
	/* What is written across the end of the mapping counts up to there. */
	file_map_punched(&map, CHUNK - PAGE, PAGE);
	do_write(CHUNK - PAGE, 2 * PAGE, 0);
	ck_assert(do_read(CHUNK - PAGE, PAGE));

	ck_assert_int_eq(ftruncate(fd, PAGE), 0);
	ck_assert(do_read(0, PAGE));
	for (int i = 1; i < 4; i++) {
		io = io_of(BLOCK_OP_READ, (uint64_t)i * PAGE, 512, &iov);
		ck_assert(!file_map_read(&map, &io));
		ck_assert(!file_map_read(&map, &io));
	}
	ck_assert(do_read(0, PAGE));
	check_bytes(0, PAGE, 0x67);
	io = io_of(BLOCK_OP_READ, 0, 5 * PAGE, &iov);
	ck_assert(!file_map_read(&map, &io));
	/* And back: what was cut off is a hole, and stays one. */
	ck_assert_int_eq(ftruncate(fd, CHUNK), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert(!do_read(PAGE, PAGE));
		check_bytes(0, PAGE, 0);
	}
	ck_assert_uint_eq(pages_of_file(), 1);
}
END_TEST

/* A SIGBUS of anything else ends the process, as it does without this. */
START_TEST(other_sigbus)
{
	int other = memfd_create("other", MFD_CLOEXEC);
	volatile char *bytes =
		mmap(NULL, PAGE, PROT_READ, MAP_SHARED, other, 0);

	signal(SIGBUS, SIG_DFL);
	set_up_image(CHUNK);
	do_write(0, PAGE, 0x78);
	ck_assert(do_read(0, PAGE));
	(void)*bytes;
}
END_TEST

/* So does one that was sent. */
START_TEST(sigbus_of_a_process)
{
	signal(SIGBUS, SIG_DFL);
	set_up_image(CHUNK);
	do_write(0, PAGE, 0x79);
	ck_assert(do_read(0, PAGE));
	kill(getpid(), SIGBUS);
	pause();
}
END_TEST

/* Longer than what may be mapped, and the last chunk is not a whole one. */
#define NR_LARGE (FILE_MAP_KEPT_MAX + 200)

static unsigned char value_of(uint64_t chunk)
{
	return (unsigned char)(chunk % 255 + 1);
}

static void set_up_large_image(void)
{
	uint64_t bytes = (uint64_t)NR_LARGE * CHUNK - 63 * PAGE;

	for (uint64_t i = 0; i < NR_LARGE; i++)
		write_file(i * CHUNK, CHUNK, value_of(i));
	set_up_image(bytes);
	/* All that is ever unmapped is ours, wherever it lies. */
	ck_assert_uint_eq(map.room_bytes % CHUNK, 0);
	ck_assert_uint_ge((uint64_t)((char *)map.room + map.room_bytes -
				     (char *)map.bytes),
			  (uint64_t)NR_LARGE * CHUNK);
}

static bool read_chunk(uint64_t i)
{
	uint64_t bytes = i == NR_LARGE - 1 ? PAGE : CHUNK;
	bool mapped = do_read(i * CHUNK, bytes);

	check_bytes(0, bytes, value_of(i));
	return mapped;
}

/* In an order of its own. */
START_TEST(no_more_than_that_is_kept)
{
	set_up_large_image();
	for (int round = 0; round < 3; round++) {
		for (uint64_t i = 0; i < NR_LARGE; i++)
			read_chunk(i * 617 % NR_LARGE);
		ck_assert_uint_le(bytes_mapped(), FILE_MAP_KEPT_BYTES);
		ck_assert_uint_ge(bytes_mapped(), FILE_MAP_KEPT_BYTES / 2);
	}
	/* What is read all the time is let in. */
	for (uint64_t i = 0; i < 6 * 200; i++)
		read_chunk(i % 200);
	for (uint64_t i = 0; i < 200; i++)
		ck_assert(read_chunk(i));
	ck_assert_uint_le(bytes_mapped(), FILE_MAP_KEPT_BYTES);
}
END_TEST

static bool page_is_mapped(uint64_t offset)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry;

	ck_assert_int_eq(pread(pagemap, &entry, sizeof(entry),
			       (off_t)(((uintptr_t)map.bytes + offset) / PAGE *
				       sizeof(entry))),
			 sizeof(entry));
	close(pagemap);
	return entry >> 63;
}

/* One that is let in may make the one before it go, in the same read. */
START_TEST(makes_room_for_its_neighbour)
{
	const uint64_t border = 501 * CHUNK;

	set_up_large_image();
	ck_assert(read_chunk(500));
	for (uint64_t i = 0; i <= FILE_MAP_KEPT_MAX; i++)
		if (i != 500 && i != 501)
			ck_assert(read_chunk(i));
	ck_assert_uint_eq(map.nr_kept, FILE_MAP_KEPT_MAX);
	ck_assert(page_is_mapped(border - PAGE));
	while (!do_read(border - PAGE, 2 * PAGE))
		;
	check_bytes(0, PAGE, value_of(500));
	check_bytes(PAGE, PAGE, value_of(501));
	ck_assert(page_is_mapped(border));
	ck_assert(!page_is_mapped(border - PAGE));
}
END_TEST

/* Several queues, of which each has others' chunks make room. */
static void *read_at_random(void *arg)
{
	enum { BYTES = 32 * 4096 };
	uint64_t seed = (uint64_t)(uintptr_t)arg, nr_wrong = 0;
	uint64_t end = (uint64_t)(NR_LARGE - 1) * CHUNK - BYTES;
	unsigned char *data = malloc(BYTES);
	struct iovec iov;
	struct block_io io;

	for (int i = 0; i < 4000; i++) {
		seed = seed * 6364136223846793005 + 1442695040888963407;
		iov = (struct iovec){ data, BYTES };
		io = (struct block_io){ .op = BLOCK_OP_READ,
					.offset_bytes =
						(seed >> 20) % end / 512 * 512,
					.length_bytes = BYTES,
					.iov = &iov,
					.nr_iov = 1 };
		if (!file_map_read(&map, &io))
			continue;
		for (uint64_t at = 0; at < BYTES; at += 512)
			nr_wrong += data[at] !=
				    value_of((io.offset_bytes + at) / CHUNK);
	}
	free(data);
	return (void *)(uintptr_t)nr_wrong;
}

START_TEST(several_queues)
{
	pthread_t threads[4];
	void *nr_wrong;

	set_up_large_image();
	for (uintptr_t i = 0; i < NR_OF(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
						read_at_random,
						(void *)(i + 1)),
				 0);
	for (unsigned int i = 0; i < NR_OF(threads); i++) {
		ck_assert_int_eq(pthread_join(threads[i], &nr_wrong), 0);
		ck_assert_ptr_null(nr_wrong);
	}
	ck_assert_uint_eq(map.nr_kept, FILE_MAP_KEPT_MAX);
	ck_assert_uint_le(bytes_mapped(), FILE_MAP_KEPT_BYTES);
}
END_TEST

/* Where nothing is mapped, everything can be called and nothing is read. */
START_TEST(no_mapping)
{
	struct iovec iov;
	struct block_io io = io_of(BLOCK_OP_READ, 0, PAGE, &iov);

	file_map_init(&map, -1, PAGE);
	ck_assert(!file_map_read(&map, &io));
	file_map_written(&map, 0, PAGE);
	file_map_punched(&map, 0, PAGE);
	file_map_fini(&map);
}
END_TEST

Suite *suite_file_map(void)
{
	Suite *suite = suite_create("file-map");
	TCase *tc = tcase_create("all");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_there_is_mapped);
	tcase_add_test(tc, looks_at_all_of_a_page);
	tcase_add_test(tc, holes_stay_holes);
	tcase_add_test(tc, zeroes_may_be_there);
	tcase_add_test(tc, pieces);
	tcase_add_test(tc, punched_is_a_hole);
	tcase_add_test(tc, changed_behind_our_back);
	tcase_add_test_raise_signal(tc, other_sigbus, SIGBUS);
	tcase_add_test_raise_signal(tc, sigbus_of_a_process, SIGBUS);
	tcase_add_test(tc, no_more_than_that_is_kept);
	tcase_add_test(tc, makes_room_for_its_neighbour);
	tcase_add_test(tc, several_queues);
	tcase_add_test(tc, no_mapping);
	suite_add_tcase(suite, tc);
	return suite;
}
