/* SPDX-License-Identifier: BSD-2-Clause */
/* What a server says of its export when a connection is made. */
#ifndef XEN_DISKD_NBD_EXPORT_H
#define XEN_DISKD_NBD_EXPORT_H

#include "common/error-text.h"

#include <libnbd.h>
#include <stdbool.h>
#include <stdint.h>

/* NBD_MAX_STRING and a NUL. */
#define NBD_CANONICAL_BYTES 4097

struct nbd_export {
	uint64_t size_bytes; /* whole sectors and blocks; the rest is cut */
	/* Bits: in memory that another process has written all are valid. */
	bool read_only : 1, can_flush : 1, can_fua : 1, can_trim : 1;
	bool can_zero : 1, can_multi_conn : 1;
	/* Requests: multiples of minimum, at most maximum bytes. */
	uint32_t minimum_bytes, preferred_bytes, maximum_bytes;
	char canonical_name[NBD_CANONICAL_BYTES]; /* "" if none was sent */
};

/*
 * Reads it off a handle that has negotiated, and checks that we can serve it.
 * -EINVAL with a message.
 */
int nbd_export_read(struct nbd_handle *nbd, struct nbd_export *ret_export,
		    struct error_text *err);

/*
 * NULL when `now` can go on in place of `then`; else what is different, as a
 * word for a message.  A server may lose a feature that was not used, but not
 * one that the guest was told of.
 */
const char *nbd_export_difference(const struct nbd_export *then,
				  const struct nbd_export *now);

#endif
