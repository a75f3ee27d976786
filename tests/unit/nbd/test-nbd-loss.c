/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NBD provider on servers that go away and come back.  The guest sees a
 * pause; what it was told is written stays written.
 */
#include "common/clock.h"
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static bool disk_is_lost(void)
{
	return status.state == BLOCK_LINK_CONNECTING;
}

static void end_all(int error)
{
	while (slots_busy()) {
		struct disk_slot *slot = slot_next_done(10000);

		ck_assert_ptr_nonnull(slot);
		ck_assert_int_eq(slot->io.error, error);
	}
}

/* ---- the oracle ----------------------------------------------------- */

#define PAGES 512u
#define PAGE 4096u

/* Of each page: what the guest was told is written, and what may be. */
static struct {
	uint64_t acknowledged, latest;
	bool busy;
} pages[PAGES];
static unsigned int nr_writes, nr_reads, nr_flushes;
/* One I/O of so many is a flush; 0: none. */
static unsigned int flush_each = 40;

/* A page says which it is and which version, everywhere. */
static void stamp(void *page, uint64_t nr, uint64_t version)
{
	uint64_t *words = page;

	for (unsigned int i = 0; i < PAGE / 8; i++)
		words[i] = i % 2 ? version : nr;
}

static bool is_stamped(const void *page, uint64_t nr, uint64_t version)
{
	const uint64_t *words = page;

	/* Version 0 is what was never written. */
	for (unsigned int i = 0; i < PAGE / 8; i++) {
		if (words[i] != (i % 2 || !version ? version : nr))
			return false;
	}
	return true;
}

static void submit_one(void)
{
	struct disk_slot *slot = slot_get_free();
	uint64_t nr = (uint64_t)random() % PAGES;

	if (flush_each && random() % flush_each == 0) {
		slot->cookie = UINT64_MAX;
		slot_submit(slot, BLOCK_OP_FLUSH, 0, 0);
		return;
	}
	if (pages[nr].busy)
		return;
	pages[nr].busy = true;
	slot->cookie = nr;
	if (random() % 4 == 0) {
		memset(slot->page, 0xdb, PAGE);
		slot_submit(slot, BLOCK_OP_READ, nr * PAGE, PAGE);
		return;
	}
	stamp(slot->page, nr, ++pages[nr].latest);
	slot_submit(slot, BLOCK_OP_WRITE, nr * PAGE, PAGE);
}

static void take_one(const struct disk_slot *slot)
{
	uint64_t nr = slot->cookie;

	/* The guest never sees an error. */
	ck_assert_int_eq(slot->io.error, 0);
	if (slot->io.op == BLOCK_OP_FLUSH) {
		nr_flushes++;
		return;
	}
	pages[nr].busy = false;
	if (slot->io.op == BLOCK_OP_WRITE) {
		pages[nr].acknowledged = pages[nr].latest;
		nr_writes++;
		return;
	}
	nr_reads++;
	ck_assert_msg(is_stamped(slot->page, nr, pages[nr].acknowledged),
		      "page %llu does not have version %llu",
		      (unsigned long long)nr,
		      (unsigned long long)pages[nr].acknowledged);
}

static void submit_all(void)
{
	while (slots_busy() < 32)
		submit_one();
}

static void load_for(unsigned int ms)
{
	uint64_t until = clock_now_ms() + ms;
	struct disk_slot *slot;

	while (clock_now_ms() < until) {
		submit_all();
		for (slot = slot_next_done(1); slot; slot = slot_next_done(0))
			take_one(slot);
	}
}

/* When the server is dead: what it has answered before is taken first. */
static bool any_unanswered(void)
{
	struct disk_slot *slot;

	while ((slot = slot_next_done(1)))
		take_one(slot);
	return slots_busy() > 0;
}

static void drain(void)
{
	while (slots_busy()) {
		struct disk_slot *slot = slot_next_done(10000);

		ck_assert_msg(slot != NULL, "an I/O never ends");
		take_one(slot);
	}
}

/* The medium itself, when the server is gone. */
static void check_medium(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	for (uint64_t nr = 0; nr < PAGES; nr++) {
		ck_assert_int_eq(pread(fd, buffer, PAGE, (off_t)(nr * PAGE)),
				 PAGE);
		ck_assert_msg(is_stamped(buffer, nr, pages[nr].acknowledged),
			      "page %llu of the image has version %llu, not "
			      "%llu",
			      (unsigned long long)nr,
			      (unsigned long long)((uint64_t *)buffer)[1],
			      (unsigned long long)pages[nr].acknowledged);
	}
	close(fd);
}

