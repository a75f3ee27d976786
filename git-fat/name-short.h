/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Short names (8.3) of long names, each by itself: what fits as it is, and
 * the basis that a numeric tail makes unique.  Short names here are upper
 * case, out of `A-Z 0-9 ! # $ % & ' ( ) - @ ^ _ { } ~` and the backtick:
 * nothing that a code page would have a say in.
 *
 * Source: Microsoft's FAT specification 1.03, "Generating 8.3 names from long
 * names" (the basis-name and numeric-tail generation algorithms).
 */
#ifndef XEN_DISKD_NAME_SHORT_H
#define XEN_DISKD_NAME_SHORT_H

#include "git-fat/names.h"

/* "BASE.EXT" */
#define SHORT_NAME_UNITS 12
/* `~` and six digits leave one character of the base. */
#define SHORT_TAIL_DIGITS_MAX 6

struct short_basis {
	uint16_t base[8], extension[3];
	uint8_t nr_base, nr_extension;
};

/*
 * Whether the name is a short one but for its case; then its short name, and
 * whether it is pure upper case.
 */
bool short_name_fits(const uint16_t *units, uint16_t nr_units,
		     uint8_t ret_short[FAT_SHORT_NAME_BYTES],
		     bool *ret_upper_case);

void short_basis_of(const uint16_t *units, uint16_t nr_units,
		    struct short_basis *ret_basis);

/*
 * Writes "BASE~NUMBER.EXT", the base cut to leave room for nr_digits (1 to
 * SHORT_TAIL_DIGITS_MAX); returns its length.
 */
uint16_t short_name_with_tail(const struct short_basis *basis, uint32_t number,
			      unsigned int nr_digits,
			      uint16_t units[SHORT_NAME_UNITS]);

/* "BASE.EXT" as it is on the disk. */
void short_name_pad(const uint16_t *units, uint16_t nr_units,
		    uint8_t ret_short[FAT_SHORT_NAME_BYTES]);

#endif
