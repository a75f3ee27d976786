/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gnttab.h and evtchn.h for one guest with a few pages and one port, all in
 * this process: so little that a test of a queue can say what happens when.
 * tests/sim/ has the whole thing.
 *
 * Any thread.
 */
#ifndef XEN_DISKD_UNIT_QUEUE_FAKE_TRANSPORT_H
#define XEN_DISKD_UNIT_QUEUE_FAKE_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_PAGES 512
#define FAKE_DOMID 7
#define FAKE_PORT 9

enum fake_grant {
	FAKE_GRANT_NONE,
	FAKE_GRANT_READ_ONLY,
	FAKE_GRANT_READ_WRITE,
};

/* The guest's memory; a page's number is its grant reference. */
extern unsigned char fake_pages[FAKE_PAGES][4096];
/* Set before the queue starts, or while nothing is in flight. */
extern enum fake_grant fake_grants[FAKE_PAGES];

/* Nothing granted, nothing bound. */
void fake_reset(void);

/* The guest sends an event. */
void fake_kick(void);
/* An eventfd: the guest got an event. */
int fake_guest_fd(void);
/*
 * Called, unless NULL, on the queue's thread: the guest has got an event; the
 * backend takes events again, as it does before it sleeps.
 */
extern void (*fake_on_notify)(void), (*fake_on_unmask)(void);
/* How many it got in all. */
unsigned int fake_nr_notified(void);

/* How many pages it gave back in all. */
unsigned int fake_nr_unmapped(void);
unsigned int fake_nr_map_tries(void);

/* What the backend holds. */
unsigned int fake_live_pages(void);
unsigned int fake_live_ports(void);
unsigned int fake_live_handles(void);
/* Whose ports it may bind; 0: anybody's. */
unsigned int fake_restricted_to(void);

#endif
