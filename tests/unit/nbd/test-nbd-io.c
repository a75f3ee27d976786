/* SPDX-License-Identifier: BSD-2-Clause */
/* The NBD provider on servers that stay: what is served, and how. */
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server server;

static void setup(void)
{
	disk_setup();
}

static void teardown(void)
{
	disk_teardown();
	server_kill(&server);
}

/* Reads and writes of all kinds on the first MiB, against a twin. */
static void exercise(unsigned int turns)
{
	static unsigned char twin[1 << 20];

	memset(twin, 0, sizeof(twin));
	for (unsigned int turn = 0; turn < turns; turn++) {
		uint64_t sector = (uint64_t)random() % 2048;
		uint64_t nr = 1 + (uint64_t)random() % 256;
		unsigned int nr_iov = random() % 4 ? 1 : 2;

		if (nr > 2048 - sector)
			nr = 2048 - sector;
		if (random() % 2) {
			fill(nr * 512, turn);
			memcpy(twin + sector * 512, buffer, nr * 512);
			ck_assert_int_eq(do_io(BLOCK_OP_WRITE, sector * 512,
					       nr * 512, nr_iov),
					 0);
		} else {
			memset(buffer, 0xdb, nr * 512);
			ck_assert_int_eq(do_io(BLOCK_OP_READ, sector * 512,
					       nr * 512, nr_iov),
					 0);
			ck_assert_mem_eq(buffer, twin + sector * 512, nr * 512);
		}
		if (provider->info.can_flush && random() % 8 == 0)
			ck_assert_int_eq(do_flush(), 0);
	}
	ck_assert_int_eq(do_read(0, sizeof(twin)), 0);
	ck_assert_mem_eq(buffer, twin, sizeof(twin));
}

/* Servers as they are, and with filters that take features away. */
static const char *const kinds[][9] = {
	{ "memory", "4M" },
	{ "--filter=fua", "memory", "4M" } /* no FUA */,
	{ "--filter=fua", "memory", "4M", "fuamode=native" },
	{ "--filter=nozero", "--filter=noextents", "memory", "4M" },
	{ "--no-sr", "memory", "4M" },
	{ "--filter=delay", "memory", "4M", "delay-read=1ms",
	  "delay-write=1ms" },
	{ "--filter=rate", "memory", "4M", "rate=800M" },
	{ "--filter=exitlast", "memory", "4M" },
	{ "--filter=blocksize-policy", "memory", "4M", "blocksize-minimum=4096",
	  "blocksize-maximum=64K", "blocksize-error-policy=error" },
	{ "--filter=blocksize-policy", "memory", "4M",
	  "blocksize-minimum=65536", "blocksize-preferred=64K",
	  "blocksize-maximum=64K", "blocksize-error-policy=error" },
	{ "--filter=blocksize-policy", "memory", "4M", "blocksize-minimum=1",
	  "blocksize-preferred=512", "blocksize-maximum=512",
	  "blocksize-error-policy=error" },
};

START_TEST(nbdkit_memory)
{
	server_nbdkit(&server, kinds[_i]);
	disk_open(&server, "");
	srandom((unsigned int)_i);
	ck_assert_uint_eq(provider->info.size_bytes, 4 << 20);
	exercise(strcmp(kinds[_i][0], "--filter=delay") ? 150 : 60);
	ck_assert_int_eq(do_write(0, BUFFER_BYTES), 0);
	ck_assert_int_eq(do_write(4 << 20, 512), -EINVAL);
	ck_assert_uint_eq(status.reconnects, 0);
	ck_assert_uint_eq(nr_failed, 0);
}
END_TEST

START_TEST(nbdkit_file)
{
	const char *path = scratch_file("image", 4 << 20);
	int fd;

	NBDKIT(&server, "file", path);
	disk_open(&server, "");
	exercise(100);
	fill(4096, 9);
	ck_assert_int_eq(do_write(8192, 4096), 0);
	ck_assert_int_eq(do_flush(), 0);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, buffer, 4096, 8192), 4096);
	check_filled(4096, 9);
	close(fd);
}
END_TEST

