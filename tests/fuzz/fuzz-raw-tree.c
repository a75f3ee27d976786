/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzzes what is read from a repository before anything else is: the input is
 * a raw tree object, which is walked and its names allotted.  What is refused
 * is fine; what is taken has to keep the invariants of names.  For libFuzzer.
 */
#include "git-fat/names.h"
#include "git-fat/raw-tree.h"
#include "tests/unit/git-fat/name-invariants.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One for all inputs, as for all directories of a disk. */
static struct fat_names *names;

static void require(int holds, const char *what, size_t index)
{
	if (holds)
		return;
	fprintf(stderr, "entry %zu: %s\n", index, what);
	abort();
}

/* Returns 0 when the whole tree was taken. */
static int add_all(const uint8_t *data, size_t size)
{
	struct raw_tree_entry entry;
	const char *reason = NULL;
	struct raw_tree tree;
	size_t index = 0;
	int more, rc;

	raw_tree_init(&tree, data, size);
	while ((more = raw_tree_next(&tree, &entry, &reason)) > 0) {
		rc = fat_names_add(names, entry.name, entry.name_bytes,
				   entry.id);
		require(rc == 0 || rc == -ENAMETOOLONG || rc == -EEXIST,
			"unforeseen error", index);
		if (rc < 0)
			return rc;
		index++;
	}
	require(more == 0 || (more == -EBADMSG && reason),
		"refused without a reason", index);
	require(fat_names_count(names) == index, "not counted", index);
	return more;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *broken;
	size_t index = 0;

	if (!names)
		require(fat_names_new(&names) == 0, "no memory", 0);
	fat_names_reset(names);
	/* What came before a refusal is a directory, too. */
	(void)add_all(data, size);
	require(fat_names_allot(names) == 0, "no memory", 0);
	broken = name_invariants_broken(names, &index);
	require(!broken, broken, index);
	return 0;
}
