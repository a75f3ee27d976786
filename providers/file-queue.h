/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue of the file provider's, as all of its sources know it. */
#ifndef XEN_DISKD_PROVIDERS_FILE_QUEUE_H
#define XEN_DISKD_PROVIDERS_FILE_QUEUE_H

#include "providers/mailbox.h"

struct file_queue {
	struct block_queue base;
	/* Discards of the device's own, and what others held up. */
	struct mailbox mailbox;
	/* Nobody waits for discards any more; atomic. */
	bool abandoned;
};

static inline struct file_queue *file_queue_of(struct block_queue *queue)
{
	return container_of(queue, struct file_queue, base);
}

#endif
