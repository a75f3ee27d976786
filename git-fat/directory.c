/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes of directories. */
#include "git-fat/directory.h"

#include "git-fat/raw-tree.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	ATTR_READ_ONLY = 0x01,
	ATTR_VOLUME_ID = 0x08,
	ATTR_DIRECTORY = 0x10,
	ATTR_ARCHIVE = 0x20,
	ATTR_LONG_NAME = 0x0f,
};

#define LAST_LONG_SLOT 0x40

struct short_slot {
	uint8_t name[FAT_SHORT_NAME_BYTES];
	uint8_t attributes;
	uint8_t nt_reserved;
	uint8_t created_hundredths;
	uint16_t created_time;
	uint16_t created_date;
	uint16_t accessed_date;
	uint16_t cluster_high;
	uint16_t written_time;
	uint16_t written_date;
	uint16_t cluster_low;
	uint32_t size_bytes;
} __attribute__((packed));
_Static_assert(sizeof(struct short_slot) == LAYOUT_SLOT_BYTES, "");

struct long_slot {
	uint8_t ordinal;
	uint16_t units1[5];
	uint8_t attributes;
	uint8_t type;
	uint8_t checksum;
	uint16_t units2[6];
	uint16_t zero;
	uint16_t units3[2];
} __attribute__((packed));
_Static_assert(sizeof(struct long_slot) == LAYOUT_SLOT_BYTES, "");

/* Where the next slot goes; there is room for all of the directory's. */
struct slot_writer {
	uint8_t *next;
	struct fat_time time;
};

struct fat_time fat_time_from_unix(int64_t time_s)
{
	const struct fat_time first = { .date = 0 << 9 | 1 << 5 | 1 };
	const struct fat_time last = { .date = 127 << 9 | 12 << 5 | 31,
				       .time = 23 << 11 | 59 << 5 | 29,
				       .hundredths = 100 };
	time_t time = time_s;
	struct tm tm;

	if (!gmtime_r(&time, &tm))
		return time_s < 0 ? first : last;
	if (tm.tm_year < 80)
		return first;
	if (tm.tm_year > 207)
		return last;
	return (struct fat_time){
		.date = (uint16_t)((tm.tm_year - 80) << 9 |
				   (tm.tm_mon + 1) << 5 | tm.tm_mday),
		.time = (uint16_t)(tm.tm_hour << 11 | tm.tm_min << 5 |
				   tm.tm_sec / 2),
		.hundredths = tm.tm_sec % 2 ? 100 : 0,
	};
}

static void put_short(struct slot_writer *writer,
		      const uint8_t name[FAT_SHORT_NAME_BYTES],
		      uint8_t attributes, uint32_t cluster, uint32_t size_bytes)
{
	struct short_slot slot = {
		.attributes = attributes,
		.created_hundredths = writer->time.hundredths,
		.created_time = htole16(writer->time.time),
		.created_date = htole16(writer->time.date),
		.accessed_date = htole16(writer->time.date),
		.cluster_high = htole16((uint16_t)(cluster >> 16)),
		.written_time = htole16(writer->time.time),
		.written_date = htole16(writer->time.date),
		.cluster_low = htole16((uint16_t)cluster),
		.size_bytes = htole32(size_bytes),
	};

	memcpy(slot.name, name, sizeof(slot.name));
	memcpy(writer->next, &slot, sizeof(slot));
	writer->next += sizeof(slot);
}

/* The unit at a place of a long name: it ends in 0, then all ones. */
static uint16_t long_unit(const struct fat_name *name, unsigned int at)
{
	if (at < name->nr_units)
		return htole16(name->units[at]);
	return at == name->nr_units ? 0 : 0xffff;
}

static void put_long_slot(struct slot_writer *writer,
			  const struct fat_name *name, unsigned int ordinal,
			  uint8_t checksum)
{
	struct long_slot slot = {
		.ordinal = (uint8_t)ordinal,
		.attributes = ATTR_LONG_NAME,
		.checksum = checksum,
	};
	unsigned int at = (ordinal - 1) * FAT_LONG_SLOT_UNITS;

	if (at + FAT_LONG_SLOT_UNITS >= name->nr_units)
		slot.ordinal |= LAST_LONG_SLOT;
	for (unsigned int i = 0; i < 5; i++)
		slot.units1[i] = long_unit(name, at + i);
	for (unsigned int i = 0; i < 6; i++)
		slot.units2[i] = long_unit(name, at + 5 + i);
	for (unsigned int i = 0; i < 2; i++)
		slot.units3[i] = long_unit(name, at + 11 + i);
	memcpy(writer->next, &slot, sizeof(slot));
	writer->next += sizeof(slot);
}

