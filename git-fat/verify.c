/* SPDX-License-Identifier: BSD-2-Clause */
/* Going through the disk: the volume, then each directory and file. */
#include "git-fat/verify.h"

#include "git-fat/verify-private.h"

#include <errno.h>
#include <sha1.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void verify_found(struct verify *v, const char *path, const char *fmt, ...)
{
	char what[ERROR_TEXT_BYTES];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	v->counts.nr_findings++;
	v->sink->found(v->sink, *path ? path : "/", what);
}

bool verify_read(struct verify *v, const char *path, uint64_t offset,
		 void *buffer, size_t nr_bytes)
{
	struct error_text err = { "" };

	if (nr_bytes > v->source->size_bytes ||
	    offset > v->source->size_bytes - nr_bytes) {
		verify_found(v, path, "lies beyond the end of the disk");
		return false;
	}
	if (v->source->read(v->source, offset, buffer, nr_bytes, &err) == 0)
		return true;
	verify_found(v, path, "cannot be read: %s", err.text);
	return false;
}

/* ---- files ------------------------------------------------------------------ */

/* A file on its way through memory. */
struct file_read {
	struct verify *v;
	const char *path;
	uint32_t left;
	SHA1_CTX sha1;
};

static void take_piece(struct file_read *file, size_t nr_bytes)
{
	const uint8_t *piece = file->v->piece;
	size_t used = nr_bytes < file->left ? nr_bytes : file->left;

	SHA1Update(&file->sha1, piece, used);
	file->left -= (uint32_t)used;
	for (size_t i = used; i < nr_bytes; i++) {
		if (!piece[i])
			continue;
		verify_found(file->v, file->path,
			     "what is behind its end is not zero");
		return;
	}
}

/* False when it could not be read whole, which is reported. */
static bool read_file(struct file_read *file, const struct verify_entry *entry)
{
	struct verify *v = file->v;
	uint32_t cluster_bytes = v->volume.cluster_bytes, first, nr;
	uint32_t limit = entry->size_bytes / cluster_bytes +
			 (entry->size_bytes % cluster_bytes != 0);
	struct verify_chain chain;

	verify_chain_start(&chain, v, file->path, entry->cluster, limit);
	while ((nr = verify_chain_run(
			&chain, VERIFY_PIECE_BYTES / cluster_bytes, &first))) {
		if (!verify_read(v, file->path,
				 verify_cluster_offset(&v->volume, first),
				 v->piece, (size_t)nr * cluster_bytes))
			return false;
		take_piece(file, (size_t)nr * cluster_bytes);
	}
	if (!chain.broken && file->left)
		verify_found(v, file->path,
			     "its chain has %u clusters; its %u bytes need %u",
			     chain.nr_clusters, entry->size_bytes, limit);
	return !chain.broken && !file->left;
}

static void check_file(struct verify *v, const char *path,
		       const struct verify_entry *entry,
		       const struct verify_child *child)
{
	struct file_read file = { .v = v,
				  .path = path,
				  .left = entry->size_bytes };
	uint8_t hash[GIT_OID_RAWSZ];
	char header[32];
	int nr = snprintf(header, sizeof(header), "blob %u", entry->size_bytes);

	v->counts.nr_files++;
	v->counts.nr_bytes += entry->size_bytes;
	SHA1Init(&file.sha1);
	SHA1Update(&file.sha1, (const uint8_t *)header, (size_t)nr + 1);
	if (!read_file(&file, entry) || !child)
		return;
	SHA1Final(hash, &file.sha1);
	if (memcmp(hash, child->id.id, sizeof(hash)) != 0)
		verify_found(v, path, "its content is not blob %s",
			     git_oid_tostr_s(&child->id));
}

/* ---- directories ------------------------------------------------------------- */

static int no_memory(struct error_text *err)
{
	return error_set(err, -ENOMEM, "verify: no memory");
}

/* Reads the slots, those that a broken chain still has; the caller frees. */
static int read_slots(struct verify *v, const char *path, uint32_t first,
		      uint8_t **ret_slots, uint32_t *ret_nr)
{
	uint32_t cluster_bytes = v->volume.cluster_bytes, nr, at;
	uint32_t limit = VERIFY_SLOTS_MAX * VERIFY_SLOT_BYTES / cluster_bytes;
	size_t used = 0;
	struct verify_chain chain;
	uint8_t *slots = malloc((size_t)limit * cluster_bytes);

	if (!slots)
		return -ENOMEM;
	verify_chain_start(&chain, v, path, first, limit);
	while ((nr = verify_chain_run(&chain, limit, &at))) {
		size_t nr_bytes = (size_t)nr * cluster_bytes;

		if (!verify_read(v, path, verify_cluster_offset(&v->volume, at),
				 slots + used, nr_bytes))
			break;
		used += nr_bytes;
	}
	*ret_slots = slots;
	*ret_nr = (uint32_t)(used / VERIFY_SLOT_BYTES);
	return 0;
}

