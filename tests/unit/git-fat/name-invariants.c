/* SPDX-License-Identifier: BSD-2-Clause */
/* All names of a directory, folded and sorted; equal ones are neighbours. */
#include "tests/unit/git-fat/name-invariants.h"

#include <stdlib.h>
#include <string.h>

struct key {
	size_t index; /* of the file */
	size_t nr_units;
	uint16_t units[FAT_LONG_NAME_UNITS];
};

static int compare(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	if (a->nr_units != b->nr_units)
		return a->nr_units < b->nr_units ? -1 : 1;
	return memcmp(a->units, b->units, a->nr_units * sizeof(a->units[0]));
}

size_t short_name_text(const uint8_t short_name[FAT_SHORT_NAME_BYTES],
		       char text[13])
{
	size_t nr = 0;

	for (unsigned int i = 0; i < 8 && short_name[i] != ' '; i++)
		text[nr++] = (char)short_name[i];
	if (short_name[8] != ' ')
		text[nr++] = '.';
	for (unsigned int i = 8; i < 11 && short_name[i] != ' '; i++)
		text[nr++] = (char)short_name[i];
	text[nr] = '\0';
	return nr;
}

static const char *check_short(const struct fat_name *name)
{
	static const char legal[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "!#$%&'()-@^_{}~`";
	const uint8_t *s = name->short_name;
	char text[13];
	size_t nr;

	if (s[0] == ' ')
		return "short name without a base";
	for (unsigned int i = 0; i < FAT_SHORT_NAME_BYTES; i++) {
		if (s[i] != ' ' && !memchr(legal, s[i], sizeof(legal) - 1))
			return "illegal byte in a short name";
		if (s[i] != ' ' && i != 0 && i != 8 && s[i - 1] == ' ')
			return "space within a short name";
	}
	if (name->has_long)
		return NULL;
	nr = short_name_text(s, text);
	if (nr != name->nr_units)
		return "no long name, but the short one is not it";
	for (size_t i = 0; i < nr; i++)
		if (name->units[i] != (unsigned char)text[i])
			return "no long name, but the short one is not it";
	return NULL;
}

static const char *check_long(const struct fat_name *name)
{
	uint16_t last, before = 0;

	if (name->nr_units < 1 || name->nr_units > FAT_LONG_NAME_UNITS)
		return "length of a long name";
	for (size_t i = 0; i <= name->nr_units; i++) {
		uint16_t unit = i < name->nr_units ? name->units[i] : 'x';

		if (unit < 0x20 || unit == 0x7f || unit == 0xffff ||
		    (unit < 0x80 && strchr("\"*/:<>?\\|", unit)))
			return "illegal unit in a long name";
		if (((before & 0xfc00) == 0xd800) !=
		    ((unit & 0xfc00) == 0xdc00))
			return "lone surrogate";
		before = unit;
	}
	last = name->units[name->nr_units - 1];
	if (last == '.' || last == ' ')
		return "dot or space at the end of a long name";
	if (fat_name_slots(name) > 21)
		return "too many slots";
	return NULL;
}

static void fill_keys(const struct fat_name *name, size_t index,
		      struct key keys[2])
{
	char text[13];

	keys[0].index = keys[1].index = index;
	keys[0].nr_units = name->nr_units;
	for (size_t i = 0; i < name->nr_units; i++)
		keys[0].units[i] = fat_fold(name->units[i]);
	keys[1].nr_units = short_name_text(name->short_name, text);
	for (size_t i = 0; i < keys[1].nr_units; i++)
		keys[1].units[i] = fat_fold((unsigned char)text[i]);
}

static const char *check_unique(struct key *keys, size_t nr, size_t *ret_index)
{
	qsort(keys, nr, sizeof(keys[0]), compare);
	for (size_t i = 1; i < nr; i++) {
		if (keys[i - 1].index == keys[i].index ||
		    compare(&keys[i - 1], &keys[i]))
			continue;
		*ret_index = keys[i].index;
		return "two files with one name";
	}
	return NULL;
}

const char *name_invariants_broken(const struct fat_names *names,
				   size_t *ret_index)
{
	size_t nr = fat_names_count(names);
	struct key *keys = calloc(2 * nr + 1, sizeof(keys[0]));
	const char *broken = keys ? NULL : "no memory";

	for (size_t i = 0; i < nr && !broken; i++) {
		const struct fat_name *name = fat_names_get(names, i);

		*ret_index = i;
		broken = check_long(name);
		if (!broken)
			broken = check_short(name);
		if (!broken)
			fill_keys(name, i, &keys[2 * i]);
	}
	if (!broken)
		broken = check_unique(keys, 2 * nr, ret_index);
	free(keys);
	return broken;
}
