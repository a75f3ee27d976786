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

/* Of the word that `page` is in, those of its pages that are before `end`. */
static uint64_t mask_of(unsigned int page, unsigned int end)
{
	uint64_t mask = UINT64_MAX << page % 64;

	if (end - page / 64 * 64 < 64)
		mask &= ~(UINT64_MAX << end % 64);
	return mask;
}

/* The first page of [page, end) that is used, or is not; or end. */
static unsigned int find_page(const struct page_pool *pool, unsigned int page,
			      unsigned int end, bool used)
{
	while (page < end) {
		uint64_t word = pool->used[page / 64];

		word = (used ? word : ~word) & mask_of(page, end);
		if (word)
			return page / 64 * 64 +
			       (unsigned int)__builtin_ctzll(word);
		page = page / 64 * 64 + 64;
	}
	return end;
}

static void mark_run(struct page_pool *pool, unsigned int first,
		     unsigned int nr_pages, bool used)
{
	unsigned int end = first + nr_pages;

	for (unsigned int page = first; page < end;
	     page = page / 64 * 64 + 64) {
		uint64_t mask = mask_of(page, end);

		assert((pool->used[page / 64] & mask) == (used ? 0 : mask));
		pool->used[page / 64] ^= mask;
	}
}

/* The first run of nr_pages free pages, or the pool's size. */
static unsigned int find_run(const struct page_pool *pool,
			     unsigned int nr_pages)
{
	unsigned int first = find_page(pool, 0, pool->nr_pages, false);

	while (first + nr_pages <= pool->nr_pages) {
		unsigned int end =
			find_page(pool, first, first + nr_pages, true);

		if (end == first + nr_pages)
			return first;
		first = find_page(pool, end, pool->nr_pages, false);
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
