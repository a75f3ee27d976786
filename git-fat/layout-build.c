/* SPDX-License-Identifier: BSD-2-Clause */
/* Building a layout: one walk over the trees, each object but once. */
#include "common/cleanup.h"
#include "git-fat/id-hash.h"
#include "git-fat/layout-private.h"
#include "git-fat/names.h"
#include "git-fat/path-name.h"
#include "git-fat/repository.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The tree that stands for a submodule's directory. */
#define EMPTY_TREE 0u
/* Entries that following links may look at, all in all. */
#define LINK_BUDGET (1u << 24)

struct subdirectory {
	git_oid id;
	uint32_t position;
	bool submodule;
	/* A followed link's; the subdirectory owns it until it is built. */
	struct tree_chain chain;
};

struct builder {
	git_odb *odb;
	struct layout *layout;
	struct fat_names *names;
	struct error_text *err;
	bool follow_links;
	uint64_t link_budget;
	uint32_t room_entries, room_trees;
	/* Trees by id: index + 1, 0 for none.  A power of two in size. */
	uint32_t *memo;
	uint32_t memo_size, memo_used;
	struct id_hash id_hash;
	/* The subdirectories of the tree that is being read. */
	struct subdirectory *subdirectories;
	uint32_t nr_subdirectories, room_subdirectories;
};

/* ---- messages ----------------------------------------------------------- */

static void append_name_at(struct builder *b, struct path_name *path,
			   const git_oid *tree, uint32_t position)
{
	struct error_text ignored;
	struct raw_tree_entry entry;
	git_odb_object *object;
	struct raw_tree raw;
	const char *reason;
	uint32_t i = 0;

	if (repository_read(b->odb, tree, GIT_OBJECT_TREE,
			    TREE_OBJECT_BYTES_MAX, &object, &ignored) < 0)
		return;
	raw_tree_init(&raw, git_odb_object_data(object),
		      git_odb_object_size(object));
	while (raw_tree_next(&raw, &entry, &reason) > 0) {
		if (i++ == position)
			path_name_append(path, entry.name, entry.name_bytes);
	}
	git_odb_object_free(object);
}

static void append_frames(struct builder *b, struct path_name *path,
			  const struct layout_frame *frame)
{
	if (!frame->parent)
		return;
	append_frames(b, path, frame->parent);
	append_name_at(b, path, &frame->parent->id, frame->position);
}

/* Sets the message "'PATH': …" about a frame, or about an entry of it. */
static int __attribute__((format(printf, 5, 6)))
fail_at(struct builder *b, const struct layout_frame *frame,
	const struct raw_tree_entry *entry, int code, const char *fmt, ...)
{
	char cause[ERROR_TEXT_BYTES];
	struct path_name path;
	va_list args;

	va_start(args, fmt);
	vsnprintf(cause, sizeof(cause), fmt, args);
	va_end(args);
	path_name_init(&path);
	append_frames(b, &path, frame);
	if (entry)
		path_name_append(&path, entry->name, entry->name_bytes);
	return error_set(b->err, code, "'%s': %.240s",
			 path.text[0] ? path.text : "/", cause);
}

static int no_memory(struct builder *b)
{
	return error_set(b->err, -ENOMEM, "layout: no memory");
}

/* ---- tables ------------------------------------------------------------- */

/* Makes room for one more element; *room is what the array has. */
static int reserve(void **array, uint32_t used, uint32_t *room, size_t size)
{
	uint32_t more = *room ? *room + *room / 2 : 64;
	void *moved;

	if (used < *room)
		return 0;
	moved = reallocarray(*array, more, size);
	if (!moved)
		return -ENOMEM;
	*array = moved;
	*room = more;
	return 0;
}

static struct layout_entry *add_entry(struct builder *b)
{
	struct layout *layout = b->layout;
	void *array = layout->entries;
	struct layout_entry *entry;

	if (reserve(&array, layout->nr_entries, &b->room_entries,
		    sizeof(*entry)) < 0)
		return NULL;
	layout->entries = array;
	entry = &layout->entries[layout->nr_entries++];
	*entry = (struct layout_entry){ .size_bytes = 0 };
	return entry;
}

static struct subdirectory *add_subdirectory(struct builder *b)
{
	void *array = b->subdirectories;
	struct subdirectory *subdirectory;

	if (reserve(&array, b->nr_subdirectories, &b->room_subdirectories,
		    sizeof(*subdirectory)) < 0)
		return NULL;
	b->subdirectories = array;
	subdirectory = &b->subdirectories[b->nr_subdirectories++];
	*subdirectory = (struct subdirectory){ .submodule = false };
	return subdirectory;
}

