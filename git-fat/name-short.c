/* SPDX-License-Identifier: BSD-2-Clause */
/* Short names of single long names; uniqueness is the business of names.c. */
#include "git-fat/name-short.h"

#include <string.h>

/* The unit in upper case when short names have it, else 0. */
static uint16_t short_unit(uint16_t unit)
{
	switch (unit) {
	case 'a' ... 'z':
		return unit - 0x20;
	case 'A' ... 'Z':
	case '0' ... '9':
	case '!':
	case '#' ... ')':
	case '-':
	case '@':
	case '^' ... '`':
	case '{':
	case '}':
	case '~':
		return unit;
	default:
		return 0;
	}
}

/* The index of the last dot at or after first, or nr_units. */
static uint16_t last_dot(const uint16_t *units, uint16_t first,
			 uint16_t nr_units)
{
	for (unsigned int i = nr_units; i > first; i--)
		if (units[i - 1] == '.')
			return (uint16_t)(i - 1);
	return nr_units;
}

/* ---- names that fit ----------------------------------------------------- */

/* Is it one to max units that short names have? */
static bool is_part(const uint16_t *units, unsigned int nr, unsigned int max,
		    bool *upper_case)
{
	if (!nr || nr > max)
		return false;
	for (unsigned int i = 0; i < nr; i++) {
		uint16_t unit = short_unit(units[i]);

		if (!unit)
			return false;
		if (unit != units[i])
			*upper_case = false;
	}
	return true;
}

bool short_name_fits(const uint16_t *units, uint16_t nr_units,
		     uint8_t ret_short[FAT_SHORT_NAME_BYTES],
		     bool *ret_upper_case)
{
	uint16_t dot = last_dot(units, 0, nr_units);
	bool upper_case = true;

	if (!is_part(units, dot, 8, &upper_case))
		return false;
	if (dot < nr_units &&
	    !is_part(&units[dot + 1], nr_units - dot - 1u, 3, &upper_case))
		return false;
	short_name_pad(units, nr_units, ret_short);
	*ret_upper_case = upper_case;
	return true;
}

void short_name_pad(const uint16_t *units, uint16_t nr_units,
		    uint8_t ret_short[FAT_SHORT_NAME_BYTES])
{
	unsigned int at = 0;

	memset(ret_short, ' ', FAT_SHORT_NAME_BYTES);
	for (unsigned int i = 0; i < nr_units; i++) {
		if (units[i] == '.')
			at = 8;
		else
			ret_short[at++] = (uint8_t)short_unit(units[i]);
	}
}

/* ---- names that do not -------------------------------------------------- */

/* Copies what short names may have of a part, up to max units. */
static uint8_t copy_part(const uint16_t *units, unsigned int nr, uint16_t *part,
			 uint8_t max)
{
	uint8_t nr_part = 0;

	for (unsigned int i = 0; i < nr && nr_part < max; i++) {
		uint16_t unit = short_unit(units[i]);

		if (units[i] != ' ' && units[i] != '.')
			part[nr_part++] = unit ? unit : '_';
	}
	return nr_part;
}

void short_basis_of(const uint16_t *units, uint16_t nr_units,
		    struct short_basis *ret_basis)
{
	uint16_t start = 0, dot;

	while (start < nr_units && (units[start] == '.' || units[start] == ' '))
		start++;
	dot = last_dot(units, start, nr_units);
	ret_basis->nr_base =
		copy_part(&units[start], dot - start, ret_basis->base, 8);
	ret_basis->nr_extension = 0;
	if (dot < nr_units)
		ret_basis->nr_extension =
			copy_part(&units[dot + 1], nr_units - dot - 1u,
				  ret_basis->extension, 3);
	if (!ret_basis->nr_base)
		ret_basis->base[ret_basis->nr_base++] = '_';
}

uint16_t short_name_with_tail(const struct short_basis *basis, uint32_t number,
			      unsigned int nr_digits,
			      uint16_t units[SHORT_NAME_UNITS])
{
	unsigned int room = 8 - 1 - nr_digits;
	uint16_t nr = 0;

	while (nr < basis->nr_base && nr < room) {
		units[nr] = basis->base[nr];
		nr++;
	}
	units[nr++] = '~';
	for (unsigned int i = nr_digits; i > 0; i--, number /= 10)
		units[nr + i - 1] = (uint16_t)('0' + number % 10);
	nr += nr_digits;
	if (basis->nr_extension)
		units[nr++] = '.';
	for (unsigned int i = 0; i < basis->nr_extension; i++)
		units[nr++] = basis->extension[i];
	return nr;
}

uint8_t fat_short_name_checksum(const uint8_t short_name[FAT_SHORT_NAME_BYTES])
{
	uint8_t sum = 0;

	/* Rotated right by one each time. */
	for (unsigned int i = 0; i < FAT_SHORT_NAME_BYTES; i++)
		sum = (uint8_t)((sum << 7 | sum >> 1) + short_name[i]);
	return sum;
}
