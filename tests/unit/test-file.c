/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * providers/file.h on real files: a file system with O_DIRECT, one without
 * (tmpfs), and a loop device; and every file that is refused.
 */
#include "common/io-loop.h"
#include "providers/file.h"
#include "tests/unit/loop-device.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const struct block_provider_ops *const registry[] = { &file_provider_ops,
							     NULL };

static char path[512];
static struct block_provider *provider;
static struct block_queue *queue;
static struct io_loop *loop;
static struct error_text err;
static unsigned char *buffer; /* 64 KiB, aligned to a page */

static void setup(void)
{
	buffer = aligned_alloc(4096, 65536);
	ck_assert_ptr_nonnull(buffer);
}

static void teardown(void)
{
	block_queue_close(queue);
	block_provider_close(provider);
	io_loop_free(loop);
	free(buffer);
	unlink(path);
}

/* Byte i of a disk that nobody has written to. */
static unsigned char fill_byte(uint64_t i)
{
	return (unsigned char)(i * 7 + i / 512 * 13 + 1);
}

static void make_file(const char *dir, uint64_t bytes)
{
	FILE *f;

	snprintf(path, sizeof(path), "%s/image.%d", dir, (int)getpid());
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	for (uint64_t i = 0; i < bytes; i++)
		putc(fill_byte(i), f);
	ck_assert_int_eq(fclose(f), 0);
}

static int open_path(bool read_only)
{
	return block_provider_open(registry, path, read_only, &provider, &err);
}

static void open_good(bool read_only)
{
	ck_assert_msg(open_path(read_only) == 0, "%s", err.text);
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	ck_assert_int_eq(block_queue_open(provider, loop, &queue), 0);
}

/* One I/O with the first bytes of the buffer, in nr_iov pieces. */
static int do_io(enum block_op op, uint64_t offset, size_t bytes,
		 unsigned int nr_iov)
{
	struct iovec iov[4];
	struct block_io io = { .op = op,
			       .offset_bytes = offset,
			       .length_bytes = bytes,
			       .iov = iov,
			       .nr_iov = nr_iov };
	struct block_io *done;

	for (unsigned int i = 0; i < nr_iov; i++)
		iov[i] = (struct iovec){ buffer + i * (bytes / nr_iov),
					 bytes / nr_iov };
	block_submit(queue, &io);
	while (!(done = block_queue_next_done(queue)))
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_ptr_eq(done, &io);
	return io.error;
}

static int do_read(uint64_t offset, size_t bytes)
{
	memset(buffer, 0xdb, bytes);
	return do_io(BLOCK_OP_READ, offset, bytes, 1);
}

static int do_write(uint64_t offset, size_t bytes)
{
	return do_io(BLOCK_OP_WRITE, offset, bytes, 1);
}

static int do_flush(void)
{
	return do_io(BLOCK_OP_FLUSH, 0, 0, 0);
}

static void check_fill(uint64_t offset, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		ck_assert_msg(buffer[i] == fill_byte(offset + i),
			      "byte %llu is %#x",
			      (unsigned long long)(offset + i), buffer[i]);
}

/* ---- serving ---------------------------------------------------------- */

/* Where the file lies: real storage, then tmpfs. */
static const char *place(int i)
{
	return i ? "/dev/shm" : unit_dir();
}

/* Offsets and lengths that suit O_DIRECT, and that do not, mixed. */
static const struct {
	uint64_t sector;
	unsigned int nr;
} spans[] = {
	{ 0, 1 },  { 0, 8 },  { 1, 1 },   { 7, 2 },   { 8, 8 },   { 8, 16 },
	{ 3, 88 }, { 96, 7 }, { 102, 1 }, { 0, 103 }, { 16, 87 },
};

