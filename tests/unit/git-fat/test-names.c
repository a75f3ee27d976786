/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat/names.h: policy version 1, name by name and directory by directory,
 * and what holds for any directory at all.
 */
#include "git-fat/names.h"
#include "tests/unit/git-fat/name-invariants.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uchar.h>

static struct fat_names *names;

static void setup(void)
{
	ck_assert_int_eq(fat_names_new(&names), 0);
}

static void teardown(void)
{
	fat_names_free(names);
}

/* The id of most names here: 00 01 02 … 13. */
static const unsigned char id[20] = { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,
				      10, 11, 12, 13, 14, 15, 16, 17, 18, 19 };
#define ID_HEX "000102030405060708090a0b0c0d0e0f10111213"

static void add(const char *name)
{
	ck_assert_int_eq(fat_names_add(names, name, strlen(name), id), 0);
}

static void allot(void)
{
	const char *broken;
	size_t index = 0;

	ck_assert_int_eq(fat_names_allot(names), 0);
	broken = name_invariants_broken(names, &index);
	ck_assert_msg(!broken, "name %zu: %s", index, broken);
}

static void is_named(size_t index, const char *long_name,
		     const char *short_name)
{
	const struct fat_name *name = fat_names_get(names, index);
	char text[3 * 255 + 1], short_text[13];

	ck_assert_uint_eq(fat_name_to_utf8(name, text), strlen(text));
	ck_assert_str_eq(text, long_name);
	short_name_text(name->short_name, short_text);
	ck_assert_str_eq(short_text, short_name);
}

/* ---- one name ----------------------------------------------------------- */

#define BYTES(text) text, sizeof(text) - 1
#define UNITS(text) u##text, sizeof(u##text) / 2 - 1

