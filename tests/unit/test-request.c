/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkback/request.h: slots taken apart in every layout, each thing that a
 * guest may not say, the steps of each operation, and the grant copies.
 */
#include "blkback/request.h"
#include "tests/unit/slot.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static unsigned char slot[112];
static struct inflight_entry entry;
static struct blk_request request = { .entry = &entry };
static const struct slot_layout *layout;

static int parse(void)
{
	return request_parse(ring_abi_find(layout->protocol), slot, &request);
}

/*
 * A write of id 0x1122334455667788 to sector 0x10203, byte by byte: segment
 * 0 is all of gref 0x0a0b0c0d, segment 1 is sectors 2 to 5 of gref 7.
 */
static const unsigned char write_64[112] = {
	1,    2,    0x34, 0x12, 0xee, 0xee, 0xee, 0xee, 0x88, 0x77,
	0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x03, 0x02, 0x01, 0,
	0,    0,    0,    0,    0x0d, 0x0c, 0x0b, 0x0a, 0,    7,
	0xee, 0xee, 7,    0,    0,    0,    2,    5,    0xee, 0xee,
};
static const unsigned char write_32[108] = {
	1,    2,    0x34, 0x12, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
	0x03, 0x02, 0x01, 0,    0,    0,    0,    0,    0x0d, 0x0c, 0x0b, 0x0a,
	0,    7,    0xee, 0xee, 7,    0,    0,    0,    2,    5,    0xee, 0xee,
};

static void layouts_row(int row)
{
	layout = &slot_layouts[row];
	memcpy(slot, row ? write_32 : write_64, layout->slot_bytes);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(entry.operation, 1);
	ck_assert_uint_eq(entry.id, UINT64_C(0x1122334455667788));
	ck_assert_uint_eq(entry.nr_segments, 2);
	ck_assert_uint_eq(entry.offset_bytes, UINT64_C(0x10203) * 512);
	ck_assert_uint_eq(entry.length_bytes, 12 * 512);
	ck_assert_uint_eq(entry.segments[0].gref, 0x0a0b0c0d);
	ck_assert_uint_eq(entry.segments[0].offset_bytes, 0);
	ck_assert_uint_eq(entry.segments[0].length_bytes, 4096);
	ck_assert_uint_eq(entry.segments[1].gref, 7);
	ck_assert_uint_eq(entry.segments[1].offset_bytes, 1024);
	ck_assert_uint_eq(entry.segments[1].length_bytes, 2048);
}

ROWS_TEST(layouts, NR_SLOT_LAYOUTS)

/* The number of segments, by operation. */
static const struct {
	uint8_t op, nr_segments;
	int rc;
} counts[] = {
	{ SLOT_READ, 0, -EINVAL },     { SLOT_READ, 1, 0 },
	{ SLOT_READ, 11, 0 },          { SLOT_READ, 12, -EINVAL },
	{ SLOT_READ, 32, -EINVAL },    { SLOT_READ, 255, -EINVAL },
	{ SLOT_WRITE, 0, -EINVAL },    { SLOT_WRITE, 1, 0 },
	{ SLOT_WRITE, 11, 0 },         { SLOT_WRITE, 12, -EINVAL },
	{ SLOT_BARRIER, 0, 0 },        { SLOT_BARRIER, 11, 0 },
	{ SLOT_BARRIER, 12, -EINVAL }, { SLOT_FLUSH, 0, 0 },
	{ SLOT_FLUSH, 1, 0 },          { SLOT_FLUSH, 11, 0 },
	{ SLOT_FLUSH, 12, -EINVAL },   { SLOT_FLUSH, 255, -EINVAL },
	{ 4, 1, -EOPNOTSUPP },         { 7, 255, -EOPNOTSUPP },
	{ 255, 0, -EOPNOTSUPP },
};

/* The layout's slot is followed by nothing that may be read. */
static void segment_counts_row(int row)
{
	for (int l = 0; l < NR_SLOT_LAYOUTS; l++) {
		layout = &slot_layouts[l];
		slot_head(slot, layout, counts[row].op, counts[row].nr_segments,
			  99, 8);
		for (unsigned int s = 0; s < 11; s++)
			slot_segment(slot, layout, s, s, 0, 0);
		ck_assert_int_eq(parse(), counts[row].rc);
		/* The answer needs these in any case. */
		ck_assert_uint_eq(entry.id, 99);
		ck_assert_uint_eq(entry.operation, counts[row].op);
		ck_assert_uint_eq(entry.nr_segments,
				  counts[row].rc ? 0 : counts[row].nr_segments);
		ck_assert_uint_eq(entry.length_bytes, entry.nr_segments * 512);
	}
}