static const struct {
	const char *name, *filter, *minimum, *options;
	unsigned int flush_each;
	const char *delay;
} loads[] = {
	{ "plain", "--filter=noextents", "blocksize-minimum=1", "", 40, NULL },
	{ "4 connections", "--filter=noextents", "blocksize-minimum=1",
	  "connections=4", 40, NULL },
	/* Without flushes it is so fast that little is in flight. */
	{ "small record", "--filter=delay", "blocksize-minimum=1", "dirty=2M",
	  0, "delay-write=1ms" },
	{ "large blocks", "--filter=delay", "blocksize-minimum=16384", "", 40,
	  NULL },
};

#define KILLS 8u

/*
 * The server's cache is its own memory: what it has not flushed is lost when
 * it is killed.
 */
START_TEST(killed_under_load)
{
	const char *path = scratch_file("image", PAGES * PAGE);
	unsigned int in_flight = 0;
	uint64_t reconnects;

	NBDKIT(&server, "--filter=blocksize-policy", loads[_i].filter,
	       "--filter=cache", "file", path, loads[_i].minimum,
	       "blocksize-preferred=64K", "blocksize-maximum=1M",
	       "blocksize-error-policy=error", loads[_i].delay);
	disk_open(&server, loads[_i].options);
	srandom((unsigned int)_i + 1);
	flush_each = loads[_i].flush_each;
	for (unsigned int i = 0; i < KILLS; i++) {
		load_for(20 + (unsigned int)random() % 150);
		submit_all();
		server_kill(&server);
		reconnects = status.reconnects;
		in_flight += any_unanswered();
		load_for((unsigned int)random() % 30);
		server_restart(&server);
		/* The others may be killed before they are connected to. */
		while (i % 2 && status.reconnects == reconnects)
			load_for(1);
	}
	load_for(100);
	drain();
	ck_assert_int_eq(do_flush(), 0);
	printf("# nbd kill test (%s): %u kills, %u with requests in flight, "
	       "%llu writes re-sent, %llu reconnects; %u writes, %u reads, "
	       "%u flushes\n",
	       loads[_i].name, KILLS, in_flight,
	       (unsigned long long)status.resent,
	       (unsigned long long)status.reconnects, nr_writes, nr_reads,
	       nr_flushes);
	fflush(stdout);
	disk_close();
	server_kill(&server);
	check_medium(path);
	ck_assert_uint_ge(in_flight, KILLS * 8 / 10);
	ck_assert_uint_gt(status.resent, 0);
	ck_assert_uint_ge(status.reconnects, KILLS / 2);
	ck_assert_uint_eq(nr_failed, 0);
}
END_TEST

/* Acknowledged, not flushed, and then the server forgets it. */
START_TEST(acknowledged_writes_survive)
{
	const char *path = scratch_file("image", PAGES * PAGE);

	NBDKIT(&server, "--filter=cache", "file", path);
	disk_open(&server, "");
	for (unsigned int i = 0; i < 3; i++) {
		fill(65536, i);
		ck_assert_int_eq(do_write(i * 65536, 65536), 0);
	}
	/* The newer of two to one place is the one to stay. */
	fill(4096, 7);
	ck_assert_int_eq(do_write(65536, 4096), 0);
	server_kill(&server);
	server_restart(&server);
	ck_assert_int_eq(do_read(65536, 4096), 0);
	check_filled(4096, 7);
	ck_assert_int_eq(do_read(0, 65536), 0);
	check_filled(65536, 0);
	ck_assert_uint_eq(status.resent, 4);
	ck_assert_int_eq(do_flush(), 0);
	server_kill(&server);
	server_restart(&server);
	/* What is durable is not sent again. */
	ck_assert_int_eq(do_read(2 * 65536, 65536), 0);
	check_filled(65536, 2);
	ck_assert_uint_eq(status.resent, 4);
	ck_assert_uint_eq(status.reconnects, 2);
}
END_TEST

