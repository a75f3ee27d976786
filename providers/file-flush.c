/* SPDX-License-Identifier: BSD-2-Clause */
/* One flush at a time. */
#include "providers/file-flush.h"

#include "providers/file-queue.h"

#include <assert.h>

void file_flush_init(struct file_flush *flush)
{
	*flush = (struct file_flush){ .busy = false };
	pthread_mutex_init(&flush->lock, NULL);
	list_init(&flush->waiting);
}

void file_flush_fini(struct file_flush *flush)
{
	assert(!flush->busy && list_empty(&flush->waiting));
	pthread_mutex_destroy(&flush->lock);
}

int file_flush_enter(struct file_flush *flush, struct block_io *io)
{
	int rc;

	pthread_mutex_lock(&flush->lock);
	rc = flush->error ? flush->error : !flush->busy;
	if (rc == 0) {
		/* Posted by others, but delivered by this thread only. */
		mailbox_expect(&file_queue_of(io->queue)->mailbox);
		list_add_tail(&flush->waiting, &io->node);
	}
	flush->busy |= rc == 1;
	pthread_mutex_unlock(&flush->lock);
	return rc;
}

void file_flush_leave(struct file_flush *flush, int error)
{
	struct list *node;

	pthread_mutex_lock(&flush->lock);
	flush->busy = false;
	if (!flush->error)
		flush->error = error;
	while ((node = list_pop(&flush->waiting))) {
		struct block_io *io = container_of(node, struct block_io, node);

		mailbox_post(&file_queue_of(io->queue)->mailbox, io);
	}
	pthread_mutex_unlock(&flush->lock);
}
