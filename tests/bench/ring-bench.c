/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks through the simulation's rings, for engine.sh beside it:
 *
 *   ring-bench run TARGET BLOCK-BYTES DEPTH SECONDS [FEATURE...]
 *       random reads; prints the line of meter.h and, if there are several
 *       vbds, "idle_pss_kib=N idle_rss_kib=N idle_kib_per_vbd=N": the memory of
 *       a worker before its first request, as a mean of all; the last with what
 *       the daemon has more since they are there
 *   ring-bench fill FILE MEBIBYTES
 *       makes a file of the bytes that "pattern" checks
 *
 * FEATURE is persistent, indirect, pages=N (of the ring), queues=N, vbds=N (at
 * once, two of a guest, each with DEPTH and all with the same TARGET), write
 * (writes instead), sequential (one block after the other), pattern or zero (what
 * reads must give), syscalls (count them, and nothing else).
 *
 * The daemon, its workers and XenStore are real, the hypervisor is a process of
 * ours: what is measured is the way from ring to provider and back, and not
 * what it costs on Xen.  An I/O that is too long for one request goes out as
 * several, as Linux's driver does it; and as that driver, the client takes what
 * is answered, asks for the next event when nothing is left, and sends more, in
 * batches (meter.h).
 */
#include "tests/bench/meter.h"
#include "tests/sim/blkfront.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VBDS_MAX METER_SERVERS_MAX
#define VBDS_PER_GUEST 2u
#define DEPTH_MAX 256u
#define WARM_UP_MS 300u
#define MEBIBYTE (1u << 20)

_Static_assert(HOST_MAX_GUESTS *VBDS_PER_GUEST >= VBDS_MAX, "guests");

static const unsigned int vdevs[VBDS_PER_GUEST] = { 51728, 51744 };

/* One I/O of the client, again and again. */
struct slot {
	uint64_t start_ns, offset;
	unsigned int vbd, queue;
	unsigned int page; /* its first */
	unsigned int indirect; /* its page of segments */
	unsigned int missing; /* requests still to be answered */
};

static const char *target;
static unsigned int block_bytes, depth, nr_vbds = 1;
static uint64_t run_ms;
static bool indirect, persistent, writes, sequential, pattern, zero;
static unsigned int nr_queues = 1, ring_pages = 1;

static struct host h;
static struct blkfront vbds[VBDS_MAX];
static struct slot slots[VBDS_MAX][DEPTH_MAX];
/* By the place in the shadow that a request's id names. */
static struct slot *slot_of[VBDS_MAX][FE_MAX_QUEUES][FE_MAX_RING];
static struct meter meter;
static uint64_t seed = 88172645463325252, next_block, nr_notifies;
static unsigned int in_flight;

/* ---- one I/O ---------------------------------------------------------- */

static unsigned int pages_of_block(void)
{
	return (block_bytes + FE_PAGE - 1) / FE_PAGE;
}

/* What reads overwrite must not be right already, what writes bring must be. */
static void prepare_data(const struct slot *slot)
{
	const struct fe_page *pages = &vbds[slot->vbd].data[slot->page];
	unsigned int left = block_bytes;

	for (unsigned int i = 0; left; i++) {
		unsigned int n = left < FE_PAGE ? left : FE_PAGE;

		if (writes && pattern)
			meter_pattern_fill(pages[i].bytes,
					   slot->offset + i * FE_PAGE, n);
		else if (pattern || zero)
			meter_spoil(pages[i].bytes, n);
		left -= n;
	}
}

static void check_data(const struct slot *slot)
{
	const struct fe_page *pages = &vbds[slot->vbd].data[slot->page];
	unsigned int left = block_bytes;

	for (unsigned int i = 0; left && !writes; i++) {
		unsigned int n = left < FE_PAGE ? left : FE_PAGE;

		need(!zero || meter_is_zero(pages[i].bytes, n),
		     "other bytes than zero were read");
		need(!pattern ||
			     meter_pattern_holds(pages[i].bytes,
						 slot->offset + i * FE_PAGE, n),
		     "wrong bytes were read at %llu",
		     (unsigned long long)slot->offset);
		left -= n;
	}
}

