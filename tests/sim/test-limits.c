/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an operator changes of a disk while its guest uses it, and sees of it:
 * its size, limits on what the guest does in a second, and the counters.
 */
#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XVDB 51728u
#define SECTORS 2048u
#define LARGE_PAGES 256u

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", SECTORS * FE_SECTOR, image);
}

static void teardown(void)
{
	host_stop(&h);
}

static void attach(const char *target)
{
	char *error = host_vbd_attach(&h, g, XVDB, target, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
}

/* With the options behind the image's name. */
static void attach_limited(const char *options)
{
	char target[128];

	snprintf(target, sizeof(target), "file:%s?%s", image, options);
	attach(target);
}

static void finish(void)
{
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}

/* ---- the size ------------------------------------------------------------- */

static json_t *resize_request(bool shrink)
{
	return json_pack("{s:s,s:s,s:s,s:b}", "command", "resize", "domain",
			 "g1", "vdev", "xvdb", "shrink", (int)shrink);
}

static void set_image_sectors(uint64_t sectors)
{
	need(truncate(image, (off_t)(sectors * FE_SECTOR)) == 0, "truncate");
}

static void resize_to(uint64_t sectors, bool shrink)
{
	json_t *answer = host_control_ok(&h, resize_request(shrink));
	json_t *size = json_object_get(answer, "size_bytes");

	need(json_integer_value(size) == (json_int_t)(sectors * FE_SECTOR),
	     "%lld bytes", (long long)json_integer_value(size));
	json_decref(answer);
}

static void refused(json_t *request, const char *says)
{
	char *text = host_control_error(&h, request);

	need(strstr(text, says), "'%s' does not say '%s'", text, says);
	free(text);
}

static int io(uint8_t op, uint64_t sector)
{
	struct fe_request rq;

	if (op == FE_DISCARD)
		blkfront_fill_discard(&fe, &rq, sector, 8);
	else
		blkfront_fill(&fe, &rq, op, sector, 8, 0, 0);
	return blkfront_do(&fe, &rq);
}

/* The disk ends there, for whatever wants to go on. */
static void expect_end(uint64_t sectors)
{
	static const uint8_t ops[] = { FE_READ, FE_WRITE, FE_DISCARD };

	for (size_t i = 0; i < sizeof(ops); i++) {
		need(io(ops[i], sectors - 8) == FE_OKAY, "op %u at the end",
		     ops[i]);
		need(io(ops[i], sectors - 7) == FE_ERROR, "op %u beyond it",
		     ops[i]);
	}
}

static void expect_published(uint64_t sectors)
{
	char *value = host_read(&h, "%s/sectors", fe.backend);

	need(value && strtoull(value, NULL, 10) == sectors, "sectors is %s",
	     value ? value : "absent");
	free(value);
}

/* A driver's watch on the backend's state, of a connection of its own. */
static struct xs_handle *watch_state(void)
{
	struct xs_handle *xs = xs_open(0);
	char path[96];
	unsigned int nr;

	snprintf(path, sizeof(path), "%s/state", fe.backend);
	need(xs && xs_watch(xs, path, "t"), "watch");
	free(xs_read_watch(xs, &nr)); /* it fires once when it is set */
	return xs;
}

static bool watch_fires(struct xs_handle *xs)
{
	struct pollfd p = { .fd = xs_fileno(xs), .events = POLLIN };

	return poll(&p, 1, (int)HOST_WAIT_MS) == 1;
}

START_TEST(grows_live)
{
	uint8_t data[FE_PAGE], got[FE_PAGE];
	struct xs_handle *xs;
	char *state;

	attach(image);
	blkfront_connect(&fe);
	expect_end(SECTORS);
	set_image_sectors(2 * SECTORS);
	/* Nobody has asked yet. */
	expect_end(SECTORS);
	xs = watch_state();
	resize_to(2 * SECTORS, false);
	need(watch_fires(xs), "the guest is not told");
	xs_close(xs);
	expect_published(2 * SECTORS);
	state = host_read(&h, "%s/state", fe.backend);
	need(state && !strcmp(state, "4"), "state %s", state);
	free(state);
	expect_end(2 * SECTORS);
	memset(data, 0x5a, sizeof(data));
	need(blkfront_write(&fe, 2 * SECTORS - 8, data, 8) == FE_OKAY, "write");
	need(blkfront_read(&fe, 2 * SECTORS - 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(data, got, sizeof(data)), "other data");
	/* A driver that is loaded anew finds it so. */
	blkfront_close(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(fe.nr_sectors == 2 * SECTORS, "%llu sectors",
	     (unsigned long long)fe.nr_sectors);
	finish();
}
END_TEST

/* Told along with all else. */
START_TEST(grows_before_it_is_connected)
{
	attach(image);
	set_image_sectors(SECTORS + 8);
	resize_to(SECTORS + 8, false);
	need(!host_exists(&h, "%s/sectors", fe.backend), "told too early");
	blkfront_connect(&fe);
	need(fe.nr_sectors == SECTORS + 8, "sectors");
	expect_end(SECTORS + 8);
	finish();
}
END_TEST

START_TEST(shrinks_only_if_asked_to)
{
	attach(image);
	blkfront_connect(&fe);
	set_image_sectors(SECTORS / 2);
	refused(resize_request(false), "--shrink");
	expect_published(SECTORS);
	resize_to(SECTORS / 2, true);
	expect_published(SECTORS / 2);
	expect_end(SECTORS / 2);
	finish();
}
END_TEST

START_TEST(sizes_that_cannot_be)
{
	attach(image);
	blkfront_connect(&fe);
	need(truncate(image, SECTORS * FE_SECTOR + 100) == 0, "truncate");
	refused(resize_request(true), "multiple");
	set_image_sectors(0);
	refused(resize_request(true), "size is 0");
	expect_published(SECTORS);
	set_image_sectors(SECTORS);
	expect_end(SECTORS);
	finish();
}
END_TEST

START_TEST(sizes_that_are_fixed)
{
	json_t *request = resize_request(false);

	json_object_set_new(request, "vdev", json_string("xvdc"));
	refused(request, "no device xvdc");
	attach("null:size=1M");
	refused(resize_request(true), "provider null");
	host_vbd_force(&h, g, XVDB);
}
END_TEST

/* It is told, and the next one is not taken for its answer. */
START_TEST(worker_dies_meanwhile)
{
	json_t *answer;
	const char *text;
	pid_t worker;
	int fd;

	attach(image);
	worker = host_worker_pid(&h, 1, XVDB);
	need(kill(worker, SIGSTOP) == 0, "SIGSTOP");
	fd = host_control_begin(&h, resize_request(false));
	/* A connection that has waited is served before a later one. */
	json_decref(
		host_control_ok(&h, json_pack("{s:s}", "command", "version")));
	refused(resize_request(false), "already");
	need(kill(worker, SIGKILL) == 0, "SIGKILL");
	answer = host_control_end(fd);
	text = json_string_value(json_object_get(answer, "error"));
	need(text && strstr(text, "worker has ended"), "'%s'", text);
	json_decref(answer);
	/* The next one is served by another. */
	need(host_wait_worker(&h, 1, XVDB, "ready"), "no successor");
	need(host_worker_pid(&h, 1, XVDB) != worker, "not another");
	json_decref(host_control_ok(&h, resize_request(false)));
	host_vbd_force(&h, g, XVDB);
}
END_TEST

/* ---- limits ---------------------------------------------------------------- */

static void limit(const char *key, const char *value)
{
	json_decref(host_control_ok(
		&h, json_pack("{s:s,s:s,s:s,s:s}", "command", "limit", "domain",
			      "g1", "vdev", "xvdb", key, value)));
}

/* The entry of `stat`; a new reference. */
static json_t *stat_vbd(void)
{
	json_t *answer = host_control_ok(
		&h, json_pack("{s:s,s:s,s:s}", "command", "stat", "domain",
			      "g1", "vdev", "xvdb"));
	json_t *vbds = json_object_get(answer, "vbds");
	json_t *vbd = json_incref(json_array_get(vbds, 0));

	need(json_array_size(vbds) == 1, "%zu vbds", json_array_size(vbds));
	json_decref(answer);
	return vbd;
}

static json_int_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	need(json_is_integer(value), "no number %s", key);
	return json_integer_value(value);
}

/* One of "requests". */
static json_int_t counted(const char *key)
{
	json_t *vbd = stat_vbd();
	json_int_t n = number(json_object_get(vbd, "requests"), key);

	json_decref(vbd);
	return n;
}

static void put(struct fe_queue *q, unsigned int nr_pages)
{
	struct fe_request rq;

	if (nr_pages > FE_SEGMENTS)
		blkfront_fill_indirect(&fe, &rq, FE_READ, 0, nr_pages * 8, 0, 0,
				       0);
	else
		blkfront_fill(&fe, &rq, FE_READ, 0, nr_pages * 8, 0, 0);
	blkfront_submit(q, &fe, &rq);
}

/*
 * Keeps all queues full of reads of so many pages for so long; how many were
 * answered.  The time that it took is *ret_ms.
 */
static unsigned int saturate(unsigned int nr_pages, unsigned int ms,
			     uint64_t *ret_ms)
{
	uint64_t start = host_now_ms(), now = start;
	unsigned int nr = 0;

	for (; now < start + ms; now = host_now_ms()) {
		struct pollfd p[FE_MAX_QUEUES];
		struct fe_response rsp;

		for (unsigned int i = 0; i < fe.nr_queues; i++) {
			struct fe_queue *q = &fe.queues[i];

			while (q->nr_busy < 32)
				put(q, nr_pages);
			blkfront_kick(&fe, q);
			p[i] = (struct pollfd){ .fd = q->event_fd,
						.events = POLLIN };
		}
		poll(p, fe.nr_queues, 10);
		for (unsigned int i = 0; i < fe.nr_queues; i++)
			while (blkfront_poll(&fe, &fe.queues[i], &rsp, 0)) {
				need(rsp.status == FE_OKAY, "status");
				nr++;
			}
	}
	*ret_ms = now - start;
	return nr;
}

static const struct {
	const char *options;
	unsigned int nr_pages; /* of a request */
	double per_s;
	unsigned int nr_queues;
} rates[] = {
	{ "iops=400", 1, 400, 1 },
	{ "iops=400", 11, 400, 4 },
	{ "bps=4M", 1, 1024, 1 },
	{ "bps=4M", 8, 128, 4 },
	/* The size of these is not in the ring. */
	{ "bps=32M", LARGE_PAGES, 32, 1 },
	{ "bps=32M&iops=64", 64, 64, 1 },
	{ "iops=20000", 1, 20000, 1 },
};

/*
 * A bucket of a tenth of a second's worth, what comes in, one request a queue
 * in debt; and not much less, however busy the machine is.
 */
START_TEST(keeps_to_the_limit)
{
	double most, least;
	unsigned int nr;
	uint64_t ms;

	attach_limited(rates[_i].options);
	fe.nr_queues = rates[_i].nr_queues;
	blkfront_connect(&fe);
	nr = saturate(rates[_i].nr_pages, 1500, &ms);
	most = rates[_i].per_s * (0.1 + (double)ms / 1000) + fe.nr_queues + 1;
	least = rates[_i].per_s * (double)ms / 1000 * 0.5;
	need(nr <= most, "%u in %llu ms, more than %.0f", nr,
	     (unsigned long long)ms, most);
	need(nr >= least || rates[_i].per_s > 2000, "%u in %llu ms", nr,
	     (unsigned long long)ms);
	need(counted("throttled_ms") > 0 || rates[_i].per_s > 2000,
	     "throttled");
	finish();
}
END_TEST

/* Four queues of a disk that all want more have the same. */
START_TEST(queues_share_fairly)
{
	json_int_t sum = 0;
	json_t *vbd, *queues;
	uint64_t ms;

	attach_limited("iops=400");
	fe.nr_queues = 4;
	blkfront_connect(&fe);
	saturate(1, 2000, &ms);
	vbd = stat_vbd();
	queues = json_object_get(vbd, "queues");
	need(json_array_size(queues) == 4, "queues");
	for (size_t i = 0; i < 4; i++)
		sum += number(json_array_get(queues, i), "read");
	for (size_t i = 0; i < 4; i++) {
		json_int_t n = number(json_array_get(queues, i), "read");

		need(n * 4 >= sum * 7 / 10 && n * 4 <= sum * 13 / 10,
		     "queue %zu: %lld of %lld", i, (long long)n,
		     (long long)sum);
	}
	json_decref(vbd);
	finish();
}
END_TEST

/* What is not taken stays in the ring, and costs no CPU, kicks or not. */
/* What a process has used when it uses no more. */
static uint64_t cpu_at_rest(pid_t pid)
{
	uint64_t deadline = host_now_ms() + HOST_WAIT_MS;
	uint64_t before, now = host_cpu_ns(pid);

	do {
		need(host_now_ms() < deadline, "never at rest");
		before = now;
		poll(NULL, 0, 50);
		now = host_cpu_ns(pid);
	} while (now != before);
	return now;
}

START_TEST(waits_without_cpu)
{
	struct fe_queue *q = &fe.queues[0];
	struct fe_response rsp;
	uint64_t used;
	pid_t worker;

	attach_limited("bps=4K");
	blkfront_connect(&fe);
	put(q, FE_SEGMENTS);
	blkfront_kick(&fe, q);
	need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS), "the first");
	for (unsigned int i = 0; i < 20; i++)
		put(q, 1);
	blkfront_kick(&fe, q);
	worker = host_worker_pid(&h, 1, XVDB);
	used = cpu_at_rest(worker);
	for (unsigned int i = 0; i < 500; i++) {
		sim_port_notify(g->dom, q->port);
		poll(NULL, 0, 1);
	}
	used = host_cpu_ns(worker) - used;
	need(used == 0, "%llu ns of CPU time", (unsigned long long)used);
	need(!blkfront_poll(&fe, q, &rsp, 0), "the second");
	need(counted("in_flight") == 0, "in flight");
	/* Lifted, it all passes. */
	limit("bps", "0");
	for (unsigned int i = 0; i < 20; i++)
		need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS), "%u", i);
	need(counted("throttled_ms") >= 500, "throttled");
	finish();
}
END_TEST

