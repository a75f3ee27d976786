/* SPDX-License-Identifier: BSD-2-Clause */
/* Resolving, connecting, negotiating. */
#include "nbd-client/nbd-connect.h"

#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVER_BYTES (NBD_PATH_BYTES)
/* Of libnbd's, in one negotiation: some hundreds are usual. */
#define STEPS_MAX 20000u
/* Not a service of any host: getaddrinfo(3) fails before it asks anybody. */
#define NO_SERVICE "xen-diskd/none"

/* ---- resolving ------------------------------------------------------ */

static int resolve_unix(const struct nbd_target *target,
			struct nbd_addresses *addresses, struct error_text *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(target->socket) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG,
				 "socket '%s': a Unix socket's path has at "
				 "most %zu bytes",
				 target->socket, sizeof(address.sun_path) - 1);
	strcpy(address.sun_path, target->socket);
	memcpy(&addresses->addresses[0], &address, sizeof(address));
	addresses->lengths[0] = sizeof(address);
	addresses->nr_addresses = 1;
	return 0;
}

int nbd_resolve(const struct nbd_target *target,
		struct nbd_addresses *ret_addresses, struct error_text *err)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *found;
	int rc;

	ret_addresses->nr_addresses = 0;
	if (target->is_unix)
		return resolve_unix(target, ret_addresses, err);
	rc = getaddrinfo(target->host, target->port, &hints, &found);
	if (rc)
		return error_set(err, -ENOENT, "host '%s': %s", target->host,
				 gai_strerror(rc));
	for (struct addrinfo *it = found;
	     it && ret_addresses->nr_addresses < NBD_ADDRESSES_MAX;
	     it = it->ai_next) {
		unsigned int i = ret_addresses->nr_addresses++;

		memcpy(&ret_addresses->addresses[i], it->ai_addr,
		       it->ai_addrlen);
		ret_addresses->lengths[i] = it->ai_addrlen;
	}
	freeaddrinfo(found);
	return 0;
}

/* ---- connecting ----------------------------------------------------- */

/*
 * A peer that has vanished is found out by the kernel within 30 s while nothing
 * is asked of it (while something is, it is reply-timeout= that ends it), and
 * small requests do not wait for the acknowledgement of the last.  Where a
 * socket does not have these options it has no need of them.
 */