static const struct {
	const char *bytes;
	size_t nr_bytes;
	const char16_t *units;
	size_t nr_units;
	const char *short_name; /* as on the disk */
	bool has_long;
	unsigned int slots;
} singles[] = {
	{ BYTES("MAKEFILE"), UNITS("MAKEFILE"), "MAKEFILE   ", false, 1 },
	{ BYTES("Makefile"), UNITS("Makefile"), "MAKEFILE   ", true, 2 },
	{ BYTES("README.TXT"), UNITS("README.TXT"), "README  TXT", false, 1 },
	{ BYTES("A"), UNITS("A"), "A          ", false, 1 },
	{ BYTES("A.B"), UNITS("A.B"), "A       B  ", false, 1 },
	{ BYTES("~"), UNITS("~"), "~          ", false, 1 },
	{ BYTES("!#$%&'()"), UNITS("!#$%&'()"), "!#$%&'()   ", false, 1 },
	{ BYTES("-@^_`{}."), UNITS("-@^_`{}\uf02e"), "-@^_`{~1   ", true, 2 },
	{ BYTES("09AZ"), UNITS("09AZ"), "09AZ       ", false, 1 },
	{ BYTES("git~1"), UNITS("git~1"), "GIT~1      ", true, 2 },
	{ BYTES("aux.c"), UNITS("aux.c"), "AUX     C  ", true, 2 },
	{ BYTES("NUL"), UNITS("NUL"), "NUL        ", false, 1 },
	{ BYTES("COM1.txt"), UNITS("COM1.txt"), "COM1    TXT", true, 2 },
	{ BYTES("NINELONGA"), UNITS("NINELONGA"), "NINELO~1   ", true, 2 },
	{ BYTES("A.EXTE"), UNITS("A.EXTE"), "A~1     EXT", true, 2 },
	{ BYTES("A.B.C"), UNITS("A.B.C"), "AB~1    C  ", true, 2 },
	{ BYTES("A B"), UNITS("A B"), "AB~1       ", true, 2 },
	{ BYTES("x+y=z.[1]"), UNITS("x+y=z.[1]"), "X_Y_Z~1 _1_", true, 2 },
	{ BYTES("a,b;c"), UNITS("a,b;c"), "A_B_C~1    ", true, 2 },
	{ BYTES("a:b"), UNITS("a\uf03ab"), "A_B~1      ", true, 2 },
	{ BYTES("wh?at*"), UNITS("wh\uf03fat\uf02a"), "WH_AT_~1   ", true, 2 },
	{ BYTES("back\\slash"), UNITS("back\uf05cslash"), "BACK_S~1   ", true,
	  2 },
	{ BYTES("\"<>|"), UNITS("\uf022\uf03c\uf03e\uf07c"), "____~1     ",
	  true, 2 },
	{ BYTES("\x01\x1f\x7f"), UNITS("\uf001\uf01f\uf07f"), "___~1      ",
	  true, 2 },
	{ BYTES("new\nline\ttab"), UNITS("new\uf00aline\uf009tab"),
	  "NEW_LI~1   ", true, 2 },
	{ BYTES("trail."), UNITS("trail\uf02e"), "TRAIL_~1   ", true, 2 },
	{ BYTES("space "), UNITS("space\uf020"), "SPACE_~1   ", true, 2 },
	{ BYTES("two  "), UNITS("two \uf020"), "TWO_~1     ", true, 2 },
	{ BYTES(" "), UNITS("\uf020"), "_~1        ", true, 2 },
	{ BYTES(" lead"), UNITS(" lead"), "LEAD~1     ", true, 2 },
	{ BYTES("..."), UNITS("..\uf02e"), "_~1        ", true, 2 },
	{ BYTES(". .x"), UNITS(". .x"), "X~1        ", true, 2 },
	{ BYTES(".gitignore"), UNITS(".gitignore"), "GITIGN~1   ", true, 2 },
	{ BYTES(".A"), UNITS(".A"), "A~1        ", true, 2 },
	{ BYTES("longfilename0.txt"), UNITS("longfilename0.txt"), "LONGFI~1TXT",
	  true, 3 },
	{ BYTES("a.tar.gz"), UNITS("a.tar.gz"), "ATAR~1  GZ ", true, 2 },
	/* é in its two forms, a character outside the BMP */
	{ BYTES("\xc3\xa9"), UNITS("\u00e9"), "_~1        ", true, 2 },
	{ BYTES("e\xcc\x81"), UNITS("e\u0301"), "E_~1       ", true, 2 },
	{ BYTES("\xf0\x9f\x98\x80"), UNITS("\U0001f600"), "__~1       ", true,
	  2 },
	{ BYTES("\xc4\xb0"), UNITS("\u0130"), "_~1        ", true, 2 },
	{ BYTES("stra\xc3\x9f"
		"e"),
	  UNITS("stra\u00dfe"), "STRA_E~1   ", true, 2 },
	/* The ends of each length of UTF-8. */
	{ BYTES("\xc2\x80\xdf\xbf"), UNITS("\x80\u07ff"), "__~1       ", true,
	  2 },
	{ BYTES("\xe0\xa0\x80\xed\x9f\xbf"), UNITS("\u0800\ud7ff"),
	  "__~1       ", true, 2 },
	{ BYTES("\xee\x80\x80\xef\xbf\xbe"), UNITS("\ue000\ufffe"),
	  "__~1       ", true, 2 },
	{ BYTES("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"),
	  UNITS("\U00010000\U0010ffff"), "____~1     ", true, 2 },
	/* Invalid: no lead, overlong, surrogates, too high, cut short. */
	{ BYTES("\xff\xfe"), UNITS("\uf0ff\uf0fe"), "__~1       ", true, 2 },
	{ BYTES("\xe5xyz"), UNITS("\uf0e5xyz"), "_XYZ~1     ", true, 2 },
	{ BYTES("\x80\xbf"), UNITS("\uf080\uf0bf"), "__~1       ", true, 2 },
	{ BYTES("\xc0\xaf\xc1\xbf"), UNITS("\uf0c0\uf0af\uf0c1\uf0bf"),
	  "____~1     ", true, 2 },
	{ BYTES("\xe0\x9f\xbf"), UNITS("\uf0e0\uf09f\uf0bf"), "___~1      ",
	  true, 2 },
	{ BYTES("\xed\xa0\x80"), UNITS("\uf0ed\uf0a0\uf080"), "___~1      ",
	  true, 2 },
	{ BYTES("\xf0\x8f\xbf\xbf"), UNITS("\uf0f0\uf08f\uf0bf\uf0bf"),
	  "____~1     ", true, 2 },
	{ BYTES("\xf0\x8f\xbf\xbe"), UNITS("\uf0f0\uf08f\uf0bf\uf0be"),
	  "____~1     ", true, 2 },
	{ BYTES("\xf4\x90\x80\x80"), UNITS("\uf0f4\uf090\uf080\uf080"),
	  "____~1     ", true, 2 },
	{ BYTES("\xf5\x80\x80\x80"), UNITS("\uf0f5\uf080\uf080\uf080"),
	  "____~1     ", true, 2 },
	{ BYTES("a\xe2\x82"), UNITS("a\uf0e2\uf082"), "A__~1      ", true, 2 },
	{ BYTES("\xe2\x82"
		"a"),
	  UNITS("\uf0e2\uf082a"), "__A~1      ", true, 2 },
	{ BYTES("\xf0\x9f\x98"), UNITS("\uf0f0\uf09f\uf098"), "___~1      ",
	  true, 2 },
	{ BYTES("\xc3\xc3\xa9"), UNITS("\uf0c3\u00e9"), "__~1       ", true,
	  2 },
	/* Our own characters are not taken at their word; their ends. */
	{ BYTES("a\xef\x80\xba"
		"b"),
	  UNITS("a\uf0ef\uf080\uf0bab"), "A___B~1    ", true, 2 },
	{ BYTES("\xef\x80\x80"), UNITS("\uf0ef\uf080\uf080"), "___~1      ",
	  true, 2 },
	{ BYTES("\xef\x83\xbf"), UNITS("\uf0ef\uf083\uf0bf"), "___~1      ",
	  true, 2 },
	{ BYTES("\xee\xbf\xbf\xef\x84\x80"), UNITS("\uefff\uf100"),
	  "__~1       ", true, 2 },
	{ BYTES("\xef\xbf\xbf"), UNITS("\uf0ef\uf0bf\uf0bf"), "___~1      ",
	  true, 2 },
	/* Full slots and one more. */
	{ BYTES("abcdefghijkl"), UNITS("abcdefghijkl"), "ABCDEF~1   ", true,
	  2 },
	{ BYTES("abcdefghijklm"), UNITS("abcdefghijklm"), "ABCDEF~1   ", true,
	  2 },
	{ BYTES("abcdefghijklmn"), UNITS("abcdefghijklmn"), "ABCDEF~1   ", true,
	  3 },
	{ BYTES("abcdefghijklmnopqrstuvwxyz"),
	  UNITS("abcdefghijklmnopqrstuvwxyz"), "ABCDEF~1   ", true, 3 },
};

