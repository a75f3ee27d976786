/* SPDX-License-Identifier: BSD-2-Clause */
/* nbd-client/nbd-fence.h on socket pairs. */
#include "common/clock.h"
#include "nbd-client/nbd-fence.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct io_loop *loop;
static struct nbd_fence fence;
static unsigned int nr_lifted;
static int ends[2]; /* ours, the server's */

static void on_lifted(struct nbd_fence *lifted)
{
	ck_assert_ptr_eq(lifted, &fence);
	nr_lifted++;
}

static void setup(void)
{
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	nbd_fence_init(&fence);
	nbd_fence_enter(&fence, loop, on_lifted, NULL);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
}

static void teardown(void)
{
	nbd_fence_leave(&fence);
	nbd_fence_fini(&fence);
	io_loop_free(loop);
}

static bool holds(uint64_t number, uint64_t start, uint64_t end)
{
	return nbd_fence_holds(&fence, number, start, end - start);
}

static void run_until_lifted(unsigned int nr)
{
	while (nr_lifted < nr)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_uint_eq(nr_lifted, nr);
}

START_TEST(holds_ranges_but_for_their_own)
{
	ck_assert(!holds(9, 0, UINT64_MAX));
	ck_assert(nbd_fence_raise(&fence, ends[0]));
	ck_assert(nbd_fence_is_up(&fence));
	nbd_fence_add(&fence, 5, 1000, 500);
	ck_assert(holds(6, 1000, 1500));
	ck_assert(holds(4, 1499, 1600));
	ck_assert(holds(6, 0, 1001));
	ck_assert(holds(6, 0, 9999));
	ck_assert(holds(6, 1200, 1201));
	ck_assert(!holds(6, 0, 1000));
	ck_assert(!holds(6, 1500, 1501));
	ck_assert(!holds(5, 1000, 1500));
	/* Its own range does not open another's. */
	nbd_fence_add(&fence, 7, 1100, 100);
	ck_assert(holds(5, 1000, 1500));
	ck_assert(!holds(5, 1000, 1100));
}
END_TEST

START_TEST(lifts_when_the_server_closes)
{
	char byte;

	ck_assert(nbd_fence_raise(&fence, ends[0]));
	nbd_fence_add(&fence, 5, 0, 512);
	close(ends[0]);
	/* The server has been told. */
	ck_assert_int_eq(recv(ends[1], &byte, 1, 0), 0);
	/* What it still has to say is not its end. */
	ck_assert_int_eq(write(ends[1], "late reply", 10), 10);
	ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert(holds(6, 0, 512));
	close(ends[1]);
	run_until_lifted(1);
	ck_assert(!holds(6, 0, 512));
	ck_assert(!nbd_fence_is_up(&fence));
}
END_TEST

START_TEST(not_raised_around_a_closed_end)
{
	ck_assert_int_eq(write(ends[1], "late reply", 10), 10);
	close(ends[1]);
	ck_assert(!nbd_fence_raise(&fence, ends[0]));
	ck_assert(!nbd_fence_is_up(&fence));
	close(ends[0]);
}
END_TEST

