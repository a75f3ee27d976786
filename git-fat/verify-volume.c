/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The volume: partition table, boot sector and its backup, FSInfo, and the
 * two file allocation tables.
 */
#include "git-fat/verify-private.h"

#include <inttypes.h>

#define BOOT_SECTORS 3u
#define FSINFO_SECTOR 1u
#define BACKUP_SECTOR 6u
#define CLUSTERS_MIN 65525u
#define CLUSTERS_MAX 0x0ffffff5u
#define CLUSTER_BYTES_MAX 32768u
#define TABLE "partition table"
#define BOOT "boot sector"

bool verify_is_short_byte(uint8_t byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	       (byte && strchr("!#$%&'()-@^_`{}~", byte));
}

bool verify_is_label(const uint8_t label[VERIFY_SHORT_BYTES])
{
	for (unsigned int i = 0; i < VERIFY_SHORT_BYTES; i++) {
		if (!verify_is_short_byte(label[i]) &&
		    (label[i] != ' ' || i == 0))
			return false;
	}
	return true;
}

static bool all_zero(const uint8_t *bytes, size_t nr_bytes)
{
	for (size_t i = 0; i < nr_bytes; i++) {
		if (bytes[i])
			return false;
	}
	return true;
}

/* A field that has to have one value. */
static bool is(struct verify *v, const char *where, const char *field,
	       uint64_t value, uint64_t want)
{
	if (value == want)
		return true;
	verify_found(v, where, "%s is %" PRIu64 ", not %" PRIu64, field, value,
		     want);
	return false;
}

/* ---- partition table ------------------------------------------------------ */

static bool is_boot_sector(const uint8_t *sector)
{
	return sector[0] == 0xeb || memcmp(sector + 82, "FAT32   ", 8) == 0;
}

/* Sets the volume's place, first and number of sectors. */
static bool read_table(struct verify *v, const uint8_t *sector,
		       uint64_t *ret_start, uint64_t *ret_sectors)
{
	static const uint8_t beyond[] = { 0xfe, 0xff, 0xff };
	const uint8_t *entry = sector + 446;
	uint64_t disk_sectors = v->source->size_bytes / VERIFY_SECTOR_BYTES;

	is(v, TABLE, "the mark", verify_le16(sector + 510), 0xaa55);
	is(v, TABLE, "the status of the partition", entry[0], 0);
	is(v, TABLE, "the type of the partition", entry[4], 0x0c);
	if (memcmp(entry + 1, beyond, 3) != 0 ||
	    memcmp(entry + 5, beyond, 3) != 0)
		verify_found(v, TABLE,
			     "cylinders, heads and sectors are not those of a "
			     "disk beyond them");
	if (!all_zero(entry + 16, 48))
		verify_found(v, TABLE, "there is more than one partition");
	*ret_start = verify_le32(entry + 8);
	*ret_sectors = verify_le32(entry + 12);
	is(v, TABLE, "the end of the partition", *ret_start + *ret_sectors,
	   disk_sectors);
	if (*ret_start % 8)
		verify_found(v, TABLE, "the partition is not aligned to 4 KiB");
	if (*ret_start && *ret_start + *ret_sectors <= disk_sectors)
		return true;
	verify_found(v, TABLE, "the partition is not on the disk");
	return false;
}

/* ---- boot sector ---------------------------------------------------------- */

static void check_boot_constants(struct verify *v, const uint8_t *boot)
{
	static const uint8_t zeros[12];

	if (boot[0] != 0xeb || boot[2] != 0x90)
		verify_found(v, BOOT, "does not start with a jump");
	is(v, BOOT, "the mark", verify_le16(boot + 510), 0xaa55);
	is(v, BOOT, "the number of root entries", verify_le16(boot + 17), 0);
	is(v, BOOT, "the 16-bit number of sectors", verify_le16(boot + 19), 0);
	is(v, BOOT, "the medium", boot[21], 0xf8);
	is(v, BOOT, "the 16-bit size of the FAT", verify_le16(boot + 22), 0);
	is(v, BOOT, "the number of sectors a track", verify_le16(boot + 24),
	   63);
	is(v, BOOT, "the number of heads", verify_le16(boot + 26), 255);
	is(v, BOOT, "the number of hidden sectors", verify_le32(boot + 28),
	   v->volume.start / VERIFY_SECTOR_BYTES);
	is(v, BOOT, "the flags of the FATs", verify_le16(boot + 40), 0);
	is(v, BOOT, "the version", verify_le16(boot + 42), 0);
	is(v, BOOT, "the sector of FSInfo", verify_le16(boot + 48),
	   FSINFO_SECTOR);
	is(v, BOOT, "the sector of the backup", verify_le16(boot + 50),
	   BACKUP_SECTOR);
	if (memcmp(boot + 52, zeros, sizeof(zeros)) != 0 || boot[65])
		verify_found(v, BOOT, "reserved bytes are not zero");
	is(v, BOOT, "the drive", boot[64], 0x80);
	is(v, BOOT, "the extended signature", boot[66], 0x29);
	if (memcmp(boot + 82, "FAT32   ", 8) != 0)
		verify_found(v, BOOT, "the type is not FAT32");
	memcpy(v->volume.label, boot + 71, VERIFY_SHORT_BYTES);
	if (!verify_is_label(v->volume.label))
		verify_found(v, BOOT, "the label is not a legal one");
}

