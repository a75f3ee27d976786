/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients of the control socket: lines in, lines out. */
#include "diskd/control.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "diskd/commands.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* A request holds a target, each byte of which JSON may write as six. */
#define REQUEST_BYTES_MAX 32768u
#define CLIENTS_MAX 256u

struct control {
	struct backend *backend;
	struct io_loop *loop;
	int lock_fd, listen_fd;
	struct io_op accept_op, timer_op;
	struct list clients;
	unsigned int nr_clients;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

struct client {
	struct list node;
	struct control *control;
	int fd;
	struct io_op op; /* always in flight but inside client_done */
	bool gone;
	struct command *command;
	char in[REQUEST_BYTES_MAX];
	size_t in_used;
	char *out;
	size_t out_used, out_sent;
};

/* ---- one client ------------------------------------------------------- */

static void client_free(struct client *client)
{
	list_del(&client->node);
	client->control->nr_clients--;
	command_free(client->command);
	close(client->fd);
	free(client->out);
	free(client);
}

static void client_write(struct client *client)
{
	while (client->out) {
		ssize_t n = send(client->fd, client->out + client->out_sent,
				 client->out_used - client->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0) {
			client->gone = errno != EAGAIN && errno != EINTR;
			return;
		}
		client->out_sent += (size_t)n;
		if (client->out_sent < client->out_used)
			continue;
		free(client->out);
		client->out = NULL;
	}
}

/* Takes the answer over and starts to send it. */
static void client_answer(struct client *client, json_t *answer)
{
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

	json_decref(answer);
	command_free(client->command);
	client->command = NULL;
	if (!text) {
		client->gone = true;
		return;
	}
	client->out_used = strlen(text);
	client->out_sent = 0;
	text[client->out_used++] = '\n'; /* over the terminator */
	client->out = text;
	client_write(client);
}

static void client_request(struct client *client, const char *line, size_t len)
{
	json_error_t error;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);
	json_t *answer;

	if (!request) {
		client_answer(client,
			      json_pack("{s:b, s:s}", "ok", 0, "error",
					"the request is not a JSON object"));
		return;
	}
	answer = command_start(client->control->backend, request,
			       &client->command);
	json_decref(request);
	if (answer)
		client_answer(client, answer);
}

/* Serves the lines that have come, one command at a time. */
static void client_serve(struct client *client)
{
	if (!client->command && !client->out && !client->gone) {
		char *end = memchr(client->in, '\n', client->in_used);
		size_t len = end ? (size_t)(end - client->in) : 0;

		if (!end) {
			if (client->in_used == sizeof(client->in))
				client->gone = true; /* no line is so long */
			return;
		}
		client_request(client, client->in, len);
		client->in_used -= len + 1;
		memmove(client->in, end + 1, client->in_used);
	}
}

static void client_read(struct client *client)
{
	size_t room = sizeof(client->in) - client->in_used;
	ssize_t n;

	if (!room)
		return; /* nothing more until its answer has been sent */
	n = recv(client->fd, client->in + client->in_used, room, MSG_DONTWAIT);
	if (n > 0)
		client->in_used += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		client->gone = true;
}

static void client_arm(struct client *client)
{
	short events = POLLRDHUP;

	if (client->in_used < sizeof(client->in))
		events |= POLLIN;
	/* A line that waits: at once, but after everybody else's turn. */
	if (client->out ||
	    (!client->command && memchr(client->in, '\n', client->in_used)))
		events |= POLLOUT;
	io_loop_poll(client->control->loop, &client->op, client->fd, events);
}

static void timer_arm(struct control *control);

static void client_done(struct io_op *op, int result)
{
	struct client *client = container_of(op, struct client, op);

	/* With no room to read ahead its end is seen by the poll only. */
	if (result > 0 && client->in_used == sizeof(client->in) &&
	    result & (POLLRDHUP | POLLHUP | POLLERR))
		client->gone = true;
	/* A result below 0 is a cancel, to arm it anew. */
	if (client->out && !client->gone)
		client_write(client);
	if (!client->gone)
		client_read(client);
	if (!client->gone)
		client_serve(client);
	if (client->gone) {
		client_free(client);
		return;
	}
	client_arm(client);
	timer_arm(client->control);
}

/* ---- deadlines ---------------------------------------------------------- */

static void timer_done(struct io_op *op, int result)
{
	struct control *control = container_of(op, struct control, timer_op);

	(void)result;
	control_poll(control);
	timer_arm(control);
}

