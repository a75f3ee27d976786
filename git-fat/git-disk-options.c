/* SPDX-License-Identifier: BSD-2-Clause */
/* The options of a disk, as text: the same in a spec and on a command line. */
#include "git-fat/git-disk.h"

#include "common/number.h"

#include <errno.h>
#include <string.h>

const char *const git_disk_option_names[] = { "ref",    "path",      "label",
					      "cache",  "partition", "symlinks",
					      "verify", NULL };

void git_disk_options_init(struct git_disk_options *options)
{
	*options = (struct git_disk_options){
		.revision = GIT_DISK_DEFAULT_REVISION,
		.label = GIT_DISK_DEFAULT_LABEL,
		.partition = true,
		.cache_bytes = GIT_DISK_DEFAULT_CACHE_BYTES,
	};
}

/* One of two words. */
static int set_choice(bool *ret, const char *key, const char *value,
		      const char *no, const char *yes, struct error_text *err)
{
	if (strcmp(value, yes) != 0 && strcmp(value, no) != 0)
		return error_set(err, -EINVAL, "%s=%s is neither '%s' nor '%s'",
				 key, value, no, yes);
	*ret = strcmp(value, yes) == 0;
	return 0;
}

int git_disk_options_set(struct git_disk_options *options, const char *key,
			 const char *value, struct error_text *err)
{
	if (strcmp(key, "ref") == 0) {
		options->revision = value;
	} else if (strcmp(key, "path") == 0) {
		options->subdirectory = value;
	} else if (strcmp(key, "label") == 0) {
		options->label = value;
	} else if (strcmp(key, "cache") == 0) {
		if (number_parse_size(value, &options->cache_bytes) < 0)
			return error_set(err, -EINVAL, "cache=%s is not a size",
					 value);
	} else if (strcmp(key, "partition") == 0) {
		return set_choice(&options->partition, key, value, "none",
				  "mbr", err);
	} else if (strcmp(key, "symlinks") == 0) {
		return set_choice(&options->follow_links, key, value, "text",
				  "follow", err);
	} else if (strcmp(key, "verify") == 0) {
		return set_choice(&options->verify, key, value, "off", "on",
				  err);
	} else {
		return error_set(err, -EINVAL, "unknown option '%s'", key);
	}
	return 0;
}
