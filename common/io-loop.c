/* SPDX-License-Identifier: BSD-2-Clause */
/* The event loop over liburing. */
#include "common/io-loop.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>

/* Completions taken from the ring in one pass. */
#define IO_LOOP_BATCH 64

struct io_loop {
	struct io_uring uring;
	/* Registered with the kernel; -1 and NULL: none. */
	int file;
	const unsigned char *memory;
	size_t memory_bytes;
};

int io_loop_new(unsigned int entries, struct io_loop **ret_loop)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_CLAMP,
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
	loop->file = -1;
	*ret_loop = loop;
	return 0;
}

void io_loop_register_file(struct io_loop *loop, int fd)
{
	assert(loop->file < 0);
	if (io_uring_register_files(&loop->uring, &fd, 1) == 0)
		loop->file = fd;
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
static void loop_queue(struct io_uring_sqe *sqe, struct io_op *op)
{
	assert(!op || op->done);
	io_uring_sqe_set_data(sqe, op);
}

void io_loop_poll(struct io_loop *loop, struct io_op *op, int fd, short events)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_poll_add(sqe, fd, (unsigned int)events);
	loop_queue(sqe, op);
}

/* After io_uring_prep_*(), which overwrite the flags. */
static void use_file(const struct io_loop *loop, struct io_uring_sqe *sqe)
{
	if (loop->file < 0 || sqe->fd != loop->file)
		return;
	sqe->fd = 0;
	sqe->flags |= IOSQE_FIXED_FILE;
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
	use_file(loop, sqe);
	loop_queue(sqe, op);
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
	use_file(loop, sqe);
	loop_queue(sqe, op);
}

void io_loop_fdatasync(struct io_loop *loop, struct io_op *op, int fd)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	loop_queue(sqe, op);
}

void io_loop_fallocate(struct io_loop *loop, struct io_op *op, int fd, int mode,
		       uint64_t offset_bytes, uint64_t length_bytes)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_fallocate(sqe, fd, mode, (off_t)offset_bytes,
				(off_t)length_bytes);
	loop_queue(sqe, op);
}

void io_loop_timeout(struct io_loop *loop, struct io_op *op, uint64_t delay_ms)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	op->timeout.tv_sec = (long long)(delay_ms / 1000);
	op->timeout.tv_nsec = (long long)(delay_ms % 1000) * 1000000;
	io_uring_prep_timeout(sqe, &op->timeout, 0, 0);
	loop_queue(sqe, op);
}

void io_loop_cancel(struct io_loop *loop, struct io_op *op)
{
	struct io_uring_sqe *sqe = loop_sqe(loop);

	io_uring_prep_cancel(sqe, op, 0);
	loop_queue(sqe, NULL);
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
			ops[i]->done(ops[i], results[i]);
			called++;
		}
	}
	return (int)called;
}
