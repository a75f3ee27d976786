/* SPDX-License-Identifier: BSD-2-Clause */
/* Workers: processes at the other end of a socket. */
#include "blkback/worker-process.h"

#include "blkback/child-process.h"
#include "common/cleanup.h"
#include "common/list.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

struct worker_process {
	struct io_loop *loop;
	struct worker_process_events events;
	struct child_process child;
	int socket_fd;
	struct io_op socket_op;
	bool reaped;
	int wait_status;
};

static void socket_arm(struct worker_process *worker)
{
	io_loop_poll(worker->loop, &worker->socket_op, worker->socket_fd,
		     POLLIN);
}

/* A worker that talks without end has this much of each turn. */
#define MESSAGES_PER_TURN 16

/* Whatever a worker has sent: to close a socket that lingers may take for ever. */
static void close_received(int fd)
{
	const struct linger off = { .l_onoff = 0 };

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
	close(fd);
}

/* Delivers what has come; false when the peer is gone, or what it said is lost. */
static bool deliver(struct worker_process *worker)
{
	for (int i = 0; i < MESSAGES_PER_TURN; i++) {
		struct worker_message message;
		int fd = -1;
		int rc = worker_message_receive(worker->socket_fd, &message,
						&fd);

		if (rc == -EAGAIN)
			return true;
		if (rc == 1)
			worker->events.message(worker->events.arg, &message,
					       &fd);
		close_received(fd);
		if (rc != 1 && rc != -EPROTO)
			return false;
	}
	return true;
}

static void worker_gone(struct worker_process *worker)
{
	if (worker->reaped && !worker->socket_op.in_flight)
		worker->events.exited(worker->events.arg, worker->wait_status);
}

static void socket_done(struct io_op *op, int result)
{
	struct worker_process *worker =
		container_of(op, struct worker_process, socket_op);

	bool goes_on;

	(void)result;
	goes_on = deliver(worker);
	/* It hangs up by its end, or if it was taken over: nobody hears it then. */
	if (worker->reaped || worker->child.forgotten)
		worker_gone(worker);
	else if (goes_on)
		socket_arm(worker);
	else
		child_process_kill(&worker->child);
}

static void on_child_exited(struct child_process *child, int wait_status)
{
	struct worker_process *worker =
		container_of(child, struct worker_process, child);

	worker->wait_status = wait_status;
	worker->reaped = true;
	if (worker->socket_op.in_flight)
		io_loop_cancel(worker->loop, &worker->socket_op);
	else
		worker_gone(worker);
}

/*
 * Our end must not be the number that the child's end gets: dup2() onto
 * itself would leave close-on-exec set.
 */
static int socket_pair(int pair[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		int fd = fcntl(pair[i], F_DUPFD_CLOEXEC, WORKER_SOCKET_FD + 1);

		close(pair[i]);
		pair[i] = fd;
	}
	if (pair[0] < 0 || pair[1] < 0 ||
	    fcntl(pair[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

static struct worker_process *
worker_new(struct io_loop *loop, const struct worker_process_events *events)
{
	struct worker_process *worker = calloc(1, sizeof(*worker));

	if (worker)
		*worker = (struct worker_process){
			.loop = loop,
			.events = *events,
			.socket_fd = -1,
			.socket_op = { .done = socket_done },
			.child = { .exited = on_child_exited },
		};
	return worker;
}

int worker_process_spawn(struct io_loop *loop, const char *program,
			 const char *label,
			 const struct worker_process_events *events,
			 struct worker_process **ret_worker)
{
	char *argv[] = { (char *)"xen-diskd-worker", (char *)"vbd",
			 (char *)(uintptr_t)label, NULL };
	struct worker_process *worker = worker_new(loop, events);
	int pair[2] = { -1, -1 };
	int rc;

	if (!worker)
		return -ENOMEM;
	rc = socket_pair(pair);
	worker->socket_fd = pair[0];
	if (!rc)
		rc = child_process_spawn(&worker->child, loop, program, argv,
					 pair[1], WORKER_SOCKET_FD);
	if (pair[1] >= 0)
		close(pair[1]);
	if (rc < 0)
		goto fail;
	socket_arm(worker);
	*ret_worker = worker;
	return 0;
fail:
	worker_process_free(worker);
	return rc;
}

/*
 * The process that listens: it has called listen(2) itself (unix(7)).  Its
 * number is not another's by now, for it is there still.
 */
static int listener(int socket_fd, pid_t *ret_pid)
{
	struct pollfd hung_up = { .fd = socket_fd };
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	int fd;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0)
		return -errno;
	fd = pidfd_open(peer.pid, 0);
	if (fd < 0)
		return -errno;
	if (poll(&hung_up, 1, 0)) {
		close(fd);
		return -ESRCH;
	}
	*ret_pid = peer.pid;
	return fd;
}

int worker_process_adopt(struct io_loop *loop, int socket_fd,
			 const struct worker_process_events *events,
			 struct worker_process **ret_worker)
{
	struct worker_process *worker = worker_new(loop, events);
	pid_t pid = 0;
	int fd;

	if (!worker) {
		close(socket_fd);
		return -ENOMEM;
	}
	worker->socket_fd = socket_fd;
	fd = listener(socket_fd, &pid);
	if (fd < 0) {
		worker_process_free(worker);
		return fd;
	}
	child_process_watch(&worker->child, loop, pid, fd);
	socket_arm(worker);
	*ret_worker = worker;
	return 0;
}

pid_t worker_process_pid(const struct worker_process *worker)
{
	return worker->child.pid;
}

int worker_process_send(struct worker_process *worker,
			const struct worker_message *message, int fd)
{
	return worker_message_send(worker->socket_fd, message, fd);
}

void worker_process_quit(struct worker_process *worker)
{
	const struct worker_message message = { .type = WORKER_QUIT };

	if (worker_message_send(worker->socket_fd, &message, -1) < 0)
		child_process_kill(&worker->child);
}

void worker_process_leave(struct worker_process *worker)
{
	/* It completes what we wait for, too. */
	shutdown(worker->socket_fd, SHUT_RDWR);
	child_process_forget(&worker->child);
}

void worker_process_kill(struct worker_process *worker)
{
	child_process_kill(&worker->child);
}

void worker_process_free(struct worker_process *worker)
{
	if (!worker)
		return;
	assert(!worker->socket_op.in_flight);
	if (worker->socket_fd >= 0)
		close(worker->socket_fd);
	free(worker);
}
