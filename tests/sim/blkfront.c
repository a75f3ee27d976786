/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A frontend for tests.  Owns the frontend's side of the handshake, of the
 * ring and of its grants; see blkfront.h.
 */
#include "tests/sim/blkfront.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- layouts: xen/include/public/io/blkif.h, by hand ---- */

struct fe_wire_segment {
	uint32_t gref;
	uint8_t first_sect, last_sect;
	uint8_t pad[2];
} __attribute__((packed));

struct fe_wire_request_64 {
	uint8_t operation, nr_segments;
	uint16_t handle;
	uint8_t pad[4];
	uint64_t id, sector;
	struct fe_wire_segment seg[FE_SEGMENTS];
} __attribute__((packed));

struct fe_wire_request_32 {
	uint8_t operation, nr_segments;
	uint16_t handle;
	uint64_t id, sector;
	struct fe_wire_segment seg[FE_SEGMENTS];
} __attribute__((packed));

struct fe_wire_response {
	uint64_t id;
	uint8_t operation;
	uint8_t pad;
	int16_t status;
	uint8_t tail[4]; /* not in x86_32 */
} __attribute__((packed));

_Static_assert(sizeof(struct fe_wire_segment) == 8, "segment");
_Static_assert(sizeof(struct fe_wire_request_64) == 112, "x86_64 request");
_Static_assert(offsetof(struct fe_wire_request_64, id) == 8, "x86_64 id");
_Static_assert(offsetof(struct fe_wire_request_64, seg) == 24, "x86_64 seg");
_Static_assert(sizeof(struct fe_wire_request_32) == 108, "x86_32 request");
_Static_assert(offsetof(struct fe_wire_request_32, id) == 4, "x86_32 id");
_Static_assert(offsetof(struct fe_wire_request_32, seg) == 20, "x86_32 seg");
_Static_assert(sizeof(struct fe_wire_response) == 16, "response");
_Static_assert(offsetof(struct fe_wire_response, status) == 10, "status");

/* The ring's head: four indices, and entries from byte 64 on. */
struct fe_ring_head {
	uint32_t req_prod, req_event, rsp_prod, rsp_event;
	uint8_t pad[48];
};
_Static_assert(sizeof(struct fe_ring_head) == 64, "ring head");

size_t blkfront_entry_bytes(enum fe_abi abi)
{
	return abi == FE_ABI_X86_32 ? 108 : 112;
}

static size_t response_bytes(enum fe_abi abi)
{
	return abi == FE_ABI_X86_32 ? 12 : 16;
}

static struct fe_ring_head *head(const struct fe_queue *q)
{
	return (struct fe_ring_head *)q->ring;
}

uint32_t *blkfront_req_prod(struct fe_queue *q)
{
	return &head(q)->req_prod;
}

uint32_t *blkfront_req_event(struct fe_queue *q)
{
	return &head(q)->req_event;
}

uint32_t *blkfront_rsp_prod(struct fe_queue *q)
{
	return &head(q)->rsp_prod;
}

uint32_t *blkfront_rsp_event(struct fe_queue *q)
{
	return &head(q)->rsp_event;
}

/* ---- life ---- */

void blkfront_init(struct blkfront *fe, struct host *h, struct guest *g,
		   unsigned int devid, enum fe_abi abi)
{
	const unsigned int nr_data = sizeof(fe->data) / sizeof(fe->data[0]);
	char *backend;
	uint32_t frame;
	unsigned int i;

	memset(fe, 0, sizeof(*fe));
	fe->host = h;
	fe->guest = g;
	fe->devid = devid;
	fe->abi = abi;
	fe->ring_pages = 1;
	fe->nr_queues = 1;
	snprintf(fe->path, sizeof(fe->path), "/local/domain/%u/device/vbd/%u",
		 g->domid, devid);
	backend = host_read(h, "%s/backend", fe->path);
	need(backend, "%s has no backend", fe->path);
	snprintf(fe->backend, sizeof(fe->backend), "%s", backend);
	free(backend);

	need(sim_page_alloc(g->dom, nr_data, &frame) == 0, "guest memory");
	for (i = 0; i < nr_data; i++) {
		fe->data[i].frame = frame + i;
		fe->data[i].bytes = sim_page(g->dom, frame + i);
		need(sim_grant(g->dom, frame + i, false, &fe->data[i].ref) == 0,
		     "grant");
	}
	fe->nr_data = nr_data;
}

