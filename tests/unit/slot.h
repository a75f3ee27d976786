/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkif slots for tests, byte by byte.  The numbers are written by hand from
 * the comments of blkif.h and shared with nothing that is tested.
 */
#ifndef XEN_DISKD_UNIT_SLOT_H
#define XEN_DISKD_UNIT_SLOT_H

#include <stdbool.h>
#include <stdint.h>

enum slot_op {
	SLOT_READ = 0,
	SLOT_WRITE = 1,
	SLOT_BARRIER = 2,
	SLOT_FLUSH = 3,
	SLOT_DISCARD = 5,
	SLOT_INDIRECT = 6,
};

struct slot_layout {
	const char *name;
	const char *protocol; /* NULL: the node is missing */
	unsigned int slot_bytes, response_bytes;
	unsigned int id, sector, segments;
};

#define NR_SLOT_LAYOUTS 3
/* x86_64-abi, x86_32-abi, and no protocol node at all. */
extern const struct slot_layout slot_layouts[NR_SLOT_LAYOUTS];

/* Little-endian numbers of nr_bytes bytes. */
void slot_put(void *slot, unsigned int offset, unsigned int nr_bytes,
	      uint64_t value);
uint64_t slot_get(const void *slot, unsigned int offset, unsigned int nr_bytes);

/* Operation, number of segments, id and sector; the rest becomes 0xee. */
void slot_head(void *slot, const struct slot_layout *layout, uint8_t op,
	       uint8_t nr_segments, uint64_t id, uint64_t sector);
void slot_segment(void *slot, const struct slot_layout *layout,
		  unsigned int index, uint32_t gref, uint8_t first_sect,
		  uint8_t last_sect);

#endif
