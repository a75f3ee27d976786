/* SPDX-License-Identifier: BSD-2-Clause */
/* The rights of a repository's owner. */
#include "git-fat/owner.h"

#include "git-fat/pin.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

static int owner_of_name(const char *path, struct owner *ret_owner)
{
	char dot_git[PATH_MAX];
	struct stat st;
	int length = snprintf(dot_git, sizeof(dot_git), "%s/.git", path);

	if (length >= (int)sizeof(dot_git))
		return -ENAMETOOLONG;
	if (lstat(dot_git, &st) < 0 && stat(path, &st) < 0)
		return -errno;
	ret_owner->uid = st.st_uid;
	ret_owner->gid = st.st_gid;
	return 0;
}

int owner_of(const char *path, struct owner *ret_owner, struct error_text *err)
{
	int rc = owner_of_name(path, ret_owner);

	if (rc < 0)
		return error_set(err, rc, "repository '%s': %s", path,
				 strerror(-rc));
	/* Files that root's groups may read are no more the owner's. */
	if (geteuid() == 0 && setgroups(0, NULL) < 0)
		return error_set(err, -errno, "give up groups: %s",
				 strerror(errno));
	if (ret_owner->uid != 0)
		return 0;
	return pin_find_owner(path, &ret_owner->uid, &ret_owner->gid, err);
}

void owner_enter(const struct owner *owner)
{
	if (geteuid() != 0)
		return;
	setfsgid(owner->gid);
	setfsuid(owner->uid);
}

void owner_leave(void)
{
	setfsuid(geteuid());
	setfsgid(getegid());
}
