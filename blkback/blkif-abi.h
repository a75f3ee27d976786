/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The blkif wire layouts: one row of offsets per ABI.  A guest's word size
 * decides where the fields of a ring slot lie; everything else is the same,
 * so a row of numbers replaces a switch at every access.
 *
 * Source: xen/include/public/io/blkif.h and protocols.h, checked against them
 * by static assertions in blkif-abi.c.
 */
#ifndef XEN_DISKD_BLKIF_ABI_H
#define XEN_DISKD_BLKIF_ABI_H

#include <stddef.h>
#include <stdint.h>
#include <xen/io/blkif.h>

/* The largest slot of any ABI. */
#define BLKIF_SLOT_BYTES_MAX 112u

/* Byte offsets into a request or response slot. */
struct ring_abi {
	const char *protocol; /* as in the frontend's `protocol` node */
	unsigned int slot_bytes;
	/*
	 * Request: operation u8 at 0, nr_segments u8 at 1.  A discard has its
	 * number of sectors, u64, where others have segments.  An indirect
	 * request has its own operation u8 at 1, nr_segments u16 at 2, and
	 * behind its handle references u32 to pages of segments.
	 */
	unsigned int id, sector, segments;
	/* Response: id u64 at 0, operation u8 at 8, status s16 at 10. */
	unsigned int response_bytes;
};

#define BLKIF_REQUEST_OPERATION 0u
#define BLKIF_REQUEST_NR_SEGMENTS 1u
#define BLKIF_SEGMENT_BYTES 8u
#define BLKIF_INDIRECT_OPERATION 1u
#define BLKIF_INDIRECT_NR_SEGMENTS 2u
/* From `segments` on. */
#define BLKIF_INDIRECT_GREFS 4u
#define BLKIF_RESPONSE_ID 0u
#define BLKIF_RESPONSE_OPERATION 8u
#define BLKIF_RESPONSE_STATUS 10u

/*
 * The row for a `protocol` value; NULL when it is unknown.  A NULL protocol
 * stands for a missing node, which means x86_32 on x86 and the native ABI
 * elsewhere.
 */
const struct ring_abi *ring_abi_find(const char *protocol);

#endif
