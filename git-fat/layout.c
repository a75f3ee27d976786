/* SPDX-License-Identifier: BSD-2-Clause */
/* A layout that has been built: what lies where. */
#include "git-fat/layout.h"

#include <stddef.h>
#include <stdlib.h>

void layout_fini(struct layout *layout)
{
	free(layout->entries);
	free(layout->trees);
	layout->entries = NULL;
	layout->trees = NULL;
}

/*
 * The last entry of a tree that begins at or before a cluster, counted from
 * the directory's first: what the cluster belongs to, for an empty file
 * begins where the next entry does.
 */
static const struct layout_entry *entry_at(const struct layout *layout,
					   const struct layout_tree *tree,
					   uint32_t cluster)
{
	const struct layout_entry *entries = layout->entries + tree->entries;
	uint32_t low = 0, high = tree->nr_files + tree->nr_subdirectories;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (entries[middle].first_cluster <= cluster)
			low = middle;
		else
			high = middle;
	}
	return entries + low;
}

static bool is_file(const struct layout *layout, const struct layout_tree *tree,
		    const struct layout_entry *entry)
{
	return entry - layout->entries <
	       (ptrdiff_t)tree->entries + tree->nr_files;
}

void layout_find(const struct layout *layout, uint32_t cluster,
		 struct layout_extent *ret_extent)
{
	const struct layout_tree *tree = layout_root(layout);
	uint32_t base = LAYOUT_FIRST_CLUSTER, parent = 0;

	if (cluster >= layout_end(layout)) {
		*ret_extent = (struct layout_extent){
			.kind = LAYOUT_FREE,
			.first_cluster = layout_end(layout),
			.nr_clusters = UINT32_MAX - layout_end(layout),
		};
		return;
	}
	while (cluster - base >= tree->directory_clusters) {
		const struct layout_entry *entry =
			entry_at(layout, tree, cluster - base);

		if (is_file(layout, tree, entry)) {
			*ret_extent = (struct layout_extent){
				.kind = LAYOUT_FILE,
				.first_cluster = base + entry->first_cluster,
				.nr_clusters = layout_file_clusters(entry),
				.file = entry,
			};
			return;
		}
		/* FAT names the root 0 wherever a parent is meant. */
		parent = base == LAYOUT_FIRST_CLUSTER ? 0 : base;
		base += entry->first_cluster;
		tree = &layout->trees[entry->tree];
	}
	*ret_extent = (struct layout_extent){
		.kind = LAYOUT_DIRECTORY,
		.first_cluster = base,
		.nr_clusters = tree->directory_clusters,
		.tree = tree,
		.parent_cluster = parent,
	};
}
