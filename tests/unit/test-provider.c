/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * providers/provider.h: the checked wrapper before a provider that counts
 * what reaches it.  Nothing invalid may.
 */
#include "providers/provider.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SECTORS 1000u
#define SIZE (SECTORS * 512u)

/* ---- the provider ----------------------------------------------------- */

static struct block_provider provider;
static unsigned int nr_opened, nr_closed, nr_submitted;
static struct block_info next_info;
static int open_error;
static bool takes_option, saw_read_only;
static const char *saw_version;

static int counting_open(struct provider_spec *spec, bool read_only,
			 struct block_provider **ret_provider,
			 struct error_text *err)
{
	if (open_error)
		return error_set(err, open_error, "told to fail");
	if (takes_option)
		provider_spec_option(spec, "known");
	saw_read_only = read_only;
	saw_version = spec->version;
	provider.info = next_info;
	*ret_provider = &provider;
	nr_opened++;
	return 0;
}

static void counting_close(struct block_provider *p)
{
	ck_assert_ptr_eq(p, &provider);
	nr_closed++;
}

static void counting_submit(struct block_queue *queue, struct block_io *io)
{
	(void)queue;
	nr_submitted++;
	block_io_complete(io, 0);
}

/* What the medium says of its size when it is asked again. */
static uint64_t next_size;
static int size_error;

static int counting_size(struct block_provider *p, uint64_t *ret_bytes,
			 struct error_text *text)
{
	ck_assert_ptr_eq(p, &provider);
	if (size_error)
		return error_set(text, size_error, "told to fail");
	*ret_bytes = next_size;
	return 0;
}

static const struct block_provider_ops counting_ops = {
	.name = "counting",
	.has_path = true,
	.open = counting_open,
	.close = counting_close,
	.size = counting_size,
	.submit = counting_submit,
};

static const struct block_provider_ops *const registry[] = { &counting_ops,
							     NULL };

/* ---- opening ---------------------------------------------------------- */

static struct block_provider *opened;
static struct error_text err;

static void setup(void)
{
	next_info = (struct block_info){
		.size_bytes = SIZE,
		.logical_block_bytes = 512,
		.physical_block_bytes = 512,
		.can_flush = true,
	};
}

static int open_target(const char *target, bool read_only)
{
	return block_provider_open(registry, target, read_only, &opened, &err);
}

static const struct {
	const char *target;
	uint64_t size_bytes;
	bool medium_read_only;
	int open_error;
	int rc;
	const char *says;
} refusals[] = {
	{ "counting:/x", 0, false, 0, -EINVAL, "size is 0" },
	{ "counting:/x", 1, false, 0, -EINVAL, "512" },
	{ "counting:/x", 511, false, 0, -EINVAL, "511" },
	{ "counting:/x", 4095, false, 0, -EINVAL, "multiple" },
	{ "counting:/x", UINT64_C(1) << 63, false, 0, -EFBIG, "too large" },
	{ "counting:/x", SIZE, true, 0, -EROFS, "read-only" },
	{ "counting:/x", SIZE, false, -EIO, -EIO, "told to fail" },
	{ "counting:/x?known=1", SIZE, false, 0, -EINVAL, "'known'" },
	{ "counting:/x?share=maybe", SIZE, false, 0, -EINVAL, "share" },
	{ "counting:/x?iops=-1", SIZE, false, 0, -EINVAL, "iops" },
	{ "counting:/x?bps=4095", SIZE, false, 0, -ERANGE, "4096" },
	{ "other:/x", SIZE, false, 0, -EINVAL, "'other'" },
	{ "/x", SIZE, false, 0, -EINVAL, "'file'" },
	{ "countin:/x", SIZE, false, 0, -EINVAL, "'countin'" },
	{ "counting2:/x", SIZE, false, 0, -EINVAL, "'counting2'" },
	{ "x", SIZE, false, 0, -EINVAL, "'x'" },
	{ "", SIZE, false, 0, -EINVAL, "empty" },
	{ "counting:%zz", SIZE, false, 0, -EINVAL, "percent" },
};

