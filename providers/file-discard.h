/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Discards of block devices: BLKDISCARD.  It blocks, so a thread of the provider's
 * issues it, one for all queues, started with the first discard.
 *
 * What is read there afterwards is the device's to say: zeroes, what it was, or
 * anything else; not what was written elsewhere, which the standards of disks
 * (ATA, SCSI, NVMe) exclude.
 *
 * Not the secure kind (BLKSECDISCARD): the guest is never offered it.
 */
#ifndef XEN_DISKD_PROVIDERS_FILE_DISCARD_H
#define XEN_DISKD_PROVIDERS_FILE_DISCARD_H

#include "providers/provider.h"

#include <pthread.h>
#include <stdbool.h>

/* At once: no other discard waits for more, nor the guest's detach. */
#define FILE_DISCARD_BYTES_MAX (UINT64_C(1) << 30)

struct file_discard {
	int fd;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct list jobs; /* of block_io.node */
	pthread_t thread;
	bool started, quitting;
};

void file_discard_init(struct file_discard *discard, int fd);
/* Nothing is in flight. */
void file_discard_fini(struct file_discard *discard);

/*
 * Queue thread.  The whole units of io, from io->done_bytes on; it comes back
 * with its error by its queue's mailbox.  -EAGAIN when there can be no thread.
 */
int file_discard_start(struct file_discard *discard, struct block_io *io);

#endif
