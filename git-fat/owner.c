/* SPDX-License-Identifier: BSD-2-Clause */
/* The rights of a repository's owner. */
#include "git-fat/owner.h"

#include "git-fat/repository.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

/* As many as the kernel follows. */
#define LINKS_MAX 40u
/* Of a user's groups, so many are asked for. */
#define GROUPS_MAX 65536
/* nogroup: of a user that the host does not know. */
#define NO_GROUP 65534

/* ---- the way --------------------------------------------------------- */

struct way {
	char done[PATH_MAX]; /* "" is the root */
	char rest[PATH_MAX];
	unsigned int nr_links;
};

/* Takes the next name off the rest; false at the end. */
static bool next_name(struct way *way, char name[NAME_MAX + 1], int *ret_error)
{
	const char *start = way->rest + strspn(way->rest, "/");
	size_t length = strcspn(start, "/");

	*ret_error = length > NAME_MAX ? -ENAMETOOLONG : 0;
	if (!length || *ret_error)
		return false;
	memcpy(name, start, length);
	name[length] = '\0';
	memmove(way->rest, start + length, strlen(start + length) + 1);
	return true;
}

static void go_up(struct way *way)
{
	char *slash = strrchr(way->done, '/');

	if (slash)
		*slash = '\0';
}

/* What is behind it is gone on with from where the link leads. */
static int follow_link(struct way *way)
{
	char to[PATH_MAX], rest[PATH_MAX];
	ssize_t length = readlink(way->done, to, sizeof(to) - 1);
	int joined;

	if (length < 0)
		return -errno;
	if (++way->nr_links > LINKS_MAX)
		return -ELOOP;
	to[length] = '\0';
	joined = snprintf(rest, sizeof(rest), "%s/%s", to, way->rest);
	if (joined >= (int)sizeof(rest))
		return -ENAMETOOLONG;
	memcpy(way->rest, rest, (size_t)joined + 1);
	if (to[0] == '/')
		way->done[0] = '\0';
	else
		go_up(way);
	return 0;
}

/* One step; its owner is told. */
static int take_step(struct way *way, const char *name, struct owner *ret_owner)
{
	size_t length = strlen(way->done);
	struct stat st;

	if (snprintf(way->done + length, sizeof(way->done) - length, "/%s",
		     name) >= (int)(sizeof(way->done) - length))
		return -ENAMETOOLONG;
	if (lstat(way->done, &st) < 0)
		return -errno;
	*ret_owner = (struct owner){ st.st_uid, st.st_gid };
	return S_ISLNK(st.st_mode) ? follow_link(way) : 0;
}

/* The first who is not root, or root's. */
static int owner_on_the_way(const char *path, struct owner *ret_owner)
{
	char name[NAME_MAX + 1];
	struct way way = { .nr_links = 0 };
	int rc = 0;

	*ret_owner = (struct owner){ 0, 0 };
	if (strlen(path) >= sizeof(way.rest))
		return -ENAMETOOLONG;
	strcpy(way.rest, path);
	while (!rc && !ret_owner->uid && next_name(&way, name, &rc)) {
		if (strcmp(name, "..") == 0)
			go_up(&way);
		else if (strcmp(name, ".") != 0)
			rc = take_step(&way, name, ret_owner);
	}
	return rc;
}

/* ---- who that is ------------------------------------------------------ */

/* A file has its group from its directory, maybe: he need not be in it. */
static int check_group(struct owner *owner)
{
	const struct passwd *user = getpwuid(owner->uid);
	gid_t *groups = calloc(GROUPS_MAX, sizeof(*groups));
	int nr_groups = GROUPS_MAX;
	bool is_member = false;

	if (!groups)
		return -ENOMEM;
	if (!user ||
	    getgrouplist(user->pw_name, user->pw_gid, groups, &nr_groups) < 0)
		nr_groups = 0;
	for (int i = 0; i < nr_groups; i++)
		is_member |= groups[i] == owner->gid;
	if (!is_member)
		owner->gid = user ? user->pw_gid : NO_GROUP;
	free(groups);
	return 0;
}

static int owner_of_name(const char *path, struct owner *ret_owner)
{
	char dot_git[PATH_MAX];
	struct stat st;
	int length = snprintf(dot_git, sizeof(dot_git), "%s/.git", path);
	int rc;

	if (length >= (int)sizeof(dot_git))
		return -ENAMETOOLONG;
	if (lstat(dot_git, &st) == 0)
		path = dot_git;
	else if (stat(path, &st) < 0)
		return -errno;
	rc = owner_on_the_way(path, ret_owner);
	/* He may share it with others than those of what is on the way. */
	ret_owner->gid = st.st_gid;
	return rc;
}

int owner_of_open(git_repository *repository, struct owner *ret_owner,
		  struct error_text *err)
{
	const char *path = git_repository_path(repository);
	int rc = owner_on_the_way(path, ret_owner);

	if (!rc && !ret_owner->uid) {
		path = git_repository_commondir(repository);
		rc = owner_on_the_way(path, ret_owner);
	}
	if (rc < 0)
		return error_set(err, rc, "repository '%s': %s", path,
				 strerror(-rc));
	return 0;
}

/* All that is root's may lead to what is not. */
static int owner_of_roots(const char *path, struct owner *ret_owner,
			  struct error_text *err)
{
	git_repository *repository;
	int rc = repository_open(path, &repository, err);

	if (rc < 0)
		return rc;
	rc = owner_of_open(repository, ret_owner, err);
	git_repository_free(repository);
	return rc;
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
	if (ret_owner->uid == 0)
		rc = owner_of_roots(path, ret_owner, err);
	if (rc < 0 || ret_owner->uid == 0)
		return rc;
	rc = check_group(ret_owner);
	return rc < 0 ? error_set(err, rc, "groups of user %u: %s",
				  ret_owner->uid, strerror(-rc))
		      : 0;
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
