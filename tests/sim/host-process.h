/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs a test host runs: where they are, starting them, and waiting
 * for their end with a deadline.
 */
#ifndef XEN_DISKD_TEST_HOST_PROCESS_H
#define XEN_DISKD_TEST_HOST_PROCESS_H

#include "tests/sim/host.h"

enum program {
	PROGRAM_DAEMON,
	PROGRAM_WORKER,
	PROGRAM_WORKER_OTHER, /* of another version than the daemon */
	PROGRAM_CTL,
	PROGRAM_SCRIPT,
	PROGRAM_PRELOAD,
	PROGRAM_LATE_SERVER,
};

/*
 * Path of a program: relative to the test's own executable in
 * build/<variant>/tests/, or as an environment variable says.
 */
const char *program_path(enum program program);

/*
 * From now on the daemon's worker program is what a link names: the worker, or, by
 * worker_link_to(), another (NULL: the worker again).  Before the daemon starts, in
 * a process that ends with the test; worker_link_remove() when the daemon has ended.
 */
void worker_link_make(void);
void worker_link_to(const char *program);
void worker_link_remove(void);

/*
 * Starts argv in the host's environment, with stdout and stderr appended to
 * dir/log_name.  It dies with the test.
 */
pid_t process_start(struct host *h, const char *log_name, const char *preload,
		    const char *const argv[]);

/* Waits: true and the wait status, or false at the deadline. */
bool process_wait(pid_t pid, unsigned int timeout_ms, int *ret_status);

/*
 * Waits until this process has no children left but xenstored and the test's
 * server: those orphaned by a dead daemon come to us.  Kills and counts what
 * stays.
 */
unsigned int process_reap_strays(const struct host *h, unsigned int timeout_ms);

#endif
