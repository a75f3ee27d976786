/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat/layout.h: where everything lies, what followed links lead to, and
 * what is refused, with its name.
 */
#include "git-fat/layout.h"

#include "git-fat/raw-tree.h"
#include "git-fat/repository.h"
#include "tests/unit/git-fat/repository-fixture.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ADD(tree, mode, name, id) \
	fixture_tree_add(tree, mode, name, strlen(name), id)

static struct fixture fixture;
static struct layout layout;
static struct error_text err;

static void setup(void)
{
	fixture_init(&fixture);
}

static void teardown(void)
{
	layout_fini(&layout);
	fixture_fini(&fixture);
}

static int lay_out(const git_oid *root, bool follow_links)
{
	layout_fini(&layout);
	strcpy(err.text, "no message");
	return layout_build(fixture.odb, root, follow_links, &layout, &err);
}

static void must_lay_out(const git_oid *root, bool follow_links)
{
	int rc = lay_out(root, follow_links);

	ck_assert_msg(rc == 0, "%d: %s", rc, err.text);
}

static void refused(const git_oid *root, bool follow_links, int code,
		    const char *message)
{
	int rc = lay_out(root, follow_links);

	ck_assert_msg(rc == code && strstr(err.text, message), "%d: %s", rc,
		      err.text);
}

static void refused_tree(struct fixture_tree *tree, int code,
			 const char *message)
{
	git_oid id = fixture_tree_write(&fixture, tree);

	refused(&id, false, code, message);
}

/* ---- places ----------------------------------------------------------------- */

/* What layout_find() should say of each cluster, by one walk through all. */
struct expectation {
	struct layout_extent *extents;
	uint32_t next;
};

static void expect(struct expectation *e, struct layout_extent extent)
{
	extent.first_cluster = e->next;
	for (uint32_t i = 0; i < extent.nr_clusters; i++)
		e->extents[e->next++] = extent;
}

static void expect_tree(struct expectation *e, const struct layout_tree *tree,
			uint32_t parent)
{
	const struct layout_entry *entry = &layout.entries[tree->entries];
	uint32_t start = e->next;

	expect(e,
	       (struct layout_extent){ .kind = LAYOUT_DIRECTORY,
				       .nr_clusters = tree->directory_clusters,
				       .tree = tree,
				       .parent_cluster = parent });
	for (uint32_t i = 0; i < tree->nr_files; i++, entry++) {
		ck_assert_uint_eq(start + entry->first_cluster, e->next);
		expect(e,
		       (struct layout_extent){
			       .kind = LAYOUT_FILE,
			       .nr_clusters =
				       (uint32_t)(((uint64_t)entry->size_bytes +
						   4095) /
						  4096),
			       .file = entry });
	}
	for (uint32_t i = 0; i < tree->nr_subdirectories; i++, entry++) {
		ck_assert_uint_eq(start + entry->first_cluster, e->next);
		expect_tree(e, &layout.trees[entry->tree],
			    start == 2 ? 0 : start);
	}
	ck_assert_uint_eq(e->next - start, tree->nr_clusters);
}

static bool same(const struct layout_extent *a, const struct layout_extent *b)
{
	return a->kind == b->kind && a->first_cluster == b->first_cluster &&
	       a->nr_clusters == b->nr_clusters && a->tree == b->tree &&
	       a->parent_cluster == b->parent_cluster && a->file == b->file;
}

static void check_places(void)
{
	uint32_t end = layout_end(&layout);
	struct expectation e = { .next = 2 };
	struct layout_extent found;

	e.extents = calloc(end, sizeof(*e.extents));
	expect_tree(&e, layout_root(&layout), 0);
	ck_assert_uint_eq(e.next, end);
	for (uint32_t i = 2; i < end; i++) {
		layout_find(&layout, i, &found);
		if (!same(&found, &e.extents[i]))
			ck_abort_msg("cluster %u: kind %d, %u and %u clusters",
				     i, found.kind, found.first_cluster,
				     found.nr_clusters);
	}
	for (uint32_t i = end; i < end + 3; i++) {
		layout_find(&layout, i, &found);
		ck_assert_int_eq(found.kind, LAYOUT_FREE);
		ck_assert_uint_eq(found.first_cluster, end);
		ck_assert_uint_gt(found.nr_clusters, 0x10000000);
	}
	free(e.extents);
}

