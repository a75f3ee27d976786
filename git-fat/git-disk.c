/* SPDX-License-Identifier: BSD-2-Clause */
/* From an offset on the disk to the bytes there. */
#include "git-fat/git-disk.h"

#include "common/list.h"
#include "git-fat/directory.h"
#include "git-fat/layout-private.h"
#include "git-fat/layout.h"
#include "git-fat/loose-objects.h"
#include "git-fat/names.h"
#include "git-fat/object-cache.h"
#include "git-fat/volume.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Of the temporary file; more only for a file that is itself bigger. */
#define SPILL_BUDGET_BYTES (4ull << 30)
/* What takes so much memory, for a moment, is big. */
#define BIG_BYTES (16u << 20)
/* FAT that is computed while somebody waits on the same thread. */
#define FAT_BYTES_AT_ONCE 8192u

struct git_disk {
	struct repository_tree tree;
	char version[OBJECT_NAME_BYTES];
	struct layout layout;
	struct volume volume;
	struct fat_time time;
	struct object_cache *cache;
	/*
	 * Git's objects are inflated whole: of the big ones, one at a time.
	 */
	pthread_mutex_t big_lock;
};

struct git_disk_reader {
	struct object_loader loader;
	struct git_disk *disk;
	git_odb *odb;
	struct fat_names *names;
};

/* One read on its way: what is left of it. */
struct disk_read {
	const struct git_disk *disk;
	struct git_disk_reader *reader; /* NULL: must not block */
	struct error_text *err;
	uint64_t offset;
	uint8_t *buffer;
	size_t nr_bytes;
};

/* ---- opening --------------------------------------------------------------- */

/* Puts the repository in front: the layout knows only paths within. */
static int lay_out(struct git_disk *disk,
		   const struct git_disk_options *options,
		   struct error_text *err)
{
	struct error_text cause;
	git_odb *odb;
	int rc = repository_open_objects(disk->tree.objects_path, &odb, err);

	if (rc < 0)
		return rc;
	rc = layout_build(odb, &disk->tree.tree, options->follow_links,
			  &disk->layout, &cause);
	git_odb_free(odb);
	if (rc < 0)
		return error_set(err, rc, "repository '%s': %s",
				 options->repository, cause.text);
	return 0;
}

static int open_disk(struct git_disk *disk,
		     const struct git_disk_options *options,
		     struct error_text *err)
{
	uint8_t label[VOLUME_LABEL_BYTES];
	const unsigned char *id = disk->tree.version.id;
	int rc = volume_parse_label(options->label, label, err);

	if (rc == 0)
		rc = repository_library_init(options->verify, err);
	if (rc == 0)
		rc = repository_resolve(options->repository, options->revision,
					options->subdirectory, &disk->tree,
					err);
	if (rc == 0)
		rc = lay_out(disk, options, err);
	if (rc < 0)
		return rc;
	git_oid_tostr(disk->version, sizeof(disk->version),
		      &disk->tree.version);
	disk->time = fat_time_from_unix(disk->tree.time_s);
	volume_init(&disk->volume, &disk->layout, options->partition, label,
		    (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 |
			    (uint32_t)id[2] << 8 | id[3]);
	rc = object_cache_new(options->cache_bytes, SPILL_BUDGET_BYTES,
			      &disk->cache);
	if (rc < 0)
		return error_set(err, rc, "repository '%s': cache: %s",
				 options->repository, strerror(-rc));
	return 0;
}

int git_disk_open(const struct git_disk_options *options,
		  struct git_disk **ret_disk, struct error_text *err)
{
	struct git_disk *disk = calloc(1, sizeof(*disk));
	int rc;