static void single_row(int row)
{
	const struct fat_name *name;

	fat_names_reset(names);
	ck_assert_int_eq(fat_names_add(names, singles[row].bytes,
				       singles[row].nr_bytes, id),
			 0);
	allot();
	ck_assert_uint_eq(fat_names_count(names), 1);
	name = fat_names_get(names, 0);
	ck_assert_uint_eq(name->nr_units, singles[row].nr_units);
	ck_assert_mem_eq(name->units, singles[row].units, 2 * name->nr_units);
	ck_assert_mem_eq(name->short_name, singles[row].short_name, 11);
	ck_assert_int_eq(name->has_long, singles[row].has_long);
	ck_assert_uint_eq(fat_name_slots(name), singles[row].slots);
	ck_assert(!name->renamed);
}

ROWS_TEST(single, NR_OF(singles))

START_TEST(lengths)
{
	char name[300 * 4];

	memset(name, 'a', sizeof(name));
	ck_assert_int_eq(fat_names_add(names, name, 255, id), 0);
	ck_assert_int_eq(fat_names_add(names, name, 256, id), -ENAMETOOLONG);
	ck_assert_int_eq(fat_names_add(names, "", 0, id), -EINVAL);
	/* Units count, not bytes: 254 of pairs, and one or two more. */
	for (size_t i = 0; i < 128; i++)
		memcpy(&name[4 * i], "\xf0\x9f\x98\x80", 4);
	ck_assert_int_eq(fat_names_add(names, name, 512, id), -ENAMETOOLONG);
	ck_assert_int_eq(fat_names_add(names, name, 4 * 127, id), 0);
	name[4 * 127] = 'x';
	ck_assert_int_eq(fat_names_add(names, name, 4 * 127 + 1, id), 0);
	/* What was refused is not there. */
	allot();
	ck_assert_uint_eq(fat_names_count(names), 3);
	ck_assert_uint_eq(fat_names_get(names, 0)->nr_units, 255);
	ck_assert_uint_eq(fat_name_slots(fat_names_get(names, 0)), 21);
	ck_assert_uint_eq(fat_names_get(names, 1)->nr_units, 254);
	ck_assert_uint_eq(fat_names_get(names, 2)->nr_units, 255);
}
END_TEST

