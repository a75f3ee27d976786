/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request that its worker dies of, each time: it fails, and nothing else does,
 * with a worker that has such bugs (registry-poison.c).  When there is no end of
 * it the disk fails, and no other does.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"
#include "tests/sim/poison.h"

#define XVDB 51728u
#define XVDC 51744u
#define SECTORS 16384u
#define DEPTH 30u
#define POISON_AT 13u /* of these */

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;
static uint8_t model[SECTORS * FE_SECTOR];

static void setup(void)
{
	poison_use();
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", sizeof(model), image);
	host_image_read(image, model, sizeof(model));
}

static void teardown(void)
{
	host_stop(&h);
}

static void attach(unsigned int devid, const char *target)
{
	char *error = host_vbd_attach(&h, g, devid, target, 'w');

	need(!error, "attach: %s", error);
}

static void connect_queues(unsigned int nr_queues)
{
	attach(XVDB, image);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_NATIVE);
	fe.nr_queues = nr_queues;
	blkfront_connect(&fe);
}

static void check_no_files(void)
{
	char command[128];

	snprintf(command, sizeof(command), "! ls %s/run/vbd-* >%s/ls 2>&1",
		 h.dir, h.dir);
	need(system(command) == 0, "files are left");
}

static void detach(void)
{
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
	check_no_files();
}

static void check_member(const char *key, const char *says)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	const char *text = json_string_value(json_object_get(vbd, key));

	need(text && strstr(text, says), "list: %s is '%s'", key,
	     text ? text : "null");
	json_decref(vbd);
}

static json_int_t nr_poisoned(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_int_t nr = json_integer_value(
		json_object_get(json_object_get(vbd, "requests"), "poisoned"));

	json_decref(vbd);
	return nr;
}

static unsigned int log_count(const char *text)
{
	char command[256];
	unsigned int nr = 0;
	FILE *pipe;

	snprintf(command, sizeof(command), "grep -c '%s' %s/daemon.log", text,
		 h.dir);
	pipe = popen(command, "r");
	need(pipe && fscanf(pipe, "%u", &nr) == 1, "%s", command);
	pclose(pipe);
	return nr;
}

static const struct {
	const char *name;
	uint8_t op;
	uint64_t sector;
	const char *dies; /* as it is logged */
	const char *says; /* of the request */
} poisons[] = {
	{ "write, trap", FE_WRITE, POISON_TRAPS, "was killed by signal 4",
	  "write of 4096 bytes at sector 8192: given up" },
	{ "read, trap", FE_READ, POISON_TRAPS, "was killed by signal 4",
	  "read of 4096 bytes at sector 8192: given up" },
	{ "write, exit", FE_WRITE, POISON_EXITS, "exited with 3",
	  "write of 4096 bytes at sector 8208: given up" },
	{ "barrier, trap", FE_BARRIER, POISON_TRAPS, "was killed by signal 4",
	  "barrier of 4096 bytes at sector 8192: given up" },
};

/* Puts writes around the poison, as many as DEPTH; returns the poison's id. */
static uint64_t launch(uint8_t op, uint64_t sector)
{
	static uint8_t data[FE_PAGE];
	uint64_t poison_id = 0;
	struct fe_request rq;

	for (unsigned int i = 0; i < DEPTH; i++) {
		bool poison = i == POISON_AT;
		uint64_t at = poison ? sector : i * 8;
		uint64_t id;

		memset(data, (int)i + 1, sizeof(data));
		blkfront_fill(&fe, &rq, poison ? op : FE_WRITE, at, 8, i, 0);
		if (rq.operation != FE_READ)
			blkfront_data_put(&fe, &rq, data);
		id = blkfront_submit(&fe.queues[0], &fe, &rq);
		if (poison)
			poison_id = id;
		else
			memcpy(model + at * FE_SECTOR, data, sizeof(data));
	}
	blkfront_kick(&fe, &fe.queues[0]);
	return poison_id;
}