/* A connection over TCP whose other end takes nothing, and that is full. */
static void make_stuck_pair(int pair[2])
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t length = sizeof(in);
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const unsigned int give_up_ms = 300;
	char bytes[65536] = { 0 };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&in, length), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	getsockname(listening, (struct sockaddr *)&in, &length);
	pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(pair[0], (struct sockaddr *)&in, length), 0);
	pair[1] = accept(listening, NULL, NULL);
	close(listening);
	ck_assert_int_eq(setsockopt(pair[0], IPPROTO_TCP, TCP_USER_TIMEOUT,
				    &give_up_ms, sizeof(give_up_ms)),
			 0);
	while (send(pair[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
}

/* That the kernel gives a connection up tells nothing of the server. */
START_TEST(stands_when_the_kernel_gives_up)
{
	struct pollfd pfd;
	int pair[2];

	make_stuck_pair(pair);
	if (_i) {
		ck_assert(nbd_fence_raise(&fence, pair[0]));
		nbd_fence_add(&fence, 1, 0, 512);
		while (fence.nr_open)
			ck_assert_int_ge(io_loop_run(loop, true), 0);
	} else {
		pfd = (struct pollfd){ .fd = pair[0] };
		ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
		ck_assert(nbd_fence_raise(&fence, pair[0]));
		nbd_fence_add(&fence, 1, 0, 512);
	}
	ck_assert_uint_eq(nr_lifted, 0);
	ck_assert(nbd_fence_is_up(&fence));
	ck_assert(holds(3, 0, 512));
	ck_assert(nbd_fence_check(&fence, clock_now_ms() + 2 * NBD_FENCE_MS));
	ck_assert(!holds(3, 0, 512));
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(waits_for_all_sockets)
{
	int more[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, more), 0);
	ck_assert(nbd_fence_raise(&fence, ends[0]));
	nbd_fence_add(&fence, 1, 0, 512);
	ck_assert(nbd_fence_raise(&fence, more[0]));
	nbd_fence_add(&fence, 2, 512, 512);
	close(ends[1]);
	ck_assert_int_ge(io_loop_run(loop, true), 1);
	ck_assert_uint_eq(nr_lifted, 0);
	ck_assert(holds(3, 0, 512));
	ck_assert(holds(3, 512, 1024));
	close(more[1]);
	run_until_lifted(1);
	ck_assert(!holds(3, 0, 1024));
}
END_TEST

START_TEST(lifts_when_its_time_is_over)
{
	uint64_t now = clock_now_ms();

	ck_assert(!nbd_fence_check(&fence, now + 2 * NBD_FENCE_MS));
	ck_assert(nbd_fence_raise(&fence, ends[0]));
	nbd_fence_add(&fence, 1, 0, 512);
	ck_assert(!nbd_fence_check(&fence, now + NBD_FENCE_MS - 1));
	ck_assert(holds(3, 0, 512));
	ck_assert(nbd_fence_check(&fence, now + 2 * NBD_FENCE_MS));
	ck_assert(!holds(3, 0, 512));
	/* The poll's end is no second lifting. */
	ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_uint_eq(nr_lifted, 0);
}
END_TEST

/* With no room left, everything waits: also what would be let through. */
START_TEST(full_means_everything)
{
	ck_assert(nbd_fence_raise(&fence, ends[0]));
	for (unsigned int i = 0; i < NBD_FENCE_RANGES; i++)
		nbd_fence_add(&fence, 1, i * 1024, 512);
	ck_assert(!holds(3, 512, 1024));
	nbd_fence_add(&fence, 1, 1 << 30, 512);
	ck_assert(holds(3, 512, 1024));
	ck_assert(holds(1, 0, 512));
	close(ends[1]);
	run_until_lifted(1);
	ck_assert(!holds(3, 512, 1024));
}
END_TEST

/* ---- in memory that outlives a process ---------------------------------- */

#define LEFT_MS 5000u
static struct nbd_fence_list left;

/* Another process has it from here. */
static void take_over(uint64_t ms)
{
	nbd_fence_fini(&fence);
	nbd_fence_init(&fence);
	nbd_fence_share(&fence, &left, ms);
	nbd_fence_enter(&fence, loop, on_lifted, NULL);
}

static bool lifts_after(uint64_t ms)
{
	uint64_t now = clock_now_ms();

	/* Not longer; the clock goes on meanwhile. */
	ck_assert(nbd_fence_is_up(&fence));
	nbd_fence_check(&fence, now + ms - 1000);
	if (!nbd_fence_is_up(&fence))
		return false;
	nbd_fence_check(&fence, now + ms);
	return !nbd_fence_is_up(&fence) && !holds(3, 0, UINT64_MAX);
}

START_TEST(left_to_the_next)
{
	memset(&left, 0, sizeof(left));
	take_over(LEFT_MS);
	ck_assert(!nbd_fence_is_up(&fence));
	nbd_fence_raise_for_time(&fence, LEFT_MS);
	nbd_fence_add(&fence, NBD_FENCE_LEFT | 5, 0, 512);
	ck_assert(nbd_fence_raise(&fence, ends[0]));
	nbd_fence_add(&fence, 6, 512, 512);
	take_over(LEFT_MS);
	ck_assert(nbd_fence_is_up(&fence));
	/* Known by what does not change; others are not. */
	ck_assert(!holds(NBD_FENCE_LEFT | 5, 0, 512));
	ck_assert(holds(5, 0, 512));
	ck_assert(holds(6, 512, 1024));
	/* Nothing in the record is newer than what was left. */
	ck_assert(!holds(NBD_FENCE_RECORD, 0, 512));
	ck_assert(holds(NBD_FENCE_RECORD, 0, 1024));
	/* Another driver's requests have the same names. */
	nbd_fence_leave(&fence);
	ck_assert(holds(NBD_FENCE_LEFT | 5, 0, 512));
	ck_assert(!holds(NBD_FENCE_RECORD, 0, 512));
	/* Of a connection that was watched as well: it is closed by now. */
	ck_assert(lifts_after(LEFT_MS));
}
END_TEST

/* A connection that our kernel has given up has no end that a death would hasten. */
START_TEST(left_cut_here)
{
	memset(&left, 0, sizeof(left));
	take_over(LEFT_MS);
	nbd_fence_raise_cut_here(&fence);
	nbd_fence_add(&fence, 1, 0, 512);
	take_over(LEFT_MS);
	ck_assert(holds(2, 0, 512));
	take_over(LEFT_MS);
	ck_assert(lifts_after(NBD_FENCE_MS));
	take_over(LEFT_MS);
	ck_assert(!nbd_fence_is_up(&fence));
}
END_TEST

/* Whoever had the memory before may write to it still. */
START_TEST(left_and_changed_by_others)
{
	memset(&left, 0, sizeof(left));
	take_over(LEFT_MS);
	nbd_fence_raise_for_time(&fence, LEFT_MS);
	left.nr_ranges = _i ? UINT64_MAX : 1u << 20;
	nbd_fence_add(&fence, 1, 0, 512);
	ck_assert(holds(2, 1024, 1536));
	ck_assert(!nbd_fence_has_left(&fence));
}
END_TEST

/* What nothing tells the end of has the time of a new connection. */
START_TEST(begins_anew)
{
	nbd_fence_begin_anew(&fence, LEFT_MS);
	ck_assert(!nbd_fence_is_up(&fence));
	nbd_fence_raise_for_time(&fence, 1000);
	nbd_fence_add(&fence, 1, 0, 512);
	nbd_fence_begin_anew(&fence, LEFT_MS);
	ck_assert(lifts_after(LEFT_MS));
}
END_TEST

START_TEST(left_while_the_record_was_sent)
{
	memset(&left, 0, sizeof(left));
	take_over(LEFT_MS);
	nbd_fence_record_sent(&fence, true);
	ck_assert(!nbd_fence_is_up(&fence));
	take_over(LEFT_MS);
	ck_assert(holds(NBD_FENCE_RECORD, 0, 512));
	ck_assert(lifts_after(LEFT_MS));
	take_over(LEFT_MS);
	ck_assert(!nbd_fence_is_up(&fence));
}
END_TEST

/* The same again takes no room. */
START_TEST(left_again_and_again)
{
	memset(&left, 0, sizeof(left));
	for (unsigned int i = 0; i <= NBD_FENCE_RANGES; i++) {
		take_over(LEFT_MS);
		nbd_fence_raise_for_time(&fence, LEFT_MS);
		nbd_fence_add(&fence, NBD_FENCE_LEFT | 5, 0, 512);
	}
	ck_assert(!holds(3, 512, 1024));
	ck_assert_uint_eq(left.nr_ranges, 1);
}
END_TEST

/* What no fence can be is one around everything, and not for ever. */
START_TEST(left_by_a_liar)
{
	memset(&left, 0xff, sizeof(left));
	if (_i) {
		left.marks = left.everything = 0;
		left.nr_ranges = 1;
		left.ranges[0].end = 0;
	}
	take_over(LEFT_MS);
	ck_assert(holds(3, 512, 1024));
	ck_assert(lifts_after(_i ? LEFT_MS : NBD_FENCE_MS));
}
END_TEST

START_TEST(left_and_nobody_cares)
{
	memset(&left, 0xff, sizeof(left));
	take_over(0);
	ck_assert(!nbd_fence_is_up(&fence));
	ck_assert(!holds(3, 0, UINT64_MAX));
}
END_TEST

/* Again and again: sockets that were closed make room for others. */
START_TEST(used_again)
{
	for (unsigned int i = 1; i < 3 * NBD_FENCE_SOCKETS; i++) {
		int pair[2];

		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		ck_assert(nbd_fence_raise(&fence, pair[0]));
		nbd_fence_add(&fence, 1, 0, 512);
		close(pair[0]);
		close(pair[1]);
		run_until_lifted(i);
		ck_assert(!fence.list->everything);
	}
}
END_TEST

START_TEST(too_many_sockets)
{
	int pair[2];

	for (unsigned int i = 0; i <= NBD_FENCE_SOCKETS; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
		ck_assert(nbd_fence_raise(&fence, pair[0]));
	}
	ck_assert(holds(3, 0, 512));
	ck_assert(nbd_fence_check(&fence, clock_now_ms() + 2 * NBD_FENCE_MS));
	ck_assert(!holds(3, 0, 512));
}
END_TEST

Suite *suite_nbd_fence(void)
{
	Suite *suite = suite_create("nbd-fence");
	TCase *tc = tcase_create("fence");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, holds_ranges_but_for_their_own);
	tcase_add_test(tc, lifts_when_the_server_closes);
	tcase_add_test(tc, not_raised_around_a_closed_end);
	tcase_add_loop_test(tc, stands_when_the_kernel_gives_up, 0, 2);
	tcase_add_test(tc, waits_for_all_sockets);
	tcase_add_test(tc, lifts_when_its_time_is_over);
	tcase_add_test(tc, full_means_everything);
	tcase_add_test(tc, left_to_the_next);
	tcase_add_loop_test(tc, left_and_changed_by_others, 0, 2);
	tcase_add_test(tc, begins_anew);
	tcase_add_test(tc, left_cut_here);
	tcase_add_test(tc, left_while_the_record_was_sent);
	tcase_add_test(tc, left_again_and_again);
	tcase_add_loop_test(tc, left_by_a_liar, 0, 2);
	tcase_add_test(tc, left_and_nobody_cares);
	tcase_add_test(tc, used_again);
	tcase_add_test(tc, too_many_sockets);
	suite_add_tcase(suite, tc);
	return suite;
}