static int check_directory(struct verify *v, const struct path_name *path,
			   const struct verify_place *place,
			   const struct verify_node *node);

static int check_child(struct verify *v, const struct path_name *path,
		       const struct verify_place *place,
		       const struct verify_entry *entry,
		       const struct verify_child *child)
{
	struct verify_place below = {
		.cluster = entry->cluster,
		.parent_cluster = place->depth == 1 ? 0 : place->cluster,
		.depth = place->depth + 1,
	};
	struct verify_node unknown = { .known = false };

	if (child && child->directory != entry->directory) {
		verify_found(v, path->text, "is a %s, not a %s",
			     entry->directory ? "directory" : "file",
			     child->directory ? "directory" : "file");
		child = NULL;
	}
	if (!entry->directory) {
		check_file(v, path->text, entry, child);
		return 0;
	}
	v->counts.nr_directories++;
	if (below.depth > LAYOUT_DEPTH_MAX) {
		verify_found(v, path->text, "nested more than %u deep",
			     LAYOUT_DEPTH_MAX);
		return 0;
	}
	return check_directory(v, path, &below,
			       child ? &child->node : &unknown);
}

static int check_children(struct verify *v, const struct path_name *path,
			  const struct verify_place *place,
			  const struct verify_directory *directory,
			  struct verify_child *const *matches)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < directory->nr_entries; i++) {
		const struct verify_entry *entry = &directory->entries[i];
		struct path_name own;

		verify_path(path, directory, entry, &own);
		rc = check_child(v, &own, place, entry,
				 matches ? matches[i] : NULL);
	}
	return rc;
}

/* Against the tree, if it is known, and then what is in it. */
static int check_entries(struct verify *v, const struct path_name *path,
			 const struct verify_place *place,
			 const struct verify_directory *directory,
			 const struct verify_node *node)
{
	struct verify_children children;
	struct verify_child **matches = NULL;
	int rc = verify_children_read(v, path->text, node, &children);

	if (rc == 0 && node->known)
		rc = verify_children_match(v, path, directory, &children,
					   &matches);
	if (rc == 0)
		rc = check_children(v, path, place, directory, matches);
	free(matches);
	verify_children_fini(&children);
	return rc;
}

static int check_directory(struct verify *v, const struct path_name *path,
			   const struct verify_place *place,
			   const struct verify_node *node)
{
	struct verify_directory directory;
	uint8_t *slots;
	uint32_t nr_slots;
	int rc = read_slots(v, path->text, place->cluster, &slots, &nr_slots);

	if (rc < 0)
		return rc;
	rc = verify_directory_parse(v, path->text, place, slots, nr_slots,
				    &directory);
	free(slots);
	if (rc == 0)
		rc = verify_directory_unique(v, path, &directory);
	if (rc == 0)
		rc = check_entries(v, path, place, &directory, node);
	verify_directory_fini(&directory);
	return rc;
}

/* ---- the whole ---------------------------------------------------------------- */

static int check_volume(struct verify *v)
{
	struct verify_node node = { .known = v->tree != NULL };
	struct verify_place root = { .depth = 1 };
	struct path_name path;
	int rc;

	if (!verify_volume_read(v))
		return 0;
	v->seen = calloc(v->volume.nr_clusters / 8 + 1, 1);
	if (!v->seen)
		return -ENOMEM;
	if (v->tree) {
		node.id = v->tree->root;
		node.layout = layout_root(v->tree->layout);
	}
	root.cluster = v->volume.root_cluster;
	path_name_init(&path);
	rc = check_directory(v, &path, &root, &node);
	if (rc == 0)
		verify_volume_finish(v);
	return rc;
}

int verify_disk(struct verify_source *source, const struct verify_tree *tree,
		struct verify_sink *sink, struct verify_counts *ret_counts,
		struct error_text *err)
{
	struct verify v = {
		.source = source,
		.sink = sink,
		.tree = tree,
		.window = malloc(VERIFY_PIECE_BYTES),
		.window_at = UINT64_MAX,
		.piece = malloc(VERIFY_PIECE_BYTES),
	};
	int rc = v.window && v.piece ? check_volume(&v) : -ENOMEM;

	free(v.window);
	free(v.piece);
	free(v.seen);
	if (rc < 0)
		return no_memory(err);
	*ret_counts = v.counts;
	return 0;
}
