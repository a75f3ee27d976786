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

static void parses_numbers_row(int row)
{
	uint64_t value = UNTOUCHED;
	int rc = number_parse(numbers[row].text, numbers[row].max, &value);

	ck_assert_msg(rc == numbers[row].rc, "'%s': %d", numbers[row].text, rc);
	ck_assert_uint_eq(value, rc ? UNTOUCHED : numbers[row].value);
}

ROWS_TEST(parses_numbers, NR_OF(numbers))

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

static void parses_sizes_row(int row)
{
	uint64_t bytes = UNTOUCHED;
	int rc = number_parse_size(sizes[row].text, &bytes);

	ck_assert_msg(rc == sizes[row].rc, "'%s': %d", sizes[row].text, rc);
	ck_assert_uint_eq(bytes, rc ? UNTOUCHED : sizes[row].bytes);
}

ROWS_TEST(parses_sizes, NR_OF(sizes))

Suite *suite_number(void)
{
	Suite *suite = suite_create("number");
	TCase *tc = tcase_create("number");

	tcase_add_test(tc, parses_numbers);
	tcase_add_test(tc, parses_sizes);
	suite_add_tcase(suite, tc);
	return suite;
}