/* 103 sectors: a multiple of 512 and not of 4096. */
START_TEST(reads_and_writes)
{
	static unsigned char model[103 * 512];

	make_file(place(_i), sizeof(model));
	for (size_t b = 0; b < sizeof(model); b++)
		model[b] = fill_byte(b);
	open_good(false);
	ck_assert_uint_eq(provider->info.size_bytes, sizeof(model));
	for (size_t i = 0; i < NR_OF(spans); i++) {
		uint64_t offset = spans[i].sector * 512;
		size_t bytes = spans[i].nr * 512;

		ck_assert_int_eq(do_read(offset, bytes), 0);
		ck_assert_mem_eq(buffer, model + offset, bytes);
		memset(buffer, (int)i + 1, bytes);
		buffer[bytes - 1] = 0;
		memcpy(model + offset, buffer, bytes);
		ck_assert_int_eq(do_write(offset, bytes), 0);
		ck_assert_int_eq(do_read(0, sizeof(model)), 0);
		ck_assert_mem_eq(buffer, model, sizeof(model));
	}
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

START_TEST(vectors)
{
	make_file(place(_i), 65536);
	open_good(false);
	ck_assert_int_eq(do_io(BLOCK_OP_READ, 4096, 4 * 4096, 4), 0);
	check_fill(4096, 4 * 4096);
	memset(buffer, 0x5a, 2048);
	ck_assert_int_eq(do_io(BLOCK_OP_WRITE, 512, 2048, 4), 0);
	memset(buffer, 0, 2048);
	ck_assert_int_eq(do_io(BLOCK_OP_READ, 512, 2048, 2), 0);
	for (int i = 0; i < 2048; i++)
		ck_assert_uint_eq(buffer[i], 0x5a);
	ck_assert_int_eq(do_read(2560, 512), 0);
	check_fill(2560, 512);
}
END_TEST

START_TEST(sparse_files)
{
	static const unsigned char zeroes[4096];
	struct stat st;

	make_file(place(_i), 512);
	ck_assert_int_eq(truncate(path, INT64_C(1) << 40), 0);
	open_good(false);
	ck_assert_uint_eq(provider->info.size_bytes, UINT64_C(1) << 40);
	ck_assert_int_eq(do_read((UINT64_C(1) << 40) - 4096, 4096), 0);
	ck_assert_mem_eq(buffer, zeroes, 4096);
	memset(buffer, 0x77, 512);
	ck_assert_int_eq(do_write((UINT64_C(1) << 39) + 512, 512), 0);
	ck_assert_int_eq(do_read(UINT64_C(1) << 39, 4096), 0);
	ck_assert_mem_eq(buffer, zeroes, 512);
	ck_assert_uint_eq(buffer[512], 0x77);
	ck_assert_mem_eq(buffer + 1024, zeroes, 3072);
	/* It has stayed sparse, and has not g_in. */
	ck_assert_int_eq(do_flush(), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, INT64_C(1) << 40);
	ck_assert_int_lt(st.st_blocks, 1024);
}
END_TEST

/* Bytes of the file that this process has mapped. */
static unsigned long bytes_mapped(void)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long kilobytes, sum = 0;
	bool inside = false;
	char line[512];

	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, path))
			inside = true;
		else if (strstr(line, "VmFlags"))
			inside = false;
		else if (inside && sscanf(line, "Rss: %lu", &kilobytes) == 1)
			sum += kilobytes << 10;
	}
	fclose(f);
	return sum;
}

/* Memory is read where it is: what was written, and what was there before. */
START_TEST(memory_is_mapped)
{
	make_file(place(1), 131072);
	ck_assert_int_eq(truncate(path, 262144), 0);
	open_good(false);
	/* Zeroes, which nobody would take for more than a hole. */
	memset(buffer, 0, 4096);
	ck_assert_int_eq(do_write(200704, 4096), 0);
	ck_assert_int_eq(do_read(200704, 4096), 0);
	ck_assert_uint_eq(bytes_mapped(), 4096);
	for (uint64_t at = 0; at < 131072; at += 65536) {
		ck_assert_int_eq(do_read(at, 65536), 0);
		check_fill(at, 65536);
	}
	ck_assert_uint_ge(bytes_mapped(), 131072 + 4096);
	ck_assert_int_eq(do_read(131072, 65536), 0);
	ck_assert_uint_eq(buffer[65535], 0);
	block_queue_close(queue);
	block_provider_close(provider);
	queue = NULL;
	provider = NULL;
	ck_assert_uint_eq(bytes_mapped(), 0);
}
END_TEST