/* ---- the memo: a tree object is worked out once -------------------------- */

/* Where a tree is, or would be. */
static uint32_t *memo_slot(struct builder *b, const unsigned char *id)
{
	for (uint32_t i = id_hash_of(&b->id_hash, id, 0);; i++) {
		uint32_t *slot = &b->memo[i & (b->memo_size - 1)];

		if (!*slot || memcmp(b->layout->trees[*slot - 1].id, id,
				     GIT_OID_RAWSZ) == 0)
			return slot;
	}
}

static int memo_grow(struct builder *b)
{
	uint32_t *old = b->memo, old_size = b->memo_size;
	uint32_t size = old_size ? old_size * 2 : 1024;
	uint32_t *memo = calloc(size, sizeof(*memo));

	if (!memo)
		return -ENOMEM;
	b->memo = memo;
	b->memo_size = size;
	for (uint32_t i = 0; i < old_size; i++) {
		if (old[i])
			*memo_slot(b, b->layout->trees[old[i] - 1].id) = old[i];
	}
	free(old);
	return 0;
}

static int memo_add(struct builder *b, uint32_t tree)
{
	if (b->memo_used * 2 >= b->memo_size && memo_grow(b) < 0)
		return -ENOMEM;
	*memo_slot(b, b->layout->trees[tree].id) = tree + 1;
	b->memo_used++;
	return 0;
}

/* The index of a tree that has been built, or -ENOENT. */
static int64_t memo_find(struct builder *b, const git_oid *id)
{
	uint32_t *slot = b->memo_size ? memo_slot(b, id->id) : NULL;

	return slot && *slot ? (int64_t)*slot - 1 : -ENOENT;
}

static int add_tree(struct builder *b, const struct layout_tree *tree,
		    uint32_t *ret_index)
{
	void *array = b->layout->trees;

	if (reserve(&array, b->layout->nr_trees, &b->room_trees,
		    sizeof(*tree)) < 0)
		return -ENOMEM;
	b->layout->trees = array;
	*ret_index = b->layout->nr_trees++;
	b->layout->trees[*ret_index] = *tree;
	return 0;
}

/* ---- the entries of one tree object -------------------------------------- */

static int add_file(struct builder *b, const struct layout_frame *frame,
		    const struct raw_tree_entry *raw, const git_oid *id,
		    uint32_t position)
{
	struct layout_entry *entry;
	struct error_text cause;
	uint64_t size_bytes;
	int rc = repository_blob_size(b->odb, id, &size_bytes, &cause);

	if (rc < 0)
		return fail_at(b, frame, raw, rc, "%s", cause.text);
	if (size_bytes > LAYOUT_FILE_BYTES_MAX)
		return fail_at(
			b, frame, raw, -EFBIG,
			"%llu bytes are more than a file on FAT can have",
			(unsigned long long)size_bytes);
	entry = add_entry(b);
	if (!entry)
		return no_memory(b);
	memcpy(entry->id, id->id, GIT_OID_RAWSZ);
	entry->size_bytes = (uint32_t)size_bytes;
	entry->position = position;
	return 0;
}

/* Takes the chain over, also when it fails. */
static int add_directory(struct builder *b, const git_oid *id, bool submodule,
			 struct tree_chain *chain, uint32_t position)
{
	struct subdirectory *subdirectory = add_subdirectory(b);

	if (!subdirectory) {
		free(chain->ids);
		return no_memory(b);
	}
	subdirectory->id = *id;
	subdirectory->submodule = submodule;
	subdirectory->chain = *chain;
	subdirectory->position = position;
	return 0;
}

static int add_link(struct builder *b, const struct layout_frame *frame,
		    const struct raw_tree_entry *raw, const git_oid *id,
		    uint32_t position)
{
	struct link_target target = { .kind = LINK_TEXT };
	struct error_text cause;
	int rc = layout_follow_link(b->odb, frame, id, &b->link_budget, &target,
				    &cause);

	if (rc < 0)
		return fail_at(b, frame, raw, rc, "%s", cause.text);
	switch (target.kind) {
	case LINK_DIRECTORY:
	case LINK_SUBMODULE:
		return add_directory(b, &target.id,
				     target.kind == LINK_SUBMODULE,
				     &target.chain, position);
	case LINK_FILE:
		return add_file(b, frame, raw, &target.id, position);
	default:
		return add_file(b, frame, raw, id, position);
	}
}