START_TEST(fails_alone)
{
	static uint8_t got[sizeof(model)];
	struct fe_response rsp;
	uint64_t poison;

	connect_queues(1);
	poison = launch(poisons[_i].op, poisons[_i].sector);
	for (unsigned int i = 0; i < DEPTH; i++) {
		need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS),
		     "no response");
		need(rsp.status == (rsp.id == poison ? FE_ERROR : FE_OKAY),
		     "%s: %s answered with %d", poisons[_i].name,
		     rsp.id == poison ? "poison" : "another", rsp.status);
	}
	/* One death at all of them, three at this one. */
	need(log_count(poisons[_i].dies) == 4, "%u deaths",
	     log_count(poisons[_i].dies));
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not served");
	check_member("state", "Connected");
	check_member("error", poisons[_i].says);
	need(nr_poisoned() == 1, "%lld", (long long)nr_poisoned());
	need(host_log_has(&h, poisons[_i].says), "not logged");
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	/* As to a worker that has learned of it. */
	json_decref(host_control_ok(&h, json_pack("{s:s, s:s, s:s}", "command",
						  "upgrade", "domain", "g1",
						  "vdev", "xvdb")));
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	detach();
	host_image_read(image, got, sizeof(got));
	need(!memcmp(got, model, sizeof(model)), "the image differs");
}
END_TEST

/*
 * Nor does what other queues are at when the worker dies.  These are opened before
 * the one with the poison.
 */
START_TEST(another_queue_is_not_blamed)
{
	const unsigned int last = FE_MAX_QUEUES - 1;
	struct fe_response rsp;

	connect_queues(FE_MAX_QUEUES);
	for (unsigned int i = 0; i <= last; i++) {
		struct fe_request rq;

		blkfront_fill(&fe, &rq, FE_WRITE,
			      i == last ? POISON_TRAPS : POISON_SLOW, 8, i, 0);
		blkfront_submit(&fe.queues[i], &fe, &rq);
		blkfront_kick(&fe, &fe.queues[i]);
	}
	need(blkfront_poll(&fe, &fe.queues[last], &rsp, 2 * HOST_WAIT_MS),
	     "the poison is not answered");
	need(rsp.status == FE_ERROR, "the poison's status is %d", rsp.status);
	for (unsigned int i = 0; i < last; i++) {
		need(blkfront_poll(&fe, &fe.queues[i], &rsp, HOST_WAIT_MS),
		     "another is not answered");
		need(rsp.status == FE_OKAY, "another's status is %d",
		     rsp.status);
	}
	need(nr_poisoned() == 1, "%lld", (long long)nr_poisoned());
	detach();
}
END_TEST

static bool is_dead(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	const char *status = json_string_value(
		json_object_get(json_object_get(vbd, "worker"), "status"));
	bool dead = status && !strcmp(status, "dead");

	json_decref(vbd);
	return dead;
}

/* The guest asks for nothing else. */
START_TEST(no_end_of_it)
{
	uint64_t end = host_now_ms() + 4 * HOST_WAIT_MS;
	struct fe_request rq;
	struct fe_response rsp;
	uint8_t got[FE_PAGE];
	struct blkfront other;
	char other_image[64];
	pid_t pid;

	host_image(&h, "b.img", 1 << 20, other_image);
	attach(XVDC, other_image);
	blkfront_init(&other, &h, g, XVDC, FE_ABI_NATIVE);
	blkfront_connect(&other);
	pid = host_worker_pid(&h, 1, XVDC);
	connect_queues(1);
	blkfront_fill(&fe, &rq, FE_READ, POISON_TRAPS, 8, 0, 0);
	while (!is_dead()) {
		need(host_now_ms() < end, "it is tried still");
		if (!fe.queues[0].nr_busy) {
			blkfront_submit(&fe.queues[0], &fe, &rq);
			blkfront_kick(&fe, &fe.queues[0]);
		}
		if (blkfront_poll(&fe, &fe.queues[0], &rsp, 10))
			need(rsp.status == FE_ERROR, "status %d", rsp.status);
	}
	check_member("state", "Connected");
	check_member("error", "was killed by signal 4");
	need(blkfront_read(&other, 0, got, 8) == FE_OKAY, "the other disk");
	need(host_worker_pid(&h, 1, XVDC) == pid, "the other's worker");
	/* It can be left. */
	host_vbd_force(&h, g, XVDB);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	blkfront_fini(&fe);
	host_vbd_force(&h, g, XVDC);
	need(host_wait_unlisted(&h, 1, XVDC), "listed");
	blkfront_fini(&other);
	check_no_files();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("poison");
	TCase *tc = tcase_create("poison");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, fails_alone, 0,
			    (int)(sizeof(poisons) / sizeof(poisons[0])));
	tcase_add_test(tc, another_queue_is_not_blamed);
	tcase_add_test(tc, no_end_of_it);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