static void refuses_row(int row)
{
	int rc;

	next_info.size_bytes = refusals[row].size_bytes;
	next_info.read_only = refusals[row].medium_read_only;
	open_error = refusals[row].open_error;
	rc = open_target(refusals[row].target, false);
	ck_assert_msg(rc == refusals[row].rc, "'%s' is %d",
		      refusals[row].target, rc);
	ck_assert_msg(strstr(err.text, refusals[row].says), "'%s'", err.text);
	ck_assert_ptr_null(opened);
	/* What was opened for nothing is closed. */
	ck_assert_uint_eq(nr_opened, nr_closed);
}

ROWS_TEST(refuses, NR_OF(refusals))

START_TEST(opens)
{
	next_info.size_bytes = (uint64_t)INT64_MAX / 512 * 512;
	takes_option = true;
	ck_assert_msg(open_target("counting:/x?known=1&share=yes", false) == 0,
		      "%s", err.text);
	ck_assert_ptr_eq(opened, &provider);
	ck_assert_ptr_eq(opened->ops, &counting_ops);
	ck_assert(opened->info.shared);
	ck_assert(!opened->info.read_only && !saw_read_only);
	block_provider_close(opened);
	ck_assert_uint_eq(nr_closed, 1);
	block_provider_close(NULL);
}
END_TEST

START_TEST(opens_with_limits)
{
	ck_assert_msg(open_target("counting:/x?bps=1M&iops=250", false) == 0,
		      "%s", err.text);
	ck_assert_uint_eq(opened->info.limits.iops, 250);
	ck_assert_uint_eq(opened->info.limits.bps, 1 << 20);
	block_provider_close(opened);
	ck_assert_int_eq(open_target("counting:/x", false), 0);
	ck_assert_uint_eq(opened->info.limits.iops, 0);
	ck_assert_uint_eq(opened->info.limits.bps, 0);
}
END_TEST

/* The provider says nothing of read-only; the wish is enough. */
START_TEST(read_only_by_wish)
{
	ck_assert_int_eq(open_target("counting:/x", true), 0);
	ck_assert(saw_read_only);
	ck_assert(opened->info.read_only);
	ck_assert(!opened->info.shared);
}
END_TEST

static int reopen(const char *version)
{
	return block_provider_reopen(registry, "counting:/x", version, NULL,
				     true, &opened, &err);
}

/* What a guest uses must not become another disk, whatever the provider does. */
START_TEST(reopens_the_version)
{
	ck_assert_int_eq(open_target("counting:/x", true), 0);
	ck_assert_ptr_null(saw_version);
	block_provider_close(opened);
	strcpy(next_info.version, "abcd");
	ck_assert_int_eq(reopen("abcd"), 0);
	ck_assert_str_eq(saw_version, "abcd");
	block_provider_close(opened);
	ck_assert_int_eq(reopen(""), 0);
	ck_assert_ptr_null(saw_version);
	block_provider_close(opened);
	opened = NULL;
	ck_assert_int_eq(reopen("abc"), -ESTALE);
	ck_assert_ptr_nonnull(strstr(err.text, "'counting:/x'"));
	ck_assert_ptr_nonnull(strstr(err.text, "abc was served"));
	ck_assert_ptr_nonnull(strstr(err.text, "become abcd"));
	next_info.version[0] = '\0';
	ck_assert_int_eq(reopen("abcd"), -ESTALE);
	ck_assert_ptr_null(opened);
	ck_assert_uint_eq(nr_opened, nr_closed);
}
END_TEST

/* ---- submitting ------------------------------------------------------- */

static struct block_queue *queue;
static char buffer[8 * 512];

static void setup_queue(void)
{
	setup();
	ck_assert_int_eq(open_target("counting:/x", false), 0);
	ck_assert_int_eq(block_queue_open(opened, NULL, &queue), 0);
}

static void teardown_queue(void)
{
	block_queue_close(queue);
	block_provider_close(opened);
	block_queue_close(NULL);
}

/* Submits one I/O of the given vector and returns its error. */
static int submit(enum block_op op, uint64_t offset, uint64_t length,
		  const size_t *lengths, unsigned int nr)
{
	struct iovec iov[4];
	struct block_io io = { .op = op,
			       .offset_bytes = offset,
			       .length_bytes = length,
			       .iov = iov,
			       .nr_iov = nr,
			       .error = 99 };

	for (unsigned int i = 0; i < nr; i++)
		iov[i] = (struct iovec){ buffer, lengths[i] };
	block_submit(queue, &io);
	ck_assert_ptr_eq(block_queue_next_done(queue), &io);
	ck_assert_ptr_null(block_queue_next_done(queue));
	return io.error;
}

