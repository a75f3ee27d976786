/* SPDX-License-Identifier: BSD-2-Clause */
/* Parsing, validation and data movement of one request. */
#include "blkback/request.h"

#include "gnttab/gnttab.h"

#include <errno.h>
#include <string.h>

#define SECTORS_PER_PAGE (GNTTAB_PAGE_BYTES / BLOCK_SECTOR_BYTES)

/* struct blkif_request_segment, the same in every ABI. */
struct wire_segment {
	uint32_t gref;
	uint8_t first_sect, last_sect;
	uint16_t pad;
};

_Static_assert(sizeof(struct wire_segment) == BLKIF_SEGMENT_BYTES, "segment");
/* One is put in the other's place. */
_Static_assert(sizeof(struct wire_segment) == sizeof(struct inflight_segment),
	       "segment in flight");
/* So an indirect request has just one page of segments. */
_Static_assert(INFLIGHT_SEGMENTS_MAX <= GNTTAB_PAGE_BYTES / BLKIF_SEGMENT_BYTES,
	       "indirect segments");

static int parse_segment(const unsigned char *from,
			 struct inflight_segment *segment)
{
	struct wire_segment wire;

	memcpy(&wire, from, sizeof(wire));
	if (wire.first_sect > wire.last_sect ||
	    wire.last_sect >= SECTORS_PER_PAGE)
		return -EINVAL;
	segment->gref = wire.gref;
	segment->offset_bytes =
		(uint16_t)(wire.first_sect * BLOCK_SECTOR_BYTES);
	segment->length_bytes =
		(uint16_t)((wire.last_sect - wire.first_sect + 1u) *
			   BLOCK_SECTOR_BYTES);
	return 0;
}

/* The place on the disk, in bytes, behind which the length is added up. */
static int parse_sector(const struct ring_abi *abi, const unsigned char *slot,
			struct inflight_entry *entry)
{
	uint64_t sector;

	memcpy(&sector, slot + abi->sector, sizeof(sector));
	if (__builtin_mul_overflow(sector, BLOCK_SECTOR_BYTES,
				   &entry->offset_bytes))
		return -EINVAL;
	return 0;
}

/* Segments in the wire's layout, which may lie where they are to go. */
static int parse_segments(const unsigned char *wire, unsigned int nr,
			  struct inflight_entry *entry)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (parse_segment(wire + i * BLKIF_SEGMENT_BYTES,
				  &entry->segments[i]) < 0) {
			entry->nr_segments = 0;
			entry->length_bytes = 0;
			return -EINVAL;
		}
		entry->length_bytes += entry->segments[i].length_bytes;
	}
	entry->nr_segments = (uint16_t)nr;
	return 0;
}

/* The direct request: up to 11 segments in the slot itself. */
static int parse_direct(const struct ring_abi *abi, const unsigned char *slot,
			unsigned int min_segments, struct inflight_entry *entry)
{
	unsigned int nr = slot[BLKIF_REQUEST_NR_SEGMENTS];

	if (nr < min_segments || nr > BLKIF_MAX_SEGMENTS_PER_REQUEST)
		return -EINVAL;
	/* An empty flush has no place on the disk; its sector means nothing. */
	if (nr && parse_sector(abi, slot, entry) < 0)
		return -EINVAL;
	return parse_segments(slot + abi->segments, nr, entry);
}

static int parse_indirect(const struct ring_abi *abi, const unsigned char *slot,
			  struct blk_request *req)
{
	struct inflight_entry *entry = req->entry;
	uint16_t nr;

	entry->operation = slot[BLKIF_INDIRECT_OPERATION];
	memcpy(&nr, slot + BLKIF_INDIRECT_NR_SEGMENTS, sizeof(nr));
	if ((entry->operation != BLKIF_OP_READ &&
	     entry->operation != BLKIF_OP_WRITE) ||
	    !nr || nr > INFLIGHT_SEGMENTS_MAX ||
	    parse_sector(abi, slot, entry) < 0)
		return -EINVAL;
	memcpy(&req->indirect_ref, slot + abi->segments + BLKIF_INDIRECT_GREFS,
	       sizeof(req->indirect_ref));
	entry->nr_segments = nr;
	req->indirect = true;
	return 0;
}

int request_parse_indirect(struct blk_request *req, bool copied)
{
	struct inflight_entry *entry = req->entry;

	req->indirect = false;
	if (!copied) {
		entry->nr_segments = 0;
		return -EINVAL;
	}
	return parse_segments((const unsigned char *)entry->segments,
			      entry->nr_segments, entry);
}

/* It has no segments: nothing is moved between the guest and us. */
static int parse_discard(const struct ring_abi *abi, const unsigned char *slot,
			 struct inflight_entry *entry)
{
	uint64_t nr_sectors;

	memcpy(&nr_sectors, slot + abi->segments, sizeof(nr_sectors));
	if (parse_sector(abi, slot, entry) < 0 ||
	    __builtin_mul_overflow(nr_sectors, BLOCK_SECTOR_BYTES,
				   &entry->length_bytes))
		return -EINVAL;
	return 0;
}

int request_parse(const struct ring_abi *abi, const unsigned char *slot,
		  struct blk_request *req)
{
	struct inflight_entry *entry = req->entry;

	req->indirect = false;
	entry->operation = slot[BLKIF_REQUEST_OPERATION];
	memcpy(&entry->id, slot + abi->id, sizeof(entry->id));
	entry->nr_segments = 0;
	entry->offset_bytes = entry->length_bytes = 0;
	switch (entry->operation) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
		return parse_direct(abi, slot, 1, entry);
	case BLKIF_OP_WRITE_BARRIER:
	case BLKIF_OP_FLUSH_DISKCACHE:
		return parse_direct(abi, slot, 0, entry);
	case BLKIF_OP_INDIRECT:
		return parse_indirect(abi, slot, req);
	case BLKIF_OP_DISCARD:
		return parse_discard(abi, slot, entry);
	default:
		return -EOPNOTSUPP;
	}
}

bool request_is_write(const struct inflight_entry *entry)
{
	return entry->operation != BLKIF_OP_READ && entry->nr_segments;
}

unsigned int request_steps(const struct inflight_entry *entry)
{
	unsigned int steps = entry->nr_segments ? REQUEST_STEP_DATA : 0;

	switch (entry->operation) {
	case BLKIF_OP_DISCARD:
		return REQUEST_STEP_DATA;
	case BLKIF_OP_WRITE_BARRIER:
		steps |= REQUEST_STEP_DRAIN | REQUEST_STEP_FLUSH_BEFORE;
		break;
	case BLKIF_OP_FLUSH_DISKCACHE:
		steps |= REQUEST_STEP_FLUSH_BEFORE;
		break;
	default:
		return steps;
	}
	if (entry->nr_segments)
		steps |= REQUEST_STEP_FLUSH_AFTER;
	return steps;
}
