/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Provider specs: the URI-like text that a disk's target is given as.
 *
 *   /path                      the file provider, path taken literally
 *   NAME:PATH[?KEY=VALUE&...]  path and values percent-encoded (RFC 3986)
 *   NAME:KEY=VALUE&...         a provider without a path (null:size=1G)
 *
 * Documented for users in xen-diskd-providers(7).
 */
#ifndef XEN_DISKD_PROVIDER_SPEC_H
#define XEN_DISKD_PROVIDER_SPEC_H

#include "common/error-text.h"

#include <stdbool.h>
#include <stdint.h>

#define PROVIDER_SPEC_BYTES 4096
#define PROVIDER_SPEC_OPTIONS 16
#define PROVIDER_NAME_BYTES 16

struct provider_option {
	const char *key, *value;
	bool taken;
};

/* What the process that served the disk before has left. */
struct block_left {
	/*
	 * Its block_provider.record_fd, the caller's, or -1.  Nothing of it is
	 * to be believed.
	 */
	int record_fd;
	/* A guest uses the disk, and waits: it must not become another. */
	bool in_use;
};

/* Holds its own copy of the text; every pointer is into `text`. */
struct provider_spec {
	char name[PROVIDER_NAME_BYTES];
	const char *path; /* NULL for a provider without one */
	struct provider_option options[PROVIDER_SPEC_OPTIONS];
	unsigned int nr_options;
	/* The option share=, taken before the provider opens anything. */
	bool share;
	/* Not of the text: which block_info.version to open, or NULL. */
	const char *version;
	const struct block_left *left; /* likewise, or NULL: nothing */
	char text[PROVIDER_SPEC_BYTES];
};

/* What a guest may do with a disk in a second, on average.  0: no limit. */
struct block_limits {
	uint64_t iops; /* requests of any kind */
	uint64_t bps; /* bytes read and written */
};

/*
 * Finds the provider's name without looking at the rest.  -EINVAL and a
 * message that quotes the target when it names none.
 */
int provider_spec_name(const char *target, char name[PROVIDER_NAME_BYTES],
		       struct error_text *err);

/*
 * Takes the whole target apart; has_path says which of the two forms after
 * the colon the named provider uses.  *ret_spec is undefined on failure.
 * Errors: -EINVAL, -ENAMETOOLONG, -E2BIG (too many options), with a message.
 */
int provider_spec_parse(const char *target, bool has_path,
			struct provider_spec *ret_spec, struct error_text *err);

/* The value of an option, marked as known; NULL when it is not given. */
const char *provider_spec_option(struct provider_spec *spec, const char *key);

/* As above, for "yes" and "no": -EINVAL with a message for other values. */
int provider_spec_flag(struct provider_spec *spec, const char *key,
		       bool *ret_value, struct error_text *err);

/*
 * Sets the limit that key names ("iops" or "bps") from text: a number, or a
 * size (number.h), or 0 for none.  -EINVAL or -ERANGE with a message.
 */
int block_limits_set(struct block_limits *limits, const char *key,
		     const char *text, struct error_text *err);

/* The limits that the spec has options for. */
int provider_spec_limits(struct provider_spec *spec,
			 struct block_limits *ret_limits,
			 struct error_text *err);

/* -EINVAL and a message when an option was given that nobody asked for. */
int provider_spec_all_taken(const struct provider_spec *spec,
			    struct error_text *err);

#endif