START_TEST(places)
{
	static char sizes[5][13000];
	const struct fixture_file files[] = {
		{ MODE_FILE, "a-empty", "" },
		{ MODE_FILE, "b", sizes[0] },
		{ MODE_FILE, "c", sizes[1] },
		{ MODE_FILE, "d-empty", "" },
		{ MODE_FILE, "e-empty", "" },
		{ MODE_FILE, "f", sizes[2] },
		{ MODE_FILE, "sub/a", sizes[3] },
		{ MODE_FILE, "sub/empty", "" },
		{ MODE_FILE, "sub/x/y/z/only-empty", "" },
		{ MODE_FILE, "sub/x/y/z2/b", sizes[0] },
		{ MODE_GITLINK, "sub/module", NULL },
		{ MODE_FILE, "twice/x/y/z/only-empty", "" },
		{ MODE_FILE, "twice/x/y/z2/b", sizes[0] },
		{ MODE_FILE, "z/last", sizes[4] },
		{ MODE_FILE, "z/last-empty", "" },
		{ MODE_FILE, "zz-empty", "" },
	};
	static const size_t lengths[] = { 1, 4095, 4096, 4097, 12288 };
	git_oid root;

	for (size_t i = 0; i < NR_OF(lengths); i++)
		memset(sizes[i], 'x', lengths[i]);
	root = fixture_files(&fixture, files, NR_OF(files));
	must_lay_out(&root, false);
	check_places();
	ck_assert_uint_eq(layout_root(&layout)->nr_paths, 27);
	ck_assert_uint_eq(layout_root(&layout)->height, 5);
	/* "x" is one tree, twice; the root, empty, sub, twice, z are others. */
	ck_assert_uint_eq(layout.nr_trees, 9);
}
END_TEST

START_TEST(empty_root)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid id = fixture_tree_write(&fixture, &tree);

	must_lay_out(&id, _i);
	check_places();
	ck_assert_uint_eq(layout_end(&layout), 3);
	ck_assert_uint_eq(layout_root(&layout)->nr_slots, 1);
}
END_TEST

/* The sum of many: each tree is worked out once. */
START_TEST(repeated_subtrees)
{
	git_oid root = fixture_bomb(&fixture, 5, 8);

	must_lay_out(&root, false);
	ck_assert_uint_eq(layout.nr_trees, 6);
	ck_assert_uint_eq(layout.nr_entries, 40);
	ck_assert_uint_eq(layout_root(&layout)->nr_paths,
			  8 + 64 + 512 + 4096 + 32768);
	ck_assert_uint_eq(layout_root(&layout)->nr_clusters,
			  1 + 8 + 64 + 512 + 4096 + 32768);
	check_places();
	must_lay_out(&root, true);
	ck_assert_uint_eq(layout.nr_trees, 6);
}
END_TEST

/* ---- the bounds ---------------------------------------------------------------- */

