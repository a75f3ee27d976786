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

struct fe_wire_indirect_64 {
	uint8_t operation, indirect_op;
	uint16_t nr_segments;
	uint8_t pad[4];
	uint64_t id, sector;
	uint16_t handle, pad2;
	uint32_t grefs[8];
} __attribute__((packed));

struct fe_wire_indirect_32 {
	uint8_t operation, indirect_op;
	uint16_t nr_segments;
	uint64_t id, sector;
	uint16_t handle, pad2;
	uint32_t grefs[8];
} __attribute__((packed));

struct fe_wire_discard_64 {
	uint8_t operation, flag;
	uint16_t handle;
	uint8_t pad[4];
	uint64_t id, sector, nr_sectors;
} __attribute__((packed));

struct fe_wire_discard_32 {
	uint8_t operation, flag;
	uint16_t handle;
	uint64_t id, sector, nr_sectors;
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
_Static_assert(offsetof(struct fe_wire_indirect_64, grefs) == 28, "grefs");
_Static_assert(offsetof(struct fe_wire_indirect_32, grefs) == 24, "grefs");
_Static_assert(offsetof(struct fe_wire_discard_64, nr_sectors) == 24,
	       "discard");
_Static_assert(offsetof(struct fe_wire_discard_32, nr_sectors) == 20,
	       "discard");
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

static void pages_grant(struct sim_domain *dom, struct fe_page *pages,
			unsigned int nr, bool read_only)
{
	uint32_t frame;

	need(sim_page_alloc(dom, nr, &frame) == 0, "guest memory");
	for (unsigned int i = 0; i < nr; i++) {
		pages[i].frame = frame + i;
		pages[i].bytes = sim_page(dom, frame + i);
		need(sim_grant(dom, frame + i, read_only, &pages[i].ref) == 0,
		     "grant");
	}
}

static void pages_end(struct sim_domain *dom, const struct fe_page *pages,
		      unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		need(sim_grant_end(dom, pages[i].ref) == 0,
		     "page %u is still mapped", i);
	sim_page_free(dom, pages[0].frame, nr);
}

void blkfront_init(struct blkfront *fe, struct host *h, struct guest *g,
		   unsigned int devid, enum fe_abi abi)
{
	char *backend;

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

	fe->nr_data = sizeof(fe->data) / sizeof(fe->data[0]);
	pages_grant(g->dom, fe->data, fe->nr_data, false);
	/* Linux's driver lets the backend write there, too: it may map them. */
	pages_grant(g->dom, fe->indirect, FE_INDIRECT_PAGES, !fe->persistent);
}

void blkfront_fini(struct blkfront *fe)
{
	struct sim_domain *dom = fe->guest->dom;

	blkfront_free(fe);
	pages_end(dom, fe->data, fe->nr_data);
	pages_end(dom, fe->indirect, FE_INDIRECT_PAGES);
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

	/* What an earlier connection wrote is not this one's. */
	key_write(fe, t, "ring-page-order", NULL);
	key_write(fe, t, "multi-queue-num-queues", NULL);
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
	key_write(fe, t, "feature-persistent", fe->persistent ? "1" : "0");
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
	fe->feature_discard = backend_u64(fe, "feature-discard", false);
	fe->discard_granularity =
		(unsigned int)backend_u64(fe, "discard-granularity", false);
	fe->max_indirect_segments = (unsigned int)backend_u64(
		fe, "feature-max-indirect-segments", false);
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
	if (!fe->stays_initialised)
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
			    const struct fe_request *rq, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		wire[i].gref = rq->seg[i].gref;
		wire[i].first_sect = rq->seg[i].first_sect;
		wire[i].last_sect = rq->seg[i].last_sect;
	}
}

static void encode_direct(void *slot, enum fe_abi abi,
			  const struct fe_request *rq, uint64_t id)
{
	struct fe_wire_request_32 *narrow = slot;
	struct fe_wire_request_64 *wide = slot;

	narrow->operation = rq->operation;
	narrow->nr_segments = rq->nr_segments;
	narrow->handle = rq->handle;
	if (abi == FE_ABI_X86_32) {
		narrow->id = id;
		narrow->sector = rq->sector;
		encode_segments(narrow->seg, rq, FE_SEGMENTS);
	} else {
		wide->id = id;
		wide->sector = rq->sector;
		encode_segments(wide->seg, rq, FE_SEGMENTS);
	}
}

static void encode_indirect(void *slot, enum fe_abi abi,
			    const struct fe_request *rq, uint64_t id)
{
	struct fe_wire_indirect_32 *narrow = slot;
	struct fe_wire_indirect_64 *wide = slot;

	narrow->operation = FE_INDIRECT;
	narrow->indirect_op = rq->operation;
	narrow->nr_segments = rq->nr_indirect;
	if (abi == FE_ABI_X86_32) {
		narrow->id = id;
		narrow->sector = rq->sector;
		narrow->handle = rq->handle;
		narrow->grefs[0] = rq->indirect->ref;
	} else {
		wide->id = id;
		wide->sector = rq->sector;
		wide->handle = rq->handle;
		wide->grefs[0] = rq->indirect->ref;
	}
}