void blkfront_fini(struct blkfront *fe)
{
	struct sim_domain *dom = fe->guest->dom;
	unsigned int i;

	blkfront_free(fe);
	for (i = 0; i < fe->nr_data; i++)
		need(sim_grant_end(dom, fe->data[i].ref) == 0,
		     "data page %u is mapped", i);
	sim_page_free(dom, fe->data[0].frame, fe->nr_data);
	fe->nr_data = 0;
}

void blkfront_abandon(struct blkfront *fe)
{
	fe->allocated = false;
	fe->nr_data = 0;
}

static void queue_alloc(struct blkfront *fe, struct fe_queue *q)
{
	struct sim_domain *dom = fe->guest->dom;
	size_t bytes = (size_t)fe->ring_pages * FE_PAGE;
	uint32_t generation = q->generation;
	uint32_t i;

	memset(q, 0, sizeof(*q));
	q->generation = generation + 1;
	q->nr_pages = fe->ring_pages;
	need(sim_page_alloc(dom, q->nr_pages, &q->frame) == 0, "ring memory");
	q->ring = sim_page(dom, q->frame);
	for (i = 0; i < q->nr_pages; i++)
		need(sim_grant(dom, q->frame + i, false, &q->refs[i]) == 0,
		     "grant");
	need(sim_port_alloc(dom, &q->port, &q->event_fd) == 0, "port");
	q->size = 1;
	while (q->size * 2 * blkfront_entry_bytes(fe->abi) <= bytes - 64)
		q->size *= 2;
	head(q)->req_event = 1;
	head(q)->rsp_event = 1;
}

void blkfront_alloc(struct blkfront *fe)
{
	unsigned int i;

	need(!fe->allocated, "allocated twice");
	for (i = 0; i < fe->nr_queues; i++)
		queue_alloc(fe, &fe->queues[i]);
	fe->allocated = true;
}

void blkfront_free(struct blkfront *fe)
{
	struct sim_domain *dom = fe->guest->dom;
	unsigned int i;
	uint32_t p;

	if (!fe->allocated)
		return;
	for (i = 0; i < fe->nr_queues; i++) {
		struct fe_queue *q = &fe->queues[i];

		sim_port_close(dom, q->port);
		for (p = 0; p < q->nr_pages; p++)
			need(sim_grant_end(dom, q->refs[p]) == 0,
			     "ring page %u of %s is still mapped", p, fe->path);
		sim_page_free(dom, q->frame, q->nr_pages);
	}
	fe->allocated = false;
}

/* ---- XenStore ---- */

static const struct fe_override *override_of(const struct blkfront *fe,
					     const char *key)
{
	const struct fe_override *o;

	for (o = fe->overrides; o && o->key; o++)
		if (!strcmp(o->key, key))
			return o;
	return NULL;
}

static void key_write(struct blkfront *fe, xs_transaction_t t, const char *key,
		      const char *value)
{
	const struct fe_override *o = override_of(fe, key);
	struct xs_handle *xs = fe->host->xs;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fe->path, key);
	if (o)
		value = o->value;
	if (value)
		xs_write(xs, t, path, value, (unsigned int)strlen(value));
	else
		xs_rm(xs, t, path);
}

static void key_write_u32(struct blkfront *fe, xs_transaction_t t,
			  const char *dir, const char *key, uint32_t value)
{
	char full[64], text[16];

	snprintf(full, sizeof(full), "%s%s", dir, key);
	snprintf(text, sizeof(text), "%u", value);
	key_write(fe, t, full, text);
}

static void queue_keys(struct blkfront *fe, xs_transaction_t t,
		       const struct fe_queue *q, const char *dir)
{
	char key[32];
	uint32_t i;

	if (!fe->ring_order_key && q->nr_pages == 1)
		key_write_u32(fe, t, dir, "ring-ref", q->refs[0]);
	else
		for (i = 0; i < q->nr_pages; i++) {
			snprintf(key, sizeof(key), "ring-ref%u", i);
			key_write_u32(fe, t, dir, key, q->refs[i]);
		}
	key_write_u32(fe, t, dir, "event-channel", q->port);
}

static const char *protocol_of(const struct blkfront *fe)
{
	if (fe->no_protocol)
		return NULL;
	return fe->abi == FE_ABI_X86_32 ? "x86_32-abi" : "x86_64-abi";
}

/* Keys that overrides add and nobody else writes. */
static void extra_keys(struct blkfront *fe, xs_transaction_t t)
{
	const struct fe_override *o;

	for (o = fe->overrides; o && o->key; o++)
		key_write(fe, t, o->key, o->value);
}