/* What everything else is counted from. */
static bool read_geometry(struct verify *v, const uint8_t *boot,
			  uint64_t nr_sectors)
{
	struct verify_volume *volume = &v->volume;
	uint32_t per_cluster = boot[13];
	uint64_t fat = verify_le16(boot + 14), data;
	uint64_t fat_sectors = verify_le32(boot + 36);

	if (!is(v, BOOT, "the number of bytes a sector", verify_le16(boot + 11),
		VERIFY_SECTOR_BYTES) ||
	    !is(v, BOOT, "the number of FATs", boot[16], 2) ||
	    !is(v, BOOT, "the number of sectors", verify_le32(boot + 32),
		nr_sectors))
		return false;
	if (!per_cluster || per_cluster & (per_cluster - 1) ||
	    per_cluster * VERIFY_SECTOR_BYTES > CLUSTER_BYTES_MAX) {
		verify_found(v, BOOT, "clusters of %u sectors", per_cluster);
		return false;
	}
	data = fat + 2 * fat_sectors;
	if (fat < BACKUP_SECTOR + BOOT_SECTORS || data >= nr_sectors) {
		verify_found(v, BOOT, "there is no room for what it names");
		return false;
	}
	if (fat_sectors > UINT32_MAX / VERIFY_SECTOR_BYTES) {
		verify_found(v, BOOT, "the FATs are too long");
		return false;
	}
	volume->fat_bytes = (uint32_t)fat_sectors * VERIFY_SECTOR_BYTES;
	volume->fats[0] = volume->start + fat * VERIFY_SECTOR_BYTES;
	volume->fats[1] = volume->fats[0] + volume->fat_bytes;
	volume->data = volume->start + data * VERIFY_SECTOR_BYTES;
	volume->cluster_bytes = per_cluster * VERIFY_SECTOR_BYTES;
	volume->nr_clusters = (uint32_t)((nr_sectors - data) / per_cluster);
	volume->root_cluster = verify_le32(boot + 44);
	return true;
}

static bool check_geometry(struct verify *v)
{
	struct verify_volume *volume = &v->volume;

	if (volume->nr_clusters < CLUSTERS_MIN)
		verify_found(v, BOOT, "%u clusters are too few for FAT32",
			     volume->nr_clusters);
	if (volume->data % 4096)
		verify_found(v, BOOT, "clusters are not aligned to 4 KiB");
	if (volume->nr_clusters > CLUSTERS_MAX) {
		verify_found(v, BOOT, "%u clusters are too many for FAT32",
			     volume->nr_clusters);
		return false;
	}
	if (volume->fat_bytes / 4 <
	    volume->nr_clusters + VERIFY_FIRST_CLUSTER) {
		verify_found(v, BOOT, "the FATs are too short for %u clusters",
			     volume->nr_clusters);
		return false;
	}
	return true;
}

static void check_backup(struct verify *v)
{
	uint8_t bytes[2][BOOT_SECTORS * VERIFY_SECTOR_BYTES];
	uint64_t start = v->volume.start;

	if (!verify_read(v, BOOT, start, bytes[0], sizeof(bytes[0])) ||
	    !verify_read(v, BOOT, start + BACKUP_SECTOR * VERIFY_SECTOR_BYTES,
			 bytes[1], sizeof(bytes[1])))
		return;
	for (unsigned int i = 0; i < BOOT_SECTORS; i++) {
		if (memcmp(bytes[0] + (size_t)i * VERIFY_SECTOR_BYTES,
			   bytes[1] + (size_t)i * VERIFY_SECTOR_BYTES,
			   VERIFY_SECTOR_BYTES) != 0)
			verify_found(v, BOOT,
				     "the backup of sector %u is not equal", i);
	}
}

