/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a queue's thread needs to serve: its port, its ring, its place in the in-flight
 * table, buffers; and where in the ring it begins.
 */
#include "blkback/queue-private.h"

#include "common/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/*
 * How long the port may still be bound to the worker before us: one that drains,
 * or the remains of one that was killed.  Behind a new one, which may be what a
 * guest has made up, there are but remains.
 */
#define REBIND_MS 10000u
#define REBIND_NEW_MS 1000u
#define REBIND_LOOK_MS 1
/* Submissions that a turn collects before they are handed over early. */
#define LOOP_ENTRIES 128u

/* Where it is begun, which a table may know better. */
static int begin_ring(struct queue *q, enum queue_origin origin, void *shared,
		      struct error_text *err)
{
	const struct queue_params *p = &q->params;
	uint32_t start = ring_read_rsp_prod(shared);

	/* Its slots hold answers, which are no requests. */
	if (origin == QUEUE_NEW && start)
		return error_set(err, -EBUSY,
				 "the ring is not a new one: %u requests of it "
				 "were answered",
				 start);
	if (origin == QUEUE_ANSWERED)
		ring_recover(&q->ring, p->abi, shared, p->nr_pages, start,
			     start);
	else if (ring_init(&q->ring, p->abi, shared, p->nr_pages,
			   origin == QUEUE_DRAINED) < 0)
		return error_set(err, -EBUSY,
				 "the ring holds requests of which "
				 "nobody knows whether they were served");
	return 0;
}

static int map_ring(struct queue *q, struct error_text *err)
{
	const struct queue_params *p = &q->params;
	void *shared;
	int rc;

	rc = gnttab_map(q->gt, p->domid, p->refs, p->nr_pages, &shared);
	if (rc < 0)
		return error_set(err, rc, "map ring-ref %u of domain %u: %s",
				 p->refs[0], p->domid, strerror(-rc));
	rc = begin_ring(q, p->origin, shared, err);
	if (rc < 0)
		gnttab_unmap(q->gt, shared, p->nr_pages);
	return rc;
}

static int bind_port(struct queue *q, struct error_text *err)
{
	const struct queue_params *p = &q->params;
	uint64_t until = clock_now_ms() +
			 (p->origin == QUEUE_NEW ? REBIND_NEW_MS : REBIND_MS);
	int rc = evtchn_bind(q->ec, p->domid, p->port, &q->port);

	/* Nothing tells when it is let go of. */
	while (rc == -EINVAL && clock_now_ms() < until) {
		poll(NULL, 0, REBIND_LOOK_MS);
		rc = evtchn_bind(q->ec, p->domid, p->port, &q->port);
	}
	if (rc < 0)
		return error_set(err, rc,
				 "bind event-channel %u of domain %u: %s",
				 p->port, p->domid, strerror(-rc));
	q->bound = true;
	/* For domain 0's own disks the kernel has no such thing. */
	rc = p->domid ? evtchn_restrict(q->ec, p->domid) : 0;
	if (rc < 0)
		return error_set(err, rc,
				 "restrict event-channels to domain %u: %s",
				 p->domid, strerror(-rc));
	return 0;
}

static int alloc_requests(struct queue *q)
{
	unsigned int nr = q->ring.nr_slots;

	q->requests = calloc(nr, sizeof(*q->requests));
	q->iovs = calloc(nr, INFLIGHT_SEGMENTS_MAX * sizeof(*q->iovs));
	if (!q->requests || !q->iovs)
		return -ENOMEM;
	for (unsigned int i = 0; i < nr; i++) {
		q->requests[i].entry = &q->inflight.entries[i];
		q->requests[i].iovs = &q->iovs[i * INFLIGHT_SEGMENTS_MAX];
		if (q->inflight.entries[i].state == INFLIGHT_FREE)
			list_add_tail(&q->free, &q->requests[i].node);
	}
	return page_pool_init(&q->pool, q->params.pool_pages);
}

