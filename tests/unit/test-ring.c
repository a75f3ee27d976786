/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkback/ring.h against a guest's half written by hand: every layout, every
 * index near the wrap, the notification rule tried exhaustively, and guests
 * that lie.
 */
#include "blkback/ring.h"
#include "tests/unit/slot.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* The shared page's head (ring.h of Xen), by offset. */
#define REQ_PROD 0
#define REQ_EVENT 4
#define RSP_PROD 8
#define RSP_EVENT 12
#define SLOTS 64

static unsigned char page[4096] __attribute__((aligned(4096)));
static const struct slot_layout *layout;
static struct ring ring;
static unsigned char slot[112];

static uint32_t shared(unsigned int offset)
{
	return (uint32_t)slot_get(page, offset, 4);
}

static void share(unsigned int offset, uint32_t value)
{
	slot_put(page, offset, 4, value);
}

static unsigned char *slot_of(uint32_t index)
{
	return page + SLOTS + index % ring.nr_slots * layout->slot_bytes;
}

/* A ring of one page whose next index is start, with nothing in it. */
static void ring_at(int which, uint32_t start)
{
	layout = &slot_layouts[which];
	memset(page, 0xcc, sizeof(page));
	share(REQ_PROD, start);
	share(RSP_PROD, start);
	ring_recover(&ring, ring_abi_find(layout->protocol), page, 1, start,
		     start);
}

/* As many requests have been taken since. */
static void ring_has_taken(uint32_t nr)
{
	ring_recover(&ring, ring.abi, page, 1, ring.req_cons + nr,
		     ring.rsp_prod);
}

static void abi_rows_row(int row)
{
	const struct slot_layout *l = &slot_layouts[row];
	const struct ring_abi *abi = ring_abi_find(l->protocol);

	ck_assert_ptr_nonnull(abi);
	ck_assert_uint_eq(abi->slot_bytes, l->slot_bytes);
	ck_assert_uint_eq(abi->response_bytes, l->response_bytes);
	ck_assert_uint_eq(abi->id, l->id);
	ck_assert_uint_eq(abi->sector, l->sector);
	ck_assert_uint_eq(abi->segments, l->segments);
}

ROWS_TEST(abi_rows, NR_SLOT_LAYOUTS)

START_TEST(abi_unknown)
{
	static const char *const names[] = {
		"",           "x86_64",  "x86_64-abi ",
		"X86_64-ABI", "arm-abi", "x86_32-abi\n"
	};

	for (size_t i = 0; i < NR_OF(names); i++)
		ck_assert_ptr_null(ring_abi_find(names[i]));
}
END_TEST

static void sizes_row(int row)
{
	static const struct {
		unsigned int pages, slots;
	} table[] = {
		{ 1, 32 }, { 2, 64 }, { 4, 128 }, { 8, 256 }, { 16, 512 }
	};
	const struct ring_abi *abi = ring_abi_find(slot_layouts[row].protocol);

	for (size_t i = 0; i < NR_OF(table); i++)
		ck_assert_uint_eq(ring_slots(abi, table[i].pages),
				  table[i].slots);
}

ROWS_TEST(sizes, NR_SLOT_LAYOUTS)

START_TEST(a_new_ring_starts_at_0)
{
	layout = &slot_layouts[0];
	memset(page, 0, sizeof(page));
	/* What is in the page beside req_prod is not looked at. */
	share(RSP_PROD, 77);
	ck_assert_int_eq(ring_init(&ring, ring_abi_find("x86_64-abi"), page, 1,
				   false),
			 0);
	ck_assert_int_eq(ring_take(&ring, slot), 0);
	share(REQ_PROD, 1);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
}
END_TEST

