/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat verify: reads the whole disk and says what is wrong with it, or how
 * much there was.
 */
#include "git-fat/verify.h"
#include "common/list.h"
#include "git-fat/command/command.h"

#include <inttypes.h>
#include <stdio.h>

#define FINDINGS_SHOWN 20u

struct disk_source {
	struct verify_source base;
	struct git_disk_reader *reader;
};

struct stderr_sink {
	struct verify_sink base;
	uint64_t nr_found;
};

static int read_disk(struct verify_source *source, uint64_t offset,
		     void *buffer, size_t nr_bytes, struct error_text *err)
{
	struct disk_source *disk =
		container_of(source, struct disk_source, base);

	return git_disk_read(disk->reader, offset, buffer, nr_bytes, err);
}

static void print_finding(struct verify_sink *sink, const char *path,
			  const char *what)
{
	struct stderr_sink *own = container_of(sink, struct stderr_sink, base);

	if (own->nr_found++ < FINDINGS_SHOWN)
		fprintf(stderr, "git-fat: verify: %s: %s\n", path, what);
}

static int report(const struct verify_counts *counts)
{
	if (counts->nr_findings > FINDINGS_SHOWN)
		fprintf(stderr, "git-fat: verify: ... and %" PRIu64 " more\n",
			counts->nr_findings - FINDINGS_SHOWN);
	if (counts->nr_findings)
		return EXIT_UNSOUND;
	printf("verified: %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64
	       " bytes\n",
	       counts->nr_files, counts->nr_directories, counts->nr_bytes);
	return EXIT_DONE;
}

static int verify(struct git_disk *disk, struct git_disk_reader *reader,
		  git_odb *odb, struct error_text *err)
{
	struct disk_source source = {
		.base = { .read = read_disk,
			  .size_bytes = git_disk_size_bytes(disk) },
		.reader = reader,
	};
	struct stderr_sink sink = { .base.found = print_finding };
	struct verify_tree tree = {
		.odb = odb,
		.root = git_disk_tree(disk)->tree,
		.layout = git_disk_layout(disk),
	};
	struct verify_counts counts;
	int rc = verify_disk(&source.base, &tree, &sink.base, &counts, err);

	return rc < 0 ? rc : report(&counts);
}

int command_verify(struct git_disk *disk)
{
	struct git_disk_reader *reader = NULL;
	git_odb *odb = NULL;
	struct error_text err;
	int rc = git_disk_reader_open(disk, &reader, &err);

	/* A handle of its own: what it compares with is read anew. */
	if (rc == 0)
		rc = repository_open_objects(git_disk_tree(disk)->objects_path,
					     &odb, &err);
	if (rc == 0)
		rc = verify(disk, reader, odb, &err);
	git_odb_free(odb);
	git_disk_reader_close(reader);
	if (rc >= 0)
		return rc;
	fprintf(stderr, "git-fat: %s\n", err.text);
	return EXIT_FAILED;
}
