/* SPDX-License-Identifier: BSD-2-Clause */
/* The shared ring. */
#include "blkback/ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <xen/grant_table.h>

/* The head of a shared ring (DEFINE_RING_TYPES of ring.h). */
struct ring_header {
	uint32_t req_prod, req_event;
	uint32_t rsp_prod, rsp_event;
	uint8_t private_and_pad[48];
};

_Static_assert(sizeof(struct ring_header) == 64, "ring header");
_Static_assert(sizeof(struct ring_header) == offsetof(struct blkif_sring, ring),
	       "ring header");

#define RING_PAGE_BYTES 4096u
/* Of a slot, in any ABI: all that is there but segments behind the first. */
#define SLOT_HEAD_BYTES 32u

static struct ring_header *ring_header(const struct ring *ring)
{
	return ring->shared;
}

static unsigned char *ring_slot(const struct ring *ring, uint32_t index)
{
	return (unsigned char *)ring->shared + sizeof(struct ring_header) +
	       (size_t)(index & (ring->nr_slots - 1)) * ring->abi->slot_bytes;
}

uint32_t ring_slots(const struct ring_abi *abi, unsigned int nr_pages)
{
	uint32_t nr = (nr_pages * RING_PAGE_BYTES -
		       (uint32_t)sizeof(struct ring_header)) /
		      abi->slot_bytes;

	return 1u << (31 - __builtin_clz(nr));
}

uint32_t ring_read_rsp_prod(const void *shared)
{
	const struct ring_header *header = shared;

	return __atomic_load_n(&header->rsp_prod, __ATOMIC_RELAXED);
}

void ring_recover(struct ring *ring, const struct ring_abi *abi, void *shared,
		  unsigned int nr_pages, uint32_t req_cons, uint32_t rsp_prod)
{
	*ring = (struct ring){
		.abi = abi,
		.shared = shared,
		.nr_slots = ring_slots(abi, nr_pages),
		.req_cons = req_cons,
		.req_prod = req_cons,
		.rsp_prod = rsp_prod,
		.rsp_published = rsp_prod,
	};
}

int ring_init(struct ring *ring, const struct ring_abi *abi, void *shared,
	      unsigned int nr_pages, bool resume)
{
	const struct ring_header *header = shared;
	uint32_t start = 0;

	if (resume) {
		start = ring_read_rsp_prod(shared);
		if (start !=
		    __atomic_load_n(&header->req_prod, __ATOMIC_RELAXED))
			return -EBUSY;
	}
	ring_recover(ring, abi, shared, nr_pages, start, start);
	return 0;
}

/* Slots of requests that still wait for their answer are taken. */
static bool can_be(const struct ring *ring, uint32_t req_prod)
{
	return req_prod - ring->req_cons <=
	       ring->nr_slots - (ring->req_cons - ring->rsp_prod);
}

bool ring_can_be(const struct ring *ring)
{
	return can_be(ring, __atomic_load_n(&ring_header(ring)->req_prod,
					    __ATOMIC_RELAXED));
}

/* What the guest has on the ring; at the end of what it had, a new look. */
static int look_for_more(struct ring *ring)
{
	/* Pairs with the guest's write barrier before it moved req_prod. */
	uint32_t req_prod =
		__atomic_load_n(&ring_header(ring)->req_prod, __ATOMIC_ACQUIRE);

	if (req_prod == ring->req_cons)
		return 0;
	if (!can_be(ring, req_prod))
		return -EPROTO;
	ring->req_prod = req_prod;
	return 1;
}

/* The guest's processor has just written them: no more lines than it takes. */
static void copy_slot(const struct ring_abi *abi, const unsigned char *from,
		      unsigned char *slot)
{
	memcpy(slot, from, SLOT_HEAD_BYTES);
	/* Keep the compiler from reading the slot again behind our back. */
	__asm__ volatile("" : : "r"(slot) : "memory");
	if (slot[BLKIF_REQUEST_OPERATION] == BLKIF_OP_DISCARD ||
	    (slot[BLKIF_REQUEST_OPERATION] != BLKIF_OP_INDIRECT &&
	     slot[BLKIF_REQUEST_NR_SEGMENTS] <= 1))
		return;
	memcpy(slot + SLOT_HEAD_BYTES, from + SLOT_HEAD_BYTES,
	       abi->slot_bytes - SLOT_HEAD_BYTES);
	__asm__ volatile("" : : "r"(slot) : "memory");
}

int ring_take(struct ring *ring, unsigned char slot[BLKIF_SLOT_BYTES_MAX])
{
	int rc = ring->req_prod == ring->req_cons ? look_for_more(ring) : 1;

	if (rc <= 0)
		return rc;
	copy_slot(ring->abi, ring_slot(ring, ring->req_cons), slot);
	ring->req_cons++;
	if (ring->req_cons != ring->req_prod)
		__builtin_prefetch(ring_slot(ring, ring->req_cons));
	return 1;
}

void ring_respond(struct ring *ring, uint64_t id, uint8_t operation,
		  int16_t status)
{
	unsigned char response[16] = { 0 };

	assert(ring->rsp_prod != ring->req_cons);
	memcpy(response + BLKIF_RESPONSE_ID, &id, sizeof(id));
	response[BLKIF_RESPONSE_OPERATION] = operation;
	memcpy(response + BLKIF_RESPONSE_STATUS, &status, sizeof(status));
	memcpy(ring_slot(ring, ring->rsp_prod), response,
	       ring->abi->response_bytes);
	ring->rsp_prod++;
}

bool ring_publish(struct ring *ring)
{
	struct ring_header *header = ring_header(ring);
	uint32_t old = ring->rsp_published, new = ring->rsp_prod;
	uint32_t rsp_event;

	if (old == new)
		return false;
	/* Pairs with the guest's read barrier after it read rsp_prod. */
	__atomic_store_n(&header->rsp_prod, new, __ATOMIC_RELEASE);
	ring->rsp_published = new;
	/*
	 * Pairs with the guest's full barrier between setting rsp_event and
	 * its own last look at rsp_prod: one of us sees the other's store.
	 */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	rsp_event = __atomic_load_n(&header->rsp_event, __ATOMIC_RELAXED);
	return new - rsp_event < new - old;
}

bool ring_has_requests(const struct ring *ring)
{
	return __atomic_load_n(&ring_header(ring)->req_prod,
			       __ATOMIC_RELAXED) != ring->req_cons;
}

bool ring_final_check(struct ring *ring)
{
	struct ring_header *header = ring_header(ring);

	__atomic_store_n(&header->req_event, ring->req_cons + 1,
			 __ATOMIC_RELAXED);
	/* Pairs with the guest's barrier between req_prod and req_event. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&header->req_prod, __ATOMIC_RELAXED) !=
	       ring->req_cons;
}
