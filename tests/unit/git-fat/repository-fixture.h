/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Repositories for tests, object by object, so that there can be some in them
 * that git itself would not write.
 */
#ifndef XEN_DISKD_REPOSITORY_FIXTURE_H
#define XEN_DISKD_REPOSITORY_FIXTURE_H

#include "git-fat/git-disk.h"

#include <git2.h>
#include <stddef.h>
#include <stdint.h>

#define MODE_FILE 0100644u
#define MODE_LINK 0120000u
#define MODE_TREE 040000u
#define MODE_GITLINK 0160000u

struct fixture {
	char path[512];
	git_repository *repository;
	git_odb *odb;
};

/* A bare repository of its own in the scratch directory. */
void fixture_init(struct fixture *fixture);
void fixture_fini(struct fixture *fixture);

git_oid fixture_object(struct fixture *fixture, git_object_t type,
		       const void *bytes, size_t nr_bytes);
git_oid fixture_blob(struct fixture *fixture, const char *text);
/* nr_bytes that follow from the seed. */
git_oid fixture_random_blob(struct fixture *fixture, uint32_t seed,
			    size_t nr_bytes);

/* A tree object in the making; nothing about it is checked. */
struct fixture_tree {
	char *bytes;
	size_t nr_bytes, room;
};

void fixture_tree_add(struct fixture_tree *tree, const char *mode,
		      const char *name, size_t name_bytes, const git_oid *id);
/* Writes and empties it. */
git_oid fixture_tree_write(struct fixture *fixture, struct fixture_tree *tree);

/* What a path is to be; a content of NULL: a submodule. */
struct fixture_file {
	unsigned int mode;
	const char *path;
	const char *content;
};

/* A tree of them, its directories and the order as git has them. */
git_oid fixture_files(struct fixture *fixture, const struct fixture_file *files,
		      size_t nr_files);

/* A commit, also refs/heads/main. */
git_oid fixture_commit(struct fixture *fixture, const git_oid *tree,
		       int64_t time_s);

/* Levels of trees, each with `width` times the next. */
git_oid fixture_bomb(struct fixture *fixture, unsigned int levels,
		     unsigned int width);
/* Directories one within another. */
git_oid fixture_deep(struct fixture *fixture, unsigned int depth);

/* A loose blob of which no more than the header is true. */
git_oid fixture_huge_blob(struct fixture *fixture, uint64_t nr_bytes);
/* Takes a loose object away. */
void fixture_remove(struct fixture *fixture, const git_oid *id);

/* Runs git(1) in the repository; it must succeed. */
void fixture_git(struct fixture *fixture, const char *arguments);

/* Options to serve an object, whose name is kept in text. */
struct git_disk_options fixture_options(struct fixture *fixture,
					const git_oid *id,
					char text[OBJECT_NAME_BYTES]);
struct git_disk *fixture_disk(const struct git_disk_options *options);

#endif
