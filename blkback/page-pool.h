/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue's data buffers: one page-aligned mapping, handed out in runs of
 * consecutive pages, so that a request's data is one contiguous buffer
 * whatever its segments were.  Belongs to its queue's thread.
 */
#ifndef XEN_DISKD_PAGE_POOL_H
#define XEN_DISKD_PAGE_POOL_H

#include <stdint.h>

#define PAGE_POOL_PAGE_BYTES 4096u
/* At least two requests of the largest size there is; at most 64 MiB. */
#define PAGE_POOL_PAGES_MIN 512u
#define PAGE_POOL_PAGES_MAX 16384u

struct page_pool {
	unsigned char *base;
	unsigned int nr_pages;
	uint64_t used[PAGE_POOL_PAGES_MAX / 64];
};

/*
 * Maps a pool of nr_pages (within the above); they take memory when they are
 * first used.  -ENOMEM.
 */
int page_pool_init(struct page_pool *pool, unsigned int nr_pages);
/* Harmless for a zeroed or failed pool. */
void page_pool_fini(struct page_pool *pool);

/*
 * Takes nr_pages (1 to the pool's) consecutive pages, or NULL when no
 * run is that long.  A pool with nothing taken never refuses.
 */
void *page_pool_take(struct page_pool *pool, unsigned int nr_pages);
void page_pool_give(struct page_pool *pool, void *pages, unsigned int nr_pages);

#endif