START_TEST(utf8_of_lone_surrogates)
{
	/* The last is beyond the name, and makes no pair with what is not. */
	static const uint16_t units[] = { 'a',  0xd83d, 0xde00, 0xde00, 0xd83d,
					  0xe9, 0xf03a, 0xd83d, 0xde00 };
	struct fat_name name = { .units = units, .nr_units = 8 };
	char text[3 * 255 + 1];

	ck_assert_uint_eq(fat_name_to_utf8(&name, text),
			  1 + 4 + 3 + 3 + 2 + 3 + 3);
	ck_assert_str_eq(text, "a\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd"
			       "\xc3\xa9\xef\x80\xba\xef\xbf\xbd");
}
END_TEST

/* By the algorithm of the specification, worked out elsewhere. */
START_TEST(checksum)
{
	ck_assert_uint_eq(
		fat_short_name_checksum((const uint8_t *)"FILENAMETXT"), 0x3a);
	ck_assert_uint_eq(
		fat_short_name_checksum((const uint8_t *)"LONGFI~1TXT"), 0xd4);
	ck_assert_uint_eq(
		fat_short_name_checksum((const uint8_t *)"A          "), 0x80);
}
END_TEST

/* ---- the mapping loses nothing ------------------------------------------ */

static size_t unmap(const struct fat_name *name, char *bytes)
{
	char *p = bytes;

	for (size_t i = 0; i < name->nr_units; i++) {
		struct fat_name one = { .units = &name->units[i],
					.nr_units = 1 };

		if (name->units[i] >= 0xf000 && name->units[i] <= 0xf0ff) {
			*p++ = (char)(name->units[i] - 0xf000);
			continue;
		}
		if ((name->units[i] & 0xfc00) == 0xd800) {
			one.nr_units = 2;
			i++;
		}
		p += fat_name_to_utf8(&one, p);
	}
	return (size_t)(p - bytes);
}

/* Pieces that valid, invalid and mapped names are made of. */
static const char *const pieces[] = {
	"a",
	"A",
	".",
	" ",
	":",
	"*",
	"\x01",
	"\x7f",
	"~1",
	"e",
	"\xc3\xa9",
	"\xc3",
	"\x80",
	"\xe2\x82\xac",
	"\xe2\x82",
	"\xf0\x9f\x98\x80",
	"\xf0\x9f",
	"\xef\x80\xba",
	"\xef\x80",
	"\xef\xbf\xbf",
	"\xff",
	"\xed\xa0\x80",
	"\xef\x83\xbf",
	"K",
	"k",
	"\xe2\x84\xaa",
	"S",
	"\xc5\xbf",
};

static size_t random_name(char *name, unsigned int max_pieces)
{
	size_t nr = 1 + (size_t)random() % max_pieces, bytes = 0;

	while (nr--) {
		const char *piece = pieces[(size_t)random() % NR_OF(pieces)];

		memcpy(&name[bytes], piece, strlen(piece));
		bytes += strlen(piece);
	}
	return bytes;
}

START_TEST(the_bytes_can_be_had_back)
{
	char name[32 * 4], back[4 * 255];

	srandom(1);
	for (unsigned int i = 0; i < 20000; i++) {
		size_t bytes = random_name(name, 12);

		if (i % 2) {
			for (size_t j = 0; j < bytes; j++)
				name[j] = (char)(1 + random() % 255);
		}
		fat_names_reset(names);
		ck_assert_int_eq(fat_names_add(names, name, bytes, id), 0);
		ck_assert_int_eq(fat_names_allot(names), 0);
		ck_assert_uint_eq(unmap(fat_names_get(names, 0), back), bytes);
		ck_assert_mem_eq(back, name, bytes);
	}
}
END_TEST

