/* SPDX-License-Identifier: BSD-2-Clause */
/* blkif slots for tests, byte by byte. */
#include "tests/unit/slot.h"

#include <stddef.h>
#include <string.h>

const struct slot_layout slot_layouts[NR_SLOT_LAYOUTS] = {
	{ "x86_64", "x86_64-abi", 112, 16, 8, 16, 24 },
	{ "x86_32", "x86_32-abi", 108, 12, 4, 12, 20 },
	{ "no protocol", NULL, 108, 12, 4, 12, 20 },
};

void slot_put(void *slot, unsigned int offset, unsigned int nr_bytes,
	      uint64_t value)
{
	for (unsigned int i = 0; i < nr_bytes; i++)
		((uint8_t *)slot)[offset + i] = (uint8_t)(value >> 8 * i);
}

uint64_t slot_get(const void *slot, unsigned int offset, unsigned int nr_bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < nr_bytes; i++)
		value |= (uint64_t)((const uint8_t *)slot)[offset + i] << 8 * i;
	return value;
}

void slot_head(void *slot, const struct slot_layout *layout, uint8_t op,
	       uint8_t nr_segments, uint64_t id, uint64_t sector)
{
	memset(slot, 0xee, layout->slot_bytes);
	slot_put(slot, 0, 1, op);
	slot_put(slot, 1, 1, nr_segments);
	slot_put(slot, layout->id, 8, id);
	slot_put(slot, layout->sector, 8, sector);
}

void slot_segment(void *slot, const struct slot_layout *layout,
		  unsigned int index, uint32_t gref, uint8_t first_sect,
		  uint8_t last_sect)
{
	unsigned int at = layout->segments + index * 8;

	slot_put(slot, at, 4, gref);
	slot_put(slot, at + 4, 1, first_sect);
	slot_put(slot, at + 5, 1, last_sect);
}
