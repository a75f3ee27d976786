/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest that does its worst beside one that works: its ring is scribbled
 * over while it is served, its keys and states are random and fast, and it
 * turns round in the middle of a handshake.  All the while the other guest's
 * disk does I/O that is verified, `list` answers within a second, no worker
 * dies, and a fault stays told.  host_stop() looks for what is left behind.
 *
 * The sequences are random but the same in every run; TEST_SEED changes them.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
#define SECTORS 512u
#define RING_SLOTS 32u
/* The backend answers list in a millisecond or two. */
#define LIST_MS 1000u
/* Faults are told, and a forced detach is through, within this. */
#define PROMPT_MS 2000u

static struct host h;
static struct guest *bad, *good;
static struct blkfront fe, honest;
static uint8_t model[SECTORS * FE_SECTOR];
static uint64_t seed;

static uint32_t next(uint64_t *state, uint32_t below)
{
	*state = *state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*state >> 33) % below;
}

static uint32_t rnd(uint32_t below)
{
	return next(&seed, below);
}

/* ---- the guest that works ---- */

static void attach(struct blkfront *f, struct guest *g, const char *name)
{
	char path[64], *error;
	int fd;

	host_image(&h, name, sizeof(model), path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && read(fd, model, sizeof(model)) == sizeof(model),
	     "read the image");
	close(fd);
	error = host_vbd_attach(&h, g, XVDB, path, 'w');
	need(!error, "attach: %s", error);
	blkfront_init(f, &h, g, XVDB, FE_ABI_X86_64);
}

/* One transfer, verified against the model. */
static void honest_io(void)
{
	static uint8_t data[FE_SEGMENTS * FE_PAGE];
	unsigned int nr = 1 + rnd(88), sector = rnd(SECTORS - nr);
	uint8_t *there = model + sector * FE_SECTOR;

	if (rnd(2)) {
		for (unsigned int i = 0; i < nr * FE_SECTOR; i++)
			there[i] = (uint8_t)rnd(256);
		need(blkfront_write(&honest, sector, there, nr) == FE_OKAY,
		     "write beside the hostile guest");
		return;
	}
	need(blkfront_read(&honest, sector, data, nr) == FE_OKAY,
	     "read beside the hostile guest");
	need(!memcmp(data, there, nr * FE_SECTOR),
	     "the other guest's data differs at sector %u", sector);
}

/* What list says of the hostile guest's worker; in time, or it fails. */
static void worker_now(char status[32], pid_t *ret_pid)
{
	uint64_t start = host_now_ms();
	json_t *vbd = host_list(&h, bad->domid, XVDB), *worker;

	need(host_now_ms() - start < LIST_MS, "list took %llu ms",
	     (unsigned long long)(host_now_ms() - start));
	need(vbd, "the hostile guest's vbd is not listed");
	worker = json_object_get(vbd, "worker");
	snprintf(status, 32, "%s",
		 json_string_value(json_object_get(worker, "status")));
	*ret_pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));
	json_decref(vbd);
}

static void check_alive(void)
{
	char status[32];
	pid_t pid;

	worker_now(status, &pid);
	need(strcmp(status, "dead"), "the guest killed worker %d", (int)pid);
}

static pid_t worker_pid(void)
{
	char status[32];
	pid_t pid;

	worker_now(status, &pid);
	need(pid > 1, "no worker");
	return pid;
}

static void setup(void)
{
	const char *text = getenv("TEST_SEED");

	seed = text ? strtoull(text, NULL, 0) : 1;
	host_start_all(&h);
	bad = host_guest(&h, 1, "bad");
	good = host_guest(&h, 2, "good");
	attach(&fe, bad, "bad.img");
	attach(&honest, good, "good.img");
	blkfront_connect(&honest);
}

static void teardown(void)
{
	host_vbd_force(&h, bad, XVDB);
	honest_io();
	host_vbd_force(&h, good, XVDB);
	blkfront_fini(&honest);
	host_stop(&h);
}

/* The hostile frontend closes; nothing of it may stay mapped or bound. */
static void settle(void)
{
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	need(sim_live_maps(h.sim) == 1 && sim_live_ports(h.sim) == 1,
	     "%u pages and %u ports for one good vbd", sim_live_maps(h.sim),
	     sim_live_ports(h.sim));
}

/* ---- the ring ---- */

struct scribbler {
	uint8_t *ring;
	uint64_t seed;
	atomic_bool stop;
};

static void put_u32(uint8_t *at, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)at, value, __ATOMIC_RELEASE);
}

