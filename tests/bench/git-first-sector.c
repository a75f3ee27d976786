/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests/git-fat/bench.sh measures from within a process:
 *
 *	git-first-sector sector REPOSITORY REF
 *		opens the disk, reads the first sector of its partition, and
 *		prints the process's anonymous memory at that point, in KiB
 *	git-first-sector random REPOSITORY REF COUNT
 *		reads 4 KiB of the biggest file, then COUNT times 4 KiB at
 *		random, and prints how long the slowest of those took, in ms
 *
 * Ends without freeing anything: what it does after is not to be measured.
 */
#include "git-fat/git-disk.h"
#include "git-fat/walk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 4096u

static struct error_text err;

static void __attribute__((noreturn)) fail(const char *what)
{
	fprintf(stderr, "git-first-sector: %s\n", what);
	exit(1);
}

static unsigned long anonymous_kib(void)
{
	FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib = 0;
	char line[256];

	if (!rollup)
		fail("cannot read /proc/self/smaps_rollup");
	while (fgets(line, sizeof(line), rollup))
		sscanf(line, "Anonymous: %lu kB", &kib);
	fclose(rollup);
	return kib;
}

static void first_sector(struct git_disk *disk, struct git_disk_reader *reader)
{
	const struct volume *volume = git_disk_volume(disk);
	uint8_t sector[VOLUME_SECTOR_BYTES];

	if (git_disk_read(reader,
			  (uint64_t)volume->partition_sector *
				  VOLUME_SECTOR_BYTES,
			  sector, sizeof(sector), &err) < 0)
		fail(err.text);
	if (sector[510] != 0x55 || sector[511] != 0xAA)
		fail("this is no boot sector");
	printf("%lu\n", anonymous_kib());
}

struct biggest {
	uint32_t size_bytes, first_cluster;
};

static int note_biggest(const struct walk_path *path, void *context)
{
	struct biggest *biggest = context;

	if (!path->directory && path->entry->size_bytes > biggest->size_bytes)
		*biggest = (struct biggest){ path->entry->size_bytes,
					     path->first_cluster };
	return 0;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static double timed_read(struct git_disk_reader *reader, uint64_t offset)
{
	static uint8_t bytes[READ_BYTES];
	double start_ms = now_ms();

	if (git_disk_read(reader, offset, bytes, sizeof(bytes), &err) < 0)
		fail(err.text);
	return now_ms() - start_ms;
}

static void random_reads(struct git_disk *disk, struct git_disk_reader *reader,
			 unsigned long count)
{
	struct biggest biggest = { 0, 0 };
	uint64_t start;
	double max_ms = 0;

	if (git_disk_walk(reader, note_biggest, &biggest, &err) < 0)
		fail(err.text);
	if (biggest.size_bytes < READ_BYTES)
		fail("there is no file of 4 KiB");
	start = git_disk_volume(disk)->data_sector * VOLUME_SECTOR_BYTES +
		(uint64_t)(biggest.first_cluster - LAYOUT_FIRST_CLUSTER) *
			LAYOUT_CLUSTER_BYTES;
	timed_read(reader, start);
	srandom(1);
	while (count--) {
		uint64_t page =
			(uint64_t)random() % (biggest.size_bytes / READ_BYTES);
		double ms = timed_read(reader, start + page * READ_BYTES);

		if (ms > max_ms)
			max_ms = ms;
	}
	printf("%.3f\n", max_ms);
}

int main(int argc, char **argv)
{
	struct git_disk_options options;
	struct git_disk_reader *reader;
	struct git_disk *disk;

	if (argc < 4)
		fail("usage: git-first-sector sector|random REPOSITORY REF "
		     "[COUNT]");
	git_disk_options_init(&options);
	options.repository = argv[2];
	options.revision = argv[3];
	if (git_disk_open(&options, &disk, &err) < 0 ||
	    git_disk_reader_open(disk, &reader, &err) < 0)
		fail(err.text);
	if (strcmp(argv[1], "sector") == 0)
		first_sector(disk, reader);
	else
		random_reads(disk, reader,
			     argc > 4 ? strtoul(argv[4], NULL, 10) : 1000);
	fflush(stdout);
	_exit(0);
}
