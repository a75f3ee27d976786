/* SPDX-License-Identifier: BSD-2-Clause */
/* The subcommands of git-fat(1). */
#ifndef XEN_DISKD_GIT_FAT_COMMAND_H
#define XEN_DISKD_GIT_FAT_COMMAND_H

#include "git-fat/git-disk.h"

/* Exit codes, as documented in git-fat(1). */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* the repository or the output */
	EXIT_USAGE = 2,
	EXIT_UNSOUND = 3, /* verify has found something */
};

/* More threads than this have not been seen to read faster. */
#define COMMAND_READERS_MAX 8u

/*
 * Each does its work on an open disk and returns an exit code, having said on
 * standard error what failed.  nr_readers: threads that read at a time, at
 * most COMMAND_READERS_MAX; 0 for as many as there are processors.
 */
int command_image(struct git_disk *disk, unsigned int nr_readers);
int command_ls(struct git_disk *disk);
int command_verify(struct git_disk *disk);

#endif