static uint64_t rss_bytes_max(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_maxrss * 1024;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

START_TEST(bomb_is_refused)
{
	git_oid root = fixture_bomb(&fixture, 10, 10);
	uint64_t before = rss_bytes_max();
	double start = seconds();

	refused(&root, _i, -E2BIG, "more than 16777216 files and directories");
	ck_assert(seconds() - start < 2);
	ck_assert_uint_lt(rss_bytes_max() - before, 64 << 20);
}
END_TEST

/* As above, by clusters: each file is 4 GiB. */
START_TEST(too_many_clusters_are_refused)
{
	git_oid id = fixture_huge_blob(&fixture, UINT32_MAX);
	struct fixture_tree tree = { .bytes = NULL };

	for (unsigned int i = 0; i < 256; i++) {
		char name[8];

		sprintf(name, "%03u", i);
		ADD(&tree, "100644", name, &id);
	}
	refused_tree(&tree, -E2BIG, "'/': more than the 268435445 clusters");
}
END_TEST

START_TEST(depth_is_bounded)
{
	git_oid root = fixture_deep(&fixture, LAYOUT_DEPTH_MAX);

	must_lay_out(&root, _i);
	ck_assert_uint_eq(layout_root(&layout)->height, LAYOUT_DEPTH_MAX);
	root = fixture_deep(&fixture, LAYOUT_DEPTH_MAX + 1);
	refused(&root, _i, -E2BIG, "d/d/d/d/");
	refused(&root, _i, -E2BIG, "nested more than 256 deep");
}
END_TEST

START_TEST(depth_of_10000_is_refused)
{
	git_oid root = fixture_deep(&fixture, 10000);

	refused(&root, false, -E2BIG, "nested more than 256 deep");
	refused(&root, true, -E2BIG, "nested more than 256 deep");
}
END_TEST

/* A tree that is known already may still be too deep where it is now. */
START_TEST(depth_of_known_trees_is_bounded)
{
	git_oid deep = fixture_deep(&fixture, 200), id = deep;
	struct fixture_tree tree = { .bytes = NULL };

	for (unsigned int i = 0; i < 56; i++) {
		ADD(&tree, "40000", "b", &id);
		id = fixture_tree_write(&fixture, &tree);
	}
	ADD(&tree, "40000", "a", &deep);
	ADD(&tree, "40000", "z", &id);
	refused_tree(&tree, -E2BIG, "'z/b/b/b");
}
END_TEST

START_TEST(slots_are_bounded)
{
	git_oid id = fixture_blob(&fixture, "x");
	struct fixture_tree tree = { .bytes = NULL };
	char name[300];

	/* 21 slots each; and one that has room, or has not. */
	for (unsigned int i = 0; i < 3120; i++) {
		memset(name, 'n', 255);
		sprintf(name, "%05u", i);
		name[5] = 'n';
		name[255] = '\0';
		ADD(&tree, "100644", name, &id);
	}
	memset(name, 'z', 14 * 13);
	name[13 * (_i ? 15 : 14)] = '\0';
	if (_i)
		memset(name, 'z', 13 * 15);
	ADD(&tree, "100644", name, &id);
	if (_i) {
		refused_tree(&tree, -E2BIG, "'/': its names need 65537 slots");
	} else {
		git_oid root = fixture_tree_write(&fixture, &tree);

		must_lay_out(&root, false);
		ck_assert_uint_eq(layout_root(&layout)->nr_slots, 65536);
		ck_assert_uint_eq(layout_root(&layout)->directory_clusters,
				  512);
		check_places();
	}
}
END_TEST

START_TEST(entries_are_bounded)
{
	git_oid id = fixture_blob(&fixture, "");
	struct fixture_tree tree = { .bytes = NULL };
	char name[16];

	for (unsigned int i = 0; i < 65537; i++) {
		sprintf(name, "%05X", i);
		ADD(&tree, "100644", name, &id);
	}
	refused_tree(&tree, -E2BIG, "more than 65536 entries");
}
END_TEST

START_TEST(tree_objects_are_bounded)
{
	git_oid id = fixture_blob(&fixture, "");
	struct fixture_tree tree = { .bytes = NULL };
	char name[300];

	for (unsigned int i = 0; i < 15200; i++) {
		memset(name, 'n', 255);
		sprintf(name, "%05u", i);
		name[5] = 'n';
		name[255] = '\0';
		ADD(&tree, "100644", name, &id);
	}
	ck_assert_uint_gt(tree.nr_bytes, 4 << 20);
	id = fixture_tree_write(&fixture, &tree);
	ADD(&tree, "40000", "sub", &id);
	refused_tree(&tree, -EFBIG, "'sub': object ");
}
END_TEST

START_TEST(long_names_are_refused)
{
	git_oid id = fixture_blob(&fixture, "x");
	struct fixture_tree tree = { .bytes = NULL };
	char name[257];

	memset(name, 'n', 256);
	name[256] = '\0';
	ADD(&tree, "100644", name, &id);
	refused_tree(&tree, -ENAMETOOLONG,
		     "nnn...': a name on FAT has at most");
}
END_TEST

START_TEST(big_files_are_refused)
{
	git_oid id = fixture_huge_blob(&fixture, 5ull << 30);
	struct fixture_tree tree = { .bytes = NULL };

	ADD(&tree, "100644", "huge", &id);
	id = fixture_tree_write(&fixture, &tree);
	ADD(&tree, "40000", "in", &id);
	refused_tree(&tree, -EFBIG, "'in/huge': 5368709120 bytes are more");
}
END_TEST

START_TEST(biggest_file_is_taken)
{
	git_oid id = fixture_huge_blob(&fixture, UINT32_MAX);
	struct fixture_tree tree = { .bytes = NULL };

	ADD(&tree, "100644", "huge", &id);
	id = fixture_tree_write(&fixture, &tree);
	must_lay_out(&id, false);
	check_places();
	ck_assert_uint_eq(layout_root(&layout)->nr_clusters, 1 + (1u << 20));
}
END_TEST

/* ---- malformed and missing ------------------------------------------------------- */

static const struct {
	const char *mode, *name, *message;
} malformed[] = {
	{ "100644", "..", "'in': bad tree object: an entry named '..'" },
	{ "100644", ".", "'in': bad tree object: an entry named '.'" },
	{ "40000", ".GIT", "'in': bad tree object: an entry named '.git'" },
	{ "100644", "a/b", "'in': bad tree object: an entry with a slash" },
	{ "100644", "", "'in': bad tree object: an entry without a name" },
	{ "0100644", "a", "'in': bad tree object: an entry whose mode" },
	{ "100600", "a", "'in': bad tree object: an entry with a mode" },
	{ "100645", "a", "'in': bad tree object: an entry with a mode" },
	{ "040000", "a", "'in': bad tree object: an entry whose mode" },
	{ "", "a", "'in': bad tree object: an entry with a mode" },
	{ "1006440", "a", "'in': bad tree object: an entry with a mode" },
};

START_TEST(malformed_trees_are_refused)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid id = fixture_blob(&fixture, "x");

	ADD(&tree, malformed[_i].mode, malformed[_i].name, &id);
	id = fixture_tree_write(&fixture, &tree);
	ADD(&tree, "40000", "in", &id);
	refused_tree(&tree, -EBADMSG, malformed[_i].message);
}
END_TEST

