/* SPDX-License-Identifier: BSD-2-Clause */
/* Batches of grant copies, and mapped pages. */
#include "blkback/transfer.h"

#include "blkback/grant-cache.h"
#include "common/copy-sectors.h"
#include "gnttab/gnttab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xen/grant_table.h>

/* Grant copies in one batch; a larger turn makes several. */
#define COPY_BATCH 1024u
_Static_assert(INFLIGHT_SEGMENTS_MAX <= COPY_BATCH, "any request fits");
_Static_assert(INFLIGHT_SLOTS_MAX <= COPY_BATCH, "one of each request fits");

struct transfer {
	struct gnttab *gt;
	uint16_t domid;
	struct grant_cache *grants; /* NULL: the frontend's do not persist */
	bool copies_indirect; /* pages of segments cannot be mapped */
	unsigned int nr_copies;
	xengnttab_grant_copy_segment_t copies[COPY_BATCH];
};

static struct blk_request *request_of(struct list *node)
{
	return container_of(node, struct blk_request, node);
}

int transfer_new(struct gnttab *gt, uint16_t domid,
		 unsigned int persistent_grants, struct transfer **ret_transfer)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));
	int rc = 0;

	if (!transfer)
		return -ENOMEM;
	transfer->gt = gt;
	transfer->domid = domid;
	if (persistent_grants)
		rc = grant_cache_new(gt, domid, persistent_grants,
				     &transfer->grants);
	if (rc < 0)
		free(transfer);
	else
		*ret_transfer = transfer;
	return rc;
}

void transfer_free(struct transfer *transfer)
{
	if (!transfer)
		return;
	grant_cache_free(transfer->grants);
	free(transfer);
}

/* ---- data ----------------------------------------------------------- */

bool transfer_map(struct transfer *transfer, struct blk_request *req)
{
	const struct inflight_entry *entry = req->entry;

	if (!transfer->grants)
		return false;
	req->iov = entry->nr_segments > 1 ? req->iovs : &req->one;
	for (unsigned int i = 0; i < entry->nr_segments; i++) {
		const struct inflight_segment *segment = &entry->segments[i];
		unsigned char *page =
			grant_cache_get(transfer->grants, segment->gref);

		if (!page)
			return false;
		req->iov[i] = (struct iovec){ page + segment->offset_bytes,
					      segment->length_bytes };
	}
	req->nr_iov = entry->nr_segments;
	req->mapped = true;
	return true;
}

/* Runs the copies of the requests from `first` up to `end`. */
static void copy_run(struct transfer *transfer, struct list *first,
		     const struct list *end)
{
	unsigned int i = 0;

	if (!transfer->nr_copies)
		return;
	gnttab_copy(transfer->gt, transfer->copies, transfer->nr_copies);
	for (struct list *it = first; it != end; it = it->next) {
		struct blk_request *req = request_of(it);

		for (unsigned int c = 0; c < req->nr_copies; c++) {
			if (transfer->copies[i++].status != GNTST_okay)
				req->status = BLKIF_RSP_ERROR;
		}
	}
	assert(i == transfer->nr_copies);
	transfer->nr_copies = 0;
}

/* At once, or by a grant copy that is added to the batch. */
static void move_segment(struct transfer *transfer, struct blk_request *req,
			 const struct inflight_segment *segment,
			 unsigned char *local, bool from_guest)
{
	unsigned char *page = NULL;
	xengnttab_grant_copy_segment_t *copy;

	if (transfer->grants)
		page = grant_cache_get(transfer->grants, segment->gref);
	if (page) {
		page += segment->offset_bytes;
		copy_sectors(from_guest ? local : page,
			     from_guest ? page : local, segment->length_bytes);
		return;
	}
	copy = &transfer->copies[transfer->nr_copies++];
	req->nr_copies++;
	if (from_guest)
		gnttab_copy_from_guest(copy, transfer->domid, segment->gref,
				       segment->offset_bytes,
				       segment->length_bytes, local);
	else
		gnttab_copy_to_guest(copy, transfer->domid, segment->gref,
				     segment->offset_bytes,
				     segment->length_bytes, local);
}