/* The target's and an operator's are the disk's, whichever worker serves it. */
START_TEST(kept_by_upgrades)
{
	attach_limited("iops=300");
	blkfront_connect(&fe);
	for (unsigned int i = 0; i < 3; i++) {
		json_t *vbd;

		json_decref(host_control_ok(
			&h, json_pack("{s:s,s:s,s:s}", "command", "upgrade",
				      "domain", "g1", "vdev", "xvdb")));
		vbd = stat_vbd();
		need(number(json_object_get(vbd, "limits"), "iops") ==
			     (i < 2 ? 300 : 200),
		     "upgrade %u", i);
		json_decref(vbd);
		if (i == 1)
			limit("iops", "200");
	}
	finish();
}
END_TEST

START_TEST(changed_live)
{
	uint64_t ms;
	json_t *vbd;

	attach(image);
	blkfront_connect(&fe);
	limit("iops", "200");
	limit("bps", "64M");
	vbd = stat_vbd();
	need(number(json_object_get(vbd, "limits"), "iops") == 200 &&
		     number(json_object_get(vbd, "limits"), "bps") == 64 << 20,
	     "limits");
	json_decref(vbd);
	need(saturate(1, 1000, &ms) <= 22 + ms / 5, "more than 200 a second");
	/* The next driver has them as well. */
	limit("iops", "100");
	saturate(1, 300, &ms);
	limit("iops", "0");
	while (fe.queues[0].nr_busy) {
		struct fe_response rsp;

		need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS),
		     "response");
	}
	limit("iops", "100");
	blkfront_close(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(saturate(1, 1000, &ms) <= 12 + ms / 10, "more than 100 a second");
	limit("iops", "0");
	finish();
}
END_TEST

