/* SPDX-License-Identifier: BSD-2-Clause */
/* What the two halves of building a layout, trees and links, share. */
#ifndef XEN_DISKD_LAYOUT_PRIVATE_H
#define XEN_DISKD_LAYOUT_PRIVATE_H

#include "git-fat/layout.h"
#include "git-fat/raw-tree.h"

#include <stddef.h>

/* The trees from the root down to a directory, as the repository has them. */
struct tree_chain {
	git_oid *ids;
	size_t nr_ids;
};

/* A directory that is being laid out, in the one that it is in. */
struct layout_frame {
	const struct layout_frame *parent;
	git_oid id;
	uint32_t position; /* in the parent's tree object */
	unsigned int depth; /* 1 for the root */
	/*
	 * Where links in it start from; with followed links only.  Not the
	 * frames' ids: a directory may have been reached through a link.
	 */
	struct tree_chain chain;
};

/* What a link leads to. */
struct link_target {
	enum link_kind {
		LINK_TEXT, /* nothing that could be followed */
		LINK_FILE,
		LINK_DIRECTORY,
		LINK_SUBMODULE,
	} kind;
	git_oid id;
	struct tree_chain chain; /* of a directory; the caller frees ids */
};

/*
 * Follows the symbolic link whose blob is `link`, in the directory of a frame.
 * A link out of the tree, to nothing, around in a circle, or to a directory
 * that (by content) the link itself is in, is text.  *budget is what may still
 * be read, in entries of trees, and is counted down.  Errors: -E2BIG when the
 * budget is used up, -ENOENT, -EIO, -EBADMSG, -ENOMEM, with a message.
 */
int layout_follow_link(git_odb *odb, const struct layout_frame *frame,
		       const git_oid *link, uint64_t *budget,
		       struct link_target *ret_target, struct error_text *err);

/*
 * The longest tree object that can be a directory on FAT: a name of 13n UTF-16
 * units takes n + 1 of its 65,536 slots, and at most 39n + 28 bytes here.
 */
#define TREE_OBJECT_BYTES_MAX (4u << 20)

/* The chain of `length` trees and one more; the caller frees the ids. */
int tree_chain_extend(const struct tree_chain *chain, size_t length,
		      const git_oid *id, struct tree_chain *ret_chain);

#endif
