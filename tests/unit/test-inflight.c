/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/inflight.h: sizes, the parts of several queues, a clean start. */
#include "blkback/blkif-abi.h"
#include "blkback/inflight.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int table_fd(size_t bytes)
{
	int fd = memfd_create("table", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

START_TEST(sizes)
{
	/* 32 entries of 2112 bytes are 16.5 pages: 17, and a header's. */
	ck_assert_uint_eq(inflight_bytes(1, 32), 18 * 4096);
	ck_assert_uint_eq(inflight_bytes(4, 32), 72 * 4096);
	/* 512 entries are exactly 264 pages. */
	ck_assert_uint_eq(inflight_bytes(1, 512), 265 * 4096);
}
END_TEST

static const struct {
	long difference;
	unsigned int nr_queues, nr_slots;
} wrong[] = {
	{ -1, 1, 32 },        { 1, 1, 32 },          { -4096, 1, 32 },
	{ 4096, 1, 32 },      { -18 * 4096, 1, 32 }, { -18 * 4096, 2, 32 },
	{ 18 * 4096, 2, 32 },
};

static void wrong_sizes_are_refused_row(int row)
{
	struct inflight table = { 0 };
	size_t right =
		inflight_bytes(wrong[row].nr_queues, wrong[row].nr_slots);
	int fd = table_fd((size_t)((long)right + wrong[row].difference));

	ck_assert_int_eq(inflight_map(fd, 0, wrong[row].nr_queues,
				      wrong[row].nr_slots, &table),
			 -EBADMSG);
	ck_assert_ptr_null(table.mapping);
	close(fd);
}

ROWS_TEST(wrong_sizes_are_refused, NR_OF(wrong))

START_TEST(bad_descriptors_are_refused)
{
	struct inflight table = { 0 };
	int fds[2];

	ck_assert_int_eq(inflight_map(-1, 0, 1, 32, &table), -EBADF);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(inflight_map(fds[0], 0, 1, 32, &table), -EBADMSG);
	inflight_unmap(&table);
	inflight_unmap(&table);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

START_TEST(starts)
{
	struct inflight table;
	int fd = table_fd(inflight_bytes(1, 32));
	uint32_t header[8];

	ck_assert_int_eq(inflight_map(fd, 0, 1, 32, &table), 0);
	ck_assert_uint_eq(table.nr_entries, 32);
	inflight_start(&table, 0xfffffff0);
	for (int i = 0; i < 32; i++)
		ck_assert_uint_eq(table.entries[i].state, INFLIGHT_FREE);
	/* The header is there for whoever maps it later: "xbdi", 3. */
	ck_assert_int_eq(pread(fd, header, sizeof(header), 0), sizeof(header));
	ck_assert_int_eq(memcmp(header, "xbdi", 4), 0);
	ck_assert_uint_eq(header[1], 3);
	ck_assert_uint_eq(header[2], 32);
	ck_assert_uint_eq(header[3], 2112);
	ck_assert_uint_eq(header[4], 0xfffffff0);
	ck_assert_uint_eq(header[5], 0);
	ck_assert_uint_eq(header[6], 0xfffffff0);
	ck_assert_uint_eq(header[7], 0xfffffff0);
	inflight_unmap(&table);
	close(fd);
}
END_TEST

START_TEST(queues_have_parts_of_their_own)
{
	struct inflight tables[3], again;
	int fd = table_fd(inflight_bytes(3, 32));

	for (unsigned int q = 0; q < 3; q++) {
		ck_assert_int_eq(inflight_map(fd, q, 3, 32, &tables[q]), 0);
		memset(tables[q].entries, (int)(q + 1),
		       32 * sizeof(struct inflight_entry));
	}
	/* No part reaches into another, and all is in the descriptor. */
	for (unsigned int q = 0; q < 3; q++) {
		ck_assert_uint_eq(tables[q].entries[0].nr_segments,
				  (q + 1) * 0x101);
		ck_assert_uint_eq(tables[q].entries[31].segments[255].gref,
				  (q + 1) * 0x1010101);
	}
	/* Whoever maps a part anew finds it. */
	ck_assert_int_eq(inflight_map(fd, 1, 3, 32, &again), 0);
	ck_assert_uint_eq(again.entries[31].state, 0x2020202);
	again.entries[31].nr_segments = 0x202;
	ck_assert_uint_eq(tables[1].entries[31].nr_segments, 0x202);
	inflight_unmap(&again);
	for (unsigned int q = 0; q < 3; q++)
		inflight_unmap(&tables[q]);
	close(fd);
}
END_TEST

/* ---- taking over ------------------------------------------------------- */

#define SLOTS 32u

/* The next index of a ring that is about to wrap. */
#define START 0xfffffffeu

static struct inflight live, left;
static uint32_t rsp_prod; /* as the guest sees it */
static struct error_text err;

static void recovery_setup(void)
{
	int fd = table_fd(inflight_bytes(1, SLOTS));

	ck_assert_int_eq(inflight_map(fd, 0, 1, SLOTS, &live), 0);
	close(fd);
	fd = table_fd(inflight_bytes(1, SLOTS));
	ck_assert_int_eq(inflight_map(fd, 0, 1, SLOTS, &left), 0);
	close(fd);
	inflight_start(&live, START);
	rsp_prod = START;
}

static void recovery_teardown(void)
{
	inflight_unmap(&live);
	inflight_unmap(&left);
}

/* A write of two segments. */
static void fill(unsigned int i, uint64_t id)
{
	struct inflight_entry *entry = &live.entries[i];

	entry->operation = BLKIF_OP_WRITE;
	entry->nr_segments = 2;
	entry->id = id;
	entry->offset_bytes = 4096 * id;
	entry->length_bytes = 4096 + 512;
	entry->segments[0] = (struct inflight_segment){ 7, 0, 4096 };
	entry->segments[1] = (struct inflight_segment){ 8, 512, 512 };
}

/* What a worker that is killed here leaves behind. */
static int recover(void)
{
	memcpy(left.mapping, live.mapping, live.bytes);
	return inflight_recover(&left, rsp_prod, &err);
}

static unsigned int nr_in(enum inflight_state state)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < SLOTS; i++)
		nr += left.entries[i].state == state;
	return nr;
}

static void expect(unsigned int nr_taken, unsigned int nr_done)
{
	ck_assert_msg(recover() == 0, "%s", err.text);
	ck_assert_uint_eq(nr_in(INFLIGHT_TAKEN), nr_taken);
	ck_assert_uint_eq(nr_in(INFLIGHT_DONE), nr_done);
	ck_assert_uint_eq(nr_in(INFLIGHT_FREE), SLOTS - nr_taken - nr_done);
	/* Killed in the middle of that, or after it: the same again. */
	memcpy(live.mapping, left.mapping, live.bytes);
}

/* Three requests, of which the second is answered first, then the first. */
START_TEST(between_any_two_stores)
{
	expect(0, 0);
	fill(4, 100);
	expect(0, 0);
	inflight_take(&live.entries[4], START, BLKIF_RSP_OKAY);
	fill(9, 101);
	inflight_take(&live.entries[9], (uint64_t)START + 1, BLKIF_RSP_OKAY);
	fill(2, 102);
	inflight_take(&live.entries[2], (uint64_t)START + 2, BLKIF_RSP_OKAY);
	/* They are in the ring still. */
	memcpy(left.mapping, live.mapping, live.bytes);
	ck_assert_int_eq(inflight_recover(&left, rsp_prod, &err), 0);
	ck_assert_uint_eq(nr_in(INFLIGHT_FREE), SLOTS);
	inflight_publish_taken(&live, (uint64_t)START + 3);
	expect(3, 0);
	inflight_done(&live.entries[9], START, BLKIF_RSP_OKAY);
	expect(2, 1);
	inflight_done(&live.entries[4], START + 1, BLKIF_RSP_ERROR);
	expect(1, 2);
	inflight_intend(&live, START + 2);
	expect(1, 2);
	rsp_prod = START + 2;
	memcpy(left.mapping, live.mapping, live.bytes);
	ck_assert_int_eq(inflight_recover(&left, rsp_prod, &err), 0);
	ck_assert_uint_eq(nr_in(INFLIGHT_TAKEN), 1);
	ck_assert_uint_eq(nr_in(INFLIGHT_DONE), 0);
	inflight_published(&live, START + 2);
	expect(1, 0);
	inflight_free(&live.entries[9]);
	expect(1, 0);
	inflight_free(&live.entries[4]);
	expect(1, 0);
	ck_assert_uint_eq(left.entries[2].id, 102);
	ck_assert_uint_eq(left.entries[2].number, (uint64_t)START + 2);
}
END_TEST

START_TEST(answers_are_kept)
{
	fill(0, 5);
	inflight_take(&live.entries[0], START, BLKIF_RSP_OKAY);
	inflight_publish_taken(&live, (uint64_t)START + 1);
	inflight_done(&live.entries[0], START, BLKIF_RSP_EOPNOTSUPP);
	expect(0, 1);
	ck_assert_uint_eq(inflight_answer_index(&left.entries[0]), START);
	ck_assert_int_eq(inflight_answer_status(&left.entries[0]),
			 BLKIF_RSP_EOPNOTSUPP);
}
END_TEST

/* A worker that dies while one is tried alone died of it. */
START_TEST(deaths_are_counted)
{
	fill(0, 5);
	live.entries[0].trial = 0x1234; /* of whoever had it before */
	inflight_take(&live.entries[0], START, BLKIF_RSP_OKAY);
	inflight_publish_taken(&live, (uint64_t)START + 1);
	/* Before it is tried nobody died of it. */
	inflight_tried(&live.entries[0], true);
	ck_assert_uint_eq(inflight_trials(&live.entries[0]), 0);
	for (unsigned int i = 1; i <= INFLIGHT_TRIALS_MAX; i++) {
		/* Killed by others: that does not count. */
		inflight_try(&live.entries[0]);
		expect(1, 0);
		inflight_tried(&live.entries[0], false);
		ck_assert_uint_eq(inflight_trials(&live.entries[0]), i - 1);
		inflight_try(&live.entries[0]);
		expect(1, 0);
		inflight_tried(&live.entries[0], true);
		/* And killed itself before it goes on. */
		inflight_tried(&live.entries[0], true);
		ck_assert_uint_eq(inflight_trials(&live.entries[0]), i);
		expect(1, 0);
	}
}
END_TEST

/* Two requests, one of them answered and that not seen. */
static void two_requests(void)
{
	memset(live.mapping, 0, live.bytes);
	inflight_start(&live, START);
	rsp_prod = START;
	fill(0, 5);
	inflight_take(&live.entries[0], START, BLKIF_RSP_OKAY);
	fill(1, 6);
	inflight_take(&live.entries[1], (uint64_t)START + 1, BLKIF_RSP_OKAY);
	inflight_publish_taken(&live, (uint64_t)START + 2);
	inflight_done(&live.entries[1], START, BLKIF_RSP_OKAY);
}

/* The state of an entry, and all that is used of it. */
static bool same_requests(const struct inflight *a, const struct inflight *b)
{
	for (unsigned int i = 0; i < SLOTS; i++) {
		const struct inflight_entry *x = &a->entries[i];
		const struct inflight_entry *y = &b->entries[i];

		if (x->state != y->state)
			return false;
		if (x->state == INFLIGHT_FREE)
			continue;
		if (x->operation != y->operation || x->id != y->id ||
		    x->number != y->number || x->status != y->status ||
		    x->nr_segments != y->nr_segments ||
		    x->offset_bytes != y->offset_bytes ||
		    x->length_bytes != y->length_bytes ||
		    inflight_trials(x) != inflight_trials(y) ||
		    memcmp(x->segments, y->segments,
			   x->nr_segments * sizeof(x->segments[0])) != 0)
			return false;
		if (x->state == INFLIGHT_DONE && x->answer != y->answer)
			return false;
	}
	return true;
}

/* Every bit of the header and of the entries' first 80 bytes, flipped alone. */
START_TEST(a_flipped_bit_does_no_harm)
{
	const size_t ranges[][2] = {
		{ 0, sizeof(struct inflight_header) },
		{ INFLIGHT_HEADER_BYTES, 80 },
		{ INFLIGHT_HEADER_BYTES + sizeof(struct inflight_entry), 80 },
	};
	unsigned int nr_refused = 0;

	two_requests();
	for (size_t r = 0; r < NR_OF(ranges); r++) {
		for (size_t bit = 0; bit < ranges[r][1] * 8; bit++) {
			unsigned char *byte = (unsigned char *)left.mapping +
					      ranges[r][0] + bit / 8;

			memcpy(left.mapping, live.mapping, live.bytes);
			*byte ^= (unsigned char)(1u << bit % 8);
			if (inflight_recover(&left, rsp_prod, &err) < 0)
				nr_refused++;
			else
				ck_assert_msg(same_requests(&live, &left),
					      "range %zu bit %zu", r, bit);
		}
	}
	/* All but what is not used, and counters that say as much. */
	ck_assert_uint_ge(nr_refused, 1000);
}
END_TEST

static void other_rsp_prod(void)
{
	rsp_prod = START + 1; /* answered by nobody */
}

static void answer_twice(void)
{
	inflight_done(&live.entries[0], START, BLKIF_RSP_OKAY);
}

static void answer_with_a_gap(void)
{
	inflight_done(&live.entries[1], START + 1, BLKIF_RSP_OKAY);
}

static void one_too_few(void)
{
	inflight_free(&live.entries[0]);
}

static void one_too_many(void)
{
	fill(3, 9);
	inflight_take(&live.entries[3], START, BLKIF_RSP_OKAY);
}

static void segments_beyond_a_page(void)
{
	live.entries[0].segments[1].offset_bytes = 4096;
	inflight_take(&live.entries[0], START, BLKIF_RSP_OKAY);
}

static void too_many_segments(void)
{
	live.entries[0].nr_segments = INFLIGHT_SEGMENTS_MAX + 1;
}

static void another_length(void)
{
	live.entries[0].length_bytes = 8192;
	inflight_take(&live.entries[0], START, BLKIF_RSP_OKAY);
}

static void an_unknown_operation(void)
{
	live.entries[0].operation = BLKIF_OP_INDIRECT;
	inflight_take(&live.entries[0], START, BLKIF_RSP_OKAY);
}

static void two_barriers(void)
{
	two_requests();
	for (unsigned int i = 0; i < 2; i++) {
		live.entries[i].operation = BLKIF_OP_WRITE_BARRIER;
		inflight_take(&live.entries[i], (uint64_t)START + i,
			      BLKIF_RSP_OKAY);
	}
}

static void a_status_that_is_none(void)
{
	inflight_take(&live.entries[0], START, 5);
}

static void too_many_deaths(void)
{
	for (unsigned int i = 0; i <= INFLIGHT_TRIALS_MAX; i++) {
		inflight_try(&live.entries[0]);
		inflight_tried(&live.entries[0], true);
	}
}

static void not_begun(void)
{
	live.header->magic = 0;
}

static void another_version(void)
{
	live.header->version = 2;
}

static void more_slots(void)
{
	live.header->nr_entries = 64;
}

static const struct {
	void (*damage)(void);
	const char *says;
} damages[] = {
	{ other_rsp_prod, "rsp_prod" },
	{ answer_twice, "answer" },
	{ answer_with_a_gap, "answer" },
	{ one_too_few, "waits for" },
	{ one_too_many, "waits for" },
	{ segments_beyond_a_page, "entry 0" },
	{ too_many_segments, "entry 0" },
	{ another_length, "entry 0" },
	{ an_unknown_operation, "entry 0" },
	{ a_status_that_is_none, "entry 0" },
	{ too_many_deaths, "entry 0" },
	{ two_barriers, "2 barriers" },
	{ not_begun, "not one" },
	{ another_version, "version 2" },
	{ more_slots, "64 slots" },
};

static void damage_is_refused_row(int row)
{
	two_requests();
	ck_assert_int_eq(recover(), 0);
	damages[row].damage();
	ck_assert_int_eq(recover(), -EINVAL);
	ck_assert_msg(strstr(err.text, damages[row].says), "'%s'", err.text);
}

ROWS_TEST(damage_is_refused, NR_OF(damages))

Suite *suite_inflight(void)
{
	Suite *suite = suite_create("inflight");
	TCase *tc = tcase_create("inflight");

	tcase_add_test(tc, sizes);
	tcase_add_test(tc, wrong_sizes_are_refused);
	tcase_add_test(tc, bad_descriptors_are_refused);
	tcase_add_test(tc, starts);
	tcase_add_test(tc, queues_have_parts_of_their_own);
	suite_add_tcase(suite, tc);
	tc = tcase_create("taking over");
	tcase_add_checked_fixture(tc, recovery_setup, recovery_teardown);
	tcase_add_test(tc, between_any_two_stores);
	tcase_add_test(tc, answers_are_kept);
	tcase_add_test(tc, deaths_are_counted);
	tcase_add_test(tc, a_flipped_bit_does_no_harm);
	tcase_add_test(tc, damage_is_refused);
	suite_add_tcase(suite, tc);
	return suite;
}
