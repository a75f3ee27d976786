/* SPDX-License-Identifier: BSD-2-Clause */
/* Which worker serves which provider, and what it can do. */
#ifndef XEN_DISKD_WORKER_PROGRAMS_H
#define XEN_DISKD_WORKER_PROGRAMS_H

#include "blkback/backend.h"

/*
 * The worker of a provider; for those that nobody knows the first, which
 * refuses them.
 */
const struct worker_program *worker_program_find(const char *provider);

#endif
