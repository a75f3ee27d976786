/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * I/O that comes back to a queue's thread from another one, through an eventfd
 * in the queue's loop.  While nothing is away the loop has nothing of it.
 */
#ifndef XEN_DISKD_PROVIDERS_MAILBOX_H
#define XEN_DISKD_PROVIDERS_MAILBOX_H

#include "providers/provider.h"

#include <pthread.h>

struct mailbox {
	struct io_loop *loop;
	int fd; /* eventfd: there is something in posted */
	struct io_op op;
	unsigned int nr_away; /* and not delivered; queue thread */
	/* Queue thread; may send again what it is given. */
	void (*deliver)(struct block_io *io);

	pthread_mutex_t lock; /* guards posted */
	struct list posted; /* of block_io.node */
};

/* Queue thread, as are all but mailbox_post().  -EMFILE and the like. */
int mailbox_init(struct mailbox *mailbox, struct io_loop *loop,
		 void (*deliver)(struct block_io *io));
/* Nothing is away. */
void mailbox_fini(struct mailbox *mailbox);

/* One more I/O is, or is about to be, with others. */
void mailbox_expect(struct mailbox *mailbox);

/* Any thread; the I/O is on no list.  It is delivered in its loop. */
void mailbox_post(struct mailbox *mailbox, struct block_io *io);

#endif
