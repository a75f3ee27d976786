/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's side of the ring, byte by byte. */
#include "tests/unit/queue/guest.h"

#include "tests/unit/queue/fake-transport.h"
#include "tests/unit/queue/script-provider.h"

#include <check.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE_MS 8000

/* Byte offsets in a shared ring's head. */
enum {
	REQ_PROD = 0,
	REQ_EVENT = 4,
	RSP_PROD = 8,
	RSP_EVENT = 12,
	RING = 64,
};

const struct slot_layout *guest_layout;
uint32_t guest_req_prod, guest_rsp_cons;

void guest_new_ring(void)
{
	memset(fake_pages[0], 0, sizeof(fake_pages[0]));
	/* SHARED_RING_INIT: both events at 1. */
	slot_put(fake_pages[0], REQ_EVENT, 4, 1);
	slot_put(fake_pages[0], RSP_EVENT, 4, 1);
	guest_req_prod = guest_rsp_cons = 0;
}

void guest_init(const struct slot_layout *layout)
{
	guest_layout = layout;
	fake_reset();
	fake_grants[0] = FAKE_GRANT_READ_WRITE;
	for (unsigned int i = GUEST_DATA; i < FAKE_PAGES; i++)
		fake_grants[i] = FAKE_GRANT_READ_WRITE;
	guest_new_ring();
}

uint32_t *guest_shared(unsigned int offset)
{
	return (uint32_t *)(void *)(fake_pages[0] + offset);
}

uint32_t guest_shared_load(unsigned int offset)
{
	return __atomic_load_n(guest_shared(offset), __ATOMIC_ACQUIRE);
}

unsigned char *guest_slot(uint32_t index)
{
	return fake_pages[0] + RING +
	       index % GUEST_SLOTS * guest_layout->slot_bytes;
}

void guest_put(uint8_t op, uint64_t id, uint64_t sector, uint8_t nr,
	       uint32_t ref)
{
	unsigned char *slot = guest_slot(guest_req_prod++);

	slot_head(slot, guest_layout, op, nr, id, sector);
	for (uint8_t i = 0; i < nr && i < 11; i++)
		slot_segment(slot, guest_layout, i, ref + i, 0, 7);
}

void guest_push(void)
{
	uint32_t old = *guest_shared(REQ_PROD);

	__atomic_store_n(guest_shared(REQ_PROD), guest_req_prod,
			 __ATOMIC_RELEASE);
	/* Pairs with the backend's barrier between req_event and req_prod. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (guest_req_prod - guest_shared_load(REQ_EVENT) <
	    guest_req_prod - old)
		fake_kick();
}

void guest_wait_responses(uint32_t nr)
{
	struct pollfd p = { .fd = fake_guest_fd(), .events = POLLIN };
	uint64_t count;

	__atomic_store_n(guest_shared(RSP_EVENT), nr, __ATOMIC_RELAXED);
	/* Pairs with the backend's barrier before it reads rsp_event. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while ((int32_t)(guest_shared_load(RSP_PROD) - nr) < 0) {
		ck_assert_msg(poll(&p, 1, DEADLINE_MS) == 1,
			      "%u responses, not %u; log '%s'",
			      guest_shared_load(RSP_PROD), nr, script_log());
		if (read(p.fd, &count, sizeof(count)) < 0)
			count = 0;
	}
}

void guest_expect(uint8_t op, uint64_t id, int status)
{
	const unsigned char *slot;

	guest_wait_responses(guest_rsp_cons + 1);
	slot = guest_slot(guest_rsp_cons++);
	ck_assert_uint_eq(slot_get(slot, 0, 8), id);
	ck_assert_uint_eq(slot_get(slot, 8, 1), op);
	ck_assert_int_eq((int16_t)slot_get(slot, 10, 2), status);
	ck_assert_uint_eq(slot_get(slot, 9, 1), 0);
}
