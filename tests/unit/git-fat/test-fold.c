/* SPDX-License-Identifier: BSD-2-Clause */
/* fat_fold(): which units are the same letter, over all of the BMP. */
#include "git-fat/names.h"
#include "tests/unit/git-fat/unit-git-fat.h"

START_TEST(is_idempotent)
{
	for (unsigned int c = 0; c <= 0xffff; c++) {
		uint16_t folded = fat_fold((uint16_t)c);

		ck_assert_msg(fat_fold(folded) == folded, "U+%04X", c);
	}
}
END_TEST

START_TEST(ascii)
{
	for (unsigned int c = 0; c < 0x80; c++) {
		unsigned int upper = c >= 'a' && c <= 'z' ? c - 32 : c;

		ck_assert_uint_eq(fat_fold((uint16_t)c), upper);
	}
}
END_TEST

/* No folding leads into what mapped names are made of, or out of it. */
START_TEST(surrogates_and_private_use)
{
	for (unsigned int c = 0; c <= 0xffff; c++) {
		uint16_t folded = fat_fold((uint16_t)c);

		if ((c >= 0xd800 && c <= 0xf8ff) || c >= 0xfff0)
			ck_assert_uint_eq(folded, c);
		else
			ck_assert(folded < 0xd800 || folded > 0xf8ff);
	}
}
END_TEST

/* Lower, upper, and a third of the same letter, or 0. */
static const uint16_t same[][3] = {
	{ 'a', 'A', 0 },
	{ 'k', 'K', 0x212a }, /* Kelvin */
	{ 's', 'S', 0x017f }, /* long s */
	{ 'i', 'I', 0x0130 },
	{ 'i', 'I', 0x0131 },
	{ 0x00e5, 0x00c5, 0x212b }, /* Angstrom */
	{ 0x00e9, 0x00c9, 0 },
	{ 0x00f8, 0x00d8, 0 },
	{ 0x00fe, 0x00de, 0 },
	{ 0x00ff, 0x0178, 0 },
	{ 0x00df, 0x1e9e, 0 }, /* sharp s */
	{ 0x0101, 0x0100, 0 },
	{ 0x01c6, 0x01c4, 0x01c5 }, /* digraphs and their title case */
	{ 0x01c9, 0x01c7, 0x01c8 },
	{ 0x01cc, 0x01ca, 0x01cb },
	{ 0x01f3, 0x01f1, 0x01f2 },
	{ 0x0250, 0x2c6f, 0 },
	{ 0x03bc, 0x039c, 0x00b5 }, /* micro */
	{ 0x03c3, 0x03a3, 0x03c2 }, /* final sigma */
	{ 0x03b8, 0x0398, 0x03d1 },
	{ 0x03b8, 0x0398, 0x03f4 },
	{ 0x03c9, 0x03a9, 0x2126 }, /* Ohm */
	{ 0x03b9, 0x0399, 0x1fbe },
	{ 0x03b9, 0x0399, 0x0345 },
	{ 0x0434, 0x0414, 0x1c81 },
	{ 0x0451, 0x0401, 0 },
	{ 0x0561, 0x0531, 0 },
	{ 0x10d0, 0x1c90, 0 }, /* Georgian, both pairs */
	{ 0x2d00, 0x10a0, 0 },
	{ 0xab70, 0x13a0, 0 }, /* Cherokee, both pairs */
	{ 0x13f8, 0x13f0, 0 },
	{ 0x1e61, 0x1e60, 0x1e9b },
	{ 0x1f80, 0x1f88, 0 },
	{ 0x1fb3, 0x1fbc, 0 },
	{ 0x2170, 0x2160, 0 },
	{ 0x24d0, 0x24b6, 0 },
	{ 0x1d79, 0xa77d, 0 },
	{ 0xa64b, 0xa64a, 0x1c88 },
	{ 0xff41, 0xff21, 0 },
	{ 0xff5a, 0xff3a, 0 },
};

static void same_letter_row(int row)
{
	uint16_t folded = fat_fold(same[row][1]);

	ck_assert_uint_eq(fat_fold(same[row][0]), folded);
	if (same[row][2])
		ck_assert_uint_eq(fat_fold(same[row][2]), folded);
}

ROWS_TEST(same_letter, NR_OF(same))

static const uint16_t
	different
		[][2] = {
			{ 0x00d7, 0x00f7 }, /* signs amid the letters of Latin-1 */
			{ 's', 0x00df },    { 'e', 0x00e9 },
			{ 0x0100, 0x0102 }, { 0x01c4, 0x01c7 },
			{ 0x0138, 0x0137 }, /* a letter without capital between pairs */
			{ '@', '`' },       { '[', '{' },
			{ 0x0430, 'a' },
		};

static void different_letter_row(int row)
{
	ck_assert_uint_ne(fat_fold(different[row][0]),
			  fat_fold(different[row][1]));
}

ROWS_TEST(different_letter, NR_OF(different))

Suite *suite_fold(void)
{
	Suite *suite = suite_create("fold");
	TCase *tc = tcase_create("fold");

	tcase_add_test(tc, is_idempotent);
	tcase_add_test(tc, ascii);
	tcase_add_test(tc, surrogates_and_private_use);
	tcase_add_test(tc, same_letter);
	tcase_add_test(tc, different_letter);
	suite_add_tcase(suite, tc);
	return suite;
}