ROWS_TEST(segment_counts, NR_OF(counts))

/* Sector bounds of a segment, which must lie within its page. */
START_TEST(segment_bounds)
{
	layout = &slot_layouts[_i];
	slot_head(slot, layout, SLOT_READ, 11, 1, 0);
	for (unsigned int s = 0; s < 11; s++)
		slot_segment(slot, layout, s, s, 0, 7);
	for (unsigned int first = 0; first < 256; first++) {
		for (unsigned int last = 0; last < 256; last++) {
			unsigned int at = (first + last) % 11;
			bool good = first <= last && last <= 7;

			slot_segment(slot, layout, at, 5, (uint8_t)first,
				     (uint8_t)last);
			ck_assert_msg(parse() == (good ? 0 : -EINVAL),
				      "%u to %u", first, last);
			if (good)
				ck_assert_uint_eq(entry.length_bytes,
						  (80 + last - first + 1) *
							  512);
			slot_segment(slot, layout, at, 5, 0, 7);
		}
	}
}
END_TEST

static const struct {
	uint64_t sector;
	int rc;
} sectors[] = {
	{ 0, 0 },
	{ UINT64_C(1) << 40, 0 },
	{ (UINT64_C(1) << 55) - 1, 0 },
	{ UINT64_C(1) << 55, -EINVAL },
	{ (UINT64_C(1) << 55) + 1, -EINVAL },
	{ UINT64_C(1) << 63, -EINVAL },
	{ UINT64_MAX - 7, -EINVAL },
	{ UINT64_MAX, -EINVAL },
};

static void sector_overflow_row(int row)
{
	for (int op = SLOT_READ; op <= SLOT_FLUSH; op++) {
		layout = &slot_layouts[op % NR_SLOT_LAYOUTS];
		slot_head(slot, layout, (uint8_t)op, 1, 1, sectors[row].sector);
		slot_segment(slot, layout, 0, 1, 0, 7);
		ck_assert_int_eq(parse(), sectors[row].rc);
		if (!sectors[row].rc)
			ck_assert_uint_eq(entry.offset_bytes,
					  sectors[row].sector * 512);
	}
}

ROWS_TEST(sector_overflow, NR_OF(sectors))

/*
 * A discard of 0x201 sectors from 0x10203 on, whose flag says "secure", byte by
 * byte.
 */
static const unsigned char discard_64[112] = {
	5,    1,    0x34, 0x12, 0xee, 0xee, 0xee, 0xee, 0x88, 0x77, 0x66,
	0x55, 0x44, 0x33, 0x22, 0x11, 3,    2,    1,    0,    0,    0,
	0,    0,    1,    2,    0,    0,    0,    0,    0,    0,
};
static const unsigned char discard_32[108] = {
	5, 1, 0x34, 0x12, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 3, 2,
	1, 0, 0,    0,    0,    0,    1,    2,    0,    0,    0,    0,    0, 0,
};

static void discards_row(int row)
{
	layout = &slot_layouts[row];
	memcpy(slot, row ? discard_32 : discard_64, layout->slot_bytes);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(entry.operation, 5);
	ck_assert_uint_eq(entry.id, UINT64_C(0x1122334455667788));
	ck_assert_uint_eq(entry.offset_bytes, UINT64_C(0x10203) * 512);
	ck_assert_uint_eq(entry.length_bytes, 0x201 * 512);
	ck_assert_uint_eq(entry.nr_segments, 0);
	/* 2^55 sectors are more bytes than there can be. */
	slot_put(slot, layout->segments, 8, UINT64_C(1) << 55);
	ck_assert_int_eq(parse(), -EINVAL);
	slot_put(slot, layout->segments, 8, 1);
	slot_put(slot, layout->sector, 8, UINT64_C(1) << 55);
	ck_assert_int_eq(parse(), -EINVAL);
}

ROWS_TEST(discards, NR_SLOT_LAYOUTS)

/*
 * An indirect read of 0x0102 = 258 segments, less two, whose first page is gref
 * 0x0a0b0c0d, byte by byte.
 */
