/* SPDX-License-Identifier: BSD-2-Clause */
/* The hash table of mapped pages. */
#include "blkback/grant-cache.h"

#include "common/list.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct cached_page {
	struct list node; /* in a bucket, or unused */
	uint32_t ref;
	bool used; /* since the last release */
	void *addr;
};

struct grant_cache {
	struct gnttab *gt;
	uint16_t domid;
	unsigned int nr_pages, max_pages;
	unsigned int bucket_bits;
	struct list *buckets;
	struct list unused;
	struct cached_page pages[];
};

/* Fibonacci hashing: references come in runs. */
static struct list *bucket_of(const struct grant_cache *cache, uint32_t ref)
{
	return &cache->buckets[(ref * UINT32_C(2654435769)) >>
			       (32 - cache->bucket_bits)];
}

int grant_cache_new(struct gnttab *gt, uint16_t domid, unsigned int max_pages,
		    struct grant_cache **ret_cache)
{
	struct grant_cache *cache =
		calloc(1, sizeof(*cache) + max_pages * sizeof(cache->pages[0]));

	if (!cache)
		return -ENOMEM;
	cache->gt = gt;
	cache->domid = domid;
	cache->max_pages = max_pages;
	cache->bucket_bits = 1;
	while (1u << cache->bucket_bits < max_pages)
		cache->bucket_bits++;
	cache->buckets =
		calloc(1u << cache->bucket_bits, sizeof(cache->buckets[0]));
	if (!cache->buckets) {
		free(cache);
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < 1u << cache->bucket_bits; i++)
		list_init(&cache->buckets[i]);
	list_init(&cache->unused);
	for (unsigned int i = 0; i < max_pages; i++)
		list_add_tail(&cache->unused, &cache->pages[i].node);
	*ret_cache = cache;
	return 0;
}

static void release(struct grant_cache *cache, struct cached_page *page)
{
	gnttab_unmap(cache->gt, page->addr, 1);
	page->addr = NULL;
	list_del(&page->node);
	list_add_tail(&cache->unused, &page->node);
	cache->nr_pages--;
}

void grant_cache_free(struct grant_cache *cache)
{
	if (!cache)
		return;
	for (unsigned int i = 0; i < cache->max_pages; i++) {
		if (cache->pages[i].addr)
			release(cache, &cache->pages[i]);
	}
	free(cache->buckets);
	free(cache);
}

static struct cached_page *add(struct grant_cache *cache, uint32_t ref)
{
	struct cached_page *page;
	void *addr;

	if (list_empty(&cache->unused) ||
	    gnttab_map(cache->gt, cache->domid, &ref, 1, &addr) < 0)
		return NULL;
	page = container_of(list_pop(&cache->unused), struct cached_page, node);
	page->ref = ref;
	page->addr = addr;
	list_add_tail(bucket_of(cache, ref), &page->node);
	cache->nr_pages++;
	return page;
}

void *grant_cache_get(struct grant_cache *cache, uint32_t ref)
{
	struct list *bucket = bucket_of(cache, ref);
	struct cached_page *page = NULL;

	for (struct list *it = bucket->next; it != bucket; it = it->next) {
		page = container_of(it, struct cached_page, node);
		if (page->ref == ref)
			break;
		page = NULL;
	}
	if (!page)
		page = add(cache, ref);
	if (!page)
		return NULL;
	page->used = true;
	return page->addr;
}

unsigned int grant_cache_release_idle(struct grant_cache *cache)
{
	for (unsigned int i = 0; i < cache->max_pages; i++) {
		struct cached_page *page = &cache->pages[i];

		if (page->addr && !page->used)
			release(cache, page);
		page->used = false;
	}
	return cache->nr_pages;
}

unsigned int grant_cache_pages(const struct grant_cache *cache)
{
	return cache->nr_pages;
}
