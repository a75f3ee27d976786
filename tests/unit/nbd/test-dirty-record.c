/* SPDX-License-Identifier: BSD-2-Clause */
/* nbd-client/dirty-record.h against a list in memory. */
#include "nbd-client/dirty-record.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORD_BYTES 65536u
#define TWIN_WRITES 4096u
/* Of the disk. */
#define SIZE_BYTES (UINT64_C(1) << 20)
/* Where the first write lies in the memory. */
#define RING (4096 + DIRTY_RECORD_NOTES_BYTES)

static struct dirty_record *record;

/* What should be in it: the writes from `first` to `end`. */
static struct twin_write {
	uint64_t offset, place_after;
	uint32_t length;
	unsigned char fill;
} twin[TWIN_WRITES];
static unsigned int first, end;

static void setup(void)
{
	ck_assert_int_eq(dirty_record_new(RECORD_BYTES, &record), 0);
	first = end = 0;
}

static void teardown(void)
{
	dirty_record_free(record);
}

static int add(uint64_t offset, uint32_t length, unsigned char fill)
{
	unsigned char *data = malloc(length);
	int rc;

	memset(data, fill, length);
	rc = dirty_record_add(record, offset, data, length);
	free(data);
	if (rc == 0)
		twin[end++ % TWIN_WRITES] =
			(struct twin_write){ .offset = offset,
					     .length = length,
					     .fill = fill,
					     .place_after =
						     dirty_record_end(record) };
	return rc;
}

static void drop_to(unsigned int nr)
{
	first = nr;
	if (nr)
		dirty_record_drop(record,
				  twin[(nr - 1) % TWIN_WRITES].place_after);
}

static bool all_are(const unsigned char *data, uint32_t length,
		    unsigned char fill)
{
	for (uint32_t i = 0; i < length; i++) {
		if (data[i] != fill)
			return false;
	}
	return true;
}

/* Few assertions: each costs check a write to its pipe. */
static void check_all(const struct dirty_record *of)
{
	uint64_t place = dirty_record_start(of);
	struct dirty_write write;
	bool good = true;

	for (unsigned int i = first; good && i != end; i++) {
		const struct twin_write *wanted = &twin[i % TWIN_WRITES];

		ck_assert_uint_lt(place, dirty_record_end(of));
		good = !dirty_record_get(of, place, &write) &&
		       write.offset_bytes == wanted->offset &&
		       write.length_bytes == wanted->length &&
		       all_are(write.data, write.length_bytes, wanted->fill);
		place = write.next;
	}
	ck_assert(good);
	ck_assert_uint_eq(place, dirty_record_end(of));
}

START_TEST(random_writes)
{
	unsigned int refused = 0;

	srandom(4711);
	for (unsigned int turn = 0; turn < 10000; turn++) {
		uint32_t length = 512u * (1 + (uint32_t)random() % 24);

		if (end - first > 0 && random() % 3 == 0)
			drop_to(first + 1 +
				(unsigned int)random() % (end - first));
		if (add((uint64_t)random() * 512, length, (unsigned char)turn) <
		    0)
			refused++;
		if (turn % 64 == 0)
			check_all(record);
	}
	check_all(record);
	ck_assert_uint_gt(refused, 0);
	/* Round and round. */
	ck_assert_uint_gt(dirty_record_end(record), 100 * RECORD_BYTES);
}
END_TEST

/* It takes what fits, refuses the next, and takes that after a drop. */
START_TEST(full)
{
	unsigned int nr = 0;

	while (add(nr * 4096, 4096, (unsigned char)nr) == 0)
		nr++;
	ck_assert_uint_eq(nr, RECORD_BYTES / (4096 + 64));
	ck_assert_int_eq(add(0, 4096, 1), -ENOSPC);
	check_all(record);
	/* What is left at the end and the room of one at the front. */
	drop_to(1);
	ck_assert_int_eq(add(0, 4096 + 64, 1), -ENOSPC);
	ck_assert_int_eq(add(0, 4096, 1), 0);
	check_all(record);
	ck_assert_int_eq(add(0, 512, 1), -ENOSPC);
	check_all(record);
}
END_TEST

