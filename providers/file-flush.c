/* SPDX-License-Identifier: BSD-2-Clause */
/* One flush at a time, for all that waited for it. */
#include "providers/file-flush.h"

#include "providers/file-queue.h"

#include <assert.h>

void file_flush_init(struct file_flush *flush)
{
	*flush = (struct file_flush){ .current = NULL };
	pthread_mutex_init(&flush->lock, NULL);
	list_init(&flush->sharing);
	list_init(&flush->waiting);
}

void file_flush_fini(struct file_flush *flush)
{
	assert(!flush->current && list_empty(&flush->waiting));
	pthread_mutex_destroy(&flush->lock);
}

int file_flush_enter(struct file_flush *flush, struct block_io *io)
{
	int rc;

	pthread_mutex_lock(&flush->lock);
	rc = flush->error ? flush->error : !flush->current;
	if (rc == 0) {
		/* Posted by others, but delivered by this thread only. */
		mailbox_expect(&file_queue_of(io->queue)->mailbox);
		list_add_tail(&flush->waiting, &io->node);
	}
	if (rc == 1)
		flush->current = io;
	pthread_mutex_unlock(&flush->lock);
	return rc;
}

bool file_flush_delivered(struct file_flush *flush, const struct block_io *io)
{
	struct list *node;
	bool current;

	pthread_mutex_lock(&flush->lock);
	current = flush->current == io;
	/* All that was written before any of these is complete. */
	while (current && (node = list_pop(&flush->waiting)))
		list_add_tail(&flush->sharing, node);
	pthread_mutex_unlock(&flush->lock);
	return current;
}

/* The lock is held.  NULL when there was none. */
static struct block_io *post_first(struct list *list, int error)
{
	struct list *node = list_pop(list);
	struct block_io *io;

	if (!node)
		return NULL;
	io = container_of(node, struct block_io, node);
	io->error = error;
	mailbox_post(&file_queue_of(io->queue)->mailbox, io);
	return io;
}

void file_flush_leave(struct file_flush *flush, int error, bool lost)
{
	pthread_mutex_lock(&flush->lock);
	if (lost)
		flush->error = error;
	while (post_first(&flush->sharing, error))
		; /* all of them */
	/* The next one; or all of these, too. */
	do
		flush->current = post_first(&flush->waiting, flush->error);
	while (flush->error && flush->current);
	pthread_mutex_unlock(&flush->lock);
}
