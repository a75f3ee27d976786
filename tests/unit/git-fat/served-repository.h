/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A repository for unit tests, made by libgit2 itself: bare, its objects
 * loose, the same bytes for the same seed.  Calls end the test on failure.
 */
#ifndef XEN_DISKD_UNIT_SERVED_H
#define XEN_DISKD_UNIT_SERVED_H

#include <git2.h>
#include <stdint.h>

#define SERVED_PATH_BYTES 320
/* Files of the root; and one of SERVED_BIG_BYTES, and a directory of ten. */
#define SERVED_FILES 24u
#define SERVED_BIG_BYTES (3u << 20)

struct served {
	char path[SERVED_PATH_BYTES];
	git_repository *repository;
};

/* An empty repository in the scratch directory of the run. */
void served_open(struct served *served, const char *name);
void served_close(struct served *served);

/* A commit on a branch, of files that depend on the seed. */
void served_commit(struct served *served, const char *branch, unsigned seed,
		   char ret_commit[GIT_OID_HEXSZ + 1]);

/* Takes the blob of a file of the commit away; its name is returned. */
void served_lose_blob(struct served *served, const char *commit,
		      const char *file, char ret_blob[GIT_OID_HEXSZ + 1]);

#endif
