/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving the data of requests between the guest's pages and their buffers: by
 * memcpy(3) where the frontend's grants persist and are mapped, else by grant
 * copies, those of many requests in one batch.  Belongs to its queue's thread.
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
 * Moves the data of all requests on a list that have some to move that way (out
 * of the guest for writes) and are not errors already.  A request of which a
 * segment failed becomes an error.  Order is kept.
 */
void transfer_data(struct transfer *transfer, struct list *requests,
		   bool writes);

/*
 * Fetches the segments of all indirect requests on a list, once, and parses
 * them.  Those that cannot be become errors.  Order is not kept.
 */
void transfer_indirect(struct transfer *transfer, struct list *requests);

/* Whether pages are mapped that may come to rest. */
bool transfer_has_mapped(const struct transfer *transfer);
/* Gives back those that have rested since the last call. */
void transfer_release_idle(struct transfer *transfer);

#endif
