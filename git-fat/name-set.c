/* SPDX-License-Identifier: BSD-2-Clause */
/* Open addressing with linear probing, at most half full; SipHash-1-3. */
#include "git-fat/name-set.h"

#include "git-fat/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define MIN_SLOTS 64u
#define MIN_POOL_UNITS 4096u

/* ---- the pool ----------------------------------------------------------- */

int name_pool_init(struct name_pool *pool)
{
	ssize_t got;

	*pool = (struct name_pool){ 0 };
	do
		got = getrandom(pool->key, sizeof(pool->key), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return got == sizeof(pool->key) ? 0 : -EIO;
}

void name_pool_fini(struct name_pool *pool)
{
	free(pool->units);
}

void name_pool_reset(struct name_pool *pool)
{
	pool->nr_units = 0;
}

/* Copies a string to the end of the pool. */
static int pool_append(struct name_pool *pool, const uint16_t *units,
		       uint16_t nr_units, uint32_t *ret_offset)
{
	uint64_t need = (uint64_t)pool->nr_units + nr_units;
	uint64_t room = pool->room ? pool->room : MIN_POOL_UNITS;

	while (room < need)
		room *= 2;
	if (room > UINT32_MAX)
		return -ENOMEM;
	if (room != pool->room) {
		uint16_t *grown =
			realloc(pool->units, room * sizeof(pool->units[0]));

		if (!grown)
			return -ENOMEM;
		pool->units = grown;
		pool->room = (uint32_t)room;
	}
	memcpy(&pool->units[pool->nr_units], units, nr_units * sizeof(*units));
	*ret_offset = pool->nr_units;
	pool->nr_units = (uint32_t)need;
	return 0;
}

/* ---- hashing ------------------------------------------------------------ */

static inline uint16_t fold(uint16_t unit)
{
	if (unit < 0x80)
		return (unsigned int)unit - 'a' < 26 ? unit - 0x20 : unit;
	return fat_fold(unit);
}

struct sip {
	uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
	s->a += s->b;
	s->c += s->d;
	s->b = rotate(s->b, 13) ^ s->a;
	s->d = rotate(s->d, 16) ^ s->c;
	s->a = rotate(s->a, 32);
	s->c += s->b;
	s->a += s->d;
	s->b = rotate(s->b, 17) ^ s->c;
	s->d = rotate(s->d, 21) ^ s->a;
	s->c = rotate(s->c, 32);
}

static inline void sip_word(struct sip *s, uint64_t word)
{
	s->d ^= word;
	sip_round(s);
	s->a ^= word;
}

/* Up to four units, the first lowest. */
static inline uint64_t word_of(const uint16_t *units, unsigned int nr,
			       bool folded)
{
	uint64_t word = 0;

	for (unsigned int i = 0; i < nr; i++) {
		uint16_t unit = folded ? fold(units[i]) : units[i];

		word |= (uint64_t)unit << (16 * i);
	}
	return word;
}

static uint32_t hash_of(const uint64_t key[2], const uint16_t *units,
			uint16_t nr_units, bool folded)
{
	struct sip s = {
		key[0] ^ UINT64_C(0x736f6d6570736575),
		key[1] ^ UINT64_C(0x646f72616e646f6d),
		key[0] ^ UINT64_C(0x6c7967656e657261),
		key[1] ^ UINT64_C(0x7465646279746573),
	};
	unsigned int left = nr_units;
	uint64_t last;

	for (; left >= 4; left -= 4, units += 4)
		sip_word(&s, word_of(units, 4, folded));
	last = (uint64_t)nr_units << 56;
	sip_word(&s, last | word_of(units, left, folded));
	s.c ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	last = s.a ^ s.b ^ s.c ^ s.d;
	return (uint32_t)(last ^ last >> 32);
}

/* ---- the set ------------------------------------------------------------ */

void name_set_init(struct name_set *set, struct name_pool *pool, bool folded)
{
	*set = (struct name_set){ .pool = pool, .fold = folded };
}

void name_set_fini(struct name_set *set)
{
	free(set->slots);
}

void name_set_reset(struct name_set *set)
{
	/* Small again, or each small directory would clear a big table. */
	if (set->nr_slots)
		set->nr_slots = MIN_SLOTS;
	if (set->nr_used)
		memset(set->slots, 0, set->nr_slots * sizeof(set->slots[0]));
	set->nr_used = 0;
}

static bool same(const struct name_set *set, const struct name_set_slot *slot,
		 const uint16_t *units, uint16_t nr_units)
{
	const uint16_t *have = &set->pool->units[slot->offset];

	if (slot->nr_units != nr_units)
		return false;
	if (!set->fold)
		return !memcmp(have, units, nr_units * sizeof(*units));
	for (unsigned int i = 0; i < nr_units; i++)
		if (have[i] != units[i] && fold(have[i]) != fold(units[i]))
			return false;
	return true;
}

/* A free slot for a string that is not in the table. */
static struct name_set_slot *free_slot(struct name_set_slot *slots,
				       uint32_t nr_slots, uint32_t hash)
{
	uint32_t i = hash & (nr_slots - 1);

	while (slots[i].nr_units)
		i = (i + 1) & (nr_slots - 1);
	return &slots[i];
}

static int grow(struct name_set *set)
{
	uint32_t old = set->nr_slots;
	uint32_t nr_slots = old ? old * 2 : MIN_SLOTS;
	struct name_set_slot *slots = calloc(nr_slots, sizeof(slots[0]));

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < old; i++) {
		const struct name_set_slot *slot = &set->slots[i];

		if (slot->nr_units)
			*free_slot(slots, nr_slots, slot->hash) = *slot;
	}
	free(set->slots);
	set->slots = slots;
	set->nr_slots = nr_slots;
	return 0;
}

int name_set_put(struct name_set *set, const uint16_t *units, uint16_t nr_units,
		 struct name_set_slot **ret_slot)
{
	uint32_t hash = hash_of(set->pool->key, units, nr_units, set->fold);
	struct name_set_slot *slot;
	uint32_t offset;

	if (set->nr_used >= set->nr_slots / 2 && grow(set) < 0)
		return -ENOMEM;
	for (uint32_t i = hash & (set->nr_slots - 1);;
	     i = (i + 1) & (set->nr_slots - 1)) {
		slot = &set->slots[i];
		if (!slot->nr_units)
			break;
		if (slot->hash == hash && same(set, slot, units, nr_units)) {
			*ret_slot = slot;
			return 1;
		}
	}
	if (pool_append(set->pool, units, nr_units, &offset) < 0)
		return -ENOMEM;
	*slot = (struct name_set_slot){ .hash = hash,
					.offset = offset,
					.nr_units = nr_units };
	set->nr_used++;
	*ret_slot = slot;
	return 0;
}