/* A slot that is plausible more often than not, so that it goes far. */
static void scribble_slot(struct scribbler *s)
{
	size_t entry = blkfront_entry_bytes(fe.abi);
	unsigned int segments = fe.abi == FE_ABI_X86_32 ? 20 : 24;
	volatile uint8_t *slot =
		s->ring + 64 + next(&s->seed, RING_SLOTS) * entry;

	slot[0] = (uint8_t)next(&s->seed, next(&s->seed, 4) ? 4 : 256);
	slot[1] = (uint8_t)next(&s->seed, next(&s->seed, 4) ? 13 : 256);
	for (unsigned int i = segments - 8; i < segments; i++)
		slot[i] = 0;
	slot[segments - 8] = (uint8_t)next(&s->seed, 256);
	slot[segments - 1] = (uint8_t)(next(&s->seed, 20) ? 0 : 255);
	for (unsigned int i = 0; i < FE_SEGMENTS; i++) {
		volatile uint8_t *seg = slot + segments + i * 8;
		uint32_t ref = fe.data[next(&s->seed, fe.nr_data)].ref;

		/* The ring itself is granted as well, and may be written to. */
		if (!next(&s->seed, 8))
			ref = fe.queues[0].refs[0];
		seg[0] = (uint8_t)ref;
		seg[1] = (uint8_t)(ref >> 8);
		seg[2] = seg[3] = (uint8_t)(next(&s->seed, 50) ? 0 : 255);
		seg[4] = (uint8_t)next(&s->seed, next(&s->seed, 9) ? 1 : 256);
		seg[5] = (uint8_t)next(&s->seed, next(&s->seed, 9) ? 8 : 256);
	}
}

static void scribble_indices(struct scribbler *s)
{
	uint32_t rsp_prod = *(volatile uint32_t *)(void *)(s->ring + 8);
	uint32_t req_prod = *(volatile uint32_t *)(void *)s->ring;

	put_u32(s->ring + 4, next(&s->seed, 64));
	put_u32(s->ring + 12, next(&s->seed, 64));
	s->ring[16 + next(&s->seed, 48)] = (uint8_t)next(&s->seed, 256);
	if (req_prod - rsp_prod < RING_SLOTS)
		put_u32(s->ring, req_prod + 1);
	/* Rarely, as it is the end of the connection. */
	if (!next(&s->seed, 3000))
		put_u32(s->ring, req_prod + 1 + next(&s->seed, 1u << 30));
}

static void *scribble(void *arg)
{
	struct scribbler *s = arg;

	for (unsigned int n = 1; !atomic_load(&s->stop); n++) {
		scribble_slot(s);
		scribble_indices(s);
		sim_port_notify(bad->dom, fe.queues[0].port);
		if (!next(&s->seed, 30))
			sim_fail_copy(bad->dom, 1 + next(&s->seed, 20), -1);
		/* The other guest wants a processor, too. */
		if (n % 64 == 0)
			poll(NULL, 0, 1);
	}
	return NULL;
}

/* Entries, indices and grants change under the worker, in every ABI. */
START_TEST(scribbled_ring)
{
	for (int abi = 0; abi < 4; abi++) {
		struct scribbler s = { .seed = seed + (uint64_t)abi };
		pthread_t thread;

		fe.abi = (enum fe_abi)(abi % 3);
		blkfront_connect(&fe);
		s.ring = fe.queues[0].ring;
		need(!pthread_create(&thread, NULL, scribble, &s), "thread");
		for (int i = 0; i < 25; i++) {
			honest_io();
			if (i % 10 == 0)
				check_alive();
		}
		/* It closes its port, or goes away, while all this goes on. */
		if (abi & 1)
			sim_port_close(bad->dom, fe.queues[0].port);
		settle();
		atomic_store(&s.stop, true);
		pthread_join(thread, NULL);
		blkfront_free(&fe);
		blkfront_set_state(&fe, FE_INITIALISING);
	}
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	settle();
}
END_TEST

/* ---- keys and states ---- */

static const char *const keys[] = {
	"state",
	"state",
	"ring-ref",
	"ring-ref0",
	"event-channel",
	"protocol",
	"ring-page-order",
	"multi-queue-num-queues",
	"queue-0/ring-ref",
	"backend",
};

static const char *const values[] = {
	"",           "0",
	"1",          "2",
	"3",          "4",
	"5",          "6",
	"7",          "8",
	"9",          "-1",
	"4294967295", "18446744073709551616",
	"x86_64-abi", "x86_32-abi",
	"%s%n",       " 3",
	"03",         "\xff\x1b[2J\r\n",
};

static void random_key(void)
{
	const char *value = values[rnd(sizeof(values) / sizeof(values[0]))];
	unsigned int len = (unsigned int)strlen(value);
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fe.path,
		 keys[rnd(sizeof(keys) / sizeof(keys[0]))]);
	/* What xenstored refuses it refuses. */
	if (!rnd(10))
		xs_rm(h.xs, XBT_NULL, path);
	else if (!rnd(10))
		xs_write(h.xs, XBT_NULL, path, "3\0x", 3);
	else
		xs_write(h.xs, XBT_NULL, path, value, len);
}

