/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a file in memory (tmpfs) without a system call: what of it is known to
 * be there is copied out of a mapping.
 *
 * To touch a hole through a mapping fills it, also by reading.  So a page goes by
 * the mapping only after it was written, or looked at by a system call that found
 * something else than zeroes in it: holes stay holes, but for those that others
 * make in the file meanwhile.  What the guest has in its own memory decides
 * nothing.
 *
 * The kernel takes a mapping apart, page by page, before it gives up the
 * process's locks, and the successor of a killed worker waits for that: so no
 * more than FILE_MAP_KEPT_BYTES of the file are kept mapped.
 */
#ifndef XEN_DISKD_PROVIDERS_FILE_MAP_H
#define XEN_DISKD_PROVIDERS_FILE_MAP_H

#include "providers/provider.h"

#include <pthread.h>

#define FILE_MAP_PAGE_BYTES 4096u
/* The unit of what is kept, of 64 pages. */
#define FILE_MAP_CHUNK_BYTES (64 * FILE_MAP_PAGE_BYTES)
#define FILE_MAP_KEPT_MAX 1024u
#define FILE_MAP_KEPT_BYTES ((uint64_t)FILE_MAP_KEPT_MAX * FILE_MAP_CHUNK_BYTES)

struct file_map_chunk;

/* All zeroes is one without a mapping: every function below can be called. */
struct file_map {
	const unsigned char *bytes; /* NULL: there is no mapping */
	uint64_t length_bytes;
	void *room; /* where it lies in */
	uint64_t room_bytes;
	struct file_map_chunk *chunks;
	int fd;

	pthread_mutex_t lock; /* of what follows */
	uint32_t *kept; /* numbers of chunks, FILE_MAP_KEPT_MAX of them */
	uint32_t nr_kept; /* atomic */
	uint64_t nr_punches;
	uint32_t next; /* the oldest, once there are that many */
};

/*
 * Main thread.  Maps the first length_bytes of what fd is open for, now; the file
 * may get longer or shorter, and fd stays the caller's.  Where that cannot be done
 * there is no mapping.  The first one of a process catches SIGBUS, which its
 * queue threads must not block.
 */
void file_map_init(struct file_map *map, int fd, uint64_t length_bytes);
/* Main thread; no queue is open. */
void file_map_fini(struct file_map *map);

/*
 * Queue thread.  Carries out what is left of a read.  False, with the buffers in
 * any state, where that is for a system call to do: not known to be there, not
 * kept, or not there any more.
 */
bool file_map_read(struct file_map *map, const struct block_io *io);

/* Queue thread.  These bytes have been written. */
void file_map_written(struct file_map *map, uint64_t offset_bytes,
		      uint64_t length_bytes);

/* Queue thread.  Some of these bytes may be holes now. */
void file_map_punched(struct file_map *map, uint64_t offset_bytes,
		      uint64_t length_bytes);

#endif
