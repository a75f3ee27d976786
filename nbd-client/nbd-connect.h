/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Getting to a server: resolving its name, connecting a socket, and starting
 * the negotiation on it.  Three steps of their own, so that they can happen
 * in different places.
 */
#ifndef XEN_DISKD_NBD_CONNECT_H
#define XEN_DISKD_NBD_CONNECT_H

#include "common/error-text.h"
#include "nbd-client/nbd-target.h"

#include <libnbd.h>
#include <sys/socket.h>

#define NBD_ADDRESSES_MAX 8u
/* One that does not answer is given up for the next, after this at most. */
#define NBD_ADDRESS_MS 2000u

/* Where a server may be found; addresses in the order to be tried. */
struct nbd_addresses {
	struct sockaddr_storage addresses[NBD_ADDRESSES_MAX];
	socklen_t lengths[NBD_ADDRESSES_MAX];
	unsigned int nr_addresses;
};

/*
 * Looks the host up; for a Unix socket, fills in its path.  Blocks, as long as
 * the resolver likes.  -ENOENT, -ENAMETOOLONG with a message.
 */
int nbd_resolve(const struct nbd_target *target,
		struct nbd_addresses *ret_addresses, struct error_text *err);

/*
 * When the address, about to be tried, is given up for the next (the clock of
 * clock_now_ms()): so that each of those behind it has its share of what is left
 * until the deadline, which is when the last is given up.
 */
uint64_t nbd_address_until_ms(const struct nbd_addresses *addresses,
			      unsigned int which, uint64_t deadline_ms);

/*
 * Starts to connect a socket, without blocking: writable when it is connected
 * or has failed, which nbd_socket_error() then tells.  Errors of socket(2) and
 * connect(2), without a message.
 */
int nbd_socket_start(const struct nbd_addresses *addresses, unsigned int which,
		     int *ret_fd);
/* 0, or the -errno of a connect that has failed. */
int nbd_socket_error(int fd);
/*
 * Whether an error of a connected socket means that this host has given the
 * connection up: the other may know nothing of it.
 */
bool nbd_socket_is_cut_here(int error);

/* Closed, it drops what it has not sent. */
void nbd_socket_reset(int fd);

/*
 * Makes a handle, set up for the target, and starts the negotiation over a
 * connected socket, which is the handle's from then on (also after a failure).
 * A server that is still talking at the deadline is cut off.
 * -ENOMEM, -EINVAL, -EIO with libnbd's message.
 */
int nbd_negotiate_start(const struct nbd_target *target, int fd,
			uint64_t deadline_ms, struct nbd_handle **ret_nbd,
			struct error_text *err);
/*
 * To be called once, when the handle is ready: the deadline is met.  -EINVAL,
 * with a message: the server demands block sizes that the protocol does not
 * allow, which libnbd passes over in silence.
 */
int nbd_negotiate_end(struct nbd_handle *nbd, struct error_text *err);

/*
 * All of it, for whoever may block: connects to one of the addresses and
 * negotiates within timeout_ms.  Errors, with a message that names the server
 * and its reason: -ETIMEDOUT and those of the steps.
 */
int nbd_connect_within(const struct nbd_target *target,
		       const struct nbd_addresses *addresses,
		       uint64_t timeout_ms, struct nbd_handle **ret_nbd,
		       struct error_text *err);

/*
 * Has the server flush, over a connection that nobody uses.  Blocks, but not
 * past the deadline.  -ETIMEDOUT, or -EIO with libnbd's message.
 */
int nbd_flush_within(struct nbd_handle *nbd, uint64_t deadline_ms,
		     struct error_text *err);

/*
 * Closes a handle in good order, so that the server need not find out by
 * itself: says so, and waits for its end of the connection to be closed, but
 * not past the deadline.  Blocks.  NULL is a no-op.
 */
void nbd_part(struct nbd_handle *nbd, uint64_t deadline_ms);

/* What libnbd said last on this thread, without the function that said it. */
const char *nbd_error_cause(void);

#endif