static const unsigned char indirect_64[112] = {
	6,    0,    0,    1,    0xee, 0xee, 0xee, 0xee, 0x88, 0x77, 0x66,
	0x55, 0x44, 0x33, 0x22, 0x11, 3,    2,    1,    0,    0,    0,
	0,    0,    0x34, 0x12, 0xee, 0xee, 0x0d, 0x0c, 0x0b, 0x0a,
};
static const unsigned char indirect_32[108] = {
	6, 0, 0, 1, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 3,    2,
	1, 0, 0, 0, 0,    0,    0x34, 0x12, 0xee, 0xee, 0x0d, 0x0c, 0x0b, 0x0a,
};

static void indirects_row(int row)
{
	layout = &slot_layouts[row];
	memcpy(slot, row ? indirect_32 : indirect_64, layout->slot_bytes);
	ck_assert_int_eq(parse(), 0);
	ck_assert(request.indirect);
	ck_assert_uint_eq(request.indirect_ref, 0x0a0b0c0d);
	/* The answer is for its own operation, not for 6. */
	ck_assert_uint_eq(entry.operation, 0);
	ck_assert_uint_eq(entry.id, UINT64_C(0x1122334455667788));
	ck_assert_uint_eq(entry.offset_bytes, UINT64_C(0x10203) * 512);
	ck_assert_uint_eq(entry.nr_segments, 256);
	/* What the hypervisor would have put there. */
	for (unsigned int i = 0; i < 256; i++) {
		unsigned char *at = (unsigned char *)entry.segments + i * 8;

		slot_put(at, 0, 4, i + 1000);
		slot_put(at, 4, 1, i % 8);
		slot_put(at, 5, 1, 7);
		slot_put(at, 6, 2, 0xeeee);
	}
	ck_assert_int_eq(request_parse_indirect(&request, true), 0);
	ck_assert(!request.indirect);
	ck_assert_uint_eq(entry.length_bytes, 32 * 36 * 512);
	for (unsigned int i = 0; i < 256; i++) {
		ck_assert_uint_eq(entry.segments[i].gref, i + 1000);
		ck_assert_uint_eq(entry.segments[i].offset_bytes, i % 8 * 512);
		ck_assert_uint_eq(entry.segments[i].length_bytes,
				  (8 - i % 8) * 512);
	}
}

ROWS_TEST(indirects, NR_SLOT_LAYOUTS)

/* Number of segments, operation, and whether that may be. */
static const struct {
	uint16_t nr_segments;
	uint8_t op;
	int rc;
} indirect_heads[] = {
	{ 0, SLOT_READ, -EINVAL },    { 1, SLOT_READ, 0 },
	{ 12, SLOT_WRITE, 0 },        { 256, SLOT_WRITE, 0 },
	{ 257, SLOT_READ, -EINVAL },  { 65535, SLOT_WRITE, -EINVAL },
	{ 1, SLOT_BARRIER, -EINVAL }, { 1, SLOT_FLUSH, -EINVAL },
	{ 1, SLOT_DISCARD, -EINVAL }, { 1, SLOT_INDIRECT, -EINVAL },
	{ 1, 255, -EINVAL },
};

static void indirect_head_row(int row)
{
	for (int l = 0; l < NR_SLOT_LAYOUTS; l++) {
		layout = &slot_layouts[l];
		slot_head(slot, layout, SLOT_INDIRECT, indirect_heads[row].op,
			  99, 8);
		slot_put(slot, 2, 2, indirect_heads[row].nr_segments);
		ck_assert_int_eq(parse(), indirect_heads[row].rc);
		ck_assert_uint_eq(entry.id, 99);
		ck_assert_uint_eq(entry.operation, indirect_heads[row].op);
		ck_assert_int_eq(request.indirect, !indirect_heads[row].rc);
		if (indirect_heads[row].rc)
			ck_assert_uint_eq(entry.nr_segments, 0);
	}
}

ROWS_TEST(indirect_head, NR_OF(indirect_heads))

/* One segment that cannot be, wherever it is, and there are none. */
START_TEST(indirect_segment_bounds)
{
	layout = &slot_layouts[0];
	for (unsigned int bad = 0; bad < 12; bad++) {
		slot_head(slot, layout, SLOT_INDIRECT, SLOT_READ, 1, 0);
		slot_put(slot, 2, 2, 12);
		ck_assert_int_eq(parse(), 0);
		for (unsigned int i = 0; i < 12; i++) {
			unsigned char *at =
				(unsigned char *)entry.segments + i * 8;

			slot_put(at, 0, 4, 1);
			slot_put(at, 4, 1, 0);
			slot_put(at, 5, 1, i == bad ? 8 : 7);
		}
		ck_assert_int_eq(request_parse_indirect(&request, true),
				 -EINVAL);
		ck_assert_uint_eq(entry.nr_segments, 0);
		ck_assert_uint_eq(entry.length_bytes, 0);
	}
}
END_TEST

