/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue under load, for instructions.sh beside it to count what it executes:
 *
 *   instructions PATH CYCLES
 *       prints how many requests a cycle has, which goes once over the disk
 *   instructions
 *       prints the names of all paths
 *
 * The guest lives in the transport, on the queue's own thread: it sends a whole
 * round when the queue is about to sleep, and takes the responses when it is
 * told of them.  So every round is the same, whatever the machine does
 * meanwhile, and twice as many rounds differ from one by that alone.  It also
 * stops the queue: valgrind runs one thread at a time, and takes io_uring_enter
 * for a system call that does not block, so the queue must never wait for
 * another thread in it.
 */
#include "blkback/inflight.h"
#include "blkback/page-pool.h"
#include "blkback/queue.h"
#include "providers/file.h"
#include "providers/null.h"
#include "tests/unit/queue/fake-transport.h"
#include "tests/unit/queue/guest.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Longer than any run. */
#define GRANT_IDLE_MS (3600u * 1000)
#define DISK_BYTES (16u << 20)
#define PAGE_BYTES 4096u
#define SECTORS_OF_PAGE 8u
/* Byte offsets in the ring, see blkif.h. */
#define RSP_PROD 8u
#define RSP_EVENT 12u
#define RESPONSE_STATUS 10u
#define INDIRECT_NR 2u
#define INDIRECT_REFS 28u
#define INDIRECT_MAX 8u

static const struct path {
	const char *name;
	bool in_memory; /* a file in tmpfs; else null */
	bool write, persistent;
	unsigned int nr_pages; /* of a request; more than 11: indirect */
	unsigned int depth;
} paths[] = {
	{ "null-read-4k-copy", false, false, false, 1, 32 },
	{ "null-read-4k-persistent", false, false, true, 1, 32 },
	{ "null-write-4k-copy", false, true, false, 1, 32 },
	{ "null-write-4k-persistent", false, true, true, 1, 32 },
	{ "tmpfs-read-4k-copy", true, false, false, 1, 32 },
	{ "tmpfs-read-4k-persistent", true, false, true, 1, 32 },
	{ "tmpfs-write-4k-copy", true, true, false, 1, 32 },
	{ "tmpfs-write-4k-persistent", true, true, true, 1, 32 },
	{ "null-read-128k-copy", false, false, false, 32, INDIRECT_MAX },
	{ "null-read-128k-persistent", false, false, true, 32, INDIRECT_MAX },
	{ "null-write-128k-copy", false, true, false, 32, INDIRECT_MAX },
	{ "null-write-128k-persistent", false, true, true, 32, INDIRECT_MAX },
};
#define NR_PATHS (sizeof(paths) / sizeof(paths[0]))

/* Pages of segments first, then each request's own pages. */
#define FIRST_DATA (GUEST_DATA + INDIRECT_MAX)
_Static_assert(FIRST_DATA + INDIRECT_MAX * 32 <= FAKE_PAGES, "pages");

static const struct block_provider_ops *const registry[] = { &null_provider_ops,
							     &file_provider_ops,
							     NULL };

static const struct path *path;
static unsigned long rounds_left;
static uint64_t next_page; /* of the disk */
static struct queue *queue;
static sem_t started;
static bool running;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "instructions: %s\n", what);
	exit(1);
}

/* ---- the guest -------------------------------------------------------- */

static void put_indirect(uint8_t op, unsigned int i, uint64_t sector,
			 uint32_t first)
{
	unsigned char *slot = guest_slot(guest_req_prod++);
	uint32_t ref = GUEST_DATA + i;

	slot_head(slot, guest_layout, SLOT_INDIRECT, op, i, sector);
	slot_put(slot, INDIRECT_NR, 2, path->nr_pages);
	slot_put(slot, INDIRECT_REFS, 4, ref);
	for (unsigned int s = 0; s < path->nr_pages; s++) {
		slot_put(fake_pages[ref], s * 8, 4, first + s);
		slot_put(fake_pages[ref], s * 8 + 4, 4, 7 << 8);
	}
}