static int submit_plain(enum block_op op, uint64_t offset, uint64_t length)
{
	size_t bytes = length;

	return submit(op, offset, length, &bytes, 1);
}

static const struct {
	uint64_t offset, length;
	bool good;
} ranges[] = {
	{ 0, 512, true },
	{ 0, SIZE, true },
	{ SIZE - 512, 512, true },
	{ 512, SIZE - 512, true },
	{ SIZE - 512, 1024, false },
	{ SIZE, 512, false },
	{ SIZE + 512, 512, false },
	{ 0, SIZE + 512, false },
	{ 0, 0, false },
	{ SIZE, 0, false },
	{ 1, 512, false },
	{ 511, 512, false },
	{ 256, 512, false },
	{ 0, 511, false },
	{ 0, 513, false },
	{ 0, 1, false },
	{ UINT64_MAX - 511, 512, false },
	{ UINT64_MAX - 511, 1024, false },
	{ 512, UINT64_MAX - 511, false },
	{ UINT64_C(1) << 63, UINT64_C(1) << 63, false },
	{ (UINT64_C(1) << 63) - 512, 512, false },
};

static void checks_ranges_row(int row)
{
	nr_submitted = 0;
	for (int op = BLOCK_OP_READ; op <= BLOCK_OP_WRITE; op++) {
		int rc = submit_plain((enum block_op)op, ranges[row].offset,
				      ranges[row].length);

		ck_assert_int_eq(rc, ranges[row].good ? 0 : -EINVAL);
	}
	ck_assert_uint_eq(nr_submitted, ranges[row].good ? 2 : 0);
}

ROWS_TEST(checks_ranges, NR_OF(ranges))

static const struct {
	uint64_t length;
	unsigned int nr;
	size_t lengths[4];
	bool good;
} vectors[] = {
	{ 512, 1, { 512 }, true },
	{ 2048, 3, { 512, 1024, 512 }, true },
	{ 1024, 3, { 1000, 0, 24 }, true },
	{ 512, 0, { 0 }, false },
	{ 512, 1, { 511 }, false },
	{ 512, 1, { 513 }, false },
	{ 512, 2, { 512, 512 }, false },
	{ 1024, 1, { 512 }, false },
};

static void checks_vectors_row(int row)
{
	int rc;

	nr_submitted = 0;
	rc = submit(BLOCK_OP_READ, 0, vectors[row].length, vectors[row].lengths,
		    vectors[row].nr);
	ck_assert_int_eq(rc, vectors[row].good ? 0 : -EINVAL);
	ck_assert_uint_eq(nr_submitted, vectors[row].good ? 1 : 0);
}

ROWS_TEST(checks_vectors, NR_OF(vectors))

