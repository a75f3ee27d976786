/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The object cache: its entries, who waits for them, and what is dropped when.
 * They are found by object-table.h; those that nobody reads are on one of two
 * lists (in memory; spilled); spill-file.h has the bytes of the big ones.
 *
 * One lock guards all but the spill file, which has its own, and is never held
 * over a load, a copy of contents, a call of the spill file or a release().
 * What makes that safe is the reference count: an entry with references is on
 * no idle list, so that nothing drops its bytes or its extent, and once it is
 * no longer ENTRY_LOADING its contents are constant.  What is to go is
 * collected on a list under the lock, and disposed of after it.
 */
#include "git-fat/object-cache.h"

#include "common/list.h"
#include "git-fat/object-table.h"
#include "git-fat/spill-file.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SPILL_ABOVE_BYTES_MAX (UINT64_C(16) << 20)

enum entry_state {
	ENTRY_LOADING,
	ENTRY_IN_MEMORY,
	ENTRY_SPILLED,
	ENTRY_FAILED,
};

/* How a load failed, for all that waited for it. */
struct failure {
	int rc;
	struct error_text err;
};

struct entry {
	struct object_node node;
	struct list idle; /* in an idle list, or among those to dispose of */
	enum entry_state state;
	unsigned int references;
	uint64_t nr_bytes;
	struct object_bytes bytes; /* until it is spilled */
	struct spill_extent extent; /* when it is */
	struct failure *failure; /* while loading, and when that failed */
};

struct object_cache {
	pthread_mutex_t lock;
	pthread_cond_t load_ended;
	uint64_t budget_bytes, spill_budget_bytes;
	uint64_t spill_above_bytes;
	struct object_table table;
	/* Entries without references, least recently used first. */
	struct list idle_in_memory, idle_spilled;
	struct spill_file spill_file;
	struct object_cache_stats stats;
};

/* ---- what an entry costs, and dropping it -------------------------------- */

/* The entry counts too: a million empty objects are not free. */
static uint64_t memory_cost(uint64_t nr_bytes)
{
	return nr_bytes + sizeof(struct entry);
}

/*
 * Takes an entry that nobody refers to out of the cache and the accounts, and
 * puts it on the list `dead`.  With the lock.
 */
static void entry_drop(struct object_cache *cache, struct entry *entry,
		       struct list *dead)
{
	assert(!entry->references);
	list_del(&entry->idle);
	object_table_remove(&cache->table, &entry->node);
	if (entry->state == ENTRY_IN_MEMORY)
		cache->stats.memory_bytes -= memory_cost(entry->nr_bytes);
	else if (entry->state == ENTRY_SPILLED)
		cache->stats.spilled_bytes -= entry->extent.bytes;
	list_add_tail(dead, &entry->idle);
}

/* Frees what entry_drop() has collected.  Without the lock. */
static void dispose(struct object_cache *cache, struct list *dead)
{
	struct list *node;

	while ((node = list_pop(dead))) {
		struct entry *entry = container_of(node, struct entry, idle);

		if (entry->state == ENTRY_IN_MEMORY)
			entry->bytes.release(entry->bytes.owner);
		else if (entry->state == ENTRY_SPILLED)
			spill_file_remove(&cache->spill_file, &entry->extent);
		free(entry->failure);
		free(entry);
	}
}

/* Drops the least recently used entry of an idle list, if any.  Locked. */
static bool evict(struct object_cache *cache, struct list *idle,
		  struct list *dead)
{
	if (list_empty(idle))
		return false;
	entry_drop(cache, container_of(idle->next, struct entry, idle), dead);
	cache->stats.evictions++;
	return true;
}

static void trim_memory(struct object_cache *cache, struct list *dead)
{
	while (cache->stats.memory_bytes > cache->budget_bytes)
		if (!evict(cache, &cache->idle_in_memory, dead))
			return;
}

/* Keeps the last used, even when it alone is over the budget. */
static void trim_spilled(struct object_cache *cache, struct list *dead)
{
	while (cache->stats.spilled_bytes > cache->spill_budget_bytes) {
		if (cache->idle_spilled.next == cache->idle_spilled.prev)
			return;
		evict(cache, &cache->idle_spilled, dead);
	}
}