START_TEST(cut_trees_are_refused)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid id = fixture_blob(&fixture, "x");

	ADD(&tree, "100644", "a", &id);
	tree.nr_bytes--;
	refused_tree(&tree, -EBADMSG, "'/': bad tree object: an entry that is");
}
END_TEST

START_TEST(same_names_are_refused)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid id = fixture_blob(&fixture, "x"), empty;

	empty = fixture_tree_write(&fixture, &tree);
	/* In git's order a directory is as if it ended in a slash. */
	ADD(&tree, "100644", "a", &id);
	ADD(&tree, "100644", "a.b", &id);
	ADD(&tree, "40000", "a", &empty);
	id = fixture_tree_write(&fixture, &tree);
	ADD(&tree, "40000", "in", &id);
	refused_tree(&tree, -EBADMSG, "'in/a': the tree has this name twice");
}
END_TEST

START_TEST(missing_objects_are_named)
{
	struct fixture_tree tree = { .bytes = NULL };
	const char *mode = _i ? "40000" : "100644";
	char want[128];
	git_oid id;

	memset(id.id, 0xab, sizeof(id.id));
	ADD(&tree, mode, "gone", &id);
	sprintf(want, "'in/gone': object %s is missing", git_oid_tostr_s(&id));
	id = fixture_tree_write(&fixture, &tree);
	ADD(&tree, "40000", "in", &id);
	refused_tree(&tree, -ENOENT, want);
}
END_TEST

START_TEST(other_types_are_refused)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid blob = fixture_blob(&fixture, "x");
	git_oid empty = fixture_tree_write(&fixture, &tree);

	ADD(&tree, "40000", "in", &blob);
	refused_tree(&tree, -EBADMSG, "is a blob, not a tree");
	ADD(&tree, "100644", "in", &empty);
	refused_tree(&tree, -EBADMSG, "'in': object ");
	refused(&blob, false, -EBADMSG, "'/': object ");
}
END_TEST

/* Not a byte of a name reaches a terminal. */
START_TEST(names_in_messages_are_printable)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid id;

	memset(id.id, 0xab, sizeof(id.id));
	ADD(&tree, "100644", "\x1b[31m\n\xff", &id);
	refused_tree(&tree, -ENOENT, "'\\x1b[31m\\x0a\\xff': object abab");
}
END_TEST

