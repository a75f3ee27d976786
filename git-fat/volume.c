/* SPDX-License-Identifier: BSD-2-Clause */
/* Partition table, boot sector, FSInfo and file allocation tables. */
#include "git-fat/volume.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <string.h>

#define SECTORS_PER_CLUSTER (LAYOUT_CLUSTER_BYTES / VOLUME_SECTOR_BYTES)
#define RESERVED_SECTORS 32u
#define NR_FATS 2u
#define FSINFO_SECTOR 1u
#define BACKUP_SECTOR 6u
#define BOOT_SECTORS 3u /* boot sector, FSInfo, and an empty one */
/*
 * Fewer than 65,525 clusters would make it FAT16 to whoever goes by the
 * specification: some more, for those who count differently.
 */
#define CLUSTERS_MIN 65536u
#define MEDIA_FIXED 0xf8
#define FAT_MEDIA 0x0ffffff8u
#define FAT_END_OF_CHAIN 0x0fffffffu

struct partition_entry {
	uint8_t status;
	uint8_t first_chs[3];
	uint8_t type;
	uint8_t last_chs[3];
	uint32_t first_sector;
	uint32_t nr_sectors;
} __attribute__((packed));

struct master_boot_record {
	uint8_t code[440];
	uint32_t signature;
	uint16_t reserved;
	struct partition_entry partitions[4];
	uint8_t mark[2];
} __attribute__((packed));
_Static_assert(sizeof(struct master_boot_record) == VOLUME_SECTOR_BYTES, "");

/* Field names are the specification's, without BS_ and BPB_. */
struct boot_sector {
	uint8_t jump[3];
	uint8_t oem_name[8];
	uint16_t bytes_per_sector;
	uint8_t sectors_per_cluster;
	uint16_t reserved_sectors;
	uint8_t nr_fats;
	uint16_t root_entries;
	uint16_t total_sectors16;
	uint8_t media;
	uint16_t fat_sectors16;
	uint16_t sectors_per_track;
	uint16_t nr_heads;
	uint32_t hidden_sectors;
	uint32_t total_sectors32;
	uint32_t fat_sectors32;
	uint16_t extended_flags;
	uint16_t version;
	uint32_t root_cluster;
	uint16_t fsinfo_sector;
	uint16_t backup_sector;
	uint8_t reserved[12];
	uint8_t drive;
	uint8_t reserved1;
	uint8_t boot_signature;
	uint32_t volume_id;
	uint8_t label[VOLUME_LABEL_BYTES];
	uint8_t type[8];
	uint8_t code[420];
	uint8_t mark[2];
} __attribute__((packed));
_Static_assert(sizeof(struct boot_sector) == VOLUME_SECTOR_BYTES, "");

struct fsinfo_sector {
	uint32_t lead_signature;
	uint8_t reserved[480];
	uint32_t signature;
	uint32_t free_count;
	uint32_t next_free;
	uint8_t reserved1[12];
	uint32_t trail_signature;
} __attribute__((packed));
_Static_assert(sizeof(struct fsinfo_sector) == VOLUME_SECTOR_BYTES, "");

/* ---- geometry ------------------------------------------------------------- */

static bool legal_label_character(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr(" !#$%&'()-@^_`{}~", c));
}

int volume_parse_label(const char *text, uint8_t ret_label[VOLUME_LABEL_BYTES],
		       struct error_text *err)
{
	size_t length = strlen(text);

