/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event loop: one io_uring, and everything that its thread waits for
 * (descriptors becoming ready, reads, writes, flushes, time-outs) goes
 * through it, so that a turn costs one system call however much is in it.
 *
 * A loop belongs to the thread that created it (IORING_SETUP_SINGLE_ISSUER):
 * every function here is called by that thread only, and so is every done
 * callback.  None blocks but io_loop_run().
 *
 * Source: io_uring_enter(2), liburing.
 */
#ifndef XEN_DISKD_IO_LOOP_H
#define XEN_DISKD_IO_LOOP_H

#include <linux/time_types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct io_loop;

/*
 * One operation.  The caller owns it, sets `done` and all else to zero, and leaves it
 * alone from its start until done has been called: exactly once for each start, from
 * io_loop_run(), with the operation's result or -errno.  done may start the
 * operation again, or free it.
 */
struct io_op {
	void (*done)(struct io_op *op, int result);
	bool in_flight; /* the loop's: started, and done not yet called */
	struct __kernel_timespec timeout;
};

/*
 * Creates a loop with room for `entries` submissions in one turn (more are
 * handed to the kernel early, none is lost).  Errors: -ENOSYS or -EPERM where
 * io_uring is not to be had, -ENOMEM.  Its ring takes the operations below and no
 * others, whoever asks.
 */
int io_loop_new(unsigned int entries, struct io_loop **ret_loop);

/*
 * Frees the loop.  Operations still in flight are cancelled by the kernel
 * and their callbacks are not called: stop them first.  NULL is a no-op.
 */
void io_loop_free(struct io_loop *loop);

/*
 * Hands new operations to the kernel, waits until at least one is complete
 * when wait is set, and calls done for each that is.  Returns the number of
 * callbacks made (0 after a signal) or -errno when the ring itself fails.
 */
int io_loop_run(struct io_loop *loop, bool wait);

/*
 * Reads and writes of one piece of this memory are cheaper from now on: the kernel
 * pins it, until the loop is freed.  One a loop.  Where the kernel refuses, nothing
 * changes; limits on locked memory apply.  (Files are not registered: what holds one
 * until the ring of a process that was killed is gone holds its locks as well.)
 */
void io_loop_register_memory(struct io_loop *loop, void *memory,
			     size_t nr_bytes);

/* Done, once, when fd has any of the poll(2) events. */
void io_loop_poll(struct io_loop *loop, struct io_op *op, int fd, short events);

/* Done with the number of bytes moved, which may be short. */
void io_loop_readv(struct io_loop *loop, struct io_op *op, int fd,
		   const struct iovec *iov, unsigned int nr_iov,
		   uint64_t offset_bytes);
void io_loop_writev(struct io_loop *loop, struct io_op *op, int fd,
		    const struct iovec *iov, unsigned int nr_iov,
		    uint64_t offset_bytes);

/*
 * Of what is no file: a device, an eventfd, which is O_NONBLOCK.  Done with the number
 * of bytes, when there are any.
 */
void io_loop_read(struct io_loop *loop, struct io_op *op, int fd, void *data,
		  unsigned int nr_bytes);

/*
 * To the same, and never done: nobody hears how it went.  data stays until the next
 * io_loop_run() has returned.
 */
void io_loop_write_untold(struct io_loop *loop, int fd, const void *data,
			  unsigned int nr_bytes);

/* fdatasync(2). */
void io_loop_fdatasync(struct io_loop *loop, struct io_op *op, int fd);

/* fallocate(2); the length is never 0. */
void io_loop_fallocate(struct io_loop *loop, struct io_op *op, int fd, int mode,
		       uint64_t offset_bytes, uint64_t length_bytes);

/* Done with -ETIME after delay_ms. */
void io_loop_timeout(struct io_loop *loop, struct io_op *op, uint64_t delay_ms);

/*
 * Asks for an operation's end.  Its done is still called, with -ECANCELED or
 * with the result it came to first.  One that is not in flight is left alone.
 */
void io_loop_cancel(struct io_loop *loop, struct io_op *op);

#endif
