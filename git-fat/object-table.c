/* SPDX-License-Identifier: BSD-2-Clause */
/* The object cache's hash table: chained, and doubled when it is full. */
#include "git-fat/object-table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 64 /* a power of two */

static bool key_equal(const struct object_key *a, const struct object_key *b)
{
	return a->cluster == b->cluster &&
	       memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

/* The link to the first node of the key's bucket. */
static struct object_node **bucket_of(const struct object_table *table,
				      const struct object_key *key)
{
	uint32_t hash = id_hash_of(&table->hash, key->id, key->cluster);

	return &table->buckets[hash & (table->nr_buckets - 1)];
}

int object_table_init(struct object_table *table)
{
	int rc = id_hash_init(&table->hash);

	if (rc < 0)
		return rc;
	table->buckets = calloc(BUCKETS_MIN, sizeof(*table->buckets));
	if (!table->buckets)
		return -ENOMEM;
	table->nr_buckets = BUCKETS_MIN;
	table->nr_nodes = 0;
	return 0;
}

void object_table_fini(struct object_table *table)
{
	free(table->buckets);
}

static void push(struct object_table *table, struct object_node *node)
{
	struct object_node **bucket = bucket_of(table, &node->key);

	node->next = *bucket;
	*bucket = node;
}

/* Twice as many buckets; without memory for them chains get longer instead. */
static void grow(struct object_table *table)
{
	struct object_table old = *table;

	table->buckets = calloc(2 * old.nr_buckets, sizeof(*table->buckets));
	if (!table->buckets) {
		table->buckets = old.buckets;
		return;
	}
	table->nr_buckets = 2 * old.nr_buckets;
	for (size_t i = 0; i < old.nr_buckets; i++) {
		struct object_node *next, *node = old.buckets[i];

		for (; node; node = next) {
			next = node->next;
			push(table, node);
		}
	}
	free(old.buckets);
}

struct object_node *object_table_find(const struct object_table *table,
				      const struct object_key *key)
{
	struct object_node *node = *bucket_of(table, key);

	while (node && !key_equal(&node->key, key))
		node = node->next;
	return node;
}

void object_table_insert(struct object_table *table, struct object_node *node)
{
	if (table->nr_nodes >= table->nr_buckets)
		grow(table);
	push(table, node);
	node->in_table = true;
	table->nr_nodes++;
}

void object_table_remove(struct object_table *table, struct object_node *node)
{
	struct object_node **link = bucket_of(table, &node->key);

	if (!node->in_table)
		return;
	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	node->in_table = false;
	table->nr_nodes--;
}