/* A round, if there is another. */
static void send_round(void)
{
	uint8_t op = path->write ? SLOT_WRITE : SLOT_READ;

	while (!running && sem_wait(&started) < 0)
		;
	running = true;
	if (!rounds_left) {
		queue_stop(queue);
		return;
	}
	rounds_left--;
	for (unsigned int i = 0; i < path->depth; i++) {
		uint64_t sector = next_page * SECTORS_OF_PAGE;
		uint32_t first = FIRST_DATA + i * path->nr_pages;

		if (path->nr_pages > 11)
			put_indirect(op, i, sector, first);
		else
			guest_put(op, i, sector, (uint8_t)path->nr_pages,
				  first);
		next_page = (next_page + path->nr_pages) %
			    (DISK_BYTES / PAGE_BYTES);
	}
	guest_push();
}

static void take_responses(void)
{
	while (guest_rsp_cons != guest_shared_load(RSP_PROD))
		if (slot_get(guest_slot(guest_rsp_cons++), RESPONSE_STATUS, 2))
			die("a request failed");
	__atomic_store_n(guest_shared(RSP_EVENT), guest_rsp_cons + 1,
			 __ATOMIC_RELAXED);
}

/* ---- the queue's owner ------------------------------------------------ */

static void on_trouble(void *arg, const char *cause)
{
	(void)arg;
	die(cause);
}

static void on_stopped(void *arg)
{
	(void)arg;
}

/* No holes. */
static void fill(int fd)
{
	static unsigned char bytes[65536];

	memset(bytes, 0x5a, sizeof(bytes));
	for (off_t at = 0; at < (off_t)DISK_BYTES; at += sizeof(bytes))
		if (pwrite(fd, bytes, sizeof(bytes), at) != sizeof(bytes))
			die("memory");
}

static struct block_provider *open_disk(void)
{
	char spec[64] = "null:size=16M";
	struct block_provider *provider;
	struct error_text err;
	int fd;

	if (path->in_memory) {
		fd = memfd_create("disk", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, DISK_BYTES) < 0)
			die("memory");
		fill(fd);
		snprintf(spec, sizeof(spec), "/proc/self/fd/%d", fd);
	}
	if (block_provider_open(registry, spec, false, &provider, &err) < 0)
		die(err.text);
	return provider;
}

static void run(void)
{
	static struct queue_stats stats;
	static struct throttle throttle;
	static bool disk_failed;
	struct queue_params params = {
		.domid = FAKE_DOMID,
		.abi = ring_abi_find(slot_layouts[0].protocol),
		.nr_pages = 1,
		.port = FAKE_PORT,
		.persistent_grants = path->persistent ? FAKE_PAGES : 0,
		.provider = open_disk(),
		.inflight_fd = memfd_create("inflight", MFD_CLOEXEC),
		.nr_queues = 1,
		.pool_pages = PAGE_POOL_PAGES_MAX,
		.throttle = &throttle,
		.grant_idle_ms = GRANT_IDLE_MS,
		.disk_failed = &disk_failed,
		.stats = &stats,
		.events = { on_trouble, on_trouble, on_trouble, on_stopped,
			    NULL },
	};
	struct error_text err;

	sem_init(&started, 0, 0);
	guest_init(&slot_layouts[0]);
	if (ftruncate(params.inflight_fd,
		      (off_t)inflight_bytes(1, GUEST_SLOTS)) < 0)
		die("memory");
	fake_on_notify = take_responses;
	fake_on_unmask = send_round;
	if (queue_start(&params, &queue, &err) < 0)
		die(err.text);
	queue_serve(queue);
	sem_post(&started);
	queue_free(queue);
	block_provider_close(params.provider);
}

int main(int argc, char **argv)
{
	unsigned int requests;

	if (argc == 1) {
		for (unsigned int i = 0; i < NR_PATHS; i++)
			puts(paths[i].name);
		return 0;
	}
	for (unsigned int i = 0; argc == 3 && i < NR_PATHS; i++)
		if (!strcmp(argv[1], paths[i].name))
			path = &paths[i];
	if (!path || strtoul(argv[2], NULL, 10) == 0)
		die("usage: instructions [PATH CYCLES]");
	requests = DISK_BYTES / PAGE_BYTES / path->nr_pages;
	rounds_left = strtoul(argv[2], NULL, 10) * requests / path->depth;
	run();
	printf("%u\n", requests);
	return 0;
}
