/* SPDX-License-Identifier: BSD-2-Clause */
/* providers/provider-spec.h: targets taken apart, and refused with reasons. */
#include "providers/provider-spec.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct provider_spec spec;
static struct error_text err;

static const struct {
	const char *target;
	bool has_path;
	const char *name, *path;
	/* The options, as KEY=VALUE with commas. */
	const char *options;
} good[] = {
	{ "/a/b.img", true, "file", "/a/b.img", "" },
	/* A bare path means what it says, whatever is in it. */
	{ "/a%41?x=1&y", true, "file", "/a%41?x=1&y", "" },
	{ "/", true, "file", "/", "" },
	{ "file:/a/b", true, "file", "/a/b", "" },
	{ "file:/a?share=yes", true, "file", "/a", "share=yes" },
	{ "file:/a?", true, "file", "/a", "" },
	{ "file:", true, "file", "", "" },
	{ "file:/a%20b%3fc%25?k=%26%3D%2b", true, "file", "/a b?c%", "k=&=+" },
	{ "file:/%c3%A4", true, "file", "/\xc3\xa4", "" },
	{ "file:/a?k=%2541", true, "file", "/a", "k=%41" },
	{ "file:/a?b?c=d?e", true, "file", "/a", "b?c=d?e" },
	{ "file:/a:b", true, "file", "/a:b", "" },
	{ "null:size=1G", false, "null", NULL, "size=1G" },
	{ "null:a=1&b=&c=x=y", false, "null", NULL, "a=1,b=,c=x=y" },
	{ "null:", false, "null", NULL, "" },
	{ "null:a=1&&b=2&", false, "null", NULL, "a=1,b=2" },
	{ "nbd+unix:/e?s=1", true, "nbd+unix", "/e", "s=1" },
	{ "a.b-c+9:x", true, "a.b-c+9", "x", "" },
	{ "exactlyfifteen0:x", true, "exactlyfifteen0", "x", "" },
};

static void join_options(char *text, size_t bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < spec.nr_options; i++)
		used += (size_t)snprintf(text + used, bytes - used, "%s%s=%s",
					 i ? "," : "", spec.options[i].key,
					 spec.options[i].value);
}

static void good_targets_row(int row)
{
	char options[256];

	ck_assert_msg(provider_spec_parse(good[row].target, good[row].has_path,
					  &spec, &err) == 0,
		      "%s", err.text);
	ck_assert_str_eq(spec.name, good[row].name);
	if (good[row].path)
		ck_assert_str_eq(spec.path, good[row].path);
	else
		ck_assert_ptr_null(spec.path);
	join_options(options, sizeof(options));
	ck_assert_str_eq(options, good[row].options);
}

ROWS_TEST(good_targets, NR_OF(good))

static const struct {
	const char *target;
	int rc;
	const char *says;
} bad[] = {
	{ "", -EINVAL, "empty" },
	{ "relative.img", -EINVAL, "relative.img" },
	{ "a/b:c", -EINVAL, "a/b:c" },
	{ ":x", -EINVAL, ":x" },
	{ "FILE:/x", -EINVAL, "FILE:/x" },
	{ "fi le:/x", -EINVAL, "fi le" },
	{ "./x", -EINVAL, "./x" },
	{ "sixteencharacter:x", -EINVAL, "so long a name" },
	{ "file:/a%", -EINVAL, "percent" },
	{ "file:/a%4", -EINVAL, "percent" },
	{ "file:/a%4g", -EINVAL, "percent" },
	{ "file:/a%g4", -EINVAL, "percent" },
	{ "file:/a%00b", -EINVAL, "percent" },
	{ "file:/a%%41", -EINVAL, "percent" },
	{ "file:/a?k=%zz", -EINVAL, "percent" },
	{ "file:/a?k=%00", -EINVAL, "percent" },
	{ "file:/a?k", -EINVAL, "KEY=VALUE" },
	{ "file:/a?=v", -EINVAL, "KEY=VALUE" },
	{ "file:/a?k=1&k=2", -EINVAL, "twice" },
	{ "file:/a?a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=&l=&m=&n=&o=&p=&q=", -E2BIG,
	  "16" },
};

static void bad_targets_row(int row)
{
	int rc = provider_spec_parse(bad[row].target, true, &spec, &err);

	ck_assert_msg(rc == bad[row].rc, "'%s': %d", bad[row].target, rc);
	ck_assert_msg(strstr(err.text, bad[row].says), "'%s'", err.text);
}

ROWS_TEST(bad_targets, NR_OF(bad))

START_TEST(sixteen_options)
{
	ck_assert_int_eq(
		provider_spec_parse(
			"null:a=&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=&l=&m=&n=&o=&p=",
			false, &spec, &err),
		0);
	ck_assert_uint_eq(spec.nr_options, 16);
}
END_TEST