/* An empty one takes the largest write wherever it stands. */
START_TEST(empty_takes_the_largest)
{
	char buffer[1] = { 0 };

	for (unsigned int turn = 0; turn < 50; turn++) {
		ck_assert_int_eq(add(turn, 512 + turn * 64, 1), 0);
		drop_to(end);
		ck_assert_uint_eq(dirty_record_start(record),
				  dirty_record_end(record));
		ck_assert_int_eq(add(turn, RECORD_BYTES - 64, 7), 0);
		check_all(record);
		ck_assert_int_eq(add(turn, 512, 1), -ENOSPC);
		drop_to(end);
		ck_assert_int_eq(add(turn, RECORD_BYTES, 1), -ENOSPC);
		for (uint32_t less = 0; less < 130; less++)
			ck_assert_int_eq(dirty_record_add(record, 0, buffer,
							  UINT32_MAX - less),
					 -ENOSPC);
	}
}
END_TEST

/* A drop of what has been dropped changes nothing. */
START_TEST(old_drops_are_harmless)
{
	ck_assert_int_eq(add(0, 512, 1), 0);
	ck_assert_int_eq(add(512, 512, 2), 0);
	drop_to(2);
	dirty_record_drop(record, 0);
	dirty_record_drop(record, twin[0].place_after);
	ck_assert_uint_eq(dirty_record_start(record), dirty_record_end(record));
}
END_TEST

/* Of a write. */
static uint32_t most_bytes = UINT32_MAX;

static int adopt(int fd, struct dirty_record **ret_heir)
{
	struct dirty_record *heir;
	int rc = dirty_record_adopt(fd, RECORD_BYTES, &heir);

	if (rc < 0)
		return rc;
	rc = dirty_record_check(heir, SIZE_BYTES, 512, most_bytes);
	if (rc < 0)
		dirty_record_free(heir);
	else
		*ret_heir = heir;
	return rc;
}

/* Another process goes on where this one has stopped. */
START_TEST(adopted)
{
	struct dirty_record *heir;

	srandom(1);
	for (unsigned int turn = 0; turn < 300; turn++) {
		if (end - first > 5)
			drop_to(first + 3);
		add((uint64_t)turn * 512, 512u * (1 + turn % 20),
		    (unsigned char)turn);
		memset(dirty_record_notes(record), (int)turn,
		       DIRTY_RECORD_NOTES_BYTES);
		ck_assert_int_eq(adopt(dirty_record_fd(record), &heir), 0);
		check_all(heir);
		ck_assert_mem_eq(dirty_record_notes(heir),
				 dirty_record_notes(record),
				 DIRTY_RECORD_NOTES_BYTES);
		if (turn % 7 == 0) {
			dirty_record_free(record);
			record = heir;
		} else {
			dirty_record_free(heir);
		}
	}
}
END_TEST

/* Words of the header, and of the first write's. */
static const struct {
	unsigned int at;
	uint64_t value;
} damage[] = {
	{ 0, 0 },
	{ 8, 4096 },
	{ 8, UINT64_MAX },
	{ 16, 64 * 1000 },
	{ 16, 1 },
	{ 24, 1 },
	{ 24, UINT64_MAX - 63 },
	{ 24, 64 * 5000 },
	{ RING + 8, 0xfffffff0 },
	{ RING + 8, 1 << 20 },
	{ RING + 8, 513 + 64 },
	/* Nothing; not whole sectors; half a sector on. */
	{ RING + 8, 0 },
	{ RING + 8, 511 },
	{ RING, 256 },
	/* Behind the disk's end, or the end of all numbers. */
	{ RING, SIZE_BYTES },
	{ RING, UINT64_MAX - 511 },
};

static void poke(unsigned int at, uint64_t value)
{
	unsigned char *map = mmap(NULL, RING + 4096, PROT_READ | PROT_WRITE,
				  MAP_SHARED, dirty_record_fd(record), 0);

	ck_assert(map != MAP_FAILED);
	memcpy(map + at, &value, 8);
	munmap(map, RING + 4096);
}