/* With fua=on nothing is remembered, and nothing has to be. */
START_TEST(written_through)
{
	const char *path = scratch_file("image", PAGES * PAGE);

	NBDKIT(&server, "--filter=cache", "file", path);
	disk_open(&server, "fua=on");
	for (unsigned int i = 0; i < 3; i++) {
		fill(65536, i);
		ck_assert_int_eq(do_write(i * 65536, 65536), 0);
	}
	server_kill(&server);
	server_restart(&server);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_int_eq(do_read(i * 65536, 65536), 0);
		check_filled(65536, i);
	}
	ck_assert_uint_eq(status.resent, 0);
}
END_TEST

/* A flush that fails may have lost writes: they are sent again. */
START_TEST(flush_that_fails)
{
	const char *trigger = scratch_file("trigger", 0);
	char flush[700];

	snprintf(flush, sizeof(flush),
		 "flush=if rm %s 2>/dev/null; then echo EIO no luck >&2; "
		 "exit 1; fi",
		 trigger);
	NBDKIT(&server, "eval", "get_size=echo 1M", "can_flush=exit 0",
	       "pread=dd if=/dev/zero bs=$3 count=1 2>/dev/null",
	       "pwrite=cat >/dev/null", flush);
	disk_open(&server, "");
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_int_eq(do_write(i * 512, 512), 0);
	ck_assert_int_eq(do_flush(), -EIO);
	ck_assert_int_eq(do_flush(), 0);
	ck_assert_uint_eq(status.resent, 3);
	ck_assert_int_eq(do_flush(), 0);
	ck_assert_uint_eq(status.resent, 3);
	ck_assert_uint_eq(status.reconnects, 0);
}
END_TEST

/* ---- another disk --------------------------------------------------- */

static const struct {
	const char *then[6], *now[6], *says;
} others[] = {
	{ { "file", "IMAGE" },
	  { "--filter=truncate", "file", "IMAGE", "truncate=4M" },
	  "size" },
	{ { "file", "IMAGE" }, { "-r", "file", "IMAGE" }, "read-only" },
	{ { "--filter=blocksize-policy", "file", "IMAGE",
	    "blocksize-minimum=4096" },
	  { "--filter=blocksize-policy", "file", "IMAGE",
	    "blocksize-minimum=512" },
	  "block sizes" },
	{ { "--filter=exportname", "file", "IMAGE", "default-export=a" },
	  { "--filter=exportname", "file", "IMAGE", "default-export=b" },
	  "canonical name" },
};

static bool has_failed(void)
{
	return nr_failed > 0;
}

START_TEST(another_disk)
{
	const char *path = scratch_file("image", 1 << 20);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	server_nbdkit_again(&server, others[_i].then, path);
	disk_open(&server, "");
	fill(4096, 1);
	ck_assert_int_eq(do_write(0, 4096), 0);
	server_kill(&server);
	run_command("truncate -s 0 %s && truncate -s 1M %s", path, path);
	slot_submit(&slots[0], BLOCK_OP_WRITE, 8192, 4096);
	slot_submit(&slots[1], BLOCK_OP_READ, 8192, 4096);
	server_nbdkit_again(&server, others[_i].now, path);
	run_loop_until(has_failed, 5000);
	ck_assert_msg(strstr(failed_cause, others[_i].says) != NULL, "%s",
		      failed_cause);
	end_all(-EIO);
	ck_assert_int_eq(do_write(0, 4096), -EIO);
	ck_assert_int_eq(do_read(0, 4096), -EIO);
	ck_assert_int_eq(do_flush(), -EIO);
	ck_assert_uint_eq(nr_failed, 1);
	ck_assert_uint_eq(status.state, BLOCK_LINK_FAILED);
	/* For good, also for a queue that comes after. */
	disk_close_queue();
	disk_open_queue();
	ck_assert_int_eq(do_read(0, 4096), -EIO);
	/* Nothing was written to it. */
	ck_assert_int_eq(pread(fd, buffer, 1 << 20, 0), 1 << 20);
	ck_assert_uint_eq(buffer[0], 0);
	ck_assert_mem_eq(buffer, buffer + 1, (1 << 20) - 1);
	close(fd);
}
END_TEST

/* ---- waiting -------------------------------------------------------- */

START_TEST(timeout_of_0)
{
	NBDKIT(&server, "memory", "1M");
	disk_open(&server, "timeout=0");
	ck_assert_int_eq(do_write(0, 4096), 0);
	server_hang(&server);
	for (unsigned int i = 0; i < 8; i++)
		slot_submit(&slots[i], BLOCK_OP_READ, i * 4096, 4096);
	server_kill(&server);
	end_all(-EIO);
	ck_assert_int_eq(do_read(0, 4096), -EIO);
	server_restart(&server);
	run_loop_until(disk_is_connected, 5000);
	ck_assert_int_eq(do_read(0, 4096), 0);
}
END_TEST

