/* SPDX-License-Identifier: BSD-2-Clause */
/* blkback/vdev.h against the table of xen-vbd-interface(7). */
#include "blkback/vdev.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *text;
	uint32_t devid;
	/* What the number is formatted as; NULL: as it was written. */
	const char *formatted;
} names[] = {
	{ "xvda", 51712, NULL },        { "xvda1", 51713, NULL },
	{ "xvda15", 51727, NULL },      { "xvdb", 51728, NULL },
	{ "xvdp", 51952, NULL },        { "xvdp15", 51967, NULL },
	{ "xvda16", 268435472, NULL },  { "xvdb255", 268435967, NULL },
	{ "xvdq", 268439552, NULL },    { "xvdq1", 268439553, NULL },
	{ "xvdz", 268441856, NULL },    { "xvdaa", 268442112, NULL },
	{ "xvdtq37", 268572709, NULL }, { "xvdzz", 268614912, NULL },
	{ "xvdaaa", 268615168, NULL },  { "hda", 768, "768" },
	{ "hda1", 769, "769" },         { "hda63", 831, "831" },
	{ "hdb", 832, "832" },          { "hdc", 5632, "5632" },
	{ "hdd1", 5697, "5697" },       { "sda", 2048, "2048" },
	{ "sdb3", 2067, "2067" },       { "sdp15", 2303, "2303" },
	{ "51712", 51712, "xvda" },     { "268435472", 268435472, "xvda16" },
	{ "5632", 5632, NULL },         { "0", 0, NULL },
};

static void good_names_row(int row)
{
	char name[VDEV_NAME_BYTES];
	uint32_t devid;

	ck_assert_msg(vdev_parse(names[row].text, &devid) == 0, "%s",
		      names[row].text);
	ck_assert_uint_eq(devid, names[row].devid);
	vdev_format(devid, name);
	ck_assert_str_eq(name, names[row].formatted ? names[row].formatted
						    : names[row].text);
}

ROWS_TEST(good_names, NR_OF(names))

static const struct {
	const char *text;
	int rc;
} bad[] = {
	{ "", -EINVAL },
	{ "xvd", -EINVAL },
	{ "xvd1", -EINVAL },
	{ "xvdA", -EINVAL },
	{ "xvda-1", -EINVAL },
	{ "xvda1 ", -EINVAL },
	{ "xvda 1", -EINVAL },
	{ "xvda1a", -EINVAL },
	{ "xvda/", -EINVAL },
	{ "vda", -EINVAL },
	{ "wxyz", -EINVAL },
	{ "-1", -EINVAL },
	{ "0x300", -EINVAL },
	{ "xvda256", -ERANGE },
	{ "xvda99999999999999999999", -ERANGE },
	{ "xvdzzzzz", -ERANGE },
	{ "xvdzzzzzzzzzzzzzzzzzzzzzz", -ERANGE },
	{ "hda64", -ERANGE },
	{ "hde", -ERANGE },
	{ "sda16", -ERANGE },
	{ "sdq", -ERANGE },
	{ "2147483648", -ERANGE },
	{ "4294967295", -ERANGE },
};

static void bad_names_row(int row)
{
	uint32_t devid = 4711;

	ck_assert_msg(vdev_parse(bad[row].text, &devid) == bad[row].rc, "%s",
		      bad[row].text);
	ck_assert_uint_eq(devid, 4711);
}

ROWS_TEST(bad_names, NR_OF(bad))

/* The extended scheme ends at disk 2^20 - 1. */
START_TEST(the_last_disk)
{
	char name[VDEV_NAME_BYTES];
	uint32_t devid;

	vdev_format(1u << 28 | ((1u << 20) - 1) << 8 | 255, name);
	ck_assert_int_eq(vdev_parse(name, &devid), 0);
	ck_assert_uint_eq(devid, 0x1fffffff);
}
END_TEST

/* Names of one letter to four, there and back. */
START_TEST(round_trip)
{
	for (uint32_t disk = 0; disk < 20000; disk += 1 + disk / 30) {
		for (uint32_t part = 0; part < 256; part += 15) {
			uint32_t devid = disk < 16 && part < 16
						 ? 202u << 8 | disk << 4 | part
						 : 1u << 28 | disk << 8 | part;
			char name[VDEV_NAME_BYTES];
			uint32_t back;

			vdev_format(devid, name);
			ck_assert_int_eq(vdev_parse(name, &back), 0);
			ck_assert_uint_eq(back, devid);
		}
	}
}
END_TEST

/* No number is too much for the name's room. */
START_TEST(any_number_formats)
{
	static const uint32_t numbers[] = {
		0, 255, 1u << 28, 0x1fffffff, 0x7fffffff, UINT32_MAX
	};

	for (size_t i = 0; i < NR_OF(numbers); i++) {
		char name[VDEV_NAME_BYTES + 1];

		memset(name, 0x7e, sizeof(name));
		vdev_format(numbers[i], name);
		ck_assert_ptr_nonnull(memchr(name, 0, VDEV_NAME_BYTES));
		ck_assert_int_eq(name[VDEV_NAME_BYTES], 0x7e);
	}
}
END_TEST

Suite *suite_vdev(void)
{
	Suite *suite = suite_create("vdev");
	TCase *tc = tcase_create("vdev");

	tcase_add_test(tc, good_names);
	tcase_add_test(tc, bad_names);
	tcase_add_test(tc, the_last_disk);
	tcase_add_test(tc, round_trip);
	tcase_add_test(tc, any_number_formats);
	suite_add_tcase(suite, tc);
	return suite;
}
