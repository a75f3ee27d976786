/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The client's half of the control protocol: one JSON object on one line each
 * way over a stream socket, one request a connection.  Everything that comes
 * back is bounded, checked and treated as hostile.  Never logs.
 */
#ifndef XEN_DISKD_CLIENT_H
#define XEN_DISKD_CLIENT_H

#include "common/error-text.h"

#include <jansson.h>
#include <stdbool.h>

#define CLIENT_DEFAULT_SOCKET "/run/xen-diskd/control.sock"

/* The longest answer that is read. */
#define CLIENT_ANSWER_MAX_BYTES (16 * 1024 * 1024)

/* How long one call waits, and what it says meanwhile. */
struct client_patience {
	/* Limit for reaching the daemon. */
	unsigned int connect_ms;
	/* Limit for the complete answer, from the start of the call. */
	unsigned int answer_ms;
	/*
	 * Also wait, up to connect_ms, for a daemon that is not there yet.
	 * Otherwise only a full queue of connections is waited for.
	 */
	bool await_daemon;
	/* Written to stderr once if no answer came by notice_ms; or NULL. */
	const char *notice;
	unsigned int notice_ms;
};

/*
 * Sends the request and returns the daemon's answer in ret_answer, an object
 * with a boolean "ok" whose reference becomes the caller's.  May block up to
 * patience->answer_ms.  On failure fills err with a whole sentence and
 * returns
 *   -ETIMEDOUT  connected, but no complete answer in time
 *   -EPROTO     what came is no answer
 *   -EMSGSIZE   the answer is longer than CLIENT_ANSWER_MAX_BYTES
 *   others      the socket's own error
 */
int client_call(const char *socket_path, const struct client_patience *patience,
		const json_t *request, json_t **ret_answer,
		struct error_text *err);

#endif
