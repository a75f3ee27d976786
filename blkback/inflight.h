/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The in-flight table, a journal: the private copy of every request that a
 * worker has taken from a ring and not yet answered.  It lies in memory that
 * outlives the worker, and is written in such an order that the worker may be
 * killed between any two stores: whoever maps it next knows which requests are
 * to be carried out again, and which answers the guest has not seen.
 *
 * Layout of the mapping: for each queue in turn, a header page and then one
 * entry per ring slot.  Written by the queue's thread only.  A process that
 * dies leaves its stores behind in program order, so ordered stores are all
 * that is needed.
 *
 * Taking:    the entry; its state TAKEN; header.taken; then it is submitted.
 * Answering: entry.answer; its state DONE; the response in the ring;
 *            header.rsp_intent; the ring's rsp_prod; header.rsp_done; FREE.
 */
#ifndef XEN_DISKD_INFLIGHT_H
#define XEN_DISKD_INFLIGHT_H

#include "common/error-text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INFLIGHT_MAGIC 0x69646278u /* "xbdi" */
#define INFLIGHT_VERSION 3u
#define INFLIGHT_HEADER_BYTES 4096u
/* Room for the largest indirect request. */
#define INFLIGHT_SEGMENTS_MAX 256u
/* Of BLKIF's largest ring. */
#define INFLIGHT_SLOTS_MAX 512u

/* Deaths of workers at one request alone, after which it is not tried again. */
#define INFLIGHT_TRIALS_MAX 3u

/* So far apart that no flipped bit makes one into another. */
enum inflight_state {
	INFLIGHT_FREE = 0, /* what else is there means nothing */
	INFLIGHT_TAKEN = 0x6e656b74,
	INFLIGHT_DONE = 0x91a95a3d,
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
	int16_t status; /* BLKIF_RSP_*: an error that was there when taken */
	uint16_t trial; /* deaths at it; whether it is tried; a complement */
	uint16_t reserved_too[2];
	uint64_t number; /* of the request: the low half is its ring index */
	uint64_t id;
	uint64_t offset_bytes, length_bytes;
	uint64_t check; /* of all that does not change after it is taken */
	uint64_t answer; /* its index and status, and their parity */
	struct inflight_segment segments[INFLIGHT_SEGMENTS_MAX];
};

struct inflight_header {
	uint32_t magic, version;
	uint32_t nr_entries, entry_bytes;
	uint64_t taken; /* requests; the low half is the ring's req_cons */
	/* The ring's rsp_prod is at least the one and at most the other. */
	uint32_t rsp_done, rsp_intent;
};

_Static_assert(sizeof(struct inflight_segment) == 8, "inflight segment");
_Static_assert(sizeof(struct inflight_entry) == 64 + 8 * 256, "inflight entry");
_Static_assert(sizeof(struct inflight_header) <= INFLIGHT_HEADER_BYTES,
	       "inflight header");

struct inflight {
	void *mapping;
	size_t bytes;
	unsigned int nr_entries;
	struct inflight_header *header;
	struct inflight_entry *entries;
};

/* The size of a mapping for nr_queues rings of nr_slots slots. */
size_t inflight_bytes(unsigned int nr_queues, unsigned int nr_slots);

/*
 * Maps one queue's part of the table in fd, whose size must be what
 * inflight_bytes() says (-EBADMSG otherwise: never a SIGBUS later).  May block;
 * any thread.
 */
int inflight_map(int fd, unsigned int queue, unsigned int nr_queues,
		 unsigned int nr_slots, struct inflight *ret_table);
/* Harmless for a zeroed table. */
void inflight_unmap(struct inflight *table);

/* Begins a new, zeroed table for a ring whose next index is start. */
void inflight_start(struct inflight *table, uint32_t start);

/* inflight_start() was called: else nothing was ever taken. */
bool inflight_is_begun(const struct inflight *table);

/*
 * Takes over the table of a worker that has died, for a ring whose rsp_prod is
 * as given.  Nothing in it is believed: -EINVAL, with a message, for what no
 * worker can have left behind.  What is FREE or TAKEN afterwards is that; DONE
 * are those whose answers the guest has not seen, the first of them with index
 * rsp_prod, without a gap.
 */
int inflight_recover(struct inflight *table, uint32_t rsp_prod,
		     struct error_text *err);

/* The steps of a request's life, in the order of the head of this file. */
void inflight_take(struct inflight_entry *entry, uint64_t number,
		   int16_t status);
void inflight_publish_taken(struct inflight *table, uint64_t taken);
void inflight_done(struct inflight_entry *entry, uint32_t rsp_index,
		   int16_t status);
void inflight_intend(struct inflight *table, uint32_t rsp_prod);
void inflight_published(struct inflight *table, uint32_t rsp_prod);
void inflight_free(struct inflight_entry *entry);

/*
 * Of an entry that is TAKEN: it is carried out again, and nothing else is, so
 * that a worker which dies of its own fault died of it.
 */
void inflight_try(struct inflight_entry *entry);
/*
 * Whoever takes it over says how that worker came to its end.  May be killed, and
 * done again by the next: a death counts once.
 */
void inflight_tried(struct inflight_entry *entry, bool crashed);
/* How many deaths there were at it. */
unsigned int inflight_trials(const struct inflight_entry *entry);

/* Of an entry that is DONE. */
uint32_t inflight_answer_index(const struct inflight_entry *entry);
int16_t inflight_answer_status(const struct inflight_entry *entry);

#endif
