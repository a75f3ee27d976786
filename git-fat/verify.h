/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second opinion on a disk: reads it as a FAT driver would, trusting none of
 * it, and compares what is there with the git tree that it was made from.
 *
 * Nothing here is shared with what makes the disk but the case folding, which
 * is a table, and the reading of tree objects.
 *
 * Source: Microsoft's FAT specification 1.03; UEFI 2.10, 13.3.
 */
#ifndef XEN_DISKD_VERIFY_H
#define XEN_DISKD_VERIFY_H

#include "common/error-text.h"
#include "git-fat/layout.h"

#include <git2.h>
#include <stddef.h>
#include <stdint.h>

/* The disk to be read. */
struct verify_source {
	/*
	 * Required; blocks.  Reads nr_bytes at offset, all within size_bytes.
	 * -errno with a message.
	 */
	int (*read)(struct verify_source *source, uint64_t offset, void *buffer,
		    size_t nr_bytes, struct error_text *err);
	uint64_t size_bytes;
};

/* Who is told what is wrong. */
struct verify_sink {
	/*
	 * Required.  path: of the file or directory, printable; "partition
	 * table", "boot sector", "FSInfo", "FAT" for what is in none.  Both
	 * texts are valid during the call.
	 */
	void (*found)(struct verify_sink *sink, const char *path,
		      const char *what);
};

/* What should be on the disk. */
struct verify_tree {
	git_odb *odb;
	git_oid root;
	/* For what followed links lead to; laid out from root. */
	const struct layout *layout;
};

struct verify_counts {
	uint64_t nr_files, nr_directories; /* the root is not counted */
	uint64_t nr_bytes; /* in files */
	uint64_t nr_findings;
};

/*
 * Checks the whole disk; tree may be NULL, then only FAT is checked.  Returns
 * 0 also when there are findings, and when what cannot be read is one of them.
 * One thread; blocks.  -ENOMEM with a message.
 */
int verify_disk(struct verify_source *source, const struct verify_tree *tree,
		struct verify_sink *sink, struct verify_counts *ret_counts,
		struct error_text *err);

#endif
