/* SPDX-License-Identifier: BSD-2-Clause */
/* Strict reading of decimal numbers and sizes. */
#include "common/number.h"

#include <errno.h>
#include <stddef.h>

/* Reads leading digits; *ret_end is the first character after them. */
static int parse_digits(const char *text, uint64_t *ret_value,
			const char **ret_end)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	}
	if (p == text)
		return -EINVAL;
	*ret_value = value;
	*ret_end = p;
	return 0;
}

int number_parse(const char *text, uint64_t max, uint64_t *ret_value)
{
	const char *end;
	uint64_t value;
	int rc = parse_digits(text, &value, &end);

	if (rc < 0)
		return rc;
	if (*end)
		return -EINVAL;
	if (value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

/* The power of two that a size suffix stands for, or -1. */
static int suffix_shift(const char *suffix)
{
	static const struct {
		char letter;
		int shift;
	} table[] = { { 'K', 10 }, { 'M', 20 }, { 'G', 30 }, { 'T', 40 } };

	if (!*suffix)
		return 0;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (suffix[0] == table[i].letter && !suffix[1])
			return table[i].shift;
	}
	return -1;
}

int number_parse_size(const char *text, uint64_t *ret_bytes)
{
	const char *suffix;
	uint64_t value;
	int rc = parse_digits(text, &value, &suffix);
	int shift;

	if (rc < 0)
		return rc;
	shift = suffix_shift(suffix);
	if (shift < 0)
		return -EINVAL;
	if (value > (uint64_t)INT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = value << shift;
	return 0;
}
