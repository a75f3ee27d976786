/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Negotiation over XenStore: what a backend offers, what a frontend answers,
 * and what the backend says of the disk.  Everything in a frontend's
 * directory is written by the guest and is hostile until checked here.
 *
 * Supervisor's thread.  Source: xen/include/public/io/blkif.h.
 */
#ifndef XEN_DISKD_NEGOTIATE_H
#define XEN_DISKD_NEGOTIATE_H

#include "blkback/connection.h"
#include "common/error-text.h"
#include "providers/provider.h"
#include "xenstore-watch/xenstore.h"

#include <stdbool.h>

/* Writes the transport's limits into a backend directory. */
int negotiate_offer(struct xenstore *xs, xs_transaction_t tx,
		    const char *backend_path,
		    const struct connection_limits *limits);

/*
 * Reads back what a backend directory offers, of which the frontend may have
 * taken all, and raises the limits to it; what it does not offer, the frontend
 * does not have, whatever it says.
 */
void negotiate_honour_offer(struct xenstore *xs, const char *backend_path,
			    struct connection_limits *limits);

/*
 * Reads how to reach a frontend.  ret_params is complete but for domid and
 * resume, which are untouched.  Errors, with a message that names the node:
 * -ENOENT for one that is missing, -EINVAL or -ERANGE for a value that cannot
 * be, others from xenstored.
 */
int negotiate_read_frontend(struct xenstore *xs, const char *frontend_path,
			    const struct connection_limits *limits,
			    struct connection_params *ret_params,
			    struct error_text *err);

/* Writes the disk's size alone. */
int negotiate_publish_size(struct xenstore *xs, xs_transaction_t tx,
			   const char *backend_path,
			   const struct block_info *info);

/* Writes the disk's size, geometry and features: all before state 4. */
int negotiate_publish_disk(struct xenstore *xs, xs_transaction_t tx,
			   const char *backend_path,
			   const struct block_info *info, bool cdrom);

#endif
