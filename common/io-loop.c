/* SPDX-License-Identifier: BSD-2-Clause */
/* The event loop over liburing. */
#include "common/io-loop.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Completions taken from the ring in one pass. */
#define IO_LOOP_BATCH 64

struct io_loop {
	struct io_uring uring;
	/* Registered with the kernel; NULL: none. */
	const unsigned char *memory;
	size_t memory_bytes;
};

#define ALLOW_OPCODE(op)                                            \
	{                                                           \
		.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = (op) \
	}
#define ALLOW_REGISTER(op)                                                    \
	{                                                                     \
		.opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = (op) \
	}

/* All that the functions below ask of a ring. */
static const struct io_uring_restriction restrictions[] = {
	ALLOW_OPCODE(IORING_OP_POLL_ADD),
	ALLOW_OPCODE(IORING_OP_READ),
	ALLOW_OPCODE(IORING_OP_READV),
	ALLOW_OPCODE(IORING_OP_READ_FIXED),
	ALLOW_OPCODE(IORING_OP_WRITE),
	ALLOW_OPCODE(IORING_OP_WRITEV),
	ALLOW_OPCODE(IORING_OP_WRITE_FIXED),
	ALLOW_OPCODE(IORING_OP_FSYNC),
	ALLOW_OPCODE(IORING_OP_FALLOCATE),
	ALLOW_OPCODE(IORING_OP_TIMEOUT),
	ALLOW_OPCODE(IORING_OP_ASYNC_CANCEL),
	{ .opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
	  .sqe_flags = IOSQE_CQE_SKIP_SUCCESS },
	ALLOW_REGISTER(IORING_REGISTER_BUFFERS),
};

/* liburing 2.3 declares functions for these, and does not export them. */
static int register_op(const struct io_uring *uring, unsigned int op,
		       const void *arg, unsigned int nr)
{
	return syscall(SYS_io_uring_register, uring->ring_fd, op, arg, nr) < 0
		       ? -errno
		       : 0;
}

/* For good: seccomp does not see what a ring is given to do. */
static int restrict_ring(const struct io_uring *uring)
{
	int rc = register_op(uring, IORING_REGISTER_RESTRICTIONS, restrictions,
			     sizeof(restrictions) / sizeof(restrictions[0]));

	return rc < 0 ? rc
		      : register_op(uring, IORING_REGISTER_ENABLE_RINGS, NULL,
				    0);
}

int io_loop_new(unsigned int entries, struct io_loop **ret_loop)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP |
			 IORING_SETUP_R_DISABLED,
	};
	struct io_loop *loop = calloc(1, sizeof(*loop));
	int rc;

	if (!loop)
		return -ENOMEM;
	rc = io_uring_queue_init_params(entries, &loop->uring, &params);
	if (rc < 0) {
		free(loop);
		return rc;
	}
	rc = restrict_ring(&loop->uring);
	if (rc < 0) {
		io_loop_free(loop);
		return rc;
	}
	*ret_loop = loop;
	return 0;
}

void io_loop_register_memory(struct io_loop *loop, void *memory,
			     size_t nr_bytes)
{
	struct iovec iov = { memory, nr_bytes };

	assert(!loop->memory);
	if (io_uring_register_buffers(&loop->uring, &iov, 1) == 0) {
		loop->memory = memory;
		loop->memory_bytes = nr_bytes;
	}
}

void io_loop_free(struct io_loop *loop)
{
	if (!loop)
		return;
	io_uring_queue_exit(&loop->uring);
	free(loop);
}

/* Never NULL: a full submission queue is handed over to make room. */
static struct io_uring_sqe *loop_sqe(struct io_loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->uring);

	while (!sqe) {
		io_uring_submit(&loop->uring);
		sqe = io_uring_get_sqe(&loop->uring);
	}
	return sqe;
}

/* io_uring_prep_*() overwrite user_data in liburing < 2.4: set it last. */
static void loop_start(struct io_uring_sqe *sqe, struct io_op *op)
{
	assert(op->done);
	op->in_flight = true;
	io_uring_sqe_set_data(sqe, op);
}

/* Nobody is told of its end. */
static void loop_start_untold(struct io_uring_sqe *sqe)
{
	io_uring_sqe_set_data(sqe, NULL);
}

void io_loop_poll(struct io_loop *loop, struct io_op *op, int fd, short events)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_poll_add(sqe, fd, (unsigned int)events);
	loop_start(sqe, op);
}

static bool is_registered(const struct io_loop *loop, const struct iovec *iov)
{
	size_t offset =
		(size_t)((const unsigned char *)iov->iov_base - loop->memory);

	return loop->memory && offset < loop->memory_bytes &&
	       iov->iov_len <= loop->memory_bytes - offset;
}

