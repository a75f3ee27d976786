/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A frontend for tests: what Linux's xen-blkfront does, and whatever a hostile
 * guest may do instead.
 *
 * The ring's layouts are this library's own, written from the public header's
 * comments and not shared with the daemon, so that an error there is seen.
 * Each response is checked: its id outstanding and answered once, its op the
 * request's, its padding zero.
 *
 * A frontend belongs to one thread.  Calls end the test on failure (need()).
 */
#ifndef XEN_DISKD_TEST_BLKFRONT_H
#define XEN_DISKD_TEST_BLKFRONT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/host.h"

#define FE_MAX_QUEUES 4
#define FE_MAX_RING_PAGES 16
#define FE_MAX_RING 512
#define FE_SEGMENTS 11
/* As many as a backend may offer in an indirect request. */
#define FE_INDIRECT_SEGMENTS 256
#define FE_INDIRECT_PAGES 32
#define FE_PAGE 4096u
#define FE_SECTOR 512u

enum fe_op {
	FE_READ,
	FE_WRITE,
	FE_BARRIER,
	FE_FLUSH,
	FE_RESERVED_1,
	FE_DISCARD,
	FE_INDIRECT,
};

enum fe_status {
	FE_OKAY = 0,
	FE_ERROR = -1,
	FE_EOPNOTSUPP = -2,
};

enum fe_abi {
	FE_ABI_NATIVE, /* "x86_64-abi" by the build's own name */
	FE_ABI_X86_64,
	FE_ABI_X86_32,
};

struct fe_segment {
	uint32_t gref;
	uint8_t first_sect;
	uint8_t last_sect;
};

/* A buffer page, granted once for the frontend's life. */
struct fe_page {
	uint32_t frame;
	uint32_t ref;
	uint8_t *bytes;
};

/* A request in no particular layout. */
struct fe_request {
	uint8_t operation;
	uint8_t nr_segments;
	uint16_t handle;
	uint64_t id; /* blkfront_submit() chooses it */
	uint64_t sector;
	/* Not NULL: an indirect request, its segments are in this page. */
	const struct fe_page *indirect;
	uint16_t nr_indirect; /* and this is how many it says it has */
	uint64_t nr_sectors; /* of a discard */
	uint8_t discard_flag;
	struct fe_segment seg[FE_INDIRECT_SEGMENTS];
};

struct fe_response {
	uint64_t id;
	uint8_t operation;
	int16_t status;
};

/* A key of the frontend's directory that is not as Linux would write it. */
struct fe_override {
	const char *key;
	const char *value; /* NULL: the key is left out */
};

struct fe_queue {
	uint32_t nr_pages; /* of the ring */
	uint32_t frame; /* its first */
	uint32_t refs[FE_MAX_RING_PAGES];
	uint32_t port;
	int event_fd;
	uint8_t *ring;
	uint32_t size; /* entries */
	uint32_t req_prod_pvt;
	uint32_t rsp_cons;
	struct {
		bool busy;
		uint8_t operation;
		uint64_t id;
	} shadow[FE_MAX_RING];
	unsigned int nr_busy;
	uint32_t generation;
};

struct blkfront {
	struct host *host;
	struct guest *guest;
	unsigned int devid;
	char path[64]; /* frontend directory */
	char backend[64];
	enum fe_abi abi;
	bool no_protocol; /* leave the key out (means x86_32) */
	bool ring_order_key; /* ring-page-order=N and ring-ref%u */
	bool persistent; /* feature-persistent */
	bool stays_initialised; /* never goes to Connected, as GRUB's */
	uint32_t ring_pages;
	unsigned int nr_queues;
	const struct fe_override *overrides; /* ends with a NULL key */
	struct fe_queue queues[FE_MAX_QUEUES];
	bool allocated;
	/* Read from the backend's directory at connection. */
	uint64_t nr_sectors;
	unsigned int info;
	unsigned int sector_size;
	bool feature_flush, feature_barrier, feature_discard;
	unsigned int max_indirect_segments; /* 0: not offered */
	unsigned int discard_granularity;
	/* Data pages, granted read-write. */
	unsigned int nr_data;
	struct fe_page data[FE_SEGMENTS * 32];
	/* Pages of segments; the backend needs but to read them. */
	struct fe_page indirect[FE_INDIRECT_PAGES];
};

/* A frontend that has not begun: its device's directory must exist. */
void blkfront_init(struct blkfront *fe, struct host *h, struct guest *g,
		   unsigned int devid, enum fe_abi abi);