static int add_raw_entry(struct builder *b, const struct layout_frame *frame,
			 const struct raw_tree_entry *raw, uint32_t position,
			 struct layout_tree *tree)
{
	struct tree_chain none = { NULL, 0 };
	git_oid id;
	int rc = fat_names_add(b->names, raw->name, raw->name_bytes, raw->id);

	if (rc == -EEXIST)
		return fail_at(b, frame, raw, -EBADMSG,
			       "the tree has this name twice");
	if (rc == -ENAMETOOLONG)
		return fail_at(b, frame, raw, rc,
			       "a name on FAT has at most %d UTF-16 units",
			       FAT_LONG_NAME_UNITS);
	if (rc < 0)
		return no_memory(b);
	git_oid_fromraw(&id, raw->id);
	switch (raw->kind) {
	case RAW_TREE_DIRECTORY:
		return add_directory(b, &id, false, &none, position);
	case RAW_TREE_GITLINK:
		return add_directory(b, &id, true, &none, position);
	case RAW_TREE_SYMLINK:
		if (!b->follow_links)
			break;
		tree->has_links = true;
		return add_link(b, frame, raw, &id, position);
	case RAW_TREE_FILE:
		break;
	}
	return add_file(b, frame, raw, &id, position);
}

/* Reads the object: files into the entries, the others put by. */
static int read_entries(struct builder *b, const struct layout_frame *frame,
			git_odb_object *object, struct layout_tree *tree)
{
	struct raw_tree_entry entry = { .name_bytes = 0 };
	const char *reason = NULL;
	struct raw_tree raw;
	uint32_t position = 0;
	int more, rc;

	fat_names_reset(b->names);
	raw_tree_init(&raw, git_odb_object_data(object),
		      git_odb_object_size(object));
	while ((more = raw_tree_next(&raw, &entry, &reason)) > 0) {
		/* Each name takes a slot at least: no need to read on. */
		if (position == LAYOUT_DIRECTORY_SLOTS_MAX)
			return fail_at(b, frame, NULL, -E2BIG,
				       "more than %u entries are more than a "
				       "directory on FAT can have",
				       LAYOUT_DIRECTORY_SLOTS_MAX);
		rc = add_raw_entry(b, frame, &entry, position++, tree);
		if (rc < 0)
			return rc;
	}
	return more < 0 ? fail_at(b, frame, NULL, more, "bad tree object: %s",
				  reason)
			: 0;
}

static int count_slots(struct builder *b, const struct layout_frame *frame,
		       struct layout_tree *tree)
{
	uint64_t slots =
		frame->parent ? LAYOUT_SUBDIRECTORY_SLOTS : LAYOUT_ROOT_SLOTS;
	size_t nr_names = fat_names_count(b->names);

	if (fat_names_allot(b->names) < 0)
		return no_memory(b);
	for (size_t i = 0; i < nr_names; i++)
		slots += fat_name_slots(fat_names_get(b->names, i));
	if (slots > LAYOUT_DIRECTORY_SLOTS_MAX)
		return fail_at(b, frame, NULL, -E2BIG,
			       "its names need %llu slots; a directory on FAT "
			       "has at most %u",
			       (unsigned long long)slots,
			       LAYOUT_DIRECTORY_SLOTS_MAX);
	tree->nr_slots = (uint32_t)slots;
	tree->directory_clusters = (uint32_t)((slots * LAYOUT_SLOT_BYTES +
					       LAYOUT_CLUSTER_BYTES - 1) /
					      LAYOUT_CLUSTER_BYTES);
	return 0;
}

/* Appends the subdirectories that were put by to the entries. */
static int append_subdirectories(struct builder *b)
{
	for (uint32_t i = 0; i < b->nr_subdirectories; i++) {
		struct layout_entry *entry = add_entry(b);

		if (!entry)
			return no_memory(b);
		memcpy(entry->id, b->subdirectories[i].id.id, GIT_OID_RAWSZ);
		entry->position = b->subdirectories[i].position;
		entry->tree = EMPTY_TREE;
	}
	return 0;
}

static int read_tree(struct builder *b, const struct layout_frame *frame,
		     struct layout_tree *tree)
{
	git_odb_object *object;
	struct error_text cause;
	int rc = repository_read(b->odb, &frame->id, GIT_OBJECT_TREE,
				 TREE_OBJECT_BYTES_MAX, &object, &cause);