START_TEST(resumes_an_idle_ring_only)
{
	memset(page, 0, sizeof(page));
	share(REQ_PROD, 0xfffffff0);
	share(RSP_PROD, 0xfffffff0);
	ck_assert_int_eq(ring_init(&ring, ring_abi_find("x86_64-abi"), page, 1,
				   true),
			 0);
	ck_assert_uint_eq(ring.req_cons, 0xfffffff0);
	ck_assert_int_eq(ring_take(&ring, slot), 0);
	ck_assert(!ring_publish(&ring));
	share(REQ_PROD, 0xfffffff1);
	ck_assert_int_eq(ring_init(&ring, ring_abi_find("x86_64-abi"), page, 1,
				   true),
			 -EBUSY);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
}
END_TEST

static const uint32_t starts[] = { 0,          31,         0x7ffffff0,
				   0xffffffe1, 0xfffffff8, 0xffffffff };

/* Three rounds of a full ring: over the end of the page, and of 32 bits. */
static void copies_slots_in_order_row(int row)
{
	int which = row % NR_SLOT_LAYOUTS;
	uint32_t index = starts[row / NR_SLOT_LAYOUTS];

	ring_at(which, index);
	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 32; i++)
			memset(slot_of(index + i), (int)(8 + round * 32 + i),
			       layout->slot_bytes);
		share(REQ_PROD, index + 32);
		for (uint32_t i = 0; i < 32; i++) {
			memset(slot, 0xaa, sizeof(slot));
			ck_assert_int_eq(ring_take(&ring, slot), 1);
			for (unsigned int b = 0; b < 112; b++)
				ck_assert_uint_eq(slot[b],
						  b < layout->slot_bytes
							  ? 8 + round * 32 + i
							  : 0xaa);
		}
		ck_assert_int_eq(ring_take(&ring, slot), 0);
		for (uint32_t i = 0; i < 32; i++)
			ring_respond(&ring, 1, 0, 0);
		ring_publish(&ring);
		index += 32;
		ck_assert_uint_eq(shared(RSP_PROD), index);
	}
}

ROWS_TEST(copies_slots_in_order, NR_OF(starts) * NR_SLOT_LAYOUTS)

/* What there is of a request, and no more; 0: the whole slot. */
static const struct {
	uint8_t op, nr_segments;
	unsigned int nr_bytes;
} heads[] = {
	{ SLOT_READ, 0, 32 },      { SLOT_READ, 1, 32 },
	{ SLOT_READ, 2, 0 },       { SLOT_WRITE, 11, 0 },
	{ SLOT_WRITE, 255, 0 },    { SLOT_FLUSH, 0, 32 },
	{ SLOT_BARRIER, 2, 0 },    { SLOT_DISCARD, 0, 32 },
	{ SLOT_DISCARD, 255, 32 }, { SLOT_INDIRECT, 0, 0 },
	{ SLOT_INDIRECT, 1, 0 },   { 77, 2, 0 },
};

static void copies_what_is_there_row(int row)
{
	unsigned int i = (unsigned int)row / NR_SLOT_LAYOUTS, end;
	unsigned char *at;

	ring_at(row % NR_SLOT_LAYOUTS, 7);
	end = heads[i].nr_bytes ? heads[i].nr_bytes : layout->slot_bytes;
	at = slot_of(7);
	for (unsigned int b = 2; b < layout->slot_bytes; b++)
		at[b] = (unsigned char)b;
	at[0] = heads[i].op;
	at[1] = heads[i].nr_segments;
	share(REQ_PROD, 8);
	memset(slot, 0xaa, sizeof(slot));
	ck_assert_int_eq(ring_take(&ring, slot), 1);
	ck_assert_mem_eq(slot, at, end);
	for (unsigned int b = end; b < sizeof(slot); b++)
		ck_assert_uint_eq(slot[b], 0xaa);
}

ROWS_TEST(copies_what_is_there, NR_OF(heads) * NR_SLOT_LAYOUTS)

/* What the guest has shown once it cannot take back. */
START_TEST(a_claim_stands)
{
	ring_at(0, 0xfffffffe);
	share(REQ_PROD, 1);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
	share(REQ_PROD, 0x80000000);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
	ck_assert_int_eq(ring_take(&ring, slot), -EPROTO);
	ck_assert_uint_eq(ring.req_cons, 1);
}
END_TEST

