/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which name each file of a directory gets: the allotment, over the names'
 * mapping (name-units), the short names' forms (name-short) and the sets that
 * find collisions (name-set).
 *
 * Every search for a free name is bounded by how many names there are that
 * could be in its way, and what was found taken once is not tried again, so
 * that nobody can make a directory slow by its names.
 */
#include "git-fat/names.h"

#include "git-fat/name-set.h"
#include "git-fat/name-short.h"
#include "git-fat/name-units.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES 20
#define ID_DIGITS (2 * ID_BYTES)
/* `~`, the id, `-`, ten digits, NUL */
#define MARK_BYTES (1 + ID_DIGITS + 1 + 10 + 1)

struct entry {
	struct fat_name name;
	uint32_t offset; /* of the long name in the pool */
	bool collides; /* with an earlier one */
	unsigned char id[ID_BYTES];
};

struct fat_names {
	struct entry *entries;
	uint32_t nr_entries, room;
	bool allotted;

	struct name_pool pool;
	/* Long and short names that nobody else may have now. */
	struct name_set taken;
	/*
	 * The very names of those that collide with an earlier one, to tell
	 * the same name added twice from one that differs in case.
	 */
	struct name_set variants;
	/* Short names without their number: all below value are taken. */
	struct name_set tails;
};

/* ---- life --------------------------------------------------------------- */

int fat_names_new(struct fat_names **ret_names)
{
	struct fat_names *names = calloc(1, sizeof(*names));
	int rc;

	if (!names)
		return -ENOMEM;
	rc = name_pool_init(&names->pool);
	if (rc < 0) {
		free(names);
		return rc;
	}
	name_set_init(&names->taken, &names->pool, true);
	name_set_init(&names->variants, &names->pool, false);
	name_set_init(&names->tails, &names->pool, false);
	*ret_names = names;
	return 0;
}

void fat_names_free(struct fat_names *names)
{
	if (!names)
		return;
	name_set_fini(&names->taken);
	name_set_fini(&names->variants);
	name_set_fini(&names->tails);
	name_pool_fini(&names->pool);
	free(names->entries);
	free(names);
}

void fat_names_reset(struct fat_names *names)
{
	name_set_reset(&names->taken);
	name_set_reset(&names->variants);
	name_set_reset(&names->tails);
	name_pool_reset(&names->pool);
	names->nr_entries = 0;
	names->allotted = false;
}

/* ---- adding ------------------------------------------------------------- */

static int reserve_entry(struct fat_names *names)
{
	uint32_t room = names->room ? names->room * 2 : 64;
	struct entry *grown;

	if (names->nr_entries < names->room)
		return 0;
	grown = realloc(names->entries, room * sizeof(grown[0]));
	if (!grown)
		return -ENOMEM;
	names->entries = grown;
	names->room = room;
	return 0;
}

/*
 * Enters a long name.  0: it is free.  1: it collides; -EEXIST: with its own
 * like.  *ret_offset is where it lies in the pool.
 */
static int enter_long(struct fat_names *names, const uint16_t *units,
		      uint16_t nr_units, uint32_t *ret_offset)
{
	struct name_set_slot *slot;
	int rc = name_set_put(&names->taken, units, nr_units, &slot);
	bool collides = rc == 1;

	if (collides) {
		if (!memcmp(&names->pool.units[slot->offset], units,
			    nr_units * sizeof(*units)))
			return -EEXIST;
		rc = name_set_put(&names->variants, units, nr_units, &slot);
		if (rc == 1)
			return -EEXIST;
	}
	if (rc < 0)
		return rc;
	*ret_offset = slot->offset;
	return collides;
}

int fat_names_add(struct fat_names *names, const char *name, size_t name_bytes,
		  const unsigned char id[20])
{
	uint16_t units[FAT_LONG_NAME_UNITS];
	struct entry *entry;
	uint32_t offset;
	int nr_units, rc;

	assert(!names->allotted);
	if (!name_bytes)
		return -EINVAL;
	if (names->nr_entries >= FAT_NAMES_MAX)
		return -ENOSPC;
	nr_units = name_units_from_bytes(name, name_bytes, units);
	if (nr_units < 0)
		return nr_units;
	rc = reserve_entry(names);
	if (rc < 0)
		return rc;
	rc = enter_long(names, units, (uint16_t)nr_units, &offset);
	if (rc < 0)
		return rc;
	entry = &names->entries[names->nr_entries++];
	*entry = (struct entry){
		.name.nr_units = (uint16_t)nr_units,
		.offset = offset,
		.collides = rc == 1,
	};
	memcpy(entry->id, id, sizeof(entry->id));
	return 0;
}

/* ---- long names that collide -------------------------------------------- */

/* Where to cut before limit without parting a surrogate pair. */
static uint16_t cut(const uint16_t *units, uint16_t nr_units, uint16_t limit)
{
	if (nr_units <= limit)
		return nr_units;
	if (limit && unit_is_high_surrogate(units[limit - 1]))
		return limit - 1;
	return limit;
}

/* Where the extension starts, with its dot; a dot in front starts none. */
static uint16_t extension_of(const uint16_t *units, uint16_t nr_units)
{
	for (unsigned int i = nr_units; i > 1; i--)
		if (units[i - 1] == '.')
			return (uint16_t)(i - 1);
	return nr_units;
}

/*
 * Puts the mark (ASCII) between base and extension; what has no room is cut,
 * the extension last.  Returns the length.
 */