/* The last part of a long name comes first. */
static void put_long(struct slot_writer *writer, const struct fat_name *name)
{
	uint8_t checksum = fat_short_name_checksum(name->short_name);

	for (unsigned int i = fat_name_slots(name) - 1; i; i--)
		put_long_slot(writer, name, i, checksum);
}

static void put_entry(struct slot_writer *writer,
		      const struct directory_source *source,
		      const struct layout_entry *entry,
		      const struct fat_name *name, bool file)
{
	uint32_t cluster = source->extent.first_cluster + entry->first_cluster;

	put_long(writer, name);
	if (!file)
		put_short(writer, name->short_name,
			  ATTR_DIRECTORY | ATTR_READ_ONLY, cluster, 0);
	else
		put_short(writer, name->short_name,
			  ATTR_ARCHIVE | ATTR_READ_ONLY,
			  entry->size_bytes ? cluster : 0, entry->size_bytes);
}

/* The label of the root, "." and ".." of the others. */
static void put_head(struct slot_writer *writer,
		     const struct directory_source *source)
{
	static const uint8_t dot[] = ".          ", dot_dot[] = "..         ";

	if (source->extent.first_cluster == LAYOUT_FIRST_CLUSTER) {
		put_short(writer, source->label, ATTR_VOLUME_ID, 0, 0);
		return;
	}
	put_short(writer, dot, ATTR_DIRECTORY | ATTR_READ_ONLY,
		  source->extent.first_cluster, 0);
	put_short(writer, dot_dot, ATTR_DIRECTORY | ATTR_READ_ONLY,
		  source->extent.parent_cluster, 0);
}

/* Whether the names take the very slots that they had in the layout. */
static bool as_laid_out(const struct layout_tree *tree, bool root,
			const struct fat_names *names)
{
	size_t nr_names = fat_names_count(names);
	uint64_t slots = root ? LAYOUT_ROOT_SLOTS : LAYOUT_SUBDIRECTORY_SLOTS;

	if (nr_names != (size_t)tree->nr_files + tree->nr_subdirectories)
		return false;
	for (size_t i = 0; i < nr_names; i++)
		slots += fat_name_slots(fat_names_get(names, i));
	return slots == tree->nr_slots;
}

int directory_read_names(const struct layout_tree *tree, bool root,
			 const void *tree_object, size_t nr_bytes,
			 struct fat_names *names)
{
	struct raw_tree_entry entry;
	struct raw_tree raw;
	const char *reason;
	int more, rc;

	fat_names_reset(names);
	raw_tree_init(&raw, tree_object, nr_bytes);
	while ((more = raw_tree_next(&raw, &entry, &reason)) > 0) {
		rc = fat_names_add(names, entry.name, entry.name_bytes,
				   entry.id);
		if (rc < 0)
			return rc == -ENOMEM ? rc : -EIO;
	}
	rc = more < 0 ? -EIO : fat_names_allot(names);
	if (rc < 0)
		return rc;
	return as_laid_out(tree, root, names) ? 0 : -EIO;
}

int directory_build(const struct directory_source *source, uint8_t **ret_bytes)
{
	const struct layout_tree *tree = source->extent.tree;
	const struct layout_entry *entries =
		source->layout->entries + tree->entries;
	uint32_t nr_entries = tree->nr_files + tree->nr_subdirectories;
	struct slot_writer writer = { .time = source->time };

	writer.next = calloc(tree->directory_clusters, LAYOUT_CLUSTER_BYTES);
	if (!writer.next)
		return -ENOMEM;
	*ret_bytes = writer.next;
	put_head(&writer, source);
	for (uint32_t i = 0; i < nr_entries; i++)
		put_entry(&writer, source, &entries[i],
			  fat_names_get(source->names, entries[i].position),
			  i < tree->nr_files);
	return 0;
}