/* ---- long names that collide -------------------------------------------- */

START_TEST(the_first_keeps_its_name)
{
	static const unsigned char other[20] = { 0xab, 0xcd };

	add("MAKEFILE");
	ck_assert_int_eq(fat_names_add(names, BYTES("Makefile"), other), 0);
	add("makefile");
	add("xt_CONNMARK.h");
	ck_assert_int_eq(fat_names_add(names, BYTES("xt_connmark.h"), other),
			 0);
	allot();
	is_named(0, "MAKEFILE", "MAKEFILE");
	is_named(1, "Makefile~abcd", "MAKEFI~1");
	is_named(2, "makefile~0001", "MAKEFI~2");
	is_named(3, "xt_CONNMARK.h", "XT_CON~1.H");
	is_named(4, "xt_connmark~abcd.h", "XT_CON~2.H");
	ck_assert(!fat_names_get(names, 0)->renamed);
	ck_assert(!fat_names_get(names, 0)->has_long);
	ck_assert(fat_names_get(names, 1)->renamed);
	ck_assert(fat_names_get(names, 2)->renamed);
	ck_assert(!fat_names_get(names, 3)->renamed);
}
END_TEST

START_TEST(more_digits_of_the_id)
{
	add("ABC");
	add("Abc"); /* abc~0001 is somebody's own name, later in the tree */
	add("aBc");
	add("abc");
	add("abc~0001");
	allot();
	is_named(0, "ABC", "ABC");
	is_named(1, "Abc~00010203", "ABC~00~1");
	is_named(2, "aBc~000102030405", "ABC~00~2");
	is_named(3, "abc~0001020304050607", "ABC~00~3");
	is_named(4, "abc~0001", "ABC~0001");
}
END_TEST

/* All forty digits are taken, and the place of one in the tree, too. */
START_TEST(all_digits_of_the_id)
{
	char name[64];

	add("A.c");
	add("a.c");
	for (int digits = 4; digits <= 40; digits += 4) {
		snprintf(name, sizeof(name), "a~%.*s.c", digits, ID_HEX);
		add(name);
	}
	add("B.c");
	add("b.c");
	for (int digits = 4; digits <= 40; digits += 4) {
		snprintf(name, sizeof(name), "b~%.*s.c", digits, ID_HEX);
		add(name);
	}
	add("B~" ID_HEX "-13.C"); /* 13 is b.c; there are 25 names */
	allot();
	is_named(1, "a~" ID_HEX "-1.c", "A~0001~1.C");
	is_named(13, "b~" ID_HEX "-38.c", "B~0001~1.C");
}
END_TEST

static void is_unchanged(size_t index, const char *name)
{
	char text[3 * 255 + 1];

	fat_name_to_utf8(fat_names_get(names, index), text);
	ck_assert_str_eq(text, name);
	ck_assert(!fat_names_get(names, index)->renamed);
}

static void is_renamed(size_t index, const char *name)
{
	char text[3 * 255 + 1];

	fat_name_to_utf8(fat_names_get(names, index), text);
	ck_assert_str_eq(text, name);
	ck_assert(fat_names_get(names, index)->renamed);
}

START_TEST(where_the_mark_goes)
{
	add(".GITIGNORE");
	add(".gitignore");
	add("A.B.c");
	add("a.b.c");
	add(".A.b");
	add(".a.b");
	add("TRAIL.");
	add("trail.");
	add("DOTS..");
	add("dots..");
	allot();
	is_renamed(1, ".gitignore~0001");
	is_renamed(3, "a.b~0001.c");
	is_renamed(5, ".a~0001.b");
	is_renamed(7, "trail\uf02e~0001");
	is_renamed(9, "dots~0001.\uf02e");
}
END_TEST

