/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A cache of objects that are expensive to make: blobs that have to be
 * inflated, directories that have to be put together.  It has a budget of
 * bytes, makes each object once however many threads ask for it at a time,
 * and moves big objects to an unlinked file, so that they do not stay in
 * memory.
 *
 * Any thread may call any function here but _new and _free.  Contents never
 * depend on the budget or on who asked first.
 */
#ifndef XEN_DISKD_OBJECT_CACHE_H
#define XEN_DISKD_OBJECT_CACHE_H

#include "common/error-text.h"

#include <stddef.h>
#include <stdint.h>

/* What is asked for; the cache only compares keys. */
struct object_key {
	unsigned char id[20]; /* the git object's */
	/*
	 * 0 for a blob.  A directory's bytes depend on where it lies: its
	 * first cluster.
	 */
	uint32_t cluster;
};

/*
 * An object in memory; release(owner) frees it.  Required; any thread that
 * uses the cache may call it, once, with no lock held; must not block on I/O.
 * data may be NULL when nr_bytes is 0.
 */
struct object_bytes {
	const void *data;
	uint64_t nr_bytes;
	void *owner;
	void (*release)(void *owner);
};

/* Makes objects; each reading thread has its own. */
struct object_loader {
	/*
	 * Required; the thread that reads; may block.  On failure returns
	 * -errno with a message.  Never called by two threads at a time for
	 * one key.  May read other objects through the cache, so long as no
	 * object needs itself in the end.
	 */
	int (*load)(struct object_loader *loader, const struct object_key *key,
		    struct object_bytes *ret_bytes, struct error_text *err);
};

struct object_cache;

/*
 * budget_bytes bounds the objects that are kept in memory when nobody reads
 * them; one that is being read counts, but is never dropped.  Each counts with
 * what the cache needs to know of it, some 150 bytes.  The least recently used
 * is dropped first; a use ends with the read.
 *
 * Objects of more than min(16 MiB, a quarter of the budget) are spilled when
 * they have been made: written to a temporary file that has no name (in
 * $TMPDIR or /var/tmp, or a memfd where those refuse) and read from it.  Of
 * spilled bytes spill_budget_bytes are kept (the last used always), each
 * object counting in whole blocks of the file system.  Fewer are kept where
 * that has less room, or where RLIMIT_FSIZE, as it is now, says so.
 *
 * Errors: -ENOMEM, or -errno when no spill file can be made.
 *
 * Nothing is opened after this: reads need pread(2), pwrite(2), fallocate(2),
 * futex(2) and memory.
 */
int object_cache_new(uint64_t budget_bytes, uint64_t spill_budget_bytes,
		     struct object_cache **ret_cache);
/*
 * No thread is using it, nor will.  Releases what is in memory.  NULL is a
 * no-op.
 */
void object_cache_free(struct object_cache *cache);

/*
 * Copies nr_bytes of the object from offset on into buffer, making the object
 * if need be; bytes past its end read as zero.  May block.  An object that
 * could not be made is not remembered: the next to ask tries again; but those
 * that waited for this try get its error, code and message.
 *
 * Errors: the loader's; -ENOMEM; -errno of the spill file, with a message that
 * names it: -ENOSPC or -EFBIG when the object does not fit, even with all
 * others dropped that nobody reads.  On failure buffer may have been written.
 */
int object_cache_read(struct object_cache *cache, const struct object_key *key,
		      uint64_t offset, void *buffer, size_t nr_bytes,
		      struct object_loader *loader, struct error_text *err);

/*
 * As object_cache_read(), when that needs nothing that could block; else
 * -EAGAIN, and nothing is done: the object is not there, is being made, or is
 * spilled (whether its pages are cached cannot be known).
 */
int object_cache_try_read(struct object_cache *cache,
			  const struct object_key *key, uint64_t offset,
			  void *buffer, size_t nr_bytes);

/*
 * Makes the object if it is not there, for a later read.  May block, but does
 * not wait for another thread that is making it.  Counts as a use: an object
 * that is there is not the next to be dropped.  Errors are left to the read.
 */
void object_cache_prefetch(struct object_cache *cache,
			   const struct object_key *key,
			   struct object_loader *loader);

/* For tests and statistics. */
struct object_cache_stats {
	uint64_t loads; /* failed ones and prefetches, too */
	uint64_t hits; /* reads that used what another call has made */
	uint64_t evictions; /* from memory and from the spill file */
	uint64_t spills;
	/* Now, counted as object_cache_new() has it. */
	uint64_t memory_bytes, spilled_bytes;
	/* With objects that were being read, or on their way to the file. */
	uint64_t memory_bytes_max;
};

void object_cache_get_stats(struct object_cache *cache,
			    struct object_cache_stats *ret_stats);

#endif
