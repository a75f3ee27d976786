/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Features that a frontend may choose: rings of several pages, several queues,
 * indirect segments, discard.  Data against a model in every combination and
 * ABI, what a guest may not say in them, and one combination after another on
 * the same disk.
 */
#include "tests/sim/load.h"
#include "tests/unit/loop-device.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XVDB 51728u
/* A multiple of 512 and not of 4096. */
#define SECTORS 16379u
/* Of a device with blocks of 4096 bytes. */
#define BLOCK_SECTORS 16376u
/* Of a discard; what is not whole pages of the file stays. */
#define PAGE_SECTORS 8u

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;
static uint8_t model[SECTORS * FE_SECTOR];
static const uint8_t operations[] = { FE_READ,  FE_READ,    FE_READ,
				      FE_WRITE, FE_WRITE,   FE_WRITE,
				      FE_FLUSH, FE_BARRIER, FE_DISCARD };
static struct load load = {
	.fe = &fe,
	.model = model,
	.nr_sectors = SECTORS,
	.operations = operations,
	.nr_operations = sizeof(operations),
	.depth = LOAD_DEPTH / 2,
	.seed = 0x7654321,
};

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", sizeof(model), image);
	host_image_read(image, model, sizeof(model));
}

/* The same image in tmpfs, without a name: it goes with the test. */
static void move_to_memory(void)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	need(fd >= 0 && write(fd, model, sizeof(model)) == sizeof(model),
	     "image in memory");
	snprintf(image, sizeof(image), "/proc/%d/fd/%d", getpid(), fd);
}

static void teardown(void)
{
	host_stop(&h);
}

static void attach_target(const char *target, enum fe_abi abi)
{
	char *error = host_vbd_attach(&h, g, XVDB, target, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, abi);
}

static void attach(enum fe_abi abi)
{
	attach_target(image, abi);
}

static void finish(void)
{
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}

/* ---- against the model ---- */

static const struct combination {
	unsigned int ring_pages, nr_queues;
	bool indirect, persistent;
	enum fe_abi abi;
} combinations[] = {
#define EACH_ABI(...)                                                   \
	{ __VA_ARGS__, FE_ABI_NATIVE }, { __VA_ARGS__, FE_ABI_X86_64 }, \
	{                                                               \
		__VA_ARGS__, FE_ABI_X86_32                              \
	}
#define EACH_FEATURE(pages, queues)                   \
	EACH_ABI(pages, queues, false, false),        \
		EACH_ABI(pages, queues, false, true), \
		EACH_ABI(pages, queues, true, false), \
		EACH_ABI(pages, queues, true, true)
	EACH_FEATURE(1, 1),  EACH_FEATURE(1, 4), EACH_FEATURE(16, 1),
	EACH_FEATURE(16, 4), EACH_FEATURE(2, 2),
};

static void choose(const struct combination *chosen)
{
	fe.abi = chosen->abi;
	fe.ring_pages = chosen->ring_pages;
	fe.nr_queues = chosen->nr_queues;
	fe.persistent = chosen->persistent;
}

/* Of the target and with the features that were chosen, up to its end. */
static void load_against_model(const struct combination *chosen)
{
	load.indirect = chosen->indirect;
	load_rounds(&load, 100);
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	finish();
	load_check_image(&load, image);
}

START_TEST(against_model)
{
	const struct combination *chosen = &combinations[_i];

	attach(chosen->abi);
	choose(chosen);
	blkfront_connect(&fe);
	need(fe.max_indirect_segments == FE_INDIRECT_SEGMENTS, "indirect");
	need(fe.feature_discard && fe.discard_granularity == FE_PAGE,
	     "discard");
	load_against_model(chosen);
}
END_TEST

/* Read out of a mapping. */
START_TEST(against_model_in_memory)
{
	/* Each in one ABI. */
	const struct combination *chosen = &combinations[_i * 3 + _i % 3];

	move_to_memory();
	attach(chosen->abi);
	choose(chosen);
	blkfront_connect(&fe);
	load_against_model(chosen);
}
END_TEST

/*
 * Blocks of 4096 bytes, and guests that write any sector: parts of one block
 * from several queues at once.
 */
