/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text from elsewhere, made safe to show on a terminal.  Names of domains,
 * targets and messages reach us from guests, files and xenstore: none of them
 * may move the cursor, set a title or forge a line.
 */
#ifndef XEN_DISKD_PRINTABLE_H
#define XEN_DISKD_PRINTABLE_H

#include <stddef.h>

/*
 * A copy of text in which control characters (C0, DEL, C1), the characters
 * that change writing direction, line separators and malformed UTF-8 are
 * written as \xNN per byte, and a backslash as two.  Other characters outside
 * ASCII are kept only when the locale, set by setlocale(), is a UTF-8 one.
 * The caller frees it; NULL when memory is short.
 */
char *printable_new(const char *text);

/* The columns a printable text takes on the terminal. */
size_t printable_columns(const char *text);

#endif
