/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting together the clusters of one directory, out of its tree object and
 * its place in the layout.
 *
 * Source: Microsoft's FAT specification 1.03, "Directory structure".
 */
#ifndef XEN_DISKD_DIRECTORY_H
#define XEN_DISKD_DIRECTORY_H

#include "git-fat/layout.h"
#include "git-fat/names.h"
#include "git-fat/volume.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A date and time as FAT has them, host byte order. */
struct fat_time {
	uint16_t date, time;
	uint8_t hundredths; /* 0 or 100: FAT's time is even seconds */
};

/* From seconds since 1970, UTC; before 1980 and after 2107 the nearest. */
struct fat_time fat_time_from_unix(int64_t time_s);

struct directory_source {
	const struct layout *layout;
	struct layout_extent extent; /* kind LAYOUT_DIRECTORY */
	/* Of the directory, allotted. */
	const struct fat_names *names;
	/* Of the root directory. */
	const uint8_t *label;
	struct fat_time time;
};

/*
 * Adds the names of a tree object and allots them, in place of what was there.
 * A thread that has names of its own.  -EIO when they are not the names that
 * the tree was laid out with, -ENOMEM.
 */
int directory_read_names(const struct layout_tree *tree, bool root,
			 const void *tree_object, size_t nr_bytes,
			 struct fat_names *names);

/*
 * Makes the directory's clusters, nr_clusters * LAYOUT_CLUSTER_BYTES bytes,
 * which the caller frees.  -ENOMEM.
 */
int directory_build(const struct directory_source *source, uint8_t **ret_bytes);

#endif
