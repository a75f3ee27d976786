/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NBD provider on a server that may lose what it has not flushed, says so
 * just once, and does some things too late (volatile-server.c).
 */
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RECORD_BYTES (2u << 20)
#define PIECE_BYTES 65536u

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

static void start(const char *fault)
{
	static char program[4096];

	snprintf(program, sizeof(program), "%s",
		 server_sibling("nbd-volatile-server"));
	server_new_socket(&server);
	server.argv[0] = program;
	server.argv[1] = server.socket;
	server.argv[2] = fault;
	server_start(&server);
}

static void put(struct disk_slot *slot, uint64_t offset, unsigned int seed)
{
	fill(4096, seed);
	memcpy(slot->page, buffer, 4096);
	slot_submit(slot, BLOCK_OP_WRITE, offset, 4096);
}

static void check_page(uint64_t offset, unsigned int seed)
{
	ck_assert_int_eq(do_read(offset, 4096), 0);
	check_filled(4096, seed);
}

/* All that is in flight; no write may fail. */
static void drain(void)
{
	while (slots_busy()) {
		struct disk_slot *slot = slot_next_done(8000);

		ck_assert_msg(slot != NULL, "an I/O never ends");
		if (slot->io.op == BLOCK_OP_WRITE)
			ck_assert_int_eq(slot->io.error, 0);
	}
}

/* What a write takes in the record besides its data. */
#define HEADER_BYTES 64u

/* Less than a page and `leave` bytes are left of the record then. */
static void fill_record(uint64_t leave)
{
	uint64_t left = RECORD_BYTES, at = 0;

	fill(PIECE_BYTES, 1);
	for (size_t bytes = PIECE_BYTES; bytes >= 4096; bytes /= 16) {
		for (; left >= bytes + HEADER_BYTES + leave; at += bytes) {
			ck_assert_int_eq(do_write(at, bytes), 0);
			left -= bytes + HEADER_BYTES;
		}
	}
}

