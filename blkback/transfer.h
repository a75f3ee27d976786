/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the data of requests is: in the guest's own pages, where the frontend's
 * grants persist and are mapped and the provider takes such memory; else in
 * buffers.  Between these and the guest it is moved by memcpy(3), page by page
 * that is mapped, and by grant copies, those of many requests in one batch.
 * Belongs to its queue's thread.
 */
#ifndef XEN_DISKD_TRANSFER_H
#define XEN_DISKD_TRANSFER_H

#include "blkback/request.h"
#include "gnttab/gnttab.h"

struct transfer;

/*
 * For the guest that gt is asked for; gt must outlive it.  persistent_grants is
 * the number of pages to keep mapped, or 0.  -ENOMEM.
 */
int transfer_new(struct gnttab *gt, uint16_t domid,
		 unsigned int persistent_grants,
		 struct transfer **ret_transfer);
/* Nothing of the guest's is mapped any more.  NULL is a no-op. */
void transfer_free(struct transfer *transfer);

/*
 * Makes a request's vector one of the guest's own pages; false when not all of
 * them can be mapped.  They stay so until transfer_release_idle().
 */
bool transfer_map(struct transfer *transfer, struct blk_request *req);

/*
 * Moves the data of all requests on a list that have some to move that way (out
 * of the guest for writes), have a buffer and are not errors already.  A request of which a
 * segment failed becomes an error.  Order is kept.
 */
void transfer_data(struct transfer *transfer, struct list *requests,
		   bool writes);

/*
 * Fetches the segments of all indirect requests on a list, once, and parses
 * them: out of their pages where these can be mapped, else by one batch of grant
 * copies.  Those that cannot be become errors.  The order stays: a barrier's place
 * counts.
 */
void transfer_indirect(struct transfer *transfer, struct list *requests);

/* Persistent grants that are mapped, and may come to rest. */
unsigned int transfer_nr_mapped(const struct transfer *transfer);
/* They are in use: a request that is mapped has not come to its end. */
void transfer_keep(struct transfer *transfer, const struct blk_request *req);
/* Gives back those that have rested, or not been kept, since the last call. */
void transfer_release_idle(struct transfer *transfer);

#endif
