/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request: taken apart and validated, once, from the private copy of its
 * slot; the steps that carry it out.
 * This is the one place where blkif's 512-byte sectors become bytes.
 *
 * Pure functions of their arguments; nothing here blocks, allocates or logs.
 *
 * Source: xen/include/public/io/blkif.h.
 */
#ifndef XEN_DISKD_REQUEST_H
#define XEN_DISKD_REQUEST_H

#include "blkback/blkif-abi.h"
#include "blkback/inflight.h"
#include "providers/provider.h"

#include <stdbool.h>

/*
 * What is left to do for a request, the lowest bit first.  A write barrier is
 * ordered against everything before and after it, and durable when it is
 * answered; a flush that carries data is a flush, then a durable write.
 */
enum request_step {
	REQUEST_STEP_DRAIN = 1u << 0, /* wait until nothing else is going */
	REQUEST_STEP_FLUSH_BEFORE = 1u << 1,
	REQUEST_STEP_DATA = 1u << 2,
	REQUEST_STEP_FLUSH_AFTER = 1u << 3,
};

#define REQUEST_STEPS_FLUSH \
	(REQUEST_STEP_FLUSH_BEFORE | REQUEST_STEP_FLUSH_AFTER)

struct blk_request {
	struct inflight_entry *entry;
	struct block_io io;
	/*
	 * Of the data: the buffer, or guest's pages.  The one piece that most have
	 * is not where all others' are, INFLIGHT_SEGMENTS_MAX for each request:
	 * these would be in one set of a cache, and in a page each.
	 */
	struct iovec *iov, one, *iovs;
	unsigned int nr_iov;
	bool mapped; /* the vector is of the guest's own pages */
	unsigned char *buffer;
	unsigned int nr_pages; /* of buffer; 0 for a request without */
	unsigned int nr_copies; /* of grants, in transfer.c's batch */
	bool indirect; /* its segments are still in the guest's page */
	uint32_t indirect_ref;
	uint64_t number; /* counted from the first of its ring */
	bool again; /* a worker before had begun it */
	unsigned int steps; /* enum request_step still to do */
	int16_t status; /* BLKIF_RSP_* to answer with */
	uint64_t flush_failed_ms; /* when its flush first failed; 0: never */
	struct list node;
};

/*
 * Takes a slot apart into the request's entry, all of it private memory, and
 * checks every field (20-blkif: "Validation").  The operation and id are filled
 * in whatever is returned, for the answer; those of an indirect request are its
 * indirect ones.  -EOPNOTSUPP for an operation that is not served, -EINVAL for
 * one that is malformed.
 *
 * An indirect request comes with ->indirect set: its segments are to be copied
 * from the guest, once (XSA-155), and then parsed.
 */
int request_parse(const struct ring_abi *abi, const unsigned char *slot,
		  struct blk_request *req);

/*
 * Takes apart the segments that have been copied into the entry's, where they
 * lie; with copied false, they could not be.  -EINVAL; the entry has no
 * segments then.
 */
int request_parse_indirect(struct blk_request *req, bool copied);

/* True when the guest's pages are the source of the request's data. */
bool request_is_write(const struct inflight_entry *entry);

/* The steps that a parsed request takes. */
unsigned int request_steps(const struct inflight_entry *entry);

/* The lowest step in a set that is not empty. */
static inline enum request_step request_next_step(unsigned int steps)
{
	return (enum request_step)(steps & -steps);
}

#endif