/* Which of these are one name: what each folds to is test-fold's business. */
START_TEST(letters_beyond_ascii)
{
	add("I");
	add("K");
	add("SS");
	add("i");
	add("trail");
	add("trail.");
	add("\u00df");
	add("\u00c9");
	add("\u00e9");
	add("e\u0301");
	add("\u0130");
	add("\u0131");
	add("\u1e9e");
	add("\u212a");
	allot();
	for (size_t i = 0; i < 14; i++) {
		bool renamed = i == 3 || i == 8 || i >= 10;

		ck_assert_msg(fat_names_get(names, i)->renamed == renamed,
			      "name %zu", i);
	}
	is_unchanged(4, "trail");
	is_unchanged(5, "trail\uf02e");
	is_renamed(13, "\u212a~0001");
}
END_TEST

/* A name of 255 units: prefix, as many of the filler as fit, suffix. */
static void long_name(char *name, const char *prefix, char filler,
		      const char *suffix, size_t suffix_units)
{
	size_t nr = strlen(prefix), fill = 255 - nr - suffix_units;

	memcpy(name, prefix, nr);
	memset(&name[nr], filler, fill);
	strcpy(&name[nr + fill], suffix);
}

START_TEST(long_names_are_cut)
{
	char name[1024], want[1024];

	/* Of the base first: five units for the mark. */
	long_name(name, "", 'X', ".c", 2);
	add(name);
	long_name(name, "", 'x', ".c", 2);
	add(name);
	long_name(want, "", 'x', "~0001.c", 7);
	/* Then of the extension, the mark in front of it. */
	long_name(name, "A.", 'X', "", 0);
	add(name);
	long_name(name, "a.", 'x', "", 0);
	add(name);
	/* A pair is not parted: there is a unit less. */
	long_name(name, "", 'Y', "\U0001f600zzzz.cc", 9);
	add(name);
	long_name(name, "", 'y', "\U0001f600zzzz.cc", 9);
	add(name);
	allot();
	is_renamed(1, want);
	long_name(want, "~0001.", 'x', "", 0);
	is_renamed(3, want);
	ck_assert_uint_eq(fat_names_get(names, 3)->nr_units, 255);
	long_name(want, "", 'y', "~0001.cc", 9);
	is_renamed(5, want);
	ck_assert_uint_eq(fat_names_get(names, 5)->nr_units, 254);
}
END_TEST

/* The cut of an extension may leave a space, or a pair, at the end. */
START_TEST(cuts_end_well)
{
	char name[1024];
	const struct fat_name *got;

	long_name(name, "A.", 'X', " YYYY", 5);
	add(name);
	long_name(name, "a.", 'x', " YYYY", 5);
	add(name);
	long_name(name, "B.", 'X', "\U0001f600YYY", 5);
	add(name);
	long_name(name, "b.", 'x', "\U0001f600YYY", 5);
	add(name);
	allot();
	got = fat_names_get(names, 1);
	ck_assert_uint_eq(got->nr_units, 255);
	ck_assert_uint_eq(got->units[253], 'x');
	ck_assert_uint_eq(got->units[254], ' ' + 0xf000);
	got = fat_names_get(names, 3);
	ck_assert_uint_eq(got->nr_units, 255);
	/* What the extension does not use is the base's again. */
	ck_assert_uint_eq(got->units[0], 'b');
	ck_assert_uint_eq(got->units[254], 'x');
}
END_TEST

START_TEST(twins)
{
	add("Abc");
	ck_assert_int_eq(fat_names_add(names, BYTES("Abc"), id), -EEXIST);
	add("abc");
	add("x");
	ck_assert_int_eq(fat_names_add(names, BYTES("Abc"), id), -EEXIST);
	ck_assert_int_eq(fat_names_add(names, BYTES("abc"), id), -EEXIST);
	ck_assert_int_eq(fat_names_add(names, BYTES("x"), id), -EEXIST);
	add("ABC");
	allot();
	ck_assert_uint_eq(fat_names_count(names), 4);
	/* None of it is remembered. */
	fat_names_reset(names);
	add("Abc");
	add("abc");
	add("x");
	allot();
	is_unchanged(0, "Abc");
	is_renamed(1, "abc~0001");
}
END_TEST

/* ---- short names -------------------------------------------------------- */

