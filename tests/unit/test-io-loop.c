/* SPDX-License-Identifier: BSD-2-Clause */
/* common/io-loop.h: every kind of operation, exactly one done for each. */
#include "common/clock.h"
#include "common/io-loop.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

struct counted {
	struct io_op op; /* first: the callback casts */
	unsigned int nr_done;
	int result;
};

static struct io_loop *loop;

static void counted_done(struct io_op *op, int result)
{
	struct counted *c = (struct counted *)op;

	c->nr_done++;
	c->result = result;
}

static struct counted fresh(void)
{
	return (struct counted){ .op.done = counted_done };
}

static void setup(void)
{
	ck_assert_int_eq(io_loop_new(4, &loop), 0);
}

static void teardown(void)
{
	io_loop_free(loop);
	io_loop_free(NULL);
}

/* Runs until it is done; check's time-out is the deadline. */
static int run_until_done(struct counted *c)
{
	while (!c->nr_done)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_uint_eq(c->nr_done, 1);
	return c->result;
}

START_TEST(polls)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct counted in = fresh(), out = fresh();
	uint64_t one = 1;

	io_loop_poll(loop, &in.op, fd, POLLIN);
	io_loop_poll(loop, &out.op, fd, POLLOUT);
	ck_assert_int_eq(run_until_done(&out), POLLOUT);
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	ck_assert_uint_eq(in.nr_done, 0);
	ck_assert_int_eq(write(fd, &one, 8), 8);
	ck_assert_int_eq(run_until_done(&in), POLLIN);
	/* Once is once. */
	ck_assert_int_eq(write(fd, &one, 8), 8);
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	ck_assert_uint_eq(in.nr_done, 1);
	close(fd);
}
END_TEST

/* How much of the buffer is registered. */
static const size_t registered_bytes[] = { 0, 11, 5 };

START_TEST(moves_bytes)
{
	int fd = memfd_create("file", MFD_CLOEXEC);
	char a[] = "hello ", b[] = "world", got_a[4], got_b[7], got[11];
	struct iovec out[2] = { { a, 6 }, { b, 5 } };
	struct iovec in[2] = { { got_a, 4 }, { got_b, 7 } };
	struct iovec one = { got, sizeof(got) };
	struct counted c = fresh();

	if (registered_bytes[_i])
		io_loop_register_memory(loop, got, registered_bytes[_i]);
	io_loop_writev(loop, &c.op, fd, out, 2, 1000);
	ck_assert_int_eq(run_until_done(&c), 11);
	c = fresh();
	io_loop_readv(loop, &c.op, fd, in, 2, 1000);
	ck_assert_int_eq(run_until_done(&c), 11);
	ck_assert_mem_eq(got_a, "hell", 4);
	ck_assert_mem_eq(got_b, "o world", 7);
	c = fresh();
	io_loop_readv(loop, &c.op, fd, &one, 1, 1000);
	ck_assert_int_eq(run_until_done(&c), 11);
	ck_assert_mem_eq(got, "hello world", 11);
	/* The end of the file makes it short, and then zero. */
	c = fresh();
	io_loop_readv(loop, &c.op, fd, &one, 1, 1006);
	ck_assert_int_eq(run_until_done(&c), 5);
	c = fresh();
	io_loop_readv(loop, &c.op, fd, &one, 1, 1011);
	ck_assert_int_eq(run_until_done(&c), 0);
	c = fresh();
	one.iov_len = 3;
	io_loop_writev(loop, &c.op, fd, &one, 1, 0);
	ck_assert_int_eq(run_until_done(&c), 3);
	c = fresh();
	io_loop_fdatasync(loop, &c.op, fd);
	ck_assert_int_eq(run_until_done(&c), 0);
	close(fd);
}
END_TEST