START_TEST(against_model_in_blocks)
{
	/* Each in one ABI. */
	const struct combination *chosen = &combinations[_i * 3 + _i % 3];
	struct loop_device loop;

	need(truncate(image, BLOCK_SECTORS * FE_SECTOR) == 0, "truncate");
	load.nr_sectors = BLOCK_SECTORS;
	loop_device_open(&loop, image, false, FE_PAGE);
	attach_target(loop.path, chosen->abi);
	choose(chosen);
	blkfront_connect(&fe);
	need(fe.sector_size == FE_SECTOR && fe.nr_sectors == BLOCK_SECTORS,
	     "size");
	need(host_wait_value(&h, "4096", 0, "%s/physical-sector-size",
			     fe.backend),
	     "physical-sector-size");
	load_against_model(chosen);
	loop_device_close(&loop);
}
END_TEST

/* A driver that is loaded anew, or another system in the same guest. */
START_TEST(one_after_another)
{
	attach(FE_ABI_X86_64);
	for (unsigned int i = 0;
	     i < sizeof(combinations) / sizeof(*combinations); i++) {
		if (i) {
			blkfront_close(&fe);
			blkfront_set_state(&fe, FE_INITIALISING);
		}
		choose(&combinations[i]);
		blkfront_connect(&fe);
		load.indirect = combinations[i].indirect;
		load_rounds(&load, 10);
	}
	finish();
	load_check_image(&load, image);
}
END_TEST

/* A daemon that was started with other limits than the one before. */
static void restart(const char *queues, const char *order, const char *grants)
{
	host_daemon_stop(&h);
	h.daemon_options[0] = queues;
	h.daemon_options[1] = order;
	h.daemon_options[2] = grants;
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not taken up");
}

/*
 * A guest that is connected goes on with what it was offered; one that connects
 * anew is offered what there is now.
 */
START_TEST(other_limits)
{
	static const struct combination most = { 16, 4, true, true,
						 FE_ABI_X86_64 },
					least = { 1, 1, true, true,
						  FE_ABI_X86_32 };

	attach(FE_ABI_X86_64);
	choose(&most);
	blkfront_connect(&fe);
	load.indirect = true;
	load_rounds(&load, 20);
	restart("--queues=1", "--ring-page-order=0", "--persistent-grants=0");
	load.indirect = true;
	load_rounds(&load, 20);
	blkfront_close(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "state");
	need(host_wait_value(&h, "1", 0, "%s/multi-queue-max-queues",
			     fe.backend) &&
		     host_wait_value(&h, "0", 0, "%s/max-ring-page-order",
				     fe.backend) &&
		     host_wait_value(&h, "0", 0, "%s/feature-persistent",
				     fe.backend),
	     "the offer is an old one");
	choose(&least);
	blkfront_connect(&fe);
	load.indirect = true;
	load_rounds(&load, 20);
	restart("--queues=4", "--ring-page-order=4", "--persistent-grants=64");
	load.indirect = true;
	load_rounds(&load, 20);
	blkfront_close(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	choose(&most);
	blkfront_connect(&fe);
	load.indirect = true;
	load_rounds(&load, 20);
	finish();
	load_check_image(&load, image);
}
END_TEST

/* As many requests as the largest ring holds, and each as long as can be. */
START_TEST(ring_is_full)
{
	struct fe_queue *q = &fe.queues[0];
	struct fe_request rq;
	struct fe_response rsp;

	attach(FE_ABI_X86_64);
	fe.ring_pages = 16;
	blkfront_connect(&fe);
	need(q->size == 512, "%u slots", q->size);
	for (unsigned int i = 0; i < q->size; i++) {
		blkfront_fill_indirect(&fe, &rq, FE_READ, i % 8 * 2040,
				       FE_INDIRECT_SEGMENTS * 8, 0, 0, 0);
		blkfront_submit(q, &fe, &rq);
	}
	blkfront_kick(&fe, q);
	for (unsigned int i = 0; i < q->size; i++) {
		need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS), "response %u",
		     i);
		need(rsp.status == FE_OKAY, "status %d", rsp.status);
	}
	finish();
}
END_TEST

/* Mapped only where both sides have said so, and not beyond the connection. */
START_TEST(grants_persist)
{
	uint8_t data[FE_PAGE];

	attach(FE_ABI_X86_64);
	for (unsigned int round = 0; round < 4; round++) {
		if (round) {
			blkfront_close(&fe);
			need(sim_grant_end(g->dom, fe.data[0].ref) == 0,
			     "it stays mapped when the disk is let go of");
			need(sim_grant(g->dom, fe.data[0].frame, false,
				       &fe.data[0].ref) == 0,
			     "grant");
			blkfront_set_state(&fe, FE_INITIALISING);
		}
		fe.persistent = round % 2;
		blkfront_connect(&fe);
		need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "read");
		need(!memcmp(data, model, FE_PAGE), "data");
		if (fe.persistent)
			need(sim_grant_end(g->dom, fe.data[0].ref) != 0,
			     "it is not mapped");
	}
	finish();
}
END_TEST