/* Linux sends flushes with whatever sector was there before. */
static void empty_flush_has_no_place_row(int row)
{
	layout = &slot_layouts[row];
	slot_head(slot, layout, SLOT_FLUSH, 0, 3, UINT64_MAX);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(entry.offset_bytes, 0);
	ck_assert_uint_eq(entry.length_bytes, 0);
	ck_assert(!request_is_write(&entry));
}

ROWS_TEST(empty_flush_has_no_place, NR_SLOT_LAYOUTS)

/* What an earlier request left in the entry is gone. */
START_TEST(entry_is_overwritten)
{
	layout = &slot_layouts[0];
	memset(&entry, 0x55, sizeof(entry));
	slot_head(slot, layout, 77, 200, 3, 4);
	ck_assert_int_eq(parse(), -EOPNOTSUPP);
	ck_assert_uint_eq(entry.nr_segments, 0);
	ck_assert_uint_eq(entry.offset_bytes, 0);
	ck_assert_uint_eq(entry.length_bytes, 0);
	slot_head(slot, layout, SLOT_READ, 3, 3, 4);
	slot_segment(slot, layout, 0, 1, 0, 7);
	slot_segment(slot, layout, 1, 1, 0, 8);
	ck_assert_int_eq(parse(), -EINVAL);
	ck_assert_uint_eq(entry.nr_segments, 0);
	ck_assert_uint_eq(entry.length_bytes, 0);
}
END_TEST

static const struct {
	uint8_t op, nr_segments;
	bool write;
	/* In this order; 0 ends. */
	unsigned int steps[5];
} plans[] = {
	{ SLOT_READ, 1, false, { REQUEST_STEP_DATA } },
	{ SLOT_WRITE, 1, true, { REQUEST_STEP_DATA } },
	{ SLOT_DISCARD, 0, false, { REQUEST_STEP_DATA } },
	{ SLOT_FLUSH, 0, false, { REQUEST_STEP_FLUSH_BEFORE } },
	{ SLOT_FLUSH,
	  1,
	  true,
	  { REQUEST_STEP_FLUSH_BEFORE, REQUEST_STEP_DATA,
	    REQUEST_STEP_FLUSH_AFTER } },
	{ SLOT_BARRIER,
	  0,
	  false,
	  { REQUEST_STEP_DRAIN, REQUEST_STEP_FLUSH_BEFORE } },
	{ SLOT_BARRIER,
	  1,
	  true,
	  { REQUEST_STEP_DRAIN, REQUEST_STEP_FLUSH_BEFORE, REQUEST_STEP_DATA,
	    REQUEST_STEP_FLUSH_AFTER } },
};

static void steps_row(int row)
{
	unsigned int left;

	entry.operation = plans[row].op;
	entry.nr_segments = plans[row].nr_segments;
	ck_assert_int_eq(request_is_write(&entry), plans[row].write);
	left = request_steps(&entry);
	for (int i = 0; plans[row].steps[i]; i++) {
		ck_assert_uint_eq(request_next_step(left), plans[row].steps[i]);
		left &= left - 1;
	}
	ck_assert_uint_eq(left, 0);
}

ROWS_TEST(steps, NR_OF(plans))

Suite *suite_request(void)
{
	Suite *suite = suite_create("request");
	TCase *tc = tcase_create("request");

	tcase_add_test(tc, layouts);
	tcase_add_test(tc, segment_counts);
	tcase_add_loop_test(tc, segment_bounds, 0, NR_SLOT_LAYOUTS);
	tcase_add_test(tc, sector_overflow);
	tcase_add_test(tc, empty_flush_has_no_place);
	tcase_add_test(tc, discards);
	tcase_add_test(tc, indirects);
	tcase_add_test(tc, indirect_head);
	tcase_add_test(tc, indirect_segment_bounds);
	tcase_add_test(tc, entry_is_overwritten);
	tcase_add_test(tc, steps);
	suite_add_tcase(suite, tc);
	return suite;
}