START_TEST(tails_keep_off_other_names)
{
	add("LONGFI~1.TXT");
	add("longfilename0.txt");
	add("longfilename1.txt");
	add("makefi~1");
	add("makefile.am.in");
	add("makefile.in.in");
	add("makefilename");
	add("\u017fhort~1"); /* folds to SHORT~1 */
	add("short name");
	allot();
	is_named(0, "LONGFI~1.TXT", "LONGFI~1.TXT");
	is_named(1, "longfilename0.txt", "LONGFI~2.TXT");
	is_named(2, "longfilename1.txt", "LONGFI~3.TXT");
	is_named(3, "makefi~1", "MAKEFI~1");
	is_named(4, "makefile.am.in", "MAKEFI~1.IN");
	is_named(5, "makefile.in.in", "MAKEFI~2.IN");
	is_named(6, "makefilename", "MAKEFI~2");
	is_named(8, "short name", "SHORTN~1");
}
END_TEST

/* A whole 8.3 name of later in the tree comes before all tails. */
START_TEST(whole_names_come_first)
{
	add("abcdefghi");
	add("abcdef~1");
	add("abcdef~2");
	allot();
	is_named(0, "abcdefghi", "ABCDEF~3");
	is_named(1, "abcdef~1", "ABCDEF~1");
	is_named(2, "abcdef~2", "ABCDEF~2");
}
END_TEST

START_TEST(the_base_makes_room_for_digits)
{
	char name[32];

	for (int i = 0; i < 1200; i++) {
		snprintf(name, sizeof(name), "samebasis%04d.c", i);
		add(name);
		snprintf(name, sizeof(name), "x.y.%04d", i);
		add(name);
	}
	allot();
	is_named(2 * 8, "samebasis0008.c", "SAMEBA~9.C");
	is_named(2 * 9, "samebasis0009.c", "SAMEB~10.C");
	is_named(2 * 98, "samebasis0098.c", "SAMEB~99.C");
	is_named(2 * 99, "samebasis0099.c", "SAME~100.C");
	is_named(2 * 999, "samebasis0999.c", "SAM~1000.C");
	is_named(2 * 1199, "samebasis1199.c", "SAM~1200.C");
	/* A short base keeps all of itself. */
	is_named(1, "x.y.0000", "XY~1.000");
	is_named(2 * 1199 + 1, "x.y.1199", "XY~10.119");
}
END_TEST

/* ---- directories that mean no good -------------------------------------- */

START_TEST(many_of_one_stem)
{
	char name[32], want[13];

	/* Each basis is another, and each stem of six is the same. */
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "stemst%c%c%02d.file",
			 'a' + i % 26, 'a' + i / 26 % 26, i / 676);
		add(name);
	}
	allot();
	for (int i = 999; i < 3000; i++) {
		short_name_text(fat_names_get(names, (size_t)i)->short_name,
				want);
		snprintf(name, sizeof(name), "STE~%d.FIL", i + 1);
		ck_assert_str_eq(want, name);
	}
}
END_TEST

/* Variants of one name, by bits of a number. */
static void add_variants(unsigned int nr, const char *letters)
{
	char name[32];

	for (unsigned int i = 0; i < nr; i++) {
		strcpy(name, letters);
		for (unsigned int bit = 0; name[bit]; bit++)
			if (i >> bit & 1)
				name[bit] -= 'a' - 'A';
		add(name);
	}
}

START_TEST(many_variants_of_one_name)
{
	char want[80];

	add_variants(20000, "abcdefghijklmno");
	allot();
	is_unchanged(0, "abcdefghijklmno");
	is_renamed(1, "Abcdefghijklmno~0001");
	is_renamed(10, "aBcDefghijklmno~" ID_HEX);
	is_renamed(11, "ABcDefghijklmno~" ID_HEX "-11");
	snprintf(want, sizeof(want), "aBcdefghijklmno~%.8s", ID_HEX);
	is_renamed(2, want);
}
END_TEST

/* Every candidate of the others' is somebody's own name. */
START_TEST(many_names_in_the_way)
{
	char name[80];

	for (int digits = 4; digits <= 40; digits += 4) {
		snprintf(name, sizeof(name), "abcdefghijkl~%.*s", digits,
			 ID_HEX);
		add(name);
	}
	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "abcdefghijkl~%s-%d", ID_HEX,
			 1511 + i);
		add(name);
	}
	add_variants(1501, "abcdefghijkl");
	allot();
	ck_assert_uint_eq(fat_names_count(names), 3011);
	is_unchanged(1510, "abcdefghijkl");
	/* 1511..3010 are in the way: once around the 3011 names. */
	is_renamed(1511, "Abcdefghijkl~" ID_HEX "-4522");
}
END_TEST

