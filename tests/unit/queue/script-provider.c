/* SPDX-License-Identifier: BSD-2-Clause */
/* The provider that does what a test says. */
#include "tests/unit/queue/script-provider.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define HELD_MAX 64
#define LOG_BYTES 4096
#define WAIT_SECONDS 8

unsigned char script_disk[SCRIPT_SECTORS * 512];

static struct {
	struct block_provider base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool hold[4]; /* by enum block_op */
	int error[4];
	char log[LOG_BYTES];
	unsigned int nr_log;
	struct block_io *held[HELD_MAX];
	unsigned int nr_held, nr_waiting; /* the latter: not let go */
	/* The first nr_released of held may go. */
	int release_error[HELD_MAX];
	unsigned int nr_released;
	int wake_fd;
	struct io_op wake_op;
	bool armed;
} script = { .lock = PTHREAD_MUTEX_INITIALIZER,
	     .changed = PTHREAD_COND_INITIALIZER };

static void note(enum block_op op, bool capital)
{
	ck_assert_uint_lt(script.nr_log, LOG_BYTES - 1);
	script.log[script.nr_log++] = (capital ? "RWFD" : "rwfd")[op];
	pthread_cond_broadcast(&script.changed);
}

/* Moves the data, if there is no error, and ends the I/O. */
static void finish(struct block_io *io, int error)
{
	unsigned char *at = script_disk + io->offset_bytes;

	for (unsigned int i = 0; !error && i < io->nr_iov; i++) {
		if (io->op == BLOCK_OP_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
	block_io_complete(io, error);
}

static void arm(struct block_queue *queue);

/* On the queue's thread: ends what the test has let go. */
static void wake_done(struct io_op *op, int result)
{
	struct block_queue *queue = NULL;
	uint64_t count;

	(void)op;
	(void)result;
	pthread_mutex_lock(&script.lock);
	script.armed = false;
	if (read(script.wake_fd, &count, sizeof(count)) < 0)
		count = 0;
	if (script.nr_held)
		queue = script.held[0]->queue;
	for (unsigned int i = 0; i < script.nr_released; i++) {
		note(script.held[i]->op, true);
		finish(script.held[i], script.release_error[i]);
	}
	script.nr_held -= script.nr_released;
	memmove(script.held, script.held + script.nr_released,
		script.nr_held * sizeof(script.held[0]));
	script.nr_released = 0;
	if (script.nr_held)
		arm(queue);
	pthread_mutex_unlock(&script.lock);
}

static void arm(struct block_queue *queue)
{
	if (script.armed)
		return;
	script.wake_op.done = wake_done;
	io_loop_poll(queue->loop, &script.wake_op, script.wake_fd, POLLIN);
	script.armed = true;
}

static void script_submit(struct block_queue *queue, struct block_io *io)
{
	pthread_mutex_lock(&script.lock);
	if (script.hold[io->op]) {
		ck_assert_uint_lt(script.nr_held, HELD_MAX);
		script.held[script.nr_held++] = io;
		script.nr_waiting++;
		arm(queue);
	} else {
		finish(io, script.error[io->op]);
	}
	note(io->op, false);
	pthread_mutex_unlock(&script.lock);
}

static void nothing_to_close(struct block_provider *provider)
{
	(void)provider;
}

static const struct block_provider_ops script_ops = {
	.name = "script",
	.close = nothing_to_close,
	.submit = script_submit,
};

struct block_provider *script_open(void)
{
	for (size_t i = 0; i < sizeof(script_disk); i++)
		script_disk[i] = (unsigned char)(i / 512);
	script.base = (struct block_provider){
		.ops = &script_ops,
		.info = { .size_bytes = sizeof(script_disk),
			  .logical_block_bytes = 512,
			  .physical_block_bytes = 512,
			  .can_flush = true,
			  .flush_retryable = true },
	};
	script.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return &script.base;
}

void script_close(void)
{
	close(script.wake_fd);
}

void script_hold(enum block_op op, bool hold)
{
	pthread_mutex_lock(&script.lock);
	script.hold[op] = hold;
	pthread_mutex_unlock(&script.lock);
}

void script_error(enum block_op op, int error)
{
	pthread_mutex_lock(&script.lock);
	script.error[op] = error;
	pthread_mutex_unlock(&script.lock);
}

/* With the lock held: waits until *counter is at least nr. */
static void wait_for(const unsigned int *counter, unsigned int nr,
		     const char *what)
{
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_SECONDS;
	while (*counter < nr && !rc)
		rc = pthread_cond_timedwait(&script.changed, &script.lock,
					    &end);
	ck_assert_msg(*counter >= nr, "%s: %u, not %u; log '%s'", what,
		      *counter, nr, script.log);
}

void script_wait_held(unsigned int nr)
{
	pthread_mutex_lock(&script.lock);
	wait_for(&script.nr_waiting, nr, "I/Os held");
	pthread_mutex_unlock(&script.lock);
}

void script_wait_log(unsigned int letters)
{
	pthread_mutex_lock(&script.lock);
	wait_for(&script.nr_log, letters, "letters in the log");
	pthread_mutex_unlock(&script.lock);
}

void script_release(int error)
{
	uint64_t one = 1;

	pthread_mutex_lock(&script.lock);
	ck_assert_uint_gt(script.nr_waiting, 0);
	script.nr_waiting--;
	script.release_error[script.nr_released++] = error;
	pthread_mutex_unlock(&script.lock);
	ck_assert_int_eq(write(script.wake_fd, &one, sizeof(one)), sizeof(one));
}

void script_release_nth(unsigned int index, int error)
{
	struct block_io *io;

	pthread_mutex_lock(&script.lock);
	/* No other is on its way: the test has waited for it. */
	ck_assert_uint_eq(script.nr_released, 0);
	io = script.held[index];
	memmove(script.held + 1, script.held, index * sizeof(io));
	script.held[0] = io;
	pthread_mutex_unlock(&script.lock);
	script_release(error);
}

const char *script_log(void)
{
	static char copy[LOG_BYTES];

	pthread_mutex_lock(&script.lock);
	memcpy(copy, script.log, sizeof(copy));
	pthread_mutex_unlock(&script.lock);
	return copy;
}