/* One is told of lost writes; the other must not say that all is well. */
START_TEST(two_flushes)
{
	start("flush-fails");
	disk_open(&server, "");
	fill(4096, 1);
	ck_assert_int_eq(do_write(0, 4096), 0);
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	slot_submit(&slots[1], BLOCK_OP_FLUSH, 0, 0);
	drain();
	check_page(0, 1);
	ck_assert_uint_eq(status.resent, 1);
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

/* Written, but not in the record: the record must not undo it. */
START_TEST(write_behind_a_failed_flush)
{
	start("flush-fails");
	disk_open(&server, "dirty=2M");
	fill_record(0);
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	put(&slots[1], 0, 2);
	put(&slots[2], 8192, 3);
	put(&slots[3], 16384, 4);
	drain();
	ck_assert_uint_gt(status.resent, 0);
	check_page(0, 2);
	check_page(8192, 3);
	check_page(16384, 4);
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

/* The server has carried out what was sent before; its first flush is slow. */
static void pass_the_time(unsigned int nr_reads)
{
	struct disk_slot *read = &slots[DISK_SLOTS - 1];

	while (nr_reads--) {
		slot_submit(read, BLOCK_OP_READ, RECORD_BYTES + 65536, 4096);
		while (read->busy)
			ck_assert_ptr_nonnull(slot_next_done(8000));
	}
}

/*
 * Blocks of more than a sector: a write whose data waits for room in the record has
 * its blocks as long, or another to the rest of the last one would be in the
 * record before it, and be undone by it.
 */
START_TEST(write_beside_one_that_waits_for_room)
{
	start("blocks");
	disk_open(&server, "dirty=2M");
	fill_record(4096 + HEADER_BYTES);
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	/* Two blocks, for which there is no room; and then one, for which there is. */
	put(&slots[1], RECORD_BYTES + 512, 2);
	pass_the_time(4);
	ck_assert_uint_eq(slots_busy(), 2);
	fill(4096, 3);
	memcpy(slots[2].page, buffer, 4096);
	slot_submit(&slots[2], BLOCK_OP_WRITE, RECORD_BYTES + 5120, 512);
	pass_the_time(16);
	drain();
	ck_assert_int_eq(do_flush(), 0);
	ck_assert_uint_eq(status.reconnects, 1);
	ck_assert_int_eq(do_read(RECORD_BYTES + 5120, 512), 0);
	check_filled(512, 3);
	check_page(RECORD_BYTES + 512, 2);
}
END_TEST

/* What is read behind it is what the server has lost, until it has it again. */
START_TEST(read_behind_a_failed_flush)
{
	start("flush-fails");
	disk_open(&server, "");
	fill(4096, 1);
	ck_assert_int_eq(do_write(65536, 4096), 0);
	fill(4096, 2);
	ck_assert_int_eq(do_write(65536, 4096), 0);
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	slot_submit(&slots[1], BLOCK_OP_READ, 65536, 4096);
	drain();
	ck_assert_int_eq(slots[0].io.error, -EIO);
	ck_assert_int_eq(slots[1].io.error, 0);
	ck_assert_mem_eq(slots[1].page, buffer, 4096);
	ck_assert_uint_eq(status.resent, 2);
	ck_assert_uint_eq(status.reconnects, 0);
}
END_TEST

/* And then the connection goes, before a write has been answered. */
START_TEST(failed_flush_and_loss)
{
	start("flush-dies");
	disk_open(&server, "");
	if (_i) {
		fill(4096, 1);
		ck_assert_int_eq(do_write(0, 4096), 0);
	}
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	put(&slots[1], 65536, 2);
	drain();
	check_page(65536, 2);
	if (_i)
		check_page(0, 1);
	ck_assert_uint_eq(status.reconnects, 1);
}
END_TEST

/* A flush of our own that fails once is nobody's error. */
START_TEST(own_flush_fails)
{
	start("flush-fails");
	disk_open(&server, "dirty=2M");
	for (unsigned int i = 0; i < 64; i++) {
		fill(PIECE_BYTES, i);
		ck_assert_int_eq(do_write(i % 31 * PIECE_BYTES, PIECE_BYTES),
				 0);
	}
	ck_assert_uint_gt(status.resent, 0);
	for (unsigned int i = 33; i < 64; i++) {
		ck_assert_int_eq(do_read(i % 31 * PIECE_BYTES, PIECE_BYTES), 0);
		check_filled(PIECE_BYTES, i);
	}
}
END_TEST

/* What it loses late is not what was written meanwhile. */
START_TEST(late_flush)
{
	start("late-flush");
	disk_open(&server, "reply-timeout=1");
	fill(4096, 1);
	ck_assert_int_eq(do_write(0, 4096), 0);
	ck_assert_int_eq(do_flush(), 0);
	fill(4096, 2);
	ck_assert_int_eq(do_write(4096, 4096), 0);
	run_loop_ms(2500);
	ck_assert_int_eq(do_flush(), 0);
	check_page(0, 1);
	check_page(4096, 2);
}
END_TEST

/* A connection that ends in nonsense may still have a write on its way. */
START_TEST(late_write_behind_nonsense)
{
	start("nonsense");
	disk_open(&server, "");
	fill(4096, 1);
	ck_assert_int_eq(do_write(65536, 4096), 0);
	ck_assert_uint_eq(status.reconnects, 1);
	fill(4096, 2);
	ck_assert_int_eq(do_write(65536, 4096), 0);
	run_loop_ms(2600);
	check_page(65536, 2);
}
END_TEST

/* The driver that sent it is gone; what the next one writes is newer. */
START_TEST(late_write_of_another_driver)
{
	start("late-write");
	disk_open(&server, "");
	put(&slots[0], 65536, 1);
	run_loop_ms(50);
	block_queue_abandon(queue);
	ck_assert_ptr_nonnull(slot_next_done(5000));
	disk_close_queue();
	disk_open_queue();
	fill(4096, 2);
	ck_assert_int_eq(do_write(65536, 4096), 0);
	ck_assert_int_eq(do_flush(), 0);
	run_loop_ms(2600);
	check_page(65536, 2);
}
END_TEST

/* The surplus is turned away before the first has been greeted. */
START_TEST(few_on_a_slow_line)
{
	start("few");
	disk_open(&server, "connections=3&timeout=8");
	ck_assert_int_eq(do_read(0, 4096), 0);
	server_kill(&server);
	server_restart(&server);
	ck_assert_int_eq(do_read(0, 4096), 0);
	ck_assert_uint_eq(status.reconnects, 1);
}
END_TEST

Suite *suite_nbd_volatile(void)
{
	Suite *suite = suite_create("nbd-volatile");
	TCase *tc = tcase_create("volatile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, two_flushes);
	tcase_add_test(tc, write_behind_a_failed_flush);
	tcase_add_test(tc, write_beside_one_that_waits_for_room);
	tcase_add_test(tc, read_behind_a_failed_flush);
	tcase_add_loop_test(tc, failed_flush_and_loss, 0, 2);
	tcase_add_test(tc, own_flush_fails);
	tcase_add_test(tc, late_flush);
	tcase_add_test(tc, late_write_behind_nonsense);
	tcase_add_test(tc, late_write_of_another_driver);
	tcase_add_test(tc, few_on_a_slow_line);
	suite_add_tcase(suite, tc);
	return suite;
}
