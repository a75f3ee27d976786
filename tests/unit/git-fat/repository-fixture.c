/* SPDX-License-Identifier: BSD-2-Clause */
/* Making repositories, sound ones and others. */
#include "tests/unit/git-fat/repository-fixture.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MUST(call) ck_assert_int_ge((call), 0)

void fixture_init(struct fixture *fixture)
{
	struct error_text err;

	snprintf(fixture->path, sizeof(fixture->path), "%s/repository.XXXXXX",
		 unit_dir());
	ck_assert_ptr_nonnull(mkdtemp(fixture->path));
	MUST(repository_library_init(false, &err));
	MUST(git_repository_init(&fixture->repository, fixture->path, 1));
	MUST(git_repository_odb(&fixture->odb, fixture->repository));
}

void fixture_fini(struct fixture *fixture)
{
	git_odb_free(fixture->odb);
	git_repository_free(fixture->repository);
}

/* ---- objects --------------------------------------------------------------- */

git_oid fixture_object(struct fixture *fixture, git_object_t type,
		       const void *bytes, size_t nr_bytes)
{
	git_oid id;

	MUST(git_odb_write(&id, fixture->odb, nr_bytes ? bytes : "", nr_bytes,
			   type));
	return id;
}

git_oid fixture_blob(struct fixture *fixture, const char *text)
{
	return fixture_object(fixture, GIT_OBJECT_BLOB, text, strlen(text));
}

git_oid fixture_random_blob(struct fixture *fixture, uint32_t seed,
			    size_t nr_bytes)
{
	unsigned char *bytes = malloc(nr_bytes + 1);
	git_oid id;

	for (size_t i = 0; i < nr_bytes; i++) {
		seed = seed * 1664525 + 1013904223;
		bytes[i] = (unsigned char)(seed >> 24);
	}
	id = fixture_object(fixture, GIT_OBJECT_BLOB, bytes, nr_bytes);
	free(bytes);
	return id;
}

void fixture_tree_add(struct fixture_tree *tree, const char *mode,
		      const char *name, size_t name_bytes, const git_oid *id)
{
	size_t needed = strlen(mode) + 1 + name_bytes + 1 + GIT_OID_RAWSZ;
	char *p;

	if (tree->nr_bytes + needed > tree->room) {
		tree->room = (tree->nr_bytes + needed) * 2;
		tree->bytes = realloc(tree->bytes, tree->room);
		ck_assert_ptr_nonnull(tree->bytes);
	}
	p = tree->bytes + tree->nr_bytes;
	p += sprintf(p, "%s ", mode);
	memcpy(p, name, name_bytes);
	p[name_bytes] = '\0';
	memcpy(p + name_bytes + 1, id->id, GIT_OID_RAWSZ);
	tree->nr_bytes += needed;
}

git_oid fixture_tree_write(struct fixture *fixture, struct fixture_tree *tree)
{
	git_oid id = fixture_object(fixture, GIT_OBJECT_TREE, tree->bytes,
				    tree->nr_bytes);

	free(tree->bytes);
	*tree = (struct fixture_tree){ .bytes = NULL };
	return id;
}

/* ---- trees from paths -------------------------------------------------------- */

/* A name in a directory, on its way into the tree. */
struct item {
	unsigned int mode;
	const char *name;
	size_t name_bytes;
	git_oid id;
};

static int byte_at(const struct item *item, size_t at)
{
	if (at < item->name_bytes)
		return (unsigned char)item->name[at];
	return at == item->name_bytes && item->mode == MODE_TREE ? '/' : 0;
}

static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	for (size_t i = 0;; i++) {
		int order = byte_at(x, i) - byte_at(y, i);

		if (order)
			return order;
		if (i > x->name_bytes && i > y->name_bytes)
			return 0;
	}
}

static git_oid write_files(struct fixture *fixture,
			   const struct fixture_file *files, size_t nr_files,
			   const char *prefix, size_t prefix_bytes);

static bool is_known(const struct item *items, size_t nr, const char *name,
		     size_t name_bytes)
{
	for (size_t i = 0; i < nr; i++) {
		if (items[i].name_bytes == name_bytes &&
		    memcmp(items[i].name, name, name_bytes) == 0)
			return true;
	}
	return false;
}

static void fill_item(struct fixture *fixture, const struct fixture_file *files,
		      size_t nr_files, const struct fixture_file *file,
		      size_t prefix_bytes, struct item *item)
{
	item->mode = file->mode;
	if (item->name[item->name_bytes] == '/') {
		item->mode = MODE_TREE;
		item->id = write_files(fixture, files, nr_files, file->path,
				       prefix_bytes + item->name_bytes + 1);
	} else if (file->content) {
		item->id = fixture_blob(fixture, file->content);
	} else {
		memset(item->id.id, 0x5a, GIT_OID_RAWSZ);
	}
}

