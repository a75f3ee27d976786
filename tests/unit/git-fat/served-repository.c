/* SPDX-License-Identifier: BSD-2-Clause */
/* A repository for unit tests. */
#include "tests/unit/git-fat/served-repository.h"

#include "git-fat/repository.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The time of every commit; 2021-03-04. */
#define COMMIT_TIME_S 1614834367

static void good(int rc)
{
	ck_assert_msg(rc == 0, "libgit2: %s",
		      rc && git_error_last() ? git_error_last()->message : "");
}

void served_open(struct served *served, const char *name)
{
	struct error_text err;

	ck_assert_int_eq(repository_library_init(false, &err), 0);
	snprintf(served->path, sizeof(served->path), "%s/%s.%d", unit_dir(),
		 name, (int)getpid());
	good(git_repository_init(&served->repository, served->path, 1));
}

void served_close(struct served *served)
{
	git_repository_free(served->repository);
	served->repository = NULL;
}

/* Every other word is random: it shrinks, and takes time to inflate. */
static void fill(uint32_t *words, size_t nr_words, unsigned int seed)
{
	uint32_t x = seed * 2654435761u + 12345;

	for (size_t i = 0; i < nr_words; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		words[i] = i % 2 ? x : seed;
	}
}

static void add_file(struct served *served, git_treebuilder *tree,
		     const char *name, size_t nr_bytes, unsigned int seed)
{
	uint32_t *words = malloc(nr_bytes + sizeof(*words));
	git_oid id;

	ck_assert_ptr_nonnull(words);
	fill(words, nr_bytes / sizeof(*words) + 1, seed);
	good(git_blob_create_from_buffer(&id, served->repository, words,
					 nr_bytes));
	free(words);
	good(git_treebuilder_insert(NULL, tree, name, &id, GIT_FILEMODE_BLOB));
}

static void add_files(struct served *served, git_treebuilder *tree,
		      unsigned int nr, size_t step_bytes, unsigned int seed)
{
	char name[32];

	for (unsigned int i = 0; i < nr; i++) {
		snprintf(name, sizeof(name), "file %u.txt", i);
		add_file(served, tree, name, i * step_bytes, seed * 100 + i);
	}
}

static void make_tree(struct served *served, unsigned int seed, git_oid *tree)
{
	git_treebuilder *root, *sub;
	git_oid id;

	good(git_treebuilder_new(&root, served->repository, NULL));
	good(git_treebuilder_new(&sub, served->repository, NULL));
	add_files(served, sub, 10, 1000, seed + 1);
	good(git_treebuilder_write(&id, sub));
	good(git_treebuilder_insert(NULL, root, "sub", &id, GIT_FILEMODE_TREE));
	add_files(served, root, SERVED_FILES, 7001, seed);
	add_file(served, root, "big", SERVED_BIG_BYTES, seed);
	good(git_treebuilder_write(tree, root));
	git_treebuilder_free(sub);
	git_treebuilder_free(root);
}

void served_commit(struct served *served, const char *branch, unsigned int seed,
		   char ret_commit[GIT_OID_HEXSZ + 1])
{
	git_reference *reference;
	git_signature *who;
	git_oid tree_id, id;
	char name[64];
	git_tree *tree;

	make_tree(served, seed, &tree_id);
	good(git_tree_lookup(&tree, served->repository, &tree_id));
	good(git_signature_new(&who, "Tester", "tester@example.org",
			       COMMIT_TIME_S, 0));
	good(git_commit_create(&id, served->repository, NULL, who, who, NULL,
			       "a test\n", tree, 0, NULL));
	snprintf(name, sizeof(name), "refs/heads/%s", branch);
	good(git_reference_create(&reference, served->repository, name, &id, 1,
				  NULL));
	git_oid_tostr(ret_commit, GIT_OID_HEXSZ + 1, &id);
	git_reference_free(reference);
	git_signature_free(who);
	git_tree_free(tree);
}

void served_lose_blob(struct served *served, const char *commit,
		      const char *file, char ret_blob[GIT_OID_HEXSZ + 1])
{
	char text[128], path[SERVED_PATH_BYTES + 64];
	git_object *blob;

	snprintf(text, sizeof(text), "%s:%s", commit, file);
	good(git_revparse_single(&blob, served->repository, text));
	git_oid_tostr(ret_blob, GIT_OID_HEXSZ + 1, git_object_id(blob));
	git_object_free(blob);
	snprintf(path, sizeof(path), "%s/objects/%.2s/%s", served->path,
		 ret_blob, ret_blob + 2);
	ck_assert_int_eq(unlink(path), 0);
}
