/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a repository with the rights of its owner and no others.  Root may
 * read everything, and a repository can point anywhere: its .git file, its
 * alternates, symbolic links in it, includes of its configuration.  Whoever
 * owns it must not get at what he could not read himself.
 *
 * What changes is the file-system identity of the calling thread (setfsuid(2));
 * for whoever is not root nothing does.
 */
#ifndef XEN_DISKD_OWNER_H
#define XEN_DISKD_OWNER_H

#include "common/error-text.h"

#include <sys/types.h>

struct owner {
	uid_t uid;
	gid_t gid;
};

/*
 * Finds whose rights a repository is to be read with: the owner of its .git, or
 * of the path itself where there is none in it; where that is root, the owner
 * of the directory that it leads to.  Takes all supplementary groups from the
 * process.  libgit2 is in use.  Errors of stat(2) and setgroups(2), and -EIO,
 * with a message.
 */
int owner_of(const char *path, struct owner *ret_owner, struct error_text *err);

/* The calling thread opens files as the owner does, until owner_leave(). */
void owner_enter(const struct owner *owner);
void owner_leave(void);

#endif