static void write_keys(struct blkfront *fe, xs_transaction_t t)
{
	char dir[24];
	unsigned int i;

	if (fe->ring_order_key || fe->ring_pages > 1)
		key_write_u32(fe, t, "", "ring-page-order",
			      (uint32_t)__builtin_ctz(fe->ring_pages));
	if (fe->nr_queues == 1) {
		queue_keys(fe, t, &fe->queues[0], "");
	} else {
		key_write_u32(fe, t, "", "multi-queue-num-queues",
			      fe->nr_queues);
		for (i = 0; i < fe->nr_queues; i++) {
			snprintf(dir, sizeof(dir), "queue-%u/", i);
			queue_keys(fe, t, &fe->queues[i], dir);
		}
	}
	key_write(fe, t, "protocol", protocol_of(fe));
	key_write(fe, t, "feature-persistent", "0");
	extra_keys(fe, t);
}

void blkfront_publish(struct blkfront *fe)
{
	struct xs_handle *xs = fe->host->xs;
	xs_transaction_t t;

	do {
		t = xs_transaction_start(xs);
		need(t != XBT_NULL, "transaction: %s", strerror(errno));
		write_keys(fe, t);
	} while (!xs_transaction_end(xs, t, false) && errno == EAGAIN);
	blkfront_set_state(fe, FE_INITIALISED);
}

void blkfront_set_state(struct blkfront *fe, unsigned int state)
{
	char text[12];

	snprintf(text, sizeof(text), "%u", state);
	host_write(fe->host, text, "%s/state", fe->path);
}

bool blkfront_wait_backend(struct blkfront *fe, unsigned int state)
{
	char text[12];

	snprintf(text, sizeof(text), "%u", state);
	return host_wait_value(fe->host, text, HOST_WAIT_MS, "%s/state",
			       fe->backend);
}

static uint64_t backend_u64(struct blkfront *fe, const char *key, bool required)
{
	char *text = host_read(fe->host, "%s/%s", fe->backend, key);
	uint64_t value = text ? strtoull(text, NULL, 10) : 0;

	need(text || !required, "the backend published no %s", key);
	free(text);
	return value;
}

void blkfront_read_backend(struct blkfront *fe)
{
	fe->nr_sectors = backend_u64(fe, "sectors", true);
	fe->info = (unsigned int)backend_u64(fe, "info", true);
	fe->sector_size = (unsigned int)backend_u64(fe, "sector-size", true);
	fe->feature_flush = backend_u64(fe, "feature-flush-cache", false);
	fe->feature_barrier = backend_u64(fe, "feature-barrier", false);
}

/* From 3 to 4, both sides. */
static void go_connected(struct blkfront *fe)
{
	blkfront_publish(fe);
	if (!blkfront_wait_backend(fe, FE_CONNECTED)) {
		char *error = host_read(fe->host, "%s/error", fe->backend);

		need(false, "%s does not connect: %s", fe->backend,
		     error ? error : "no error node");
	}
	blkfront_read_backend(fe);
	blkfront_set_state(fe, FE_CONNECTED);
}

void blkfront_connect(struct blkfront *fe)
{
	need(blkfront_wait_backend(fe, FE_INIT_WAIT), "no state 2 in %s",
	     fe->backend);
	blkfront_alloc(fe);
	go_connected(fe);
}

void blkfront_close(struct blkfront *fe)
{
	blkfront_set_state(fe, FE_CLOSING);
	need(blkfront_wait_backend(fe, FE_CLOSING), "no state 5 in %s",
	     fe->backend);
	blkfront_set_state(fe, FE_CLOSED);
	/* It stays at 6 until we are at 1 again, and has unmapped by then. */
	need(blkfront_wait_backend(fe, FE_CLOSED), "no state 6 in %s",
	     fe->backend);
	blkfront_free(fe);
}

void blkfront_resume(struct blkfront *fe)
{
	/* The old domain's grants and ports are gone with it. */
	fe->allocated = false;
	blkfront_alloc(fe);
	blkfront_publish(fe);
}

/* ---- the ring ---- */

void *blkfront_entry(const struct blkfront *fe, struct fe_queue *q,
		     uint32_t index)
{
	return q->ring + 64 +
	       (index & (q->size - 1)) * blkfront_entry_bytes(fe->abi);
}

void *blkfront_slot(const struct blkfront *fe, struct fe_queue *q)
{
	need(q->req_prod_pvt - q->rsp_cons < q->size, "the ring is full");
	return blkfront_entry(fe, q, q->req_prod_pvt);
}