/* With the lock; the caller disposes of `dead` after it. */
static void entry_unref(struct object_cache *cache, struct entry *entry,
			struct list *dead)
{
	assert(entry->references);
	if (--entry->references)
		return;
	if (!entry->node.in_table) {
		entry_drop(cache, entry, dead);
	} else if (entry->state == ENTRY_IN_MEMORY) {
		list_add_tail(&cache->idle_in_memory, &entry->idle);
		trim_memory(cache, dead);
	} else {
		list_add_tail(&cache->idle_spilled, &entry->idle);
		trim_spilled(cache, dead);
	}
}

static void entry_ref(struct entry *entry)
{
	list_del(&entry->idle);
	entry->references++;
}

static void entry_put(struct object_cache *cache, struct entry *entry)
{
	struct list dead;

	list_init(&dead);
	pthread_mutex_lock(&cache->lock);
	entry_unref(cache, entry, &dead);
	pthread_mutex_unlock(&cache->lock);
	dispose(cache, &dead);
}

/* ---- spilling ------------------------------------------------------------ */

/*
 * Drops idle spilled objects until no more than `allowed` bytes are counted;
 * false: there are none.
 */
static bool drop_spilled(struct object_cache *cache, uint64_t allowed,
			 struct list *dead)
{
	bool any = false;

	while (cache->stats.spilled_bytes > allowed &&
	       evict(cache, &cache->idle_spilled, dead))
		any = true;
	return any;
}

/* Counts `bytes` more, and drops what the budget does not allow beside them. */
static void spill_reserve(struct object_cache *cache, uint64_t bytes)
{
	struct list dead;
	uint64_t allowed = 0;

	list_init(&dead);
	if (bytes < cache->spill_budget_bytes)
		allowed = cache->spill_budget_bytes - bytes;
	pthread_mutex_lock(&cache->lock);
	drop_spilled(cache, allowed, &dead);
	cache->stats.spilled_bytes += bytes;
	pthread_mutex_unlock(&cache->lock);
	dispose(cache, &dead);
}

static void spill_unreserve(struct object_cache *cache, uint64_t bytes)
{
	pthread_mutex_lock(&cache->lock);
	cache->stats.spilled_bytes -= bytes;
	pthread_mutex_unlock(&cache->lock);
}

/* Drops as much as was reserved, if there is; false: there is nothing. */
static bool spill_make_room(struct object_cache *cache, uint64_t bytes)
{
	struct list dead;
	bool any;

	list_init(&dead);
	pthread_mutex_lock(&cache->lock);
	any = drop_spilled(cache, cache->stats.spilled_bytes - bytes, &dead);
	pthread_mutex_unlock(&cache->lock);
	dispose(cache, &dead);
	return any;
}

/*
 * Writes the object to the spill file.  Where the file system has less room
 * than the budget, older objects make way.
 */
static int spill(struct object_cache *cache, struct entry *entry,
		 struct error_text *err)
{
	struct spill_file *file = &cache->spill_file;
	uint64_t bytes = spill_file_round_up(file, entry->nr_bytes);
	int rc;

	spill_reserve(cache, bytes);
	do
		rc = spill_file_write(file, entry->bytes.data, entry->nr_bytes,
				      &entry->extent);
	while ((rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG) &&
	       spill_make_room(cache, bytes));
	if (rc == 0)
		return 0;
	spill_unreserve(cache, bytes);
	return error_set(err, rc,
			 "write an object of %llu bytes to the spill file: %s",
			 (unsigned long long)entry->nr_bytes, strerror(-rc));
}

/* ---- making objects ------------------------------------------------------ */

static struct entry *entry_find(const struct object_cache *cache,
				const struct object_key *key)
{
	struct object_node *node = object_table_find(&cache->table, key);

	return node ? container_of(node, struct entry, node) : NULL;
}

/* Adds an entry for an object that this thread is about to make.  Locked. */
static struct entry *entry_begin(struct object_cache *cache,
				 const struct object_key *key)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (!entry)
		return NULL;
	/* Now, for a load that fails may have left no memory. */
	entry->failure = calloc(1, sizeof(*entry->failure));
	if (!entry->failure) {
		free(entry);
		return NULL;
	}
	list_init(&entry->idle);
	entry->node.key = *key;
	entry->state = ENTRY_LOADING;
	entry->references = 1;
	object_table_insert(&cache->table, &entry->node);
	cache->stats.loads++;
	return entry;
}

