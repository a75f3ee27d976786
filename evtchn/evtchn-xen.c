/* SPDX-License-Identifier: BSD-2-Clause */
/* Event channels of the hypervisor, over libxenevtchn. */
#include "evtchn/evtchn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <xenevtchn.h>

struct evtchn {
	xenevtchn_handle *xce;
};

const char *evtchn_path(void)
{
	return "/dev/xen/evtchn";
}

int evtchn_open(struct evtchn **ret_ec)
{
	struct evtchn *ec = calloc(1, sizeof(*ec));
	int flags, rc;

	if (!ec)
		return -ENOMEM;
	ec->xce = xenevtchn_open(NULL, 0);
	if (!ec->xce) {
		rc = -errno;
		goto fail;
	}
	flags = fcntl(evtchn_fd(ec), F_GETFL);
	if (flags < 0 || fcntl(evtchn_fd(ec), F_SETFL, flags | O_NONBLOCK)) {
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

int evtchn_fd(const struct evtchn *ec)
{
	return xenevtchn_fd(ec->xce);
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

int evtchn_pending(struct evtchn *ec, uint32_t *ret_port)
{
	xenevtchn_port_or_error_t port = xenevtchn_pending(ec->xce);

	if (port < 0)
		return -errno;
	*ret_port = (uint32_t)port;
	return 0;
}

int evtchn_unmask(struct evtchn *ec, uint32_t port)
{
	return xenevtchn_unmask(ec->xce, port) < 0 ? -errno : 0;
}
