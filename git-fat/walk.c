/* SPDX-License-Identifier: BSD-2-Clause */
/* Going through all the paths of a disk. */
#include "git-fat/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 255 units of three bytes, a slash, a NUL. */
#define STEP_BYTES (FAT_LONG_NAME_UNITS * 3 + 2)

struct walk {
	struct git_disk_reader *reader;
	const struct layout *layout;
	int (*visit)(const struct walk_path *path, void *context);
	void *context;
	struct error_text *err;
	char *text;
	size_t room;
};

/* The names of a directory as text, one after the other with their NULs. */
struct name_list {
	char *text;
	size_t *offsets;
};

static void cleanup_name_list(struct name_list *list)
{
	free(list->text);
	free(list->offsets);
}

static int list_names(const struct fat_names *names, struct name_list *list)
{
	size_t nr_names = fat_names_count(names), used = 0;

	list->text = malloc(nr_names * STEP_BYTES + 1);
	list->offsets = reallocarray(NULL, nr_names + 1, sizeof(size_t));
	if (!list->text || !list->offsets)
		return -ENOMEM;
	for (size_t i = 0; i < nr_names; i++) {
		list->offsets[i] = used;
		fat_name_to_utf8(fat_names_get(names, i), list->text + used);
		used += strlen(list->text + used) + 1;
	}
	return 0;
}

/* Makes room for one more name behind a path; the text may move. */
static int make_room(struct walk *walk, size_t length)
{
	char *moved;

	if (length + STEP_BYTES <= walk->room)
		return 0;
	moved = realloc(walk->text, walk->room * 2 + STEP_BYTES);
	if (!moved)
		return -ENOMEM;
	walk->text = moved;
	walk->room = walk->room * 2 + STEP_BYTES;
	return 0;
}

static int walk_tree(struct walk *walk, const struct layout_tree *tree,
		     uint32_t base, size_t length);

static int walk_entry(struct walk *walk, const struct layout_tree *tree,
		      uint32_t base, uint32_t index, const char *name,
		      size_t length)
{
	const struct layout_entry *entry =
		&walk->layout->entries[tree->entries + index];
	struct walk_path path = {
		.directory = index >= tree->nr_files,
		.entry = entry,
	};
	int rc = make_room(walk, length);

	if (rc < 0)
		return error_set(walk->err, rc, "walk: no memory");
	if (length)
		walk->text[length++] = '/';
	strcpy(walk->text + length, name);
	path.text = walk->text;
	if (path.directory || entry->size_bytes)
		path.first_cluster = base + entry->first_cluster;
	rc = walk->visit(&path, walk->context);
	if (rc || !path.directory)
		return rc;
	return walk_tree(walk, &walk->layout->trees[entry->tree],
			 path.first_cluster, length + strlen(name));
}

static int walk_tree(struct walk *walk, const struct layout_tree *tree,
		     uint32_t base, size_t length)
{
	__attribute__((cleanup(
		cleanup_name_list))) struct name_list list = { NULL, NULL };
	const struct fat_names *names;
	int rc = git_disk_read_names(walk->reader, tree, &names, walk->err);

	if (rc < 0)
		return rc;
	if (list_names(names, &list) < 0)
		return error_set(walk->err, -ENOMEM, "walk: no memory");
	for (uint32_t i = 0;
	     !rc && i < tree->nr_files + tree->nr_subdirectories; i++) {
		uint32_t position =
			walk->layout->entries[tree->entries + i].position;

		rc = walk_entry(walk, tree, base, i,
				list.text + list.offsets[position], length);
	}
	return rc;
}

int git_disk_walk(struct git_disk_reader *reader,
		  int (*visit)(const struct walk_path *path, void *context),
		  void *context, struct error_text *err)
{
	const struct layout *layout =
		git_disk_layout(git_disk_reader_disk(reader));
	struct walk walk = {
		.reader = reader,
		.layout = layout,
		.visit = visit,
		.context = context,
		.err = err,
	};
	int rc = walk_tree(&walk, layout_root(layout), LAYOUT_FIRST_CLUSTER, 0);

	free(walk.text);
	return rc;
}