/* ---- links ------------------------------------------------------------------------ */

/* What is at a path: an entry and whether it is a directory. */
static const struct layout_entry *find(const char *path, bool *ret_directory)
{
	const struct layout_tree *tree = layout_root(&layout);

	for (;;) {
		size_t length = strcspn(path, "/");
		const struct layout_entry *entry = NULL;
		struct raw_tree_entry raw_entry;
		git_odb_object *object;
		uint32_t position = 0, i;
		struct raw_tree raw;
		const char *reason;
		git_oid id;

		git_oid_fromraw(&id, tree->id);
		ck_assert_int_eq(git_odb_read(&object, fixture.odb, &id), 0);
		raw_tree_init(&raw, git_odb_object_data(object),
			      git_odb_object_size(object));
		while (raw_tree_next(&raw, &raw_entry, &reason) > 0 &&
		       (raw_entry.name_bytes != length ||
			memcmp(raw_entry.name, path, length) != 0))
			position++;
		git_odb_object_free(object);
		for (i = 0; i < tree->nr_files + tree->nr_subdirectories; i++) {
			entry = &layout.entries[tree->entries + i];
			if (entry->position == position)
				break;
		}
		ck_assert_uint_lt(i, tree->nr_files + tree->nr_subdirectories);
		*ret_directory = i >= tree->nr_files;
		if (!path[length])
			return entry;
		ck_assert(*ret_directory);
		tree = &layout.trees[entry->tree];
		path += length + 1;
	}
}

static const struct {
	const char *path; /* of a link, or through one */
	const char *target;
	char kind; /* File, Directory, Module, Text */
	const char *content; /* of a file */
} links[] = {
	{ "d1/to-file", "../target", 'F', "content" },
	{ "to-file", "target", 'F', "content" },
	{ "to-file-dot", "./target", 'F', "content" },
	{ "to-file-slash", "target/", 'T', NULL },
	{ "to-file-beneath", "target/x", 'T', NULL },
	{ "to-file-dots", "target/..", 'T', NULL },
	{ "to-dir", "other", 'D', NULL },
	{ "to-dir-slash", "other/", 'D', NULL },
	{ "to-dir-slashes", ".//other//.", 'D', NULL },
	{ "chain", "to-dir", 'D', NULL },
	{ "chain2", "chain/inner/file", 'F', "inner" },
	{ "dangling", "nothing", 'T', NULL },
	{ "empty-part", "other/nothing/..", 'T', NULL },
	{ "out", "..", 'T', NULL },
	{ "out2", "../target", 'T', NULL },
	{ "out3", "other/../../target", 'T', NULL },
	{ "root", ".", 'T', NULL },
	{ "absolute", "/target", 'T', NULL },
	{ "cycle", "cycle", 'T', NULL },
	{ "cycle1", "cycle2", 'T', NULL },
	{ "cycle2", "./cycle1", 'T', NULL },
	{ "d1/around", ".", 'T', NULL },
	{ "d1/around2", "../d1", 'T', NULL },
	{ "d1/d2/around3", "../../d1", 'T', NULL },
	{ "d1/d2/sibling", "../d3", 'D', NULL },
	/* ".." is that of where the link leads, not where it stands. */
	{ "through", "to-deep/../file", 'F', "inner" },
	{ "to-deep", "other/inner/deep", 'D', NULL },
	{ "module", "submodule", 'M', NULL },
	{ "module-slash", "submodule/", 'M', NULL },
	{ "module-beneath", "submodule/x", 'T', NULL },
};

/* A chain of links, the first of which needs `nr` to be followed. */
static void add_chain(struct fixture_tree *tree, unsigned int nr)
{
	char name[16], target[16];

	for (unsigned int i = 1; i <= nr; i++) {
		git_oid id;

		sprintf(name, "link%02u", i);
		sprintf(target, "link%02u", i - 1);
		id = fixture_blob(&fixture, i == 1 ? "file" : target);
		ADD(tree, "120000", name, &id);
	}
}

