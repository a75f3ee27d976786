/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared ring: the only code that touches memory which the guest can
 * change while we look.  Each request slot is copied once, and everything
 * else works on the copy (XSA-155).  Indices that we own live in private
 * memory and are never read back from the ring.
 *
 * A ring belongs to its queue's thread.  Nothing here blocks, allocates or
 * logs.
 *
 * Source: xen/include/public/io/ring.h.
 */
#ifndef XEN_DISKD_RING_H
#define XEN_DISKD_RING_H

#include "blkback/blkif-abi.h"

#include <stdbool.h>
#include <stdint.h>

struct ring {
	const struct ring_abi *abi;
	void *shared;
	uint32_t nr_slots; /* a power of two */
	uint32_t req_cons; /* next request to take */
	uint32_t req_prod; /* the guest's, when it was last looked at */
	uint32_t rsp_prod; /* next response to write */
	uint32_t rsp_published; /* responses that the guest can see */
};

/* Slots in a ring of nr_pages pages (__RING_SIZE of ring.h). */
uint32_t ring_slots(const struct ring_abi *abi, unsigned int nr_pages);

/*
 * Sets out on a mapped ring of nr_pages pages.  A frontend starts a new ring
 * at index 0.  With resume, a ring that an earlier worker has served is taken
 * up where it stands, which is right only if every request in it was
 * answered: -EBUSY if not.
 */
int ring_init(struct ring *ring, const struct ring_abi *abi, void *shared,
	      unsigned int nr_pages, bool resume);

/* What the guest sees of our answers; it may have been changed by it. */
uint32_t ring_read_rsp_prod(const void *shared);

/*
 * Takes up a mapped ring in which the requests before req_cons have been
 * taken, and the answers before rsp_prod published.
 */
void ring_recover(struct ring *ring, const struct ring_abi *abi, void *shared,
		  unsigned int nr_pages, uint32_t req_cons, uint32_t rsp_prod);

/* False when the guest claims more requests than the ring holds, or fewer than were. */
bool ring_can_be(const struct ring *ring);

/*
 * Copies the next request into slot, and no more of it than the request uses: what is
 * behind that stays as it was.  1: copied.  0: there is none.
 * -EPROTO: the guest claims more requests than the ring holds
 * (CVE-2010-4247), after which the ring is not to be used any more.
 */
int ring_take(struct ring *ring, unsigned char slot[BLKIF_SLOT_BYTES_MAX]);

/*
 * Writes one response; the guest sees it after ring_publish().  At most as
 * many as requests were taken (asserted).  Bytes that the response does not
 * define are zero (XSA-216).
 */
void ring_respond(struct ring *ring, uint64_t id, uint8_t operation,
		  int16_t status);

/* Makes the responses visible.  True when the guest wants an event. */
bool ring_publish(struct ring *ring);

/* A look at the ring, without asking for anything: there are requests. */
bool ring_has_requests(const struct ring *ring);

/*
 * Before sleeping: asks the guest for an event at its next request.  True
 * when there are requests already, and sleeping would be wrong.
 */
bool ring_final_check(struct ring *ring);

#endif
