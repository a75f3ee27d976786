/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FAT32 volume around the files: partition table, boot sector, FSInfo,
 * file allocation tables.  All of it is computed from the layout, none of it
 * stored.
 *
 * Source: Microsoft's FAT specification 1.03, "Boot Sector and BPB", "FAT",
 * "FSInfo", "Directory structure"; UEFI 2.10, 13.3.
 */
#ifndef XEN_DISKD_VOLUME_H
#define XEN_DISKD_VOLUME_H

#include "git-fat/layout.h"
#include "git-fat/names.h"

#include <stdbool.h>
#include <stdint.h>

#define VOLUME_SECTOR_BYTES 512u
#define VOLUME_PARTITION_SECTOR 2048u
#define VOLUME_LABEL_BYTES 11

struct volume {
	uint8_t label[VOLUME_LABEL_BYTES]; /* padded with spaces */
	uint32_t serial;
	uint32_t partition_sector; /* 0 without a partition table */
	uint32_t nr_clusters, nr_free_clusters;
	uint32_t fat_sectors; /* of each of the two */
	/* Counted from the start of the disk. */
	uint64_t fat_sector, data_sector, end_sector;
};

/*
 * Checks a label and pads it: 1 to 11 characters that a short name may have,
 * or spaces within; lower case becomes upper case.  -EINVAL with a message.
 */
int volume_parse_label(const char *text, uint8_t ret_label[VOLUME_LABEL_BYTES],
		       struct error_text *err);

/* The geometry of a volume for a layout. */
void volume_init(struct volume *volume, const struct layout *layout,
		 bool partition, const uint8_t label[VOLUME_LABEL_BYTES],
		 uint32_t serial);

/*
 * Fills one sector in front of the file allocation tables; zero for most.
 * sector < volume->fat_sector.
 */
void volume_read_sector(const struct volume *volume, uint64_t sector,
			uint8_t *ret_bytes);

/*
 * Fills nr entries of a file allocation table from entry `first` on, little
 * endian, 4 bytes each; past the last cluster they are 0.
 */
void volume_read_fat(const struct volume *volume, const struct layout *layout,
		     uint32_t first, uint32_t nr, uint8_t *ret_bytes);

#endif
