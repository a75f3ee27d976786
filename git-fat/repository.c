/* SPDX-License-Identifier: BSD-2-Clause */
/* Repositories, revisions and objects, as libgit2 has them. */
#include "git-fat/repository.h"

#include "git-fat/loose-objects.h"

#include <errno.h>
#include <git2/sys/repository.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int errno_of(int git_error)
{
	switch (git_error) {
	case GIT_ENOTFOUND:
		return -ENOENT;
	case GIT_EINVALIDSPEC:
	case GIT_EAMBIGUOUS:
	case GIT_EPEEL:
		return -EINVAL;
	default:
		return -EIO;
	}
}

/* What libgit2 said last, for the end of a message; it may say nothing. */
static const char *git_cause(int git_error_code)
{
	const git_error *last = git_error_last();

	if (last && last->message)
		return last->message;
	return git_error_code == GIT_ENOTFOUND ? "not found" : "unknown error";
}

int repository_library_init(bool verify, struct error_text *err)
{
	static const int levels[] = { GIT_CONFIG_LEVEL_SYSTEM,
				      GIT_CONFIG_LEVEL_XDG,
				      GIT_CONFIG_LEVEL_GLOBAL,
				      GIT_CONFIG_LEVEL_PROGRAMDATA };
	int rc = git_libgit2_init();

	if (rc < 0)
		return error_set(err, -EIO, "libgit2: %s", git_cause(rc));
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		git_libgit2_opts(GIT_OPT_SET_SEARCH_PATH, levels[i], "");
	git_libgit2_opts(GIT_OPT_SET_OWNER_VALIDATION, 0);
	git_libgit2_opts(GIT_OPT_ENABLE_STRICT_HASH_VERIFICATION, verify);
	/* What is worth keeping is kept by object-cache.c, within a budget. */
	git_libgit2_opts(GIT_OPT_ENABLE_CACHING, 0);
	return 0;
}

/* ---- revisions ---------------------------------------------------------- */

/*
 * Forms of gitrevisions(7) that libgit2 does not know, or takes for something
 * else than git does, or that name more or less than one object.  Everything
 * else is left to libgit2.  Each of these returns why a form is refused, NULL
 * when it is not.
 */
static const char range[] = "it is a range, not one commit, tag or tree";

/* What stands in braces from `text` on. */
static bool in_braces(const char *text, const char *word)
{
	size_t length = strlen(word);

	return strncasecmp(text, word, length) == 0 && text[length] == '}';
}

static const char *refused_caret(const char *caret, bool first)
{
	if (first || (caret[1] && strchr("@!-", caret[1])))
		return range;
	if (strncmp(caret, "^{/!", 4) == 0)
		return "'^{/!' is not supported";
	if (strncmp(caret, "^{/}", 4) == 0)
		return "'^{/}' is not supported";
	if (strncmp(caret, "^{object}", 9) == 0)
		return "'^{object}' is not supported";
	return NULL;
}

static const char *refused_at(const char *at, const char *revision)
{
	bool head = at - revision == 4 && strncmp(revision, "HEAD", 4) == 0;

	if (at > revision && !at[1])
		return "libgit2 takes '@' at the end for HEAD";
	if (at[1] != '{')
		return NULL;
	if (in_braces(at + 2, "push"))
		return "'@{push}' is not supported";
	if (in_braces(at + 2, "u") || in_braces(at + 2, "upstream"))
		return at[2] == 'u' ? NULL
				    : "'@{upstream}' is written in lower case";
	/* The log of HEAD itself: libgit2 reads that of the branch. */
	return head ? "'HEAD@{...}' is not supported; '@{...}' is that of the "
		      "branch"
		    : NULL;
}

static const char *refused_path(const char *path)
{
	size_t dots = strspn(path, ".");

	if (dots && dots <= 2 && (path[dots] == '/' || !path[dots]))
		return "a path in it must start at the top of the tree";
	return NULL;
}

static const char *refused_form(const char *revision)
{
	const char *reason = NULL;

	if (!*revision)
		return "it is empty";
	if (strncmp(revision, ":/", 2) == 0)
		return revision[2] == '!' ? "':/!' is not supported" : NULL;
	if (revision[0] == ':')
		return "it names an entry of the index";
	for (const char *p = revision; *p && !reason; p++) {
		if (*p == ':')
			return refused_path(p + 1);
		if (p[0] == '.' && p[1] == '.')
			return range;
		if (*p == '^')
			reason = refused_caret(p, p == revision);
		else if (*p == '@')
			reason = refused_at(p, revision);
		/* Nothing in braces means anything. */
		if ((*p == '^' || *p == '@') && p[1] == '{')
			p += strcspn(p, "}") - (strchr(p, '}') == NULL);
	}
	return reason;
}

