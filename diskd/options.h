/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of xen-diskd. */
#ifndef XEN_DISKD_OPTIONS_H
#define XEN_DISKD_OPTIONS_H

#include "blkback/connection.h"
#include "common/log.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct options {
	const char *run_dir;
	char worker[PATH_MAX];
	char hold[PATH_MAX]; /* of this build; there is no option */
	enum log_level log_level;
	uint64_t flush_timeout_ms;
	bool sandbox;
	unsigned int worker_uids; /* the first; 0: none */
	struct connection_limits limits;
};

/*
 * Parses the command line.  0: go on.  1: --help or --version was printed.
 * -EINVAL: a message was printed.
 */
int options_parse(int argc, char **argv, struct options *ret_options);

#endif