START_TEST(damaged_is_refused)
{
	struct dirty_record *heir = NULL;

	for (unsigned int i = 0; i < 3; i++)
		ck_assert_int_eq(add(i * 512, 512, 1), 0);
	poke(damage[_i].at, damage[_i].value);
	ck_assert_int_eq(adopt(dirty_record_fd(record), &heir), -EINVAL);
	ck_assert_ptr_null(heir);
}
END_TEST

/* No server takes it, so it would be sent again without end. */
START_TEST(too_long_a_write_is_refused)
{
	struct dirty_record *heir = NULL;

	ck_assert_int_eq(add(0, 4096, 1), 0);
	most_bytes = _i ? 4096 : 3584;
	ck_assert_int_eq(adopt(dirty_record_fd(record), &heir),
			 _i ? 0 : -EINVAL);
	dirty_record_free(heir);
}
END_TEST

/* Others still have the memory. */
START_TEST(changed_after_the_check)
{
	static const uint32_t lengths[] = { 0, 8192, 1 << 20, 0xfffffff0,
					    UINT32_MAX };
	struct dirty_write write;

	ck_assert_int_eq(add(0, 4096, 1), 0);
	ck_assert_int_eq(dirty_record_get(record, 0, &write), 0);
	poke(RING + 8, lengths[_i]);
	ck_assert_int_eq(dirty_record_get(record, 0, &write), -EINVAL);
}
END_TEST

/* An empty one, whose next write would be behind the end of all numbers. */
START_TEST(places_without_end)
{
	const uint64_t place = _i ? UINT64_MAX - 63 : UINT64_C(1) << 63;
	struct dirty_record *heir = NULL;

	poke(16, place);
	poke(24, place);
	ck_assert_int_eq(adopt(dirty_record_fd(record), &heir), -EINVAL);
	ck_assert_ptr_null(heir);
}
END_TEST

START_TEST(others_are_refused)
{
	struct dirty_record *heir = NULL;
	const uint64_t magic = UINT64_C(0x3331444e44444558);
	const uint64_t nr_bytes = RECORD_BYTES;
	int fd = memfd_create("other", MFD_CLOEXEC);

	ck_assert_int_eq(adopt(fd, &heir), -EINVAL);
	/* Without seals it could be cut short under the mapping. */
	ck_assert_int_eq(ftruncate(fd, RING + RECORD_BYTES), 0);
	ck_assert_int_eq(pwrite(fd, &magic, 8, 0), 8);
	ck_assert_int_eq(pwrite(fd, &nr_bytes, 8, 8), 8);
	ck_assert_int_eq(adopt(fd, &heir), -EINVAL);
	close(fd);
	ck_assert_int_lt(adopt(-1, &heir), 0);
	ck_assert_int_lt(ftruncate(dirty_record_fd(record), 4096), 0);
	/* One of another disk, larger than it ought to be. */
	ck_assert_int_eq(dirty_record_adopt(dirty_record_fd(record),
					    RECORD_BYTES / 2, &heir),
			 -EINVAL);
	ck_assert_int_eq(adopt(dirty_record_fd(record), &heir), 0);
	dirty_record_free(heir);
}
END_TEST

Suite *suite_dirty_record(void)
{
	Suite *suite = suite_create("dirty-record");
	TCase *tc = tcase_create("record");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, random_writes);
	tcase_add_test(tc, full);
	tcase_add_test(tc, empty_takes_the_largest);
	tcase_add_test(tc, old_drops_are_harmless);
	tcase_add_test(tc, adopted);
	tcase_add_loop_test(tc, damaged_is_refused, 0, (int)NR_OF(damage));
	tcase_add_loop_test(tc, too_long_a_write_is_refused, 0, 2);
	tcase_add_loop_test(tc, changed_after_the_check, 0, 5);
	tcase_add_loop_test(tc, places_without_end, 0, 2);
	tcase_add_test(tc, others_are_refused);
	suite_add_tcase(suite, tc);
	return suite;
}
