/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection to the daemon.  The socket is non-blocking and every wait is
 * a poll(2) against a deadline, so that a daemon that hangs cannot hang us.
 */
#include "diskctl/client.h"

#include "common/cleanup.h"
#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* No event tells that a daemon has begun to listen: look this often. */
#define CONNECT_RETRY_MS 100

struct call {
	const char *socket_path;
	const struct client_patience *patience;
	struct error_text *err;
	uint64_t started_ms;
	bool notice_given;
	int fd;
};

struct buffer {
	char *data;
	size_t used;
	size_t size;
};

static int milliseconds_until(uint64_t deadline_ms)
{
	uint64_t now_ms = clock_now_ms();

	return now_ms >= deadline_ms ? 0 : (int)(deadline_ms - now_ms);
}

/* What a person can do about it, where that is known. */
static const char *unreachable_hint(int code)
{
	switch (code) {
	case -ENOENT:
	case -ECONNREFUSED:
		return " (to start it: systemctl start xen-diskd)";
	case -EACCES:
	case -EPERM:
		return " (only root may use it)";
	default:
		return "";
	}
}

static int unreachable(struct call *call, int code)
{
	return error_set(call->err, code,
			 "cannot reach xen-diskd at '%s': %s%s",
			 call->socket_path, strerror(-code),
			 unreachable_hint(code));
}

static int address_init(struct sockaddr_un *address, const char *path)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static bool connect_may_succeed_later(const struct call *call, int code)
{
	/* EAGAIN: the daemon listens, but its queue is full. */
	if (code == -EAGAIN)
		return true;
	return call->patience->await_daemon &&
	       (code == -ENOENT || code == -ECONNREFUSED);
}

static int call_connect(struct call *call)
{
	uint64_t deadline_ms = call->started_ms + call->patience->connect_ms;
	struct sockaddr_un address;
	int rc = address_init(&address, call->socket_path);

	if (rc < 0)
		return unreachable(call, rc);
	call->fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (call->fd < 0)
		return unreachable(call, -errno);
	while (connect(call->fd, (struct sockaddr *)&address, sizeof(address)) <
	       0) {
		rc = -errno;
		if (!connect_may_succeed_later(call, rc) ||
		    !milliseconds_until(deadline_ms))
			return unreachable(call, rc);
		poll(NULL, 0, CONNECT_RETRY_MS);
	}
	return 0;
}

/* The time to wake up at: the notice that is due, or the end. */
static uint64_t call_next_deadline(const struct call *call)
{
	const struct client_patience *patience = call->patience;

	if (patience->notice && !call->notice_given &&
	    patience->notice_ms < patience->answer_ms)
		return call->started_ms + patience->notice_ms;
	return call->started_ms + patience->answer_ms;
}

static int call_deadline_passed(struct call *call)
{
	uint64_t end_ms = call->started_ms + call->patience->answer_ms;

	if (!milliseconds_until(end_ms))
		return error_set(call->err, -ETIMEDOUT,
				 "no answer from xen-diskd at '%s' within %u s",
				 call->socket_path,
				 call->patience->answer_ms / 1000);
	call->notice_given = true;
	fprintf(stderr, "%s\n", call->patience->notice);
	return 0;
}

static int call_wait(struct call *call, short events)
{
	struct pollfd pollfd = { .fd = call->fd, .events = events };

	for (;;) {
		uint64_t deadline_ms = call_next_deadline(call);
		int n = poll(&pollfd, 1, milliseconds_until(deadline_ms));
		int rc = 0;

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			rc = error_set(call->err, -errno, "poll: %s",
				       strerror(errno));
		else if (n == 0)
			rc = call_deadline_passed(call);
		if (rc < 0)
			return rc;
	}
}

static int connection_lost(struct call *call, int code)
{
	return error_set(call->err, code,
			 "xen-diskd at '%s' did not answer: %s",
			 call->socket_path,
			 code == -ECONNRESET ? "it closed the connection"
					     : strerror(-code));
}

static int call_send(struct call *call, const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n;
		int rc = call_wait(call, POLLOUT);

		if (rc < 0)
			return rc;
		n = send(call->fd, data, bytes, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return connection_lost(
				call, errno == EPIPE ? -ECONNRESET : -errno);
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static int call_send_request(struct call *call, const json_t *request)
{
	cleanup_free char *text = json_dumps(request, JSON_COMPACT);
	int rc;

	if (!text)
		return error_set(call->err, -ENOMEM, "out of memory");
	/* JSON writes a newline inside a string as \n: this one is the end. */
	rc = call_send(call, text, strlen(text));
	return rc < 0 ? rc : call_send(call, "\n", 1);
}

static int buffer_make_room(struct buffer *buffer)
{
	size_t size = buffer->size ? buffer->size * 2 : 4096;
	char *data;

	if (buffer->used < buffer->size)
		return 0;
	if (buffer->size >= CLIENT_ANSWER_MAX_BYTES)
		return -EMSGSIZE;
	data = realloc(buffer->data, size);
	if (!data)
		return -ENOMEM;
	buffer->data = data;
	buffer->size = size;
	return 0;
}

/* One read into the buffer; sets ret_line_end once the line is complete. */
static int call_receive(struct call *call, struct buffer *buffer,
			char **ret_line_end)
{
	char *fresh;
	ssize_t n;
	int rc = buffer_make_room(buffer);

	if (rc == -EMSGSIZE)
		return error_set(call->err, rc,
				 "xen-diskd's answer is longer than %d MiB",
				 CLIENT_ANSWER_MAX_BYTES >> 20);
	if (rc < 0)
		return error_set(call->err, rc, "out of memory");
	rc = call_wait(call, POLLIN);
	if (rc < 0)
		return rc;
	fresh = buffer->data + buffer->used;
	n = recv(call->fd, fresh, buffer->size - buffer->used, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return connection_lost(call, n < 0 ? -errno : -ECONNRESET);
	buffer->used += (size_t)n;
	*ret_line_end = memchr(fresh, '\n', (size_t)n);
	return 0;
}

static int answer_parse(struct call *call, const char *line, size_t bytes,
			json_t **ret_answer)
{
	json_error_t json_error;
	json_t *answer =
		json_loadb(line, bytes, JSON_REJECT_DUPLICATES, &json_error);

	if (!answer)
		return error_set(call->err, -EPROTO,
				 "xen-diskd's answer is not JSON: %s",
				 json_error.text);
	if (!json_is_boolean(json_object_get(answer, "ok"))) {
		json_decref(answer);
		return error_set(call->err, -EPROTO,
				 "xen-diskd's answer has no boolean 'ok'");
	}
	*ret_answer = answer;
	return 0;
}

static int call_receive_answer(struct call *call, json_t **ret_answer)
{
	struct buffer buffer = { 0 };
	char *line_end = NULL;
	int rc = 0;

	while (!rc && !line_end)
		rc = call_receive(call, &buffer, &line_end);
	if (!rc)
		rc = answer_parse(call, buffer.data,
				  (size_t)(line_end - buffer.data), ret_answer);
	free(buffer.data);
	return rc;
}

int client_call(const char *socket_path, const struct client_patience *patience,
		const json_t *request, json_t **ret_answer,
		struct error_text *err)
{
	struct call call = {
		.socket_path = socket_path,
		.patience = patience,
		.err = err,
		.started_ms = clock_now_ms(),
		.fd = -1,
	};
	int rc = call_connect(&call);

	if (!rc)
		rc = call_send_request(&call, request);
	if (!rc)
		rc = call_receive_answer(&call, ret_answer);
	if (call.fd >= 0)
		close(call.fd);
	return rc;
}
