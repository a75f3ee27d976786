/* SPDX-License-Identifier: BSD-2-Clause */
/* Formats of image files that are not raw. */
#include "providers/file-format.h"

#include <string.h>

static const struct {
	const char *name;
	size_t at, nr_bytes;
	const char *bytes;
} formats[] = {
	{ "qcow2", 0, 4, "QFI\xfb" },
	{ "QED", 0, 4, "QED" },
	{ "VHD", 0, 8, "conectix" },
	{ "VHDX", 0, 8, "vhdxfile" },
	{ "VMDK", 0, 4, "KDMV" },
	{ "VMDK", 0, 21, "# Disk DescriptorFile" },
	{ "VDI", 64, 4, "\x7f\x10\xda\xbe" },
};

const char *file_format(const void *bytes, size_t nr_bytes)
{
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		size_t at = formats[i].at;

		if (at + formats[i].nr_bytes <= nr_bytes &&
		    !memcmp((const char *)bytes + at, formats[i].bytes,
			    formats[i].nr_bytes))
			return formats[i].name;
	}
	return NULL;
}
