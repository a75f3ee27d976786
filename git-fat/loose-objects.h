/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading loose objects, and finding the places that objects are in.
 *
 * In libgit2's stead: its version 1.5 reads on for ever where a loose object
 * is cut short, hands out memory that nobody has filled where one holds less
 * than it says, and waits for whoever writes to a FIFO in an object's place.
 *
 * Source: gitformat-loose(5), gitrepository-layout(5).
 */
#ifndef XEN_DISKD_LOOSE_OBJECTS_H
#define XEN_DISKD_LOOSE_OBJECTS_H

#include <git2.h>
#include <stddef.h>

/*
 * As git_odb_open(): the packs and loose objects of a directory `objects` and
 * of its alternates.  Returns 0 or an error of libgit2's, with its message.
 */
int loose_objects_open_odb(const char *objects_path, git_odb **ret_odb);

/*
 * The directories that such a database reads from, by number, from 0; NULL when
 * there are no more.  The database's own.
 */
const char *loose_objects_place(git_odb *odb, size_t index);

#endif