/* An id that no earlier request had, and its place in the shadow. */
static uint64_t id_next(const struct fe_queue *q)
{
	uint32_t slot;

	for (slot = 0; q->shadow[slot].busy; slot++)
		need(slot + 1 < q->size, "no free id");
	return (uint64_t)q->generation << 48 | (uint64_t)q->req_prod_pvt << 16 |
	       slot;
}

uint64_t blkfront_advance(struct fe_queue *q, uint8_t operation)
{
	uint64_t id = id_next(q);
	uint32_t slot = id & 0xffff;

	q->shadow[slot].busy = true;
	q->shadow[slot].operation = operation;
	q->shadow[slot].id = id;
	q->nr_busy++;
	q->req_prod_pvt++;
	return id;
}

static void encode_segments(struct fe_wire_segment *wire,
			    const struct fe_request *rq)
{
	unsigned int i;

	for (i = 0; i < FE_SEGMENTS; i++) {
		wire[i].gref = rq->seg[i].gref;
		wire[i].first_sect = rq->seg[i].first_sect;
		wire[i].last_sect = rq->seg[i].last_sect;
	}
}

uint64_t blkfront_submit(struct fe_queue *q, const struct blkfront *fe,
			 const struct fe_request *rq)
{
	void *slot = blkfront_slot(fe, q);
	uint64_t id = id_next(q);

	/* Old responses' bytes stay, as they do in a real ring. */
	if (fe->abi == FE_ABI_X86_32) {
		struct fe_wire_request_32 *w = slot;

		w->operation = rq->operation;
		w->nr_segments = rq->nr_segments;
		w->handle = rq->handle;
		w->id = id;
		w->sector = rq->sector;
		encode_segments(w->seg, rq);
	} else {
		struct fe_wire_request_64 *w = slot;

		w->operation = rq->operation;
		w->nr_segments = rq->nr_segments;
		w->handle = rq->handle;
		w->id = id;
		w->sector = rq->sector;
		encode_segments(w->seg, rq);
	}
	return blkfront_advance(q, rq->operation);
}

