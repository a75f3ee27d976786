/* SPDX-License-Identifier: BSD-2-Clause */
/* Following symbolic links within a tree (symlinks=follow). */
#include "git-fat/layout-private.h"
#include "git-fat/repository.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* As Linux: links on the way to one file. */
#define LINKS_MAX 40
/*
 * Opening an object, once for its size and once for itself, takes as long as going
 * through so many entries.
 */
#define OBJECT_COST 320u
/* "40000 a", NUL, id */
#define ENTRY_BYTES_MIN 28u

/* A walk along a path. */
struct link_walk {
	git_odb *odb;
	uint64_t *budget;
	struct error_text *err;
	unsigned int nr_links;
	/* The directory that the walk has come to: trees from the root. */
	git_oid ids[LAYOUT_DEPTH_MAX];
	size_t nr_ids;
	/* Set when it has come to something else: nothing can follow. */
	bool ended;
	struct link_target target;
};

int tree_chain_extend(const struct tree_chain *chain, size_t length,
		      const git_oid *id, struct tree_chain *ret_chain)
{
	git_oid *ids = reallocarray(NULL, length + 1, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	if (length)
		memcpy(ids, chain->ids, length * sizeof(*ids));
	ids[length] = *id;
	ret_chain->ids = ids;
	ret_chain->nr_ids = length + 1;
	return 0;
}

/*
 * Counts an object that is read down from the budget, in the entries that it
 * could hold: all of it is inflated, however soon something is found there.
 */
static int spend(struct link_walk *walk, uint64_t nr_bytes)
{
	uint64_t cost = OBJECT_COST + nr_bytes / ENTRY_BYTES_MIN;

	if (*walk->budget < cost) {
		*walk->budget = 0;
		return error_set(walk->err, -E2BIG,
				 "too many symbolic links to follow");
	}
	*walk->budget -= cost;
	return 0;
}

/* 1 and the entry's kind and id, 0 when there is none of that name. */
static int find_entry(struct link_walk *walk, const char *name, size_t length,
		      enum raw_tree_kind *ret_kind, git_oid *ret_id)
{
	struct raw_tree_entry entry;
	git_odb_object *object;
	struct raw_tree raw;
	const char *reason;
	int rc = repository_read(walk->odb, &walk->ids[walk->nr_ids - 1],
				 GIT_OBJECT_TREE, TREE_OBJECT_BYTES_MAX,
				 &object, walk->err);

	if (rc < 0)
		return rc;
	raw_tree_init(&raw, git_odb_object_data(object),
		      git_odb_object_size(object));
	/* One that is malformed is refused where it is itself laid out. */
	rc = spend(walk, git_odb_object_size(object));
	while (rc == 0 && raw_tree_next(&raw, &entry, &reason) > 0) {
		if (entry.name_bytes != length ||
		    memcmp(entry.name, name, length) != 0)
			continue;
		*ret_kind = entry.kind;
		git_oid_fromraw(ret_id, entry.id);
		rc = 1;
	}
	git_odb_object_free(object);
	return rc;
}

static void end_walk(struct link_walk *walk, enum link_kind kind,
		     const git_oid *id)
{
	walk->ended = true;
	walk->target.kind = kind;
	if (id)
		walk->target.id = *id;
}

static int walk_link(struct link_walk *walk, const git_oid *link);

static int step_into(struct link_walk *walk, const char *name, size_t length)
{
	enum raw_tree_kind kind = RAW_TREE_FILE;
	git_oid id;
	int rc = find_entry(walk, name, length, &kind, &id);

	if (rc < 0)
		return rc;
	if (rc == 0) {
		end_walk(walk, LINK_TEXT, NULL);
		return 0;
	}
	switch (kind) {
	case RAW_TREE_SYMLINK:
		return walk_link(walk, &id);
	case RAW_TREE_DIRECTORY:
		if (walk->nr_ids == LAYOUT_DEPTH_MAX)
			end_walk(walk, LINK_TEXT, NULL);
		else
			walk->ids[walk->nr_ids++] = id;
		return 0;
	case RAW_TREE_GITLINK:
		end_walk(walk, LINK_SUBMODULE, &id);
		return 0;
	default:
		end_walk(walk, LINK_FILE, &id);
		return 0;
	}
}

static int step(struct link_walk *walk, const char *name, size_t length)
{
	if (length == 1 && name[0] == '.')
		return 0;
	if (length != 2 || memcmp(name, "..", 2) != 0)
		return step_into(walk, name, length);
	if (walk->nr_ids == 1)
		end_walk(walk, LINK_TEXT, NULL); /* out of the tree */
	else
		walk->nr_ids--;
	return 0;
}

static int walk_path(struct link_walk *walk, const char *path, size_t length)
{
	const char *end = path + length;
	int rc = 0;

	/*
	 * What stands behind a file leads nowhere, nor does its slash; what
	 * is in a submodule is not known.
	 */
	while (rc == 0 && path < end) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t name = (size_t)((slash ? slash : end) - path);

		if (name && walk->ended) {
			end_walk(walk, LINK_TEXT, NULL);
			break;
		}
		if (name)
			rc = step(walk, path, name);
		if (rc == 0 && slash && walk->ended &&
		    walk->target.kind != LINK_SUBMODULE)
			end_walk(walk, LINK_TEXT, NULL);
		path += name + (slash != NULL);
	}
	return rc;
}

