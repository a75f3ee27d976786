/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names of one FAT directory: long names (VFAT, UTF-16) and the short
 * names (8.3) beside them, out of the names of a git tree, which are bytes.
 *
 * A pure function of the names in tree order and, where names collide, of the
 * object ids; nothing else (locale, library version) may move it, for the
 * layout of the disk follows from it.  The rules are policy version 1,
 * written down in docs/git-fat.md.
 *
 * Source: Microsoft's FAT specification 1.03, "Long and short file names";
 * Linux fs/fat/namei_vfat.c for what a lookup takes for equal.
 */
#ifndef XEN_DISKD_NAMES_H
#define XEN_DISKD_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAT_LONG_NAME_UNITS 255
#define FAT_SHORT_NAME_BYTES 11
#define FAT_LONG_SLOT_UNITS 13
/* A directory has no more slots, and each name takes at least one. */
#define FAT_NAMES_MAX 65536

struct fat_name {
	/* Host byte order, not terminated; in the directory's own memory. */
	const uint16_t *units;
	uint16_t nr_units;
	/* The units are not the git name's own: it collided with another. */
	bool renamed;
	/* False for a pure upper-case 8.3 name: its short name says it all. */
	bool has_long;
	/* Padded with spaces, no dot; as it is on the disk. */
	uint8_t short_name[FAT_SHORT_NAME_BYTES];
};

/* The names of a directory.  Reused from one directory to the next. */
struct fat_names;

/* -ENOMEM, or what getrandom(2) fails with. */
int fat_names_new(struct fat_names **ret_names);
/* NULL is a no-op. */
void fat_names_free(struct fat_names *names);

/* Forgets all names and keeps the memory. */
void fat_names_reset(struct fat_names *names);

/*
 * Adds the next name, in tree order.  Both pointers may go away after.
 * Errors: -ENAMETOOLONG above 255 UTF-16 units, -EEXIST when the very same
 * bytes were added before, -ENOSPC above FAT_NAMES_MAX names, -EINVAL
 * for an empty one, -ENOMEM.  A name that is refused is as if never added.
 * Not after fat_names_allot(), until reset.
 */
int fat_names_add(struct fat_names *names, const char *name, size_t name_bytes,
		  const unsigned char id[20]);

/*
 * Allots every name that was added.  After it, no two names of the directory,
 * long or short, are equal under fat_fold(), but a long name and the short
 * name of the same file.  Once; after -ENOMEM only reset and free are left.
 */
int fat_names_allot(struct fat_names *names);

size_t fat_names_count(const struct fat_names *names);

/* The i-th that was added; valid after fat_names_allot(), until reset. */
const struct fat_name *fat_names_get(const struct fat_names *names, size_t i);

/* 32-byte directory slots: 1, and the long name's. */
unsigned int fat_name_slots(const struct fat_name *name);

/* The checksum that ties long slots to their short name. */
uint8_t fat_short_name_checksum(const uint8_t short_name[FAT_SHORT_NAME_BYTES]);

/*
 * Writes the long name as UTF-8 (mapped characters as the U+F0xx that they
 * are on the disk) and a NUL; a lone surrogate becomes U+FFFD.  text needs
 * 3 * 255 + 1 bytes.  Returns the length.
 */
size_t fat_name_to_utf8(const struct fat_name *name, char *text);

/*
 * Folds the case of one UTF-16 unit: two units that any of Linux, Windows or
 * UEFI takes for equal have the same fold.  Some that they do not, too.
 */
uint16_t fat_fold(uint16_t unit);

#endif
