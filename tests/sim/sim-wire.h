/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the simulated hypervisor (sim.c, in the test) and the backend's side
 * (gnttab-sim.c, evtchn-sim.c, in the worker) say to each other.
 *
 * The directory named by $XEN_DISKD_SIM holds:
 *   sim.sock  SOCK_SEQPACKET: one connection per open handle, one datagram
 *             each way per hypercall that is not per I/O.  A handle that dies
 *             with its process is a hang-up, and undone like an orderly close.
 *   domains   an array of struct sim_domain_record, for xenstored-preload.c
 *   virq      a FIFO; a byte in it is VIRQ_DOM_EXC to xenstored
 *
 * Per I/O nothing crosses the socket: guests are memfds holding the grant
 * table and the pages, pending and masked ports are words in a memfd, and a
 * notification is one write to an eventfd.
 */
#ifndef XEN_DISKD_SIM_WIRE_H
#define XEN_DISKD_SIM_WIRE_H

#include <stdatomic.h>
#include <stdint.h>

#define SIM_ENV "XEN_DISKD_SIM"
#define SIM_PAGE_BYTES 4096u
#define SIM_NR_GREFS 4096u
#define SIM_NR_SLOTS 64u /* bound ports per event-channel handle */
#define SIM_MAP_MAX 64u /* references in one map call */
#define SIM_NR_DOMAINS 64u

/* A version-1 grant entry, read and written whole. */
struct sim_grant_entry {
	uint16_t flags;
	uint16_t domid;
	uint32_t frame;
};

#define SIM_GTF_PERMIT 1u
#define SIM_GTF_READONLY 4u

/* The head of a guest's memfd; its pages follow. */
struct sim_guest {
	_Atomic uint32_t alive;
	uint32_t nr_pages;
	/* The copy_fail_at-th copy from now answers copy_fail_status. */
	_Atomic uint32_t copy_fail_at;
	_Atomic int32_t copy_fail_status;
	_Atomic uint64_t grants[SIM_NR_GREFS];
};

#define SIM_GUEST_HEAD_BYTES                                                \
	((sizeof(struct sim_guest) + SIM_PAGE_BYTES - 1) / SIM_PAGE_BYTES * \
	 SIM_PAGE_BYTES)

/* The ports of one handle: one bit each, bit n of both words is slot n. */
struct sim_ports {
	_Atomic uint64_t pending;
	_Atomic uint64_t masked;
};

enum sim_op {
	SIM_OP_EVTCHN_OPEN, /* reply carries the eventfd and the ports */
	SIM_OP_EVTCHN_BIND, /* reply carries the peer's eventfd */
	SIM_OP_EVTCHN_UNBIND,
	SIM_OP_GUEST, /* reply carries the guest's memfd */
	SIM_OP_GRANT_MAP,
	SIM_OP_GRANT_UNMAP,
};

struct sim_request {
	uint32_t op;
	uint32_t domid;
	uint32_t port;
	uint32_t nr;
	uint32_t refs[SIM_MAP_MAX];
};

struct sim_reply {
	int32_t error; /* 0 or -errno */
	uint32_t port;
	uint32_t frames[SIM_MAP_MAX];
};

enum sim_domain_state {
	SIM_DOMAIN_NONE,
	SIM_DOMAIN_RUNNING,
	SIM_DOMAIN_SHUTDOWN,
	SIM_DOMAIN_DYING,
};

struct sim_domain_record {
	uint32_t domid;
	uint32_t state;
	uint8_t uuid[16];
};

#endif
