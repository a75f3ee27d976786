/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker seen from the supervisor: spawning it, its messages, its end.
 * Everything runs on the supervisor's thread and loop.
 */
#ifndef XEN_DISKD_WORKER_PROCESS_H
#define XEN_DISKD_WORKER_PROCESS_H

#include "blkback/worker-message.h"
#include "common/io-loop.h"

#include <sys/types.h>

struct worker_process;

struct worker_process_events {
	/*
	 * message is valid during the call.  *fd is the descriptor that came
	 * with it, or -1; the callee may keep it, setting *fd to -1.
	 */
	void (*message)(void *arg, struct worker_message *message, int *fd);
	/*
	 * The process has ended (wait_status as from waitpid(2), or
	 * CHILD_STATUS_UNKNOWN for one that was adopted) and all its messages
	 * were delivered; or it was left.  The callee frees it, here or later.
	 */
	void (*exited)(void *arg, int wait_status);
	void *arg;
};

/*
 * Starts `program` as a worker.  label, "1/51728", shows in its command line.
 * The caller owns *ret_worker until events.exited.  Errors: those of
 * posix_spawn(3) and of running out of descriptors.
 */
int worker_process_spawn(struct io_loop *loop, const char *program,
			 const char *label,
			 const struct worker_process_events *events,
			 struct worker_process **ret_worker);

/*
 * Takes an earlier supervisor's worker over, which listens at the other end of
 * socket_fd; that descriptor is this one's from then on, also when it fails.
 * The worker says WORKER_HELLO when it has noticed.  -ESRCH when it is ending.
 */
int worker_process_adopt(struct io_loop *loop, int socket_fd,
			 const struct worker_process_events *events,
			 struct worker_process **ret_worker);

pid_t worker_process_pid(const struct worker_process *worker);

/*
 * Sends a message; fd (or -1) stays the caller's.  Never blocks: -EAGAIN for a
 * worker that reads nothing, -EPIPE for one that is gone or asked to quit.
 */
int worker_process_send(struct worker_process *worker,
			const struct worker_message *message, int fd);

/* The worker finishes its I/O, unmaps and exits; one that cannot hear is killed. */
void worker_process_quit(struct worker_process *worker);

/* The worker goes on without us, if it is connected; events.exited, soon. */
void worker_process_leave(struct worker_process *worker);

/* Ends it where it is.  Only for one that holds nothing of a guest's. */
void worker_process_kill(struct worker_process *worker);

/* Only after events.exited.  NULL is a no-op. */
void worker_process_free(struct worker_process *worker);

#endif