/* Never bytes that were not read: a read that comes up short is an error. */
START_TEST(image_cut_short)
{
	make_file(place(_i), 16384);
	open_good(false);
	/* Whatever is remembered of it. */
	ck_assert_int_eq(do_read(0, 16384), 0);
	ck_assert_int_eq(truncate(path, 8192), 0);
	ck_assert_int_eq(do_read(0, 8192), 0);
	check_fill(0, 8192);
	ck_assert_int_eq(do_read(8192, 4096), -EIO);
	ck_assert_int_eq(do_read(4096, 8192), -EIO);
	ck_assert_int_eq(do_read(7680, 1024), -EIO);
	ck_assert_int_eq(do_read(4096, 4096), 0);
	check_fill(4096, 4096);
}
END_TEST

START_TEST(serves_read_only)
{
	make_file(place(_i), 8192);
	open_good(true);
	ck_assert(provider->info.read_only);
	ck_assert_int_eq(do_write(0, 512), -EROFS);
	ck_assert_int_eq(do_read(0, 8192), 0);
	check_fill(0, 8192);
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

/* The wrapper aside, no descriptor of it may be written to. */
START_TEST(read_only_descriptors)
{
	make_file(place(_i), 8192);
	open_good(true);
	provider->info.read_only = false;
	ck_assert_int_eq(do_write(0, 512), -EBADF);
	ck_assert_int_eq(do_write(0, 4096), -EBADF);
}
END_TEST

START_TEST(says_what_it_is)
{
	struct stat st;

	make_file(place(_i), 8192);
	ck_assert_int_eq(stat(path, &st), 0);
	open_good(false);
	ck_assert_uint_eq(provider->info.logical_block_bytes, 512);
	ck_assert_uint_ge(provider->info.physical_block_bytes, 512);
	ck_assert_uint_le(provider->info.physical_block_bytes, 4096);
	ck_assert(provider->info.can_flush);
	ck_assert(!provider->info.read_only);
	ck_assert(!provider->info.shared);
	ck_assert_int_eq(provider->info.identity.kind, BLOCK_IDENTITY_FILE);
	ck_assert_uint_eq(provider->info.identity.a, st.st_dev);
	ck_assert_uint_eq(provider->info.identity.b, st.st_ino);
	/* The page cache may forget an error, and so may what is below it. */
	ck_assert(!provider->info.flush_retryable);
}
END_TEST

/* ---- durability ------------------------------------------------------- */

/* Kilobytes of the mapping at addr that the kernel calls dirty. */
static int dirty_kilobytes(const void *addr)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	int sum = 0, kilobytes;
	bool inside = false;

	snprintf(start, sizeof(start), "%lx-", (unsigned long)addr);
	while (fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			inside = true;
		else if (inside && strstr(line, "VmFlags"))
			break;
		if (inside &&
		    (sscanf(line, "Shared_Dirty: %d", &kilobytes) == 1 ||
		     sscanf(line, "Private_Dirty: %d", &kilobytes) == 1))
			sum += kilobytes;
	}
	fclose(f);
	ck_assert(inside);
	return sum;
}

/* A page of the page cache is dirty until a flush has written it. */
START_TEST(flush_writes_the_page_cache)
{
	volatile unsigned char *map;
	int fd;

	make_file(unit_dir(), 8192);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fsync(fd), 0);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	ck_assert(map != MAP_FAILED);
	open_good(false);
	memset(buffer, 0x33, 512);
	/* Past O_DIRECT, whatever alignment that takes below a page. */
	for (int try = 0; try < 2; try++) {
		int rw = open(path, O_WRONLY | O_CLOEXEC);

		ck_assert_int_eq(pwrite(rw, buffer, 512, 512), 512);
		close(rw);
		ck_assert_uint_eq(map[512], 0x33);
		ck_assert_int_gt(dirty_kilobytes((const void *)map), 0);
		ck_assert_int_eq(do_flush(), 0);
		ck_assert_int_eq(dirty_kilobytes((const void *)map), 0);
	}
	close(fd);
}
END_TEST

