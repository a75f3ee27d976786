/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The git side of a disk, over libgit2: from a repository and a revision to
 * one tree, and the object database that it is read from.
 *
 * No hook runs and nothing that the repository's configuration names is
 * executed, so it does not matter who owns it; the configuration of the user
 * and of the machine is not read.
 */
#ifndef XEN_DISKD_REPOSITORY_H
#define XEN_DISKD_REPOSITORY_H

#include "common/error-text.h"

#include <git2.h>
#include <stdbool.h>
#include <stdint.h>

/* The name of an object in hexadecimal, and a NUL. */
#define OBJECT_NAME_BYTES (GIT_OID_HEXSZ + 1)

/* What a revision came to. */
struct repository_tree {
	/* Of the object database; the owner frees it. */
	char *objects_path;
	git_oid tree; /* what is served */
	/* The commit; the tree that was named if there is none. */
	git_oid version;
	/* Committer's time, seconds since 1970 UTC; 0 without a commit. */
	int64_t time_s;
};

/*
 * Takes libgit2 into use, once a process before anything else here.  verify:
 * every object that is read is hashed.  -ENOMEM or -EIO.
 */
int repository_library_init(bool verify, struct error_text *err);

/*
 * Opens the repository at a path (bare or not, a worktree or its .git file), for
 * where it is and for its references.  The caller frees it.  Errors as below.
 */
int repository_open(const char *path, git_repository **ret_repository,
		    struct error_text *err);

/*
 * Opens it to read from it, resolves the revision (any of gitrevisions(7) that
 * names one commit, tag or tree) and goes down to subdirectory (NULL or "": the whole tree).  Any
 * thread; blocks.  Errors: -ENOENT, -EINVAL, -EIO, with a message that names
 * repository and cause.
 */
int repository_resolve(const char *path, const char *revision,
		       const char *subdirectory,
		       struct repository_tree *ret_tree,
		       struct error_text *err);
void repository_tree_fini(struct repository_tree *tree);

/*
 * A handle on the object database for one thread: libgit2 holds a lock while
 * it inflates, so threads share none.  The caller frees it, git_odb_free().
 */
int repository_open_objects(const char *objects_path, git_odb **ret_odb,
			    struct error_text *err);

/*
 * Reads an object of the given type, of at most max_bytes; the caller frees
 * it, git_odb_object_free().  Errors: -ENOENT when it is missing, -EIO when it
 * is damaged, -EBADMSG when it is of another type, -EFBIG; the message names
 * the object.
 */
int repository_read(git_odb *odb, const git_oid *id, git_object_t type,
		    uint64_t max_bytes, git_odb_object **ret_object,
		    struct error_text *err);

/* As repository_read(), but only the size of a blob, in bytes. */
int repository_blob_size(git_odb *odb, const git_oid *id, uint64_t *ret_bytes,
			 struct error_text *err);

#endif
