/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths of a tree in messages. */
#include "git-fat/path-name.h"

#include <stdio.h>
#include <string.h>

static const char ellipsis[] = "...";

void path_name_init(struct path_name *path)
{
	path->text[0] = '\0';
	path->length = 0;
}

/* Whether there is room for bytes more, and for the ellipsis after them. */
static int has_room(const struct path_name *path, size_t bytes)
{
	return path->length + bytes + sizeof(ellipsis) <= sizeof(path->text);
}

static int append_byte(struct path_name *path, unsigned char byte)
{
	char shown[5] = { (char)byte };

	if (byte < ' ' || byte > '~' || byte == '\\')
		snprintf(shown, sizeof(shown), "\\x%02x", byte);
	if (!has_room(path, strlen(shown)))
		return 0;
	strcpy(path->text + path->length, shown);
	path->length += strlen(shown);
	return 1;
}

void path_name_append(struct path_name *path, const char *name,
		      size_t name_bytes)
{
	if (path->length && path->text[path->length - 1] == '\0')
		return;
	if (path->length && !append_byte(path, '/'))
		goto cut;
	for (size_t i = 0; i < name_bytes; i++) {
		if (!append_byte(path, (unsigned char)name[i]))
			goto cut;
	}
	return;
cut:
	/* The NUL is counted: nothing is appended after it. */
	memcpy(path->text + path->length, ellipsis, sizeof(ellipsis));
	path->length += sizeof(ellipsis);
}