	if (!disk)
		return error_set(err, -ENOMEM, "repository '%s': no memory",
				 options->repository);
	pthread_mutex_init(&disk->big_lock, NULL);
	rc = open_disk(disk, options, err);
	if (rc < 0) {
		git_disk_close(disk);
		return rc;
	}
	*ret_disk = disk;
	return 0;
}

void git_disk_close(struct git_disk *disk)
{
	if (!disk)
		return;
	object_cache_free(disk->cache);
	layout_fini(&disk->layout);
	repository_tree_fini(&disk->tree);
	pthread_mutex_destroy(&disk->big_lock);
	free(disk);
}

uint64_t git_disk_size_bytes(const struct git_disk *disk)
{
	return disk->volume.end_sector * VOLUME_SECTOR_BYTES;
}

const char *git_disk_version(const struct git_disk *disk)
{
	return disk->version;
}

const struct layout *git_disk_layout(const struct git_disk *disk)
{
	return &disk->layout;
}

const struct volume *git_disk_volume(const struct git_disk *disk)
{
	return &disk->volume;
}

const struct repository_tree *git_disk_tree(const struct git_disk *disk)
{
	return &disk->tree;
}

/* ---- making objects --------------------------------------------------------- */

/*
 * A `git gc` may have put other packs in the place of those that the handle
 * knows: what cannot be read is looked for once more by a new one.
 */
static int read_object(struct git_disk_reader *reader, const git_oid *id,
		       git_object_t type, uint64_t max_bytes,
		       git_odb_object **ret_object, struct error_text *err)
{
	struct error_text ignored;
	git_odb *anew;
	int rc = repository_read(reader->odb, id, type, max_bytes, ret_object,
				 err);

	if (rc == 0 || rc == -EFBIG || rc == -EBADMSG)
		return rc;
	if (repository_open_objects(reader->disk->tree.objects_path, &anew,
				    &ignored) < 0)
		return rc;
	git_odb_free(reader->odb);
	reader->odb = anew;
	return repository_read(anew, id, type, max_bytes, ret_object, err);
}

static void release_object(void *owner)
{
	git_odb_object_free(owner);
}

static int read_blob(struct git_disk_reader *reader, const git_oid *id,
		     git_odb_object **ret_object, struct error_text *err)
{
	struct git_disk *disk = reader->disk;
	int rc = read_object(reader, id, GIT_OBJECT_BLOB, BIG_BYTES, ret_object,
			     err);

	if (rc != -EFBIG)
		return rc;
	pthread_mutex_lock(&disk->big_lock);
	rc = read_object(reader, id, GIT_OBJECT_BLOB, LAYOUT_FILE_BYTES_MAX,
			 ret_object, err);
	pthread_mutex_unlock(&disk->big_lock);
	return rc;
}

static int load_blob(struct git_disk_reader *reader, const git_oid *id,
		     struct object_bytes *ret_bytes, struct error_text *err)
{
	git_odb_object *object;
	int rc = read_blob(reader, id, &object, err);

	if (rc < 0)
		return rc;
	*ret_bytes = (struct object_bytes){
		.data = git_odb_object_data(object),
		.nr_bytes = git_odb_object_size(object),
		.owner = object,
		.release = release_object,
	};
	return 0;
}

int git_disk_read_names(struct git_disk_reader *reader,
			const struct layout_tree *tree,
			const struct fat_names **ret_names,
			struct error_text *err)
{
	bool root = tree == layout_root(&reader->disk->layout);
	git_odb_object *object = NULL;
	git_oid id;
	int rc;

	*ret_names = reader->names;
	if (tree->empty) {
		fat_names_reset(reader->names);
		return 0;
	}
	git_oid_fromraw(&id, tree->id);
	rc = read_object(reader, &id, GIT_OBJECT_TREE, TREE_OBJECT_BYTES_MAX,
			 &object, err);
	if (rc < 0)
		return rc;
	rc = directory_read_names(tree, root, git_odb_object_data(object),
				  git_odb_object_size(object), reader->names);
	git_odb_object_free(object);
	if (rc < 0)
		return error_set(err, rc, "tree %s: %s", git_oid_tostr_s(&id),
				 rc == -ENOMEM ? "no memory"
					       : "not what it was");
	return 0;
}

static int load_directory(struct git_disk_reader *reader, uint32_t cluster,
			  struct object_bytes *ret_bytes,
			  struct error_text *err)
{
	struct git_disk *disk = reader->disk;
	struct directory_source source = {
		.layout = &disk->layout,
		.label = disk->volume.label,
		.time = disk->time,
	};
	uint8_t *bytes;
	int rc;