/* The longest target that fits, and the next. */
START_TEST(lengths)
{
	static char target[PROVIDER_SPEC_BYTES + 1];

	memset(target, 'x', PROVIDER_SPEC_BYTES);
	target[0] = '/';
	target[PROVIDER_SPEC_BYTES - 1] = '\0';
	ck_assert_int_eq(provider_spec_parse(target, true, &spec, &err), 0);
	ck_assert_str_eq(spec.path, target);
	target[PROVIDER_SPEC_BYTES - 1] = 'x';
	ck_assert_int_eq(provider_spec_parse(target, true, &spec, &err),
			 -ENAMETOOLONG);
	ck_assert_ptr_nonnull(strstr(err.text, "4095"));
}
END_TEST

START_TEST(names_alone)
{
	char name[PROVIDER_NAME_BYTES];

	ck_assert_int_eq(provider_spec_name("/x", name, &err), 0);
	ck_assert_str_eq(name, "file");
	ck_assert_int_eq(provider_spec_name("nbd:%zz", name, &err), 0);
	ck_assert_str_eq(name, "nbd");
	ck_assert_int_eq(provider_spec_name("nbd", name, &err), -EINVAL);
}
END_TEST

START_TEST(options_are_taken)
{
	bool flag;

	ck_assert_int_eq(provider_spec_parse("null:size=1&a=yes&b=no&c=maybe",
					     false, &spec, &err),
			 0);
	ck_assert_int_eq(provider_spec_all_taken(&spec, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "'size'"));
	ck_assert_str_eq(provider_spec_option(&spec, "size"), "1");
	ck_assert_ptr_null(provider_spec_option(&spec, "siz"));
	ck_assert_int_eq(provider_spec_flag(&spec, "a", &flag, &err), 0);
	ck_assert(flag);
	ck_assert_int_eq(provider_spec_flag(&spec, "b", &flag, &err), 0);
	ck_assert(!flag);
	flag = true;
	ck_assert_int_eq(provider_spec_flag(&spec, "missing", &flag, &err), 0);
	ck_assert(!flag);
	ck_assert_int_eq(provider_spec_all_taken(&spec, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "'c'"));
	ck_assert_int_eq(provider_spec_flag(&spec, "c", &flag, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "maybe"));
	ck_assert_int_eq(provider_spec_all_taken(&spec, &err), 0);
}
END_TEST

static const struct {
	const char *key, *text;
	int rc;
	uint64_t iops, bps;
} limits[] = {
	{ "iops", "1", 0, 1, 78 },
	{ "iops", "10000000", 0, 10000000, 78 },
	{ "iops", "0", 0, 0, 78 },
	{ "iops", "10000001", -ERANGE, 77, 78 },
	{ "iops", "1K", -EINVAL, 77, 78 },
	{ "iops", "", -EINVAL, 77, 78 },
	{ "iops", "-1", -EINVAL, 77, 78 },
	{ "iops", "18446744073709551617", -ERANGE, 77, 78 },
	{ "bps", "4096", 0, 77, 4096 },
	{ "bps", "64G", 0, 77, UINT64_C(64) << 30 },
	{ "bps", "10M", 0, 77, 10 << 20 },
	{ "bps", "0", 0, 77, 0 },
	{ "bps", "4095", -ERANGE, 77, 78 },
	{ "bps", "65G", -ERANGE, 77, 78 },
	{ "bps", "99999999T", -ERANGE, 77, 78 },
	{ "bps", "1MB", -EINVAL, 77, 78 },
};

static void sets_limits_row(int row)
{
	struct block_limits got = { .iops = 77, .bps = 78 };
	int rc =
		block_limits_set(&got, limits[row].key, limits[row].text, &err);

	ck_assert_msg(rc == limits[row].rc, "%s=%s: %d", limits[row].key,
		      limits[row].text, rc);
	ck_assert_uint_eq(got.iops, limits[row].iops);
	ck_assert_uint_eq(got.bps, limits[row].bps);
	if (rc)
		ck_assert_msg(strstr(err.text, limits[row].key), "'%s'",
			      err.text);
}

ROWS_TEST(sets_limits, NR_OF(limits))

Suite *suite_provider_spec(void)
{
	Suite *suite = suite_create("provider-spec");
	TCase *tc = tcase_create("provider-spec");

	tcase_add_test(tc, good_targets);
	tcase_add_test(tc, bad_targets);
	tcase_add_test(tc, sixteen_options);
	tcase_add_test(tc, lengths);
	tcase_add_test(tc, names_alone);
	tcase_add_test(tc, options_are_taken);
	tcase_add_test(tc, sets_limits);
	suite_add_tcase(suite, tc);
	return suite;
}
