/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NBD provider in place of a process that was killed: a real one, which has
 * had a disk of its own.
 */
#include "common/clock.h"
#include "nbd-client/dirty-record.h"
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096u
#define PLACE 65536u

static struct server server;
static int record_fd;

static void setup(void)
{
	record_fd = -1;
	disk_setup();
}

static void teardown(void)
{
	disk_teardown();
	server_kill(&server);
	if (record_fd >= 0)
		close(record_fd);
}

/* ---- the one before ---------------------------------------------------- */

static void be_another(const char *options, void (*work)(void), int pipe_fd)
{
	disk_open_left(&server, options, record_fd);
	disk_open_queue();
	work();
	ck_assert_int_eq(write(pipe_fd, &provider->record_fd, sizeof(int)),
			 sizeof(int));
	for (;;)
		pause();
}

/* Another process does the work, and is killed; record_fd is its record then. */
static void another_dies(const char *options, void (*work)(void))
{
	char path[64];
	int fds[2], fd = -1, status_of;
	pid_t pid;

	ck_assert_int_eq(pipe(fds), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		be_another(options, work, fds[1]);
	close(fds[1]);
	ck_assert_msg(read(fds[0], &fd, sizeof(fd)) == sizeof(fd),
		      "it did not get so far");
	close(fds[0]);
	if (record_fd >= 0)
		close(record_fd);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	record_fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status_of, 0), pid);
}

/* ---- the record -------------------------------------------------------- */

static void write_some(void)
{
	for (unsigned int i = 0; i < 3; i++) {
		fill(PLACE, i);
		ck_assert_int_eq(do_write(i * PLACE, PLACE), 0);
	}
	fill(PAGE, 7);
	ck_assert_int_eq(do_write(PLACE, PAGE), 0);
}

static void check_page(uint64_t offset, unsigned int seed)
{
	ck_assert_int_eq(do_read(offset, PAGE), 0);
	check_filled(PAGE, seed);
}

static void start_losing_server(void)
{
	NBDKIT(&server, "--filter=cache", "file",
	       scratch_file("image", 4 << 20));
}

/* First the one that has acknowledged them dies, then the server. */
START_TEST(acknowledged_writes_survive)
{
	start_losing_server();
	another_dies("", write_some);
	ck_assert_int_ge(record_fd, 0);
	if (_i == 0) {
		server_kill(&server);
		server_restart(&server);
	}
	disk_open_left(&server, "", record_fd);
	disk_open_queue();
	ck_assert_int_eq(do_read(0, PLACE), 0);
	check_filled(PLACE, 0);
	check_page(PLACE, 7);
	ck_assert_uint_eq(status.resent, 4);
	/* It is lost now, after us. */
	server_kill(&server);
	server_restart(&server);
	check_page(PLACE, 7);
	ck_assert_int_eq(do_read(2 * PLACE, PLACE), 0);
	check_filled(PLACE, 2);
	ck_assert_uint_eq(status.resent, 8);
	ck_assert_int_eq(do_flush(), 0);
	server_kill(&server);
	server_restart(&server);
	check_page(PLACE, 7);
	ck_assert_uint_eq(status.resent, 8);
}
END_TEST

static void do_nothing(void)
{
}

/* One dies of it after the other. */
START_TEST(handed_on)
{
	start_losing_server();
	another_dies("", write_some);
	for (unsigned int i = 0; i < 3; i++)
		another_dies("", do_nothing);
	server_kill(&server);
	server_restart(&server);
	disk_open_left(&server, "", record_fd);
	disk_open_queue();
	check_page(0, 0);
	check_page(PLACE, 7);
}
END_TEST

/* It ends before it has sent it again: another must not think it durable. */
START_TEST(not_sent_not_forgotten)
{
	start_losing_server();
	another_dies("", write_some);
	server_kill(&server);
	server_restart(&server);
	disk_open_left(&server, "", record_fd);
	disk_close();
	disk_open_left(&server, "", record_fd);
	disk_open_queue();
	check_page(PLACE, 7);
}
END_TEST