START_TEST(limits_that_cannot_be)
{
	static const struct {
		const char *key, *value, *says;
	} bad[] = {
		{ "iops", "x", "not a number" },
		{ "bps", "1", "4096" },
		{ "bps", "1 M", "not a size" },
		{ "iops", "99999999999", "10000000" },
	};
	char target[128], *error;
	json_t *vbd;

	attach_limited("iops=7");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(json_pack("{s:s,s:s,s:s,s:s}", "command", "limit",
				  "domain", "g1", "vdev", "xvdb", bad[i].key,
				  bad[i].value),
			bad[i].says);
	vbd = stat_vbd();
	need(number(json_object_get(vbd, "limits"), "iops") == 7, "iops");
	json_decref(vbd);
	host_vbd_force(&h, g, XVDB);
	snprintf(target, sizeof(target), "file:%s?bps=fast", image);
	error = host_vbd_attach(&h, g, XVDB, target, 'w');
	need(error && strstr(error, "bps=fast"), "'%s'", error);
	free(error);
	host_vbd_force(&h, g, XVDB);
}
END_TEST

/* A guest that has used up its limit can be left, and its disk taken away. */
START_TEST(detach_does_not_wait)
{
	uint64_t start, ms;

	attach_limited("bps=4K");
	blkfront_connect(&fe);
	saturate(FE_SEGMENTS, 100, &ms);
	start = host_now_ms();
	finish();
	need(host_now_ms() - start < HOST_WAIT_MS, "it waits");
}
END_TEST

