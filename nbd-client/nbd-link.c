/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection on the loop. */
#include "nbd-client/nbd-link.h"

#include "common/clock.h"
#include "common/list.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void arm(struct nbd_link_poll *poll, short events)
{
	if (!poll->op.in_flight)
		io_loop_poll(poll->link->loop, &poll->op, poll->link->fd,
			     events);
}

/* Waits for what the handle waits for. */
static void arm_for_handle(struct nbd_link *link)
{
	unsigned int direction = nbd_aio_get_direction(link->nbd);

	if (direction & LIBNBD_AIO_DIRECTION_READ)
		arm(&link->in, POLLIN);
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		arm(&link->out, POLLOUT);
}

/*
 * The loop may hold the socket for a while yet, and so may a fence: the server
 * is told by a shutdown that there is no more to come.
 */
static void let_go(struct nbd_link *link)
{
	nbd_close(link->nbd);
	link->nbd = NULL;
	if (link->fd >= 0) {
		/* What has not left this host yet does not leave it any more. */
		if (link->cut_here)
			nbd_socket_reset(link->fd);
		shutdown(link->fd, SHUT_WR);
		close(link->fd);
	}
	link->fd = -1;
}

static void settle(struct nbd_link *link)
{
	if (!link->in.op.in_flight && !link->out.op.in_flight)
		link->state = NBD_LINK_DOWN;
}

static void stop(struct nbd_link *link)
{
	if (link->state == NBD_LINK_DOWN || link->state == NBD_LINK_CLOSING)
		return;
	link->state = NBD_LINK_CLOSING;
	io_loop_cancel(link->loop, &link->in.op);
	io_loop_cancel(link->loop, &link->out.op);
	nbd_close(link->nbd);
	link->nbd = NULL;
	settle(link);
}

void nbd_link_close(struct nbd_link *link)
{
	stop(link);
	let_go(link);
}

/* The socket stays, for a fence to be put around it, until it is closed. */
static void fail(struct nbd_link *link, const char *cause)
{
	error_set(&link->error, -EIO, "%s", cause);
	stop(link);
}

/* The states of the handle that mean that it is over. */
static bool handle_is_over(struct nbd_handle *nbd)
{
	return nbd_aio_is_dead(nbd) > 0 || nbd_aio_is_closed(nbd) > 0;
}

/* libnbd's last error may be of something else, and TLS keeps it to itself. */
static void note_handle_error(struct nbd_link *link)
{
	int error = nbd_get_errno();

	if (link->socket_error)
		return;
	if (nbd_aio_is_closed(link->nbd) > 0)
		link->socket_error = ECONNRESET;
	else if (nbd_socket_is_cut_here(error) || error == ECONNRESET ||
		 error == EPIPE)
		link->socket_error = error;
}

/*
 * Before libnbd, or TLS below it, takes the error away.  Replies that have come
 * before it are not taken: what they are of is sent again.
 */
static void note_socket_error(struct nbd_link *link)
{
	struct pollfd over = { .fd = link->fd };

	/* Without POLLERR it is a trouble on the way, which TCP may get over. */
	if (!link->socket_error && link->fd >= 0 && poll(&over, 1, 0) == 1 &&
	    over.revents & POLLERR)
		link->socket_error = -nbd_socket_error(link->fd);
}

void nbd_link_before_send(struct nbd_link *link)
{
	if (link->target->tls)
		note_socket_error(link);
}

void nbd_link_after_send(struct nbd_link *link)
{
	if (nbd_aio_is_dead(link->nbd) > 0)
		note_handle_error(link);
}

/*
 * It is over, and who has been told why has kept it to himself: the server may be as
 * innocent as not.
 */
static bool is_over_untold(int fd)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
	       info.tcpi_state == TCP_CLOSE;
}

bool nbd_link_is_cut_here(struct nbd_link *link)
{
	note_socket_error(link);
	if (link->socket_error)
		link->cut_here |= nbd_socket_is_cut_here(link->socket_error);
	else if (link->fd >= 0)
		link->cut_here |= is_over_untold(link->fd);
	return link->cut_here;
}

static void fail_as_handle(struct nbd_link *link)
{
	note_handle_error(link);
	/* An orderly end is no error to libnbd: its last one is older. */
	fail(link, nbd_aio_is_closed(link->nbd) > 0
			   ? "the server has closed the connection"
			   : nbd_error_cause());
}

bool nbd_link_drive(struct nbd_link *link)
{
	if (!link->nbd)
		return false;
	if (handle_is_over(link->nbd)) {
		fail_as_handle(link);
		return false;
	}
	if (link->state == NBD_LINK_NEGOTIATING &&
	    nbd_aio_is_ready(link->nbd) > 0) {
		if (nbd_negotiate_end(link->nbd, &link->error) < 0) {
			nbd_link_close(link);
			return false;
		}
		link->state = NBD_LINK_UP;
	}
	arm_for_handle(link);
	return true;
}

/* ---- connecting ----------------------------------------------------- */

