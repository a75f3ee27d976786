/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests: data integrity against a model in every ABI, and every malformed
 * or hostile request of 20-blkif ("Validation"), each answered as it must be
 * and harming nothing beside it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/load.h"

#define XVDB 51728u
#define XVDC 51744u
/* A multiple of 512 and not of 4096. */
#define SECTORS 4091u

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;
static uint8_t model[SECTORS * FE_SECTOR];
static const uint8_t operations[] = {
	FE_READ,  FE_READ,  FE_READ,  FE_READ,  FE_WRITE,
	FE_WRITE, FE_WRITE, FE_WRITE, FE_FLUSH, FE_BARRIER,
};
static struct load load = {
	.fe = &fe,
	.model = model,
	.nr_sectors = SECTORS,
	.operations = operations,
	.nr_operations = sizeof(operations),
	.depth = LOAD_DEPTH,
	.seed = 0x1234567,
};

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", sizeof(model), image);
	host_image_read(image, model, sizeof(model));
}

static void teardown(void)
{
	host_stop(&h);
}

static void attach_mode(enum fe_abi abi, char mode)
{
	char *error = host_vbd_attach(&h, g, XVDB, image, mode);

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, abi);
	blkfront_connect(&fe);
	need(fe.nr_sectors == SECTORS, "sectors");
}

static void finish(void)
{
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}

/* ---- against the model ---- */

static void fill_random(uint8_t *bytes, size_t n)
{
	while (n--)
		*bytes++ = (uint8_t)load_rnd(&load, 256);
}

START_TEST(random_against_model)
{
	attach_mode((enum fe_abi)_i, 'w');
	load_rounds(&load, 250);
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	finish();
	load_check_image(&load, image);
}
END_TEST

START_TEST(first_and_last_sectors)
{
	uint8_t data[FE_SEGMENTS * FE_PAGE], got[sizeof(data)];

	attach_mode(FE_ABI_X86_64, 'w');
	fill_random(data, sizeof(data));
	need(blkfront_write(&fe, SECTORS - 1, data, 1) == FE_OKAY, "last");
	need(blkfront_read(&fe, SECTORS - 1, got, 1) == FE_OKAY, "last");
	need(!memcmp(got, data, 512), "last sector");
	need(blkfront_write(&fe, 0, data, 88) == FE_OKAY, "largest");
	need(blkfront_read(&fe, 0, got, 88) == FE_OKAY, "largest");
	need(!memcmp(got, data, sizeof(data)), "largest request");
	finish();
}
END_TEST

START_TEST(same_gref_repeated)
{
	struct fe_request rq;
	uint8_t wrote[FE_PAGE], got[FE_SEGMENTS * FE_PAGE];
	unsigned int i;

	attach_mode(FE_ABI_X86_64, 'w');
	fill_random(wrote, FE_PAGE);
	memcpy(fe.data[0].bytes, wrote, FE_PAGE);
	blkfront_fill(&fe, &rq, FE_WRITE, 0, 88, 0, 0);
	for (i = 0; i < FE_SEGMENTS; i++)
		rq.seg[i].gref = fe.data[0].ref;
	need(blkfront_do(&fe, &rq) == FE_OKAY, "write");
	need(blkfront_read(&fe, 0, got, 88) == FE_OKAY, "read");
	for (i = 0; i < FE_SEGMENTS; i++)
		need(!memcmp(got + i * FE_PAGE, wrote, FE_PAGE), "page %u", i);
	finish();
}
END_TEST

START_TEST(flush_and_barrier)
{
	struct fe_request rq;
	uint8_t got[FE_PAGE];

	attach_mode((enum fe_abi)_i, 'w');
	need(fe.feature_flush && fe.feature_barrier, "features");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	rq = (struct fe_request){ .operation = FE_BARRIER };
	need(blkfront_do(&fe, &rq) == FE_OKAY, "empty barrier");
	blkfront_fill(&fe, &rq, FE_BARRIER, 16, 8, 3, 0);
	memset(fe.data[3].bytes, 0x77, FE_PAGE);
	need(blkfront_do(&fe, &rq) == FE_OKAY, "barrier");
	need(blkfront_read(&fe, 16, got, 8) == FE_OKAY, "read");
	need(got[0] == 0x77 && got[4095] == 0x77, "barrier's data");
	finish();
}
END_TEST