/* A write far outside of the disk. */
START_TEST(damaged_record_is_refused)
{
	const uint64_t offset = UINT64_C(1) << 40;
	const off_t first = 4096 + DIRTY_RECORD_NOTES_BYTES;

	start_losing_server();
	another_dies("", write_some);
	ck_assert_int_eq(pwrite(record_fd, &offset, sizeof(offset), first),
			 sizeof(offset));
	disk_open_left(&server, "", record_fd);
	disk_open_queue();
	ck_assert_int_ge(provider->record_fd, 0);
	/* The disk goes on, with what the server has. */
	check_page(PLACE, 7);
	ck_assert_uint_eq(status.resent, 0);
	fill(PAGE, 8);
	ck_assert_int_eq(do_write(0, PAGE), 0);
	server_kill(&server);
	server_restart(&server);
	check_page(0, 8);
	ck_assert_uint_eq(status.resent, 1);
}
END_TEST

static const struct {
	const char *then[8], *now[8], *says;
} others[] = {
	{ { "--filter=exportname", "--filter=cache", "file", "IMAGE",
	    "default-export=a" },
	  { "--filter=exportname", "--filter=cache", "file", "IMAGE",
	    "default-export=b" },
	  "canonical name" },
	{ { "--filter=cache", "file", "IMAGE" },
	  { "--filter=cache", "--filter=truncate", "file", "IMAGE",
	    "truncate=8M" },
	  "size" },
	{ { "--filter=blocksize-policy", "--filter=cache", "file", "IMAGE",
	    "blocksize-minimum=512" },
	  { "--filter=blocksize-policy", "--filter=cache", "file", "IMAGE",
	    "blocksize-minimum=4096" },
	  "block sizes" },
	{ { "--filter=blocksize-policy", "--filter=cache", "file", "IMAGE",
	    "blocksize-minimum=512", "blocksize-preferred=4096",
	    "blocksize-maximum=64K" },
	  { "--filter=blocksize-policy", "--filter=cache", "file", "IMAGE",
	    "blocksize-minimum=512", "blocksize-preferred=4096",
	    "blocksize-maximum=32K" },
	  "block sizes" },
};
#define NR_OTHERS 4

/* It is sent to nobody else; a guest that waits does so for its own disk. */
START_TEST(another_export_is_not_sent_it)
{
	const char *path = scratch_file("image", 4 << 20);
	struct block_left left = { .in_use = _i % 2 };
	int i = _i / 2;

	memset(&server, 0, sizeof(server));
	server_nbdkit_again(&server, others[i].then, path);
	another_dies("", write_some);
	server_kill(&server);
	server_nbdkit_again(&server, others[i].now, path);
	left.record_fd = record_fd;
	if (left.in_use) {
		ck_assert_int_eq(disk_open_after(&server, "", &left), -ESTALE);
		ck_assert_ptr_nonnull(strstr(err.text, others[i].says));
		server_kill(&server);
		server_nbdkit_again(&server, others[i].then, path);
		disk_open_left(&server, "", record_fd);
		disk_open_queue();
		check_page(PLACE, 7);
		return;
	}
	ck_assert_msg(disk_open_after(&server, "", &left) == 0, "%s", err.text);
	disk_open_queue();
	ck_assert_int_eq(do_read(PLACE, PAGE), 0);
	ck_assert_uint_eq(buffer[0], 0);
	ck_assert_uint_eq(status.resent, 0);
}
END_TEST

/* ---- what is still on its way ------------------------------------------ */

/* The server's first write, or flush, takes LATE_US, 2.5 s. */
static void start_late_server(const char *fault)
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

static void submit(struct disk_slot *slot, uint64_t offset, unsigned int seed,
		   uint64_t again)
{
	fill(PAGE, seed);
	memcpy(slot->page, buffer, PAGE);
	slot->again = again;
	slot_submit(slot, BLOCK_OP_WRITE, offset, PAGE);
}

static void end_one(struct disk_slot *slot, unsigned int wait_ms)
{
	ck_assert_ptr_eq(slot_next_done(wait_ms), slot);
	ck_assert_int_eq(slot->io.error, 0);
}