static bool has_to_move(const struct blk_request *req, bool writes)
{
	return req->status == BLKIF_RSP_OKAY && req->entry->nr_segments &&
	       !req->mapped && request_is_write(req->entry) == writes;
}

static void move_request(struct transfer *transfer, struct blk_request *req,
			 bool from_guest)
{
	const struct inflight_entry *entry = req->entry;
	unsigned char *local = req->buffer;

	for (unsigned int i = 0; i < entry->nr_segments; i++) {
		move_segment(transfer, req, &entry->segments[i], local,
			     from_guest);
		local += entry->segments[i].length_bytes;
	}
}

void transfer_data(struct transfer *transfer, struct list *requests,
		   bool writes)
{
	struct list *first = requests->next; /* of the batch */

	for (struct list *it = first; it != requests; it = it->next) {
		struct blk_request *req = request_of(it);

		req->nr_copies = 0;
		if (!has_to_move(req, writes))
			continue;
		if (transfer->nr_copies + req->entry->nr_segments >
		    COPY_BATCH) {
			copy_run(transfer, first, it);
			first = it;
		}
		move_request(transfer, req, writes);
	}
	copy_run(transfer, first, requests);
}

/* ---- indirect segments ---------------------------------------------- */

/* False when the page is not one that is mapped. */
static bool fetch_segments(struct transfer *transfer, struct blk_request *req)
{
	struct inflight_entry *entry = req->entry;
	const void *page = NULL;

	if (transfer->grants && !transfer->copies_indirect)
		page = grant_cache_get(transfer->grants, req->indirect_ref);
	/* Such as a frontend's that grants them read-only: not tried for each. */
	transfer->copies_indirect = !page;
	if (!page)
		return false;
	memcpy(entry->segments, page, entry->nr_segments * BLKIF_SEGMENT_BYTES);
	/* Keep the compiler from reading the page again behind our back. */
	__asm__ volatile("" : : "r"(entry->segments) : "memory");
	return true;
}

static void parse_fetched(struct blk_request *req, bool fetched)
{
	if (request_parse_indirect(req, fetched) < 0)
		req->status = BLKIF_RSP_ERROR;
}

void transfer_indirect(struct transfer *transfer, struct list *requests)
{
	unsigned int i = 0;

	list_for_each_safe(it, tmp, requests) {
		struct blk_request *req = request_of(it);

		if (!req->indirect)
			continue;
		if (fetch_segments(transfer, req)) {
			parse_fetched(req, true);
			continue;
		}
		gnttab_copy_from_guest(&transfer->copies[transfer->nr_copies++],
				       transfer->domid, req->indirect_ref, 0,
				       req->entry->nr_segments *
					       BLKIF_SEGMENT_BYTES,
				       req->entry->segments);
	}
	if (!transfer->nr_copies)
		return;
	gnttab_copy(transfer->gt, transfer->copies, transfer->nr_copies);
	list_for_each_safe(it, tmp, requests) {
		struct blk_request *req = request_of(it);

		if (req->indirect)
			parse_fetched(req, transfer->copies[i++].status ==
						   GNTST_okay);
	}
	assert(i == transfer->nr_copies);
	transfer->nr_copies = 0;
}

/* ---- mapped pages --------------------------------------------------- */

unsigned int transfer_nr_mapped(const struct transfer *transfer)
{
	return transfer->grants ? grant_cache_pages(transfer->grants) : 0;
}

void transfer_keep(struct transfer *transfer, const struct blk_request *req)
{
	for (unsigned int i = 0; i < req->entry->nr_segments; i++)
		grant_cache_get(transfer->grants, req->entry->segments[i].gref);
}

void transfer_release_idle(struct transfer *transfer)
{
	if (transfer->grants)
		grant_cache_release_idle(transfer->grants);
}