static git_oid link_tree(void)
{
	struct fixture_file files[NR_OF(links) + 8] = {
		{ MODE_FILE, "target", "content" },
		{ MODE_FILE, "other/inner/file", "inner" },
		{ MODE_FILE, "other/inner/deep/x", "x" },
		{ MODE_FILE, "other/file", "other" },
		{ MODE_FILE, "d1/d3/y", "y" },
		{ MODE_GITLINK, "submodule", NULL },
	};

	for (size_t i = 0; i < NR_OF(links); i++)
		files[6 + i] = (struct fixture_file){ MODE_LINK, links[i].path,
						      links[i].target };
	return fixture_files(&fixture, files, 6 + NR_OF(links));
}

START_TEST(links_are_followed)
{
	git_oid root = link_tree();

	must_lay_out(&root, true);
	check_places();
	for (size_t i = 0; i < NR_OF(links); i++) {
		bool directory;
		const struct layout_entry *entry =
			find(links[i].path, &directory);
		char kind = directory ? 'D' : 'F';
		const char *content = links[i].content;
		git_oid id;

		if (directory && layout.trees[entry->tree].empty)
			kind = 'M';
		if (links[i].kind == 'T') {
			kind = directory ? 'D' : 'T';
			content = links[i].target;
		}
		ck_assert_msg(kind == links[i].kind, "%s: %c", links[i].path,
			      kind);
		if (!content)
			continue;
		git_odb_hash(&id, content, strlen(content), GIT_OBJECT_BLOB);
		ck_assert_msg(memcmp(entry->id, id.id, 20) == 0, "%s",
			      links[i].path);
	}
}
END_TEST

START_TEST(links_are_text_by_default)
{
	git_oid root = link_tree(), id;

	must_lay_out(&root, false);
	check_places();
	for (size_t i = 0; i < NR_OF(links); i++) {
		bool directory;
		const struct layout_entry *entry =
			find(links[i].path, &directory);

		ck_assert(!directory);
		git_odb_hash(&id, links[i].target, strlen(links[i].target),
			     GIT_OBJECT_BLOB);
		ck_assert_mem_eq(entry->id, id.id, 20);
	}
}
END_TEST

/* 40 links are followed on the way to one file, as Linux does; not 41. */
START_TEST(chains_of_links_are_bounded)
{
	git_oid file = fixture_blob(&fixture, "content"), id, root;
	struct fixture_tree tree = { .bytes = NULL };
	const struct layout_entry *entry;
	bool directory;

	ADD(&tree, "100644", "file", &file);
	add_chain(&tree, 41);
	root = fixture_tree_write(&fixture, &tree);
	must_lay_out(&root, true);
	entry = find("link40", &directory);
	ck_assert_mem_eq(entry->id, file.id, 20);
	id = fixture_blob(&fixture, "link40");
	entry = find("link41", &directory);
	ck_assert_mem_eq(entry->id, id.id, 20);
}
END_TEST

/* A link whose target has a NUL, is empty, or is longer than a path can be. */
START_TEST(targets_that_are_no_paths_are_text)
{
	static char target[5000];
	size_t lengths[] = { 0, 6, 4096, 5000 };
	struct fixture_tree tree = { .bytes = NULL };
	const struct layout_entry *entry;
	bool directory;
	git_oid id, file = fixture_blob(&fixture, "content");

	memset(target, '/', sizeof(target));
	memcpy(target, "file\0x", 6);
	id = fixture_object(&fixture, GIT_OBJECT_BLOB, target, lengths[_i]);
	ADD(&tree, "100644", "file", &file);
	ADD(&tree, "120000", "link", &id);
	file = fixture_tree_write(&fixture, &tree);
	must_lay_out(&file, true);
	entry = find("link", &directory);
	ck_assert(!directory);
	ck_assert_mem_eq(entry->id, id.id, 20);
}
END_TEST

/* One tree object in two places, and its link leads to different files. */
START_TEST(links_depend_on_the_place)
{
	static const struct fixture_file files[] = {
		{ MODE_LINK, "p/same/link", "../file" },
		{ MODE_FILE, "p/file", "of p" },
		{ MODE_LINK, "q/same/link", "../file" },
		{ MODE_FILE, "q/file", "of q" },
	};
	git_oid root = fixture_files(&fixture, files, NR_OF(files)), id;
	const struct layout_entry *entry;
	bool directory;

	must_lay_out(&root, true);
	check_places();
	id = fixture_blob(&fixture, "of p");
	entry = find("p/same/link", &directory);
	ck_assert_mem_eq(entry->id, id.id, 20);
	id = fixture_blob(&fixture, "of q");
	entry = find("q/same/link", &directory);
	ck_assert_mem_eq(entry->id, id.id, 20);
}
END_TEST

