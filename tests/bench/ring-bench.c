/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk through the simulation's ring, for tests/bench/nbd.sh:
 *
 *   ring-bench TARGET BLOCK-BYTES DEPTH SECONDS
 *       random reads; prints "ios=N seconds=S"
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
#define DEPTH_MAX 32u

static const char *target;
static unsigned int block_bytes, depth;
static uint64_t run_ms;

static struct host h;
static struct blkfront fe;
static uint64_t nr_blocks, seed = 88172645463325252, nr_ios;
/* Requests that an I/O has still to be answered. */
static unsigned int missing[DEPTH_MAX];
static unsigned int slot_of[FE_MAX_RING];

/* xorshift64: no more than spreads the offsets. */
static uint64_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void submit(unsigned int slot)
{
	const unsigned int most = FE_SEGMENTS * FE_PAGE / FE_SECTOR;
	unsigned int page = slot * ((block_bytes + FE_PAGE - 1) / FE_PAGE);
	unsigned int left = block_bytes / FE_SECTOR;
	uint64_t sector = next_random() % nr_blocks * left;

	while (left) {
		unsigned int n = left < most ? left : most;
		struct fe_request request;
		uint64_t id;

		blkfront_fill(&fe, &request, FE_READ, sector, n, page, 0);
		id = blkfront_submit(&fe.queues[0], &fe, &request);
		slot_of[id & 0xffff] = slot;
		missing[slot]++;
		sector += n;
		left -= n;
		page += FE_SEGMENTS;
	}
}

/* The responses that are there, and one more if there was none. */
static void take(unsigned int *ret_in_flight, bool go_on)
{
	struct fe_response response;
	unsigned int timeout_ms = HOST_WAIT_MS, slot;

	while (blkfront_poll(&fe, &fe.queues[0], &response, timeout_ms)) {
		timeout_ms = 0;
		need(response.status == FE_OKAY, "a read fails");
		slot = slot_of[response.id & 0xffff];
		if (--missing[slot])
			continue;
		nr_ios++;
		if (go_on)
			submit(slot);
		else
			--*ret_in_flight;
	}
	need(timeout_ms == 0, "no response");
}

static void measure(void)
{
	unsigned int in_flight = depth;
	uint64_t start = host_now_ms(), now = start;

	for (unsigned int slot = 0; slot < depth; slot++)
		submit(slot);
	while (in_flight) {
		blkfront_kick(&fe, &fe.queues[0]);
		take(&in_flight, now - start < run_ms);
		now = host_now_ms();
	}
	printf("ios=%llu seconds=%.3f\n", (unsigned long long)nr_ios,
	       (double)(now - start) / 1000);
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
	blkfront_connect(&fe);
	nr_blocks = fe.nr_sectors * FE_SECTOR / block_bytes;
	measure();
	host_vbd_force(&h, guest, XVDB);
	blkfront_fini(&fe);
	host_stop(&h);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("ring-bench");
	TCase *tc = tcase_create("ring-bench");

	if (argc != 5) {
		fprintf(stderr, "usage: ring-bench TARGET BLOCK-BYTES DEPTH "
				"SECONDS\n");
		return 2;
	}
	target = argv[1];
	block_bytes = (unsigned int)atoi(argv[2]);
	depth = (unsigned int)atoi(argv[3]);
	run_ms = (uint64_t)atoi(argv[4]) * 1000;
	if (!depth || depth > DEPTH_MAX || !block_bytes ||
	    block_bytes % FE_SECTOR) {
		fprintf(stderr, "ring-bench: bad depth or block size\n");
		return 2;
	}
	tcase_set_timeout(tc, (double)run_ms / 1000 + 60);
	tcase_add_test(tc, bench);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