START_TEST(timeout_of_1)
{
	uint64_t start;

	NBDKIT(&server, "memory", "1M");
	disk_open(&server, "timeout=1");
	server_kill(&server);
	start = clock_now_ms();
	ck_assert_int_eq(do_read(0, 4096), -EIO);
	ck_assert_uint_ge(clock_now_ms() - start, 900);
	ck_assert_uint_lt(clock_now_ms() - start, 2500);
	/* It has been long enough: no more waiting. */
	start = clock_now_ms();
	ck_assert_int_eq(do_read(0, 4096), -EIO);
	ck_assert_uint_lt(clock_now_ms() - start, 500);
	server_restart(&server);
	run_loop_until(disk_is_connected, 8000);
	ck_assert_int_eq(do_read(0, 4096), 0);
	/* The next loss has its own time. */
	server_kill(&server);
	slot_submit(&slots[0], BLOCK_OP_READ, 0, 4096);
	run_loop_ms(200);
	server_restart(&server);
	end_all(0);
}
END_TEST

#define SLOW_WRITES 40u

/* Longer than timeout= in all, but each write of the record comes to be. */
START_TEST(timeout_is_not_for_a_long_replay)
{
	NBDKIT(&server, "--filter=delay", "memory", "1M", "delay-write=0");
	disk_open(&server, "timeout=2");
	/* To one place: one after the other. */
	for (unsigned int i = 0; i < SLOW_WRITES; i++) {
		fill(4096, i);
		ck_assert_int_eq(do_write(0, 4096), 0);
	}
	server_kill(&server);
	server.argv[7] = "delay-write=100ms";
	server_restart(&server);
	ck_assert_int_eq(do_read(0, 4096), 0);
	check_filled(4096, SLOW_WRITES - 1);
	ck_assert_uint_eq(status.resent, SLOW_WRITES);
	ck_assert_uint_eq(status.reconnects, 1);
}
END_TEST

START_TEST(status_is_shown)
{
	NBDKIT(&server, "memory", "1M");
	disk_open(&server, "");
	run_loop_until(disk_is_connected, 5000);
	server_kill(&server);
	for (unsigned int i = 0; i < 5; i++)
		slot_submit(&slots[i], BLOCK_OP_READ, 0, 4096);
	run_loop_ms(100);
	ck_assert_uint_eq(status.state, BLOCK_LINK_CONNECTING);
	ck_assert_uint_eq(status.waiting, 5);
	server_restart(&server);
	end_all(0);
	ck_assert_uint_eq(status.state, BLOCK_LINK_CONNECTED);
	ck_assert_uint_eq(status.waiting, 0);
	ck_assert_uint_eq(status.reconnects, 1);
}
END_TEST

/* It goes politely, and says so to whoever asks it for more. */
START_TEST(shut_down_under_load)
{
	const char *path = scratch_file("image", PAGES * PAGE);

	NBDKIT(&server, "--filter=cache", "file", path);
	disk_open(&server, "");
	srandom(5);
	for (unsigned int i = 0; i < 4; i++) {
		load_for(60);
		kill(server.pid, SIGTERM);
		load_for(50);
		server_kill(&server);
		server_restart(&server);
	}
	drain();
	ck_assert_int_eq(do_flush(), 0);
	disk_close();
	server_kill(&server);
	check_medium(path);
}
END_TEST

/* ---- silence -------------------------------------------------------- */

/* No reply, no end of the connection: given up, and made anew. */
START_TEST(half_open)
{
	uint64_t start = clock_now_ms();

	NBDKIT(&server, "memory", "1M");
	disk_open(&server, "reply-timeout=1");
	fill(4096, 1);
	ck_assert_int_eq(do_write(0, 4096), 0);
	server_hang(&server);
	slot_submit(&slots[0], BLOCK_OP_READ, 0, 4096);
	run_loop_ms(2000);
	ck_assert_uint_eq(status.state, BLOCK_LINK_CONNECTING);
	kill(server.pid, SIGCONT);
	end_all(0);
	ck_assert_mem_eq(slots[0].page, buffer, 4096);
	ck_assert_uint_lt(clock_now_ms() - start, 5000);
}
END_TEST