static git_oid write_files(struct fixture *fixture,
			   const struct fixture_file *files, size_t nr_files,
			   const char *prefix, size_t prefix_bytes)
{
	struct item *items = calloc(nr_files + 1, sizeof(*items));
	struct fixture_tree tree = { .bytes = NULL };
	size_t nr = 0;

	for (size_t i = 0; i < nr_files; i++) {
		const char *name = files[i].path + prefix_bytes;
		size_t name_bytes;

		if (strncmp(files[i].path, prefix, prefix_bytes) != 0)
			continue;
		name_bytes = strcspn(name, "/");
		if (is_known(items, nr, name, name_bytes))
			continue;
		items[nr].name = name;
		items[nr].name_bytes = name_bytes;
		fill_item(fixture, files, nr_files, &files[i], prefix_bytes,
			  &items[nr++]);
	}
	qsort(items, nr, sizeof(*items), compare_items);
	for (size_t i = 0; i < nr; i++) {
		char mode[16];

		snprintf(mode, sizeof(mode), "%o", items[i].mode);
		fixture_tree_add(&tree, mode, items[i].name,
				 items[i].name_bytes, &items[i].id);
	}
	free(items);
	return fixture_tree_write(fixture, &tree);
}

git_oid fixture_files(struct fixture *fixture, const struct fixture_file *files,
		      size_t nr_files)
{
	return write_files(fixture, files, nr_files, "", 0);
}

git_oid fixture_commit(struct fixture *fixture, const git_oid *tree,
		       int64_t time_s)
{
	char text[512];
	git_reference *ref;
	git_oid id;
	int nr = snprintf(text, sizeof(text),
			  "tree %s\nauthor a <a> %lld +0100\n"
			  "committer c <c> %lld +0100\n\nm\n",
			  git_oid_tostr_s(tree), 1000ll, (long long)time_s);

	id = fixture_object(fixture, GIT_OBJECT_COMMIT, text, (size_t)nr);
	MUST(git_reference_create(&ref, fixture->repository, "refs/heads/main",
				  &id, 1, NULL));
	git_reference_free(ref);
	return id;
}

/* ---- hostile ones ------------------------------------------------------------ */

git_oid fixture_bomb(struct fixture *fixture, unsigned int levels,
		     unsigned int width)
{
	git_oid id = fixture_blob(fixture, "bomb");
	const char *mode = "100644";

	while (levels--) {
		struct fixture_tree tree = { .bytes = NULL };

		for (unsigned int i = 0; i < width; i++) {
			char name[16];
			int nr = snprintf(name, sizeof(name), "%05u", i);

			fixture_tree_add(&tree, mode, name, (size_t)nr, &id);
		}
		id = fixture_tree_write(fixture, &tree);
		mode = "40000";
	}
	return id;
}

git_oid fixture_deep(struct fixture *fixture, unsigned int depth)
{
	struct fixture_tree tree = { .bytes = NULL };
	git_oid id = fixture_tree_write(fixture, &tree);

	while (--depth) {
		fixture_tree_add(&tree, "40000", "d", 1, &id);
		id = fixture_tree_write(fixture, &tree);
	}
	return id;
}

static void object_path(struct fixture *fixture, const git_oid *id,
			char path[600], bool directory)
{
	const char *name = git_oid_tostr_s(id);

	snprintf(path, 600, "%s/objects/%.2s%s%s", fixture->path, name,
		 directory ? "" : "/", directory ? "" : name + 2);
}

static uint32_t adler32(const unsigned char *bytes, size_t nr_bytes)
{
	uint32_t a = 1, b = 0;

	for (size_t i = 0; i < nr_bytes; i++) {
		a = (a + bytes[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

git_oid fixture_huge_blob(struct fixture *fixture, uint64_t nr_bytes)
{
	unsigned char bytes[128] = { 0x78, 0x01, 0x01 };
	size_t nr = (size_t)snprintf((char *)bytes + 7, 64, "blob %llu",
				     (unsigned long long)nr_bytes) +
		    1 + 16;
	uint32_t sum = adler32(bytes + 7, nr);
	char path[600];
	git_oid id;
	int fd;

	/* One stored block, whose length comes with its complement. */
	bytes[3] = (unsigned char)nr;
	bytes[5] = (unsigned char)~nr;
	bytes[6] = 0xff;
	for (unsigned int i = 0; i < 4; i++)
		bytes[7 + nr + i] = (unsigned char)(sum >> (24 - 8 * i));
	memset(id.id, 0x77, GIT_OID_RAWSZ);
	object_path(fixture, &id, path, true);
	mkdir(path, 0755);
	object_path(fixture, &id, path, false);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, 11 + nr), (ssize_t)(11 + nr));
	close(fd);
	return id;
}

void fixture_remove(struct fixture *fixture, const git_oid *id)
{
	char path[600];

	object_path(fixture, id, path, false);
	ck_assert_int_eq(unlink(path), 0);
}

void fixture_git(struct fixture *fixture, const char *arguments)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "GIT_CONFIG_NOSYSTEM=1 HOME=/nonexistent "
		 "git --git-dir='%s' %s >/dev/null 2>&1",
		 fixture->path, arguments);
	ck_assert_msg(system(command) == 0, "%s", command);
}

/* ---- disks -------------------------------------------------------------------- */

struct git_disk_options fixture_options(struct fixture *fixture,
					const git_oid *id,
					char text[OBJECT_NAME_BYTES])
{
	struct git_disk_options options;

	git_disk_options_init(&options);
	git_oid_tostr(text, OBJECT_NAME_BYTES, id);
	options.repository = fixture->path;
	options.revision = text;
	return options;
}

struct git_disk *fixture_disk(const struct git_disk_options *options)
{
	struct git_disk *disk;
	struct error_text err;
	int rc = git_disk_open(options, &disk, &err);

	ck_assert_msg(rc == 0, "%d: %s", rc, err.text);
	return disk;
}
