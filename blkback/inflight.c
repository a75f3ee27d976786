/* SPDX-License-Identifier: BSD-2-Clause */
/* Mapping of the in-flight table. */
#include "blkback/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE_BYTES 4096u

static size_t queue_bytes(unsigned int nr_slots)
{
	size_t entries = nr_slots * sizeof(struct inflight_entry);

	return INFLIGHT_HEADER_BYTES +
	       (entries + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

size_t inflight_bytes(unsigned int nr_queues, unsigned int nr_slots)
{
	return nr_queues * queue_bytes(nr_slots);
}

int inflight_map(int fd, unsigned int queue, unsigned int nr_queues,
		 unsigned int nr_slots, struct inflight *ret_table)
{
	size_t bytes = queue_bytes(nr_slots);
	struct inflight_header *header;
	struct inflight_entry *entries;
	struct stat st;
	void *mapping;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != inflight_bytes(nr_queues, nr_slots))
		return -EINVAL;
	mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       (off_t)(queue * bytes));
	if (mapping == MAP_FAILED)
		return -errno;
	/* INFLIGHT_FREE is zero; a hole is, and takes no memory until used. */
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(queue * bytes), (off_t)bytes) < 0) {
		int rc = -errno;

		munmap(mapping, bytes);
		return rc;
	}
	header = mapping;
	entries = (void *)((char *)mapping + INFLIGHT_HEADER_BYTES);
	*header = (struct inflight_header){
		.magic = INFLIGHT_MAGIC,
		.version = INFLIGHT_VERSION,
		.nr_entries = nr_slots,
		.entry_bytes = sizeof(struct inflight_entry),
	};
	*ret_table = (struct inflight){
		.mapping = mapping,
		.bytes = bytes,
		.nr_entries = nr_slots,
		.entries = entries,
	};
	return 0;
}

void inflight_unmap(struct inflight *table)
{
	if (table->mapping)
		munmap(table->mapping, table->bytes);
	table->mapping = NULL;
}