/* Writes out the '@' that stands for HEAD: libgit2 knows it only alone. */
static char *written_out(const char *revision)
{
	char *text = NULL;

	if (revision[0] != '@' || !revision[1] || !strchr("~^:", revision[1]))
		return strdup(revision);
	return asprintf(&text, "HEAD%s", revision + 1) < 0 ? NULL : text;
}

static int resolve_object(git_repository *repository, const char *path,
			  const char *revision, git_object **ret_object,
			  struct error_text *err)
{
	const char *form = refused_form(revision);
	char *text;
	int rc;

	if (form)
		return error_set(err, -EINVAL, "repository '%s': ref '%s': %s",
				 path, revision, form);
	text = written_out(revision);
	if (!text)
		return error_set(err, -ENOMEM, "repository '%s': no memory",
				 path);
	git_error_clear();
	rc = git_revparse_single(ret_object, repository, text);
	free(text);
	if (rc < 0)
		return error_set(err, errno_of(rc),
				 "repository '%s': ref '%s': %s", path,
				 revision, git_cause(rc));
	return 0;
}

/* The commit or tree that an object is or, a tag, leads to. */
static int peel(git_object *object, const char *path, const char *revision,
		git_object **ret_peeled, struct error_text *err)
{
	git_object_t type = git_object_type(object);
	int rc = 0;

	git_error_clear();
	if (type == GIT_OBJECT_TAG)
		rc = git_object_peel(ret_peeled, object, GIT_OBJECT_ANY);
	else
		rc = git_object_dup(ret_peeled, object);
	if (rc < 0)
		return error_set(err, errno_of(rc),
				 "repository '%s': ref '%s': %s", path,
				 revision, git_cause(rc));
	type = git_object_type(*ret_peeled);
	if (type == GIT_OBJECT_COMMIT || type == GIT_OBJECT_TREE)
		return 0;
	return error_set(err, -EINVAL,
			 "repository '%s': ref '%s': a %s, neither a commit "
			 "nor a tree",
			 path, revision, git_object_type2string(type));
}

static int descend(git_repository *repository, const char *path,
		   const char *subdirectory, git_oid *tree_id,
		   struct error_text *err)
{
	git_tree_entry *entry = NULL;
	git_tree *tree = NULL;
	int rc = git_tree_lookup(&tree, repository, tree_id);

	if (rc == 0)
		rc = git_tree_entry_bypath(&entry, tree, subdirectory);
	if (rc < 0)
		rc = error_set(err, errno_of(rc),
			       "repository '%s': path '%s': %s", path,
			       subdirectory, git_cause(rc));
	else if (git_tree_entry_type(entry) != GIT_OBJECT_TREE)
		rc = error_set(err, -ENOTDIR,
			       "repository '%s': path '%s': not a directory",
			       path, subdirectory);
	else
		git_oid_cpy(tree_id, git_tree_entry_id(entry));
	git_tree_entry_free(entry);
	git_tree_free(tree);
	return rc;
}

/* Leading and trailing slashes mean nothing: "" for the whole tree. */
static int trim_slashes(const char *subdirectory, char trimmed[PATH_MAX],
			struct error_text *err)
{
	size_t length;

	if (!subdirectory)
		subdirectory = "";
	subdirectory += strspn(subdirectory, "/");
	length = strlen(subdirectory);
	while (length && subdirectory[length - 1] == '/')
		length--;
	if (length >= PATH_MAX)
		return error_set(err, -ENAMETOOLONG, "path= is too long");
	memcpy(trimmed, subdirectory, length);
	trimmed[length] = '\0';
	return 0;
}

static int fill_tree(git_repository *repository, const char *path,
		     git_object *peeled, const char *subdirectory,
		     struct repository_tree *tree, struct error_text *err)
{
	char trimmed[PATH_MAX];
	int rc = trim_slashes(subdirectory, trimmed, err);

	if (rc < 0)
		return rc;
	git_oid_cpy(&tree->version, git_object_id(peeled));
	git_oid_cpy(&tree->tree, git_object_id(peeled));
	tree->time_s = 0;
	if (git_object_type(peeled) == GIT_OBJECT_COMMIT) {
		const git_commit *commit = (const git_commit *)peeled;

		git_oid_cpy(&tree->tree, git_commit_tree_id(commit));
		tree->time_s = git_commit_time(commit);
	}
	if (*trimmed)
		rc = descend(repository, path, trimmed, &tree->tree, err);
	if (rc < 0)
		return rc;
	if (asprintf(&tree->objects_path, "%sobjects",
		     git_repository_commondir(repository)) < 0)
		return error_set(err, -ENOMEM, "repository '%s': no memory",
				 path);
	return 0;
}

/* libgit2 names the setting that it does not know, not what that means. */
static int open_failed(const char *path, int git_error_code,
		       struct error_text *err)
{
	const char *cause = git_cause(git_error_code);

	if (strcasestr(cause, "extensions.objectformat"))
		cause = "its objects are named by SHA-256, not by SHA-1";
	return error_set(err, errno_of(git_error_code), "repository '%s': %s",
			 path, cause);
}