static uint16_t insert_mark(const uint16_t *units, uint16_t nr_units,
			    const char *mark, uint16_t *out)
{
	uint16_t nr_mark = (uint16_t)strlen(mark);
	uint16_t room = FAT_LONG_NAME_UNITS - nr_mark;
	uint16_t dot = extension_of(units, nr_units);
	uint16_t nr_extension = cut(&units[dot], nr_units - dot, room);
	uint16_t nr_base = cut(units, dot, room - nr_extension);
	uint16_t nr = nr_base;

	memcpy(out, units, nr_base * sizeof(*out));
	for (unsigned int i = 0; i < nr_mark; i++)
		out[nr++] = (unsigned char)mark[i];
	memcpy(&out[nr], &units[dot], nr_extension * sizeof(*out));
	nr += nr_extension;
	name_units_guard_end(out, nr);
	return nr;
}

/*
 * The mark of a try: `~` and more and more digits of the id; when even all of
 * them do not help, a number that no other entry uses.
 */
static void make_mark(const struct fat_names *names, uint32_t index,
		      unsigned int try, char mark[MARK_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *id = names->entries[index].id;
	unsigned int nr_digits = 4 * try;
	char *p = mark;

	if (nr_digits > ID_DIGITS)
		nr_digits = ID_DIGITS;
	*p++ = '~';
	for (unsigned int i = 0; i < nr_digits; i++)
		*p++ = digits[id[i / 2] >> (i % 2 ? 0 : 4) & 0xf];
	*p = '\0';
	if (try > ID_DIGITS / 4)
		snprintf(p, 12, "-%" PRIu32,
			 index + (try - ID_DIGITS / 4 - 1) * names->nr_entries);
}

/* Renames an entry until nobody has the name. */
static int rename_long(struct fat_names *names, uint32_t index)
{
	struct entry *entry = &names->entries[index];
	uint16_t own[FAT_LONG_NAME_UNITS], units[FAT_LONG_NAME_UNITS];
	uint16_t nr_own = entry->name.nr_units;
	struct name_set_slot *slot;
	char mark[MARK_BYTES];
	uint16_t nr_units;
	int rc;

	memcpy(own, &names->pool.units[entry->offset], nr_own * sizeof(*own));
	for (unsigned int try = 1;; try++) {
		make_mark(names, index, try, mark);
		nr_units = insert_mark(own, nr_own, mark, units);
		rc = name_set_put(&names->taken, units, nr_units, &slot);
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
	}
	entry->offset = slot->offset;
	entry->name.nr_units = nr_units;
	entry->name.renamed = true;
	return 0;
}

/* ---- short names -------------------------------------------------------- */

/*
 * Gives the entry the lowest free number of nr_digits.  0: given.  1: there is
 * none.
 */
static int try_tails(struct fat_names *names, struct entry *entry,
		     const struct short_basis *basis, unsigned int nr_digits,
		     uint32_t low)
{
	uint16_t units[SHORT_NAME_UNITS];
	struct name_set_slot *tail, *slot;
	/* As many zeroes: it stands for all of its numbers. */
	uint16_t nr_units = short_name_with_tail(basis, 0, nr_digits, units);
	int rc = name_set_put(&names->tails, units, nr_units, &tail);

	if (rc < 0)
		return rc;
	if (rc == 0)
		tail->value = low;
	while (tail->value < low * 10) {
		nr_units = short_name_with_tail(basis, tail->value, nr_digits,
						units);
		rc = name_set_put(&names->taken, units, nr_units, &slot);
		if (rc < 0)
			return rc;
		tail->value++;
		if (rc == 0) {
			short_name_pad(units, nr_units, entry->name.short_name);
			return 0;
		}
	}
	return 1;
}

static int allot_short(struct fat_names *names, struct entry *entry)
{
	struct short_basis basis;
	uint32_t low = 1;
	int rc = 1;

	short_basis_of(entry->name.units, entry->name.nr_units, &basis);
	for (unsigned int nr_digits = 1; rc == 1; nr_digits++, low *= 10) {
		/* There are fewer names than six digits have numbers. */
		assert(nr_digits <= SHORT_TAIL_DIGITS_MAX);
		rc = try_tails(names, entry, &basis, nr_digits, low);
	}
	return rc;
}

/* ---- all of them -------------------------------------------------------- */

/* Short names that are the long name in upper case are free: it was unique. */
static void settle(struct fat_names *names, struct entry *entry)
{
	struct fat_name *name = &entry->name;
	bool upper_case = false;

	name->units = &names->pool.units[entry->offset];
	if (!short_name_fits(name->units, name->nr_units, name->short_name,
			     &upper_case))
		name->short_name[0] = 0;
	name->has_long = !upper_case;
}

int fat_names_allot(struct fat_names *names)
{
	int rc = 0;

	assert(!names->allotted);
	for (uint32_t i = 0; i < names->nr_entries && rc == 0; i++)
		if (names->entries[i].collides)
			rc = rename_long(names, i);
	for (uint32_t i = 0; i < names->nr_entries && rc == 0; i++) {
		struct entry *entry = &names->entries[i];

		/* Again each time: the pool grows, and moves. */
		settle(names, entry);
		if (!entry->name.short_name[0])
			rc = allot_short(names, entry);
	}
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < names->nr_entries; i++)
		names->entries[i].name.units =
			&names->pool.units[names->entries[i].offset];
	names->allotted = true;
	return 0;
}

size_t fat_names_count(const struct fat_names *names)
{
	return names->nr_entries;
}

const struct fat_name *fat_names_get(const struct fat_names *names, size_t i)
{
	assert(names->allotted && i < names->nr_entries);
	return &names->entries[i].name;
}

unsigned int fat_name_slots(const struct fat_name *name)
{
	if (!name->has_long)
		return 1;
	return 1 + (name->nr_units + FAT_LONG_SLOT_UNITS - 1u) /
			   FAT_LONG_SLOT_UNITS;
}
