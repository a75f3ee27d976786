/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A child process of the supervisor: starting it, and its end.  Everything
 * runs on the supervisor's thread and loop.
 */
#ifndef XEN_DISKD_CHILD_PROCESS_H
#define XEN_DISKD_CHILD_PROCESS_H

#include "common/io-loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Embedded in whatever the child is for. */
struct child_process {
	pid_t pid;
	int pid_fd; /* -1: it has ended */
	struct io_loop *loop;
	struct io_op exit_op;
	struct io_op deadline_op;
	bool forgotten; /* its end is no matter of ours any more */
	bool timed_out; /* killed at its deadline */
	int wait_status;
	/*
	 * The process has ended; wait_status is as from waitpid(2), or
	 * CHILD_STATUS_UNKNOWN.  The callee may free what the child is embedded
	 * in.
	 */
	void (*exited)(struct child_process *child, int wait_status);
};

/* Of a process that is not our child, or that was forgotten. */
#define CHILD_STATUS_UNKNOWN (-1)

/*
 * Starts `program`, with no signal blocked or ignored and, if fd is not -1,
 * that descriptor as number as_fd.  The caller has set `exited`, which is
 * called once if this succeeds.  Errors: those of posix_spawn(3) and
 * pidfd_open(2).
 */
int child_process_spawn(struct child_process *child, struct io_loop *loop,
			const char *program, char *const argv[], int fd,
			int as_fd);

/* Watches a process that another has started; the pidfd is ours from then on. */
void child_process_watch(struct child_process *child, struct io_loop *loop,
			 pid_t pid, int pid_fd);

/* Lets it go on without us: ->exited, soon, with CHILD_STATUS_UNKNOWN. */
void child_process_forget(struct child_process *child);

/* Kills it unless it has ended by then.  At most once for each process. */
void child_process_limit(struct child_process *child, uint64_t deadline_ms);

/* SIGKILL, if it has not ended yet. */
void child_process_kill(struct child_process *child);

#endif