/* Replaces every descriptor of the image by one that is good for nothing. */
static unsigned int break_descriptors(void)
{
	int useless = open("/", O_PATH | O_CLOEXEC);
	unsigned int nr = 0;

	ck_assert_int_ge(useless, 0);
	for (int fd = 3; fd < 256; fd++) {
		char link[64], target[512];
		ssize_t n;

		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (strcmp(target, path))
			continue;
		ck_assert_int_eq(dup2(useless, fd), fd);
		nr++;
	}
	return nr;
}

START_TEST(errors_surface)
{
	make_file(place(_i), 8192);
	open_good(false);
	ck_assert_uint_ge(break_descriptors(), 1);
	/* A queue's loop holds the file from the beginning. */
	block_queue_close(queue);
	io_loop_free(loop);
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	ck_assert_int_eq(block_queue_open(provider, loop, &queue), 0);
	ck_assert_int_eq(do_flush(), -EBADF);
	ck_assert_int_eq(do_read(0, 4096), -EBADF);
	ck_assert_int_eq(do_write(0, 4096), -EBADF);
	ck_assert_int_eq(do_write(512, 512), -EBADF);
}
END_TEST

/* The file system takes no more: what was not written is not acknowledged. */
START_TEST(write_past_a_limit)
{
	struct rlimit limit = { 65536, 65536 };

	make_file(place(_i), 4096);
	ck_assert_int_eq(truncate(path, 1 << 20), 0);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	open_good(false);
	memset(buffer, 1, 8192);
	ck_assert_int_eq(do_write(65536 - 4096, 4096), 0);
	ck_assert_int_eq(do_write(65536, 4096), -EFBIG);
	/* Half of it fits. */
	ck_assert_int_eq(do_write(65536 - 4096, 8192), -EFBIG);
	ck_assert_int_eq(do_write(65536 - 512, 1024), -EFBIG);
}
END_TEST

/* ---- refusals --------------------------------------------------------- */

START_TEST(refuses_missing)
{
	snprintf(path, sizeof(path), "%s/no-such.img", unit_dir());
	ck_assert_int_eq(open_path(false), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, path));
	ck_assert_ptr_nonnull(strstr(err.text, "No such file"));
}
END_TEST

START_TEST(refuses_relative)
{
	ck_assert_int_eq(block_provider_open(registry, "file:image", false,
					     &provider, &err),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "'image'"));
	ck_assert_ptr_nonnull(strstr(err.text, "absolute"));
}
END_TEST

START_TEST(refuses_directory)
{
	snprintf(path, sizeof(path), "%s", unit_dir());
	ck_assert_int_eq(open_path(false), -EISDIR);
	ck_assert_ptr_nonnull(strstr(err.text, path));
}
END_TEST

/* Opening it must not wait for a writer, either. */
START_TEST(refuses_fifo)
{
	snprintf(path, sizeof(path), "%s/fifo.%d", unit_dir(), (int)getpid());
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(open_path(_i), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "neither a regular file"));
}
END_TEST

START_TEST(refuses_character_device)
{
	ck_assert_int_eq(block_provider_open(registry, "/dev/zero", false,
					     &provider, &err),
			 -EINVAL);
}
END_TEST

/* Root could write to it; it says that nobody should. */
START_TEST(honours_mode_0444)
{
	make_file(unit_dir(), 4096);
	ck_assert_int_eq(chmod(path, 0444), 0);
	ck_assert_int_eq(open_path(false), -EROFS);
	ck_assert_ptr_nonnull(strstr(err.text, "access=ro"));
	open_good(true);
	ck_assert_int_eq(do_read(0, 4096), 0);
	check_fill(0, 4096);
}
END_TEST

static const struct {
	uint64_t bytes;
	const char *says;
} sizes[] = {
	{ 0, "size is 0" }, { 1, "512" },     { 511, "512" },
	{ 1000, "1000" },   { 4097, "4097" },
};

START_TEST(refuses_size)
{
	make_file(unit_dir(), sizes[_i].bytes);
	ck_assert_int_eq(open_path(false), -EINVAL);
	ck_assert_msg(strstr(err.text, sizes[_i].says), "%s", err.text);
}
END_TEST