static bool read_fsinfo(struct verify *v)
{
	uint8_t sector[VERIFY_SECTOR_BYTES];

	if (!verify_read(v, "FSInfo",
			 v->volume.start + FSINFO_SECTOR * VERIFY_SECTOR_BYTES,
			 sector, sizeof(sector)))
		return false;
	is(v, "FSInfo", "the first signature", verify_le32(sector), 0x41615252);
	is(v, "FSInfo", "the second signature", verify_le32(sector + 484),
	   0x61417272);
	is(v, "FSInfo", "the last signature", verify_le32(sector + 508),
	   0xaa550000);
	if (!all_zero(sector + 4, 480) || !all_zero(sector + 496, 12))
		verify_found(v, "FSInfo", "reserved bytes are not zero");
	v->volume.free_count = verify_le32(sector + 488);
	v->volume.next_free = verify_le32(sector + 492);
	return true;
}

bool verify_volume_read(struct verify *v)
{
	uint64_t nr_sectors = v->source->size_bytes / VERIFY_SECTOR_BYTES;
	uint8_t sector[VERIFY_SECTOR_BYTES];
	uint64_t start = 0;

	if (v->source->size_bytes % VERIFY_SECTOR_BYTES)
		verify_found(v, "disk", "its size is not in whole sectors");
	if (!verify_read(v, TABLE, 0, sector, sizeof(sector)))
		return false;
	if (!is_boot_sector(sector)) {
		if (!read_table(v, sector, &start, &nr_sectors) ||
		    !verify_read(v, BOOT, start * VERIFY_SECTOR_BYTES, sector,
				 sizeof(sector)))
			return false;
	}
	v->volume.start = start * VERIFY_SECTOR_BYTES;
	check_boot_constants(v, sector);
	if (!read_geometry(v, sector, nr_sectors) || !check_geometry(v))
		return false;
	check_backup(v);
	return read_fsinfo(v);
}

/* ---- file allocation tables ------------------------------------------------ */

struct fat_sums {
	uint32_t nr_free, nr_lost, first_lost;
	bool next_is_free;
};

static void check_head(struct verify *v, uint32_t cluster, uint32_t value)
{
	is(v, "FAT",
	   cluster ? "the entry of cluster 1" : "the entry of cluster 0", value,
	   cluster ? 0x0fffffff : 0x0ffffff8);
}

static void check_fat_entry(struct verify *v, uint32_t cluster, uint32_t value,
			    struct fat_sums *sums)
{
	if (cluster < VERIFY_FIRST_CLUSTER) {
		check_head(v, cluster, value);
	} else if (cluster - VERIFY_FIRST_CLUSTER >= v->volume.nr_clusters) {
		if (value)
			verify_found(v, "FAT",
				     "the entry of cluster %u, which there is "
				     "not, is not zero",
				     cluster);
	} else if (value >> 28) {
		verify_found(v, "FAT",
			     "reserved bits of the entry of cluster %u are set",
			     cluster);
	} else if (value == 0) {
		sums->nr_free++;
		sums->next_is_free |= cluster == v->volume.next_free;
	} else if (!verify_is_seen(v, cluster) && sums->nr_lost++ == 0) {
		sums->first_lost = cluster;
	}
}

/* Both FATs, piece by piece; the window holds the second. */
static bool check_fats(struct verify *v, struct fat_sums *sums)
{
	bool equal = true;

	v->window_at = UINT64_MAX;
	for (uint64_t at = 0; at < v->volume.fat_bytes;
	     at += VERIFY_PIECE_BYTES) {
		uint64_t left = v->volume.fat_bytes - at;
		size_t nr_bytes = left < VERIFY_PIECE_BYTES
					  ? (size_t)left
					  : VERIFY_PIECE_BYTES;

		if (!verify_read(v, "FAT", v->volume.fats[0] + at, v->piece,
				 nr_bytes) ||
		    !verify_read(v, "FAT", v->volume.fats[1] + at, v->window,
				 nr_bytes))
			return false;
		equal &= memcmp(v->piece, v->window, nr_bytes) == 0;
		for (size_t i = 0; i < nr_bytes; i += 4)
			check_fat_entry(v, (uint32_t)((at + i) / 4),
					verify_le32(v->piece + i), sums);
	}
	if (!equal)
		verify_found(v, "FAT", "the two of them are not equal");
	return true;
}

void verify_volume_finish(struct verify *v)
{
	struct fat_sums sums = { .nr_free = 0 };

	if (!check_fats(v, &sums))
		return;
	if (sums.nr_lost)
		verify_found(v, "FAT",
			     "%u clusters are marked as used and are in no "
			     "chain, the first is %u",
			     sums.nr_lost, sums.first_lost);
	is(v, "FSInfo", "the number of free clusters", v->volume.free_count,
	   sums.nr_free);
	if (sums.nr_free ? !sums.next_is_free
			 : v->volume.next_free != UINT32_MAX)
		verify_found(v, "FSInfo",
			     "the next free cluster, %u, is not free",
			     v->volume.next_free);
}
