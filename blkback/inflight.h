/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The in-flight table: the private copy of every request that a worker has
 * taken from a ring and not yet answered.  It lives in a mapping that the
 * supervisor created, so that it outlives the worker.
 *
 * Layout of the mapping: for each queue in turn, a header page and then one
 * entry per ring slot.  Written by the queue's thread only.
 */
#ifndef XEN_DISKD_INFLIGHT_H
#define XEN_DISKD_INFLIGHT_H

#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_MAGIC 0x69646278u /* "xbdi" */
#define INFLIGHT_VERSION 1u
#define INFLIGHT_HEADER_BYTES 4096u
/* Room for the largest indirect request. */
#define INFLIGHT_SEGMENTS_MAX 256u

enum inflight_state {
	INFLIGHT_FREE = 0,
	INFLIGHT_TAKEN,
};

struct inflight_segment {
	uint32_t gref;
	uint16_t offset_bytes; /* within the granted page */
	uint16_t length_bytes;
};

struct inflight_entry {
	uint32_t state; /* enum inflight_state */
	uint16_t nr_segments;
	uint8_t operation; /* BLKIF_OP_*, as the guest sent it */
	uint8_t reserved;
	uint64_t id;
	uint64_t offset_bytes, length_bytes;
	struct inflight_segment segments[INFLIGHT_SEGMENTS_MAX];
};

struct inflight_header {
	uint32_t magic, version;
	uint32_t nr_entries, entry_bytes;
};

_Static_assert(sizeof(struct inflight_segment) == 8, "inflight segment");
_Static_assert(sizeof(struct inflight_entry) == 32 + 8 * 256, "inflight entry");
_Static_assert(sizeof(struct inflight_header) <= INFLIGHT_HEADER_BYTES,
	       "inflight header");

struct inflight {
	void *mapping;
	size_t bytes;
	unsigned int nr_entries;
	struct inflight_entry *entries;
};

/* The size of a mapping for nr_queues rings of nr_slots slots. */
size_t inflight_bytes(unsigned int nr_queues, unsigned int nr_slots);

/*
 * Maps one queue's part of the table in fd, whose size must be what
 * inflight_bytes() says (-EINVAL otherwise: never a SIGBUS later), and makes
 * it empty.  May block; any thread.
 */
int inflight_map(int fd, unsigned int queue, unsigned int nr_queues,
		 unsigned int nr_slots, struct inflight *ret_table);
/* Harmless for a zeroed table. */
void inflight_unmap(struct inflight *table);

#endif
