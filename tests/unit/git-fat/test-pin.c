/* SPDX-License-Identifier: BSD-2-Clause */
/* git-fat/pin.h on real repositories, bare and worktrees of others. */
#include "git-fat/pin.h"

#include "git-fat/owner.h"
#include "tests/unit/git-fat/served-repository.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* nobody, on every Debian machine. */
#define OTHER_ID 65534

static struct served served;
static char first[GIT_OID_HEXSZ + 1], second[GIT_OID_HEXSZ + 1];
static struct error_text err;

static void setup(void)
{
	served_open(&served, "pins");
	served_commit(&served, "main", 1, first);
	served_commit(&served, "other", 2, second);
}

static void teardown(void)
{
	served_close(&served);
}

/* What the pin of a vbd names, or "". */
static const char *pinned(const char *name)
{
	static char text[GIT_OID_HEXSZ + 1];
	char reference[128];
	git_oid id;

	snprintf(reference, sizeof(reference), "refs/xen-diskd/%s", name);
	if (git_reference_name_to_id(&id, served.repository, reference) < 0)
		return "";
	return git_oid_tostr(text, sizeof(text), &id);
}

static void set(const char *path, const char *name, const char *object)
{
	ck_assert_msg(pin_set(path, name, object, &err) == 0, "%s", err.text);
}

static void unset(const char *path, const char *name)
{
	ck_assert_msg(pin_remove(path, name, &err) == 0, "%s", err.text);
}

START_TEST(set_move_remove)
{
	set(served.path, "1-51712", first);
	set(served.path, "1-51728", first);
	ck_assert_str_eq(pinned("1-51712"), first);
	set(served.path, "1-51712", first);
	set(served.path, "1-51712", second);
	ck_assert_str_eq(pinned("1-51712"), second);
	ck_assert_str_eq(pinned("1-51728"), first);
	unset(served.path, "1-51712");
	ck_assert_str_eq(pinned("1-51712"), "");
	ck_assert_str_eq(pinned("1-51728"), first);
	unset(served.path, "1-51712");
	unset(served.path, "9-9");
}
END_TEST

/* Served without a commit: the version is a tree's. */
START_TEST(pins_a_tree)
{
	char tree[GIT_OID_HEXSZ + 1];
	git_object *object;

	ck_assert_int_eq(git_revparse_single(&object, served.repository,
					     "main^{tree}"),
			 0);
	git_oid_tostr(tree, sizeof(tree), git_object_id(object));
	git_object_free(object);
	set(served.path, "1-1", tree);
	ck_assert_str_eq(pinned("1-1"), tree);
}
END_TEST

