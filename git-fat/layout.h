/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where everything lies on the disk.  A pure function of a git tree, out of
 * tree objects and the sizes of blobs alone: no blob is read.
 *
 * Each directory is followed by its files and those by its subdirectories,
 * each with all that is beneath it.  So a tree object takes the same number
 * of clusters wherever it appears, is worked out once however often it does,
 * and what lies in a cluster is found by going down from the root.
 *
 * Clusters are numbered as FAT numbers them: the first is 2, the root's.
 */
#ifndef XEN_DISKD_LAYOUT_H
#define XEN_DISKD_LAYOUT_H

#include "common/error-text.h"

#include <git2.h>
#include <stdbool.h>
#include <stdint.h>

#define LAYOUT_CLUSTER_BYTES 4096u
#define LAYOUT_FIRST_CLUSTER 2u
#define LAYOUT_SLOT_BYTES 32u
/* Slots of a directory besides those of what is in it. */
#define LAYOUT_ROOT_SLOTS 1u /* the volume label */
#define LAYOUT_SUBDIRECTORY_SLOTS 2u /* "." and ".." */

/*
 * FAT's own bounds: 0x0FFFFFF6 is the last number of a cluster, 65,536 slots
 * the longest directory, 4 GiB - 1 the longest file.
 */
#define LAYOUT_CLUSTERS_MAX 0x0FFFFFF5u
#define LAYOUT_DIRECTORY_SLOTS_MAX 65536u
#define LAYOUT_FILE_BYTES_MAX UINT32_MAX

/* Ours: files and directories, each counted wherever it appears. */
#define LAYOUT_PATHS_MAX (1u << 24)
/* ... those that have to be remembered: names of different trees. */
#define LAYOUT_ENTRIES_MAX (1u << 22)
#define LAYOUT_DEPTH_MAX 256u

/* A file or subdirectory. */
struct layout_entry {
	unsigned char id[GIT_OID_RAWSZ]; /* of the blob or tree */
	union {
		uint32_t size_bytes; /* of a file */
		uint32_t tree; /* of a subdirectory: index into trees */
	};
	/* Counted from the directory's own first cluster. */
	uint32_t first_cluster;
	uint32_t position; /* in the tree object, from 0 */
};

/* A tree object, wherever it appears. */
struct layout_tree {
	unsigned char id[GIT_OID_RAWSZ];
	bool empty; /* a submodule's directory: there is no object */
	bool has_links; /* with followed links in it: not memorable */
	uint16_t height; /* 1 for a directory without subdirectories */
	/* Index into entries: files first, then subdirectories. */
	uint32_t entries, nr_files, nr_subdirectories;
	uint32_t nr_slots; /* of the directory itself, "." and ".." too */
	uint32_t directory_clusters;
	uint32_t nr_clusters; /* with all that is beneath it */
	uint32_t nr_paths; /* likewise, without itself */
};

struct layout {
	struct layout_entry *entries;
	struct layout_tree *trees;
	uint32_t nr_entries, nr_trees, root;
};

/* A run of clusters that belong together. */
struct layout_extent {
	enum layout_kind {
		LAYOUT_FREE, /* past the last that is used */
		LAYOUT_DIRECTORY,
		LAYOUT_FILE,
	} kind;
	uint32_t first_cluster, nr_clusters;
	const struct layout_tree *tree; /* of a directory */
	/* A directory's: of the one it is in, 0 for the root itself. */
	uint32_t parent_cluster;
	const struct layout_entry *file; /* of a file */
};

/*
 * Lays out the tree.  follow_links: a symbolic link to what is inside the tree
 * is what it points to; any other, and every one without follow_links, is a
 * file that holds its target.  Main thread; blocks.  The caller owns *ret,
 * also after a failure (layout_fini()).  Errors, with a message that names the
 * path: -EBADMSG for a malformed tree, -ENOENT for a missing object, -E2BIG,
 * -EFBIG and -ENAMETOOLONG for what FAT or our own bounds do not take, -EIO,
 * -ENOMEM.
 */
int layout_build(git_odb *odb, const git_oid *root, bool follow_links,
		 struct layout *ret_layout, struct error_text *err);
void layout_fini(struct layout *layout);

static inline const struct layout_tree *layout_root(const struct layout *layout)
{
	return &layout->trees[layout->root];
}

/* The number of the first cluster that nothing lies in. */
static inline uint32_t layout_end(const struct layout *layout)
{
	return LAYOUT_FIRST_CLUSTER + layout_root(layout)->nr_clusters;
}

static inline uint32_t layout_file_clusters(const struct layout_entry *file)
{
	return file->size_bytes / LAYOUT_CLUSTER_BYTES +
	       (file->size_bytes % LAYOUT_CLUSTER_BYTES != 0);
}

/* What lies in a cluster, which is >= 2.  Any thread; goes down the tree. */
void layout_find(const struct layout *layout, uint32_t cluster,
		 struct layout_extent *ret_extent);

#endif