/* Links that lead in and out of one another end at the depth's bound. */
START_TEST(links_multiply_within_bounds)
{
	static const struct fixture_file files[] = {
		{ MODE_LINK, "a/x", "../b" }, { MODE_LINK, "a/y", "../c" },
		{ MODE_LINK, "b/x", "../a" }, { MODE_LINK, "b/y", "../c" },
		{ MODE_LINK, "c/x", "../a" }, { MODE_LINK, "c/y", "../b" },
	};
	git_oid root = fixture_files(&fixture, files, NR_OF(files));

	must_lay_out(&root, true);
	check_places();
}
END_TEST

/*
 * Much work behind little: a link that goes through a big tree again and
 * again.  It is the bytes read that count, not how far it had to look.
 */
START_TEST(work_for_links_is_bounded)
{
	struct fixture_tree tree = { .bytes = NULL };
	char name[300], path[4001];
	git_oid id, big, file = fixture_blob(&fixture, "x");
	double start;

	for (unsigned int i = 0; i < 700; i++)
		memcpy(path + (size_t)i * 5, "a/../", 5);
	strcpy(path + 3500, "f");
	id = fixture_blob(&fixture, path);
	big = fixture_deep(&fixture, 1);
	ADD(&tree, "40000", "a", &big);
	ADD(&tree, "100644", "f", &file);
	for (unsigned int i = 0; i < 3000; i++) {
		sprintf(name, "l%04u", i);
		ADD(&tree, "120000", name, &id);
	}
	memset(name, 'n', 255);
	name[255] = '\0';
	for (unsigned int i = 0; i < 8000; i++) {
		sprintf(name, "m%05u", i);
		name[6] = 'n';
		ADD(&tree, "100644", name, &file);
	}
	id = fixture_tree_write(&fixture, &tree);
	start = seconds();
	refused(&id, true, -E2BIG, "too many symbolic links to follow");
	ck_assert(seconds() - start < 20);
}
END_TEST

Suite *suite_layout(void)
{
	Suite *suite = suite_create("layout");
	TCase *tc = tcase_create("layout");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, places);
	tcase_add_loop_test(tc, empty_root, 0, 2);
	tcase_add_test(tc, repeated_subtrees);
	tcase_add_loop_test(tc, bomb_is_refused, 0, 2);
	tcase_add_test(tc, too_many_clusters_are_refused);
	tcase_add_loop_test(tc, depth_is_bounded, 0, 2);
	tcase_add_test(tc, depth_of_10000_is_refused);
	tcase_add_test(tc, depth_of_known_trees_is_bounded);
	tcase_add_loop_test(tc, slots_are_bounded, 0, 2);
	tcase_add_test(tc, entries_are_bounded);
	tcase_add_test(tc, tree_objects_are_bounded);
	tcase_add_test(tc, long_names_are_refused);
	tcase_add_test(tc, big_files_are_refused);
	tcase_add_test(tc, biggest_file_is_taken);
	tcase_add_loop_test(tc, malformed_trees_are_refused, 0,
			    NR_OF(malformed));
	tcase_add_test(tc, cut_trees_are_refused);
	tcase_add_test(tc, same_names_are_refused);
	tcase_add_loop_test(tc, missing_objects_are_named, 0, 2);
	tcase_add_test(tc, other_types_are_refused);
	tcase_add_test(tc, names_in_messages_are_printable);
	tcase_add_test(tc, links_are_followed);
	tcase_add_test(tc, links_are_text_by_default);
	tcase_add_test(tc, chains_of_links_are_bounded);
	tcase_add_loop_test(tc, targets_that_are_no_paths_are_text, 0, 4);
	tcase_add_test(tc, links_depend_on_the_place);
	tcase_add_test(tc, links_multiply_within_bounds);
	tcase_add_test(tc, work_for_links_is_bounded);
	suite_add_tcase(suite, tc);
	return suite;
}
