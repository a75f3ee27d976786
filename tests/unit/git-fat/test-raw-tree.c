/* SPDX-License-Identifier: BSD-2-Clause */
/* git-fat/raw-tree.h: what is a tree, and each way not to be one. */
#include "git-fat/raw-tree.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ID "0123456789abcdefghij"
#define ENTRY(mode, name) mode " " name "\0" ID
/* Without the NUL of the literal. */
#define TREE(text) text, sizeof(text) - 1

/*
 * A copy of the object with nothing around it, so that a sanitizer sees each
 * byte that is read beyond.
 */
static struct raw_tree tree;
static void *copy;

static void take(const char *object, size_t bytes)
{
	copy = malloc(bytes ? bytes : 1);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, object, bytes);
	raw_tree_init(&tree, copy, bytes);
}

static int next(struct raw_tree_entry *entry, const char **reason)
{
	*entry = (struct raw_tree_entry){ .name = NULL };
	*reason = NULL;
	return raw_tree_next(&tree, entry, reason);
}

static void is_entry(enum raw_tree_kind kind, const char *name)
{
	struct raw_tree_entry entry;
	const char *reason;

	ck_assert_int_eq(next(&entry, &reason), 1);
	ck_assert_int_eq(entry.kind, kind);
	ck_assert_uint_eq(entry.name_bytes, strlen(name));
	ck_assert_mem_eq(entry.name, name, entry.name_bytes);
	ck_assert_mem_eq(entry.id, ID, RAW_TREE_ID_BYTES);
}

static void is_end(void)
{
	struct raw_tree_entry entry;
	const char *reason;

	ck_assert_int_eq(next(&entry, &reason), 0);
	ck_assert_int_eq(next(&entry, &reason), 0);
	free(copy);
}

START_TEST(reads_every_kind)
{
	/* clang-format off */
	static const char object[] =
		ENTRY("100644", "a") ENTRY("100755", "b")
		ENTRY("100664", "c") ENTRY("120000", "d")
		ENTRY("40000", "e") ENTRY("160000", "f");
	/* clang-format on */

	take(TREE(object));
	is_entry(RAW_TREE_FILE, "a");
	is_entry(RAW_TREE_FILE, "b");
	is_entry(RAW_TREE_FILE, "c");
	is_entry(RAW_TREE_SYMLINK, "d");
	is_entry(RAW_TREE_DIRECTORY, "e");
	is_entry(RAW_TREE_GITLINK, "f");
	is_end();
}
END_TEST

START_TEST(empty_tree)
{
	take("", 0);
	is_end();
	raw_tree_init(&tree, NULL, 0);
	copy = NULL;
	is_end();
}
END_TEST

/* '-' < '.' < '/' < '0': a directory sorts as if it ended in a slash. */
START_TEST(order_of_directories)
{
	/* clang-format off */
	static const char object[] =
		ENTRY("100644", "a") ENTRY("100644", "a-")
		ENTRY("100644", "a.b") ENTRY("40000", "aa")
		ENTRY("100644", "aa0") ENTRY("160000", "ab")
		ENTRY("100644", "ab.") ENTRY("100644", "\xff")
		ENTRY("100644", "\xff\xfe");
	/* clang-format on */

	take(TREE(object));
	is_entry(RAW_TREE_FILE, "a");
	is_entry(RAW_TREE_FILE, "a-");
	is_entry(RAW_TREE_FILE, "a.b");
	is_entry(RAW_TREE_DIRECTORY, "aa");
	is_entry(RAW_TREE_FILE, "aa0");
	is_entry(RAW_TREE_GITLINK, "ab");
	is_entry(RAW_TREE_FILE, "ab.");
	is_entry(RAW_TREE_FILE, "\xff");
	is_entry(RAW_TREE_FILE, "\xff\xfe");
	is_end();
}
END_TEST

/* Names that look like the refused ones. */
START_TEST(names_that_are_fine)
{
	/* clang-format off */
	static const char object[] =
		ENTRY("100644", "...") ENTRY("100644", "..a")
		ENTRY("100644", ".gi") ENTRY("100644", ".gitt")
		ENTRY("100644", "\\") ENTRY("100644", "git~1");
	/* clang-format on */

	take(TREE(object));
	is_entry(RAW_TREE_FILE, "...");
	is_entry(RAW_TREE_FILE, "..a");
	is_entry(RAW_TREE_FILE, ".gi");
	is_entry(RAW_TREE_FILE, ".gitt");
	is_entry(RAW_TREE_FILE, "\\");
	is_entry(RAW_TREE_FILE, "git~1");
	is_end();
}
END_TEST

/* Nonadjacent twins are in order: a, a.b, a/ */
START_TEST(twins_apart_are_left_to_the_names)
{
	/* clang-format off */
	static const char object[] =
		ENTRY("100644", "a") ENTRY("100644", "a.b")
		ENTRY("40000", "a");
	/* clang-format on */

	take(TREE(object));
	is_entry(RAW_TREE_FILE, "a");
	is_entry(RAW_TREE_FILE, "a.b");
	is_entry(RAW_TREE_DIRECTORY, "a");
	is_end();
}
END_TEST

#define MODE "an entry with a mode that git does not write"
#define ZERO "an entry whose mode starts with a zero"
#define SHORT "an entry that is cut short"
#define ORDER "entries that are not in order"
#define TWICE "the same name twice"
#define DOT_GIT "an entry named '.git'"
#define SLASH "an entry with a slash in its name"