/* Through a link it is the file behind it; the name is only a name. */
START_TEST(follows_links_and_outlives_names)
{
	char name[560];

	make_file(unit_dir(), 8192);
	snprintf(name, sizeof(name), "%s.link", path);
	ck_assert_int_eq(symlink(path, name), 0);
	ck_assert_int_eq(
		block_provider_open(registry, name, false, &provider, &err), 0);
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	ck_assert_int_eq(block_queue_open(provider, loop, &queue), 0);
	unlink(name);
	unlink(path);
	ck_assert_int_eq(do_read(0, 8192), 0);
	check_fill(0, 8192);
}
END_TEST

/* Nothing is left open, neither of good files nor of refused ones. */
START_TEST(leaks_no_descriptors)
{
	int before = dup(0), after;

	close(before);
	for (int i = 0; i < 3; i++) {
		make_file(unit_dir(), i == 1 ? 1000 : 4096);
		if (i == 2)
			chmod(path, 0444);
		if (open_path(false) == 0)
			block_provider_close(provider);
		provider = NULL;
		unlink(path);
	}
	after = dup(0);
	ck_assert_int_eq(before, after);
}
END_TEST

/* ---- block devices ---------------------------------------------------- */

static struct loop_device device;

static void loop_setup(bool read_only, unsigned int block_bytes)
{
	make_file(unit_dir(), 1 << 20);
	loop_device_open(&device, path, read_only, block_bytes);
	unlink(path);
	snprintf(path, sizeof(path), "%s", device.path);
}

static void loop_teardown(void)
{
	path[0] = '\0'; /* not to be unlinked */
	teardown();
	loop_device_close(&device);
}

START_TEST(device_reads_and_writes)
{
	struct stat st;
	unsigned int block = _i ? 4096 : 512;

	loop_setup(false, block);
	open_good(false);
	ck_assert_uint_eq(provider->info.size_bytes, 1 << 20);
	ck_assert_uint_eq(provider->info.logical_block_bytes, 512);
	ck_assert_uint_ge(provider->info.physical_block_bytes, block);
	ck_assert_int_eq(provider->info.identity.kind, BLOCK_IDENTITY_DEVICE);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(provider->info.identity.a, st.st_rdev);
	ck_assert_int_eq(do_read(512, 1024), 0);
	check_fill(512, 1024);
	memset(buffer, 0x44, 512);
	ck_assert_int_eq(do_write(1024, 512), 0);
	ck_assert_int_eq(do_read(0, 4096), 0);
	ck_assert_uint_eq(buffer[1024], 0x44);
	ck_assert_uint_eq(buffer[1536], fill_byte(1536));
	ck_assert_int_eq(do_flush(), 0);
	ck_assert_int_eq(pread(device.backing_fd, buffer, 512, 1024), 512);
	ck_assert_uint_eq(buffer[0], 0x44);
}
END_TEST

START_TEST(device_is_resized)
{
	loop_setup(false, 512);
	open_good(false);
	ck_assert_int_eq(do_read(1 << 20, 512), -EINVAL);
	ck_assert_int_eq(ftruncate(device.backing_fd, 2 << 20), 0);
	ck_assert_int_eq(ioctl(device.fd, LOOP_SET_CAPACITY), 0);
	ck_assert_int_eq(block_provider_resize(provider, false, &err), 0);
	ck_assert_uint_eq(provider->info.size_bytes, 2 << 20);
	ck_assert_int_eq(do_read((2 << 20) - 512, 512), 0);
}
END_TEST

START_TEST(device_in_use_is_refused)
{
	int claim;

	loop_setup(false, 512);
	claim = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	ck_assert_int_ge(claim, 0);
	ck_assert_int_eq(open_path(false), -EBUSY);
	ck_assert_ptr_nonnull(strstr(err.text, "in use"));
	/* Reading does no harm. */
	open_good(true);
	close(claim);
}
END_TEST

START_TEST(device_read_only_is_refused)
{
	loop_setup(true, 512);
	ck_assert_int_lt(open_path(false), 0);
	open_good(true);
	ck_assert(provider->info.read_only);
	ck_assert_int_eq(do_read(0, 4096), 0);
	check_fill(0, 4096);
}
END_TEST