static void restart_grants(const char *grants, const char *forget)
{
	host_daemon_stop(&h);
	if (forget)
		need(unlink(forget) == 0, "unlink %s", forget);
	h.daemon_options[0] = grants;
	host_daemon_start(&h);
}

/*
 * A guest that was offered no mapping, whatever the next daemon would, says that it
 * can nevertheless, and gives its pages to others once they are answered.  0: it
 * connects, 1: it has a new ring, 2: its connection is not known any more.
 */
START_TEST(grants_not_offered)
{
	uint8_t data[FE_PAGE];
	char path[96];

	snprintf(path, sizeof(path), "%s/run/vbd-1-%u.connection", h.dir, XVDB);
	restart_grants("--persistent-grants=0", NULL);
	attach(FE_ABI_X86_64);
	fe.persistent = true;
	need(host_wait_value(&h, "0", 0, "%s/feature-persistent", fe.backend),
	     "it is offered");
	if (_i)
		blkfront_connect(&fe);
	restart_grants("--persistent-grants=64", _i == 2 ? path : NULL);
	need(host_wait_worker(&h, 1, XVDB, _i ? "connected" : "ready"),
	     "not taken up");
	if (!_i) {
		blkfront_connect(&fe);
	} else if (_i == 1) {
		blkfront_resume(&fe);
		need(sim_wait_bound(g->dom, fe.queues[0].port, HOST_WAIT_MS) ==
			     0,
		     "the new port is not bound");
		need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
		blkfront_set_state(&fe, FE_CONNECTED);
	}
	need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "read");
	need(!memcmp(data, model, FE_PAGE), "data");
	need(sim_grant_end(g->dom, fe.data[0].ref) == 0, "it stays mapped");
	need(sim_grant(g->dom, fe.data[0].frame, false, &fe.data[0].ref) == 0,
	     "grant");
	/* The next time it is offered. */
	blkfront_close(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(host_wait_value(&h, "1", 0, "%s/feature-persistent", fe.backend),
	     "it is not offered");
	need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "read");
	need(sim_grant_end(g->dom, fe.data[0].ref) != 0, "it is not mapped");
	finish();
}
END_TEST

/*
 * After a load that is worth waking up early for: looking at the ring ends when
 * the load does.
 */
START_TEST(idle_disk_sleeps)
{
	uint8_t data[FE_PAGE];
	uint64_t used;
	pid_t worker;

	attach(FE_ABI_X86_64);
	fe.nr_queues = 4;
	fe.persistent = true;
	blkfront_connect(&fe);
	for (unsigned int i = 0; i < 2000; i++)
		need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "read");
	worker = host_worker_pid(&h, 1, XVDB);
	poll(NULL, 0, 50); /* it may still be looking */
	used = host_cpu_ns(worker);
	poll(NULL, 0, 500);
	used = host_cpu_ns(worker) - used;
	need(used == 0, "%llu ns of CPU time at rest",
	     (unsigned long long)used);
	finish();
}
END_TEST

/* ---- what a guest may not say ---- */

/* Changes a good indirect request of two pages at sector 8 into a bad one. */
static void indirect_nothing(struct fe_request *rq)
{
	rq->nr_indirect = 0;
}

static void indirect_257(struct fe_request *rq)
{
	rq->nr_indirect = 257;
}

static void indirect_65535(struct fe_request *rq)
{
	rq->nr_indirect = 65535;
}

static void indirect_flush(struct fe_request *rq)
{
	rq->operation = FE_FLUSH;
}

static void indirect_barrier(struct fe_request *rq)
{
	rq->operation = FE_BARRIER;
}

static void indirect_indirect(struct fe_request *rq)
{
	rq->operation = FE_INDIRECT;
}

static void indirect_wild(struct fe_request *rq)
{
	rq->operation = 255;
}

static void indirect_past_end(struct fe_request *rq)
{
	rq->sector = SECTORS - 15;
}

