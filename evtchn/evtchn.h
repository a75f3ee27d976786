/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Event channels: one handle, the interdomain ports bound through it.  Events are
 * waited for, and asked for again, in an io_loop, with whatever else its turn does:
 * neither is a system call of its own.
 *
 * The implementation is chosen by which object is linked: evtchn-xen.c over
 * libxenevtchn, or tests/sim/evtchn-sim.c over eventfd.  A handle and its
 * ports belong to one thread at a time; no function here is safe to call on
 * the same handle from two threads.  Nothing here logs.
 *
 * Source: xen/include/public/event_channel.h, xenevtchn.h.
 */
#ifndef XEN_DISKD_EVTCHN_H
#define XEN_DISKD_EVTCHN_H

#include "common/io-loop.h"

#include <stdint.h>

struct evtchn;

/* What evtchn_open() opens: a device, or a socket. */
const char *evtchn_path(void);

/*
 * Opens a handle.  The caller owns *ret_ec and frees it with evtchn_close().
 * May block for the time of an open(2).  Errors: those of opening the
 * event-channel device (-ENOENT where there is no Xen).
 */
int evtchn_open(struct evtchn **ret_ec);

/* Closes the handle and every port bound through it.  NULL is a no-op. */
void evtchn_close(struct evtchn *ec);

/*
 * From now on, and for good, the handle binds ports of domain domid only; those
 * that it has stay.  Errors: -EINVAL for domain 0, which Linux's driver does not
 * take, -EACCES when it was done before.
 */
int evtchn_restrict(struct evtchn *ec, uint16_t domid);

/*
 * Binds a new local port to remote_port of domain domid
 * (EVTCHNOP_bind_interdomain).  The new port is pending at once, so that no
 * kick sent before the bind is lost: the owner drains it like any event.
 * Errors: -EINVAL when the remote port is not open to us, -ESRCH for a domain
 * that is gone, others as the hypervisor gives them.
 */
int evtchn_bind(struct evtchn *ec, uint16_t domid, uint32_t remote_port,
		uint32_t *ret_port);

/* Closes one local port.  The peer's sends are dropped from then on. */
void evtchn_unbind(struct evtchn *ec, uint32_t port);

/* Sends an event to the peer of a local port.  Never blocks. */
int evtchn_notify(struct evtchn *ec, uint32_t port);

/*
 * Waits for an event of any port: op is done when there is one, with a result for
 * evtchn_take().  One at a time; it is done, or cancelled and done, before the handle
 * is closed.
 */
void evtchn_wait(struct evtchn *ec, struct io_loop *loop, struct io_op *op);

/*
 * Takes the event that evtchn_wait() has waited for.  The port it names stays masked
 * until evtchn_unmask(): a peer that sends without pause costs one wake-up, not a
 * storm (XSA-332).  -EAGAIN when there was none after all; else what the wait ended
 * with.
 */
int evtchn_take(struct evtchn *ec, int result, uint32_t *ret_port);

/*
 * Lets the port fire again, from the loop's next run on.  An event sent meanwhile
 * fires at once.  One port at a time between two runs.
 */
void evtchn_unmask(struct evtchn *ec, struct io_loop *loop, uint32_t port);

#endif