/* Frees grants and ports; a grant still mapped fails the test. */
void blkfront_fini(struct blkfront *fe);
/* The same for a guest that is gone: nothing is checked. */
void blkfront_abandon(struct blkfront *fe);

/* ---- the state machine, step by step ---- */
void blkfront_alloc(struct blkfront *fe); /* rings, ports, grants */
void blkfront_free(struct blkfront *fe);
void blkfront_publish(struct blkfront *fe); /* keys, then state 3 */
void blkfront_set_state(struct blkfront *fe, unsigned int state);
bool blkfront_wait_backend(struct blkfront *fe, unsigned int state);
void blkfront_read_backend(struct blkfront *fe);

/* Waits for 2, publishes, waits for 4, reads the features, goes to 4. */
void blkfront_connect(struct blkfront *fe);
/* As Linux's driver unload: 5, wait for 5, 6, wait for 6, free. */
void blkfront_close(struct blkfront *fe);
/* As Linux's resume: new ring, new keys, straight to 3 and to 4. */
void blkfront_resume(struct blkfront *fe);

/* ---- the ring ---- */
/* Puts a request with a fresh id into the ring, unseen until a kick. */
uint64_t blkfront_submit(struct fe_queue *q, const struct blkfront *fe,
			 const struct fe_request *rq);
/* The next slot's bytes (entry size by ABI); count it with advance. */
void *blkfront_slot(const struct blkfront *fe, struct fe_queue *q);
uint64_t blkfront_advance(struct fe_queue *q, uint8_t operation);
/* The entry of any index, for a guest that meddles. */
void *blkfront_entry(const struct blkfront *fe, struct fe_queue *q,
		     uint32_t index);
/* Publishes what was submitted and sends the event if asked for. */
void blkfront_kick(struct blkfront *fe, struct fe_queue *q);
/* Takes a response if one is there. */
bool blkfront_take(struct blkfront *fe, struct fe_queue *q,
		   struct fe_response *ret_response);
/* Asks for an event; false when a response is there already. */
bool blkfront_rest(struct fe_queue *q);
/* How many events have come since the last call; q->event_fd says when. */
uint64_t blkfront_events(struct fe_queue *q);
/* Takes one response; false at the deadline. */
bool blkfront_poll(struct blkfront *fe, struct fe_queue *q,
		   struct fe_response *ret_response, unsigned int timeout_ms);
/* Submits, kicks and takes the one response: nothing else in flight. */
int blkfront_do(struct blkfront *fe, const struct fe_request *rq);

/* Shared indices, for reading and for a guest that lies. */
uint32_t *blkfront_req_prod(struct fe_queue *q);
uint32_t *blkfront_req_event(struct fe_queue *q);
uint32_t *blkfront_rsp_prod(struct fe_queue *q);
uint32_t *blkfront_rsp_event(struct fe_queue *q);
size_t blkfront_entry_bytes(enum fe_abi abi);

/* ---- conveniences ---- */
/*
 * A request for nr_sectors at sector over data pages from first_page on, with
 * the data starting skip sectors into the first page.
 */
void blkfront_fill(const struct blkfront *fe, struct fe_request *ret_rq,
		   uint8_t operation, uint64_t sector, unsigned int nr_sectors,
		   unsigned int first_page, unsigned int skip);
/*
 * The same for an indirect request, of up to FE_INDIRECT_SEGMENTS pages, whose
 * segments go into the page of that index.
 */
void blkfront_fill_indirect(struct blkfront *fe, struct fe_request *ret_rq,
			    uint8_t operation, uint64_t sector,
			    unsigned int nr_sectors, unsigned int first_page,
			    unsigned int skip, unsigned int indirect);
/* A discard; it has no data. */
void blkfront_fill_discard(const struct blkfront *fe, struct fe_request *ret_rq,
			   uint64_t sector, uint64_t nr_sectors);
/* Copies a request's data out of, or into, its data pages. */
void blkfront_data_get(const struct blkfront *fe, const struct fe_request *rq,
		       void *bytes);
void blkfront_data_put(struct blkfront *fe, const struct fe_request *rq,
		       const void *bytes);
/* Whole transfers of at most 11 pages, waiting; the response's status. */
int blkfront_read(struct blkfront *fe, uint64_t sector, void *bytes,
		  unsigned int nr_sectors);
int blkfront_write(struct blkfront *fe, uint64_t sector, const void *bytes,
		   unsigned int nr_sectors);
int blkfront_flush(struct blkfront *fe);

#endif