	if (length == 0 || length > VOLUME_LABEL_BYTES)
		return error_set(err, -EINVAL,
				 "label '%s': a label has 1 to %d characters",
				 text, VOLUME_LABEL_BYTES);
	if (text[0] == ' ')
		return error_set(err, -EINVAL,
				 "label '%s': begins with a space", text);
	memset(ret_label, ' ', VOLUME_LABEL_BYTES);
	for (size_t i = 0; i < length; i++) {
		char c = text[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (!legal_label_character(c))
			return error_set(err, -EINVAL,
					 "label '%s': FAT has letters, digits, "
					 "spaces and !#$%%&'()-@^_`{}~ there",
					 text);
		ret_label[i] = (uint8_t)c;
	}
	return 0;
}

void volume_init(struct volume *volume, const struct layout *layout,
		 bool partition, const uint8_t label[VOLUME_LABEL_BYTES],
		 uint32_t serial)
{
	uint32_t used = layout_root(layout)->nr_clusters;
	uint64_t fat_bytes;

	*volume = (struct volume){
		.serial = serial,
		.partition_sector = partition ? VOLUME_PARTITION_SECTOR : 0,
		.nr_clusters = used > CLUSTERS_MIN ? used : CLUSTERS_MIN,
	};
	memcpy(volume->label, label, VOLUME_LABEL_BYTES);
	volume->nr_free_clusters = volume->nr_clusters - used;
	fat_bytes = ((uint64_t)volume->nr_clusters + LAYOUT_FIRST_CLUSTER) *
		    sizeof(uint32_t);
	/* Whole clusters of it, so that the data is aligned to 4 KiB. */
	fat_bytes = (fat_bytes + LAYOUT_CLUSTER_BYTES - 1) /
		    LAYOUT_CLUSTER_BYTES * LAYOUT_CLUSTER_BYTES;
	volume->fat_sectors = (uint32_t)(fat_bytes / VOLUME_SECTOR_BYTES);
	volume->fat_sector = volume->partition_sector + RESERVED_SECTORS;
	volume->data_sector =
		volume->fat_sector + (uint64_t)NR_FATS * volume->fat_sectors;
	volume->end_sector =
		volume->data_sector +
		(uint64_t)volume->nr_clusters * SECTORS_PER_CLUSTER;
}

/* ---- sectors -------------------------------------------------------------- */

static uint32_t volume_sectors(const struct volume *volume)
{
	return (uint32_t)(volume->end_sector - volume->partition_sector);
}

static void put_boot_mark(uint8_t mark[2])
{
	mark[0] = 0x55;
	mark[1] = 0xaa;
}

static void read_partition_table(const struct volume *volume, uint8_t *bytes)
{
	struct master_boot_record mbr = {
		.signature = htole32(volume->serial),
		.partitions[0] = {
			/* Beyond what cylinders, heads and sectors count. */
			.first_chs = { 0xfe, 0xff, 0xff },
			.last_chs = { 0xfe, 0xff, 0xff },
			.type = 0x0c, /* FAT32, LBA */
			.first_sector = htole32(volume->partition_sector),
			.nr_sectors = htole32(volume_sectors(volume)),
		},
	};

	put_boot_mark(mbr.mark);
	memcpy(bytes, &mbr, sizeof(mbr));
}

static void read_boot_sector(const struct volume *volume, uint8_t *bytes)
{
	struct boot_sector boot = {
		.jump = { 0xeb, 0x58, 0x90 },
		.oem_name = "MSWIN4.1",
		.bytes_per_sector = htole16(VOLUME_SECTOR_BYTES),
		.sectors_per_cluster = SECTORS_PER_CLUSTER,
		.reserved_sectors = htole16(RESERVED_SECTORS),
		.nr_fats = NR_FATS,
		.media = MEDIA_FIXED,
		.sectors_per_track = htole16(63),
		.nr_heads = htole16(255),
		.hidden_sectors = htole32(volume->partition_sector),
		.total_sectors32 = htole32(volume_sectors(volume)),
		.fat_sectors32 = htole32(volume->fat_sectors),
		.root_cluster = htole32(LAYOUT_FIRST_CLUSTER),
		.fsinfo_sector = htole16(FSINFO_SECTOR),
		.backup_sector = htole16(BACKUP_SECTOR),
		.drive = 0x80,
		.boot_signature = 0x29,
		.volume_id = htole32(volume->serial),
		.type = "FAT32   ",
		/* Whoever boots it anyway: halt. */
		.code = { 0xfa, 0xf4, 0xeb, 0xfd },
	};

	memcpy(boot.label, volume->label, sizeof(boot.label));
	put_boot_mark(boot.mark);
	memcpy(bytes, &boot, sizeof(boot));
}

static void read_fsinfo(const struct volume *volume, uint8_t *bytes)
{
	uint32_t next = LAYOUT_FIRST_CLUSTER + volume->nr_clusters -
			volume->nr_free_clusters;
	struct fsinfo_sector fsinfo = {
		.lead_signature = htole32(0x41615252),
		.signature = htole32(0x61417272),
		.free_count = htole32(volume->nr_free_clusters),
		.next_free =
			htole32(volume->nr_free_clusters ? next : UINT32_MAX),
		.trail_signature = htole32(0xaa550000),
	};

	memcpy(bytes, &fsinfo, sizeof(fsinfo));
}

void volume_read_sector(const struct volume *volume, uint64_t sector,
			uint8_t *ret_bytes)
{
	memset(ret_bytes, 0, VOLUME_SECTOR_BYTES);
	if (volume->partition_sector && sector == 0)
		read_partition_table(volume, ret_bytes);
	if (sector < volume->partition_sector)
		return;
	sector -= volume->partition_sector;
	if (sector >= BACKUP_SECTOR && sector < BACKUP_SECTOR + BOOT_SECTORS)
		sector -= BACKUP_SECTOR;
	if (sector == 0)
		read_boot_sector(volume, ret_bytes);
	else if (sector == FSINFO_SECTOR)
		read_fsinfo(volume, ret_bytes);
	else if (sector < BOOT_SECTORS)
		put_boot_mark(ret_bytes + VOLUME_SECTOR_BYTES - 2);
}

/* ---- file allocation tables ----------------------------------------------- */

void volume_read_fat(const struct volume *volume, const struct layout *layout,
		     uint32_t first, uint32_t nr, uint8_t *ret_bytes)
{
	struct layout_extent extent = { .nr_clusters = 0 };
	uint32_t end = LAYOUT_FIRST_CLUSTER + volume->nr_clusters;

	for (uint32_t i = 0; i < nr; i++) {
		uint32_t cluster = first + i, value = 0;

		if (cluster >= LAYOUT_FIRST_CLUSTER && cluster < end) {
			/* Extents come in the clusters' order. */
			if (cluster - extent.first_cluster >=
			    extent.nr_clusters)
				layout_find(layout, cluster, &extent);
			if (extent.kind != LAYOUT_FREE)
				value = cluster + 1 - extent.first_cluster ==
							extent.nr_clusters
						? FAT_END_OF_CHAIN
						: cluster + 1;
		} else if (cluster < LAYOUT_FIRST_CLUSTER) {
			value = cluster ? FAT_END_OF_CHAIN : FAT_MEDIA;
		}
		value = htole32(value);
		memcpy(ret_bytes + (size_t)i * sizeof(value), &value,
		       sizeof(value));
	}
}
