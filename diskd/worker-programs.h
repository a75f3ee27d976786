/* SPDX-License-Identifier: BSD-2-Clause */
/* Which worker serves which provider. */
#ifndef XEN_DISKD_WORKER_PROGRAMS_H
#define XEN_DISKD_WORKER_PROGRAMS_H

/*
 * What is appended to the worker's path for a provider: "" for the worker
 * itself, which also refuses the providers that nobody knows.
 */
const char *worker_program_suffix(const char *provider);

#endif