static void send_late_write(void)
{
	submit(&slots[0], PLACE, 1, 0);
	run_loop_ms(50);
}

/*
 * The first write is done again at once, and all else is done but a newer one to
 * its place: it would be undone, as it is without the fence.
 */
START_TEST(late_write)
{
	uint64_t start = clock_now_ms();

	start_late_server("late-write");
	another_dies("", send_late_write);
	disk_open_left(&server, _i ? "fence=0" : "fence=4", record_fd);
	disk_open_queue();
	submit(&slots[0], PLACE, 1, 1);
	end_one(&slots[0], 3000);
	submit(&slots[1], PLACE, 2, 0);
	if (_i == 0) {
		submit(&slots[2], 2 * PLACE, 3, 0);
		end_one(&slots[2], 3000);
		check_page(PLACE, 1);
		ck_assert_int_eq(do_flush(), 0);
		ck_assert(slots[1].busy);
	}
	end_one(&slots[1], 8000);
	if (_i == 0)
		ck_assert_uint_ge(clock_now_ms() - start, 4000);
	run_loop_ms(2800);
	check_page(PLACE, _i ? 1 : 2);
}
END_TEST

static void send_again_and_newer(void)
{
	submit(&slots[0], PLACE, 1, 1);
	end_one(&slots[0], 3000);
	submit(&slots[1], PLACE, 2, 0);
	run_loop_ms(50);
	ck_assert(slots[1].busy);
}

/* The newer one has waited behind the fence; it does so with the next one, too. */
START_TEST(fence_is_handed_on)
{
	start_late_server("late-write");
	another_dies("fence=4", send_late_write);
	another_dies("fence=4", send_again_and_newer);
	disk_open_left(&server, "fence=4", record_fd);
	disk_open_queue();
	submit(&slots[1], PLACE, 2, 2);
	ck_assert_ptr_null(slot_next_done(500));
	end_one(&slots[1], 8000);
	run_loop_ms(2800);
	check_page(PLACE, 2);
}
END_TEST

/*
 * What was under way is not carried out again, for its driver is gone: nobody
 * knows what it was.
 */
START_TEST(not_carried_out_again)
{
	const uint64_t start = clock_now_ms();
	struct block_left left = { .in_use = false };

	start_late_server("late-write");
	another_dies("", send_late_write);
	left.record_fd = _i ? -1 : record_fd;
	ck_assert_int_eq(disk_open_after(&server, "fence=4", &left), 0);
	ck_assert_int_eq(block_provider_fence(provider, 0, true, &err), 0);
	disk_open_queue();
	submit(&slots[0], PLACE, 2, 0);
	end_one(&slots[0], 8000);
	ck_assert_uint_ge(clock_now_ms() - start, 4000);
	check_page(PLACE, 2);
}
END_TEST

/* One that ended in order has nothing under way. */
START_TEST(ended_in_order)
{
	struct block_left left = { .record_fd = -1 };
	const uint64_t start = clock_now_ms();

	NBDKIT(&server, "memory", "4M");
	another_dies("fence=4", write_some);
	left.record_fd = record_fd;
	ck_assert_int_eq(disk_open_after(&server, "fence=4", &left), 0);
	ck_assert_int_eq(block_provider_fence(provider, 0, false, &err), 0);
	disk_open_queue();
	submit(&slots[0], PLACE, 2, 0);
	end_one(&slots[0], 8000);
	ck_assert_uint_lt(clock_now_ms() - start, 3000);
}
END_TEST

static bool has_resent(void)
{
	return status.resent > 0;
}

/*
 * A flush that was carried out again, and is owed by a connection that was given
 * up: failing late, it can lose what the record has as well.
 */
START_TEST(the_record_waits_for_a_flush)
{
	uint64_t start;

	start_late_server("late-flush");
	disk_open(&server, "reply-timeout=1");
	fill(PAGE, 1);
	ck_assert_int_eq(do_write(PLACE, PAGE), 0);
	start = clock_now_ms();
	slots[0].again = 1;
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	run_loop_until(has_resent, 8000);
	ck_assert_uint_ge(clock_now_ms() - start, 2400);
	end_one(&slots[0], 3000);
	/* Nothing stands any more. */
	submit(&slots[1], PLACE, 2, 0);
	end_one(&slots[1], 3000);
	check_page(PLACE, 2);
}
END_TEST

