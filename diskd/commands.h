/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The commands of the control socket: what a request asks, and when it is
 * answered.  A command that has to wait (for a provider to open, for a guest
 * to let go) is looked at again whenever a vbd has changed, and at its
 * deadline.
 *
 * The protocol is described in docs/control.md.  Supervisor's thread.
 */
#ifndef XEN_DISKD_COMMANDS_H
#define XEN_DISKD_COMMANDS_H

#include "blkback/backend.h"

#include <jansson.h>

struct command;

/*
 * Starts the command that request (borrowed) asks for.  Returns its answer,
 * which the caller owns, or NULL when it has to wait; the caller then owns
 * *ret_command.
 */
json_t *command_start(struct backend *backend, const json_t *request,
		      struct command **ret_command);

/* Looks again: the answer, or NULL while there is none. */
json_t *command_poll(struct command *command);

/* Milliseconds until the deadline, 0 when it has passed, -1 for none. */
int64_t command_wait_ms(const struct command *command);

/* Answered, or its client is gone.  NULL is a no-op. */
void command_free(struct command *command);

#endif