	if (rc < 0)
		return fail_at(b, frame, NULL, rc, "%s", cause.text);
	*tree = (struct layout_tree){ .entries = b->layout->nr_entries };
	memcpy(tree->id, frame->id.id, GIT_OID_RAWSZ);
	rc = read_entries(b, frame, object, tree);
	git_odb_object_free(object);
	if (rc < 0)
		return rc;
	tree->nr_files = b->layout->nr_entries - tree->entries;
	tree->nr_subdirectories = b->nr_subdirectories;
	rc = count_slots(b, frame, tree);
	if (rc < 0)
		return rc;
	rc = append_subdirectories(b);
	if (rc < 0)
		return rc;
	if (b->layout->nr_entries > LAYOUT_ENTRIES_MAX)
		return fail_at(b, frame, NULL, -E2BIG,
			       "more than %u names in different trees",
			       LAYOUT_ENTRIES_MAX);
	return 0;
}

/* ---- one directory and what is beneath it -------------------------------- */

static int check_sums(struct builder *b, const struct layout_frame *frame,
		      uint64_t clusters, uint64_t paths)
{
	if (paths > LAYOUT_PATHS_MAX)
		return fail_at(b, frame, NULL, -E2BIG,
			       "more than %u files and directories",
			       LAYOUT_PATHS_MAX);
	if (clusters > LAYOUT_CLUSTERS_MAX)
		return fail_at(b, frame, NULL, -E2BIG,
			       "more than the %u clusters that FAT32 has",
			       LAYOUT_CLUSTERS_MAX);
	return 0;
}

static int place_files(struct builder *b, const struct layout_frame *frame,
		       struct layout_tree *tree)
{
	uint64_t clusters = tree->directory_clusters;

	for (uint32_t i = 0; i < tree->nr_files; i++) {
		struct layout_entry *file =
			&b->layout->entries[tree->entries + i];

		file->first_cluster = (uint32_t)clusters;
		clusters += layout_file_clusters(file);
		if (clusters > LAYOUT_CLUSTERS_MAX)
			break;
	}
	tree->nr_clusters = (uint32_t)clusters;
	tree->nr_paths = tree->nr_files;
	return check_sums(b, frame, clusters, tree->nr_files);
}

static int build_tree(struct builder *b, struct layout_frame *frame,
		      uint32_t *ret_tree);

static int build_subdirectory(struct builder *b,
			      const struct layout_frame *frame,
			      struct subdirectory *subdirectory,
			      uint32_t *ret_tree)
{
	struct layout_frame child = {
		.parent = frame,
		.id = subdirectory->id,
		.position = subdirectory->position,
		.depth = frame->depth + 1,
	};
	int rc;

	if (subdirectory->submodule) {
		*ret_tree = EMPTY_TREE;
		return 0;
	}
	if (b->follow_links && subdirectory->chain.ids) {
		child.chain = subdirectory->chain;
		subdirectory->chain.ids = NULL;
	} else if (b->follow_links &&
		   tree_chain_extend(&frame->chain, frame->chain.nr_ids,
				     &child.id, &child.chain) < 0) {
		return no_memory(b);
	}
	rc = build_tree(b, &child, ret_tree);
	free(child.chain.ids);
	return rc;
}

/* Adds a subdirectory that has been built to the tree that it is in. */
static int add_beneath(struct builder *b, const struct layout_frame *frame,
		       struct layout_tree *tree, uint32_t entry, uint32_t index)
{
	const struct layout_tree *child = &b->layout->trees[index];
	uint64_t clusters = (uint64_t)tree->nr_clusters + child->nr_clusters;
	uint64_t paths = (uint64_t)tree->nr_paths + 1 + child->nr_paths;

	b->layout->entries[entry].tree = index;
	b->layout->entries[entry].first_cluster = tree->nr_clusters;
	tree->nr_clusters = (uint32_t)clusters;
	tree->nr_paths = (uint32_t)paths;
	tree->has_links |= child->has_links;
	if (child->height >= tree->height)
		tree->height = (uint16_t)(child->height + 1);
	return check_sums(b, frame, clusters, paths);
}

static int build_beneath(struct builder *b, const struct layout_frame *frame,
			 struct layout_tree *tree,
			 struct subdirectory *subdirectories)
{
	uint32_t first = tree->entries + tree->nr_files;
	uint32_t index;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < tree->nr_subdirectories; i++) {
		rc = build_subdirectory(b, frame, &subdirectories[i], &index);
		if (rc == 0)
			rc = add_beneath(b, frame, tree, first + i, index);
	}
	return rc;
}

