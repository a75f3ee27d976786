/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flushes of a file or a device, of all its queues, one at a time.  The kernel tells
 * once for each file description that what was written is lost (errseq_t,
 * Documentation/core-api/errseq.rst), and so do devices of what was in their own
 * cache: of two flushes at the same time, one would be told, and the other that all
 * is well.  After such a failure none succeeds any more.  Those that wait while one
 * is under way share the next one.
 *
 * Any thread, unless it is said otherwise.
 */
#ifndef XEN_DISKD_PROVIDERS_FILE_FLUSH_H
#define XEN_DISKD_PROVIDERS_FILE_FLUSH_H

#include "providers/provider.h"

#include <pthread.h>
#include <stdbool.h>

struct file_flush {
	pthread_mutex_t lock; /* guards what follows */
	/* It is under way, or on its way to its queue to be; or NULL. */
	struct block_io *current;
	struct list sharing; /* its end, of block_io.node */
	struct list waiting; /* for a later one, likewise */
	int error; /* all fail with it: data is lost, or may be */
};

void file_flush_init(struct file_flush *flush);
/* Nothing is in flight. */
void file_flush_fini(struct file_flush *flush);

/*
 * Queue thread.  1: it is the one that is under way, until file_flush_leave(); 0:
 * it waits, and comes back by its queue's mailbox; else the error that it is to end
 * with.
 */
int file_flush_enter(struct file_flush *flush, struct block_io *io);

/*
 * Queue thread; it has come back.  True: it is the one that is under way, as above;
 * else it has ended, with io->error.
 */
bool file_flush_delivered(struct file_flush *flush, const struct block_io *io);

/*
 * The one under way has ended, with an error or 0.  lost: the error may mean that
 * what was written is gone.
 */
void file_flush_leave(struct file_flush *flush, int error, bool lost);

#endif