/* Reads wait for data; what is written untold ends no wait, and is there. */
START_TEST(moves_bytes_of_no_file)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	struct counted in = fresh(), time = fresh();
	uint64_t value = 0, two = 2;

	io_loop_read(loop, &in.op, fd, &value, sizeof(value));
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	ck_assert_int_eq(write(fd, &two, sizeof(two)), sizeof(two));
	ck_assert_int_eq(run_until_done(&in), sizeof(value));
	ck_assert_uint_eq(value, 2);
	io_loop_write_untold(loop, fd, &two, sizeof(two));
	io_loop_timeout(loop, &time.op, 30);
	ck_assert_int_eq(io_loop_run(loop, true), 1);
	ck_assert_int_eq(run_until_done(&time), -ETIME);
	in = fresh();
	value = 0;
	io_loop_read(loop, &in.op, fd, &value, sizeof(value));
	ck_assert_int_eq(run_until_done(&in), sizeof(value));
	ck_assert_uint_eq(value, 2);
	/* A failure of it is nobody's, either. */
	io_loop_write_untold(loop, -1, &two, sizeof(two));
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	in = fresh();
	io_loop_read(loop, &in.op, fd, &value, sizeof(value));
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	io_loop_cancel(loop, &in.op);
	ck_assert_int_eq(run_until_done(&in), -ECANCELED);
	close(fd);
}
END_TEST

/* The number that the next descriptor gets. */
static int next_fd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	close(fd);
	return fd;
}

/* The result of one operation. */
static int submit_one(struct io_uring *ring, unsigned int opcode)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int rc;

	io_uring_prep_rw((int)opcode, sqe, AT_FDCWD, "/", 0, 0);
	ck_assert_int_eq(io_uring_submit(ring), 1);
	ck_assert_int_eq(io_uring_wait_cqe(ring, &cqe), 0);
	rc = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return rc;
}

/*
 * Past the loop's functions, as somebody would who has taken the process over:
 * its ring, as another that was made likewise has it, takes nothing but what
 * these functions do.
 */
START_TEST(takes_nothing_else)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP,
	};
	struct io_loop *other;
	struct io_uring twin, ring;
	int fd = next_fd();

	ck_assert_int_eq(io_loop_new(4, &other), 0);
	ck_assert_int_eq(io_uring_queue_init_params(4, &twin, &params), 0);
	ck_assert_int_eq(io_uring_queue_mmap(fd, &params, &ring), 0);
	ck_assert_int_ge(submit_one(&twin, IORING_OP_OPENAT), 0);
	ck_assert_int_eq(submit_one(&ring, IORING_OP_OPENAT), -EACCES);
	ck_assert_int_eq(submit_one(&twin, IORING_OP_NOP), 0);
	ck_assert_int_eq(submit_one(&ring, IORING_OP_NOP), -EACCES);
	ck_assert_int_ge(io_uring_register_personality(&twin), 0);
	ck_assert_int_eq(io_uring_register_personality(&ring), -EACCES);
	io_uring_queue_exit(&twin);
	io_loop_free(other);
}
END_TEST

START_TEST(reports_errors)
{
	int fds[2];
	struct counted c[4] = { fresh(), fresh(), fresh(), fresh() };
	char byte = 0;
	struct iovec iov = { &byte, 1 };

	ck_assert_int_eq(pipe(fds), 0);
	io_loop_readv(loop, &c[0].op, -1, &iov, 1, 0);
	io_loop_fdatasync(loop, &c[1].op, fds[0]);
	io_loop_writev(loop, &c[2].op, fds[0], &iov, 1, 0);
	io_loop_poll(loop, &c[3].op, 12345, POLLIN);
	ck_assert_int_eq(run_until_done(&c[0]), -EBADF);
	ck_assert_int_eq(run_until_done(&c[1]), -EINVAL);
	ck_assert_int_lt(run_until_done(&c[2]), 0);
	ck_assert_int_eq(run_until_done(&c[3]), -EBADF);
}
END_TEST