/* ---- what a queue holds --------------------------------------------------------- */

/*
 * KiB of memory of a process that is its own alone.  AddressSanitizer keeps a byte
 * beside each eight, on some machines even of those it never writes: they are the
 * build's, not the worker's.
 */
static unsigned long own_memory(pid_t pid)
{
	const unsigned long shadow = 0x7fff8000, shadow_end = 0x10007fff8000;
	unsigned long kib = 0, start = 0, end, value;
	char path[64], line[PATH_MAX + 128];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
	f = fopen(path, "re");
	need(f, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &value, &end) == 2)
			start = value;
		else if (sscanf(line, "Anonymous: %lu", &value) == 1 &&
			 (start < shadow || start >= shadow_end))
			kib += value;
	}
	fclose(f);
	return kib;
}

/* As much at once as its pool takes, and no more. */
START_TEST(data_in_flight_is_bounded)
{
	struct fe_queue *q = &fe.queues[0];
	struct fe_response rsp;
	unsigned long before, used;

	host_daemon_stop(&h);
	h.daemon_options[0] = _i ? "--inflight-bytes=2M" : NULL;
	host_daemon_start(&h);
	attach("null:size=1G");
	fe.ring_pages = 16;
	blkfront_connect(&fe);
	/* What a worker sets up with its first request is not in flight. */
	put(q, 1);
	blkfront_kick(&fe, q);
	need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS) && rsp.status == FE_OKAY,
	     "the first response");
	before = own_memory(host_worker_pid(&h, 1, XVDB));
	for (unsigned int i = 0; i < 64; i++)
		put(q, LARGE_PAGES);
	blkfront_kick(&fe, q);
	for (unsigned int i = 0; i < 64; i++)
		need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS) &&
			     rsp.status == FE_OKAY,
		     "response %u", i);
	used = own_memory(host_worker_pid(&h, 1, XVDB)) - before;
	if (_i)
		need(used <= 4096, "%lu KiB", used);
	else
		need(used >= 15 * 1024 && used <= 18 * 1024, "%lu KiB", used);
	finish();
}
END_TEST

