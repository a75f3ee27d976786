/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The data path of an NBD disk: requests, the connections that they go over,
 * and what happens when those are lost.
 *
 * A request is `ready` until it is sent and `sent` until its reply has come.
 * When a connection is lost, all are given up; everything sent is ready again,
 * in its old place.  When they are back, and the export is still the same, the
 * writes of the dirty record go out first, then a flush's time comes again.
 */
#ifndef XEN_DISKD_NBD_QUEUE_H
#define XEN_DISKD_NBD_QUEUE_H

#include "nbd-client/dirty-record.h"
#include "nbd-client/nbd-export.h"
#include "nbd-client/nbd-fence.h"
#include "nbd-client/nbd-link.h"
#include "providers/provider.h"

/* What is the same for all queues of a provider, and outlives them. */
struct nbd_disk {
	const struct nbd_target *target;
	struct nbd_addresses addresses;
	struct nbd_export export;
	struct dirty_record *dirty; /* NULL: nothing is remembered */
	bool inherited; /* and not been sent by us yet */
	char server[NBD_PATH_BYTES]; /* for messages */
	/* A connection that nobody uses at the moment, or NULL. */
	struct nbd_handle *spare;
	/* Around what queues, this one or those before, have sent. */
	struct nbd_fence fence;
	/* Set for ever, with its cause, when the server is another disk. */
	bool failed;
};

/* As block_provider_ops has them. */
int nbd_queue_open(struct block_provider *provider, struct nbd_disk *disk,
		   struct io_loop *loop, struct block_queue **ret_queue);
void nbd_queue_close(struct block_queue *queue);
void nbd_queue_abandon(struct block_queue *queue);
void nbd_queue_submit(struct block_queue *queue, struct block_io *io);

#endif