static void encode_discard(void *slot, enum fe_abi abi,
			   const struct fe_request *rq, uint64_t id)
{
	struct fe_wire_discard_32 *narrow = slot;
	struct fe_wire_discard_64 *wide = slot;

	narrow->operation = FE_DISCARD;
	narrow->flag = rq->discard_flag;
	narrow->handle = rq->handle;
	if (abi == FE_ABI_X86_32) {
		narrow->id = id;
		narrow->sector = rq->sector;
		narrow->nr_sectors = rq->nr_sectors;
	} else {
		wide->id = id;
		wide->sector = rq->sector;
		wide->nr_sectors = rq->nr_sectors;
	}
}

uint64_t blkfront_submit(struct fe_queue *q, const struct blkfront *fe,
			 const struct fe_request *rq)
{
	void *slot = blkfront_slot(fe, q);
	uint64_t id = id_next(q);

	/* Old responses' bytes stay, as they do in a real ring. */
	if (rq->indirect)
		encode_indirect(slot, fe->abi, rq, id);
	else if (rq->operation == FE_DISCARD)
		encode_discard(slot, fe->abi, rq, id);
	else
		encode_direct(slot, fe->abi, rq, id);
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

bool blkfront_take(struct blkfront *fe, struct fe_queue *q,
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

bool blkfront_rest(struct fe_queue *q)
{
	__atomic_store_n(&head(q)->rsp_event, q->rsp_cons + 1,
			 __ATOMIC_RELAXED);
	/* Pairs with the backend's barrier before it reads this. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return __atomic_load_n(&head(q)->rsp_prod, __ATOMIC_RELAXED) ==
	       q->rsp_cons;
}

uint64_t blkfront_events(struct fe_queue *q)
{
	uint64_t nr;

	return read(q->event_fd, &nr, sizeof(nr)) == sizeof(nr) ? nr : 0;
}

bool blkfront_poll(struct blkfront *fe, struct fe_queue *q,
		   struct fe_response *ret_response, unsigned int timeout_ms)
{
	uint64_t end = host_now_ms() + timeout_ms;

	for (;;) {
		struct pollfd p = { q->event_fd, POLLIN, 0 };
		uint64_t now;

		if (blkfront_take(fe, q, ret_response))
			return true;
		if (!blkfront_rest(q) && blkfront_take(fe, q, ret_response))
			return true;
		now = host_now_ms();
		if (now >= end || poll(&p, 1, (int)(end - now)) == 0)
			return blkfront_take(fe, q, ret_response);
		blkfront_events(q);
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

static void fill(const struct blkfront *fe, struct fe_request *ret_rq,
		 uint8_t operation, uint64_t sector, unsigned int nr_sectors,
		 unsigned int first_page, unsigned int skip,
		 unsigned int max_segments)
{
	unsigned int nr = 0;

	memset(ret_rq, 0, sizeof(*ret_rq));
	ret_rq->operation = operation;
	ret_rq->sector = sector;
	ret_rq->handle = (uint16_t)fe->devid;
	while (nr_sectors) {
		unsigned int n = 8 - skip;
		struct fe_segment *seg = &ret_rq->seg[nr];

		if (n > nr_sectors)
			n = nr_sectors;
		need(nr < max_segments, "too long for a request");
		seg->gref = fe->data[first_page + nr].ref;
		seg->first_sect = (uint8_t)skip;
		seg->last_sect = (uint8_t)(skip + n - 1);
		nr++;
		nr_sectors -= n;
		skip = 0;
	}
	ret_rq->nr_segments = (uint8_t)nr;
	ret_rq->nr_indirect = (uint16_t)nr;
}

void blkfront_fill(const struct blkfront *fe, struct fe_request *ret_rq,
		   uint8_t operation, uint64_t sector, unsigned int nr_sectors,
		   unsigned int first_page, unsigned int skip)
{
	fill(fe, ret_rq, operation, sector, nr_sectors, first_page, skip,
	     FE_SEGMENTS);
}

void blkfront_fill_indirect(struct blkfront *fe, struct fe_request *ret_rq,
			    uint8_t operation, uint64_t sector,
			    unsigned int nr_sectors, unsigned int first_page,
			    unsigned int skip, unsigned int indirect)
{
	fill(fe, ret_rq, operation, sector, nr_sectors, first_page, skip,
	     FE_INDIRECT_SEGMENTS);
	ret_rq->indirect = &fe->indirect[indirect];
	encode_segments((struct fe_wire_segment *)fe->indirect[indirect].bytes,
			ret_rq, ret_rq->nr_indirect);
}

void blkfront_fill_discard(const struct blkfront *fe, struct fe_request *ret_rq,
			   uint64_t sector, uint64_t nr_sectors)
{
	fill(fe, ret_rq, FE_DISCARD, sector, 0, 0, 0, 0);
	ret_rq->nr_sectors = nr_sectors;
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

	for (i = 0; i < rq->nr_indirect; i++) {
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

	for (i = 0; i < rq->nr_indirect; i++) {
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
