/* SPDX-License-Identifier: BSD-2-Clause */
/* BLKDISCARD, on a thread of its own. */
#include "providers/file-discard.h"

#include "providers/file-queue.h"

#include <errno.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>

/* Waits for a job; NULL at the end. */
static struct block_io *next_job(struct file_discard *discard)
{
	struct list *node = NULL;

	pthread_mutex_lock(&discard->lock);
	while (!discard->quitting && !(node = list_pop(&discard->jobs)))
		pthread_cond_wait(&discard->work, &discard->lock);
	pthread_mutex_unlock(&discard->lock);
	return node ? container_of(node, struct block_io, node) : NULL;
}

static void add_job(struct file_discard *discard, struct block_io *io)
{
	pthread_mutex_lock(&discard->lock);
	list_add_tail(&discard->jobs, &io->node);
	pthread_cond_signal(&discard->work);
	pthread_mutex_unlock(&discard->lock);
}

/* One step.  True when there is more to do. */
static bool run_step(const struct file_discard *discard, struct block_io *io)
{
	const struct block_info *info = &io->queue->provider->info;
	uint64_t range[2];

	if (__atomic_load_n(&file_queue_of(io->queue)->abandoned,
			    __ATOMIC_RELAXED)) {
		io->error = -ECANCELED;
		return false;
	}
	io->error = 0;
	block_discard_range(io, info->discard_granularity_bytes, &range[0],
			    &range[1]);
	range[0] += io->done_bytes;
	range[1] -= io->done_bytes;
	if (range[1] > FILE_DISCARD_BYTES_MAX)
		range[1] = FILE_DISCARD_BYTES_MAX;
	if (range[1] && ioctl(discard->fd, BLKDISCARD, range) < 0) {
		io->error = -errno;
		return io->error == -EINTR || io->error == -EAGAIN;
	}
	io->done_bytes += range[1];
	return range[1] == FILE_DISCARD_BYTES_MAX;
}

static void *discard_main(void *arg)
{
	struct file_discard *discard = arg;
	struct block_io *io;

	/* A long one takes turns with the others. */
	while ((io = next_job(discard))) {
		if (run_step(discard, io))
			add_job(discard, io);
		else
			mailbox_post(&file_queue_of(io->queue)->mailbox, io);
	}
	return NULL;
}

/* All signals are the main thread's.  The lock is held. */
static int start_thread(struct file_discard *discard)
{
	sigset_t all, old;
	int rc;

	if (discard->started)
		return 0;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = -pthread_create(&discard->thread, NULL, discard_main, discard);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	discard->started = rc == 0;
	return rc;
}

void file_discard_init(struct file_discard *discard, int fd)
{
	*discard = (struct file_discard){ .fd = fd };
	pthread_mutex_init(&discard->lock, NULL);
	pthread_cond_init(&discard->work, NULL);
	list_init(&discard->jobs);
}

void file_discard_fini(struct file_discard *discard)
{
	pthread_mutex_lock(&discard->lock);
	discard->quitting = true;
	pthread_cond_signal(&discard->work);
	pthread_mutex_unlock(&discard->lock);
	if (discard->started)
		pthread_join(discard->thread, NULL);
	pthread_cond_destroy(&discard->work);
	pthread_mutex_destroy(&discard->lock);
}

int file_discard_start(struct file_discard *discard, struct block_io *io)
{
	int rc;

	pthread_mutex_lock(&discard->lock);
	rc = start_thread(discard);
	pthread_mutex_unlock(&discard->lock);
	if (rc < 0)
		return rc;
	mailbox_expect(&file_queue_of(io->queue)->mailbox);
	add_job(discard, io);
	return 0;
}
