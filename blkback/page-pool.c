/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs of pages out of a bitmap, first fit: the same few pages are used again
 * and again, and stay in the processor's caches.
 */
#include "blkback/page-pool.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

static size_t pool_bytes(unsigned int nr_pages)
{
	return (size_t)nr_pages * PAGE_POOL_PAGE_BYTES;
}

int page_pool_init(struct page_pool *pool, unsigned int nr_pages)
{
	void *base;

	assert(nr_pages >= PAGE_POOL_PAGES_MIN &&
	       nr_pages <= PAGE_POOL_PAGES_MAX);
	base = mmap(NULL, pool_bytes(nr_pages), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return -errno;
	*pool = (struct page_pool){ .base = base, .nr_pages = nr_pages };
	return 0;
}

void page_pool_fini(struct page_pool *pool)
{
	if (pool->base)
		munmap(pool->base, pool_bytes(pool->nr_pages));
	pool->base = NULL;
}

static bool page_used(const struct page_pool *pool, unsigned int page)
{
	return pool->used[page / 64] >> (page % 64) & 1;
}

static void mark_run(struct page_pool *pool, unsigned int first,
		     unsigned int nr_pages, bool used)
{
	for (unsigned int page = first; page < first + nr_pages; page++) {
		uint64_t bit = UINT64_C(1) << (page % 64);

		assert(page_used(pool, page) != used);
		pool->used[page / 64] ^= bit;
	}
}

/* The first run of nr_pages free pages, or the pool's size. */
static unsigned int find_run(const struct page_pool *pool,
			     unsigned int nr_pages)
{
	unsigned int start = 0, page = 0;

	while (page < pool->nr_pages) {
		uint64_t word = pool->used[page / 64];

		if (page % 64 == 0 && word == UINT64_MAX) {
			page += 64;
			start = page;
			continue;
		}
		if (word >> (page % 64) & 1)
			start = page + 1;
		else if (page + 1 - start == nr_pages)
			return start;
		page++;
	}
	return pool->nr_pages;
}

void *page_pool_take(struct page_pool *pool, unsigned int nr_pages)
{
	unsigned int first;

	assert(nr_pages && nr_pages <= pool->nr_pages);
	first = find_run(pool, nr_pages);
	if (first == pool->nr_pages)
		return NULL;
	mark_run(pool, first, nr_pages, true);
	return pool->base + (size_t)first * PAGE_POOL_PAGE_BYTES;
}

void page_pool_give(struct page_pool *pool, void *pages, unsigned int nr_pages)
{
	size_t offset = (size_t)((unsigned char *)pages - pool->base);

	mark_run(pool, (unsigned int)(offset / PAGE_POOL_PAGE_BYTES), nr_pages,
		 false);
}
