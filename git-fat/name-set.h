/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sets of strings of UTF-16 units, for the names of one directory at a time.
 * The strings lie one after the other in a pool that several sets share.
 *
 * Whoever commits to a repository chooses the strings, so the hash is keyed
 * with a secret: without it, nobody can make them collide.  Nothing that a set
 * answers depends on the key.
 *
 * Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#ifndef XEN_DISKD_NAME_SET_H
#define XEN_DISKD_NAME_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct name_pool {
	uint16_t *units;
	uint32_t nr_units, room;
	uint64_t key[2];
};

/* Draws the key.  -errno when the kernel has none to give. */
int name_pool_init(struct name_pool *pool);
void name_pool_fini(struct name_pool *pool);
/* Forgets the strings, not the memory: the sets go first. */
void name_pool_reset(struct name_pool *pool);

struct name_set_slot {
	uint32_t hash;
	uint32_t offset; /* of the string in the pool */
	uint32_t value; /* the user's; 0 at first */
	uint16_t nr_units; /* 0: the slot is free */
};

struct name_set {
	struct name_pool *pool;
	struct name_set_slot *slots;
	uint32_t nr_slots; /* a power of two, or 0 */
	uint32_t nr_used;
	bool fold; /* strings that differ in case only are the same */
};

void name_set_init(struct name_set *set, struct name_pool *pool, bool fold);
void name_set_fini(struct name_set *set);
void name_set_reset(struct name_set *set);

/*
 * Looks for the string, which is neither empty nor in the pool, and adds it to
 * the set and the pool if it is not there.  0: added.  1: it was there
 * already.  Either way *ret_slot is its slot, until the next call.  -ENOMEM.
 */
int name_set_put(struct name_set *set, const uint16_t *units, uint16_t nr_units,
		 struct name_set_slot **ret_slot);

#endif
