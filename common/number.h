/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Strict reading of numbers from text that nobody has checked: digits and
 * nothing else, within a bound.
 */
#ifndef XEN_DISKD_NUMBER_H
#define XEN_DISKD_NUMBER_H

#include <stdint.h>

/*
 * Parses a decimal number: digits only, no sign, no space, no suffix, at most
 * max.  -EINVAL for anything else, -ERANGE above max.
 */
int number_parse(const char *text, uint64_t max, uint64_t *ret_value);

/*
 * Parses a size in bytes: a decimal number with an optional suffix K, M, G or
 * T (powers of 1024).  Errors as number_parse(), -ERANGE above INT64_MAX.
 */
int number_parse_size(const char *text, uint64_t *ret_bytes);

#endif
