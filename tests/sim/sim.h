/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulated hypervisor: domains with memory and a grant table, event
 * channels, and what a test wants to know and to break.
 *
 * It lives in the test's process, with one thread that answers the backend
 * (gnttab-sim.c, evtchn-sim.c).  What a backend holds belongs to its socket,
 * so a killed worker leaves no more behind than on Xen.  All functions may be
 * called from any thread of the test.
 */
#ifndef XEN_DISKD_SIM_H
#define XEN_DISKD_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim;
struct sim_domain;

/*
 * Starts the simulation in the directory dir, which must exist; the backend
 * finds it by $XEN_DISKD_SIM.  sim_close() frees all domains with it.
 */
int sim_open(const char *dir, struct sim **ret_sim);
void sim_close(struct sim *sim);

/*
 * A domain with nr_pages pages of memory, none granted.  A domain that was
 * destroyed keeps its pages until sim_close(), as Xen does while they are
 * mapped.  -EEXIST for a domid in use.
 */
int sim_domain_create(struct sim *sim, uint16_t domid, uint32_t nr_pages,
		      struct sim_domain **ret_dom);

/*
 * The domain is gone: its ports are closed, its grants answer
 * GNTST_bad_domain, and xenstored is told by VIRQ_DOM_EXC.
 */
void sim_domain_destroy(struct sim_domain *dom);

/*
 * The same for a domain that others killed (xl destroy changes the record
 * only): follows the record.
 */
void sim_domain_sync(struct sim_domain *dom);

/* Copies the 36 characters of the uuid and a NUL. */
void sim_domain_uuid(const struct sim_domain *dom, char ret_text[37]);
void sim_domain_set_uuid(struct sim_domain *dom, const uint8_t uuid[16]);
uint16_t sim_domain_id(const struct sim_domain *dom);

/* nr contiguous frames, zeroed. -ENOMEM when there are no more. */
int sim_page_alloc(struct sim_domain *dom, uint32_t nr, uint32_t *ret_frame);
void sim_page_free(struct sim_domain *dom, uint32_t frame, uint32_t nr);
void *sim_page(const struct sim_domain *dom, uint32_t frame);

/* Grants a page to domain 0. -ENOSPC when the table is full. */
int sim_grant(struct sim_domain *dom, uint32_t frame, bool readonly,
	      uint32_t *ret_ref);
/* Takes the grant back; -EBUSY while it is mapped, and it stays. */
int sim_grant_end(struct sim_domain *dom, uint32_t ref);

/*
 * An event channel offered to domain 0 (EVTCHNOP_alloc_unbound).  *ret_fd is
 * a non-blocking eventfd, owned by the port, readable when an event came.
 */
int sim_port_alloc(struct sim_domain *dom, uint32_t *ret_port, int *ret_fd);
void sim_port_close(struct sim_domain *dom, uint32_t port);
/* Sends an event; dropped while nobody is bound. */
void sim_port_notify(struct sim_domain *dom, uint32_t port);
bool sim_port_is_bound(struct sim_domain *dom, uint32_t port);
/* Waits until it is: 0, or -ETIMEDOUT. */
int sim_wait_bound(struct sim_domain *dom, uint32_t port,
		   unsigned int timeout_ms);

/* Live mappings (in pages) and bound ports of all backends together. */
unsigned int sim_live_maps(struct sim *sim);
unsigned int sim_live_ports(struct sim *sim);
/* Open handles of all backends: a worker that is gone has none. */
unsigned int sim_live_handles(struct sim *sim);
/* Waits until all three are zero: 0, or -ETIMEDOUT. */
int sim_wait_idle(struct sim *sim, unsigned int timeout_ms);

/* The nth copy from now (1: the next) answers status, once. */
void sim_fail_copy(struct sim_domain *dom, uint32_t nth, int16_t status);
/* The nth map call from now fails with -EINVAL, once. */
void sim_fail_map(struct sim *sim, uint32_t nth);
/* The nth bind from now fails with error, once. */
void sim_fail_bind(struct sim *sim, uint32_t nth, int error);
/* Each bind from now on fails with error, until it is called with 0. */
void sim_fail_binds(struct sim *sim, int error);

#endif
