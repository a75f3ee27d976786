/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One I/O on its way to the server, piece by piece: at most the server's
 * maximum at a time, and whole blocks of its minimum, with a read before a
 * write that has part of a block.
 *
 * Knows nothing of connections.  The queue's thread.
 */
#ifndef XEN_DISKD_NBD_REQUEST_H
#define XEN_DISKD_NBD_REQUEST_H

#include "nbd-client/nbd-export.h"
#include "providers/provider.h"
#include "providers/rmw.h"

struct nbd_queue;
struct nbd_link;

/* The command that is to be sent, or was. */
struct nbd_command {
	enum nbd_command_type {
		NBD_COMMAND_READ,
		NBD_COMMAND_WRITE,
		NBD_COMMAND_FLUSH,
		NBD_COMMAND_TRIM,
	} type;
	uint64_t offset_bytes;
	uint32_t length_bytes;
	void *buffer;
};

struct nbd_request {
	struct list node; /* in one of the queue's lists */
	uint64_t number; /* the order in which they came */
	struct nbd_queue *queue;
	/* NULL: ours, a write of the record or a flush to make room in it. */
	struct block_io *io;
	struct nbd_command command;
	/* What of the I/O the command is for, when it is not through `rmw`. */
	uint64_t piece_bytes;
	struct rmw rmw;
	struct nbd_link *link; /* while it is sent */
	bool replied;
	int error;
	/* Of a read: the bytes that have come, and in how many parts. */
	uint64_t seen_bytes, nr_chunks;
	/* Of a flush: where the record ended when it was sent. */
	uint64_t record_end;
	/*
	 * Of a flush, which of all it is.  Of a write that waits for one: the
	 * first that was sent after its reply had come.
	 */
	uint64_t flush_number;
};

/*
 * Prepares the next command of an I/O, from what is done of it on.  A discard
 * has at least one whole unit.  -ENOMEM.
 */
int nbd_request_prepare(struct nbd_request *request,
			const struct nbd_export *export);

/*
 * The command has been done.  1: the I/O is done with it.  0: another command
 * has been prepared.  -ENOMEM.
 */
int nbd_request_advance(struct nbd_request *request,
			const struct nbd_export *export);

/* Its command was the read before a write of part of a block. */
bool nbd_request_is_merging(const struct nbd_request *request);

/* Frees the buffer, if there was need of one. */
void nbd_request_fini(struct nbd_request *request);

#endif
