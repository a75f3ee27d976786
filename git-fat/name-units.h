/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of one git name as the UTF-16 units of a long name.  The mapping
 * loses nothing: names that differ in a byte differ in a unit, and the bytes
 * can be had back.
 *
 * - Valid UTF-8 becomes the units of its characters.
 * - What FAT does not have in names (controls, `" * : < > ? | \ /`), and a dot
 *   or a space at the end, becomes U+F000 + character.
 * - A byte that is no part of valid UTF-8 becomes U+F000 + byte; so do the
 *   three bytes of a character U+F000..U+F0FF, lest it be taken for one of
 *   ours, and of U+FFFF, which on the disk is padding.
 *
 * Source: Microsoft's FAT specification 1.03, "Long directory entries"; the
 * Unicode Standard 14.0, table 3-7 (well-formed UTF-8).
 */
#ifndef XEN_DISKD_NAME_UNITS_H
#define XEN_DISKD_NAME_UNITS_H

#include "git-fat/names.h"

/* U+F000, where the characters that FAT does not have are mapped to. */
#define NAME_ESCAPE 0xf000

/*
 * Writes the units; returns how many, or -ENAMETOOLONG when there is no room
 * for them, and then the buffer holds anything.
 */
int name_units_from_bytes(const char *name, size_t name_bytes,
			  uint16_t units[FAT_LONG_NAME_UNITS]);

/* Maps a dot or a space at the end, which lookups drop. */
void name_units_guard_end(uint16_t *units, size_t nr_units);

static inline int unit_is_high_surrogate(uint16_t unit)
{
	return (unit & 0xfc00) == 0xd800;
}

static inline int unit_is_low_surrogate(uint16_t unit)
{
	return (unit & 0xfc00) == 0xdc00;
}

#endif