static void random_states(void)
{
	static const unsigned int states[] = { 3, 4, 6, 1, 5, 3, 6, 1, 2, 0 };

	for (unsigned int n = rnd(12); n; n--)
		blkfront_set_state(&fe, states[rnd(10)]);
}

/* Good keys, so that it connects, in the midst of the bad ones. */
static void good_keys(void)
{
	static const char *const bad_keys[] = { "ring-page-order",
						"multi-queue-num-queues" };

	for (int i = 0; i < 2; i++)
		host_remove(&h, "%s/%s", fe.path, bad_keys[i]);
	blkfront_set_state(&fe, FE_CLOSED);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_publish(&fe);
	if (rnd(2))
		host_wait_value(&h, "4", 50, "%s/state", fe.backend);
}

START_TEST(random_keys_and_states)
{
	blkfront_alloc(&fe);
	for (int i = 0; i < 100; i++) {
		switch (rnd(4)) {
		case 0:
			good_keys();
			break;
		case 1:
			random_states();
			break;
		case 2:
			*blkfront_req_prod(&fe.queues[0]) += rnd(40);
			sim_port_notify(bad->dom, fe.queues[0].port);
			break;
		default:
			for (unsigned int n = rnd(20); n; n--)
				random_key();
			break;
		}
		if (i % 4 == 0)
			honest_io();
		if (i % 16 == 0)
			check_alive();
	}
	settle();
	blkfront_free(&fe);
}
END_TEST

/* ---- in the middle of a handshake ---- */

/* The fault is in the error node and in list, and nothing is mapped. */
static void check_fault_stays(const char *what)
{
	char *node = host_wait_any(&h, PROMPT_MS, "%s/error", fe.backend);
	json_t *vbd;

	need(node, "%s: no error node", what);
	free(node);
	need(host_wait_worker(&h, bad->domid, XVDB, "ready"),
	     "%s: the worker holds the ring still", what);
	need(host_exists(&h, "%s/error", fe.backend),
	     "%s: the error node is gone again", what);
	vbd = host_list(&h, bad->domid, XVDB);
	need(json_is_string(json_object_get(vbd, "error")),
	     "%s: the error is not in list", what);
	json_decref(vbd);
	need(sim_live_maps(h.sim) == 1, "%s: the ring stays mapped", what);
}

/*
 * Whether the worker first says that the ring is broken or that it is
 * connected is a race of its two threads: with some tries, both are seen.
 */
START_TEST(broken_ring_before_connected)
{
	for (int i = 0; i < 10; i++) {
		blkfront_alloc(&fe);
		*blkfront_req_prod(&fe.queues[0]) = RING_SLOTS + 1;
		blkfront_publish(&fe);
		check_fault_stays("a broken ring");
		settle();
		blkfront_free(&fe);
		blkfront_set_state(&fe, FE_INITIALISING);
		need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	}
	honest_io();
	settle();
}
END_TEST

START_TEST(garbage_state_while_connecting)
{
	pid_t pid = worker_pid();

	blkfront_alloc(&fe);
	need(!kill(pid, SIGSTOP), "stop the worker");
	blkfront_publish(&fe);
	need(host_wait_worker(&h, bad->domid, XVDB, "connecting"),
	     "not connecting");
	host_write(&h, "x", "%s/state", fe.path);
	need(host_wait_value(&h, "5", PROMPT_MS, "%s/state", fe.backend),
	     "no state 5");
	need(!kill(pid, SIGCONT), "continue the worker");
	check_fault_stays("a garbage state");
	settle();
	blkfront_free(&fe);
}
END_TEST

/*
 * From 6 to 4 while the worker lets go: no daemon was restarted, so there is
 * no ring to be resumed, and no port whose former holder is to be waited for.
 */
START_TEST(forged_resume)
{
	pid_t pid = worker_pid();

	blkfront_connect(&fe);
	need(!kill(pid, SIGSTOP), "stop the worker");
	blkfront_set_state(&fe, FE_CLOSED);
	need(host_wait_worker(&h, bad->domid, XVDB, "disconnecting"),
	     "not disconnecting");
	host_write(&h, "9999", "%s/event-channel", fe.path);
	blkfront_set_state(&fe, FE_CONNECTED);
	honest_io();
	need(!kill(pid, SIGCONT), "continue the worker");
	/* Either will do: 5 with the fault, or 6, which it was asked for. */
	need(host_wait_value(&h, "5", PROMPT_MS, "%s/state", fe.backend) ||
		     host_wait_value(&h, "6", 0, "%s/state", fe.backend),
	     "it is taken for a resumed ring");
	settle();
}
END_TEST