	layout_find(&disk->layout, cluster, &source.extent);
	rc = git_disk_read_names(reader, source.extent.tree, &source.names,
				 err);
	if (rc < 0)
		return rc;
	rc = directory_build(&source, &bytes);
	if (rc < 0)
		return error_set(err, rc, "directory at cluster %u: no memory",
				 cluster);
	*ret_bytes = (struct object_bytes){
		.data = bytes,
		.nr_bytes = (uint64_t)source.extent.nr_clusters *
			    LAYOUT_CLUSTER_BYTES,
		.owner = bytes,
		.release = free,
	};
	return 0;
}

static int reader_load(struct object_loader *loader,
		       const struct object_key *key,
		       struct object_bytes *ret_bytes, struct error_text *err)
{
	struct git_disk_reader *reader =
		container_of(loader, struct git_disk_reader, loader);
	git_oid id;

	if (key->cluster)
		return load_directory(reader, key->cluster, ret_bytes, err);
	git_oid_fromraw(&id, key->id);
	return load_blob(reader, &id, ret_bytes, err);
}

int git_disk_reader_open(struct git_disk *disk,
			 struct git_disk_reader **ret_reader,
			 struct error_text *err)
{
	struct git_disk_reader *reader = calloc(1, sizeof(*reader));
	int rc;

	if (!reader)
		return error_set(err, -ENOMEM, "reader: no memory");
	reader->disk = disk;
	reader->loader.load = reader_load;
	rc = fat_names_new(&reader->names);
	if (rc < 0)
		error_set(err, rc, "reader: no memory");
	else
		rc = repository_open_objects(disk->tree.objects_path,
					     &reader->odb, err);
	if (rc < 0) {
		git_disk_reader_close(reader);
		return rc;
	}
	*ret_reader = reader;
	return 0;
}

void git_disk_reader_close(struct git_disk_reader *reader)
{
	if (!reader)
		return;
	git_odb_free(reader->odb);
	fat_names_free(reader->names);
	free(reader);
}

const char *git_disk_reader_place(const struct git_disk_reader *reader,
				  size_t index)
{
	return loose_objects_place(reader->odb, index);
}

struct git_disk *git_disk_reader_disk(const struct git_disk_reader *reader)
{
	return reader->disk;
}

/* ---- reading ---------------------------------------------------------------- */

static void extent_key(const struct layout_extent *extent,
		       struct object_key *ret_key)
{
	bool file = extent->kind == LAYOUT_FILE;

