/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of blkif ABIs. */
#include "blkback/blkif-abi.h"

#include <string.h>
#include <xen/io/protocols.h>

#if defined(__x86_64__) || defined(__aarch64__)
/* The native layout is the 64-bit row: hold it against the real header. */
_Static_assert(sizeof(union blkif_sring_entry) == 112, "slot");
_Static_assert(sizeof(struct blkif_request) == 112, "request");
_Static_assert(offsetof(struct blkif_request, operation) ==
		       BLKIF_REQUEST_OPERATION,
	       "operation");
_Static_assert(offsetof(struct blkif_request, nr_segments) ==
		       BLKIF_REQUEST_NR_SEGMENTS,
	       "nr_segments");
_Static_assert(offsetof(struct blkif_request, id) == 8, "id");
_Static_assert(offsetof(struct blkif_request, sector_number) == 16, "sector");
_Static_assert(offsetof(struct blkif_request, seg) == 24, "segments");
_Static_assert(sizeof(struct blkif_request_segment) == BLKIF_SEGMENT_BYTES,
	       "segment");
_Static_assert(offsetof(struct blkif_request_discard, nr_sectors) == 24,
	       "sectors of a discard");
_Static_assert(offsetof(struct blkif_request_indirect, indirect_op) ==
		       BLKIF_INDIRECT_OPERATION,
	       "indirect operation");
_Static_assert(offsetof(struct blkif_request_indirect, nr_segments) ==
		       BLKIF_INDIRECT_NR_SEGMENTS,
	       "indirect nr_segments");
_Static_assert(offsetof(struct blkif_request_indirect, id) == 8, "indirect id");
_Static_assert(offsetof(struct blkif_request_indirect, sector_number) == 16,
	       "indirect sector");
_Static_assert(offsetof(struct blkif_request_indirect, indirect_grefs) ==
		       24 + BLKIF_INDIRECT_GREFS,
	       "indirect references");
_Static_assert(sizeof(struct blkif_response) == 16, "response");
_Static_assert(offsetof(struct blkif_response, id) == BLKIF_RESPONSE_ID,
	       "response id");
_Static_assert(offsetof(struct blkif_response, operation) ==
		       BLKIF_RESPONSE_OPERATION,
	       "response operation");
_Static_assert(offsetof(struct blkif_response, status) == BLKIF_RESPONSE_STATUS,
	       "response status");
#endif
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "ring fields are read in the machine's byte order");

#define ROW_64(name)                                                          \
	{                                                                     \
		.protocol = (name), .slot_bytes = 112, .id = 8, .sector = 16, \
		.segments = 24, .response_bytes = 16                          \
	}

/* 4-byte alignment of u64: no padding before id, none at the end. */
#define ROW_32(name)                                                          \
	{                                                                     \
		.protocol = (name), .slot_bytes = 108, .id = 4, .sector = 12, \
		.segments = 20, .response_bytes = 12                          \
	}

static const struct ring_abi abis[] = {
/* The first row is what a missing protocol node means. */
#if defined(__x86_64__) || defined(__i386__)
	ROW_32(XEN_IO_PROTO_ABI_X86_32),
	ROW_64(XEN_IO_PROTO_ABI_X86_64),
#else
	ROW_64(XEN_IO_PROTO_ABI_NATIVE),
#endif
};

const struct ring_abi *ring_abi_find(const char *protocol)
{
	if (!protocol)
		return &abis[0];
	for (size_t i = 0; i < sizeof(abis) / sizeof(abis[0]); i++) {
		if (!strcmp(abis[i].protocol, protocol))
			return &abis[i];
	}
	return NULL;
}