/* ---- in a loop ---- */

#define LOOP_MS 1000u

/* From now on xenstored writes down what it is asked for. */
static void trace(char path[64])
{
	char on[] = "on", log[] = "log", logfile[] = "logfile";
	char *answer;

	snprintf(path, 64, "%s/trace", h.dir);
	answer = xs_control_command(h.xs, logfile, path,
				    (unsigned int)strlen(path) + 1);
	need(answer && !strcmp(answer, "OK"), "logfile: %s", answer);
	free(answer);
	answer = xs_control_command(h.xs, log, on, sizeof(on));
	need(answer && !strcmp(answer, "OK"), "log: %s", answer);
	free(answer);
}

static unsigned int lines_with(const char *path, const char *one,
			       const char *two)
{
	char line[4096];
	unsigned int nr = 0;
	FILE *f = fopen(path, "re");

	need(f, "%s", path);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, one) && strstr(line, two);
	fclose(f);
	return nr;
}

static const struct loop {
	unsigned int states[4]; /* ends with 0 */
	bool connects;
} loops[] = {
	{ { FE_CONNECTED }, false },
	{ { FE_INITIALISED, FE_CONNECTED }, true },
	{ { FE_CLOSED, FE_INITIALISING, FE_INITIALISED }, true },
};

/* Slow enough for each state to be seen. */
static void write_states(const struct loop *loop)
{
	for (unsigned int i = 0; loop->states[i]; i++) {
		blkfront_set_state(&fe, loop->states[i]);
		poll(NULL, 0, 1);
	}
}

/*
 * A ring of many queues and pages takes hundreds of round trips to read, on the
 * thread that everybody's workers are started on: whatever states the guest writes
 * without end, it is not read without end, nor connected.
 */
START_TEST(states_in_a_loop)
{
	const struct loop *loop = &loops[_i];
	unsigned int looks, connects, most;
	char path[64], log[64];
	uint64_t start;

	fe.nr_queues = FE_MAX_QUEUES;
	fe.ring_pages = FE_MAX_RING_PAGES;
	blkfront_connect(&fe);
	trace(path);
	start = host_now_ms();
	while (host_now_ms() - start < LOOP_MS) {
		for (unsigned int i = 0; i < 10; i++)
			write_states(loop);
		honest_io();
	}
	/* One at once, then one every 100 ms; another was before. */
	most = 2 + (unsigned int)(host_now_ms() - start) / 100;
	snprintf(log, sizeof(log), "%s/daemon.log", h.dir);
	connects = lines_with(log, "vbd 1/", "worker ready -> connecting");
	looks = lines_with(path, " READ (", "/queue-3/ring-ref15 ");
	need(looks >= 2 && (!loop->connects || connects >= 3), "no loop");
	need(connects <= most, "it was connected %u times, not %u", connects,
	     most);
	most += loop->connects ? connects : 0;
	need(looks <= most, "it was looked at %u times, not %u", looks, most);
	settle();
	blkfront_free(&fe);
}
END_TEST

static json_t *change(const char *command, const char *iops)
{
	json_t *rq = json_pack("{s:s,s:s,s:s}", "command", command, "domain",
			       bad->name, "vdev", "xvdb");

	if (iops)
		json_object_set_new(rq, "iops", json_string(iops));
	return host_control(&h, rq);
}

/* Of a disk that needs no worker: it is done when the old one is gone. */
START_TEST(upgrade_of_a_broken_ring)
{
	uint64_t start = host_now_ms();
	json_t *answer;
	const char *error;

	blkfront_connect(&fe);
	*blkfront_req_prod(&fe.queues[0]) += 1000;
	sim_port_notify(bad->dom, fe.queues[0].port);
	need(host_wait_value(&h, "5", PROMPT_MS, "%s/state", fe.backend),
	     "no state 5");
	need(host_wait_worker(&h, bad->domid, XVDB, "ready"), "not ready");
	json_decref(change("upgrade", NULL));
	need(host_now_ms() - start < 10000, "it takes too long");
	answer = change("limit", "1000");
	error = json_string_value(json_object_get(answer, "error"));
	need(!error || !strstr(error, "being changed"), "%s", error);
	json_decref(answer);
	settle();
	blkfront_free(&fe);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hostile");
	TCase *tc = tcase_create("guest");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, scribbled_ring);
	tcase_add_test(tc, random_keys_and_states);
	tcase_add_test(tc, broken_ring_before_connected);
	tcase_add_test(tc, garbage_state_while_connecting);
	tcase_add_test(tc, forged_resume);
	tcase_add_loop_test(tc, states_in_a_loop, 0,
			    sizeof(loops) / sizeof(loops[0]));
	tcase_add_test(tc, upgrade_of_a_broken_ring);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
