/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of verify share: the volume (verify-volume.c), chains of
 * clusters (verify-chain.c), directories (verify-directory.c), names and what
 * the tree has for them (verify-tree.c).
 */
#ifndef XEN_DISKD_VERIFY_PRIVATE_H
#define XEN_DISKD_VERIFY_PRIVATE_H

#include "git-fat/path-name.h"
#include "git-fat/raw-tree.h"
#include "git-fat/verify.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define VERIFY_SECTOR_BYTES 512u
#define VERIFY_SLOT_BYTES 32u
#define VERIFY_SLOTS_MAX 65536u
#define VERIFY_NAME_UNITS 255u
#define VERIFY_SHORT_BYTES 11u
/* What is read at a time; a whole number of clusters, whatever their size. */
#define VERIFY_PIECE_BYTES (1u << 20)
#define VERIFY_FIRST_CLUSTER 2u

struct verify_volume {
	uint64_t start; /* offsets on the disk, bytes */
	uint64_t fats[2], data;
	uint32_t fat_bytes; /* of each */
	uint32_t cluster_bytes, nr_clusters, root_cluster;
	uint32_t free_count, next_free; /* as FSInfo has them */
	uint8_t label[VERIFY_SHORT_BYTES];
};

struct verify {
	struct verify_source *source;
	struct verify_sink *sink;
	const struct verify_tree *tree; /* or NULL */
	struct verify_counts counts;
	struct verify_volume volume;
	uint8_t *seen; /* a bit for each cluster that is in a chain */
	uint8_t *window; /* VERIFY_PIECE_BYTES of the first FAT */
	uint64_t window_at; /* UINT64_MAX: nothing yet */
	uint8_t *piece; /* VERIFY_PIECE_BYTES, for whoever reads */
};

/* Reports; what is cut at ERROR_TEXT_BYTES. */
void verify_found(struct verify *v, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Reads within the disk, or reports that it cannot and returns false. */
bool verify_read(struct verify *v, const char *path, uint64_t offset,
		 void *buffer, size_t nr_bytes);

static inline uint16_t verify_le16(const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return le16toh(value);
}

static inline uint32_t verify_le32(const uint8_t *bytes)
{
	uint32_t value;

	memcpy(&value, bytes, sizeof(value));
	return le32toh(value);
}

/* ---- volume ---- */

/* False when too little is right for anything more to be read. */
bool verify_volume_read(struct verify *v);
/* After all chains: both FATs whole, and FSInfo against them. */
void verify_volume_finish(struct verify *v);
bool verify_is_label(const uint8_t label[VERIFY_SHORT_BYTES]);
/* Whether the byte may be in a short name, as we make them. */
bool verify_is_short_byte(uint8_t byte);

/* ---- chains ---- */

struct verify_chain {
	struct verify *v;
	const char *path;
	uint32_t next; /* 0 at the end */
	uint32_t nr_clusters, limit;
	bool broken; /* and reported */
};

void verify_chain_start(struct verify_chain *chain, struct verify *v,
			const char *path, uint32_t first, uint32_t limit);
/*
 * Takes clusters that lie one after the other, at most max; returns how many,
 * 0 at the end of the chain, be it a bad one.
 */
uint32_t verify_chain_run(struct verify_chain *chain, uint32_t max,
			  uint32_t *ret_first);

static inline uint64_t verify_cluster_offset(const struct verify_volume *volume,
					     uint32_t cluster)
{
	return volume->data + (uint64_t)(cluster - VERIFY_FIRST_CLUSTER) *
				      volume->cluster_bytes;
}

static inline bool verify_is_seen(const struct verify *v, uint32_t cluster)
{
	return v->seen[cluster / 8] >> cluster % 8 & 1;
}

/* ---- directories ---- */

/* A file or directory as its slots have it. */
struct verify_entry {
	uint32_t units; /* index into the directory's units */
	uint16_t nr_units; /* at least 1 */
	bool has_long, directory;
	uint8_t short_name[VERIFY_SHORT_BYTES];
	uint32_t cluster, size_bytes;
};

struct verify_directory {
	struct verify_entry *entries;
	uint32_t nr_entries;
	uint16_t *units; /* of all names */
	uint32_t nr_units;
};

/* Where a directory is. */
struct verify_place {
	uint32_t cluster, parent_cluster;
	unsigned int depth; /* 1 for the root */
};

/* Parses slots, reporting what is wrong; -ENOMEM. */
int verify_directory_parse(struct verify *v, const char *path,
			   const struct verify_place *place,
			   const uint8_t *slots, uint32_t nr_slots,
			   struct verify_directory *ret_directory);
/* Reports names that are the same; -ENOMEM. */
int verify_directory_unique(struct verify *v, const struct path_name *path,
			    const struct verify_directory *directory);
void verify_directory_fini(struct verify_directory *directory);

/* ---- the tree ---- */

/* The bytes of a name in git: at most 3 a unit. */
struct verify_name {
	char bytes[VERIFY_NAME_UNITS * 3];
	size_t nr_bytes;
};

/* A directory as git has it. */
struct verify_node {
	bool known; /* false: nothing to compare with */
	git_oid id;
	/* Without entries: of a submodule, or of nothing. */
	bool submodule;
	const struct layout_tree *layout;
};

struct verify_child {
	struct raw_tree_entry raw;
	bool directory; /* what it should be on the disk */
	bool matched;
	git_oid id; /* of a file */
	struct verify_node node; /* of a directory */
};

struct verify_children {
	git_odb_object *object;
	struct verify_child *list;
	uint32_t nr;
};

/* Undoes the mapping of characters; false for half a surrogate pair. */
bool verify_name_of_units(const uint16_t *units, unsigned int nr_units,
			  struct verify_name *ret_name);
/* The path of an entry. */
void verify_path(const struct path_name *path,
		 const struct verify_directory *directory,
		 const struct verify_entry *entry, struct path_name *ret_path);

/* Reads the tree of a node and reports when it cannot; -ENOMEM. */
int verify_children_read(struct verify *v, const char *path,
			 const struct verify_node *node,
			 struct verify_children *ret_children);
void verify_children_fini(struct verify_children *children);
/*
 * Finds for each entry what it is in the tree, NULL for nothing, in an array
 * that the caller frees; reports those that one side has alone.  -ENOMEM.
 */
int verify_children_match(struct verify *v, const struct path_name *path,
			  const struct verify_directory *directory,
			  struct verify_children *children,
			  struct verify_child ***ret_matches);

#endif
