/* SPDX-License-Identifier: BSD-2-Clause */
/* Which writes to a disk may be in flight together. */
#include "providers/file-ranges.h"

#include "providers/file-queue.h"

#include <assert.h>

static struct block_io *io_of(struct list *node)
{
	return container_of(node, struct block_io, range_node);
}

static bool has_part(const struct file_ranges *ranges,
		     const struct block_io *io)
{
	return io->offset_bytes % ranges->block_bytes ||
	       io->length_bytes % ranges->block_bytes;
}

/* Whether two writes have a block in common that must not be shared. */
static bool collide(const struct file_ranges *ranges, const struct block_io *a,
		    const struct block_io *b)
{
	uint32_t block = ranges->block_bytes;

	return (has_part(ranges, a) || has_part(ranges, b)) &&
	       a->offset_bytes / block <=
		       (b->offset_bytes + b->length_bytes - 1) / block &&
	       b->offset_bytes / block <=
		       (a->offset_bytes + a->length_bytes - 1) / block;
}

/* How many a new one has to wait for. */
static unsigned int count_in_the_way(struct file_ranges *ranges,
				     const struct block_io *io)
{
	unsigned int nr = 0;

	/* Whole blocks, and nothing else is about. */
	if (!ranges->nr_parts)
		return 0;
	for (struct list *node = ranges->writes.next; node != &ranges->writes;
	     node = node->next)
		nr += collide(ranges, io_of(node), io);
	return nr;
}

void file_ranges_init(struct file_ranges *ranges, uint32_t block_bytes)
{
	*ranges = (struct file_ranges){ .block_bytes = block_bytes };
	pthread_mutex_init(&ranges->lock, NULL);
	list_init(&ranges->writes);
}

void file_ranges_fini(struct file_ranges *ranges)
{
	assert(list_empty(&ranges->writes));
	pthread_mutex_destroy(&ranges->lock);
}

bool file_ranges_enter(struct file_ranges *ranges, struct block_io *io)
{
	bool waits;

	pthread_mutex_lock(&ranges->lock);
	ranges->nr_parts += has_part(ranges, io);
	io->nr_range_waits = count_in_the_way(ranges, io);
	waits = io->nr_range_waits != 0;
	list_add_tail(&ranges->writes, &io->range_node);
	ranges->nr_waiting += waits;
	/* Posted by others, but delivered by this thread only. */
	if (waits)
		mailbox_expect(&file_queue_of(io->queue)->mailbox);
	pthread_mutex_unlock(&ranges->lock);
	return !waits;
}

/* Those after it that waited for nothing else. */
static void release(struct file_ranges *ranges, const struct block_io *gone,
		    struct list *from)
{
	for (struct list *node = from;
	     node != &ranges->writes && ranges->nr_waiting; node = node->next) {
		struct block_io *io = io_of(node);

		if (!io->nr_range_waits || !collide(ranges, gone, io) ||
		    --io->nr_range_waits)
			continue;
		ranges->nr_waiting--;
		mailbox_post(&file_queue_of(io->queue)->mailbox, io);
	}
}

void file_ranges_leave(struct file_ranges *ranges, struct block_io *io)
{
	struct list *next;

	pthread_mutex_lock(&ranges->lock);
	next = io->range_node.next;
	list_del(&io->range_node);
	release(ranges, io, next);
	ranges->nr_parts -= has_part(ranges, io);
	pthread_mutex_unlock(&ranges->lock);
}