/* ---- counters ---------------------------------------------------------------- */

START_TEST(stat_tells_each_queue)
{
	struct fe_response rsp;
	json_t *vbd, *queues;

	attach(image);
	fe.nr_queues = 2;
	fe.persistent = true;
	blkfront_connect(&fe);
	for (unsigned int i = 0; i < 5; i++) {
		struct fe_queue *q = &fe.queues[i % 2];

		put(q, 3);
		blkfront_kick(&fe, q);
		need(blkfront_poll(&fe, q, &rsp, HOST_WAIT_MS), "response");
	}
	vbd = stat_vbd();
	queues = json_object_get(vbd, "queues");
	need(json_array_size(queues) == 2, "queues");
	for (size_t i = 0; i < 2; i++) {
		json_t *q = json_array_get(queues, i);

		need(number(q, "read") == 3 - (json_int_t)i, "read");
		need(number(q, "read_bytes") ==
			     (3 - (json_int_t)i) * 3 * FE_PAGE,
		     "read_bytes");
		need(number(q, "slots") == 32, "slots");
		need(number(q, "in_flight") == 0, "in_flight");
		need(number(q, "grants_mapped") == 3, "grants_mapped");
	}
	json_decref(vbd);
	need(counted("read") == 5 && counted("grants_mapped") == 6, "sum");
	/* Without a driver there are no queues; what was counted stays. */
	blkfront_close(&fe);
	vbd = stat_vbd();
	need(json_array_size(json_object_get(vbd, "queues")) == 0, "queues");
	json_decref(vbd);
	need(counted("read") == 5 && counted("grants_mapped") == 0, "after");
	/* A worker's successor counts on. */
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(counted("slots") == 64, "slots");
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "SIGKILL");
	put(&fe.queues[0], 3);
	blkfront_kick(&fe, &fe.queues[0]);
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS), "response");
	need(counted("read") == 6 && counted("slots") == 64, "counters");
	finish();
}
END_TEST

