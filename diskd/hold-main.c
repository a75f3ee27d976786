/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xen-diskd-hold: keeps others from taking away what a vbd serves, and lets
 * go of it again.  A process of its own, started by the supervisor, because it
 * writes where the worker must not and becomes the owner of what it writes to.
 *
 * What there is to hold: the commit that the git provider serves.
 *
 * It is not meant to be run by hand.
 */
#include "common/log.h"
#include "git-fat/owner.h"
#include "git-fat/pin.h"
#include "git-fat/repository.h"
#include "providers/provider-spec.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct hold {
	const char *verb; /* "take" or "release" */
	const char *vbd; /* "3/51712" */
	const char *target, *version;
};

static int become(uid_t uid, gid_t gid, struct error_text *err)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return error_set(err, -errno, "become user %u, group %u: %s",
				 uid, gid, strerror(errno));
	return 0;
}

/* "3/51712" as a part of a reference's name. */
static int pin_name(const char *vbd, char *name, size_t nr_bytes,
		    struct error_text *err)
{
	char *slash;

	if ((size_t)snprintf(name, nr_bytes, "%s", vbd) >= nr_bytes)
		return error_set(err, -EINVAL, "vbd '%s': too long", vbd);
	slash = strchr(name, '/');
	if (slash)
		*slash = '-';
	return 0;
}

static int hold_git(const struct hold *hold, const struct provider_spec *spec,
		    struct error_text *err)
{
	char name[32];
	struct owner owner;
	int rc = repository_library_init(false, err);

	if (rc == 0)
		rc = pin_name(hold->vbd, name, sizeof(name), err);
	if (rc == 0)
		rc = owner_of(spec->path, &owner, err);
	if (rc == 0 && geteuid() == 0)
		rc = become(owner.uid, owner.gid, err);
	if (rc < 0)
		return rc;
	if (strcmp(hold->verb, "take") == 0)
		return pin_set(spec->path, name, hold->version, err);
	return pin_remove(spec->path, name, err);
}

static int run(const struct hold *hold, struct error_text *err)
{
	struct provider_spec spec;
	int rc = provider_spec_parse(hold->target, true, &spec, err);

	if (rc < 0)
		return rc;
	if (strcmp(spec.name, "git") != 0)
		return error_set(err, -EINVAL,
				 "provider %s: there is nothing to hold",
				 spec.name);
	return hold_git(hold, &spec, err);
}

int main(int argc, char **argv)
{
	const char *level = getenv("XEN_DISKD_LOG_LEVEL");
	enum log_level log_level = LOG_LEVEL_INFO;
	struct error_text err;
	struct hold hold;

	if (argc != 5 ||
	    (strcmp(argv[1], "take") != 0 && strcmp(argv[1], "release") != 0)) {
		fprintf(stderr, "%s: is started by xen-diskd only\n", argv[0]);
		return 2;
	}
	if (level && log_level_parse(level, &log_level) < 0)
		log_level = LOG_LEVEL_INFO;
	log_open("xen-diskd-hold", log_level);
	hold = (struct hold){ argv[1], argv[2], argv[3], argv[4] };
	if (run(&hold, &err) == 0)
		return 0;
	if (strcmp(hold.verb, "take") == 0)
		log_warning("vbd %s: %s: served without a pin: a 'git gc' may "
			    "take it away",
			    hold.vbd, err.text);
	else
		log_warning("vbd %s: %s: the pin is left", hold.vbd, err.text);
	return 1;
}
