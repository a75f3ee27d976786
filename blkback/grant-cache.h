/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Persistent grants: pages of a frontend that says it will use the same ones
 * again and again (feature-persistent).  Each is mapped when it is first seen
 * and stays so, and data is moved by memcpy(3), without a hypercall.
 *
 * What cannot be mapped, and what there is no room for, is for the caller to
 * copy by its grant: a cache is never needed.  Belongs to its queue's thread.
 *
 * Source: xen/include/public/io/blkif.h, "feature-persistent".
 */
#ifndef XEN_DISKD_GRANT_CACHE_H
#define XEN_DISKD_GRANT_CACHE_H

#include "gnttab/gnttab.h"

#include <stdint.h>

struct grant_cache;

/* For up to max_pages pages of a domain.  gt must outlive it.  -ENOMEM. */
int grant_cache_new(struct gnttab *gt, uint16_t domid, unsigned int max_pages,
		    struct grant_cache **ret_cache);
/* Unmaps all.  NULL is a no-op. */
void grant_cache_free(struct grant_cache *cache);

/*
 * The page that ref grants, of GNTTAB_PAGE_BYTES; mapped now if it was not.
 * NULL when it cannot be, or the cache is full.  Valid until
 * grant_cache_release_idle().
 */
void *grant_cache_get(struct grant_cache *cache, uint32_t ref);

/*
 * Unmaps what has not been got since the last call.  Returns how many pages are
 * left.
 */
unsigned int grant_cache_release_idle(struct grant_cache *cache);

unsigned int grant_cache_pages(const struct grant_cache *cache);

#endif