/*
 * The first write takes its time; the connection is given up meanwhile, and a
 * newer write to the same place must not be undone when it lands.
 */
START_TEST(stale_write_does_not_land_last)
{
	const char *path = scratch_file("image", 1 << 20);
	const char *trigger = scratch_file("trigger", 0);
	char write[1600];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	snprintf(write, sizeof(write),
		 "pwrite=f=%s.$$; cat >$f; "
		 "if rm %s 2>/dev/null; then sleep 2.5; fi; "
		 "dd if=$f of=%s bs=512 seek=$(($4 / 512)) conv=notrunc "
		 "2>/dev/null",
		 path, trigger, path);
	NBDKIT(&server, "eval", "get_size=echo 1M", "can_flush=exit 0",
	       "thread_model=echo parallel", "flush=exit 0",
	       "pread=dd if=/dev/zero bs=$3 count=1 2>/dev/null", write);
	disk_open(&server, "reply-timeout=1");
	fill(4096, 1);
	ck_assert_int_eq(do_write(0, 4096), 0);
	ck_assert_uint_eq(status.reconnects, 1);
	/* A place of its own does not wait. */
	ck_assert_int_eq(do_write(65536, 4096), 0);
	fill(4096, 2);
	ck_assert_int_eq(do_write(2048, 4096), 0);
	run_loop_ms(1500);
	ck_assert_int_eq(pread(fd, buffer, 4096, 2048), 4096);
	check_filled(4096, 2);
	close(fd);
}
END_TEST

/* Of the connection to the server, or -1. */
static int server_socket(void)
{
	for (int fd = 3; fd < 256; fd++) {
		struct sockaddr_in peer = { .sin_family = AF_UNSPEC };
		socklen_t length = sizeof(peer);

		if (getpeername(fd, (struct sockaddr *)&peer, &length) == 0 &&
		    peer.sin_family == AF_INET &&
		    ntohs(peer.sin_port) == server.port)
			return fd;
	}
	return -1;
}

/* The kernel gives a connection up whose other end takes nothing. */
static void wait_cut_here(int fd)
{
	struct pollfd pfd = { .fd = fd };

	ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
	ck_assert(pfd.revents & POLLERR);
}

static void open_tls_disk(void)
{
	char keys[300], spec[500];

	snprintf(keys, sizeof(keys), "--tls-psk=%.200s/gave-up.psk",
		 unit_dir());
	run_command("psktool -u alice -p %s >/dev/null 2>&1",
		    keys + strlen("--tls-psk="));
	NBDKIT_TCP(&server, "-t", "1", "--tls=require", keys, "memory", "4M");
	snprintf(spec, sizeof(spec),
		 "nbds://alice@localhost:%u/?tls-psk-file=%s&reply-timeout=0",
		 server.port, keys + strlen("--tls-psk="));
	ck_assert_msg(disk_open_spec(spec, false) == 0, "%s", err.text);
	disk_open_queue();
}

/*
 * More than a server takes that is stopped: the kernel gives the connection
 * up, and the server carries the writes out when it likes.  Seen by the loop,
 * or by what is sent next; and where TLS is told the error, and keeps it.
 */
START_TEST(fence_where_the_kernel_gave_up)
{
	const unsigned int give_up_ms = 300;
	int fd;

	/* With more threads nbdkit dies of a client that does not listen. */
	if (_i & 2) {
		open_tls_disk();
	} else {
		NBDKIT_TCP(&server, "-t", "1", "memory", "4M");
		disk_open(&server, "reply-timeout=0");
	}
	ck_assert_int_eq(do_read(0, 4096), 0);
	fd = server_socket();
	ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
				    &give_up_ms, sizeof(give_up_ms)),
			 0);
	server_hang(&server);
	for (unsigned int i = 0; i < DISK_SLOTS - 2; i++)
		slot_submit(&slots[i], BLOCK_OP_WRITE, i * 4096, 4096);
	if (_i & 1)
		wait_cut_here(fd);
	for (unsigned int i = DISK_SLOTS - 2; i < DISK_SLOTS; i++)
		slot_submit(&slots[i], BLOCK_OP_WRITE, i * 4096, 4096);
	run_loop_until(disk_is_lost, 10000);
	kill(server.pid, SIGCONT);
	/* The same again may pass the fence; what is newer may not. */
	end_all(0);
	ck_assert_uint_eq(status.reconnects, 1);
	slot_submit(&slots[0], BLOCK_OP_WRITE, 0, 4096);
	for (unsigned int i = 0; i < 20; i++)
		ck_assert_int_eq(do_write(2 << 20, 4096), 0);
	ck_assert(slots[0].busy);
	block_queue_abandon(queue);
	end_all(-ECANCELED);
}
END_TEST