START_TEST(read_only_refuses_writes)
{
	struct fe_request rq;
	uint8_t data[FE_PAGE] = { 1 }, got[FE_PAGE];
	static uint8_t after[sizeof(model)];

	need(chmod(image, 0400) == 0, "chmod");
	attach_mode(FE_ABI_X86_64, 'r');
	need(fe.info & 4, "info does not say read-only");
	need(blkfront_write(&fe, 0, data, 8) == FE_ERROR, "write");
	blkfront_fill(&fe, &rq, FE_BARRIER, 0, 8, 0, 0);
	need(blkfront_do(&fe, &rq) != FE_OKAY, "barrier");
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, model, FE_PAGE), "data");
	finish();
	host_image_read(image, after, sizeof(after));
	need(!memcmp(after, model, sizeof(model)), "the image changed");
}
END_TEST

/* ---- hostile requests ---- */

/* Changes a good 2-page request at sector 8 into a bad one. */
struct hostile {
	const char *name;
	void (*change)(struct fe_request *rq);
	int16_t status;
};

static void no_segments(struct fe_request *rq)
{
	rq->nr_segments = 0;
}

static void twelve_segments(struct fe_request *rq)
{
	rq->nr_segments = 12;
}

static void many_segments(struct fe_request *rq)
{
	rq->nr_segments = 255;
}

static void first_after_last(struct fe_request *rq)
{
	rq->seg[1].first_sect = 5;
	rq->seg[1].last_sect = 4;
}

static void last_is_8(struct fe_request *rq)
{
	rq->seg[0].last_sect = 8;
}

static void last_is_255(struct fe_request *rq)
{
	rq->seg[1].last_sect = 255;
}

static void first_is_255(struct fe_request *rq)
{
	rq->seg[0].first_sect = 255;
	rq->seg[0].last_sect = 255;
}

static void past_end(struct fe_request *rq)
{
	rq->sector = SECTORS - 15;
}

static void at_end(struct fe_request *rq)
{
	rq->sector = SECTORS;
}

static void far_away(struct fe_request *rq)
{
	rq->sector = 1ull << 55;
}

static void wraps(struct fe_request *rq)
{
	rq->sector = UINT64_MAX - 7;
}

static void wraps_bytes(struct fe_request *rq)
{
	rq->sector = 1ull << 63;
}

static void bad_gref(struct fe_request *rq)
{
	rq->seg[1].gref = 4000;
}

static void wild_gref(struct fe_request *rq)
{
	rq->seg[0].gref = ~0u;
}

static void reserved_op(struct fe_request *rq)
{
	rq->operation = 4;
}

static void unknown_op(struct fe_request *rq)
{
	rq->operation = 7;
}

static void wild_op(struct fe_request *rq)
{
	rq->operation = 255;
}

static const struct hostile hostiles[] = {
	{ "no segments", no_segments, FE_ERROR },
	{ "12 segments", twelve_segments, FE_ERROR },
	{ "255 segments", many_segments, FE_ERROR },
	{ "first_sect after last_sect", first_after_last, FE_ERROR },
	{ "last_sect 8", last_is_8, FE_ERROR },
	{ "last_sect 255", last_is_255, FE_ERROR },
	{ "first_sect 255", first_is_255, FE_ERROR },
	{ "one sector past the end", past_end, FE_ERROR },
	{ "at the end", at_end, FE_ERROR },
	{ "far past the end", far_away, FE_ERROR },
	{ "sector + count wraps", wraps, FE_ERROR },
	{ "bytes wrap", wraps_bytes, FE_ERROR },
	{ "a gref that is not granted", bad_gref, FE_ERROR },
	{ "a gref that cannot exist", wild_gref, FE_ERROR },
	{ "reserved op", reserved_op, FE_EOPNOTSUPP },
	{ "unknown op 7", unknown_op, FE_EOPNOTSUPP },
	{ "unknown op 255", wild_op, FE_EOPNOTSUPP },
};

#define NR_HOSTILES ((int)(sizeof(hostiles) / sizeof(hostiles[0])))

/* A barrier without segments is a good one, and so not a hostile one. */
static bool is_exempt(const struct hostile *bad, uint8_t op)
{
	return bad->change == no_segments && op == FE_BARRIER;
}

