/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writes in flight to a disk, of all its queues, where the medium's blocks
 * are larger than a sector.  A write that has part of a block reads the rest
 * first and writes it back, and would undo whatever was written there between.
 * So no other write to its blocks is in flight with it: each waits for those
 * that came before it.  Writes of whole blocks do not wait for one another.
 *
 * Reads need none of this: what is written back is what is there.  Nor do
 * discards: a guest that discards and writes a block at the same time can count
 * on nothing in it but the sectors it wrote after the discard was answered.
 *
 * Any thread, unless it is said otherwise; nothing blocks for longer than a
 * walk over the writes in flight takes.
 */
#ifndef XEN_DISKD_PROVIDERS_FILE_RANGES_H
#define XEN_DISKD_PROVIDERS_FILE_RANGES_H

#include "providers/provider.h"

#include <pthread.h>

struct file_ranges {
	uint32_t block_bytes;
	pthread_mutex_t lock; /* guards what follows */
	struct list writes; /* of block_io.range_node, as they came */
	unsigned int nr_parts, nr_waiting; /* of these */
};

void file_ranges_init(struct file_ranges *ranges, uint32_t block_bytes);
/* Nothing is in flight. */
void file_ranges_fini(struct file_ranges *ranges);

/*
 * The queue's thread.  True: the write may start.  False: it is posted to its
 * queue's mailbox as soon as it may.
 */
bool file_ranges_enter(struct file_ranges *ranges, struct block_io *io);

/* It has come to its end, in success or not. */
void file_ranges_leave(struct file_ranges *ranges, struct block_io *io);

#endif