/* One second's worth, again and again, until it is ended. */
/* What one connection owes is paid before the next gets anything. */
START_TEST(debts_outlive_a_connection)
{
	struct fe_response rsp;
	unsigned int nr = 0;
	uint64_t start;

	attach_limited("bps=64K");
	fe.nr_queues = 4;
	blkfront_connect(&fe);
	start = host_now_ms();
	/* 1 MiB at once, into a debt of 16 s. */
	put(&fe.queues[0], LARGE_PAGES);
	blkfront_kick(&fe, &fe.queues[0]);
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS),
	     "the first waits too");
	for (unsigned int i = 0; i < 3; i++) {
		blkfront_close(&fe);
		blkfront_set_state(&fe, FE_INITIALISING);
		blkfront_connect(&fe);
		for (unsigned int q = 0; q < 4; q++) {
			put(&fe.queues[q], LARGE_PAGES);
			blkfront_kick(&fe, &fe.queues[q]);
		}
		for (unsigned int q = 0; q < 4; q++)
			nr += blkfront_poll(&fe, &fe.queues[q], &rsp, 100);
	}
	/* On a machine so slow that it is paid by now, there is nothing to see. */
	if (host_now_ms() - start < 15000)
		need(nr == 0, "%u MiB more within %llu ms of a limit of 64K",
		     nr, (unsigned long long)(host_now_ms() - start));
	finish();
}
END_TEST

START_TEST(stat_watches)
{
	char command[512], line[256] = "";
	long long reads = 0;
	uint64_t ms;
	FILE *out;

	attach_limited("iops=100");
	blkfront_connect(&fe);
	saturate(1, 300, &ms); /* the bucket is empty */
	snprintf(command, sizeof(command),
		 "exec %s --socket=%s/run/control.sock stat "
		 "--watch=1 g1 xvdb 2>/dev/null",
		 program_path(PROGRAM_CTL), h.dir);
	out = popen(command, "r");
	need(out, "popen");
	saturate(1, 2500, &ms);
	for (unsigned int i = 0; i < 2; i++) {
		need(fgets(line, sizeof(line), out) &&
			     !strncmp(line, "DOMAIN", 6),
		     "header: '%s'", line);
		need(fgets(line, sizeof(line), out) &&
			     sscanf(line, "g1 xvdb %lld ", &reads) == 1,
		     "row: '%s'", line);
		need(reads >= 50 && reads <= 115, "%lld reads a second", reads);
		need(fgets(line, sizeof(line), out) &&
			     !strcmp(line, "    limits: iops=100\n"),
		     "note: '%s'", line);
	}
	/* It ends when nobody reads what it writes. */
	pclose(out);
	finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("limits");
	TCase *tc = tcase_create("size");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, grows_live);
	tcase_add_test(tc, grows_before_it_is_connected);
	tcase_add_test(tc, shrinks_only_if_asked_to);
	tcase_add_test(tc, sizes_that_cannot_be);
	tcase_add_test(tc, sizes_that_are_fixed);
	tcase_add_test(tc, worker_dies_meanwhile);
	suite_add_tcase(suite, tc);
	tc = tcase_create("limits");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, keeps_to_the_limit, 0,
			    sizeof(rates) / sizeof(*rates));
	tcase_add_test(tc, queues_share_fairly);
	tcase_add_test(tc, debts_outlive_a_connection);
	tcase_add_test(tc, kept_by_upgrades);
	tcase_add_test(tc, changed_live);
	tcase_add_test(tc, limits_that_cannot_be);
	tcase_add_test(tc, detach_does_not_wait);
	suite_add_tcase(suite, tc);
	/* A sanitizer's own threads and memory are not ours. */
	tc = tcase_create("costs");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, waits_without_cpu);
	tcase_add_loop_test(tc, data_in_flight_is_bounded, 0, 2);
	suite_add_tcase(suite, tc);
	tc = tcase_create("stat");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, stat_tells_each_queue);
	tcase_add_test(tc, stat_watches);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