/* A bad request between two good ones, all in one kick. */
static void hostile_one(const struct hostile *bad, uint8_t op)
{
	struct fe_queue *q = &fe.queues[0];
	struct fe_request before, rq, after;
	uint64_t ids[3], id;
	struct fe_response rsp;
	unsigned int i;

	blkfront_fill(&fe, &before, FE_READ, 0, 8, 20, 0);
	blkfront_fill(&fe, &rq, op, 8, 16, 0, 0);
	bad->change(&rq);
	blkfront_fill(&fe, &after, FE_READ, 32, 8, 22, 0);
	ids[0] = blkfront_submit(q, &fe, &before);
	ids[1] = blkfront_submit(q, &fe, &rq);
	ids[2] = blkfront_submit(q, &fe, &after);
	blkfront_kick(&fe, q);
	for (i = 0; i < 3; i++) {
		need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS),
		     "%s, op %u: not answered", bad->name, op);
		id = rsp.id;
		need(rsp.status == (id == ids[1] ? bad->status : FE_OKAY),
		     "%s, op %u: request %d is answered %d", bad->name, op,
		     id == ids[0]   ? 0
		     : id == ids[1] ? 1
				    : 2,
		     rsp.status);
	}
	need(!memcmp(fe.data[20].bytes, model, FE_PAGE), "before");
	need(!memcmp(fe.data[22].bytes, model + 32 * 512, FE_PAGE), "after");
}

START_TEST(hostile_requests)
{
	static uint8_t got[sizeof(model)];
	uint8_t op;
	int i;

	attach_mode((enum fe_abi)_i, 'w');
	for (i = 0; i < NR_HOSTILES; i++) {
		for (op = FE_READ; op <= FE_BARRIER; op++)
			if (!is_exempt(&hostiles[i], op))
				hostile_one(&hostiles[i], op);
	}
	finish();
	/* A refused write has written nothing at all. */
	host_image_read(image, got, sizeof(got));
	need(!memcmp(got, model, sizeof(model)), "the image changed");
}
END_TEST

START_TEST(grants_fail_one_by_one)
{
	struct fe_request rq;
	uint32_t frame, ref;
	uint8_t op;

	attach_mode(FE_ABI_X86_64, 'w');
	/* A page that may only be read by us serves WRITE, not READ. */
	need(sim_page_alloc(g->dom, 1, &frame) == 0, "page");
	need(sim_grant(g->dom, frame, true, &ref) == 0, "grant");
	memcpy(sim_page(g->dom, frame), model + 8 * 512, FE_PAGE);
	for (op = FE_READ; op <= FE_WRITE; op++) {
		blkfront_fill(&fe, &rq, op, 8, 8, 0, 0);
		rq.seg[0].gref = ref;
		need(blkfront_do(&fe, &rq) ==
			     (op == FE_READ ? FE_ERROR : FE_OKAY),
		     "read-only grant, op %u", op);
	}
	/* Revoked. */
	need(sim_grant_end(g->dom, ref) == 0, "end");
	blkfront_fill(&fe, &rq, FE_WRITE, 8, 8, 0, 0);
	rq.seg[0].gref = ref;
	need(blkfront_do(&fe, &rq) == FE_ERROR, "revoked grant");

	/* The third of eleven segments fails for another reason. */
	for (op = FE_READ; op <= FE_WRITE; op++) {
		sim_fail_copy(g->dom, 3, -1);
		blkfront_fill(&fe, &rq, op, 0, 88, 0, 0);
		need(blkfront_do(&fe, &rq) == FE_ERROR, "copy fault");
		blkfront_fill(&fe, &rq, FE_READ, 0, 88, 0, 0);
		need(blkfront_do(&fe, &rq) == FE_OKAY, "the next");
		need(!memcmp(fe.data[0].bytes, model, FE_PAGE), "data");
	}
	finish();
}
END_TEST

/* CVE-2010-4247, and what is reported of it. */
START_TEST(huge_req_prod_stops_the_ring)
{
	static struct blkfront other;
	char path[64], *error, *text;
	uint8_t got[FE_PAGE];
	json_t *vbd;

	attach_mode(FE_ABI_X86_64, 'w');
	host_image(&h, "b.img", sizeof(model), path);
	error = host_vbd_attach(&h, g, XVDC, path, 'w');
	need(!error, "attach: %s", error);
	blkfront_init(&other, &h, g, XVDC, FE_ABI_X86_64);
	blkfront_connect(&other);

	__atomic_store_n(blkfront_req_prod(&fe.queues[0]), _i ? 33u : ~0u,
			 __ATOMIC_RELEASE);
	sim_port_notify(g->dom, fe.queues[0].port);
	text = host_wait_any(&h, 2000, "%s/error", fe.backend);
	need(text, "no error node within 2 s");
	free(text);
	need(*blkfront_rsp_prod(&fe.queues[0]) == 0, "garbage was answered");
	vbd = host_list(&h, 1, XVDB);
	need(json_is_string(json_object_get(vbd, "error")), "not in list");
	json_decref(vbd);
	need(blkfront_read(&other, 0, got, 8) == FE_OKAY, "the other vbd");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	host_vbd_force(&h, g, XVDC);
	blkfront_fini(&other);
}
END_TEST