static const struct {
	const char *object;
	size_t bytes;
	int nr_good; /* entries before the bad one */
	const char *reason;
	const char *name; /* what the message needs, or NULL */
} bad[] = {
	{ TREE(ENTRY("040000", "a")), 0, ZERO, NULL },
	{ TREE(ENTRY("0100644", "a")), 0, ZERO, NULL },
	{ TREE(ENTRY("0", "a")), 0, ZERO, NULL },
	{ TREE(ENTRY("100600", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("100666", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("1006440", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("10064", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("40755", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("100644 ", "a")), 1, NULL, NULL }, /* " a" is a name */
	{ TREE(ENTRY(" 100644", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("-100644", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("", "a")), 0, MODE, NULL },
	{ TREE(ENTRY("100\0644", "a")), 0, MODE, NULL },
	{ TREE("100644\ta\0" ID), 0, MODE, NULL },
	{ TREE("1"), 0, SHORT, NULL },
	{ TREE("100644"), 0, SHORT, NULL },
	{ TREE("100644 "), 0, SHORT, NULL },
	{ TREE("100644 a"), 0, SHORT, NULL },
	{ TREE("100644 a\0"), 0, SHORT, NULL },
	{ TREE("100644 a\0"
	       "0123456789abcdefghi"),
	  0, SHORT, NULL },
	{ TREE(ENTRY("100644", "a") "\0"), 1, SHORT, NULL },
	{ TREE(ENTRY("100644", "a") "x"), 1, SHORT, NULL },
	{ TREE(ENTRY("100644", "")), 0, "an entry without a name", "" },
	{ TREE(ENTRY("40000", ".")), 0, "an entry named '.'", "." },
	{ TREE(ENTRY("40000", "..")), 0, "an entry named '..'", ".." },
	{ TREE(ENTRY("40000", ".git")), 0, DOT_GIT, ".git" },
	{ TREE(ENTRY("100644", ".GIT")), 0, DOT_GIT, ".GIT" },
	{ TREE(ENTRY("160000", ".gIt")), 0, DOT_GIT, ".gIt" },
	{ TREE(ENTRY("100644", "a/b")), 0, SLASH, "a/b" },
	{ TREE(ENTRY("100644", "/")), 0, SLASH, "/" },
	{ TREE(ENTRY("100644", "b") ENTRY("100644", "a")), 1, ORDER, "a" },
	{ TREE(ENTRY("100644", "ab") ENTRY("100644", "a")), 1, ORDER, "a" },
	{ TREE(ENTRY("100644", "\xff") ENTRY("100644", "a")), 1, ORDER, "a" },
	{ TREE(ENTRY("40000", "a") ENTRY("100644", "a.b")), 1, ORDER, "a.b" },
	{ TREE(ENTRY("100644", "a0") ENTRY("40000", "a")), 1, ORDER, "a" },
	{ TREE(ENTRY("100644", "a") ENTRY("100644", "a")), 1, TWICE, "a" },
	{ TREE(ENTRY("40000", "a") ENTRY("40000", "a")), 1, TWICE, "a" },
	{ TREE(ENTRY("100644", "a") ENTRY("40000", "a")), 1, TWICE, "a" },
	{ TREE(ENTRY("40000", "a") ENTRY("100644", "a")), 1, TWICE, "a" },
};

static void is_refused(int row)
{
	struct raw_tree_entry entry;
	const char *reason;

	/* Once and for all: it does not get past it. */
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(next(&entry, &reason), -EBADMSG);
		ck_assert_str_eq(reason, bad[row].reason);
		if (!bad[row].name)
			continue;
		ck_assert_uint_eq(entry.name_bytes, strlen(bad[row].name));
		ck_assert_mem_eq(entry.name, bad[row].name, entry.name_bytes);
	}
}

static void refuses_row(int row)
{
	struct raw_tree_entry entry;
	const char *reason;

	take(bad[row].object, bad[row].bytes);
	for (int i = 0; i < bad[row].nr_good; i++)
		ck_assert_int_eq(next(&entry, &reason), 1);
	if (bad[row].reason)
		is_refused(row);
	else
		ck_assert_int_eq(next(&entry, &reason), 0);
	free(copy);
}

ROWS_TEST(refuses, NR_OF(bad))

/* Cut anywhere, it is either refused or a whole number of entries. */
START_TEST(cut_anywhere)
{
	static const char whole[] = ENTRY("100644", "a") ENTRY("40000", "b");

	for (size_t bytes = 0; bytes < sizeof(whole); bytes++) {
		struct raw_tree_entry entry;
		const char *reason;
		int rc;

		take(whole, bytes);
		do
			rc = next(&entry, &reason);
		while (rc > 0);
		if (bytes == 0 || bytes == 29 || bytes == sizeof(whole) - 1)
			ck_assert_int_eq(rc, 0);
		else
			ck_assert_int_eq(rc, -EBADMSG);
		free(copy);
	}
}
END_TEST

Suite *suite_raw_tree(void)
{
	Suite *suite = suite_create("raw-tree");
	TCase *tc = tcase_create("raw-tree");

	tcase_add_test(tc, reads_every_kind);
	tcase_add_test(tc, empty_tree);
	tcase_add_test(tc, order_of_directories);
	tcase_add_test(tc, names_that_are_fine);
	tcase_add_test(tc, twins_apart_are_left_to_the_names);
	tcase_add_test(tc, refuses);
	tcase_add_test(tc, cut_anywhere);
	suite_add_tcase(suite, tc);
	return suite;
}
