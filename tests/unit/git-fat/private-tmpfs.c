/* SPDX-License-Identifier: BSD-2-Clause */
/* A mount namespace of the process's own, with a tmpfs in it. */
#include "tests/unit/git-fat/private-tmpfs.h"

#include <sched.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

bool private_tmpfs_mount(const char *dir, unsigned long flags,
			 const char *options)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", dir, "tmpfs", flags, options) == 0;
}

bool private_tmpfs_can_mount(void)
{
	int status = 1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(private_tmpfs_mount("/var/tmp", 0, NULL) ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}