/* With the server killed, and away for so long, after a write that was left. */
static void newer_write_waits(const char *options, unsigned int away_ms)
{
	NBDKIT(&server, "file", scratch_file("image", 4 << 20));
	disk_open_left(&server, options, -1);
	disk_open_queue();
	submit(&slots[0], PLACE, 1, 1);
	end_one(&slots[0], 3000);
	server_kill(&server);
	run_loop_ms(away_ms);
	submit(&slots[1], PLACE, 2, 0);
	server_restart(&server);
	ck_assert_ptr_null(slot_next_done(1500));
	end_one(&slots[1], 8000);
	check_page(PLACE, 2);
}

/* A server that is away does nothing meanwhile: its time counts from the return. */
START_TEST(fence_waits_for_the_server)
{
	newer_write_waits("fence=2", 2500);
}
END_TEST

static void abandon_a_flush(void)
{
	fill(PAGE, 1);
	ck_assert_int_eq(do_write(PLACE, PAGE), 0);
	slot_submit(&slots[0], BLOCK_OP_FLUSH, 0, 0);
	run_loop_ms(50);
	block_queue_abandon(queue);
	ck_assert_ptr_eq(slot_next_done(3000), &slots[0]);
	ck_assert_int_eq(slots[0].io.error, -ECANCELED);
}

/*
 * One that is replaced while a flush takes long leaves a connection that it has
 * watched: it is closed now, and fence= is enough.
 */
START_TEST(flush_that_was_abandoned)
{
	uint64_t start;

	start_late_server("late-flush");
	another_dies("fence=3", abandon_a_flush);
	start = clock_now_ms();
	disk_open_left(&server, "fence=3", record_fd);
	disk_open_queue();
	check_page(PLACE, 1);
	ck_assert_uint_lt(clock_now_ms() - start, 8000);
}
END_TEST

/* timeout= is for a server that is away, and this one is there. */
START_TEST(timeout_is_not_for_the_fence)
{
	newer_write_waits("fence=3&timeout=1", 0);
}
END_TEST

static void begin_to_send_the_record(void)
{
	run_loop_ms(100);
}

/* Of what was on its way of the record nothing is known: all is waited for. */
START_TEST(died_while_it_sent_the_record)
{
	uint64_t start;

	/* Not nbdkit, which may abort when a client dies that it owes replies. */
	start_late_server("none");
	another_dies("", write_some);
	server_kill(&server);
	server.argv[2] = "late-write";
	server_start(&server);
	another_dies("", begin_to_send_the_record);
	start = clock_now_ms();
	disk_open_left(&server, "fence=3", record_fd);
	disk_open_queue();
	check_page(PLACE, 7);
	ck_assert_uint_ge(clock_now_ms() - start, 3000);
}
END_TEST

Suite *suite_nbd_left(void)
{
	Suite *suite = suite_create("nbd-left");
	TCase *tc = tcase_create("left");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, acknowledged_writes_survive, 0, 2);
	tcase_add_test(tc, handed_on);
	tcase_add_test(tc, not_sent_not_forgotten);
	tcase_add_test(tc, damaged_record_is_refused);
	tcase_add_loop_test(tc, late_write, 0, 2);
	tcase_add_test(tc, fence_is_handed_on);
	tcase_add_test(tc, died_while_it_sent_the_record);
	tcase_add_loop_test(tc, another_export_is_not_sent_it, 0,
			    2 * NR_OTHERS);
	tcase_add_loop_test(tc, not_carried_out_again, 0, 2);
	tcase_add_test(tc, ended_in_order);
	tcase_add_test(tc, fence_waits_for_the_server);
	tcase_add_test(tc, flush_that_was_abandoned);
	tcase_add_test(tc, the_record_waits_for_a_flush);
	tcase_add_test(tc, timeout_is_not_for_the_fence);
	suite_add_tcase(suite, tc);
	return suite;
}