void blkfront_kick(struct blkfront *fe, struct fe_queue *q)
{
	struct fe_ring_head *r = head(q);
	uint32_t old = __atomic_load_n(&r->req_prod, __ATOMIC_RELAXED);
	uint32_t new = q->req_prod_pvt;
	uint32_t event;

	__atomic_store_n(&r->req_prod, new, __ATOMIC_RELEASE);
	/* Pairs with the backend's barrier between req_event and req_prod. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&r->req_event, __ATOMIC_RELAXED);
	if ((uint32_t)(new - event) < (uint32_t)(new - old))
		sim_port_notify(fe->guest->dom, q->port);
}

/* Checks a response against what is outstanding. */
static void response_check(struct blkfront *fe, struct fe_queue *q,
			   const struct fe_wire_response *w)
{
	uint32_t slot = w->id & 0xffff;

	need(slot < q->size && q->shadow[slot].busy &&
		     q->shadow[slot].id == w->id,
	     "id %#llx is not outstanding", (unsigned long long)w->id);
	need(w->operation == q->shadow[slot].operation,
	     "op %u was answered as %u", q->shadow[slot].operation,
	     w->operation);
	need(w->pad == 0, "padding %#x in a response (XSA-216)", w->pad);
	if (fe->abi != FE_ABI_X86_32)
		need(!w->tail[0] && !w->tail[1] && !w->tail[2] && !w->tail[3],
		     "padding behind a response (XSA-216)");
	need(w->status >= FE_EOPNOTSUPP && w->status <= FE_OKAY,
	     "status %d does not exist", w->status);
	q->shadow[slot].busy = false;
	q->nr_busy--;
}

/* Takes one response if it is there. */
static bool response_take(struct blkfront *fe, struct fe_queue *q,
			  struct fe_response *ret_response)
{
	uint32_t prod = __atomic_load_n(&head(q)->rsp_prod, __ATOMIC_ACQUIRE);
	struct fe_wire_response w = { 0 };

	if (prod == q->rsp_cons)
		return false;
	need((uint32_t)(prod - q->rsp_cons) <=
		     (uint32_t)(q->req_prod_pvt - q->rsp_cons),
	     "rsp_prod %u runs ahead of the requests", prod);
	memcpy(&w, blkfront_entry(fe, q, q->rsp_cons), response_bytes(fe->abi));
	response_check(fe, q, &w);
	q->rsp_cons++;
	*ret_response = (struct fe_response){ w.id, w.operation, w.status };
	return true;
}

bool blkfront_poll(struct blkfront *fe, struct fe_queue *q,
		   struct fe_response *ret_response, unsigned int timeout_ms)
{
	uint64_t end = host_now_ms() + timeout_ms;
	uint64_t count;

	for (;;) {
		struct pollfd p = { q->event_fd, POLLIN, 0 };
		uint64_t now;

		if (response_take(fe, q, ret_response))
			return true;
		__atomic_store_n(&head(q)->rsp_event, q->rsp_cons + 1,
				 __ATOMIC_RELAXED);
		/* Pairs with the backend's barrier before it reads this. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (response_take(fe, q, ret_response))
			return true;
		now = host_now_ms();
		if (now >= end || poll(&p, 1, (int)(end - now)) == 0)
			return response_take(fe, q, ret_response);
		(void)!read(q->event_fd, &count, sizeof(count));
	}
}

int blkfront_do(struct blkfront *fe, const struct fe_request *rq)
{
	struct fe_queue *q = &fe->queues[0];
	uint64_t id = blkfront_submit(q, fe, rq);
	struct fe_response rsp;

	blkfront_kick(fe, q);
	need(blkfront_poll(fe, q, &rsp, HOST_WAIT_MS), "op %u is not answered",
	     rq->operation);
	need(rsp.id == id, "another request was answered");
	return rsp.status;
}

/* ---- conveniences ---- */

void blkfront_fill(const struct blkfront *fe, struct fe_request *ret_rq,
		   uint8_t operation, uint64_t sector, unsigned int nr_sectors,
		   unsigned int first_page, unsigned int skip)
{
	struct fe_request rq = { .operation = operation, .sector = sector };

	rq.handle = (uint16_t)fe->devid;
	while (nr_sectors) {
		unsigned int n = 8 - skip;
		struct fe_segment *seg = &rq.seg[rq.nr_segments];

		if (n > nr_sectors)
			n = nr_sectors;
		need(rq.nr_segments < FE_SEGMENTS, "too long for a request");
		seg->gref = fe->data[first_page + rq.nr_segments].ref;
		seg->first_sect = (uint8_t)skip;
		seg->last_sect = (uint8_t)(skip + n - 1);
		rq.nr_segments++;
		nr_sectors -= n;
		skip = 0;
	}
	*ret_rq = rq;
}

/* The bytes behind a segment's reference. */
static uint8_t *data_of(const struct blkfront *fe, uint32_t gref)
{
	unsigned int i;

	for (i = 0; i < fe->nr_data; i++)
		if (fe->data[i].ref == gref)
			return fe->data[i].bytes;
	need(false, "gref %u is no data page", gref);
	return NULL;
}

void blkfront_data_get(const struct blkfront *fe, const struct fe_request *rq,
		       void *bytes)
{
	uint8_t *to = bytes;
	unsigned int i;

	for (i = 0; i < rq->nr_segments; i++) {
		const struct fe_segment *s = &rq->seg[i];
		size_t n = (s->last_sect - s->first_sect + 1u) * FE_SECTOR;

		memcpy(to, data_of(fe, s->gref) + s->first_sect * FE_SECTOR, n);
		to += n;
	}
}

void blkfront_data_put(struct blkfront *fe, const struct fe_request *rq,
		       const void *bytes)
{
	const uint8_t *from = bytes;
	unsigned int i;

	for (i = 0; i < rq->nr_segments; i++) {
		const struct fe_segment *s = &rq->seg[i];
		size_t n = (s->last_sect - s->first_sect + 1u) * FE_SECTOR;

		memcpy(data_of(fe, s->gref) + s->first_sect * FE_SECTOR, from,
		       n);
		from += n;
	}
}

int blkfront_read(struct blkfront *fe, uint64_t sector, void *bytes,
		  unsigned int nr_sectors)
{
	struct fe_request rq;
	int status;

	blkfront_fill(fe, &rq, FE_READ, sector, nr_sectors, 0, 0);
	status = blkfront_do(fe, &rq);
	blkfront_data_get(fe, &rq, bytes);
	return status;
}

int blkfront_write(struct blkfront *fe, uint64_t sector, const void *bytes,
		   unsigned int nr_sectors)
{
	struct fe_request rq;

	blkfront_fill(fe, &rq, FE_WRITE, sector, nr_sectors, 0, 0);
	blkfront_data_put(fe, &rq, bytes);
	return blkfront_do(fe, &rq);
}

int blkfront_flush(struct blkfront *fe)
{
	struct fe_request rq = { .operation = FE_FLUSH };

	return blkfront_do(fe, &rq);
}
