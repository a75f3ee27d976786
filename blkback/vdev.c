/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual device names and numbers. */
#include "blkback/vdev.h"

#include "common/number.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Numbers of the extended scheme carry this bit. */
#define VDEV_EXTENDED (UINT32_C(1) << 28)
#define VDEV_EXTENDED_DISKS (UINT32_C(1) << 20)
#define XVD_MAJOR 202u

/*
 * A classic naming scheme: major << 8 | disk << shift | partition.  IDE has a
 * major for each pair of disks.
 */
static const struct vdev_scheme {
	const char *prefix;
	unsigned int majors[2], shift, disks_per_major;
} schemes[] = {
	{ "xvd", { XVD_MAJOR, 0 }, 4, 16 },
	{ "sd", { 8, 0 }, 4, 16 },
	{ "hd", { 3, 22 }, 6, 2 },
};

/* Letters as in spreadsheet columns: a = 0, z = 25, aa = 26. */
static int parse_letters(const char **text, uint32_t *ret_disk)
{
	uint64_t disk = 0;
	const char *p = *text;

	for (; *p >= 'a' && *p <= 'z'; p++) {
		disk = disk * 26 + (uint64_t)(*p - 'a') + 1;
		if (disk > VDEV_EXTENDED_DISKS)
			return -ERANGE;
	}
	if (p == *text)
		return -EINVAL;
	*ret_disk = (uint32_t)disk - 1;
	*text = p;
	return 0;
}

static int scheme_number(const struct vdev_scheme *scheme, uint32_t disk,
			 uint32_t partition, uint32_t *ret_devid)
{
	uint32_t pair = disk / scheme->disks_per_major;
	uint32_t unit = disk % scheme->disks_per_major;

	if (pair < 2 && scheme->majors[pair] &&
	    partition < 1u << scheme->shift) {
		*ret_devid = scheme->majors[pair] << 8 | unit << scheme->shift |
			     partition;
		return 0;
	}
	if (scheme->majors[0] != XVD_MAJOR || disk >= VDEV_EXTENDED_DISKS ||
	    partition >= 256)
		return -ERANGE;
	*ret_devid = VDEV_EXTENDED | disk << 8 | partition;
	return 0;
}

static int parse_name(const struct vdev_scheme *scheme, const char *rest,
		      uint32_t *ret_devid)
{
	uint64_t partition = 0;
	uint32_t disk;
	int rc = parse_letters(&rest, &disk);

	if (rc < 0)
		return rc;
	if (*rest) {
		rc = number_parse(rest, 255, &partition);
		if (rc < 0)
			return rc;
	}
	return scheme_number(scheme, disk, (uint32_t)partition, ret_devid);
}

int vdev_parse(const char *text, uint32_t *ret_devid)
{
	uint64_t number;
	int rc;

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].prefix);

		if (!strncmp(text, schemes[i].prefix, len))
			return parse_name(&schemes[i], text + len, ret_devid);
	}
	rc = number_parse(text, INT32_MAX, &number);
	if (rc < 0)
		return rc;
	*ret_devid = (uint32_t)number;
	return 0;
}

/* The inverse of parse_letters(); ends where `end` points. */
static char *format_letters(char *end, uint32_t disk)
{
	uint32_t n = disk + 1;

	while (n) {
		*--end = (char)('a' + (n - 1) % 26);
		n = (n - 1) / 26;
	}
	return end;
}

void vdev_format(uint32_t devid, char name[VDEV_NAME_BYTES])
{
	char letters[8] = "";
	uint32_t disk, partition;

	if (devid & VDEV_EXTENDED) {
		disk = (devid & ~VDEV_EXTENDED) >> 8;
		partition = devid & 255;
	} else if (devid >> 8 == XVD_MAJOR) {
		disk = devid >> 4 & 15;
		partition = devid & 15;
	} else {
		snprintf(name, VDEV_NAME_BYTES, "%u", devid);
		return;
	}
	if (partition)
		snprintf(name, VDEV_NAME_BYTES, "xvd%s%u",
			 format_letters(letters + sizeof(letters) - 1, disk),
			 partition);
	else
		snprintf(name, VDEV_NAME_BYTES, "xvd%s",
			 format_letters(letters + sizeof(letters) - 1, disk));
}
