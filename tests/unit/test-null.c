/* SPDX-License-Identifier: BSD-2-Clause */
/* providers/null.h: its size, its zeroes, and what it refuses. */
#include "providers/null.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static const struct block_provider_ops *const registry[] = { &null_provider_ops,
							     NULL };

static const struct {
	const char *target;
	uint64_t size_bytes; /* 0: refused */
	const char *says;
} targets[] = {
	{ "null:size=1G", UINT64_C(1) << 30, NULL },
	{ "null:size=512", 512, NULL },
	{ "null:share=yes&size=4T", UINT64_C(4) << 40, NULL },
	{ "null:", 0, "size= is missing" },
	{ "null:size=", 0, "not a size" },
	{ "null:size=0", 0, "size is 0" },
	{ "null:size=513", 0, "512" },
	{ "null:size=-1", 0, "not a size" },
	{ "null:size=1X", 0, "not a size" },
	{ "null:size=99999999999T", 0, "not a size" },
	{ "null:size=1G&speed=1", 0, "'speed'" },
};

static void opens_or_refuses_row(int row)
{
	struct block_provider *provider = NULL;
	struct error_text err;
	int rc = block_provider_open(registry, targets[row].target, false,
				     &provider, &err);

	if (targets[row].says) {
		ck_assert_int_eq(rc, -EINVAL);
		ck_assert_msg(strstr(err.text, targets[row].says), "'%s'",
			      err.text);
		return;
	}
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(provider->info.size_bytes, targets[row].size_bytes);
	ck_assert(provider->info.can_flush);
	ck_assert_int_eq(provider->info.identity.kind, BLOCK_IDENTITY_NONE);
	block_provider_close(provider);
}

ROWS_TEST(opens_or_refuses, NR_OF(targets))

START_TEST(reads_zeroes)
{
	struct block_provider *provider;
	struct block_queue *queue;
	struct error_text err;
	char bytes[1024], zeroes[1024] = { 0 };
	struct iovec iov[2] = { { bytes, 100 }, { bytes + 100, 924 } };
	struct block_io io = { .op = BLOCK_OP_READ,
			       .offset_bytes = 512,
			       .length_bytes = 1024,
			       .iov = iov,
			       .nr_iov = 2 };

	ck_assert_int_eq(block_provider_open(registry, "null:size=1M", false,
					     &provider, &err),
			 0);
	ck_assert_int_eq(block_queue_open(provider, NULL, &queue), 0);
	memset(bytes, 0x5a, sizeof(bytes));
	block_submit(queue, &io);
	ck_assert_ptr_eq(block_queue_next_done(queue), &io);
	ck_assert_int_eq(io.error, 0);
	ck_assert_mem_eq(bytes, zeroes, 1024);
	block_queue_close(queue);
	block_provider_close(provider);
}
END_TEST

Suite *suite_null(void)
{
	Suite *suite = suite_create("null");
	TCase *tc = tcase_create("null");

	tcase_add_test(tc, opens_or_refuses);
	tcase_add_test(tc, reads_zeroes);
	suite_add_tcase(suite, tc);
	return suite;
}