/* nbd-server has no structured replies; the export's name is of its list. */
START_TEST(nbd_server)
{
	const char *path = scratch_file("image", 4 << 20);
	char config[600];
	FILE *f;

	server_new_socket(&server);
	snprintf(config, sizeof(config), "%s.conf", server.socket);
	f = fopen(config, "we");
	fprintf(f,
		"[generic]\nunixsock = %s\nallowlist = true\n"
		"[a disk/x]\nexportname = %s\nflush = true\nfua = true\n"
		"multifile = false\ncopyonwrite = false\n",
		server.socket, path);
	fclose(f);
	server.argv[0] = "nbd-server";
	server.argv[1] = "-d";
	server.argv[2] = "-C";
	server.argv[3] = config;
	server_start(&server);
	ck_assert_msg(
		disk_open_spec(disk_spec(&server, "nbd", "a%20disk/x", ""),
			       false) == 0,
		"%s", err.text);
	disk_open_queue();
	exercise(100);
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

static void start_qemu_nbd(const char *path, const char *format)
{
	const char *const args[] = { "qemu-nbd", "-t",   "-k", server.socket,
				     "-f",       format, path, NULL };

	server_new_socket(&server);
	memcpy(server.argv, args, sizeof(args));
	server_start(&server);
}

/* The way a user serves qcow2. */
START_TEST(qemu_nbd_qcow2)
{
	const char *path = scratch_file("image", 0);

	run_command("qemu-img create -q -f qcow2 %s 16M", path);
	start_qemu_nbd(path, "qcow2");
	disk_open(&server, "");
	ck_assert_uint_eq(provider->info.size_bytes, 16 << 20);
	exercise(100);
	fill(1 << 20, 3);
	ck_assert_int_eq(do_write(0, 1 << 20), 0);
	ck_assert_int_eq(do_flush(), 0);
	disk_close();
	server_stop(&server);
	run_command("qemu-img check -q %s", path);
	run_command("qemu-img convert -f qcow2 -O raw %s %s.raw", path, path);
	{
		char raw[600];
		int fd;

		snprintf(raw, sizeof(raw), "%s.raw", path);
		fd = open(raw, O_RDONLY | O_CLOEXEC);
		ck_assert_int_eq(read(fd, buffer, 1 << 20), 1 << 20);
		close(fd);
	}
	check_filled(1 << 20, 3);
}
END_TEST

START_TEST(read_only_export)
{
	NBDKIT(&server, "-r", "pattern", "1M");
	ck_assert_int_eq(disk_open_spec(disk_spec(&server, "nbd", "", ""),
					false),
			 -EROFS);
	ck_assert_ptr_nonnull(strstr(err.text, "access=ro"));
	ck_assert_int_eq(
		disk_open_spec(disk_spec(&server, "nbd", "", ""), true), 0);
	disk_open_queue();
	ck_assert(provider->info.read_only);
	ck_assert_int_eq(do_write(0, 512), -EROFS);
	ck_assert_int_eq(do_read(4096, 512), 0);
	/* Each 8 bytes are their own offset. */
	ck_assert_mem_eq(buffer, "\0\0\0\0\0\0\x10\0", 8);
}
END_TEST

/* A hole comes as such, over a buffer that holds something else. */
START_TEST(holes_are_zeroes)
{
	NBDKIT(&server, "data", "@0 1 @1048575 1", "size=1M");
	disk_open(&server, "");
	ck_assert_int_eq(do_read(0, 1 << 20), 0);
	ck_assert_uint_eq(buffer[0], 1);
	ck_assert_uint_eq(buffer[(1 << 20) - 1], 1);
	/* Each as the next, from the second on. */
	ck_assert_uint_eq(buffer[1], 0);
	ck_assert_mem_eq(buffer + 1, buffer + 2, (1 << 20) - 3);
}
END_TEST

/* What does not make a sector, or a block, is not there. */
static const struct {
	const char *size, *minimum;
	uint64_t served;
} odd[] = {
	{ "1000", "blocksize-minimum=1", 512 },
	{ "1049087", "blocksize-minimum=1", 1048576 },
	{ "1049088", "blocksize-minimum=1", 1049088 },
	{ "1049088", "blocksize-minimum=4096", 1048576 },
};

START_TEST(odd_sizes)
{
	/* Not nbdkit's policy: that filter refuses the last ones itself. */
	NBDKIT(&server, "--filter=blocksize-policy", "memory", odd[_i].size,
	       odd[_i].minimum, "blocksize-preferred=4096",
	       "blocksize-maximum=1M", "blocksize-error-policy=error");
	disk_open(&server, "");
	ck_assert_uint_eq(provider->info.size_bytes, odd[_i].served);
	fill(512, 1);
	ck_assert_int_eq(do_write(odd[_i].served - 512, 512), 0);
	ck_assert_int_eq(do_read(odd[_i].served - 512, 512), 0);
	check_filled(512, 1);
	ck_assert_int_eq(do_read(odd[_i].served, 512), -EINVAL);
}
END_TEST

START_TEST(features_follow_the_server)
{
	NBDKIT(&server, "--filter=fua", "memory", "1M", "fuamode=native");
	disk_open(&server, "fua=on");
	ck_assert(provider->info.can_flush);
	/* What was written through cannot be lost by a flush. */
	ck_assert(provider->info.flush_retryable);
	ck_assert_int_eq(provider->record_fd, -1);
	exercise(50);
	disk_close();
	disk_open(&server, "");
	ck_assert(provider->info.can_flush);
	ck_assert(provider->info.flush_retryable);
	ck_assert_int_ge(provider->record_fd, 0);
	ck_assert_uint_eq(provider->info.logical_block_bytes, 512);
	ck_assert_uint_eq(provider->info.physical_block_bytes, 4096);
}
END_TEST

#define EVAL_DISK                                                  \
	"eval", "get_size=echo 1M",                                \
		"pread=dd if=/dev/zero bs=$3 count=1 2>/dev/null", \
		"pwrite=cat >/dev/null"

START_TEST(no_flush_no_fua)
{
	NBDKIT(&server, EVAL_DISK);
	disk_open(&server, "");
	ck_assert(!provider->info.can_flush);
	ck_assert_int_eq(provider->record_fd, -1);
	ck_assert_int_eq(do_flush(), -EOPNOTSUPP);
	ck_assert_int_eq(do_write(0, 512), 0);
	disk_close();
	ck_assert_int_eq(disk_open_spec(disk_spec(&server, "nbd", "", "fua=on"),
					false),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "no FUA"));
}
END_TEST