static void account_loaded(struct object_cache *cache, struct entry *entry)
{
	struct object_cache_stats *stats = &cache->stats;
	struct list dead;

	list_init(&dead);
	pthread_mutex_lock(&cache->lock);
	stats->memory_bytes += memory_cost(entry->nr_bytes);
	if (stats->memory_bytes > stats->memory_bytes_max)
		stats->memory_bytes_max = stats->memory_bytes;
	trim_memory(cache, &dead);
	pthread_mutex_unlock(&cache->lock);
	dispose(cache, &dead);
}

/* Loads and, if need be, spills.  Without the lock. */
static int load(struct object_cache *cache, struct entry *entry,
		struct object_loader *loader, enum entry_state *ret_state)
{
	struct error_text *err = &entry->failure->err;
	int rc = loader->load(loader, &entry->node.key, &entry->bytes, err);

	if (rc < 0)
		return rc;
	entry->nr_bytes = entry->bytes.nr_bytes;
	account_loaded(cache, entry);
	if (entry->nr_bytes <= cache->spill_above_bytes) {
		*ret_state = ENTRY_IN_MEMORY;
		return 0;
	}
	rc = spill(cache, entry, err);
	entry->bytes.release(entry->bytes.owner);
	pthread_mutex_lock(&cache->lock);
	cache->stats.memory_bytes -= memory_cost(entry->nr_bytes);
	if (rc == 0)
		cache->stats.spills++;
	pthread_mutex_unlock(&cache->lock);
	*ret_state = ENTRY_SPILLED;
	return rc;
}

/* Makes the object of entry_begin(), and tells those that wait for it. */
static void entry_make(struct object_cache *cache, struct entry *entry,
		       struct object_loader *loader)
{
	enum entry_state state = ENTRY_FAILED;
	struct failure *unused = NULL;
	int rc = load(cache, entry, loader, &state);

	pthread_mutex_lock(&cache->lock);
	if (rc < 0) {
		entry->failure->rc = rc;
		entry->state = ENTRY_FAILED;
		object_table_remove(&cache->table, &entry->node);
	} else {
		unused = entry->failure;
		entry->failure = NULL;
		entry->state = state;
	}
	pthread_cond_broadcast(&cache->load_ended);
	pthread_mutex_unlock(&cache->lock);
	free(unused);
}

/* A reference to the object's entry, whose load has ended one way or other. */
static struct entry *entry_get(struct object_cache *cache,
			       const struct object_key *key,
			       struct object_loader *loader)
{
	struct entry *entry;

	pthread_mutex_lock(&cache->lock);
	entry = entry_find(cache, key);
	if (!entry) {
		entry = entry_begin(cache, key);
		pthread_mutex_unlock(&cache->lock);
		if (entry)
			entry_make(cache, entry, loader);
		return entry;
	}
	entry_ref(entry);
	while (entry->state == ENTRY_LOADING)
		pthread_cond_wait(&cache->load_ended, &cache->lock);
	if (entry->state != ENTRY_FAILED)
		cache->stats.hits++;
	pthread_mutex_unlock(&cache->lock);
	return entry;
}

/* ---- the interface ------------------------------------------------------- */

/* How many of the bytes that are asked for the object has. */
static size_t bytes_within(const struct entry *entry, uint64_t offset,
			   size_t nr_bytes)
{
	if (offset >= entry->nr_bytes)
		return 0;
	if (nr_bytes > entry->nr_bytes - offset)
		return (size_t)(entry->nr_bytes - offset);
	return nr_bytes;
}

static void copy_from_memory(const struct entry *entry, uint64_t offset,
			     void *buffer, size_t nr_bytes)
{
	size_t have = bytes_within(entry, offset, nr_bytes);

	/* An empty object may have no address. */
	if (have)
		memcpy(buffer, (const char *)entry->bytes.data + offset, have);
	if (nr_bytes > have)
		memset((char *)buffer + have, 0, nr_bytes - have);
}

static int copy_from_spill(struct object_cache *cache, struct entry *entry,
			   uint64_t offset, void *buffer, size_t nr_bytes,
			   struct error_text *err)
{
	size_t have = bytes_within(entry, offset, nr_bytes);
	int rc = 0;

	if (have)
		rc = spill_file_read(&cache->spill_file, &entry->extent, offset,
				     buffer, have);
	if (rc < 0) {
		/* The next to ask has it made anew. */
		pthread_mutex_lock(&cache->lock);
		object_table_remove(&cache->table, &entry->node);
		pthread_mutex_unlock(&cache->lock);
		return error_set(err, rc,
				 "read an object of %llu bytes from the spill "
				 "file: %s",
				 (unsigned long long)entry->nr_bytes,
				 strerror(-rc));
	}
	if (nr_bytes > have)
		memset((char *)buffer + have, 0, nr_bytes - have);
	return 0;
}

