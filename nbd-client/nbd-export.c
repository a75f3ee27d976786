/* SPDX-License-Identifier: BSD-2-Clause */
/* Exports, as servers describe them. */
#include "nbd-client/nbd-export.h"

#include "providers/rmw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR_BYTES 512u
/*
 * What may be sent to a server that states no limit (the protocol), and as
 * much as is sent to any.
 */
#define DEFAULT_MAXIMUM_BYTES (32u << 20)
#define DEFAULT_PREFERRED_BYTES 4096u

static uint32_t block_size(struct nbd_handle *nbd, int type, uint32_t otherwise)
{
	int64_t size = nbd_get_block_size(nbd, type);

	return size > 0 && size <= UINT32_MAX ? (uint32_t)size : otherwise;
}

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/* Down to what can be asked for: part of a block, or of a sector, cannot. */
static uint64_t round_to_blocks(uint64_t n, const struct nbd_export *export)
{
	uint32_t block = export->minimum_bytes > SECTOR_BYTES
				 ? export->minimum_bytes
				 : SECTOR_BYTES;

	return n - n % block;
}

static int check_sizes(const struct nbd_export *export, struct error_text *err)
{
	if (!power_of_two(export->minimum_bytes) ||
	    export->minimum_bytes > RMW_BLOCK_BYTES_MAX)
		return error_set(err, -EINVAL,
				 "the server wants requests in blocks of %u "
				 "bytes, which cannot be served",
				 export->minimum_bytes);
	if (export->maximum_bytes == 0)
		return error_set(err, -EINVAL,
				 "the server takes less than a block at once");
	if (round_to_blocks(export->size_bytes, export) == 0)
		return error_set(err, -EINVAL,
				 "the export has %llu bytes, less than a %s",
				 (unsigned long long)export->size_bytes,
				 export->minimum_bytes > SECTOR_BYTES
					 ? "block"
					 : "sector");
	return 0;
}

static void read_name(struct nbd_handle *nbd, struct nbd_export *export)
{
	char *name = nbd_get_canonical_export_name(nbd);
	size_t length = name ? strlen(name) : 0;

	/* libnbd has none that are longer. */
	if (length >= sizeof(export->canonical_name))
		length = sizeof(export->canonical_name) - 1;
	if (name)
		memcpy(export->canonical_name, name, length);
	export->canonical_name[length] = '\0';
	free(name);
}

int nbd_export_read(struct nbd_handle *nbd, struct nbd_export *ret_export,
		    struct error_text *err)
{
	int64_t size = nbd_get_size(nbd);
	struct nbd_export export = {
		.read_only = nbd_is_read_only(nbd) > 0,
		.can_flush = nbd_can_flush(nbd) > 0,
		.can_fua = nbd_can_fua(nbd) > 0,
		.can_trim = nbd_can_trim(nbd) > 0,
		.can_zero = nbd_can_zero(nbd) > 0,
		.can_multi_conn = nbd_can_multi_conn(nbd) > 0,
	};
	int rc;

	if (size < 0)
		return error_set(err, -EINVAL, "%s", nbd_get_error());
	export.size_bytes = (uint64_t)size;
	export.minimum_bytes = block_size(nbd, LIBNBD_SIZE_MINIMUM, 1);
	export.preferred_bytes =
		block_size(nbd, LIBNBD_SIZE_PREFERRED, DEFAULT_PREFERRED_BYTES);
	export.maximum_bytes =
		block_size(nbd, LIBNBD_SIZE_MAXIMUM, DEFAULT_MAXIMUM_BYTES);
	if (export.maximum_bytes > DEFAULT_MAXIMUM_BYTES)
		export.maximum_bytes = DEFAULT_MAXIMUM_BYTES;
	/* What is left of a request that is split stays whole sectors. */
	export.maximum_bytes =
		(uint32_t)round_to_blocks(export.maximum_bytes, &export);
	read_name(nbd, &export);
	rc = check_sizes(&export, err);
	if (rc < 0)
		return rc;
	export.size_bytes = round_to_blocks(export.size_bytes, &export);
	*ret_export = export;
	return 0;
}

const char *nbd_export_difference(const struct nbd_export *then,
				  const struct nbd_export *now)
{
	if (then->size_bytes != now->size_bytes)
		return "size";
	if (then->read_only != now->read_only)
		return "read-only flag";
	if (then->can_flush != now->can_flush)
		return "flush flag";
	if (then->can_fua != now->can_fua)
		return "FUA flag";
	if (then->can_trim && !now->can_trim)
		return "trim flag";
	if (then->can_multi_conn && !now->can_multi_conn)
		return "multi-conn flag";
	if (then->minimum_bytes != now->minimum_bytes ||
	    then->maximum_bytes > now->maximum_bytes)
		return "block sizes";
	if (strcmp(then->canonical_name, now->canonical_name) != 0)
		return "canonical name";
	return NULL;
}