static void indirect_wraps(struct fe_request *rq)
{
	rq->sector = UINT64_MAX - 7;
}

static const struct fe_page no_page = { .ref = 4000 };

static void indirect_no_page(struct fe_request *rq)
{
	rq->indirect = &no_page;
}

/* In the page itself: segment 1, in the layout of blkif.h. */
static void change_segment(struct fe_request *rq, unsigned int at, uint8_t to)
{
	rq->indirect->bytes[8 + at] = to;
}

static void indirect_first_after_last(struct fe_request *rq)
{
	change_segment(rq, 4, 7);
	change_segment(rq, 5, 6);
}

static void indirect_last_is_8(struct fe_request *rq)
{
	change_segment(rq, 5, 8);
}

static void indirect_last_is_255(struct fe_request *rq)
{
	change_segment(rq, 5, 255);
}

static void indirect_bad_gref(struct fe_request *rq)
{
	change_segment(rq, 3, 0xff);
}

static void (*const changes[])(struct fe_request *rq) = {
	indirect_nothing,
	indirect_257,
	indirect_65535,
	indirect_flush,
	indirect_barrier,
	indirect_indirect,
	indirect_wild,
	indirect_past_end,
	indirect_wraps,
	indirect_no_page,
	indirect_last_is_8,
	indirect_last_is_255,
	indirect_first_after_last,
	indirect_bad_gref,
};

/* Between two good requests, all in one kick. */
static void hostile_one(unsigned int change, uint8_t op)
{
	struct fe_queue *q = &fe.queues[0];
	struct fe_request before, rq, after;
	struct fe_response rsp;
	uint64_t bad;

	blkfront_fill_indirect(&fe, &before, FE_READ, 0, 100, 40, 0, 0);
	blkfront_fill_indirect(&fe, &rq, op, 8, 16, 0, 0, 1);
	changes[change](&rq);
	blkfront_fill(&fe, &after, FE_READ, 32, 8, 60, 0);
	blkfront_submit(q, &fe, &before);
	bad = blkfront_submit(q, &fe, &rq);
	blkfront_submit(q, &fe, &after);
	blkfront_kick(&fe, q);
	for (unsigned int i = 0; i < 3; i++) {
		need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS),
		     "change %u, op %u: not answered", change, op);
		need(rsp.status == (rsp.id == bad ? FE_ERROR : FE_OKAY),
		     "change %u, op %u: status %d", change, op, rsp.status);
	}
	need(!memcmp(fe.data[40].bytes, model, FE_PAGE), "before");
	need(!memcmp(fe.data[60].bytes, model + 32 * 512, FE_PAGE), "after");
}

START_TEST(hostile_indirect)
{
	attach((enum fe_abi)_i);
	blkfront_connect(&fe);
	for (unsigned int i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		hostile_one(i, FE_READ);
		hostile_one(i, FE_WRITE);
	}
	finish();
	load_check_image(&load, image);
}
END_TEST

static int discard(uint64_t sector, uint64_t nr_sectors)
{
	struct fe_request rq;

	blkfront_fill_discard(&fe, &rq, sector, nr_sectors);
	return blkfront_do(&fe, &rq);
}

/* CVE-2013-2140: a discard is held against the size, as all are. */
START_TEST(hostile_discard)
{
	attach((enum fe_abi)_i);
	blkfront_connect(&fe);
	need(discard(SECTORS - 7, 8) == FE_ERROR, "past the end");
	need(discard(SECTORS + 1, 0) == FE_ERROR, "empty, past the end");
	need(discard(0, SECTORS + 1) == FE_ERROR, "more than all");
	need(discard(8, UINT64_MAX - 4) == FE_ERROR, "sum wraps");
	need(discard(UINT64_MAX, 8) == FE_ERROR, "far away");
	need(discard(1ull << 55, 1) == FE_ERROR, "bytes wrap");
	need(discard(0, 1ull << 55) == FE_ERROR, "length wraps");
	need(discard(SECTORS, 0) == FE_OKAY, "nothing");
	need(discard(8, 7) == FE_OKAY, "less than a page");
	finish();
	load_check_image(&load, image);
}
END_TEST

