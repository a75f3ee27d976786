/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Case folding of UTF-16 units, by a table that was made once: the C
 * library's would follow the locale and the day's Unicode.
 */
#include "git-fat/fold-table.h"
#include "git-fat/names.h"

#define NR_RANGES (sizeof(fold_ranges) / sizeof(fold_ranges[0]))

/* The last range that starts at or before the unit; there is one. */
static const struct fold_range *range_of(uint16_t unit)
{
	size_t low = 0, high = NR_RANGES;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (fold_ranges[middle].first <= unit)
			low = middle;
		else
			high = middle;
	}
	return &fold_ranges[low];
}

uint16_t fat_fold(uint16_t unit)
{
	const struct fold_range *range;

	if (unit < 0x80)
		return unit >= 'a' && unit <= 'z' ? unit - 0x20 : unit;
	range = range_of(unit);
	if (unit > range->last || (unit - range->first) % range->step)
		return unit;
	return (uint16_t)(unit + range->delta);
}