/* The first worker of the connection died before it began with this queue. */
static bool never_begun(const struct queue *q, uint32_t rsp_prod)
{
	return !inflight_is_begun(&q->inflight) &&
	       (q->params.begun_as != QUEUE_NEW || !rsp_prod);
}

static int open_inflight(struct queue *q, struct error_text *err)
{
	const struct queue_params *p = &q->params;
	uint32_t rsp_prod = ring_read_rsp_prod(q->ring.shared);
	int rc = inflight_map(p->inflight_fd, p->index, p->nr_queues,
			      q->ring.nr_slots, &q->inflight);

	if (rc < 0)
		return error_set(err, rc, "map the in-flight table: %s",
				 rc == -EBADMSG ? "it has been cut"
						: strerror(-rc));
	if (p->origin == QUEUE_LEFT && !never_begun(q, rsp_prod)) {
		/* No worker can have left what is refused. */
		if (inflight_recover(&q->inflight, rsp_prod, err) < 0)
			return -EBADMSG;
		q->nr_taken = q->inflight.header->taken;
		ring_recover(&q->ring, p->abi, q->ring.shared, p->nr_pages,
			     (uint32_t)q->nr_taken, rsp_prod);
		if (ring_can_be(&q->ring))
			return 0;
		return error_set(err, -EBADMSG,
				 "in-flight table: %u requests taken, which "
				 "are not those of the ring",
				 (uint32_t)q->nr_taken);
	}
	if (p->origin == QUEUE_LEFT) {
		rc = begin_ring(q, p->begun_as, q->ring.shared, err);
		if (rc < 0)
			return rc;
	}
	inflight_start(&q->inflight, q->ring.req_cons);
	q->nr_taken = q->ring.req_cons;
	/* Nothing is in it, whoever wrote there. */
	return inflight_recover(&q->inflight, q->ring.rsp_prod, err) < 0
		       ? -EBADMSG
		       : 0;
}

int queue_open(struct queue *q, struct error_text *err)
{
	int rc = gnttab_open(&q->gt);

	if (rc < 0)
		return error_set(err, rc, "open the grant device: %s",
				 strerror(-rc));
	rc = evtchn_open(&q->ec);
	if (rc < 0)
		return error_set(err, rc, "open the event-channel device: %s",
				 strerror(-rc));
	/*
	 * The port first: a guest's port has one peer, so holding it proves
	 * that no other worker answers in the ring that is looked at next.
	 */
	rc = bind_port(q, err);
	if (rc < 0)
		return rc;
	rc = map_ring(q, err);
	if (rc < 0)
		return rc;
	rc = io_loop_new(LOOP_ENTRIES, &q->loop);
	if (rc < 0)
		return error_set(err, rc, "set up io_uring: %s", strerror(-rc));
	rc = block_queue_open(q->params.provider, q->loop, &q->block);
	if (rc < 0)
		return error_set(err, rc, "open a queue of the provider: %s",
				 strerror(-rc));
	rc = open_inflight(q, err);
	if (rc < 0)
		return rc;
	rc = alloc_requests(q);
	if (!rc)
		rc = transfer_new(q->gt, q->params.domid,
				  q->params.persistent_grants, &q->transfer);
	if (rc < 0)
		return error_set(err, rc, "allocate the queue: %s",
				 strerror(-rc));
	return 0;
}

void queue_close(struct queue *q)
{
	block_queue_close(q->block);
	io_loop_free(q->loop);
	if (q->bound)
		evtchn_unbind(q->ec, q->port);
	transfer_free(q->transfer);
	if (q->ring.shared)
		gnttab_unmap(q->gt, q->ring.shared, q->params.nr_pages);
	evtchn_close(q->ec);
	gnttab_close(q->gt);
	page_pool_fini(&q->pool);
	inflight_unmap(&q->inflight);
	free(q->iovs);
	free(q->requests);
}
