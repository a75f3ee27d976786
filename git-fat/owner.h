/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a repository with the rights of its owner and no others.  Root may
 * read everything, and a repository can point anywhere: its .git file, its
 * alternates, symbolic links in it, includes of its configuration.  Whoever
 * owns it must not get at what he could not read himself.
 *
 * The owner is the first on the way to it who is not root: he says what is there.
 * Root answers for directories of its own that others may write to.
 *
 * What changes is the file-system identity of the calling thread (setfsuid(2));
 * for whoever is not root nothing does.
 */
#ifndef XEN_DISKD_OWNER_H
#define XEN_DISKD_OWNER_H

#include "common/error-text.h"

#include <git2.h>
#include <sys/types.h>

struct owner {
	uid_t uid;
	gid_t gid;
};

/*
 * Finds whose rights a repository is to be read with: those of the first who
 * is not root and owns a directory or a link on the way to its .git, that
 * itself, or, where all these are root's, what leads to the directories that it
 * names.  The group is that of the .git, or of the path where there is none in it,
 * if he is in it, else his own.  Takes all supplementary groups from the process.
 * libgit2 is in use.  Errors of lstat(2) and setgroups(2), and -EIO, with a message.
 */
int owner_of(const char *path, struct owner *ret_owner, struct error_text *err);

/* The same, of a repository that is open, by where its directories are. */
int owner_of_open(git_repository *repository, struct owner *ret_owner,
		  struct error_text *err);

/* The calling thread opens files as the owner does, until owner_leave(). */
void owner_enter(const struct owner *owner);
void owner_leave(void);

#endif
