/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of the queue tests: one ring in the fake transport's first page,
 * with requests put into it slot by slot and responses compared whole.
 *
 * The test's thread.  A response that does not come, or is another, ends the
 * test.
 */
#ifndef XEN_DISKD_UNIT_QUEUE_GUEST_H
#define XEN_DISKD_UNIT_QUEUE_GUEST_H

#include "tests/unit/slot.h"

#include <stdint.h>

#define GUEST_SLOTS 32u
/* Its data pages: 8 and up; page 0 is the ring. */
#define GUEST_DATA 8u

extern const struct slot_layout *guest_layout;
/* Private indices, for a test that starts or meddles elsewhere. */
extern uint32_t guest_req_prod, guest_rsp_cons;

/* A fresh transport, all data pages granted, an empty ring. */
void guest_init(const struct slot_layout *layout);
/* An empty ring in the same place, as a frontend that connects again has. */
void guest_new_ring(void);

/* The 32-bit index at a byte offset of the ring's head. */
uint32_t *guest_shared(unsigned int offset);
uint32_t guest_shared_load(unsigned int offset);
unsigned char *guest_slot(uint32_t index);

/* One request over nr whole pages from ref on, unseen until guest_push(). */
void guest_put(uint8_t op, uint64_t id, uint64_t sector, uint8_t nr,
	       uint32_t ref);
/* Publishes, and sends an event if the backend has asked for one. */
void guest_push(void);
/* Waits until nr responses have been published in all, by events. */
void guest_wait_responses(uint32_t nr);
/* Takes the next response and compares all of it. */
void guest_expect(uint8_t op, uint64_t id, int status);

#endif
