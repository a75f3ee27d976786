/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading raw git tree objects, which are hostile until they are checked.
 * More strict than git itself, which reads on past much that `git fsck`
 * condemns: what is not in order is refused.
 *
 * Source: git's tree object format, `<mode> SP <name> NUL <20-byte id>`, with
 * the entries sorted by name, a directory's as if it ended in a slash.
 */
#ifndef XEN_DISKD_RAW_TREE_H
#define XEN_DISKD_RAW_TREE_H

#include <stddef.h>

#define RAW_TREE_ID_BYTES 20

enum raw_tree_kind {
	RAW_TREE_FILE, /* 100644, 100755, and the historical 100664 */
	RAW_TREE_SYMLINK, /* 120000 */
	RAW_TREE_DIRECTORY, /* 40000 */
	RAW_TREE_GITLINK, /* 160000: a commit of some other repository */
};

/* One entry; the pointers are into the object. */
struct raw_tree_entry {
	enum raw_tree_kind kind;
	const char *name; /* not terminated */
	size_t name_bytes;
	const unsigned char *id; /* RAW_TREE_ID_BYTES */
};

/* A place in an object; the object must outlive it. */
struct raw_tree {
	const unsigned char *next, *end;
	struct raw_tree_entry last; /* what order is checked against */
};

void raw_tree_init(struct raw_tree *tree, const void *data, size_t bytes);

/*
 * Reads one entry.  1: read.  0: the end.  -EBADMSG: the object is malformed,
 * and *ret_reason says how, as a phrase to follow the tree's name ("an entry
 * named '..'"); an entry with a bad name is still in *ret_entry, for the
 * message.  Refused are modes that git does not write, names that are empty,
 * `.`, `..`, `.git` (whatever the case) or hold a slash, entries out of order,
 * the same name twice in a row, and truncation.
 */
int raw_tree_next(struct raw_tree *tree, struct raw_tree_entry *ret_entry,
		  const char **ret_reason);

#endif