/* The inode that is open tells, whatever its name names by now. */
START_TEST(file_is_resized)
{
	make_file(unit_dir(), 8192);
	open_good(false);
	ck_assert_int_eq(truncate(path, 65536), 0);
	ck_assert_int_eq(do_read(8192, 512), -EINVAL);
	ck_assert_int_eq(block_provider_resize(provider, false, &err), 0);
	ck_assert_uint_eq(provider->info.size_bytes, 65536);
	memset(buffer, 0x33, 512);
	ck_assert_int_eq(do_write(65024, 512), 0);
	ck_assert_int_eq(truncate(path, 4096), 0);
	ck_assert_int_eq(block_provider_resize(provider, false, &err), -ERANGE);
	ck_assert_uint_eq(provider->info.size_bytes, 65536);
	ck_assert_int_eq(block_provider_resize(provider, true, &err), 0);
	ck_assert_int_eq(do_read(4096, 512), -EINVAL);
	ck_assert_int_eq(do_read(0, 4096), 0);
	check_fill(0, 4096);
}
END_TEST

/* ---- the suite -------------------------------------------------------- */

static bool has_direct(const char *dir)
{
	char name[512];
	int fd;

	snprintf(name, sizeof(name), "%s/probe", dir);
	fd = open(name, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	unlink(name);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static TCase *case_places(int first, int end)
{
	TCase *tc = tcase_create("places");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, reads_and_writes, first, end);
	tcase_add_loop_test(tc, vectors, first, end);
	tcase_add_loop_test(tc, sparse_files, first, end);
	tcase_add_loop_test(tc, image_cut_short, first, end);
	tcase_add_test(tc, memory_is_mapped);
	tcase_add_loop_test(tc, serves_read_only, first, end);
	tcase_add_loop_test(tc, read_only_descriptors, first, end);
	tcase_add_loop_test(tc, says_what_it_is, first, end);
	tcase_add_loop_test(tc, errors_surface, first, end);
	tcase_add_loop_test(tc, write_past_a_limit, first, end);
	return tc;
}

static TCase *case_refusals(void)
{
	TCase *tc = tcase_create("refusals");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, refuses_missing);
	tcase_add_test(tc, refuses_relative);
	tcase_add_test(tc, refuses_directory);
	tcase_add_loop_test(tc, refuses_fifo, 0, 2);
	tcase_add_test(tc, refuses_character_device);
	tcase_add_test(tc, honours_mode_0444);
	tcase_add_loop_test(tc, refuses_size, 0, (int)NR_OF(sizes));
	tcase_add_test(tc, follows_links_and_outlives_names);
	tcase_add_test(tc, leaks_no_descriptors);
	tcase_add_test(tc, file_is_resized);
	return tc;
}

static TCase *case_device(void)
{
	TCase *tc = tcase_create("device");

	tcase_add_checked_fixture(tc, setup, loop_teardown);
	tcase_add_loop_test(tc, device_reads_and_writes, 0, 2);
	tcase_add_test(tc, device_is_resized);
	tcase_add_test(tc, device_in_use_is_refused);
	tcase_add_test(tc, device_read_only_is_refused);
	return tc;
}

Suite *suite_file(void)
{
	Suite *suite = suite_create("file");
	bool direct = has_direct(unit_dir());
	const char *missing = loop_device_missing();

	if (!direct)
		unit_skip("file/places with O_DIRECT",
			  "the scratch directory has none");
	suite_add_tcase(suite, case_places(direct ? 0 : 1, 2));
	suite_add_tcase(suite, case_refusals());
	if (direct) {
		TCase *tc = tcase_create("durability");

		tcase_add_checked_fixture(tc, setup, teardown);
		tcase_add_test(tc, flush_writes_the_page_cache);
		suite_add_tcase(suite, tc);
	} else {
		unit_skip("file/durability", "no storage to be written to");
	}
	if (missing)
		unit_skip("file/device", missing);
	else
		suite_add_tcase(suite, case_device());
	return suite;
}