static void set_options(int fd)
{
	const int on = 1, idle_s = 10, interval_s = 5, probes = 4;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s,
		   sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int nbd_socket_start(const struct nbd_addresses *addresses, unsigned int which,
		     int *ret_fd)
{
	const struct sockaddr *address =
		(const struct sockaddr *)&addresses->addresses[which];
	int fd = socket(address->sa_family,
			SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc = 0;

	if (fd < 0)
		return -errno;
	set_options(fd);
	if (connect(fd, address, addresses->lengths[which]) < 0 &&
	    errno != EINPROGRESS)
		rc = -errno;
	if (rc < 0)
		close(fd);
	else
		*ret_fd = fd;
	return rc;
}

int nbd_socket_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return -error;
}

void nbd_socket_reset(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

bool nbd_socket_is_cut_here(int error)
{
	return error == ETIMEDOUT || error == EHOSTUNREACH ||
	       error == ENETUNREACH || error == EHOSTDOWN || error == ENETDOWN;
}

/* ---- negotiating ---------------------------------------------------- */

const char *nbd_error_cause(void)
{
	const char *text = nbd_get_error();
	const char *colon = text ? strstr(text, ": ") : NULL;

	return colon ? colon + 2 : text ? text : "unknown error";
}

static int nbd_failed(struct error_text *err)
{
	int error = nbd_get_errno();

	return error_set(err, error ? -error : -EIO, "%s", nbd_error_cause());
}

/*
 * Makes libnbd check the certificate against the host's name, though the
 * socket is ours.  It takes the name with an order to connect, and keeps it
 * when that fails; the handle is as new then.
 */
static int set_tls_host(struct nbd_handle *nbd, const char *host)
{
#if LIBNBD_HAVE_NBD_SET_TLS_HOSTNAME
	return nbd_set_tls_hostname(nbd, host);
#else
	if (nbd_aio_connect_tcp(nbd, host, NO_SERVICE) == 0)
		return -1;
	return nbd_aio_is_created(nbd) > 0 ? 0 : -1;
#endif
}

static int set_tls(const struct nbd_target *target, struct nbd_handle *nbd)
{
	if (nbd_set_tls(nbd, LIBNBD_TLS_REQUIRE) < 0 ||
	    nbd_set_tls_verify_peer(nbd, target->tls_verify_peer) < 0)
		return -EINVAL;
	if (target->tls_certificates[0] &&
	    nbd_set_tls_certificates(nbd, target->tls_certificates) < 0)
		return -EINVAL;
	if (target->tls_psk_file[0] &&
	    nbd_set_tls_psk_file(nbd, target->tls_psk_file) < 0)
		return -EINVAL;
	if (target->tls_username[0] &&
	    nbd_set_tls_username(nbd, target->tls_username) < 0)
		return -EINVAL;
	/* A Unix socket's certificate has no name to go by. */
	if (!target->is_unix && set_tls_host(nbd, target->host) < 0)
		return -EINVAL;
	return 0;
}

/* What libnbd tells nobody but whoever debugs it; the handle's private data. */
struct negotiation {
	int fd;
	uint64_t deadline_ms;
	unsigned int nr_steps;
	/* The last block sizes that the server has told. */
	char block_sizes[80];
	/* libnbd does as if the server had told none. */
	bool ignored_block_sizes;
};

static void note_block_sizes(struct negotiation *negotiation,
			     const char *message)
{
	static const char told[] = "server block size constraints: ";

	if (strncmp(message, told, strlen(told)) == 0)
		snprintf(negotiation->block_sizes,
			 sizeof(negotiation->block_sizes), "%s",
			 message + strlen(told));
	else if (strstr(message, "ignoring improper server size constraints"))
		negotiation->ignored_block_sizes = true;
}

/*
 * Called by libnbd at each of its steps.  A server that floods us with options
 * would keep it from returning.
 */
static int on_step(void *arg, const char *context, const char *message)
{
	struct negotiation *negotiation = arg;

	(void)context;
	note_block_sizes(negotiation, message);
	if (++negotiation->nr_steps > STEPS_MAX ||
	    clock_now_ms() >= negotiation->deadline_ms)
		shutdown(negotiation->fd, SHUT_RDWR);
	return 0;
}

static void free_negotiation(void *arg)
{
	struct negotiation *negotiation = arg;

	close(negotiation->fd);
	free(negotiation);
}

static int watch_steps(struct nbd_handle *nbd, int fd, uint64_t deadline_ms)
{
	struct negotiation *negotiation = calloc(1, sizeof(*negotiation));

	if (!negotiation)
		return -ENOMEM;
	negotiation->deadline_ms = deadline_ms;
	/* One of our own: libnbd may close its own any time. */
	negotiation->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (negotiation->fd < 0) {
		free(negotiation);
		return -errno;
	}
	if (nbd_set_debug_callback(nbd, (nbd_debug_callback){
						.callback = on_step,
						.user_data = negotiation,
						.free = free_negotiation,
					}) < 0)
		return -EINVAL;
	nbd_set_private_data(nbd, (uintptr_t)negotiation);
	return nbd_set_debug(nbd, true);
}

int nbd_negotiate_end(struct nbd_handle *nbd, struct error_text *err)
{
	const struct negotiation *negotiation =
		(const struct negotiation *)nbd_set_private_data(nbd, 0);
	int rc = 0;

	if (negotiation->ignored_block_sizes)
		rc = error_set(err, -EINVAL,
			       "the server demands block sizes that cannot be "
			       "served (%s)",
			       negotiation->block_sizes);
	nbd_set_debug(nbd, false);
	nbd_clear_debug_callback(nbd); /* frees it */
	return rc;
}

static int set_up(const struct nbd_target *target, struct nbd_handle *nbd)
{
	/* Whether a read brought all its bytes is counted by the request. */
	if (nbd_set_export_name(nbd, target->export_name) < 0 ||
	    nbd_set_full_info(nbd, true) < 0 ||
	    nbd_set_pread_initialize(nbd, false) < 0)
		return -EINVAL;
	if (!target->tls)
		return 0;
	return set_tls(target, nbd);
}

int nbd_negotiate_start(const struct nbd_target *target, int fd,
			uint64_t deadline_ms, struct nbd_handle **ret_nbd,
			struct error_text *err)
{
	struct nbd_handle *nbd = nbd_create();
	int rc = 0;

	if (!nbd || set_up(target, nbd) < 0 ||
	    watch_steps(nbd, fd, deadline_ms) < 0) {
		rc = nbd_failed(err);
		close(fd);
	} else if (nbd_aio_connect_socket(nbd, fd) < 0) {
		rc = nbd_failed(err); /* it has closed the socket */
	}
	if (rc < 0)
		nbd_close(nbd);
	else
		*ret_nbd = nbd;
	return rc;
}

/* ---- the blocking way ----------------------------------------------- */

static int poll_fd(int fd, short *events, uint64_t deadline_ms)
{
	struct pollfd pfd = { .fd = fd, .events = *events };
	uint64_t now;
	int rc;

	do {
		now = clock_now_ms();
		rc = poll(&pfd, 1,
			  now < deadline_ms ? (int)(deadline_ms - now) : 0);
	} while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	*events = pfd.revents;
	return rc == 0 ? -ETIMEDOUT : 0;
}

uint64_t nbd_address_until_ms(const struct nbd_addresses *addresses,
			      unsigned int which, uint64_t deadline_ms)
{
	uint64_t now_ms = clock_now_ms();
	unsigned int nr_left = addresses->nr_addresses - which;
	uint64_t ms;

	if (nr_left == 1 || now_ms >= deadline_ms)
		return deadline_ms;
	ms = (deadline_ms - now_ms) / nr_left;
	return now_ms + (ms < NBD_ADDRESS_MS ? ms : NBD_ADDRESS_MS);
}

static int connect_one(const struct nbd_addresses *addresses,
		       unsigned int which, uint64_t deadline_ms, int *ret_fd)
{
	short events = POLLOUT;
	int fd, rc = nbd_socket_start(addresses, which, &fd);

	if (rc < 0)
		return rc;
	rc = poll_fd(fd, &events, deadline_ms);
	if (rc == 0)
		rc = nbd_socket_error(fd);
	if (rc < 0)
		close(fd);
	else
		*ret_fd = fd;
	return rc;
}

static int connect_any(const struct nbd_addresses *addresses,
		       uint64_t deadline_ms, int *ret_fd,
		       struct error_text *err)
{
	int rc = -ENOENT;

	for (unsigned int i = 0; i < addresses->nr_addresses; i++) {
		rc = connect_one(addresses, i,
				 nbd_address_until_ms(addresses, i,
						      deadline_ms),
				 ret_fd);
		if (rc == 0)
			return 0;
	}
	return error_set(err, rc, "connect: %s", strerror(-rc));
}

/* Whatever the socket is ready for.  -EPROTO: see nbd_get_error(). */
static int step(struct nbd_handle *nbd, uint64_t deadline_ms)
{
	unsigned int direction = nbd_aio_get_direction(nbd);
	short events = 0;
	int rc;

	/* A server that always sends is ready at any time. */
	if (clock_now_ms() >= deadline_ms)
		return -ETIMEDOUT;
	if (direction & LIBNBD_AIO_DIRECTION_READ)
		events |= POLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		events |= POLLOUT;
	rc = poll_fd(nbd_aio_get_fd(nbd), &events, deadline_ms);
	if (rc < 0)
		return rc;
	if (direction & LIBNBD_AIO_DIRECTION_READ &&
	    (events & POLLIN || !(events & POLLOUT)))
		rc = nbd_aio_notify_read(nbd);
	else
		rc = nbd_aio_notify_write(nbd);
	return rc < 0 ? -EPROTO : 0;
}

static int negotiate_within(struct nbd_handle *nbd, uint64_t deadline_ms,
			    struct error_text *err)
{
	int rc = 0;

	while (rc == 0 && (nbd_aio_is_connecting(nbd) > 0 ||
			   nbd_aio_is_negotiating(nbd) > 0))
		rc = step(nbd, deadline_ms);
	/* Cut off at the deadline, it looks like the server's doing. */
	if (rc < 0 && clock_now_ms() >= deadline_ms)
		rc = -ETIMEDOUT;
	if (rc == -EPROTO || (rc == 0 && nbd_aio_is_ready(nbd) <= 0))
		return nbd_failed(err);
	if (rc < 0)
		return error_set(err, rc, "negotiate: %s", strerror(-rc));
	return nbd_negotiate_end(nbd, err);
}

int nbd_connect_within(const struct nbd_target *target,
		       const struct nbd_addresses *addresses,
		       uint64_t timeout_ms, struct nbd_handle **ret_nbd,
		       struct error_text *err)
{
	uint64_t deadline_ms = clock_now_ms() + timeout_ms;
	struct nbd_handle *nbd = NULL;
	char server[SERVER_BYTES];
	struct error_text cause;
	int fd = -1, rc;

	rc = connect_any(addresses, deadline_ms, &fd, &cause);
	if (rc == 0)
		rc = nbd_negotiate_start(target, fd, deadline_ms, &nbd, &cause);
	if (rc == 0)
		rc = negotiate_within(nbd, deadline_ms, &cause);
	if (rc < 0) {
		nbd_close(nbd);
		nbd_target_server(target, server, sizeof(server));
		return error_set(err, rc, "nbd server '%.200s': %s", server,
				 cause.text);
	}
	*ret_nbd = nbd;
	return 0;
}

/* ---- the end -------------------------------------------------------- */

int nbd_flush_within(struct nbd_handle *nbd, uint64_t deadline_ms,
		     struct error_text *err)
{
	int64_t cookie = nbd_aio_flush(nbd, NBD_NULL_COMPLETION, 0);
	int rc = 0, done = cookie < 0 ? -1 : 0;

	while (rc == 0 && done == 0) {
		done = nbd_aio_command_completed(nbd, (uint64_t)cookie);
		if (done == 0)
			rc = step(nbd, deadline_ms);
	}
	if (done > 0)
		return 0;
	if (done < 0 || rc == -EPROTO)
		return error_set(err, -EIO, "%s", nbd_error_cause());
	return error_set(err, rc, "%s", strerror(-rc));
}

static bool is_over(struct nbd_handle *nbd)
{
	return nbd_aio_is_closed(nbd) > 0 || nbd_aio_is_dead(nbd) > 0;
}

void nbd_part(struct nbd_handle *nbd, uint64_t deadline_ms)
{
	int rc = 0;

	if (!nbd)
		return;
	if (nbd_aio_is_ready(nbd) > 0 || nbd_aio_is_processing(nbd) > 0)
		rc = nbd_aio_disconnect(nbd, 0);
	while (rc == 0 && !is_over(nbd))
		rc = step(nbd, deadline_ms);
	nbd_close(nbd);
}
