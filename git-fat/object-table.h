/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The object cache's hash table: from keys to nodes, which lie in what is
 * looked up.  Not thread-safe.
 */
#ifndef XEN_DISKD_OBJECT_TABLE_H
#define XEN_DISKD_OBJECT_TABLE_H

#include "git-fat/id-hash.h"
#include "git-fat/object-cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct object_node {
	struct object_node *next; /* in its bucket */
	struct object_key key;
	bool in_table;
};

struct object_table {
	struct object_node **buckets;
	size_t nr_buckets; /* a power of two */
	size_t nr_nodes;
	struct id_hash hash;
};

/* Errors: -ENOMEM, or those of getrandom(2). */
int object_table_init(struct object_table *table);
/* Leaves the nodes alone. */
void object_table_fini(struct object_table *table);

/* NULL: it is not there. */
struct object_node *object_table_find(const struct object_table *table,
				      const struct object_key *key);
/* The node has its key, which is not in the table yet. */
void object_table_insert(struct object_table *table, struct object_node *node);
/* Harmless when the node is not there any more. */
void object_table_remove(struct object_table *table, struct object_node *node);

#endif
