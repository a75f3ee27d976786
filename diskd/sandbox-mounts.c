/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file system that holds nothing but what is opened later.  The trees are
 * taken with the rights of whose files they are, before the old root is left,
 * and hung in where they were: a path means the same inside.
 */
#include "diskd/sandbox.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KEPT_MAX 128u
/* Every system has it, and what is below it is seen again in the end. */
#define SCRATCH "/tmp"

struct kept {
	const char *path;
	struct stat st;
	int tree; /* -1: a device, made anew */
};

static int take(const char *path, struct kept *ret_kept)
{
	cleanup_close int fd = open(path, O_PATH | O_CLOEXEC);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY |
					       MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NODEV |
					       MOUNT_ATTR_NOEXEC };

	*ret_kept = (struct kept){ .path = path, .tree = -1 };
	if (fd < 0 || fstat(fd, &ret_kept->st) < 0)
		return -errno;
	if (S_ISCHR(ret_kept->st.st_mode))
		return 0;
	ret_kept->tree = open_tree(fd, "",
				   AT_EMPTY_PATH | AT_RECURSIVE |
					   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (ret_kept->tree < 0)
		return -errno;
	if (mount_setattr(ret_kept->tree, "", AT_EMPTY_PATH | AT_RECURSIVE,
			  &attr, sizeof(attr)) < 0) {
		int rc = -errno;

		close(ret_kept->tree);
		return rc;
	}
	return 0;
}

/* What is not there, or not for that user, cannot be opened later either. */
static int take_all(const char *const *paths, struct kept *kept,
		    unsigned int *nr)
{
	for (unsigned int i = 0; paths && paths[i]; i++) {
		int rc = *nr < KEPT_MAX ? take(paths[i], &kept[*nr]) : -E2BIG;

		if (rc == 0)
			++*nr;
		else if (rc != -ENOENT && rc != -EACCES && rc != -ENOTDIR)
			return rc;
	}
	return 0;
}

static int take_files(const struct sandbox *sandbox, struct kept *kept,
		      unsigned int *nr)
{
	int rc;

	setfsgid(sandbox->file_gid);
	setfsuid(sandbox->file_uid);
	rc = take_all(sandbox->paths, kept, nr);
	setfsuid(geteuid());
	setfsgid(getegid());
	return rc;
}

/* Whatever cannot be made is missed by whoever comes next. */
static void make_parents(char *path)
{
	for (char *p = path + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0755);
		*p = '/';
	}
}

static int hang_in(const struct sandbox *sandbox, const struct kept *kept)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s", kept->path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	make_parents(path);
	if (kept->tree < 0) {
		if (mknod(path, S_IFCHR | 0600, kept->st.st_rdev) < 0 ||
		    chown(path, sandbox->file_uid, sandbox->file_gid) < 0)
			return -errno;
		return 0;
	}
	if (S_ISDIR(kept->st.st_mode)) {
		mkdir(path, 0755);
	} else {
		fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC, 0600);
		if (fd >= 0)
			close(fd);
	}
	if (move_mount(kept->tree, "", AT_FDCWD, path,
		       MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

/*
 * The old root ends below the new one, and is let go of there.  An initramfs
 * cannot be (pivot_root(2)): it is covered for good.
 */
static int change_root(void)
{
	if (mount("none", SCRATCH, "tmpfs", MS_NOSUID | MS_NOEXEC,
		  "size=64k,mode=0755") < 0 ||
	    chdir(SCRATCH) < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -errno
								      : 0;
	if (errno != EINVAL || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int sandbox_enter_mounts(const struct sandbox *sandbox)
{
	struct kept kept[KEPT_MAX];
	unsigned int nr = 0;
	mode_t mask;
	int rc;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	mask = umask(0);
	rc = take_all(sandbox->devices, kept, &nr);
	if (rc == 0)
		rc = take_all(sandbox_runtime_paths, kept, &nr);
	if (rc == 0)
		rc = take_files(sandbox, kept, &nr);
	if (rc == 0)
		rc = change_root();
	for (unsigned int i = 0; i < nr; i++) {
		if (rc == 0)
			rc = hang_in(sandbox, &kept[i]);
		if (kept[i].tree >= 0)
			close(kept[i].tree);
	}
	umask(mask);
	if (rc == 0 &&
	    mount(NULL, "/", NULL,
		  MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) < 0)
		rc = -errno;
	return rc;
}
