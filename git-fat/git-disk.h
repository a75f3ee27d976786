/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A git tree as a FAT32 disk: the engine, for whoever wants its bytes.
 *
 * The disk is read-only and does not change while it is open.  Its bytes are a
 * function of the commit, the options and the policy version alone.
 */
#ifndef XEN_DISKD_GIT_DISK_H
#define XEN_DISKD_GIT_DISK_H

#include "common/error-text.h"
#include "git-fat/layout.h"
#include "git-fat/names.h"
#include "git-fat/repository.h"
#include "git-fat/volume.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a given tree becomes.  Raised with every change to names, places or
 * geometry: the same commit is another disk then.
 */
#define GIT_DISK_POLICY_VERSION 1

#define GIT_DISK_DEFAULT_CACHE_BYTES (64u << 20)
#define GIT_DISK_DEFAULT_LABEL "GIT"
#define GIT_DISK_DEFAULT_REVISION "HEAD"

struct git_disk_options {
	const char *repository; /* path */
	const char *revision;
	const char *subdirectory; /* NULL: the whole tree */
	const char *label;
	bool partition; /* with a partition table */
	bool follow_links;
	bool verify; /* hash every object that is read */
	uint64_t cache_bytes;
};

struct git_disk;
struct git_disk_reader;

/* The defaults; the repository is NULL. */
void git_disk_options_init(struct git_disk_options *options);

/* The names of the options below, NULL-terminated. */
extern const char *const git_disk_option_names[];

/*
 * Sets an option from text, which must outlive the options: ref=REVISION,
 * path=SUBDIRECTORY, label=TEXT, partition=mbr|none, symlinks=text|follow,
 * cache=SIZE, verify=on|off.  -EINVAL with a message.
 */
int git_disk_options_set(struct git_disk_options *options, const char *key,
			 const char *value, struct error_text *err);

/*
 * Resolves, lays out and opens a disk.  verify is for the whole process, as
 * the last disk had it.  Main thread; blocks.  The caller owns *ret_disk.
 * Errors: those of repository_resolve() and layout_build(), with a message.
 */
int git_disk_open(const struct git_disk_options *options,
		  struct git_disk **ret_disk, struct error_text *err);
/* No reader is open.  NULL is a no-op. */
void git_disk_close(struct git_disk *disk);

uint64_t git_disk_size_bytes(const struct git_disk *disk);
/* Hexadecimal id of the commit served, or of the tree when there is none. */
const char *git_disk_version(const struct git_disk *disk);
const struct layout *git_disk_layout(const struct git_disk *disk);
const struct volume *git_disk_volume(const struct git_disk *disk);
const struct repository_tree *git_disk_tree(const struct git_disk *disk);

/*
 * A reader belongs to one thread at a time; any number may read at once.
 * Blocks.  Errors: -ENOMEM, and those of the repository.
 */
int git_disk_reader_open(struct git_disk *disk,
			 struct git_disk_reader **ret_reader,
			 struct error_text *err);
/* NULL is a no-op. */
void git_disk_reader_close(struct git_disk_reader *reader);
/* As loose_objects_place(): what it reads from, for now. */
const char *git_disk_reader_place(const struct git_disk_reader *reader,
				  size_t index);
struct git_disk *git_disk_reader_disk(const struct git_disk_reader *reader);

/*
 * Reads the tree object of a directory and allots its names, the i-th being
 * that of the entry with position i.  They stay until the next call, or the
 * next read.  Errors as git_disk_read().
 */
int git_disk_read_names(struct git_disk_reader *reader,
			const struct layout_tree *tree,
			const struct fat_names **ret_names,
			struct error_text *err);

/*
 * Reads nr_bytes at an offset, all within the disk.  The reader's thread;
 * blocks while objects are read and inflated.  Errors, with a message that
 * names the object: -EIO, -ENOENT, -ENOMEM.
 */
int git_disk_read(struct git_disk_reader *reader, uint64_t offset, void *buffer,
		  size_t nr_bytes, struct error_text *err);

/*
 * As git_disk_read(), if all of it can be had at once: without I/O, without
 * inflating.  Else -EAGAIN, with the buffer in any state.  Any thread.
 */
int git_disk_try_read(struct git_disk *disk, uint64_t offset, void *buffer,
		      size_t nr_bytes);

/*
 * Has what lies in a range ready for a later read; what is beyond the end, and
 * errors, do not matter.  The reader's thread; blocks.
 */
void git_disk_prefetch(struct git_disk_reader *reader, uint64_t offset,
		       uint64_t nr_bytes);

#endif
