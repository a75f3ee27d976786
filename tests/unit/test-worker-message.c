/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/worker-message.h: both ends over a real pair, and a broken peer. */
#include "blkback/worker-message.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int pair[2];
static struct worker_message sent, got;

static void setup(void)
{
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(fcntl(pair[1], F_SETFL, O_NONBLOCK), 0);
}

static unsigned int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

START_TEST(carries_messages)
{
	int fd = 99;

	sent.type = WORKER_OPEN;
	sent.open.read_only = true;
	memset(sent.open.target, 'x', sizeof(sent.open.target) - 1);
	ck_assert_int_eq(worker_message_send(pair[0], &sent, -1), 0);
	sent.type = WORKER_DISCONNECT;
	ck_assert_int_eq(worker_message_send(pair[0], &sent, -1), 0);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 1);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(got.type, WORKER_OPEN);
	ck_assert(got.open.read_only);
	ck_assert_str_eq(got.open.target, sent.open.target);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 1);
	ck_assert_int_eq(got.type, WORKER_DISCONNECT);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), -EAGAIN);
}
END_TEST

START_TEST(carries_a_descriptor)
{
	unsigned int before;
	struct stat a, b;
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), fd = -1;

	ck_assert_int_eq(worker_message_send(pair[0], &sent, file), 0);
	ck_assert_int_eq(fstat(file, &a), 0); /* the sender's own stays */
	before = open_descriptors();
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 1);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_ne(fd, file);
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &b), 0);
	ck_assert_uint_eq(a.st_rdev, b.st_rdev);
	ck_assert_uint_eq(open_descriptors(), before + 1);
}
END_TEST

START_TEST(no_room_for_a_descriptor)
{
	int first_free = dup(pair[0]), fd = -1;
	struct rlimit limit, tight;

	ck_assert_int_eq(worker_message_send(pair[0], &sent, pair[0]), 0);
	close(first_free);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	tight = limit;
	tight.rlim_cur = (rlim_t)first_free;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(fd, -1);
}
END_TEST

/* A datagram of another size, and what came with it is not leaked. */
START_TEST(short_messages)
{
	/* One without anything looks like the end. */
	static const size_t lengths[] = { 1, sizeof(sent) - 1, 0 };
	struct iovec iov = { &sent, lengths[_i] };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	unsigned int before = open_descriptors();
	int fd = -1;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &pair[0], sizeof(int));
	ck_assert_int_eq(sendmsg(pair[0], &msg, 0), (int)iov.iov_len);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd),
			 lengths[_i] ? -EPROTO : 0);
	ck_assert_int_eq(fd, -1);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

/* Of a worker that was taken over; the sanitizer sees what is no truth value. */
START_TEST(any_byte_is_a_truth_value)
{
	unsigned int n;
	int fd = -1;

	memset(&sent, 0x7e, sizeof(sent));
	sent.type = _i ? WORKER_HELLO : WORKER_OPENED;
	ck_assert_int_eq(worker_message_send(pair[0], &sent, -1), 0);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 1);
	n = _i ? got.hello.disconnecting
	       : got.opened.read_only + got.opened.can_flush +
			    got.opened.flush_retryable + got.opened.any_memory +
			    got.opened.pins_memory + got.opened.shared +
			    got.opened.unshareable + got.opened.hold_version;
	ck_assert_uint_le(n, 8);
}
END_TEST

START_TEST(the_peer_is_gone)
{
	int fd = -1;

	ck_assert_int_eq(worker_message_send(pair[0], &sent, -1), 0);
	close(pair[0]);
	/* What it said last still arrives. */
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 1);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 0);
	/* And no SIGPIPE. */
	ck_assert_int_eq(worker_message_send(pair[1], &sent, -1), -EPIPE);
}
END_TEST

START_TEST(the_peer_dies_with_messages_unread)
{
	int fd = -1;

	ck_assert_int_eq(worker_message_send(pair[1], &sent, -1), 0);
	close(pair[0]);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 0);
}
END_TEST

START_TEST(half_a_goodbye)
{
	int fd = -1;

	/* As the supervisor asks a worker to end: it may still answer. */
	ck_assert_int_eq(shutdown(pair[0], SHUT_WR), 0);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), 0);
	ck_assert_int_eq(worker_message_send(pair[1], &sent, -1), 0);
	ck_assert_int_eq(worker_message_receive(pair[0], &got, &fd), 1);
}
END_TEST

START_TEST(bad_descriptors)
{
	int fd = -1;

	ck_assert_int_eq(worker_message_send(-1, &sent, -1), -EBADF);
	ck_assert_int_eq(worker_message_send(pair[0], &sent, 12345), -EBADF);
	ck_assert_int_eq(worker_message_receive(-1, &got, &fd), -EBADF);
	ck_assert_int_eq(worker_message_receive(pair[1], &got, &fd), -EAGAIN);
}
END_TEST

Suite *suite_worker_message(void)
{
	Suite *suite = suite_create("worker-message");
	TCase *tc = tcase_create("worker-message");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, carries_messages);
	tcase_add_test(tc, carries_a_descriptor);
	tcase_add_test(tc, no_room_for_a_descriptor);
	tcase_add_loop_test(tc, short_messages, 0, 3);
	tcase_add_loop_test(tc, any_byte_is_a_truth_value, 0, 2);
	tcase_add_test(tc, the_peer_is_gone);
	tcase_add_test(tc, the_peer_dies_with_messages_unread);
	tcase_add_test(tc, half_a_goodbye);
	tcase_add_test(tc, bad_descriptors);
	suite_add_tcase(suite, tc);
	return suite;
}
