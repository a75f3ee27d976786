/* SPDX-License-Identifier: BSD-2-Clause */
/* git-fat ls: what is on the disk, in the manner of `git ls-tree -l`. */
#include "git-fat/command/command.h"
#include "git-fat/walk.h"

#include <stdio.h>

static int print_path(const struct walk_path *path, void *context)
{
	git_oid id;

	(void)context;
	git_oid_fromraw(&id, path->entry->id);
	if (path->directory)
		printf("tree %s %10s\t%s\n", git_oid_tostr_s(&id), "-",
		       path->text);
	else
		printf("blob %s %10u\t%s\n", git_oid_tostr_s(&id),
		       path->entry->size_bytes, path->text);
	return 0;
}

int command_ls(struct git_disk *disk)
{
	struct git_disk_reader *reader;
	struct error_text err;
	int rc = git_disk_reader_open(disk, &reader, &err);

	if (rc == 0) {
		rc = git_disk_walk(reader, print_path, NULL, &err);
		git_disk_reader_close(reader);
	}
	if (rc == 0)
		return EXIT_DONE;
	fprintf(stderr, "git-fat: %s\n", err.text);
	return EXIT_FAILED;
}
