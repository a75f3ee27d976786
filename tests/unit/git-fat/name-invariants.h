/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What holds for the names of every directory, whatever was added: for unit
 * tests and for the fuzzer.
 */
#ifndef XEN_DISKD_NAME_INVARIANTS_H
#define XEN_DISKD_NAME_INVARIANTS_H

#include "git-fat/names.h"

/*
 * NULL, or what does not hold: names are legal, and no two are equal under
 * fat_fold() but a file's own.  *ret_index is the file.
 */
const char *name_invariants_broken(const struct fat_names *names,
				   size_t *ret_index);

/* "BASE.EXT", or "BASE"; returns the length. */
size_t short_name_text(const uint8_t short_name[FAT_SHORT_NAME_BYTES],
		       char text[13]);

#endif