static int walk_link(struct link_walk *walk, const git_oid *link)
{
	git_odb_object *object;
	const char *path;
	size_t nr_bytes;
	int rc = spend(walk, 0);

	if (rc < 0)
		return rc;
	if (walk->nr_links++ == LINKS_MAX) {
		end_walk(walk, LINK_TEXT, NULL);
		return 0;
	}
	rc = repository_read(walk->odb, link, GIT_OBJECT_BLOB, PATH_MAX - 1,
			     &object, walk->err);
	if (rc == -EFBIG) {
		end_walk(walk, LINK_TEXT, NULL);
		return 0;
	}
	if (rc < 0)
		return rc;
	path = git_odb_object_data(object);
	nr_bytes = git_odb_object_size(object);
	if (!nr_bytes || path[0] == '/' || memchr(path, '\0', nr_bytes))
		end_walk(walk, LINK_TEXT, NULL);
	else
		rc = walk_path(walk, path, nr_bytes);
	git_odb_object_free(object);
	return rc;
}

/* Whether a directory is one of those that the link itself is in. */
static bool is_around(const struct layout_frame *frame, const git_oid *id)
{
	for (; frame; frame = frame->parent) {
		if (git_oid_equal(&frame->id, id))
			return true;
	}
	return false;
}

int layout_follow_link(git_odb *odb, const struct layout_frame *frame,
		       const git_oid *link, uint64_t *budget,
		       struct link_target *ret_target, struct error_text *err)
{
	struct link_walk walk = {
		.odb = odb,
		.budget = budget,
		.err = err,
		.nr_ids = frame->chain.nr_ids,
	};
	const git_oid *id;
	int rc;

	*ret_target = (struct link_target){ .kind = LINK_TEXT };
	if (walk.nr_ids > LAYOUT_DEPTH_MAX)
		return 0;
	memcpy(walk.ids, frame->chain.ids, walk.nr_ids * sizeof(walk.ids[0]));
	rc = walk_link(&walk, link);
	if (rc < 0)
		return rc;
	if (walk.ended) {
		*ret_target = walk.target;
		return 0;
	}
	id = &walk.ids[walk.nr_ids - 1];
	if (is_around(frame, id))
		return 0;
	ret_target->kind = LINK_DIRECTORY;
	ret_target->id = *id;
	ret_target->chain.nr_ids = walk.nr_ids;
	ret_target->chain.ids =
		reallocarray(NULL, walk.nr_ids, sizeof(walk.ids[0]));
	if (!ret_target->chain.ids)
		return error_set(err, -ENOMEM, "layout: no memory");
	memcpy(ret_target->chain.ids, walk.ids,
	       walk.nr_ids * sizeof(walk.ids[0]));
	return 0;
}