static void submit(struct slot *slot)
{
	static struct fe_request request;
	struct blkfront *fe = &vbds[slot->vbd];
	struct fe_queue *q = &fe->queues[slot->queue];
	unsigned int left = block_bytes / FE_SECTOR, page = slot->page;
	unsigned int most = FE_SEGMENTS * FE_PAGE / FE_SECTOR;
	uint64_t nr_blocks = fe->nr_sectors * FE_SECTOR / block_bytes, id;
	bool use_indirect = indirect && left > most;
	uint8_t op = writes ? FE_WRITE : FE_READ;
	uint64_t sector;

	slot->offset = (sequential ? next_block++ : meter_random(&seed)) %
		       nr_blocks * block_bytes;
	sector = slot->offset / FE_SECTOR;
	prepare_data(slot);
	slot->start_ns = meter_now_ns();
	if (use_indirect)
		most = left;
	while (left) {
		unsigned int n = left < most ? left : most;

		if (use_indirect)
			blkfront_fill_indirect(fe, &request, op, sector, n,
					       page, 0, slot->indirect);
		else
			blkfront_fill(fe, &request, op, sector, n, page, 0);
		id = blkfront_submit(q, fe, &request);
		slot_of[slot->vbd][slot->queue][id & 0xffff] = slot;
		slot->missing++;
		sector += n;
		left -= n;
		page += FE_SEGMENTS;
	}
}

/* ---- all of them ------------------------------------------------------ */

/* The responses that are there; whether there were any. */
static bool take(unsigned int vbd, unsigned int queue, bool go_on)
{
	struct blkfront *fe = &vbds[vbd];
	struct fe_queue *q = &fe->queues[queue];
	struct fe_response response;
	unsigned int batch = meter_batch(depth), nr = 0;

	do {
		while (blkfront_take(fe, q, &response)) {
			struct slot *slot =
				slot_of[vbd][queue][response.id & 0xffff];

			need(response.status == FE_OKAY, "an I/O fails");
			if (--slot->missing)
				continue;
			meter_io(&meter, slot->start_ns);
			check_data(slot);
			if (go_on)
				submit(slot);
			else
				in_flight--;
			if (++nr % batch == 0)
				blkfront_kick(fe, q);
		}
	} while (!blkfront_rest(q));
	if (nr % batch)
		blkfront_kick(fe, q);
	return nr != 0;
}

/* Until an event comes, which all queues have been asked for. */
static void wait_event(void)
{
	static struct pollfd fds[VBDS_MAX * FE_MAX_QUEUES];
	unsigned int nr = nr_vbds * nr_queues;

	for (unsigned int i = 0; i < nr; i++) {
		fds[i].fd = vbds[i / nr_queues].queues[i % nr_queues].event_fd;
		fds[i].events = POLLIN;
	}
	need(poll(fds, nr, HOST_WAIT_MS) > 0, "no response");
	for (unsigned int i = 0; i < nr; i++)
		if (fds[i].revents)
			nr_notifies += blkfront_events(
				&vbds[i / nr_queues].queues[i % nr_queues]);
}

/* Once through all queues; false when nothing is in flight any more. */
static bool serve_once(bool go_on)
{
	bool any = false;

	for (unsigned int i = 0; i < nr_vbds * nr_queues; i++)
		any |= take(i / nr_queues, i % nr_queues, go_on);
	if (!any && in_flight)
		wait_event();
	return in_flight != 0;
}

static void serve_for(uint64_t ms)
{
	uint64_t until = meter_now_ns() + ms * 1000000;

	while (meter_now_ns() < until)
		serve_once(true);
}

static void measure(void)
{
	for (unsigned int vbd = 0; vbd < nr_vbds; vbd++) {
		for (unsigned int i = 0; i < depth; i++) {
			struct slot *slot = &slots[vbd][i];
			unsigned int nr = pages_of_block();

			*slot = (struct slot){
				.vbd = vbd,
				.queue = i % nr_queues,
				/* Pages of its own. */
				.page = i * nr,
				.indirect = i % FE_INDIRECT_PAGES,
			};
			submit(slot);
			in_flight++;
		}
		for (unsigned int q = 0; q < nr_queues; q++)
			blkfront_kick(&vbds[vbd], &vbds[vbd].queues[q]);
	}
	serve_for(WARM_UP_MS);
	meter_start(&meter, nr_notifies);
	serve_for(run_ms);
	meter_print(&meter, nr_notifies);
	fflush(stdout);
	while (serve_once(false))
		;
}

/* ---- memory ----------------------------------------------------------- */

struct memory {
	unsigned long pss_kib, rss_kib;
};

static struct memory memory_of(pid_t pid)
{
	struct memory memory = { 0, 0 };
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	need(f, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "Pss: %lu kB", &memory.pss_kib);
		sscanf(line, "Rss: %lu kB", &memory.rss_kib);
	}
	fclose(f);
	return memory;
}

/* `before` is what the daemon had without the disks. */
static void print_memory(struct memory before)
{
	struct memory sum = { 0, 0 }, daemon = memory_of(h.daemon), one;

	for (unsigned int i = 0; i < nr_vbds; i++) {
		one = memory_of(meter.servers[i]);
		sum.pss_kib += one.pss_kib;
		sum.rss_kib += one.rss_kib;
	}
	printf("idle_pss_kib=%lu idle_rss_kib=%lu idle_kib_per_vbd=%.0f\n",
	       sum.pss_kib / nr_vbds, sum.rss_kib / nr_vbds,
	       ((double)sum.pss_kib + (double)daemon.pss_kib -
		(double)before.pss_kib) /
		       nr_vbds);
}

