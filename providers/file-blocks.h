/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sectors on a medium that is read and written directly in larger blocks (4Kn
 * disks): requests that the medium does not take as they are go through a
 * buffer, and partial blocks of writes are read first.
 */
#ifndef XEN_DISKD_PROVIDERS_FILE_BLOCKS_H
#define XEN_DISKD_PROVIDERS_FILE_BLOCKS_H

#include "providers/file-ranges.h"
#include "providers/provider.h"

struct file_blocks {
	/* What offsets and lengths, and what buffers must be aligned to. */
	uint32_t block_bytes, memory_bytes;
	struct file_ranges ranges;
};

/*
 * What direct I/O to fd must be aligned to.  0 when it is not to be had, by
 * sectors or by blocks, for all of size_bytes.
 */
void file_blocks_probe(int fd, bool device, uint64_t size_bytes,
		       struct file_blocks *ret_blocks);

/* Whether any sector can be moved as it is: nothing below is needed. */
bool file_blocks_are_sectors(const struct file_blocks *blocks);

/* Whether the medium takes a read or write as it is. */
bool file_blocks_fit(const struct file_blocks *blocks,
		     const struct block_io *io);

/*
 * Queue thread.  Carries out a read or write that does not fit; a write has
 * entered the ranges.  end is called when it is done, from here or later.
 */
void file_blocks_start(const struct file_blocks *blocks, int fd,
		       struct block_io *io,
		       void (*end)(struct block_io *io, int error));

#endif
