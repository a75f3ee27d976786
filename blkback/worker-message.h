/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What supervisor and worker say to each other: one datagram a message over a
 * SOCK_SEQPACKET socket, at most one descriptor with it.  The structs travel as
 * they are: both ends are of one machine and of one build, but for a supervisor that
 * finds an earlier one's worker, or starts one that was installed later.  Of another
 * version each knows three messages, whose type and version stay where they are:
 * WORKER_HELLO tells the supervisor, WORKER_QUIT ends the worker, and
 * WORKER_DISCONNECTED says that it went well.
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

/* Of everything here, and of what it is made of. */
#ifndef WORKER_MESSAGE_VERSION
#define WORKER_MESSAGE_VERSION 5u
#endif

/*
 * The status that a worker exits with when it cannot understand the supervisor that
 * has started it, which is of another version: the same in all versions.
 */
#define WORKER_EXIT_VERSION 76

enum worker_message_type {
	/* To the worker: disconnect, close, exit. */
	WORKER_QUIT = 1,
	/*
	 * From the worker, with its struct disk_stats: it has served on without
	 * a supervisor.  RECORD with the provider's memory, and whatever else
	 * there is to know, follow.
	 */
	WORKER_HELLO = 2,
	/* From the worker: all that it took is answered, the ring let go of. */
	WORKER_DISCONNECTED = 3,
	/*
	 * To the worker.  The first message is LISTEN, with a bound socket: there
	 * the worker hears the next supervisor, should this one end while it is
	 * connected.  The end of the stream at any other time, or without that
	 * socket, means QUIT.  RECORD, either way, comes with the provider's
	 * memory: before OPEN that of the worker before.  OPEN comes with a
	 * descriptor of struct disk_stats, and CONNECT with the in-flight table.
	 */
	WORKER_LISTEN,
	WORKER_OPEN,
	WORKER_CONNECT,
	WORKER_DISCONNECT,
	WORKER_FENCE, /* open, not connected: see block_provider_fence() */
	WORKER_RESIZE,
	WORKER_LIMIT,
	WORKER_RECORD,
	/* From the worker; each failure carries its message. */
	WORKER_OPENED,
	WORKER_OPEN_FAILED,
	WORKER_CONNECTED,
	WORKER_CONNECT_FAILED, /* for now */
	WORKER_CONNECT_REFUSED, /* what it finds is not to be gone on with */
	WORKER_FENCED,
	WORKER_FENCE_FAILED,
	/* As WORKER_DISCONNECTED, but not all is answered: the table has it. */
	WORKER_ABANDONED,
	WORKER_RING_BROKEN,
	WORKER_DISK_FAILED,
	WORKER_POISONED,
	WORKER_RESIZED,
	WORKER_RESIZE_FAILED,
	WORKER_LIMITED,
};

struct worker_open {
	bool read_only;
	bool no_discard;
	bool failed; /* for good, before this worker */
	bool left; /* by the worker before; its guest waits */
	bool unfenced; /* one before may have I/O under way */
	bool sandbox; /* with walls */
	bool limited; /* to limits, whatever the target says */
	struct block_limits limits;
	uint32_t uid; /* to become within; 0: none */
	uint64_t flush_timeout_ms;
	char target[PROVIDER_SPEC_BYTES];
	/* Must be this, as it was served before; or "". */
	char version[BLOCK_VERSION_BYTES];
};

/* Bits, of which any is a truth value: the worker may have been taken over. */
struct worker_hello {
	bool disconnecting : 1;
};

struct worker_message {
	enum worker_message_type type;
	uint32_t version; /* set by worker_message_send() */
	union {
		struct worker_hello hello;
		struct worker_open open;
		struct connection_params connect;
		uint64_t disk; /* FENCE: connection_params.disk */
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
 * the caller owns, or -1.  1: received, of our version unless it is one of the three.
 * 0: the peer is gone.  -EAGAIN on an empty non-blocking socket, -EPROTO for what
 * is no message.  -EMFILE when there was no room for what came with it, which nobody
 * will send again.
 */
int worker_message_receive(int socket_fd, struct worker_message *ret_message,
			   int *ret_fd);

#endif
