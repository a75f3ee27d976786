/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths of a tree in messages: printable, whatever bytes are in them. */
#ifndef XEN_DISKD_PATH_NAME_H
#define XEN_DISKD_PATH_NAME_H

#include <stddef.h>

/* Enough to find the thing, and room in an error_text for the cause. */
#define PATH_NAME_BYTES 240

struct path_name {
	char text[PATH_NAME_BYTES];
	size_t length;
};

/* Starts anew: the empty path. */
void path_name_init(struct path_name *path);

/*
 * Appends "/name" (no slash at the start), control characters and what is not
 * ASCII as \xNN.  What does not fit is left out, and "..." stands for it.
 */
void path_name_append(struct path_name *path, const char *name,
		      size_t name_bytes);

#endif