/* The subdirectories put by become the caller's, to free. */
static struct subdirectory *take_subdirectories(struct builder *b)
{
	struct subdirectory *taken = b->subdirectories;

	b->subdirectories = NULL;
	b->nr_subdirectories = 0;
	b->room_subdirectories = 0;
	return taken;
}

static void free_subdirectories(struct subdirectory *subdirectories,
				uint32_t nr_subdirectories)
{
	for (uint32_t i = 0; i < nr_subdirectories; i++)
		free(subdirectories[i].chain.ids);
	free(subdirectories);
}

static int check_depth(struct builder *b, const struct layout_frame *frame,
		       unsigned int height)
{
	if (frame->depth + height <= LAYOUT_DEPTH_MAX)
		return 0;
	return fail_at(b, frame, NULL, -E2BIG,
		       "directories nested more than %u deep",
		       LAYOUT_DEPTH_MAX);
}

static int build_new_tree(struct builder *b, struct layout_frame *frame,
			  uint32_t *ret_tree)
{
	struct subdirectory *subdirectories;
	struct layout_tree tree;
	int rc = read_tree(b, frame, &tree);

	if (rc < 0)
		return rc;
	tree.height = 1;
	rc = place_files(b, frame, &tree);
	if (rc < 0)
		return rc;
	subdirectories = take_subdirectories(b);
	rc = build_beneath(b, frame, &tree, subdirectories);
	free_subdirectories(subdirectories, tree.nr_subdirectories);
	if (rc < 0)
		return rc;
	if (add_tree(b, &tree, ret_tree) < 0)
		return no_memory(b);
	/* The root's slots are not a subdirectory's; and links look around. */
	if (frame->parent && !tree.has_links && memo_add(b, *ret_tree) < 0)
		return no_memory(b);
	return 0;
}

static int build_tree(struct builder *b, struct layout_frame *frame,
		      uint32_t *ret_tree)
{
	int64_t known = memo_find(b, &frame->id);
	int rc;

	if (known < 0) {
		rc = check_depth(b, frame, 0);
		return rc < 0 ? rc : build_new_tree(b, frame, ret_tree);
	}
	rc = check_depth(b, frame, b->layout->trees[known].height - 1u);
	if (rc == 0)
		*ret_tree = (uint32_t)known;
	return rc;
}

/* ---- the whole ------------------------------------------------------------ */

static int add_empty_tree(struct builder *b)
{
	const struct layout_tree empty = {
		.empty = true,
		.height = 1,
		.nr_slots = LAYOUT_SUBDIRECTORY_SLOTS,
		.directory_clusters = 1,
		.nr_clusters = 1,
	};
	uint32_t index;

	return add_tree(b, &empty, &index);
}

static void builder_fini(struct builder *b)
{
	fat_names_free(b->names);
	free_subdirectories(b->subdirectories, b->nr_subdirectories);
	free(b->memo);
}

/* Gives back what the tables have grown beyond their use. */
static void trim(struct layout *layout)
{
	void *entries =
		reallocarray(layout->entries,
			     layout->nr_entries ? layout->nr_entries : 1,
			     sizeof(*layout->entries));
	void *trees = reallocarray(layout->trees, layout->nr_trees,
				   sizeof(*layout->trees));

	if (entries)
		layout->entries = entries;
	if (trees)
		layout->trees = trees;
}

int layout_build(git_odb *odb, const git_oid *root, bool follow_links,
		 struct layout *ret_layout, struct error_text *err)
{
	struct builder b = {
		.odb = odb,
		.layout = ret_layout,
		.err = err,
		.follow_links = follow_links,
		.link_budget = LINK_BUDGET,
	};
	struct layout_frame frame = { .id = *root, .depth = 1 };
	struct tree_chain none = { NULL, 0 };
	int rc;

	*ret_layout = (struct layout){ .entries = NULL };
	rc = id_hash_init(&b.id_hash);
	if (rc < 0)
		return error_set(err, rc, "layout: no random numbers: %s",
				 strerror(-rc));
	if (fat_names_new(&b.names) < 0 || add_empty_tree(&b) < 0 ||
	    tree_chain_extend(&none, 0, root, &frame.chain) < 0)
		rc = no_memory(&b);
	else
		rc = build_tree(&b, &frame, &ret_layout->root);
	free(frame.chain.ids);
	builder_fini(&b);
	if (rc == 0)
		trim(ret_layout);
	return rc;
}