int repository_open(const char *path, git_repository **ret_repository,
		    struct error_text *err)
{
	int rc = git_repository_open_ext(ret_repository, path,
					 GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);

	return rc < 0 ? open_failed(path, rc, err) : 0;
}

/* Opens a repository, to read its objects as we do. */
static int open_repository(const char *path, git_repository **ret_repository,
			   struct error_text *err)
{
	git_repository *repository = NULL;
	char *objects_path = NULL;
	git_odb *odb = NULL;
	int rc = repository_open(path, &repository, err);

	if (rc < 0)
		return rc;
	if (asprintf(&objects_path, "%sobjects",
		     git_repository_commondir(repository)) < 0) {
		objects_path = NULL;
		rc = GIT_ERROR;
	}
	if (rc == 0)
		rc = loose_objects_open_odb(objects_path, &odb);
	if (rc == 0)
		rc = git_repository_set_odb(repository, odb);
	git_odb_free(odb); /* the repository has a reference of its own */
	free(objects_path);
	if (rc < 0) {
		rc = open_failed(path, rc, err);
		git_repository_free(repository);
		return rc;
	}
	*ret_repository = repository;
	return 0;
}

int repository_resolve(const char *path, const char *revision,
		       const char *subdirectory,
		       struct repository_tree *ret_tree, struct error_text *err)
{
	git_object *object = NULL, *peeled = NULL;
	git_repository *repository = NULL;
	int rc = open_repository(path, &repository, err);

	if (rc < 0)
		return rc;
	rc = resolve_object(repository, path, revision, &object, err);
	if (rc < 0)
		goto out;
	rc = peel(object, path, revision, &peeled, err);
	if (rc < 0)
		goto out;
	rc = fill_tree(repository, path, peeled, subdirectory, ret_tree, err);
out:
	git_object_free(peeled);
	git_object_free(object);
	git_repository_free(repository);
	return rc;
}

void repository_tree_fini(struct repository_tree *tree)
{
	free(tree->objects_path);
	tree->objects_path = NULL;
}

/* ---- objects ------------------------------------------------------------ */

int repository_open_objects(const char *objects_path, git_odb **ret_odb,
			    struct error_text *err)
{
	int rc = loose_objects_open_odb(objects_path, ret_odb);

	if (rc < 0)
		return error_set(err, errno_of(rc), "objects '%s': %s",
				 objects_path, git_cause(rc));
	return 0;
}

static int object_failed(const git_oid *id, int git_error,
			 struct error_text *err)
{
	char name[OBJECT_NAME_BYTES];

	git_oid_tostr(name, sizeof(name), id);
	if (git_error == GIT_ENOTFOUND)
		return error_set(err, -ENOENT, "object %s is missing", name);
	return error_set(err, errno_of(git_error), "object %s: %s", name,
			 git_cause(git_error));
}

static int check_type(const git_oid *id, git_object_t type, git_object_t want,
		      struct error_text *err)
{
	char name[OBJECT_NAME_BYTES];

	if (type == want)
		return 0;
	git_oid_tostr(name, sizeof(name), id);
	return error_set(err, -EBADMSG, "object %s is a %s, not a %s", name,
			 git_object_type2string(type),
			 git_object_type2string(want));
}

/* The size as the object's own header has it; nothing is inflated for it. */
static int object_size(git_odb *odb, const git_oid *id, git_object_t want,
		       uint64_t *ret_bytes, struct error_text *err)
{
	git_object_t type;
	size_t nr_bytes;
	int rc = git_odb_read_header(&nr_bytes, &type, odb, id);

	if (rc < 0)
		return object_failed(id, rc, err);
	rc = check_type(id, type, want, err);
	if (rc == 0)
		*ret_bytes = nr_bytes;
	return rc;
}

int repository_read(git_odb *odb, const git_oid *id, git_object_t type,
		    uint64_t max_bytes, git_odb_object **ret_object,
		    struct error_text *err)
{
	char name[OBJECT_NAME_BYTES];
	uint64_t nr_bytes;
	int rc = object_size(odb, id, type, &nr_bytes, err);

	if (rc < 0)
		return rc;
	git_oid_tostr(name, sizeof(name), id);
	if (nr_bytes > max_bytes)
		return error_set(err, -EFBIG,
				 "object %s: a %s of %llu bytes; at most %llu "
				 "are read",
				 name, git_object_type2string(type),
				 (unsigned long long)nr_bytes,
				 (unsigned long long)max_bytes);
	rc = git_odb_read(ret_object, odb, id);
	return rc < 0 ? object_failed(id, rc, err) : 0;
}

int repository_blob_size(git_odb *odb, const git_oid *id, uint64_t *ret_bytes,
			 struct error_text *err)
{
	return object_size(odb, id, GIT_OBJECT_BLOB, ret_bytes, err);
}
