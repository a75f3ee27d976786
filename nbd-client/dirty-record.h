/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The writes that a server has acknowledged but not yet flushed, with their
 * data: what has to be sent again when the server comes back without them.
 *
 * A ring in shared memory, so that it outlives its process; in the order in
 * which the writes were acknowledged.  One thread.
 */
#ifndef XEN_DISKD_DIRTY_RECORD_H
#define XEN_DISKD_DIRTY_RECORD_H

#include <stdint.h>

struct dirty_record;

/* Memory beside the ring, for the owner: zeroes at first. */
#define DIRTY_RECORD_NOTES_BYTES 20480u

/* One write that is remembered; data is in the record. */
struct dirty_write {
	uint64_t offset_bytes;
	uint32_t length_bytes;
	const void *data;
	/* The place behind it, for dirty_record_get(). */
	uint64_t next;
};

/*
 * Makes a record for about nr_bytes of writes, in a memfd that cannot be
 * shrunk.  -ENOMEM, or the -errno of sealed_memfd_new() or mmap(2).
 */
int dirty_record_new(uint64_t nr_bytes, struct dirty_record **ret_record);
/*
 * Takes over a record for about nr_bytes that a process has left which is no
 * more: duplicates the descriptor.  Nothing but the notes may be looked at before
 * dirty_record_check().  -EINVAL for one that is not such a record; else as above.
 */
int dirty_record_adopt(int fd, uint64_t nr_bytes,
		       struct dirty_record **ret_record);
/*
 * Takes over the writes that are in it.  -EINVAL for contents that contradict
 * themselves, or a write outside of size_bytes, not in whole units of unit_bytes, or
 * of more than most_bytes: then it can only be freed.
 */
int dirty_record_check(struct dirty_record *record, uint64_t size_bytes,
		       uint32_t unit_bytes, uint32_t most_bytes);
/* NULL is a no-op. */
void dirty_record_free(struct dirty_record *record);

/* The memfd, which stays the record's. */
int dirty_record_fd(const struct dirty_record *record);

/* Aligned to a page; the record's; adopted with it, and not looked at. */
void *dirty_record_notes(const struct dirty_record *record);

/* Appends a write; its data is copied.  -ENOSPC when there is no room. */
int dirty_record_add(struct dirty_record *record, uint64_t offset_bytes,
		     const void *data, uint32_t length_bytes);

/* Places: where the oldest write is, and where the next will be. */
uint64_t dirty_record_start(const struct dirty_record *record);
uint64_t dirty_record_end(const struct dirty_record *record);

/*
 * The write at a place between start and end, which it must not be.  -EINVAL for what
 * is not one, as others have changed it since dirty_record_check().
 */
int dirty_record_get(const struct dirty_record *record, uint64_t place,
		     struct dirty_write *ret_write);

/* Forgets all writes before a place: they are durable. */
void dirty_record_drop(struct dirty_record *record, uint64_t place);

#endif