/* All of the file becomes a hole, and reads as zeroes. */
START_TEST(discard_gives_back)
{
	uint8_t got[FE_SEGMENTS * FE_PAGE];
	struct stat before, after;

	if (_i)
		move_to_memory();
	need(stat(image, &before) == 0 && before.st_blocks >= SECTORS - 8,
	     "the image is not full");
	attach(FE_ABI_X86_64);
	blkfront_connect(&fe);
	/* What was read before is no less a hole. */
	need(blkfront_read(&fe, 64, got, 88) == FE_OKAY, "read");
	need(discard(0, SECTORS) == FE_OKAY, "discard");
	need(blkfront_read(&fe, 64, got, 88) == FE_OKAY, "read");
	for (unsigned int i = 0; i < sizeof(got); i++)
		need(!got[i], "byte %u", i);
	finish();
	need(stat(image, &after) == 0 && after.st_size == before.st_size &&
		     after.st_blocks <= 16,
	     "%llu blocks are left", (unsigned long long)after.st_blocks);
}
END_TEST

/* BLKIF_DISCARD_SECURE is "ignored if discard-secure=0". */
START_TEST(discard_is_not_secure)
{
	uint8_t got[FE_PAGE];
	struct fe_request rq;

	attach((enum fe_abi)_i);
	blkfront_connect(&fe);
	need(host_wait_value(&h, "0", 0, "%s/discard-secure", fe.backend),
	     "it is offered");
	blkfront_fill_discard(&fe, &rq, 8, 8);
	rq.discard_flag = 1;
	need(blkfront_do(&fe, &rq) == FE_OKAY, "discard");
	memset(model + FE_PAGE, 0, FE_PAGE);
	need(blkfront_read(&fe, 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, model + FE_PAGE, FE_PAGE), "data");
	finish();
	load_check_image(&load, image);
}
END_TEST

/* xl's no-discard. */
START_TEST(discard_is_off)
{
	host_vbd_add(&h, g, XVDB, image, 'w');
	host_write(&h, "0", "/local/domain/0/backend/vbd/1/%u/discard-enable",
		   XVDB);
	host_daemon_stop(&h);
	host_daemon_start(&h);
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s}", "command",
						  "hotplug-add", "path",
						  "backend/vbd/1/51728")));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(!fe.feature_discard, "it is offered");
	need(discard(0, 8) == FE_EOPNOTSUPP, "it is done");
	finish();
	load_check_image(&load, image);
}
END_TEST

/* More than is offered is refused, and the disk stays. */
START_TEST(more_than_is_offered)
{
	static const struct fe_override too_many[] = {
		{ "multi-queue-num-queues", "17" }, { NULL, NULL }
	};
	static const struct fe_override too_large[] = {
		{ "ring-page-order", "5" }, { NULL, NULL }
	};
	char *text;

	attach(FE_ABI_X86_64);
	fe.overrides = _i ? too_many : too_large;
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "state");
	blkfront_alloc(&fe);
	blkfront_publish(&fe);
	text = host_wait_any(&h, 2000, "%s/error", fe.backend);
	need(text && strstr(text,
			    _i ? "multi-queue-num-queues" : "ring-page-order"),
	     "error node: %s", text);
	free(text);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("features");
	TCase *tc = tcase_create("features");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, against_model, 0,
			    sizeof(combinations) / sizeof(*combinations));
	tcase_add_loop_test(tc, against_model_in_memory, 0,
			    sizeof(combinations) / sizeof(*combinations) / 3);
	if (loop_device_missing())
		printf("ok - features/against_model_in_blocks # SKIP %s\n",
		       loop_device_missing());
	else
		tcase_add_loop_test(tc, against_model_in_blocks, 0,
				    sizeof(combinations) /
					    sizeof(*combinations) / 3);
	tcase_add_test(tc, one_after_another);
	tcase_add_test(tc, other_limits);
	tcase_add_test(tc, ring_is_full);
	tcase_add_test(tc, grants_persist);
	tcase_add_loop_test(tc, grants_not_offered, 0, 3);
	tcase_add_loop_test(tc, hostile_indirect, 0, 3);
	tcase_add_loop_test(tc, hostile_discard, 0, 3);
	tcase_add_loop_test(tc, discard_gives_back, 0, 2);
	tcase_add_loop_test(tc, discard_is_not_secure, 0, 3);
	tcase_add_test(tc, discard_is_off);
	tcase_add_loop_test(tc, more_than_is_offered, 0, 2);
	suite_add_tcase(suite, tc);
	/* A sanitizer that has a thread of its own is never at rest. */
	tc = tcase_create("rest");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, idle_disk_sleeps);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
