/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk through the simulation's ring, for the scripts beside it:
 *
 *   ring-bench TARGET BLOCK-BYTES DEPTH SECONDS [FEATURE...]
 *       random reads; prints "ios=N seconds=S cpu=C", where C are the seconds
 *       of CPU time that the worker used meanwhile, its kernel threads included
 *
 * FEATURE is persistent, indirect, pages=N (of the ring), queues=N, write
 * (random writes instead).
 *
 * The daemon, its worker and XenStore are real, the hypervisor is a process of
 * ours: what is measured is the way from ring to provider and back, and not
 * what it costs on Xen.  An I/O that is too long for one request goes out as
 * several, as Linux's driver does it.
 */
#include "tests/sim/blkfront.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XVDB 51728u
#define DEPTH_MAX 256u

static const char *target;
static unsigned int block_bytes, depth;
static uint64_t run_ms;
static bool indirect, persistent, writes;
static unsigned int nr_queues = 1, ring_pages = 1;

static struct host h;
static struct blkfront fe;
static uint64_t nr_blocks, seed = 88172645463325252, nr_ios;
/* Requests that an I/O has still to be answered. */
static unsigned int missing[DEPTH_MAX];
static unsigned int slot_of[FE_MAX_QUEUES][FE_MAX_RING];

/* xorshift64: no more than spreads the offsets. */
static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Each slot has pages of its own, as far as there are enough. */
static unsigned int first_page(unsigned int slot)
{
	unsigned int nr = (block_bytes + FE_PAGE - 1) / FE_PAGE;

	return slot * nr % (fe.nr_data - nr + 1);
}

static void submit(unsigned int slot)
{
	unsigned int queue = slot % nr_queues, page = first_page(slot);
	unsigned int left = block_bytes / FE_SECTOR;
	unsigned int most = FE_SEGMENTS * FE_PAGE / FE_SECTOR;
	uint64_t sector = next_random() % nr_blocks * left;
	bool use_indirect = indirect && left > most;
	uint8_t op = writes ? FE_WRITE : FE_READ;

	if (use_indirect)
		most = left;
	while (left) {
		unsigned int n = left < most ? left : most;
		static struct fe_request request;
		uint64_t id;

		if (use_indirect)
			blkfront_fill_indirect(&fe, &request, op, sector, n,
					       page, 0,
					       slot % FE_INDIRECT_PAGES);
		else
			blkfront_fill(&fe, &request, op, sector, n, page, 0);
		id = blkfront_submit(&fe.queues[queue], &fe, &request);
		slot_of[queue][id & 0xffff] = slot;
		missing[slot]++;
		sector += n;
		left -= n;
		page += FE_SEGMENTS;
	}
}

/* The responses that are there, and one more if there was none. */
static void take(unsigned int queue, unsigned int *ret_in_flight, bool go_on)
{
	struct fe_response response;
	unsigned int timeout_ms = HOST_WAIT_MS, slot;
	struct fe_queue *q = &fe.queues[queue];

	while (q->nr_busy && blkfront_poll(&fe, q, &response, timeout_ms)) {
		timeout_ms = 0;
		need(response.status == FE_OKAY, "an I/O fails");
		slot = slot_of[queue][response.id & 0xffff];
		if (--missing[slot])
			continue;
		nr_ios++;
		if (go_on)
			submit(slot);
		else
			--*ret_in_flight;
	}
	need(timeout_ms == 0 || !q->nr_busy, "no response");
}

static void measure(void)
{
	unsigned int in_flight = depth;
	pid_t worker = host_worker_pid(&h, 1, XVDB);
	uint64_t cpu = host_cpu_ns(worker);
	uint64_t start = host_now_ms(), now = start;

	for (unsigned int slot = 0; slot < depth; slot++)
		submit(slot);
	while (in_flight) {
		for (unsigned int q = 0; q < nr_queues; q++)
			blkfront_kick(&fe, &fe.queues[q]);
		for (unsigned int q = 0; q < nr_queues; q++)
			take(q, &in_flight, now - start < run_ms);
		now = host_now_ms();
	}
	printf("ios=%llu seconds=%.3f cpu=%.6f\n", (unsigned long long)nr_ios,
	       (double)(now - start) / 1000,
	       (double)(host_cpu_ns(worker) - cpu) / 1e9);
	fflush(stdout);
}

START_TEST(bench)
{
	struct guest *guest;
	char *error;

	host_start_all(&h);
	guest = host_guest(&h, 1, "g1");
	error = host_vbd_attach(&h, guest, XVDB, target, 'w');
	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, guest, XVDB, FE_ABI_NATIVE);
	fe.nr_queues = nr_queues;
	fe.ring_pages = ring_pages;
	fe.persistent = persistent;
	blkfront_connect(&fe);
	nr_blocks = fe.nr_sectors * FE_SECTOR / block_bytes;
	measure();
	host_vbd_force(&h, guest, XVDB);
	blkfront_fini(&fe);
	host_stop(&h);
}
END_TEST

static int take_feature(const char *word)
{
	if (!strcmp(word, "persistent"))
		persistent = true;
	else if (!strcmp(word, "indirect"))
		indirect = true;
	else if (!strcmp(word, "write"))
		writes = true;
	else if (sscanf(word, "pages=%u", &ring_pages) != 1 &&
		 sscanf(word, "queues=%u", &nr_queues) != 1)
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	Suite *suite = suite_create("ring-bench");
	TCase *tc = tcase_create("ring-bench");

	if (argc < 5) {
		fprintf(stderr, "usage: ring-bench TARGET BLOCK-BYTES DEPTH "
				"SECONDS [FEATURE...]\n");
		return 2;
	}
	target = argv[1];
	block_bytes = (unsigned int)atoi(argv[2]);
	depth = (unsigned int)atoi(argv[3]);
	run_ms = (uint64_t)atoi(argv[4]) * 1000;
	for (int i = 5; i < argc; i++) {
		if (take_feature(argv[i]) < 0) {
			fprintf(stderr, "ring-bench: no feature '%s'\n",
				argv[i]);
			return 2;
		}
	}
	if (!depth || depth > DEPTH_MAX || !block_bytes ||
	    block_bytes % FE_SECTOR || !nr_queues ||
	    nr_queues > FE_MAX_QUEUES) {
		fprintf(stderr, "ring-bench: a number is out of range\n");
		return 2;
	}
	tcase_set_timeout(tc, (double)run_ms / 1000 + 60);
	tcase_add_test(tc, bench);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