/* Writes through, and has nothing to flush: a flush is done at once. */
START_TEST(fua_without_flush)
{
	NBDKIT(&server, EVAL_DISK, "can_fua=echo native");
	disk_open(&server, "fua=on");
	ck_assert(provider->info.can_flush);
	ck_assert_int_eq(do_write(0, 512), 0);
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

static int do_discard(uint64_t offset, size_t bytes)
{
	return do_io(BLOCK_OP_DISCARD, offset, bytes, 0);
}

/* Of the first 64 KiB, whose bytes are as filled, those from to end are 0. */
static void check_discarded(size_t from, size_t end)
{
	static unsigned char expected[65536];

	fill(sizeof(expected), 5);
	memcpy(expected, buffer, sizeof(expected));
	memset(expected + from, 0, end - from);
	ck_assert_int_eq(do_read(0, sizeof(expected)), 0);
	ck_assert_mem_eq(buffer, expected, sizeof(expected));
}

/* Whole blocks of the server's, in as many commands as it takes. */
START_TEST(discards)
{
	NBDKIT(&server, "--filter=blocksize-policy", "memory", "3G",
	       _i ? "blocksize-minimum=4096" : "blocksize-minimum=1",
	       "blocksize-maximum=64K", "blocksize-error-policy=error");
	disk_open(&server, "");
	ck_assert_uint_eq(provider->info.discard_granularity_bytes,
			  _i ? 4096 : 512);
	fill(65536, 5);
	ck_assert_int_eq(do_write(0, 65536), 0);
	ck_assert_int_eq(do_discard(512, 7 * 512), 0);
	check_discarded(512, _i ? 512 : 4096);
	ck_assert_int_eq(do_discard(512, 16384), 0);
	check_discarded(_i ? 4096 : 512, _i ? 16384 : 16896);
	ck_assert_int_eq(do_discard(0, 0), 0);
	ck_assert_int_eq(do_discard(3072ull << 20, 512), -EINVAL);
	fill(4096, 6);
	ck_assert_int_eq(do_write((3072ull << 20) - 4096, 4096), 0);
	ck_assert_int_eq(do_discard(0, 3072ull << 20), 0);
	ck_assert_int_eq(do_read((3072ull << 20) - 4096, 4096), 0);
	for (unsigned int i = 0; i < 4096; i++)
		ck_assert_uint_eq(buffer[i], 0);
	check_discarded(0, 65536);
}
END_TEST

START_TEST(no_trim)
{
	NBDKIT(&server, EVAL_DISK);
	disk_open(&server, "");
	ck_assert_uint_eq(provider->info.discard_granularity_bytes, 0);
	ck_assert_int_eq(do_discard(0, 4096), -EOPNOTSUPP);
}
END_TEST

/* The server's errors are the guest's; the connection goes on. */
START_TEST(errors_of_the_server)
{
	const char *trigger = scratch_file("trigger", 0);
	char arg[600];

	snprintf(arg, sizeof(arg), "error-file=%s", trigger);
	NBDKIT(&server, "--filter=error", "memory", "1M", "error=ENOSPC",
	       "error-rate=100%", arg);
	disk_open(&server, "");
	ck_assert_int_eq(do_write(0, 512), -ENOSPC);
	ck_assert_int_eq(do_read(0, 512), -ENOSPC);
	unlink(trigger);
	ck_assert_int_eq(do_write(0, 512), 0);
	ck_assert_int_eq(do_read(0, 512), 0);
	ck_assert_int_eq(do_flush(), 0);
	ck_assert_uint_eq(status.reconnects, 0);
}
END_TEST

/*
 * Neighbours in one block of the server, written at the same time, do not
 * undo one another.
 */
START_TEST(concurrent_parts_of_a_block)
{
	NBDKIT(&server, "--filter=blocksize-policy", "--filter=delay", "memory",
	       "1M", "blocksize-minimum=4096", "blocksize-error-policy=error",
	       "delay-read=1ms", "delay-write=1ms");
	disk_open(&server, _i ? "connections=4" : "");
	for (unsigned int round = 0; round < 20; round++) {
		/* Some that span two blocks, in the midst of others. */
		for (unsigned int i = 0; i < 30; i++) {
			unsigned int at = i * 37 % 30;
			struct disk_slot *slot = &slots[at];

			memset(slot->page, (int)(round * 30 + at), 1024);
			slot_submit(slot, BLOCK_OP_WRITE, 2560 + at * 1024,
				    1024);
		}
		while (slots_busy()) {
			struct disk_slot *slot = slot_next_done(5000);

			ck_assert_ptr_nonnull(slot);
			ck_assert_int_eq(slot->io.error, 0);
		}
		ck_assert_int_eq(do_read(2560, 30 * 1024), 0);
		for (unsigned int i = 0; i < 30; i++) {
			memset(slots[i].page, (int)(round * 30 + i), 1024);
			ck_assert_mem_eq(buffer + i * 1024, slots[i].page,
					 1024);
		}
	}
}
END_TEST

static unsigned int connections_to(const struct server *of)
{
	char command[256];
	unsigned int n = 0;
	FILE *f;

	snprintf(command, sizeof(command),
		 "ls -l /proc/%d/fd | grep -c socket:", (int)of->pid);
	f = popen(command, "re");
	ck_assert_int_eq(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n - 1; /* it listens */
}

/* As many as asked for where the server says so, one elsewhere. */
START_TEST(multi_conn)
{
	NBDKIT(&server, "--filter=multi-conn", "memory", "4M",
	       _i ? "multi-conn-mode=disable" : "multi-conn-mode=plugin");
	disk_open(&server, "connections=4");
	run_loop_until(disk_is_connected, 5000);
	exercise(200);
	ck_assert_uint_eq(connections_to(&server), _i ? 1 : 4);
	disk_close();
	/* They are all gone, and the server did not have to find out. */
	for (int i = 0; i < 200 && connections_to(&server); i++)
		usleep(5000);
	ck_assert_uint_eq(connections_to(&server), 0);
}
END_TEST

/* The queue is closed and opened again over one connection. */
START_TEST(queue_after_queue)
{
	NBDKIT(&server, "memory", "1M");
	disk_open(&server, "");
	for (unsigned int i = 0; i < 5; i++) {
		fill(4096, i);
		ck_assert_int_eq(do_write(0, 4096), 0);
		disk_close_queue();
		disk_open_queue();
		ck_assert_int_eq(do_read(0, 4096), 0);
		check_filled(4096, i);
	}
	ck_assert_uint_eq(status.reconnects, 0);
}
END_TEST

/* With a small record, flushes of our own make room: no write is stuck. */
START_TEST(full_record)
{
	NBDKIT(&server, "--filter=fua", "memory", "64M");
	disk_open(&server, "dirty=2M");
	for (unsigned int i = 0; i < 40; i++) {
		fill(1 << 20, i);
		ck_assert_int_eq(do_write((uint64_t)i << 20, 1 << 20), 0);
	}
	/* Larger than all of the record. */
	ck_assert_int_eq(do_write(0, 4 << 20), 0);
	for (unsigned int i = 0; i < 2000; i++) {
		struct disk_slot *slot = slot_get_free();

		while (!slot)
			slot = slot_next_done(5000);
		slot_submit(slot, BLOCK_OP_WRITE, (uint64_t)i * 4096, 4096);
	}
	while (slots_busy())
		ck_assert_ptr_nonnull(slot_next_done(5000));
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

Suite *suite_nbd_io(void)
{
	Suite *suite = suite_create("nbd-io");
	TCase *tc = tcase_create("io");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, nbdkit_memory, 0, (int)NR_OF(kinds));
	tcase_add_test(tc, nbdkit_file);
	tcase_add_test(tc, nbd_server);
	tcase_add_test(tc, qemu_nbd_qcow2);
	tcase_add_test(tc, read_only_export);
	tcase_add_test(tc, holes_are_zeroes);
	tcase_add_loop_test(tc, odd_sizes, 0, (int)NR_OF(odd));
	tcase_add_test(tc, features_follow_the_server);
	tcase_add_test(tc, no_flush_no_fua);
	tcase_add_loop_test(tc, discards, 0, 2);
	tcase_add_test(tc, no_trim);
	tcase_add_test(tc, fua_without_flush);
	tcase_add_test(tc, errors_of_the_server);
	tcase_add_loop_test(tc, concurrent_parts_of_a_block, 0, 2);
	tcase_add_loop_test(tc, multi_conn, 0, 2);
	tcase_add_test(tc, queue_after_queue);
	tcase_add_test(tc, full_record);
	suite_add_tcase(suite, tc);
	return suite;
}