/* What the guest claims, in requests, against what there may be. */
static const struct {
	uint32_t outstanding; /* taken and not answered */
	int32_t claim; /* req_prod - req_cons */
	int rc;
} claims[] = {
	{ 0, 0, 0 },
	{ 0, 1, 1 },
	{ 0, 32, 1 },
	{ 0, 33, -EPROTO },
	{ 0, 64, -EPROTO },
	{ 0, INT32_MAX, -EPROTO },
	{ 0, INT32_MIN, -EPROTO },
	{ 0, -1, -EPROTO },
	{ 0, -32, -EPROTO },
	{ 0, -33, -EPROTO },
	{ 1, 31, 1 },
	{ 1, 32, -EPROTO },
	{ 31, 1, 1 },
	{ 31, 2, -EPROTO },
	{ 32, 0, 0 },
	{ 32, 1, -EPROTO },
	{ 32, -1, -EPROTO },
	{ 5, -5, -EPROTO },
};

static void overrun_claims_row(int row)
{
	for (size_t s = 0; s < NR_OF(starts); s++) {
		ring_at(0, starts[s]);
		ring_has_taken(claims[row].outstanding);
		share(REQ_PROD, ring.req_cons + (uint32_t)claims[row].claim);
		memset(slot, 0xaa, sizeof(slot));
		ck_assert_int_eq(ring_take(&ring, slot), claims[row].rc);
		if (claims[row].rc == 1)
			continue;
		/* Nothing was taken. */
		ck_assert_uint_eq(slot[0], 0xaa);
		ck_assert_uint_eq(ring.req_cons,
				  starts[s] + claims[row].outstanding);
	}
}

ROWS_TEST(overrun_claims, NR_OF(claims))

/* The guest may lie about rsp_prod as it likes: it is never read back. */
START_TEST(rsp_prod_is_private)
{
	ring_at(0, 0);
	share(REQ_PROD, 32);
	share(RSP_PROD, 0xdeadbeef);
	for (int i = 0; i < 32; i++)
		ck_assert_int_eq(ring_take(&ring, slot), 1);
	share(RSP_PROD, 32);
	share(REQ_PROD, 64);
	ck_assert_int_eq(ring_take(&ring, slot), -EPROTO);
	ring_respond(&ring, 1, 0, 0);
	ring_publish(&ring);
	ck_assert_uint_eq(shared(RSP_PROD), 1);
}
END_TEST

/* x86_64: 8 bytes of id, op, a hole, status, a hole of 4. */
static const unsigned char response_64[16] = {
	0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12,
	0x03, 0x00, 0xfe, 0xff, 0x00, 0x00, 0x00, 0x00,
};

/* x86_32: the same without the hole at the end; the slot goes on. */
static const unsigned char response_32[12] = {
	0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, 0x03, 0x00, 0xfe, 0xff,
};

static void response_bytes_row(int row)
{
	const unsigned char *expected = row ? response_32 : response_64;

	ring_at(row, 0xffffffff);
	share(REQ_PROD, 0);
	memset(slot_of(0xffffffff), 0xff, layout->slot_bytes);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
	ring_respond(&ring, UINT64_C(0x123456789abcdef0), 3, -2);
	for (unsigned int b = 0; b < layout->response_bytes; b++)
		ck_assert_msg(slot_of(0xffffffff)[b] == expected[b],
			      "byte %u is %#x", b, slot_of(0xffffffff)[b]);
	/* What follows is the guest's own. */
	ck_assert_uint_eq(slot_of(0xffffffff)[layout->response_bytes], 0xff);
	/* Unseen until it is published. */
	ck_assert_uint_eq(shared(RSP_PROD), 0xffffffff);
	ring_publish(&ring);
	ck_assert_uint_eq(shared(RSP_PROD), 0);
}

ROWS_TEST(response_bytes, 2)

START_TEST(answering_nothing_aborts)
{
	ring_at(0, 5);
	ring_respond(&ring, 1, 0, 0);
}
END_TEST