	*ret_key = (struct object_key){
		.cluster = file ? 0 : extent->first_cluster,
	};
	memcpy(ret_key->id, file ? extent->file->id : extent->tree->id,
	       sizeof(ret_key->id));
}

static size_t at_most(size_t nr_bytes, uint64_t limit)
{
	return nr_bytes < limit ? nr_bytes : (size_t)limit;
}

/* Each of these serves the front of a read and returns how much, or -errno. */

static int64_t read_front(struct disk_read *read)
{
	uint64_t sector = read->offset / VOLUME_SECTOR_BYTES;
	size_t skip = read->offset % VOLUME_SECTOR_BYTES;
	size_t nr_bytes = at_most(read->nr_bytes, VOLUME_SECTOR_BYTES - skip);
	uint8_t bytes[VOLUME_SECTOR_BYTES];

	volume_read_sector(&read->disk->volume, sector, bytes);
	memcpy(read->buffer, bytes + skip, nr_bytes);
	return (int64_t)nr_bytes;
}

static int64_t read_fat(struct disk_read *read)
{
	const struct volume *volume = &read->disk->volume;
	uint64_t fat_bytes =
		(uint64_t)volume->fat_sectors * VOLUME_SECTOR_BYTES;
	uint64_t at =
		(read->offset - volume->fat_sector * VOLUME_SECTOR_BYTES) %
		fat_bytes;
	size_t skip = at % VOLUME_SECTOR_BYTES;
	size_t nr_bytes = at_most(read->nr_bytes, VOLUME_SECTOR_BYTES - skip);
	uint8_t bytes[VOLUME_SECTOR_BYTES];

	if (!read->reader && read->nr_bytes > FAT_BYTES_AT_ONCE)
		return -EAGAIN;
	volume_read_fat(volume, &read->disk->layout,
			(uint32_t)((at - skip) / sizeof(uint32_t)),
			VOLUME_SECTOR_BYTES / sizeof(uint32_t), bytes);
	memcpy(read->buffer, bytes + skip, nr_bytes);
	return (int64_t)nr_bytes;
}

static int64_t read_data(struct disk_read *read)
{
	const struct git_disk *disk = read->disk;
	uint64_t at =
		read->offset - disk->volume.data_sector * VOLUME_SECTOR_BYTES;
	uint32_t cluster =
		LAYOUT_FIRST_CLUSTER + (uint32_t)(at / LAYOUT_CLUSTER_BYTES);
	struct layout_extent extent;
	struct object_key key;
	uint64_t inside;
	size_t nr_bytes;
	int rc;

	layout_find(&disk->layout, cluster, &extent);
	inside = (uint64_t)(cluster - extent.first_cluster) *
			 LAYOUT_CLUSTER_BYTES +
		 at % LAYOUT_CLUSTER_BYTES;
	nr_bytes = at_most(read->nr_bytes,
			   (uint64_t)extent.nr_clusters * LAYOUT_CLUSTER_BYTES -
				   inside);
	if (extent.kind == LAYOUT_FREE) {
		memset(read->buffer, 0, nr_bytes);
		return (int64_t)nr_bytes;
	}
	extent_key(&extent, &key);
	if (read->reader)
		rc = object_cache_read(disk->cache, &key, inside, read->buffer,
				       nr_bytes, &read->reader->loader,
				       read->err);
	else
		rc = object_cache_try_read(disk->cache, &key, inside,
					   read->buffer, nr_bytes);
	return rc < 0 ? rc : (int64_t)nr_bytes;
}

static int read_all(struct disk_read *read)
{
	const struct volume *volume = &read->disk->volume;

	while (read->nr_bytes) {
		uint64_t sector = read->offset / VOLUME_SECTOR_BYTES;
		int64_t done;

		if (sector < volume->fat_sector)
			done = read_front(read);
		else if (sector < volume->data_sector)
			done = read_fat(read);
		else
			done = read_data(read);
		if (done < 0)
			return (int)done;
		read->offset += (uint64_t)done;
		read->buffer += done;
		read->nr_bytes -= (size_t)done;
	}
	return 0;
}

int git_disk_read(struct git_disk_reader *reader, uint64_t offset, void *buffer,
		  size_t nr_bytes, struct error_text *err)
{
	struct disk_read read = {
		.disk = reader->disk,
		.reader = reader,
		.err = err,
		.offset = offset,
		.buffer = buffer,
		.nr_bytes = nr_bytes,
	};

	return read_all(&read);
}

int git_disk_try_read(struct git_disk *disk, uint64_t offset, void *buffer,
		      size_t nr_bytes)
{
	struct disk_read read = {
		.disk = disk,
		.offset = offset,
		.buffer = buffer,
		.nr_bytes = nr_bytes,
	};

	return read_all(&read);
}

void git_disk_prefetch(struct git_disk_reader *reader, uint64_t offset,
		       uint64_t nr_bytes)
{
	const struct git_disk *disk = reader->disk;
	uint64_t data = disk->volume.data_sector * VOLUME_SECTOR_BYTES;
	uint64_t end = git_disk_size_bytes(disk);

	if (offset < end && nr_bytes < end - offset)
		end = offset + nr_bytes;
	if (offset < data)
		offset = data;
	while (offset < end) {
		struct layout_extent extent;
		struct object_key key;

		layout_find(&disk->layout,
			    LAYOUT_FIRST_CLUSTER +
				    (uint32_t)((offset - data) /
					       LAYOUT_CLUSTER_BYTES),
			    &extent);
		if (extent.kind == LAYOUT_FREE)
			return;
		extent_key(&extent, &key);
		/* What costs so much has to be asked for. */
		if ((uint64_t)extent.nr_clusters * LAYOUT_CLUSTER_BYTES <=
		    BIG_BYTES)
			object_cache_prefetch(disk->cache, &key,
					      &reader->loader);
		offset = data +
			 (uint64_t)(extent.first_cluster + extent.nr_clusters -
				    LAYOUT_FIRST_CLUSTER) *
				 LAYOUT_CLUSTER_BYTES;
	}
}
