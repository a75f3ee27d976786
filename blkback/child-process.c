/* SPDX-License-Identifier: BSD-2-Clause */
/* Child processes: posix_spawn and a pidfd. */
#include "blkback/child-process.h"

#include "common/list.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* The pidfd is readable: a child is a zombie, and only ours. */
static int reap(const struct child_process *child)
{
	siginfo_t info;

	if (child->forgotten ||
	    waitid(P_PIDFD, (id_t)child->pid_fd, &info, WEXITED) < 0)
		return CHILD_STATUS_UNKNOWN;
	return info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0)
					  : W_EXITCODE(0, info.si_status);
}

static void exit_done(struct io_op *op, int result)
{
	struct child_process *child =
		container_of(op, struct child_process, exit_op);

	(void)result;
	child->wait_status = reap(child);
	close(child->pid_fd);
	child->pid_fd = -1;
	/* What it is embedded in must stay until the timer is ours again. */
	if (child->deadline_op.in_flight)
		io_loop_cancel(child->loop, &child->deadline_op);
	else
		child->exited(child, child->wait_status);
}

static void deadline_done(struct io_op *op, int result)
{
	struct child_process *child =
		container_of(op, struct child_process, deadline_op);

	(void)result;
	if (child->pid_fd < 0) {
		child->exited(child, child->wait_status);
		return;
	}
	child->timed_out = true;
	child_process_kill(child);
}

/* The child starts with no signal blocked or ignored but SIGPIPE's default. */
static int spawn(const char *program, char *const argv[], int fd, int as_fd,
		 pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	if (fd >= 0)
		posix_spawn_file_actions_adddup2(&actions, fd, as_fd);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	rc = -posix_spawn(ret_pid, program, &actions, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

void child_process_watch(struct child_process *child, struct io_loop *loop,
			 pid_t pid, int pid_fd)
{
	child->pid = pid;
	child->pid_fd = pid_fd;
	child->loop = loop;
	child->timed_out = child->forgotten = false;
	child->exit_op.done = exit_done;
	io_loop_poll(loop, &child->exit_op, child->pid_fd, POLLIN);
}

void child_process_forget(struct child_process *child)
{
	child->forgotten = true;
	if (child->pid_fd >= 0)
		io_loop_cancel(child->loop, &child->exit_op);
}

int child_process_spawn(struct child_process *child, struct io_loop *loop,
			const char *program, char *const argv[], int fd,
			int as_fd)
{
	pid_t pid;
	int rc = spawn(program, argv, fd, as_fd, &pid);
	int pid_fd;

	if (rc < 0)
		return rc;
	pid_fd = pidfd_open(pid, 0);
	if (pid_fd < 0) {
		rc = -errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return rc;
	}
	child_process_watch(child, loop, pid, pid_fd);
	return 0;
}

void child_process_limit(struct child_process *child, uint64_t deadline_ms)
{
	child->deadline_op.done = deadline_done;
	io_loop_timeout(child->loop, &child->deadline_op, deadline_ms);
}

void child_process_kill(struct child_process *child)
{
	if (child->pid_fd >= 0)
		pidfd_send_signal(child->pid_fd, SIGKILL, NULL, 0);
}