int object_cache_read(struct object_cache *cache, const struct object_key *key,
		      uint64_t offset, void *buffer, size_t nr_bytes,
		      struct object_loader *loader, struct error_text *err)
{
	struct entry *entry = entry_get(cache, key, loader);
	int rc = 0;

	if (!entry)
		return error_set(err, -ENOMEM, "cache an object: no memory");
	if (entry->state == ENTRY_FAILED) {
		*err = entry->failure->err;
		rc = entry->failure->rc;
	} else if (entry->state == ENTRY_SPILLED) {
		rc = copy_from_spill(cache, entry, offset, buffer, nr_bytes,
				     err);
	} else {
		copy_from_memory(entry, offset, buffer, nr_bytes);
	}
	entry_put(cache, entry);
	return rc;
}

int object_cache_try_read(struct object_cache *cache,
			  const struct object_key *key, uint64_t offset,
			  void *buffer, size_t nr_bytes)
{
	struct entry *entry;

	pthread_mutex_lock(&cache->lock);
	entry = entry_find(cache, key);
	if (!entry || entry->state != ENTRY_IN_MEMORY) {
		pthread_mutex_unlock(&cache->lock);
		return -EAGAIN;
	}
	entry_ref(entry);
	cache->stats.hits++;
	pthread_mutex_unlock(&cache->lock);
	copy_from_memory(entry, offset, buffer, nr_bytes);
	entry_put(cache, entry);
	return 0;
}

void object_cache_prefetch(struct object_cache *cache,
			   const struct object_key *key,
			   struct object_loader *loader)
{
	struct list dead;
	struct entry *entry;

	list_init(&dead);
	pthread_mutex_lock(&cache->lock);
	entry = entry_find(cache, key);
	if (entry) {
		/* A use: it is to be there when it is read. */
		if (!entry->references) {
			entry_ref(entry);
			entry_unref(cache, entry, &dead);
		}
		entry = NULL;
	} else {
		entry = entry_begin(cache, key);
	}
	pthread_mutex_unlock(&cache->lock);
	dispose(cache, &dead);
	if (entry) {
		entry_make(cache, entry, loader);
		entry_put(cache, entry);
	}
}

void object_cache_get_stats(struct object_cache *cache,
			    struct object_cache_stats *ret_stats)
{
	pthread_mutex_lock(&cache->lock);
	*ret_stats = cache->stats;
	pthread_mutex_unlock(&cache->lock);
}

int object_cache_new(uint64_t budget_bytes, uint64_t spill_budget_bytes,
		     struct object_cache **ret_cache)
{
	struct object_cache *cache = calloc(1, sizeof(*cache));
	int rc;

	if (!cache)
		return -ENOMEM;
	cache->budget_bytes = budget_bytes;
	cache->spill_budget_bytes = spill_budget_bytes;
	cache->spill_above_bytes = budget_bytes / 4;
	if (cache->spill_above_bytes > SPILL_ABOVE_BYTES_MAX)
		cache->spill_above_bytes = SPILL_ABOVE_BYTES_MAX;
	list_init(&cache->idle_in_memory);
	list_init(&cache->idle_spilled);
	rc = object_table_init(&cache->table);
	if (rc < 0)
		goto free_cache;
	rc = spill_file_init(&cache->spill_file);
	if (rc < 0)
		goto fini_table;
	/* Neither can fail with default attributes. */
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->load_ended, NULL);
	*ret_cache = cache;
	return 0;

fini_table:
	object_table_fini(&cache->table);
free_cache:
	free(cache);
	return rc;
}

void object_cache_free(struct object_cache *cache)
{
	struct list *node;

	if (!cache)
		return;
	/* Every entry is idle: no thread refers to one. */
	while ((node = list_pop(&cache->idle_in_memory))) {
		struct entry *entry = container_of(node, struct entry, idle);

		entry->bytes.release(entry->bytes.owner);
		free(entry);
	}
	while ((node = list_pop(&cache->idle_spilled)))
		free(container_of(node, struct entry, idle));
	spill_file_fini(&cache->spill_file);
	object_table_fini(&cache->table);
	pthread_cond_destroy(&cache->load_ended);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}
