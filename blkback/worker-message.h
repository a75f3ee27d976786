/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What supervisor and worker say to each other: one datagram a message over a
 * SOCK_SEQPACKET pair, at most one descriptor with it.  Both ends are of one
 * build and one machine, so the structs travel as they are.
 */
#ifndef XEN_DISKD_WORKER_MESSAGE_H
#define XEN_DISKD_WORKER_MESSAGE_H

#include "blkback/connection.h"
#include "blkback/queue.h"
#include "common/error-text.h"
#include "providers/provider.h"

#include <stdint.h>

/* The descriptor that a worker finds its end of the pair at. */
#define WORKER_SOCKET_FD 3

enum worker_message_type {
	/*
	 * To the worker.  Its first message is OPEN, with a descriptor of
	 * struct disk_stats; CONNECT comes with the in-flight table.  The end
	 * of the stream means: disconnect, close, exit.
	 */
	WORKER_OPEN = 1,
	WORKER_CONNECT,
	WORKER_DISCONNECT,
	WORKER_RESIZE,
	WORKER_LIMIT,
	/* From the worker; each failure carries its message. */
	WORKER_OPENED,
	WORKER_OPEN_FAILED,
	WORKER_CONNECTED,
	WORKER_CONNECT_FAILED,
	WORKER_DISCONNECTED,
	WORKER_RING_BROKEN,
	WORKER_DISK_FAILED,
	WORKER_RESIZED,
	WORKER_RESIZE_FAILED,
	WORKER_LIMITED,
};

struct worker_open {
	bool read_only;
	bool no_discard;
	bool failed; /* for good, before this worker */
	bool sandbox; /* with walls */
	uint32_t uid; /* to become within; 0: none */
	uint64_t flush_timeout_ms;
	char target[PROVIDER_SPEC_BYTES];
	/* Must be this, as it was served before; or "". */
	char version[BLOCK_VERSION_BYTES];
};

struct worker_message {
	enum worker_message_type type;
	union {
		struct worker_open open;
		struct connection_params connect;
		bool may_shrink; /* RESIZE */
		struct block_limits limits; /* LIMIT */
		struct block_info opened;
		uint64_t size_bytes; /* RESIZED */
		struct error_text error;
	};
};

/*
 * Sends one message, and fd with it unless that is -1 (the caller keeps its
 * own).  Any thread; blocks while the peer's buffer is full.  -EPIPE when the
 * peer is gone.
 */
int worker_message_send(int socket_fd, const struct worker_message *message,
			int fd);

/*
 * Receives one message; *ret_fd is the descriptor that came with it, which
 * the caller owns, or -1.  1: received.  0: the peer is gone.  -EAGAIN on an
 * empty non-blocking socket, -EPROTO for what is no message.
 */
int worker_message_receive(int socket_fd, struct worker_message *ret_message,
			   int *ret_fd);

#endif