/* References are the main repository's, wherever the worktree is. */
START_TEST(of_a_worktree)
{
	char path[SERVED_PATH_BYTES + 16], dot_git[SERVED_PATH_BYTES + 32];
	git_worktree *worktree;
	struct owner owner;

	snprintf(path, sizeof(path), "%s-worktree", served.path);
	ck_assert_int_eq(git_repository_set_head(served.repository,
						 "refs/heads/main"),
			 0);
	ck_assert_int_eq(git_worktree_add(&worktree, served.repository, "wt",
					  path, NULL),
			 0);
	git_worktree_free(worktree);
	set(path, "1-2", first);
	ck_assert_str_eq(pinned("1-2"), first);
	ck_assert_int_eq(chown(served.path, OTHER_ID, OTHER_ID), 0);
	ck_assert_msg(owner_of(path, &owner, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(owner.uid, OTHER_ID);
	ck_assert_uint_eq(owner.gid, OTHER_ID);
	/* All on the way to it is root's, and root does not write there. */
	ck_assert_int_eq(pin_set(path, "1-3", first, &err), -EPERM);
	ck_assert_int_eq(pin_remove(path, "1-2", &err), -EPERM);
	ck_assert_str_eq(pinned("1-2"), first);
	ck_assert_int_eq(chown(served.path, 0, 0), 0);
	snprintf(dot_git, sizeof(dot_git), "%s/.git", path);
	unset(dot_git, "1-2");
	ck_assert_str_eq(pinned("1-2"), "");
}
END_TEST

/* Shared with a group that its owner is in, in a directory of his own group. */
START_TEST(of_a_group)
{
	char groups[SERVED_PATH_BYTES + 16];
	struct owner owner;
	FILE *file;

	snprintf(groups, sizeof(groups), "%s-groups", served.path);
	file = fopen(groups, "we");
	ck_assert(file && fputs("shared:x:4242:nobody\n", file) > 0 &&
		  fclose(file) == 0);
	ck_assert(unshare(CLONE_NEWNS) == 0 &&
		  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		  mount(groups, "/etc/group", NULL, MS_BIND, NULL) == 0);
	ck_assert_int_eq(chown(unit_dir(), OTHER_ID, OTHER_ID), 0);
	ck_assert_int_eq(chown(served.path, OTHER_ID, 4242), 0);
	ck_assert_msg(owner_of(served.path, &owner, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(owner.uid, OTHER_ID);
	ck_assert_uint_eq(owner.gid, 4242);
	/* He is not in this one. */
	ck_assert_int_eq(chown(served.path, OTHER_ID, 4243), 0);
	ck_assert_msg(owner_of(served.path, &owner, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(owner.gid, OTHER_ID);
	ck_assert_int_eq(chown(unit_dir(), 0, 0), 0);
}
END_TEST

static void expect_error(int rc, int expected, const char *part)
{
	ck_assert_int_eq(rc, expected);
	ck_assert_msg(strstr(err.text, part), "'%s' does not have '%s'",
		      err.text, part);
}

START_TEST(refusals)
{
	static const char missing[] = "/no/such/repository";
	char name[160];
	struct owner owner;

	expect_error(pin_set(missing, "1-1", first, &err), -ENOENT, missing);
	expect_error(pin_remove(missing, "1-1", &err), -ENOENT, missing);
	expect_error(owner_of(missing, &owner, &err), -ENOENT, missing);
	expect_error(pin_set(unit_dir(), "1-1", first, &err), -ENOENT,
		     unit_dir());
	expect_error(pin_set(served.path, "1-1", "", &err), -EINVAL, "''");
	expect_error(pin_set(served.path, "1-1", "main", &err), -EINVAL,
		     "'main'");
	/* Nothing that could be pruned is there. */
	expect_error(pin_set(served.path, "1-1",
			     "00000000000000000000000000000000000000aa", &err),
		     -EIO, "refs/xen-diskd/1-1");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	expect_error(pin_set(served.path, name, first, &err), -EINVAL,
		     "too long");
	expect_error(pin_remove(served.path, name, &err), -EINVAL, "too long");
	ck_assert_str_eq(pinned("1-1"), "");
}
END_TEST

/* As the hold helper is: neither root nor the owner. */
START_TEST(read_only_directory)
{
	ck_assert_int_eq(chmod(unit_dir(), 0755), 0);
	set(served.path, "1-1", first);
	ck_assert_int_eq(setgroups(0, NULL), 0);
	ck_assert_int_eq(setresgid(OTHER_ID, OTHER_ID, OTHER_ID), 0);
	ck_assert_int_eq(setresuid(OTHER_ID, OTHER_ID, OTHER_ID), 0);
	expect_error(pin_set(served.path, "1-2", first, &err), -EIO,
		     "refs/xen-diskd/1-2");
	ck_assert_ptr_nonnull(strstr(err.text, served.path));
	ck_assert_str_eq(pinned("1-2"), "");
	expect_error(pin_set(served.path, "1-1", second, &err), -EIO,
		     "refs/xen-diskd/1-1");
	expect_error(pin_remove(served.path, "1-1", &err), -EIO,
		     "refs/xen-diskd/1-1");
	ck_assert_str_eq(pinned("1-1"), first);
}
END_TEST

Suite *suite_pin(void)
{
	Suite *suite = suite_create("pin");
	TCase *tc = tcase_create("repositories");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, set_move_remove);
	tcase_add_test(tc, pins_a_tree);
	tcase_add_test(tc, refusals);
	if (geteuid() == 0) {
		tcase_add_test(tc, of_a_worktree);
		tcase_add_test(tc, of_a_group);
		tcase_add_test(tc, read_only_directory);
	} else {
		unit_skip("pin: worktree", "needs root");
		unit_skip("pin: read-only directory", "needs root");
	}
	suite_add_tcase(suite, tc);
	return suite;
}
