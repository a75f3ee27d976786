/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Formats of image files that are not raw, by what they begin with.  Only for a
 * warning: what an image is served as is never guessed from what is in it, which the
 * guest can write.
 */
#ifndef XEN_DISKD_FILE_FORMAT_H
#define XEN_DISKD_FILE_FORMAT_H

#include <stddef.h>

/* So many bytes tell. */
#define FILE_FORMAT_BYTES 512u

/* The format's name, such as "qcow2", or NULL.  Any thread. */
const char *file_format(const void *bytes, size_t nr_bytes);

#endif
