#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes fold-table.h, the case folding behind fat_fold(), to standard output.

Characters of the BMP are put in one class when any mapping of Unicode to one
character (lower, upper, title) leads from one to the other, or when their full
case foldings are the same; the dotted and the dotless i join the i of ASCII.
A class is named by its upper-case letter.  The table holds, as ranges, what
differs from its name.

The layout of disks depends on the table: a new version of it is a new version
of the policy.
"""

import sys
import unicodedata

BMP = [c for c in range(0x10000) if not 0xD800 <= c <= 0xDFFF]


def single(text, otherwise):
    """The BMP character that text is, if it is one."""
    if len(text) == 1 and ord(text) < 0x10000:
        return ord(text)
    return otherwise


def lower(c):
    # The one character whose lower case is longer than its simple one.
    return ord("i") if c == 0x130 else single(chr(c).lower(), c)


def upper(c):
    # Where the full upper case is longer, the title case is the simple one.
    return single(chr(c).upper(), single(chr(c).title(), c))


class Classes:
    def __init__(self):
        self.parent = {}

    def find(self, c):
        while self.parent.get(c, c) != c:
            c = self.parent[c]
        return c

    def join(self, a, b):
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[max(a, b)] = min(a, b)


def folds():
    """A dict of every character that is not its class's name, to the name."""
    classes = Classes()
    by_folding = {}
    for c in BMP:
        for other in (lower(c), upper(c), single(chr(c).title(), c)):
            classes.join(c, other)
        classes.join(c, by_folding.setdefault(chr(c).casefold(), c))
    for c in (0x130, 0x131):
        classes.join(c, ord("I"))
    members = {}
    for c in BMP:
        members.setdefault(classes.find(c), []).append(c)
    table = {}
    for group in members.values():
        capitals = [c for c in group if upper(lower(c)) == c]
        name = min(capitals or group)
        table.update((c, name) for c in group if c != name)
    return table


def ranges(table):
    """(first, last, step, delta), which do not overlap, in order."""
    out = []
    for c in sorted(table):
        delta = table[c] - c
        if out and out[-1][3] == delta:
            first, last, step, _ = out[-1]
            gap = c - last
            if gap <= 2 and (first == last or gap == step):
                out[-1] = (first, c, gap, delta)
                continue
        out.append((c, c, 1, delta))
    return out


def main():
    print(f"""\
/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The case folding of the BMP, Unicode {unicodedata.unidata_version}.  \
Written by gen-fold-table.py;
 * not to be edited.  Source: the Unicode Character Database.
 */
#ifndef XEN_DISKD_FOLD_TABLE_H
#define XEN_DISKD_FOLD_TABLE_H

#include <stdint.h>

/* Every step-th unit from first to last folds to itself plus delta. */
static const struct fold_range {{
	uint16_t first, last;
	uint16_t step;
	int32_t delta;
}} fold_ranges[] = {{
	/* clang-format off */""")
    for first, last, step, delta in ranges(folds()):
        print(f"	{{ 0x{first:04x}, 0x{last:04x}, {step}, {delta} }},")
    print("\t/* clang-format on */\n};\n\n#endif")
    return 0


if __name__ == "__main__":
    sys.exit(main())