/* ---- a host with the disks -------------------------------------------- */

static void connect_vbd(unsigned int vbd)
{
	unsigned int devid = vdevs[vbd % VBDS_PER_GUEST];
	struct blkfront *fe = &vbds[vbd];
	struct guest *guest;
	char *error, name[16];

	if (vbd % VBDS_PER_GUEST == 0) {
		snprintf(name, sizeof(name), "g%u", vbd / VBDS_PER_GUEST + 1);
		host_guest(&h, (uint16_t)(vbd / VBDS_PER_GUEST + 1), name);
	}
	guest = &h.guests[vbd / VBDS_PER_GUEST];
	error = host_vbd_attach(&h, guest, devid, target, writes ? 'w' : 'r');
	need(!error, "attach: %s", error);
	blkfront_init(fe, &h, guest, devid, FE_ABI_NATIVE);
	fe->nr_queues = nr_queues;
	fe->ring_pages = ring_pages;
	fe->persistent = persistent;
	blkfront_connect(fe);
	need(depth * pages_of_block() <= fe->nr_data, "too few pages");
	meter.servers[vbd] = host_worker_pid(&h, guest->domid, devid);
	meter.nr_servers = vbd + 1;
}

START_TEST(bench)
{
	struct memory before;

	host_start_all(&h);
	before = memory_of(h.daemon);
	for (unsigned int vbd = 0; vbd < nr_vbds; vbd++)
		connect_vbd(vbd);
	if (nr_vbds > 1)
		print_memory(before);
	measure();
	for (unsigned int vbd = 0; vbd < nr_vbds; vbd++) {
		host_vbd_force(&h, vbds[vbd].guest, vbds[vbd].devid);
		blkfront_fini(&vbds[vbd]);
	}
	host_stop(&h);
}
END_TEST

/* ---- the command ------------------------------------------------------ */

static int take_feature(const char *word)
{
	static const struct {
		const char *word;
		bool *flag;
	} flags[] = {
		{ "persistent", &persistent },
		{ "indirect", &indirect },
		{ "write", &writes },
		{ "sequential", &sequential },
		{ "pattern", &pattern },
		{ "zero", &zero },
		{ "syscalls", &meter.count_syscalls },
	};

	for (unsigned int i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (!strcmp(word, flags[i].word)) {
			*flags[i].flag = true;
			return 0;
		}
	}
	if (sscanf(word, "pages=%u", &ring_pages) != 1 &&
	    sscanf(word, "queues=%u", &nr_queues) != 1 &&
	    sscanf(word, "vbds=%u", &nr_vbds) != 1)
		return -1;
	return 0;
}

static int fill(const char *path, uint64_t mebibytes)
{
	static char bytes[MEBIBYTE];
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	for (uint64_t i = 0; fd >= 0 && i < mebibytes; i++) {
		meter_pattern_fill(bytes, i * MEBIBYTE, MEBIBYTE);
		if (write(fd, bytes, MEBIBYTE) != MEBIBYTE) {
			close(fd);
			fd = -1;
		}
	}
	if (fd < 0 || fsync(fd) < 0 || close(fd) < 0) {
		perror(path);
		return 1;
	}
	return 0;
}

static int run(int argc, char **argv)
{
	Suite *suite = suite_create("ring-bench");
	TCase *tc = tcase_create("ring-bench");

	target = argv[2];
	block_bytes = (unsigned int)atoi(argv[3]);
	depth = (unsigned int)atoi(argv[4]);
	run_ms = (uint64_t)atoi(argv[5]) * 1000;
	for (int i = 6; i < argc; i++) {
		if (take_feature(argv[i]) < 0) {
			fprintf(stderr, "ring-bench: no feature '%s'\n",
				argv[i]);
			return 2;
		}
	}
	if (!depth || depth > DEPTH_MAX || !block_bytes || !run_ms ||
	    block_bytes % FE_SECTOR || !nr_queues ||
	    nr_queues > FE_MAX_QUEUES || !nr_vbds || nr_vbds > VBDS_MAX) {
		fprintf(stderr, "ring-bench: a number is out of range\n");
		return 2;
	}
	tcase_set_timeout(tc, (double)run_ms / 1000 + 60);
	tcase_add_test(tc, bench);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "fill"))
		return fill(argv[2], (uint64_t)atoll(argv[3]));
	if (argc > 5 && !strcmp(argv[1], "run"))
		return run(argc, argv);
	fprintf(stderr,
		"usage: ring-bench run TARGET BLOCK-BYTES DEPTH SECONDS "
		"[FEATURE...], or fill FILE MEBIBYTES\n");
	return 2;
}
