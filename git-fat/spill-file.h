/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A temporary file without a name that keeps what is too big for memory, and
 * which part of it is whose.  What is removed gives its space back.
 *
 * Any thread may call any function here but _init and _fini, each on an extent
 * of its own; one extent may be read by many.
 */
#ifndef XEN_DISKD_SPILL_FILE_H
#define XEN_DISKD_SPILL_FILE_H

#include "common/list.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* Must not be moved once it is made. */
struct spill_file {
	pthread_mutex_t lock; /* of the list */
	struct list extents; /* by offset; none overlap */
	int fd;
	/* The unit of allocation, and where the file has to end. */
	uint64_t block_bytes, limit_bytes;
};

/* Where something lies in the file; must not be moved while it does. */
struct spill_extent {
	struct list link; /* in the file's extents */
	uint64_t offset, bytes; /* whole blocks */
};

/*
 * Makes the file in $TMPDIR or in /var/tmp or, where those refuse, in memory.
 * It never gets longer than RLIMIT_FSIZE, as it is now, allows.  May block.
 * Errors: -errno.
 */
int spill_file_init(struct spill_file *file);
/* With whatever is in it. */
void spill_file_fini(struct spill_file *file);

/* How many bytes of the file nr_bytes take: whole blocks of its file system. */
uint64_t spill_file_round_up(const struct spill_file *file, uint64_t nr_bytes);

/*
 * Writes nr_bytes, which is not 0, to a place of their own.  May block.
 *
 * Errors: -EFBIG when there is no such place below the limit; -ENOSPC and
 * others of pwrite(2).  Then nothing is kept, and *extent is of no use.
 */
int spill_file_write(struct spill_file *file, const void *data,
		     uint64_t nr_bytes, struct spill_extent *extent);

/*
 * Reads from offset on of an extent, of what was written.  May block.  Errors:
 * -errno of pread(2); -EIO when somebody has cut the file.
 */
int spill_file_read(const struct spill_file *file,
		    const struct spill_extent *extent, uint64_t offset,
		    void *buffer, size_t nr_bytes);

/* Gives its space back.  Nobody is reading it, nor will.  May block. */
void spill_file_remove(struct spill_file *file, struct spill_extent *extent);

#endif