/* ---- opening and closing -------------------------------------------- */

/* Between the provider's and the queue's opening there is no one to see. */
START_TEST(lost_while_idle)
{
	NBDKIT(&server, "memory", "1M");
	ck_assert_int_eq(
		disk_open_spec(disk_spec(&server, "nbd", "", ""), false), 0);
	server_kill(&server);
	if (_i)
		server_restart(&server);
	disk_open_queue();
	slot_submit(&slots[0], BLOCK_OP_READ, 0, 4096);
	run_loop_ms(50);
	if (!_i)
		server_restart(&server);
	end_all(0);
}
END_TEST

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Gone, or there and silent, when the guest detaches. */
START_TEST(closes_without_a_server)
{
	unsigned int fds = count_fds();
	uint64_t start;

	NBDKIT(&server, "memory", "1M");
	disk_open(&server, _i & 1 ? "connections=4" : "");
	ck_assert_int_eq(do_write(0, 4096), 0);
	if (_i & 2)
		server_hang(&server);
	else
		server_kill(&server);
	if (_i & 4)
		run_loop_ms(150);
	start = clock_now_ms();
	disk_close();
	ck_assert_uint_lt(clock_now_ms() - start, 1600);
	ck_assert_uint_eq(count_fds(), fds);
}
END_TEST

/* What was acknowledged is durable before it is forgotten. */
START_TEST(flushed_at_the_end)
{
	const char *path = scratch_file("image", PAGES * PAGE);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	NBDKIT(&server, "--filter=cache", "file", path);
	disk_open(&server, _i ? "connections=4" : "");
	fill(65536, 1);
	ck_assert_int_eq(do_write(0, 65536), 0);
	disk_close();
	server_kill(&server);
	ck_assert_int_eq(pread(fd, buffer, 65536, 0), 65536);
	check_filled(65536, 1);
	close(fd);
}
END_TEST

/*
 * It takes fewer connections than it says it does.  (The memory plugin allows
 * more than one; nbdkit's multi-conn filter would, too, but dies of a client
 * that leaves while it is greeted.)
 */
START_TEST(fewer_connections)
{
	NBDKIT(&server, "--filter=limit", "memory", "1M", "limit=2");
	disk_open(&server, "connections=4&timeout=5");
	for (unsigned int i = 0; i < 50; i++) {
		fill(4096, i);
		ck_assert_int_eq(do_write(i * 4096, 4096), 0);
		ck_assert_int_eq(do_read(i * 4096, 4096), 0);
		check_filled(4096, i);
	}
	server_kill(&server);
	server_restart(&server);
	ck_assert_int_eq(do_read(0, 4096), 0);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	suite_add_tcase(suite, tc);
	return tc;
}

Suite *suite_nbd_loss(void)
{
	Suite *suite = suite_create("nbd-loss");
	TCase *tc = add_case(suite, "kills");

	tcase_add_loop_test(tc, killed_under_load, 0, (int)NR_OF(loads));
	tcase_add_test(tc, acknowledged_writes_survive);
	tcase_add_test(tc, written_through);
	tcase_add_test(tc, flush_that_fails);
	tcase_add_test(tc, shut_down_under_load);
	tc = add_case(suite, "another");
	tcase_add_loop_test(tc, another_disk, 0, (int)NR_OF(others));
	tc = add_case(suite, "waiting");
	tcase_add_test(tc, timeout_of_0);
	tcase_add_test(tc, timeout_of_1);
	tcase_add_test(tc, timeout_is_not_for_a_long_replay);
	tcase_add_test(tc, status_is_shown);
	tc = add_case(suite, "silence");
	tcase_add_test(tc, half_open);
	tcase_add_test(tc, stale_write_does_not_land_last);
	tcase_add_loop_test(tc, fence_where_the_kernel_gave_up, 0, 4);
	tc = add_case(suite, "closing");
	tcase_add_loop_test(tc, lost_while_idle, 0, 2);
	tcase_add_loop_test(tc, closes_without_a_server, 0, 8);
	tcase_add_loop_test(tc, flushed_at_the_end, 0, 2);
	tcase_add_test(tc, fewer_connections);
	return suite;
}