START_TEST(refuses_writes_to_read_only)
{
	provider.info.read_only = true;
	ck_assert_int_eq(submit_plain(BLOCK_OP_WRITE, 0, 512), -EROFS);
	ck_assert_uint_eq(nr_submitted, 0);
	ck_assert_int_eq(submit_plain(BLOCK_OP_READ, 0, 512), 0);
	ck_assert_int_eq(submit(BLOCK_OP_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_uint_eq(nr_submitted, 2);
}
END_TEST

START_TEST(refuses_what_is_unsupported)
{
	ck_assert_int_eq(submit(BLOCK_OP_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_uint_eq(nr_submitted, 1);
	provider.info.can_flush = false;
	ck_assert_int_eq(submit(BLOCK_OP_FLUSH, 0, 0, NULL, 0), -EOPNOTSUPP);
	ck_assert_int_eq(submit_plain((enum block_op)17, 0, 512), -EOPNOTSUPP);
	ck_assert_uint_eq(nr_submitted, 1);
}
END_TEST

/* Completion inside submit only queues; what is done comes in order. */
START_TEST(done_in_order)
{
	struct iovec iov[3];
	struct block_io ios[3];

	for (int i = 0; i < 3; i++) {
		iov[i] = (struct iovec){ buffer, 512 };
		ios[i] = (struct block_io){ .op = BLOCK_OP_READ,
					    .offset_bytes = i == 1 ? 3 : 0,
					    .length_bytes = 512,
					    .iov = &iov[i],
					    .nr_iov = 1 };
		block_submit(queue, &ios[i]);
	}
	for (int i = 0; i < 3; i++) {
		ck_assert_ptr_eq(block_queue_next_done(queue), &ios[i]);
		ck_assert_int_eq(ios[i].error, i == 1 ? -EINVAL : 0);
	}
	ck_assert_ptr_null(block_queue_next_done(queue));
}
END_TEST

START_TEST(completing_twice_aborts)
{
	struct iovec iov = { buffer, 512 };
	struct block_io io = { .op = BLOCK_OP_READ,
			       .length_bytes = 512,
			       .iov = &iov,
			       .nr_iov = 1 };

	block_submit(queue, &io);
	block_io_complete(&io, 0);
}
END_TEST

/* ---- another size ------------------------------------------------------- */

static const struct {
	uint64_t size;
	int error;
	bool may_shrink;
	int rc;
	const char *says;
} sizes[] = {
	{ SIZE, 0, false, 0, NULL },
	{ SIZE + 512, 0, false, 0, NULL },
	{ SIZE - 512, 0, true, 0, NULL },
	{ SIZE - 512, 0, false, -ERANGE, "512 less" },
	{ SIZE + 1, 0, true, -EINVAL, "multiple" },
	{ 0, 0, true, -EINVAL, "size is 0" },
	{ UINT64_C(1) << 63, 0, true, -EFBIG, "too large" },
	{ SIZE, -EIO, true, -EIO, "told to fail" },
};

/* What is beyond the end is beyond the new one; a refusal changes nothing. */
static void resizes_row(int row)
{
	uint64_t end = sizes[row].rc ? SIZE : sizes[row].size;
	int rc;

	provider.info.size_bytes = SIZE;
	next_size = sizes[row].size;
	size_error = sizes[row].error;
	rc = block_provider_resize(&provider, sizes[row].may_shrink, &err);
	ck_assert_msg(rc == sizes[row].rc, "row %d is %d", row, rc);
	if (rc)
		ck_assert_msg(strstr(err.text, sizes[row].says), "'%s'",
			      err.text);
	ck_assert_uint_eq(provider.info.size_bytes, end);
	ck_assert_int_eq(submit_plain(BLOCK_OP_READ, end - 512, 512), 0);
	ck_assert_int_eq(submit_plain(BLOCK_OP_READ, end, 512), -EINVAL);
}

ROWS_TEST(resizes, NR_OF(sizes))

START_TEST(fixed_size)
{
	static struct block_provider_ops fixed;

	fixed = counting_ops;
	fixed.size = NULL;
	provider.ops = &fixed;
	ck_assert_int_eq(block_provider_resize(&provider, true, &err),
			 -EOPNOTSUPP);
	ck_assert_ptr_nonnull(strstr(err.text, "provider counting"));
	ck_assert_uint_eq(provider.info.size_bytes, SIZE);
}
END_TEST

Suite *suite_provider(void)
{
	Suite *suite = suite_create("provider");
	TCase *tc = tcase_create("open");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, refuses);
	tcase_add_test(tc, opens);
	tcase_add_test(tc, opens_with_limits);
	tcase_add_test(tc, read_only_by_wish);
	tcase_add_test(tc, reopens_the_version);
	suite_add_tcase(suite, tc);
	tc = tcase_create("submit");
	tcase_add_checked_fixture(tc, setup_queue, teardown_queue);
	tcase_add_test(tc, checks_ranges);
	tcase_add_test(tc, checks_vectors);
	tcase_add_test(tc, refuses_writes_to_read_only);
	tcase_add_test(tc, refuses_what_is_unsupported);
	tcase_add_test(tc, done_in_order);
	tcase_add_test(tc, resizes);
	tcase_add_test(tc, fixed_size);
	tcase_add_test_raise_signal(tc, completing_twice_aborts, SIGABRT);
	suite_add_tcase(suite, tc);
	return suite;
}
