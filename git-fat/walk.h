/* SPDX-License-Identifier: BSD-2-Clause */
/* Going through all the paths of a disk, under the names they have on it. */
#ifndef XEN_DISKD_WALK_H
#define XEN_DISKD_WALK_H

#include "git-fat/git-disk.h"
#include "git-fat/layout.h"

/* A file or directory on the way; valid during the call. */
struct walk_path {
	const char *text; /* UTF-8, from the root, no slash in front */
	bool directory;
	const struct layout_entry *entry;
	uint32_t first_cluster; /* 0 for an empty file */
};

/*
 * Calls visit for each path, a directory before what is in it; otherwise in
 * the order of the clusters.  Ends when visit returns other than 0, and
 * returns that.  The reader's thread; blocks.  Errors as git_disk_read().
 */
int git_disk_walk(struct git_disk_reader *reader,
		  int (*visit)(const struct walk_path *path, void *context),
		  void *context, struct error_text *err);

#endif