/* On a connected socket; the handle gets a descriptor of its own. */
static int start_negotiating(struct nbd_link *link)
{
	int fd = fcntl(link->fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return error_set(&link->error, -errno, "dup: %s",
				 strerror(errno));
	return nbd_negotiate_start(link->target, fd, link->deadline_ms,
				   &link->nbd, &link->error);
}

static void negotiate(struct nbd_link *link)
{
	if (start_negotiating(link) < 0) {
		nbd_link_close(link);
		return;
	}
	link->state = NBD_LINK_NEGOTIATING;
	nbd_link_drive(link);
}

/* Tries addresses until one takes the first step; rc is of the last. */
static void connect_next(struct nbd_link *link, int rc)
{
	while (link->address < link->addresses->nr_addresses) {
		link->address_until_ms = nbd_address_until_ms(
			link->addresses, link->address, link->deadline_ms);
		rc = nbd_socket_start(link->addresses, link->address++,
				      &link->fd);
		if (rc == 0) {
			link->state = NBD_LINK_CONNECTING;
			link->given_up = false;
			arm(&link->out, POLLOUT);
			return;
		}
	}
	link->fd = -1;
	link->state = NBD_LINK_DOWN;
	error_set(&link->error, rc, "connect: %s", strerror(-rc));
}

static void connected(struct nbd_link *link)
{
	int rc = link->given_up ? -ETIMEDOUT : nbd_socket_error(link->fd);

	if (rc == 0) {
		negotiate(link);
		return;
	}
	close(link->fd);
	connect_next(link, rc);
}

void nbd_link_connect(struct nbd_link *link, uint64_t deadline_ms)
{
	link->address = 0;
	link->cut_here = false;
	link->socket_error = 0;
	link->deadline_ms = deadline_ms;
	connect_next(link, -ENOENT);
}

void nbd_link_check(struct nbd_link *link, uint64_t now_ms)
{
	if (link->state != NBD_LINK_CONNECTING || link->given_up ||
	    link->address == link->addresses->nr_addresses ||
	    now_ms < link->address_until_ms)
		return;
	/* The socket is ready then. */
	link->given_up = true;
	shutdown(link->fd, SHUT_RDWR);
}

void nbd_link_adopt(struct nbd_link *link, struct nbd_handle *nbd)
{
	int fd = nbd_aio_get_fd(nbd);

	link->nbd = nbd;
	link->state = NBD_LINK_UP;
	link->cut_here = false;
	link->socket_error = 0;
	/* It may have died meanwhile, and have none any more. */
	link->fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (link->fd < 0)
		fail(link, "the connection has been lost");
	else
		nbd_link_drive(link);
}

/* ---- the loop's calls ----------------------------------------------- */

static bool handle_wants(const struct nbd_link *link, unsigned int direction)
{
	return nbd_aio_get_direction(link->nbd) & direction;
}

/* The end of the stream is for the loop to find. */
static bool is_readable(const struct nbd_link *link)
{
	char byte;

	return recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/*
 * A call takes one reply at most, and the next is often there already: to look
 * for it is cheaper than to go through the loop.  As many as are owed at most.
 * A handle that is to read and finds nothing sends nothing either until it has,
 * so it is not asked to in vain.
 */
static void take_replies(struct nbd_link *link)
{
	int owed, left = nbd_aio_in_flight(link->nbd);

	do {
		owed = left;
		if (!handle_wants(link, LIBNBD_AIO_DIRECTION_READ))
			return;
		nbd_aio_notify_read(link->nbd);
		left = nbd_aio_in_flight(link->nbd);
	} while (left > 0 && left < owed && is_readable(link));
}

static void notify(struct nbd_link *link, bool readable)
{
	/* An error shows as the handle's state. */
	if (readable)
		take_replies(link);
	else if (handle_wants(link, LIBNBD_AIO_DIRECTION_WRITE))
		nbd_aio_notify_write(link->nbd);
	nbd_link_drive(link);
}

/* events: of poll(2), or a -errno. */
static void poll_done(struct nbd_link_poll *poll, int events, bool readable)
{
	struct nbd_link *link = poll->link;

	if (link->nbd && link->state != NBD_LINK_CLOSING && events > 0 &&
	    events & POLLERR)
		note_socket_error(link);
	if (link->state == NBD_LINK_CLOSING) {
		settle(link);
	} else if (link->state == NBD_LINK_CONNECTING) {
		connected(link);
	} else if (link->socket_error) {
		fail(link, strerror(link->socket_error));
	} else if (link->nbd) {
		notify(link, readable);
	}
	link->changed(link);
}

static void in_done(struct io_op *op, int result)
{
	poll_done(container_of(op, struct nbd_link_poll, op), result, true);
}

static void out_done(struct io_op *op, int result)
{
	poll_done(container_of(op, struct nbd_link_poll, op), result, false);
}

void nbd_link_init(struct nbd_link *link, struct io_loop *loop,
		   const struct nbd_target *target,
		   const struct nbd_addresses *addresses,
		   void (*changed)(struct nbd_link *link))
{
	*link = (struct nbd_link){
		.loop = loop,
		.target = target,
		.addresses = addresses,
		.state = NBD_LINK_DOWN,
		.fd = -1,
		.in = { .link = link, .op.done = in_done },
		.out = { .link = link, .op.done = out_done },
		.changed = changed,
	};
}

struct nbd_handle *nbd_link_fini(struct nbd_link *link)
{
	struct nbd_handle *nbd = NULL;

	if (link->state == NBD_LINK_UP && nbd_aio_in_flight(link->nbd) == 0) {
		nbd = link->nbd;
		link->nbd = NULL;
		close(link->fd);
		link->fd = -1;
	}
	let_go(link);
	link->state = NBD_LINK_DOWN;
	return nbd;
}