START_TEST(times_out)
{
	uint64_t start = clock_now_ms();
	struct counted c = fresh(), later = fresh();

	io_loop_timeout(loop, &later.op, 60000);
	io_loop_timeout(loop, &c.op, 30);
	ck_assert_int_eq(run_until_done(&c), -ETIME);
	ck_assert_uint_ge(clock_now_ms() - start, 30);
	ck_assert_uint_eq(later.nr_done, 0);
	io_loop_cancel(loop, &later.op);
	ck_assert_int_eq(run_until_done(&later), -ECANCELED);
	ck_assert_uint_lt(clock_now_ms() - start, 30000);
}
END_TEST

START_TEST(cancels)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct counted c = fresh();

	io_loop_poll(loop, &c.op, fd, POLLIN);
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	io_loop_cancel(loop, &c.op);
	ck_assert_int_eq(run_until_done(&c), -ECANCELED);
	/* Of what has ended already: nothing is called. */
	io_loop_cancel(loop, &c.op);
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	ck_assert_uint_eq(c.nr_done, 1);
	/* Asked for before the kernel has seen the operation. */
	c = fresh();
	io_loop_poll(loop, &c.op, fd, POLLIN);
	io_loop_cancel(loop, &c.op);
	ck_assert_int_eq(run_until_done(&c), -ECANCELED);
	close(fd);
}
END_TEST

/* Many more than the loop has entries for, and than it takes in a batch. */
START_TEST(loses_nothing)
{
	static struct counted c[500];
	int fd = eventfd(1, EFD_NONBLOCK);
	unsigned int done = 0;

	for (size_t i = 0; i < NR_OF(c); i++) {
		c[i] = fresh();
		io_loop_poll(loop, &c[i].op, fd, POLLIN);
	}
	while (done < NR_OF(c)) {
		int rc = io_loop_run(loop, true);

		ck_assert_int_ge(rc, 0);
		done += (unsigned int)rc;
	}
	for (size_t i = 0; i < NR_OF(c); i++)
		ck_assert_uint_eq(c[i].nr_done, 1);
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	close(fd);
}
END_TEST

static unsigned int rounds;
static int round_fd;

static void again_done(struct io_op *op, int result)
{
	ck_assert_int_eq(result, POLLIN);
	if (++rounds < 100)
		io_loop_poll(loop, op, round_fd, POLLIN);
}

START_TEST(starts_again_from_done)
{
	struct io_op op = { .done = again_done };

	round_fd = eventfd(1, EFD_NONBLOCK);
	io_loop_poll(loop, &op, round_fd, POLLIN);
	while (rounds < 100)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_int_eq(io_loop_run(loop, false), 0);
	ck_assert_uint_eq(rounds, 100);
	close(round_fd);
}
END_TEST

static void on_alarm(int signal)
{
	(void)signal;
}

/* A signal ends the wait, with nothing done. */
START_TEST(a_signal_is_no_error)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval timer = { .it_interval.tv_usec = 20000,
				   .it_value.tv_usec = 20000 };
	int fd = eventfd(0, EFD_NONBLOCK);
	struct counted c = fresh();

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
	io_loop_poll(loop, &c.op, fd, POLLIN);
	ck_assert_int_eq(io_loop_run(loop, true), 0);
	ck_assert_uint_eq(c.nr_done, 0);
	setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
	close(fd);
}
END_TEST

Suite *suite_io_loop(void)
{
	Suite *suite = suite_create("io-loop");
	TCase *tc = tcase_create("io-loop");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, polls);
	tcase_add_loop_test(tc, moves_bytes, 0, (int)NR_OF(registered_bytes));
	tcase_add_test(tc, moves_bytes_of_no_file);
	tcase_add_test(tc, takes_nothing_else);
	tcase_add_test(tc, reports_errors);
	tcase_add_test(tc, times_out);
	tcase_add_test(tc, cancels);
	tcase_add_test(tc, loses_nothing);
	tcase_add_test(tc, starts_again_from_done);
	tcase_add_test(tc, a_signal_is_no_error);
	suite_add_tcase(suite, tc);
	return suite;
}
