/* SPDX-License-Identifier: BSD-2-Clause */
/* common/number.h: what is a number, what is a size, and what is neither. */
#include "common/number.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define UNTOUCHED UINT64_C(0xfeedface)

static const struct {
	const char *text;
	uint64_t max;
	int rc;
	uint64_t value;
} numbers[] = {
	{ "0", 0, 0, 0 },
	{ "7", 7, 0, 7 },
	{ "8", 7, -ERANGE, 0 },
	{ "51712", UINT32_MAX, 0, 51712 },
	{ "007", 10, 0, 7 },
	{ "4294967295", UINT32_MAX, 0, UINT32_MAX },
	{ "4294967296", UINT32_MAX, -ERANGE, 0 },
	{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
	{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
	{ "18446744073709551620", UINT64_MAX, -ERANGE, 0 },
	{ "184467440737095516150", UINT64_MAX, -ERANGE, 0 },
	{ "99999999999999999999", UINT64_MAX, -ERANGE, 0 },
	{ "", 9, -EINVAL, 0 },
	{ " 1", 9, -EINVAL, 0 },
	{ "1 ", 9, -EINVAL, 0 },
	{ "1\n", 9, -EINVAL, 0 },
	{ "+1", 9, -EINVAL, 0 },
	{ "-1", UINT64_MAX, -EINVAL, 0 },
	{ "0x1", 9, -EINVAL, 0 },
	{ "1K", UINT64_MAX, -EINVAL, 0 },
	{ "1.0", 9, -EINVAL, 0 },
	{ "one", 9, -EINVAL, 0 },
	{ "1/", 9, -EINVAL, 0 },
	{ "1:", 9, -EINVAL, 0 },
};

START_TEST(parses_numbers)
{
	uint64_t value = UNTOUCHED;
	int rc = number_parse(numbers[_i].text, numbers[_i].max, &value);

	ck_assert_msg(rc == numbers[_i].rc, "'%s': %d", numbers[_i].text, rc);
	ck_assert_uint_eq(value, rc ? UNTOUCHED : numbers[_i].value);
}
END_TEST

static const struct {
	const char *text;
	int rc;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0, 0 },
	{ "512", 0, 512 },
	{ "1K", 0, 1024 },
	{ "3M", 0, 3145728 },
	{ "2G", 0, 2147483648 },
	{ "1T", 0, 1099511627776 },
	{ "9223372036854775807", 0, INT64_MAX },
	{ "9223372036854775808", -ERANGE, 0 },
	{ "8388607T", 0, UINT64_C(9223370937343148032) },
	{ "8388608T", -ERANGE, 0 },
	{ "16777216T", -ERANGE, 0 },
	{ "9007199254740992K", -ERANGE, 0 },
	{ "18446744073709551616", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "K", -EINVAL, 0 },
	{ "1k", -EINVAL, 0 },
	{ "1KB", -EINVAL, 0 },
	{ "1KK", -EINVAL, 0 },
	{ "1 K", -EINVAL, 0 },
	{ "1P", -EINVAL, 0 },
	{ "-1K", -EINVAL, 0 },
};

START_TEST(parses_sizes)
{
	uint64_t bytes = UNTOUCHED;
	int rc = number_parse_size(sizes[_i].text, &bytes);

	ck_assert_msg(rc == sizes[_i].rc, "'%s': %d", sizes[_i].text, rc);
	ck_assert_uint_eq(bytes, rc ? UNTOUCHED : sizes[_i].bytes);
}
END_TEST

Suite *suite_number(void)
{
	Suite *suite = suite_create("number");
	TCase *tc = tcase_create("number");

	tcase_add_loop_test(tc, parses_numbers, 0, (int)NR_OF(numbers));
	tcase_add_loop_test(tc, parses_sizes, 0, (int)NR_OF(sizes));
	suite_add_tcase(suite, tc);
	return suite;
}