/* The soonest deadline of all commands that wait, or -1. */
static int64_t next_deadline(const struct control *control)
{
	int64_t soonest = -1;

	list_for_each_safe(it, tmp, &control->clients) {
		const struct client *client =
			container_of(it, struct client, node);
		int64_t wait =
			client->command ? command_wait_ms(client->command) : -1;

		if (wait >= 0 && (soonest < 0 || wait < soonest))
			soonest = wait;
	}
	return soonest;
}

/* Armed once: a later, sooner deadline waits for it, 1 s at most. */
#define TIMER_MAX_MS 1000

static void timer_arm(struct control *control)
{
	int64_t wait = next_deadline(control);

	if (control->timer_op.in_flight || wait < 0)
		return;
	control->timer_op.done = timer_done;
	io_loop_timeout(control->loop, &control->timer_op,
			wait > TIMER_MAX_MS ? TIMER_MAX_MS : (uint64_t)wait);
}

void control_poll(struct control *control)
{
	list_for_each_safe(it, tmp, &control->clients) {
		struct client *client = container_of(it, struct client, node);
		json_t *answer;

		if (!client->command || client->gone)
			continue;
		answer = command_poll(client->command);
		if (!answer)
			continue;
		client_answer(client, answer);
		client_serve(client); /* requests that came behind it */
		/* Its poll is armed without POLLOUT, or it is gone. */
		if (client->out || client->gone || client->in_used)
			io_loop_cancel(control->loop, &client->op);
	}
}

/* ---- the socket --------------------------------------------------------- */

static void accept_arm(struct control *control);

/* Root's, or ours: the mode of the socket and its directory may be changed. */
static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static void accept_client(struct control *control, int fd)
{
	struct client *client;

	if (control->nr_clients == CLIENTS_MAX || !may_ask(fd)) {
		close(fd);
		return;
	}
	client = calloc(1, sizeof(*client));
	if (!client) {
		close(fd);
		return;
	}
	client->control = control;
	client->fd = fd;
	client->op.done = client_done;
	list_add_tail(&control->clients, &client->node);
	control->nr_clients++;
	client_arm(client);
}

static void accept_done(struct io_op *op, int result)
{
	struct control *control = container_of(op, struct control, accept_op);
	int fd;

	(void)result;
	while ((fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >=
	       0)
		accept_client(control, fd);
	/* Out of descriptors, the socket stays readable: do not spin. */
	if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
	    errno == ENOBUFS)
		io_loop_timeout(control->loop, &control->accept_op, 100);
	else
		accept_arm(control);
}

static void accept_arm(struct control *control)
{
	control->accept_op.done = accept_done;
	io_loop_poll(control->loop, &control->accept_op, control->listen_fd,
		     POLLIN);
}

/*
 * One daemon a directory.  The lock ends with the process that holds it; the
 * socket itself would not do, as the kernel lets one that an io_uring waits
 * for accept connections for a while after its process has died.
 */
static int open_lock(const char *path)
{
	char lock_path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int fd;

	snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
	fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int rc = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static int open_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, rc = 0;
	mode_t mask;

	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	/* The mode must be right from the first instant on. */
	mask = umask(0177);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 64) < 0)
		rc = -errno;
	umask(mask);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int control_listen(struct backend *backend, struct io_loop *loop,
		   const char *path, struct control **ret_control,
		   struct error_text *err)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return error_set(err, -ENOMEM, "control socket: no memory");
	control->backend = backend;
	control->loop = loop;
	list_init(&control->clients);
	control->lock_fd = strlen(path) < sizeof(control->path)
				   ? open_lock(path)
				   : -ENAMETOOLONG;
	control->listen_fd =
		control->lock_fd < 0 ? control->lock_fd : open_socket(path);
	if (control->listen_fd < 0) {
		int rc = control->listen_fd;

		if (control->lock_fd >= 0)
			close(control->lock_fd);
		free(control);
		if (rc == -EADDRINUSE)
			return error_set(err, rc,
					 "listen at '%s': another "
					 "xen-diskd is there",
					 path);
		return error_set(err, rc, "listen at '%s': %s", path,
				 strerror(-rc));
	}
	strcpy(control->path, path);
	accept_arm(control);
	*ret_control = control;
	return 0;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	list_for_each_safe(it, tmp, &control->clients)
		client_free(container_of(it, struct client, node));
	unlink(control->path);
	close(control->listen_fd);
	close(control->lock_fd);
	free(control);
}
