/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Event channels of the hypervisor, over libxenevtchn.
 *
 * Linux's driver (drivers/xen/evtchn.c) gives the port of one event for each four bytes
 * that are read from it, and unmasks the port that is written to it:
 * xenevtchn_pending() and xenevtchn_unmask() are that, as system calls.
 */
#include "evtchn/evtchn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <xenevtchn.h>

struct evtchn {
	xenevtchn_handle *xce;
	evtchn_port_t event; /* read by the kernel */
	evtchn_port_t unmask; /* and by it, too */
};

const char *evtchn_path(void)
{
	return "/dev/xen/evtchn";
}

int evtchn_open(struct evtchn **ret_ec)
{
	struct evtchn *ec = calloc(1, sizeof(*ec));
	int fd, flags, rc;

	if (!ec)
		return -ENOMEM;
	ec->xce = xenevtchn_open(NULL, 0);
	if (!ec->xce) {
		rc = -errno;
		goto fail;
	}
	fd = xenevtchn_fd(ec->xce);
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		rc = -errno;
		goto fail;
	}
	*ret_ec = ec;
	return 0;
fail:
	evtchn_close(ec);
	return rc;
}

void evtchn_close(struct evtchn *ec)
{
	if (!ec)
		return;
	if (ec->xce)
		xenevtchn_close(ec->xce);
	free(ec);
}

int evtchn_restrict(struct evtchn *ec, uint16_t domid)
{
	return xenevtchn_restrict(ec->xce, domid) < 0 ? -errno : 0;
}

int evtchn_bind(struct evtchn *ec, uint16_t domid, uint32_t remote_port,
		uint32_t *ret_port)
{
	xenevtchn_port_or_error_t port;

	port = xenevtchn_bind_interdomain(ec->xce, domid, remote_port);
	if (port < 0)
		return -errno;
	*ret_port = (uint32_t)port;
	return 0;
}

void evtchn_unbind(struct evtchn *ec, uint32_t port)
{
	xenevtchn_unbind(ec->xce, port);
}

int evtchn_notify(struct evtchn *ec, uint32_t port)
{
	return xenevtchn_notify(ec->xce, port) < 0 ? -errno : 0;
}

void evtchn_wait(struct evtchn *ec, struct io_loop *loop, struct io_op *op)
{
	io_loop_read(loop, op, xenevtchn_fd(ec->xce), &ec->event,
		     sizeof(ec->event));
}

int evtchn_take(struct evtchn *ec, int result, uint32_t *ret_port)
{
	if (result < 0)
		return result;
	if (result != sizeof(ec->event))
		return -EAGAIN;
	*ret_port = ec->event;
	return 0;
}

void evtchn_unmask(struct evtchn *ec, struct io_loop *loop, uint32_t port)
{
	ec->unmask = port;
	io_loop_write_untold(loop, xenevtchn_fd(ec->xce), &ec->unmask,
			     sizeof(ec->unmask));
}
