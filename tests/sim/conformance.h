/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract of evtchn.h and gnttab.h as tests, whichever implementation is
 * linked.  What the guest's side does comes through struct peer_ops: the
 * simulation here, a domain's own grants and ports on real Xen.
 */
#ifndef XEN_DISKD_CONFORMANCE_H
#define XEN_DISKD_CONFORMANCE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

/* The guest's side.  All of it is required; none may be called twice. */
struct peer_ops {
	/* Around each test. */
	void (*setup)(void);
	void (*teardown)(void);
	uint16_t (*domid)(void);
	/* A zeroed page granted to us, and its address in this process. */
	uint32_t (*grant)(bool readonly, void **ret_page);
	/* Takes it back: 0, or -EBUSY while it is mapped. */
	int (*grant_end)(uint32_t ref);
	/* A port offered to us. */
	uint32_t (*port)(void);
	void (*port_notify)(uint32_t port);
	void (*port_close)(uint32_t port);
	/* Whether the port got an event, waiting for at most timeout_ms. */
	bool (*port_wait)(uint32_t port, unsigned int timeout_ms);
};

/* The tests, to be run against these ops in this process. */
TCase *conformance_tests(const struct peer_ops *ops);

#endif