START_TEST(too_many_names)
{
	char name[16];

	for (int i = 0; i < FAT_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "F%d", i);
		add(name);
	}
	ck_assert_int_eq(fat_names_add(names, BYTES("one more"), id), -ENOSPC);
	allot();
	ck_assert_uint_eq(fat_names_count(names), FAT_NAMES_MAX);
}
END_TEST

static void add_random(struct fat_names *to, const char *name, size_t bytes,
		       unsigned int id_byte)
{
	unsigned char random_id[20];

	/* Of three ids, so that they are alike often. */
	memset(random_id, (int)(id_byte % 3), sizeof(random_id));
	ck_assert_int_ne(fat_names_add(to, name, bytes, random_id), -ENOMEM);
}

static void are_equal(const struct fat_names *a, const struct fat_names *b)
{
	ck_assert_uint_eq(fat_names_count(a), fat_names_count(b));
	for (size_t i = 0; i < fat_names_count(a); i++) {
		const struct fat_name *left = fat_names_get(a, i);
		const struct fat_name *right = fat_names_get(b, i);

		ck_assert_uint_eq(left->nr_units, right->nr_units);
		ck_assert_mem_eq(left->units, right->units, 2 * left->nr_units);
		ck_assert_mem_eq(left->short_name, right->short_name, 11);
		ck_assert(left->renamed == right->renamed);
		ck_assert(left->has_long == right->has_long);
	}
}

/* Of few short pieces, so that everything collides; keys differ, results no. */
START_TEST(random_directories)
{
	struct fat_names *other;
	char name[32 * 4];

	srandom(2);
	ck_assert_int_eq(fat_names_new(&other), 0);
	for (unsigned int i = 0; i < 400; i++) {
		unsigned int nr = 1 + (unsigned int)random() % 200;

		fat_names_reset(names);
		fat_names_reset(other);
		while (nr--) {
			size_t bytes = random_name(name, 4);
			unsigned int id_byte = (unsigned int)random();

			add_random(names, name, bytes, id_byte);
			add_random(other, name, bytes, id_byte);
		}
		allot();
		ck_assert_int_eq(fat_names_allot(other), 0);
		are_equal(names, other);
	}
	fat_names_free(other);
}
END_TEST

static TCase *case_single(void)
{
	TCase *tc = tcase_create("single");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, single);
	tcase_add_test(tc, lengths);
	tcase_add_test(tc, utf8_of_lone_surrogates);
	tcase_add_test(tc, checksum);
	tcase_add_test(tc, the_bytes_can_be_had_back);
	return tc;
}

static TCase *case_directories(void)
{
	TCase *tc = tcase_create("directories");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_first_keeps_its_name);
	tcase_add_test(tc, more_digits_of_the_id);
	tcase_add_test(tc, all_digits_of_the_id);
	tcase_add_test(tc, where_the_mark_goes);
	tcase_add_test(tc, letters_beyond_ascii);
	tcase_add_test(tc, long_names_are_cut);
	tcase_add_test(tc, cuts_end_well);
	tcase_add_test(tc, twins);
	tcase_add_test(tc, tails_keep_off_other_names);
	tcase_add_test(tc, whole_names_come_first);
	tcase_add_test(tc, the_base_makes_room_for_digits);
	return tc;
}

static TCase *case_hostile(void)
{
	TCase *tc = tcase_create("hostile");

	tcase_set_timeout(tc, 10);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, many_of_one_stem);
	tcase_add_test(tc, many_variants_of_one_name);
	tcase_add_test(tc, many_names_in_the_way);
	tcase_add_test(tc, too_many_names);
	tcase_add_test(tc, random_directories);
	return tc;
}

Suite *suite_names(void)
{
	Suite *suite = suite_create("names");

	suite_add_tcase(suite, case_single());
	suite_add_tcase(suite, case_directories());
	suite_add_tcase(suite, case_hostile());
	return suite;
}