/* Waits, by the port's events, until the backend has answered up to index. */
static void wait_rsp_prod(struct fe_queue *q, uint32_t index)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS, now, count;

	__atomic_store_n(blkfront_rsp_event(q), index, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	while (__atomic_load_n(blkfront_rsp_prod(q), __ATOMIC_ACQUIRE) !=
	       index) {
		struct pollfd p = { q->event_fd, POLLIN, 0 };

		now = host_now_ms();
		need(now < end, "rsp_prod is %u, not %u", *blkfront_rsp_prod(q),
		     index);
		poll(&p, 1, (int)(end - now));
		(void)!read(q->event_fd, &count, sizeof(count));
	}
}

/* What the guest writes there is nobody's business but its own. */
START_TEST(lying_rsp_prod_and_event)
{
	struct fe_request rq;
	struct fe_response rsp;
	struct fe_queue *q;

	attach_mode(FE_ABI_X86_64, 'w');
	q = &fe.queues[0];
	__atomic_store_n(blkfront_rsp_prod(q), 0xdeadbeef, __ATOMIC_RELEASE);
	blkfront_fill(&fe, &rq, FE_READ, 0, 8, 0, 0);
	blkfront_submit(q, &fe, &rq);
	__atomic_store_n(blkfront_req_prod(q), q->req_prod_pvt,
			 __ATOMIC_RELEASE);
	sim_port_notify(g->dom, q->port);
	/* The backend's own count decides, and it overwrites the lie. */
	wait_rsp_prod(q, 1);
	need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS), "no response");
	need(rsp.status == FE_OKAY, "status");
	finish();
}
END_TEST

/* ---- XSA-155: the guest changes an entry while it is being read ---- */

static atomic_bool flipping;

static void *flip(void *arg)
{
	volatile uint8_t *entries = arg;
	unsigned int i;

	/* nr_segments and both sector bounds of segment 0, in every slot. */
	while (atomic_load(&flipping))
		for (i = 0; i < 32; i++) {
			volatile uint8_t *e = entries + i * 112;

			e[1] ^= 0xfe;
			e[28] ^= 0xf0;
			e[29] ^= 0xf0;
		}
	return NULL;
}

/*
 * Responses are taken by index, not checked by content: the guest scribbles
 * over them too.  The daemon must stay alive and answer all of them.
 */
START_TEST(double_fetch)
{
	struct fe_queue *q;
	struct fe_request rq;
	pthread_t thread;
	uint32_t round, i;
	uint8_t got[FE_PAGE];

	attach_mode(FE_ABI_X86_64, 'w');
	q = &fe.queues[0];
	atomic_store(&flipping, true);
	need(pthread_create(&thread, NULL, flip, q->ring + 64) == 0, "thread");
	for (round = 0; round < 100; round++) {
		for (i = 0; i < 32; i++) {
			blkfront_fill(&fe, &rq, FE_READ, i, 8, i, 0);
			blkfront_submit(q, &fe, &rq);
			memset(q->shadow, 0, sizeof(q->shadow));
		}
		blkfront_kick(&fe, q);
		wait_rsp_prod(q, q->req_prod_pvt);
		q->rsp_cons = q->req_prod_pvt;
	}
	atomic_store(&flipping, false);
	pthread_join(thread, NULL);
	memset(q->shadow, 0, sizeof(q->shadow));
	q->nr_busy = 0;
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "afterwards");
	need(!memcmp(got, model, FE_PAGE), "data");
	finish();
}
END_TEST

/* XSA-391: a storm of events is not a storm of work, nor of answers. */
START_TEST(event_storm)
{
	uint8_t got[FE_PAGE];
	int i;

	attach_mode(FE_ABI_X86_64, 'w');
	for (i = 0; i < 200000; i++)
		sim_port_notify(g->dom, fe.queues[0].port);
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, model, FE_PAGE), "data");
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io");
	TCase *tc = tcase_create("requests");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, random_against_model, 0, 3);
	tcase_add_test(tc, first_and_last_sectors);
	tcase_add_test(tc, same_gref_repeated);
	tcase_add_loop_test(tc, flush_and_barrier, 0, 3);
	tcase_add_test(tc, read_only_refuses_writes);
	tcase_add_loop_test(tc, hostile_requests, 1, 3);
	tcase_add_test(tc, grants_fail_one_by_one);
	tcase_add_loop_test(tc, huge_req_prod_stops_the_ring, 0, 2);
	tcase_add_test(tc, lying_rsp_prod_and_event);
	tcase_add_test(tc, double_fetch);
	tcase_add_test(tc, event_storm);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
