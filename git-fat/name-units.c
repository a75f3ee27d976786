/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes to UTF-16 units, and units to UTF-8 for messages. */
#include "git-fat/name-units.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/*
 * What well-formed UTF-8 may start with, and which second byte may follow:
 * the bounds that keep out overlong forms, surrogates and what is above
 * U+10FFFF.
 */
static const struct utf8_lead {
	uint8_t first, last;
	uint8_t nr_bytes;
	uint8_t second_min, second_max;
} utf8_leads[] = {
	{ 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf },
	{ 0xe1, 0xec, 3, 0x80, 0xbf }, { 0xed, 0xed, 3, 0x80, 0x9f },
	{ 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
	{ 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
};

static const struct utf8_lead *lead_of(uint8_t byte)
{
	for (size_t i = 0; i < sizeof(utf8_leads) / sizeof(utf8_leads[0]); i++)
		if (byte >= utf8_leads[i].first && byte <= utf8_leads[i].last)
			return &utf8_leads[i];
	return NULL;
}

/*
 * Decodes the character of more than one byte at p; returns its length, or 0
 * when there is none.
 */
static size_t decode(const uint8_t *p, size_t nr_bytes, uint32_t *ret_character)
{
	const struct utf8_lead *lead = lead_of(p[0]);
	uint32_t character;

	if (!lead || nr_bytes < lead->nr_bytes || p[1] < lead->second_min ||
	    p[1] > lead->second_max)
		return 0;
	character = p[0] & (0x7fu >> lead->nr_bytes);
	for (size_t i = 1; i < lead->nr_bytes; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		character = character << 6 | (p[i] & 0x3f);
	}
	*ret_character = character;
	return lead->nr_bytes;
}

static bool is_illegal(uint8_t ascii)
{
	switch (ascii) {
	case 0 ... 0x1f:
	case '"':
	case '*':
	case '/':
	case ':':
	case '<':
	case '>':
	case '?':
	case '\\':
	case '|':
	case 0x7f:
		return true;
	default:
		return false;
	}
}

/* Must the character be hidden behind its bytes? */
static bool is_ambiguous(uint32_t character)
{
	return (character >= NAME_ESCAPE && character <= NAME_ESCAPE + 0xff) ||
	       character == 0xffff;
}

/* Writes one or two units for what is at p; returns the bytes it took. */
static size_t next_units(const uint8_t *p, size_t nr_bytes, uint16_t *units,
			 unsigned int *ret_nr)
{
	uint32_t character;
	size_t length;

	*ret_nr = 1;
	if (*p < 0x80) {
		units[0] = is_illegal(*p) ? NAME_ESCAPE + *p : *p;
		return 1;
	}
	length = decode(p, nr_bytes, &character);
	/* The bytes after the first then fail to decode by themselves. */
	if (!length || is_ambiguous(character)) {
		units[0] = NAME_ESCAPE + *p;
		return 1;
	}
	if (character < 0x10000) {
		units[0] = (uint16_t)character;
		return length;
	}
	character -= 0x10000;
	units[0] = (uint16_t)(0xd800 + (character >> 10));
	units[1] = (uint16_t)(0xdc00 + (character & 0x3ff));
	*ret_nr = 2;
	return length;
}

void name_units_guard_end(uint16_t *units, size_t nr_units)
{
	if (nr_units &&
	    (units[nr_units - 1] == '.' || units[nr_units - 1] == ' '))
		units[nr_units - 1] += NAME_ESCAPE;
}

int name_units_from_bytes(const char *name, size_t name_bytes,
			  uint16_t units[FAT_LONG_NAME_UNITS])
{
	const uint8_t *p = (const uint8_t *)name;
	const uint8_t *end = p + name_bytes;
	unsigned int nr = 0;

	while (p < end) {
		uint16_t next[2];
		unsigned int nr_next;

		p += next_units(p, (size_t)(end - p), next, &nr_next);
		if (nr + nr_next > FAT_LONG_NAME_UNITS)
			return -ENAMETOOLONG;
		memcpy(&units[nr], next, nr_next * sizeof(next[0]));
		nr += nr_next;
	}
	name_units_guard_end(units, nr);
	return (int)nr;
}

static char *encode(char *text, uint32_t character)
{
	if (character < 0x80) {
		*text++ = (char)character;
		return text;
	}
	if (character < 0x800) {
		*text++ = (char)(0xc0 | character >> 6);
	} else if (character < 0x10000) {
		*text++ = (char)(0xe0 | character >> 12);
		*text++ = (char)(0x80 | (character >> 6 & 0x3f));
	} else {
		*text++ = (char)(0xf0 | character >> 18);
		*text++ = (char)(0x80 | (character >> 12 & 0x3f));
		*text++ = (char)(0x80 | (character >> 6 & 0x3f));
	}
	*text++ = (char)(0x80 | (character & 0x3f));
	return text;
}

size_t fat_name_to_utf8(const struct fat_name *name, char *text)
{
	const uint16_t *units = name->units;
	char *p = text;

	for (size_t i = 0; i < name->nr_units; i++) {
		uint32_t character = units[i];

		if (unit_is_high_surrogate(units[i]) &&
		    i + 1 < name->nr_units &&
		    unit_is_low_surrogate(units[i + 1])) {
			character = 0x10000 + ((character - 0xd800) << 10) +
				    (units[i + 1] - 0xdc00);
			i++;
		} else if ((character & 0xf800) == 0xd800) {
			character = 0xfffd;
		}
		p = encode(p, character);
	}
	*p = '\0';
	return (size_t)(p - text);
}
