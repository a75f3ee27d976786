/* SPDX-License-Identifier: BSD-2-Clause */
/* Pins, as references of the repository. */
#include "git-fat/pin.h"

#include "git-fat/owner.h"
#include "git-fat/repository.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PIN_NAME_BYTES 128

/* It may say nothing. */
static const char *git_cause(void)
{
	const git_error *last = git_error_last();

	return last && last->message ? last->message : "unknown error";
}

/*
 * Root writes only to what is root's, all the way: libgit2 has resolved where its
 * directories are, and nobody else can change it.
 */
static int open_repository(const char *path, git_repository **ret_repository,
			   struct error_text *err)
{
	git_repository *repository;
	struct owner owner = { 0, 0 };
	int rc = repository_open(path, &repository, err);

	if (rc < 0)
		return rc;
	if (geteuid() == 0)
		rc = owner_of_open(repository, &owner, err);
	if (rc == 0 && owner.uid != 0)
		rc = error_set(
			err, -EPERM,
			"repository '%s': user %u's: root does not write "
			"there",
			path, owner.uid);
	if (rc < 0) {
		git_repository_free(repository);
		return rc;
	}
	*ret_repository = repository;
	return 0;
}

static int reference_name(const char *name, char reference[PIN_NAME_BYTES],
			  struct error_text *err)
{
	int length =
		snprintf(reference, PIN_NAME_BYTES, "refs/xen-diskd/%s", name);

	if (length >= PIN_NAME_BYTES)
		return error_set(err, -EINVAL, "pin '%s': too long", name);
	return 0;
}

int pin_set(const char *path, const char *name, const char *object,
	    struct error_text *err)
{
	char reference_text[PIN_NAME_BYTES];
	git_reference *reference = NULL;
	git_repository *repository;
	git_oid id;
	int rc = reference_name(name, reference_text, err);

	if (rc == 0 && git_oid_fromstr(&id, object) < 0)
		rc = error_set(err, -EINVAL, "pin '%s': no object id", object);
	if (rc == 0)
		rc = open_repository(path, &repository, err);
	if (rc < 0)
		return rc;
	if (git_reference_create(&reference, repository, reference_text, &id, 1,
				 NULL) < 0)
		rc = error_set(err, -EIO, "repository '%s': %s: %s", path,
			       reference_text, git_cause());
	git_reference_free(reference);
	git_repository_free(repository);
	return rc;
}

int pin_remove(const char *path, const char *name, struct error_text *err)
{
	char reference[PIN_NAME_BYTES];
	git_repository *repository;
	git_oid ignored;
	int rc = reference_name(name, reference, err);

	if (rc == 0)
		rc = open_repository(path, &repository, err);
	if (rc < 0)
		return rc;
	/* To find out that there is none must not take the right to write. */
	rc = git_reference_name_to_id(&ignored, repository, reference);
	if (rc == 0)
		rc = git_reference_remove(repository, reference);
	if (rc < 0 && rc != GIT_ENOTFOUND)
		rc = error_set(err, -EIO, "repository '%s': %s: %s", path,
			       reference, git_cause());
	else
		rc = 0;
	git_repository_free(repository);
	return rc;
}