void io_loop_readv(struct io_loop *loop, struct io_op *op, int fd,
		   const struct iovec *iov, unsigned int nr_iov,
		   uint64_t offset_bytes)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	if (nr_iov == 1 && is_registered(loop, iov))
		io_uring_prep_read_fixed(sqe, fd, iov->iov_base,
					 (unsigned int)iov->iov_len,
					 offset_bytes, 0);
	else if (nr_iov == 1)
		io_uring_prep_read(sqe, fd, iov->iov_base,
				   (unsigned int)iov->iov_len, offset_bytes);
	else
		io_uring_prep_readv(sqe, fd, iov, nr_iov, offset_bytes);
	loop_start(sqe, op);
}

void io_loop_writev(struct io_loop *loop, struct io_op *op, int fd,
		    const struct iovec *iov, unsigned int nr_iov,
		    uint64_t offset_bytes)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	if (nr_iov == 1 && is_registered(loop, iov))
		io_uring_prep_write_fixed(sqe, fd, iov->iov_base,
					  (unsigned int)iov->iov_len,
					  offset_bytes, 0);
	else if (nr_iov == 1)
		io_uring_prep_write(sqe, fd, iov->iov_base,
				    (unsigned int)iov->iov_len, offset_bytes);
	else
		io_uring_prep_writev(sqe, fd, iov, nr_iov, offset_bytes);
	loop_start(sqe, op);
}

void io_loop_read(struct io_loop *loop, struct io_op *op, int fd, void *data,
		  unsigned int nr_bytes)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_read(sqe, fd, data, nr_bytes, 0);
	loop_start(sqe, op);
}

void io_loop_write_untold(struct io_loop *loop, int fd, const void *data,
			  unsigned int nr_bytes)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_write(sqe, fd, data, nr_bytes, 0);
	/* A completion would end the wait. */
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	loop_start_untold(sqe);
}

void io_loop_fdatasync(struct io_loop *loop, struct io_op *op, int fd)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	loop_start(sqe, op);
}

void io_loop_fallocate(struct io_loop *loop, struct io_op *op, int fd, int mode,
		       uint64_t offset_bytes, uint64_t length_bytes)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_fallocate(sqe, fd, mode, (off_t)offset_bytes,
				(off_t)length_bytes);
	loop_start(sqe, op);
}

void io_loop_timeout(struct io_loop *loop, struct io_op *op, uint64_t delay_ms)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	op->timeout.tv_sec = (long long)(delay_ms / 1000);
	op->timeout.tv_nsec = (long long)(delay_ms % 1000) * 1000000;
	io_uring_prep_timeout(sqe, &op->timeout, 0, 0);
	loop_start(sqe, op);
}

void io_loop_cancel(struct io_loop *loop, struct io_op *op)
{
	struct io_uring_sqe *sqe;

	if (!op->in_flight)
		return;
	sqe = loop_sqe(loop);
	io_uring_prep_cancel(sqe, op, 0);
	loop_start_untold(sqe);
}

/* Nothing to hand over, nothing complete, and nothing that could be made so. */
static bool loop_rests(const struct io_loop *loop)
{
	unsigned int flags = IO_URING_READ_ONCE(*loop->uring.sq.kflags);

	return !io_uring_sq_ready(&loop->uring) &&
	       !io_uring_cq_ready(&loop->uring) &&
	       !(flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

int io_loop_run(struct io_loop *loop, bool wait)
{
	struct io_uring_cqe *cqes[IO_LOOP_BATCH];
	struct io_op *ops[IO_LOOP_BATCH];
	int results[IO_LOOP_BATCH];
	unsigned int nr, called = 0;
	int rc;

	if (!wait && loop_rests(loop))
		return 0;
	/* DEFER_TASKRUN completes nothing outside an enter with GETEVENTS. */
	rc = wait ? io_uring_submit_and_wait(&loop->uring, 1)
		  : io_uring_submit_and_get_events(&loop->uring);
	if (rc < 0 && rc != -EINTR && rc != -EAGAIN && rc != -EBUSY)
		return rc;
	while ((nr = io_uring_peek_batch_cqe(&loop->uring, cqes,
					     IO_LOOP_BATCH))) {
		for (unsigned int i = 0; i < nr; i++) {
			ops[i] = io_uring_cqe_get_data(cqes[i]);
			results[i] = cqes[i]->res;
		}
		/* Give the slots back first: callbacks start operations. */
		io_uring_cq_advance(&loop->uring, nr);
		for (unsigned int i = 0; i < nr; i++) {
			if (!ops[i])
				continue;
			ops[i]->in_flight = false;
			ops[i]->done(ops[i], results[i]);
			called++;
		}
	}
	return (int)called;
}
