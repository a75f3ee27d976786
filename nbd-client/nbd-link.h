/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection to the server, driven by a queue's loop: connecting and
 * negotiating without blocking, libnbd's reads and writes when the socket is
 * ready, and letting go of it.  It does not come back by itself.
 *
 * Everything runs on the queue's thread.
 */
#ifndef XEN_DISKD_NBD_LINK_H
#define XEN_DISKD_NBD_LINK_H

#include "common/io-loop.h"
#include "nbd-client/nbd-connect.h"

#include <stdbool.h>

enum nbd_link_state {
	NBD_LINK_DOWN,
	NBD_LINK_CONNECTING, /* the socket */
	NBD_LINK_NEGOTIATING,
	NBD_LINK_UP,
	NBD_LINK_CLOSING, /* waits for the loop to let go of the socket */
};

struct nbd_link {
	struct io_loop *loop;
	const struct nbd_target *target;
	const struct nbd_addresses *addresses;
	enum nbd_link_state state;
	struct nbd_handle *nbd;
	/* Ours, also once the handle has one of the same socket. */
	int fd;
	unsigned int address; /* the one that is tried next */
	uint64_t address_until_ms; /* the one that was tried last */
	bool given_up; /* it has not answered */
	uint64_t deadline_ms; /* of connecting and negotiating */
	struct nbd_link_poll {
		struct nbd_link *link;
		struct io_op op;
	} in, out;
	bool cut_here; /* we gave it up: the server may not know */
	int socket_error; /* an errno: what ended it, as far as is known; or 0 */
	struct error_text error; /* why it went down, or did not come up */

	/*
	 * Anything has happened: commands have ended, the state is another.
	 * Called from the loop, never from the functions below.
	 */
	void (*changed)(struct nbd_link *link);
	void *owner; /* for whoever is called */
};

void nbd_link_init(struct nbd_link *link, struct io_loop *loop,
		   const struct nbd_target *target,
		   const struct nbd_addresses *addresses,
		   void (*changed)(struct nbd_link *link));

/*
 * Starts to connect, to be negotiated by the deadline; DOWN -> CONNECTING, or
 * it stays DOWN with an error.
 */
void nbd_link_connect(struct nbd_link *link, uint64_t deadline_ms);

/*
 * To be called now and then while it is CONNECTING: gives up an address that
 * does not answer when there is another.
 */
void nbd_link_check(struct nbd_link *link, uint64_t now_ms);

/*
 * Goes on with a handle that has negotiated; DOWN -> UP, or it stays DOWN
 * with an error.  Takes the handle over.
 */
void nbd_link_adopt(struct nbd_link *link, struct nbd_handle *nbd);

/*
 * To be called after commands were given to the handle: looks whether it is
 * still alive and waits for its socket.  False when it has died.
 */
bool nbd_link_drive(struct nbd_link *link);

/*
 * Around each command that is given to the handle: a socket tells once why it is
 * over, and a handle of that only until the next error.
 */
void nbd_link_before_send(struct nbd_link *link);
void nbd_link_after_send(struct nbd_link *link);

/*
 * Of one that is over: whether we, or our kernel, gave it up, so that the server may
 * carry out later what it was sent.  Its socket is there still: before
 * nbd_link_close().
 */
bool nbd_link_is_cut_here(struct nbd_link *link);

/*
 * Gives the handle up, whose commands then end without a callback; goes to
 * CLOSING, and DOWN later, or DOWN at once.
 */
void nbd_link_close(struct nbd_link *link);

/*
 * For the end of the loop, which is not run again: gives back the handle if it
 * is UP and has nothing in flight, for another loop to adopt, else NULL.
 */
struct nbd_handle *nbd_link_fini(struct nbd_link *link);

#endif