START_TEST(answering_twice_aborts)
{
	ring_at(0, 5);
	share(REQ_PROD, 6);
	ck_assert_int_eq(ring_take(&ring, slot), 1);
	ring_respond(&ring, 1, 0, 0);
	ring_respond(&ring, 1, 0, 0);
}
END_TEST

/* True when one of the indices after old, up to old + nr, is event. */
static bool passes(uint32_t old, uint32_t nr, uint32_t event)
{
	for (uint32_t i = 1; i <= nr; i++) {
		if (old + i == event)
			return true;
	}
	return false;
}

/* Every number of responses against every rsp_event near them. */
static void notifies_exactly_when_asked_row(int row)
{
	uint32_t old = starts[row];

	for (uint32_t nr = 1; nr <= 32; nr++) {
		for (uint32_t event = old - 40; event != old + 40; event++) {
			ring_at(0, old);
			ring_has_taken(nr);
			share(RSP_EVENT, event);
			for (uint32_t i = 0; i < nr; i++)
				ring_respond(&ring, 1, 0, 0);
			ck_assert_msg(ring_publish(&ring) ==
					      passes(old, nr, event),
				      "%u from %#x, event %#x", nr, old, event);
			/* Nothing new: nobody is told twice. */
			ck_assert(!ring_publish(&ring));
		}
	}
}

ROWS_TEST(notifies_exactly_when_asked, NR_OF(starts))

START_TEST(publishes_in_steps)
{
	ring_at(0, 0xfffffffe);
	ring_has_taken(4);
	share(RSP_EVENT, 1);
	ring_respond(&ring, 1, 0, 0);
	ck_assert(!ring_publish(&ring));
	ring_respond(&ring, 2, 0, 0);
	ck_assert(!ring_publish(&ring));
	ring_respond(&ring, 3, 0, 0);
	ck_assert(ring_publish(&ring));
	ring_respond(&ring, 4, 0, 0);
	ck_assert(!ring_publish(&ring));
	ck_assert_uint_eq(shared(RSP_PROD), 2);
}
END_TEST

static void final_check_row(int row)
{
	for (size_t s = 0; s < NR_OF(starts); s++) {
		ring_at(row, starts[s]);
		ck_assert(!ring_final_check(&ring));
		ck_assert_uint_eq(shared(REQ_EVENT), starts[s] + 1);
		share(REQ_PROD, starts[s] + 2);
		ck_assert(ring_final_check(&ring));
		ck_assert_int_eq(ring_take(&ring, slot), 1);
		ck_assert(ring_final_check(&ring));
		ck_assert_uint_eq(shared(REQ_EVENT), starts[s] + 2);
		ck_assert_int_eq(ring_take(&ring, slot), 1);
		ck_assert(!ring_final_check(&ring));
		ck_assert_uint_eq(shared(REQ_EVENT), starts[s] + 3);
	}
}

ROWS_TEST(final_check, NR_SLOT_LAYOUTS)

Suite *suite_ring(void)
{
	Suite *suite = suite_create("ring");
	TCase *tc = tcase_create("ring");

	tcase_add_test(tc, abi_rows);
	tcase_add_test(tc, abi_unknown);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, a_new_ring_starts_at_0);
	tcase_add_test(tc, resumes_an_idle_ring_only);
	tcase_add_test(tc, copies_slots_in_order);
	tcase_add_test(tc, copies_what_is_there);
	tcase_add_test(tc, a_claim_stands);
	tcase_add_test(tc, overrun_claims);
	tcase_add_test(tc, rsp_prod_is_private);
	tcase_add_test(tc, response_bytes);
	tcase_add_test_raise_signal(tc, answering_nothing_aborts, SIGABRT);
	tcase_add_test_raise_signal(tc, answering_twice_aborts, SIGABRT);
	tcase_add_test(tc, notifies_exactly_when_asked);
	tcase_add_test(tc, publishes_in_steps);
	tcase_add_test(tc, final_check);
	suite_add_tcase(suite, tc);
	return suite;
}
