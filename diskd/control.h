/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: a Unix stream socket, mode 0600, on which each line is
 * one JSON object and each request gets one line back.
 *
 * Supervisor's thread.
 */
#ifndef XEN_DISKD_CONTROL_H
#define XEN_DISKD_CONTROL_H

#include "blkback/backend.h"
#include "common/error-text.h"
#include "common/io-loop.h"

struct control;

/*
 * Listens at path, locking path.lock.  A socket left behind by a daemon that
 * is gone is replaced; -EADDRINUSE when another holds the lock.
 */
int control_listen(struct backend *backend, struct io_loop *loop,
		   const char *path, struct control **ret_control,
		   struct error_text *err);

/* Looks again at every command that waits. */
void control_poll(struct control *control);

/* Closes everything and removes the socket.  NULL is a no-op. */
void control_free(struct control *control);

#endif
