/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkback/queue.h: a queue's thread between a guest made of bytes and a
 * provider that does what the test says, so that what happens before what is
 * decided and not raced for.
 */
#include "blkback/blkif-abi.h"
#include "blkback/inflight.h"
#include "blkback/page-pool.h"
#include "blkback/queue.h"
#include "tests/unit/queue/fake-transport.h"
#include "tests/unit/queue/guest.h"
#include "tests/unit/queue/script-provider.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_MS 8000

static struct queue *queue;
static struct queue_params params;
static struct queue_stats stats;
static struct error_text err;
static bool disk_failed;
static struct throttle throttle;
static sem_t stopped;
static struct inflight table;
static pthread_mutex_t trial = PTHREAD_MUTEX_INITIALIZER;

static struct {
	unsigned int ring_broken, disk_failed, poisoned;
	char cause[512];
} events;

/* ---- the owner's side ------------------------------------------------- */

static void on_ring_broken(void *arg, const char *cause)
{
	(void)arg;
	snprintf(events.cause, sizeof(events.cause), "%s", cause);
	__atomic_add_fetch(&events.ring_broken, 1, __ATOMIC_RELEASE);
}

static void on_disk_failed(void *arg, const char *cause)
{
	(void)arg;
	snprintf(events.cause, sizeof(events.cause), "%s", cause);
	__atomic_add_fetch(&events.disk_failed, 1, __ATOMIC_RELEASE);
}

static void on_poisoned(void *arg, const char *cause)
{
	(void)arg;
	snprintf(events.cause, sizeof(events.cause), "%s", cause);
	__atomic_add_fetch(&events.poisoned, 1, __ATOMIC_RELEASE);
}

static void on_stopped(void *arg)
{
	(void)arg;
	sem_post(&stopped);
}

static void prepare(int which)
{
	guest_init(&slot_layouts[which]);
	sem_init(&stopped, 0, 0);
	params = (struct queue_params){
		.domid = FAKE_DOMID,
		.abi = ring_abi_find(slot_layouts[which].protocol),
		.nr_pages = 1,
		.refs = { 0 },
		.port = FAKE_PORT,
		.provider = script_open(),
		.inflight_fd = memfd_create("inflight", MFD_CLOEXEC),
		.nr_queues = 1,
		.flush_timeout_ms = 60000,
		.grant_idle_ms = 20,
		.disk_failed = &disk_failed,
		.throttle = &throttle,
		.trial = &trial,
		.pool_pages = PAGE_POOL_PAGES_MIN,
		.stats = &stats,
		.events = { on_ring_broken, on_disk_failed, on_poisoned,
			    on_stopped, NULL },
	};
	ck_assert_int_eq(ftruncate(params.inflight_fd,
				   (off_t)inflight_bytes(1, GUEST_SLOTS)),
			 0);
}

static void start(void)
{
	ck_assert_msg(queue_start(&params, &queue, &err) == 0, "%s", err.text);
	queue_serve(queue);
	ck_assert_int_eq(
		inflight_map(params.inflight_fd, 0, 1, GUEST_SLOTS, &table), 0);
}

static void setup(void)
{
	prepare(0);
}

/* Whether the queue stops within that time. */
static bool stops_within(unsigned int timeout_ms)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += timeout_ms % 1000 * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	return sem_timedwait(&stopped, &end) == 0;
}

static void wait_stopped(void)
{
	ck_assert_msg(stops_within(DEADLINE_MS), "the queue does not stop");
}

/* Stops the queue; nothing may be left behind. */
static void stop(void)
{
	queue_stop(queue);
	wait_stopped();
	queue_free(queue);
	ck_assert_uint_eq(fake_live_pages(), 0);
	ck_assert_uint_eq(fake_live_ports(), 0);
	ck_assert_uint_eq(fake_live_handles(), 0);
	inflight_unmap(&table);
	close(params.inflight_fd);
	script_close();
}

/* ---- requests --------------------------------------------------------- */

START_TEST(reads_and_writes)
{
	prepare(_i);
	start();
	memset(fake_pages[GUEST_DATA], 0xa1, 4096);
	memset(fake_pages[GUEST_DATA + 1], 0xa2, 4096);
	guest_put(SLOT_WRITE, UINT64_C(0x8877665544332211), 8, 2, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, UINT64_C(0x8877665544332211), 0);
	ck_assert_uint_eq(script_disk[8 * 512 - 1], 7);
	ck_assert_uint_eq(script_disk[8 * 512], 0xa1);
	ck_assert_uint_eq(script_disk[24 * 512 - 1], 0xa2);
	ck_assert_uint_eq(script_disk[24 * 512], 24);
	guest_put(SLOT_READ, 2, 20, 1, GUEST_DATA + 2);
	guest_push();
	guest_expect(SLOT_READ, 2, 0);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 2][0], 0xa2);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 2][2047], 0xa2);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 2][2048], 24);
	guest_put(SLOT_FLUSH, 3, 0, 0, 0);
	guest_push();
	guest_expect(SLOT_FLUSH, 3, 0);
	ck_assert_str_eq(script_log(), "wrf");
	stop();
	ck_assert_uint_eq(stats.reads, 1);
	ck_assert_uint_eq(stats.writes, 1);
	ck_assert_uint_eq(stats.flushes, 1);
	ck_assert_uint_eq(stats.errors, 0);
	ck_assert_uint_eq(stats.read_bytes, 4096);
	ck_assert_uint_eq(stats.written_bytes, 8192);
}
END_TEST

/* Round after round of a full ring, the guest asleep in between. */
START_TEST(binds_no_other_guests_ports)
{
	start();
	ck_assert_uint_eq(fake_restricted_to(), FAKE_DOMID);
	stop();
}
END_TEST

START_TEST(full_rings)
{
	start();
	for (uint32_t round = 0; round < 20; round++) {
		bool seen[GUEST_SLOTS] = { false };

		for (uint32_t i = 0; i < GUEST_SLOTS; i++)
			guest_put(SLOT_READ, round * 100 + i, i, 1,
				  GUEST_DATA + i);
		guest_push();
		guest_wait_responses(guest_rsp_cons + GUEST_SLOTS);
		for (uint32_t i = 0; i < GUEST_SLOTS; i++) {
			uint64_t id =
				slot_get(guest_slot(guest_rsp_cons++), 0, 8) -
				round * 100;

			ck_assert_uint_lt(id, GUEST_SLOTS);
			ck_assert(!seen[id]);
			seen[id] = true;
			ck_assert_uint_eq(fake_pages[GUEST_DATA + id][0], id);
			ck_assert_uint_eq(fake_pages[GUEST_DATA + id][4095],
					  id + 7);
		}
		/* Nothing more than was asked for. */
		ck_assert_uint_eq(guest_shared_load(8), guest_req_prod);
	}
	stop();
	ck_assert_uint_eq(stats.reads, 20 * GUEST_SLOTS);
}
END_TEST

static const struct {
	uint8_t op, nr;
	uint64_t sector;
	uint32_t ref;
	int status;
} bad[] = {
	{ SLOT_READ, 0, 0, GUEST_DATA, -1 },
	{ SLOT_WRITE, 12, 0, GUEST_DATA, -1 },
	{ SLOT_READ, 1, 249, GUEST_DATA, -1 },
	{ SLOT_WRITE, 1, 256, GUEST_DATA, -1 },
	{ SLOT_READ, 1, UINT64_MAX, GUEST_DATA, -1 },
	{ SLOT_READ, 1, 0, 1, -1 },
	{ SLOT_WRITE, 1, 0, 1, -1 },
	{ SLOT_READ, 2, 0, FAKE_PAGES - 1, -1 },
	{ SLOT_WRITE, 2, 0, FAKE_PAGES - 1, -1 },
	{ SLOT_READ, 1, 0, GUEST_DATA + 9, -1 },
	{ 4, 1, 0, GUEST_DATA, -2 },
	{ 250, 1, 0, GUEST_DATA, -2 },
};

/* A bad request between two good ones, all in one turn. */
START_TEST(bad_requests_harm_nobody)
{
	unsigned char before[sizeof(script_disk)];
	int seen = 0;

	fake_grants[GUEST_DATA + 9] = FAKE_GRANT_READ_ONLY;
	start();
	memcpy(before, script_disk, sizeof(before));
	guest_put(SLOT_READ, 1, 16, 1, GUEST_DATA);
	guest_put(bad[_i].op, 2, bad[_i].sector, bad[_i].nr, bad[_i].ref);
	guest_put(SLOT_READ, 3, 24, 1, GUEST_DATA + 1);
	guest_push();
	guest_wait_responses(3);
	for (uint32_t i = 0; i < 3; i++) {
		const unsigned char *slot = guest_slot(i);
		uint64_t id = slot_get(slot, 0, 8);
		int status = (int16_t)slot_get(slot, 10, 2);

		ck_assert_int_eq(status, id == 2 ? bad[_i].status : 0);
		ck_assert_uint_eq(slot_get(slot, 8, 1),
				  id == 2 ? bad[_i].op : SLOT_READ);
		seen |= 1 << id;
	}
	ck_assert_int_eq(seen, 14);
	ck_assert_uint_eq(fake_pages[GUEST_DATA][0], 16);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 1][0], 24);
	ck_assert_mem_eq(before, script_disk, sizeof(before));
	stop();
	ck_assert_uint_eq(stats.errors, 1);
	ck_assert_uint_eq(stats.read_bytes, 8192);
	ck_assert_uint_eq(stats.written_bytes, 0);
}
END_TEST

/* A guest may have its own data written from pages we cannot write to. */
START_TEST(writes_from_read_only_grants)
{
	fake_grants[GUEST_DATA] = FAKE_GRANT_READ_ONLY;
	start();
	guest_put(SLOT_WRITE, 1, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 1, 0);
	stop();
}
END_TEST

static const int errors[] = { -EIO, -ENOSPC, -EOPNOTSUPP };

START_TEST(errors_are_answered)
{
	start();
	memset(fake_pages[GUEST_DATA], 0x5a, 4096);
	script_error(BLOCK_OP_READ, errors[_i]);
	script_error(BLOCK_OP_WRITE, errors[_i]);
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 1, -1);
	/* And no byte of a buffer that was not read into. */
	ck_assert_uint_eq(fake_pages[GUEST_DATA][0], 0x5a);
	guest_put(SLOT_WRITE, 2, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 2, -1);
	script_error(BLOCK_OP_READ, 0);
	guest_put(SLOT_READ, 3, 3, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 3, 0);
	ck_assert_uint_eq(fake_pages[GUEST_DATA][0], 3);
	stop();
}
END_TEST

static void put_discard(uint64_t id, uint64_t sector, uint64_t nr_sectors)
{
	unsigned char *slot = guest_slot(guest_req_prod);

	guest_put(SLOT_DISCARD, id, sector, 0, 0);
	slot_put(slot, guest_layout->segments, 8, nr_sectors);
}

/* A hint, which the guest does not send again. */
START_TEST(discard_that_is_not_supported)
{
	params.provider->info.discard_granularity_bytes = 512;
	start();
	script_error(BLOCK_OP_DISCARD, errors[_i]);
	put_discard(1, 8, 16);
	guest_push();
	guest_expect(SLOT_DISCARD, 1, errors[_i] == -EOPNOTSUPP ? -2 : -1);
	ck_assert_str_eq(script_log(), "d");
	stop();
}
END_TEST

/* All too long; in bytes, the last one wraps around. */
static const uint64_t wild_sectors[] = { SCRIPT_SECTORS + 1,
					 (UINT64_C(1) << 55) - 1,
					 (UINT64_C(1) << 55) + 8 };

/* A counter never runs backwards. */
START_TEST(refused_discards_move_nothing)
{
	params.provider->info.discard_granularity_bytes = 512;
	start();
	put_discard(1, 8, 16);
	guest_push();
	guest_expect(SLOT_DISCARD, 1, 0);
	put_discard(2, 0, wild_sectors[_i]);
	guest_push();
	guest_expect(SLOT_DISCARD, 2, -1);
	stop();
	ck_assert_uint_eq(stats.discards, 2);
	ck_assert_uint_eq(stats.errors, 1);
	ck_assert_uint_eq(stats.discarded_bytes, 8192);
}
END_TEST

START_TEST(read_only_disk)
{
	params.provider->info.read_only = true;
	start();
	guest_put(SLOT_WRITE, 1, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 1, -1);
	guest_put(SLOT_READ, 2, 5, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 2, 0);
	ck_assert_str_eq(script_log(), "r");
	ck_assert_uint_eq(script_disk[0], 0);
	stop();
}
END_TEST

static uint32_t entry_state(uint32_t index)
{
	return __atomic_load_n(&table.entries[index].state, __ATOMIC_ACQUIRE);
}

/* Answers come as I/Os end, whatever the order. */
START_TEST(in_flight)
{
	script_hold(BLOCK_OP_READ, true);
	start();
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_put(SLOT_READ, 2, 1, 1, GUEST_DATA + 1);
	guest_put(SLOT_WRITE, 3, 8, 1, GUEST_DATA + 2);
	guest_push();
	guest_expect(SLOT_WRITE, 3, 0);
	script_wait_held(2);
	/* What is taken and not answered is in the table, and only that. */
	ck_assert_uint_eq(entry_state(0), INFLIGHT_TAKEN);
	ck_assert_uint_eq(entry_state(1), INFLIGHT_TAKEN);
	ck_assert_uint_eq(table.entries[0].id, 1);
	ck_assert_uint_eq(table.entries[1].id, 2);
	ck_assert_uint_eq(table.entries[1].segments[0].gref, GUEST_DATA + 1);
	ck_assert_uint_eq(table.entries[1].offset_bytes, 512);
	script_release(0);
	guest_expect(SLOT_READ, 1, 0);
	script_release(-EIO);
	guest_expect(SLOT_READ, 2, -1);
	queue_stop(queue);
	wait_stopped();
	for (uint32_t i = 0; i < GUEST_SLOTS; i++)
		ck_assert_uint_eq(entry_state(i), INFLIGHT_FREE);
	sem_post(&stopped);
	stop();
}
END_TEST

/* ---- events ----------------------------------------------------------- */

/* The guest asks for an event at its second response: it gets one. */
START_TEST(one_event_for_what_was_asked)
{
	uint64_t end = 0;

	script_hold(BLOCK_OP_READ, true);
	start();
	slot_put(fake_pages[0], 12, 4, 2);
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_put(SLOT_READ, 2, 0, 1, GUEST_DATA);
	guest_push();
	script_wait_held(2);
	script_release(0);
	/* There is no event for it, as there should be none. */
	while (guest_shared_load(8) < 1 && ++end < 80000)
		usleep(100);
	ck_assert_uint_eq(guest_shared_load(8), 1);
	script_release(0);
	guest_wait_responses(2);
	stop();
	ck_assert_uint_eq(fake_nr_notified(), 1);
}
END_TEST

/* Each event is answered by a fresh look; the port fires again after it. */
START_TEST(many_events)
{
	start();
	for (uint32_t i = 0; i < 200; i++) {
		fake_kick();
		guest_put(SLOT_READ, i, 0, 1, GUEST_DATA);
		guest_push();
		guest_expect(SLOT_READ, i, 0);
	}
	stop();
}
END_TEST

static unsigned int nr_unmasked;

static void kick_again(void)
{
	__atomic_add_fetch(&nr_unmasked, 1, __ATOMIC_RELAXED);
	fake_kick();
}

/* Whoever sends events without end, and nothing else, costs little (XSA-332). */
START_TEST(events_without_requests)
{
	unsigned int first = 100, per_second = 100;

	nr_unmasked = 0;
	fake_on_unmask = kick_again;
	start();
	while (__atomic_load_n(&nr_unmasked, __ATOMIC_RELAXED) < first)
		usleep(1000);
	/* Nothing but time can tell that there are no more. */
	usleep(300000);
	ck_assert_uint_le(__atomic_load_n(&nr_unmasked, __ATOMIC_RELAXED),
			  first + per_second / 2);
	/* It is served all the same, and starts anew. */
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 1, 0);
	first += __atomic_load_n(&nr_unmasked, __ATOMIC_RELAXED);
	while (__atomic_load_n(&nr_unmasked, __ATOMIC_RELAXED) < first)
		usleep(1000);
	stop();
	fake_on_unmask = NULL;
}
END_TEST

/* ---- flushes and barriers --------------------------------------------- */

START_TEST(flush_with_data)
{
	start();
	memset(fake_pages[GUEST_DATA], 0x66, 4096);
	guest_put(SLOT_FLUSH, 1, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_FLUSH, 1, 0);
	ck_assert_str_eq(script_log(), "fwf");
	ck_assert_uint_eq(script_disk[0], 0x66);
	stop();
}
END_TEST

START_TEST(barrier_is_ordered)
{
	script_hold(BLOCK_OP_READ, true);
	script_hold(BLOCK_OP_WRITE, true);
	script_hold(BLOCK_OP_FLUSH, true);
	start();
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_put(SLOT_WRITE, 2, 8, 1, GUEST_DATA + 1);
	guest_put(SLOT_BARRIER, 3, 16, 1, GUEST_DATA + 2);
	guest_put(SLOT_READ, 4, 0, 1, GUEST_DATA + 3);
	guest_push();
	script_wait_held(2);
	script_release(0);
	guest_expect(SLOT_READ, 1, 0);
	script_release(0);
	guest_expect(SLOT_WRITE, 2, 0);
	for (int i = 0; i < 3; i++) {
		script_wait_held(1);
		script_release(0);
	}
	guest_expect(SLOT_BARRIER, 3, 0);
	script_wait_held(1);
	script_release(0);
	guest_expect(SLOT_READ, 4, 0);
	/* All before it has ended before it begins, and nothing overtakes. */
	ck_assert_str_eq(script_log(), "rwRWfFwWfFrR");
	stop();
}
END_TEST

START_TEST(empty_barrier)
{
	script_hold(BLOCK_OP_WRITE, true);
	start();
	guest_put(SLOT_WRITE, 1, 8, 1, GUEST_DATA);
	guest_put(SLOT_BARRIER, 2, 0, 0, 0);
	guest_put(SLOT_BARRIER, 3, 0, 0, 0);
	guest_put(SLOT_READ, 4, 0, 1, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	script_release(0);
	guest_expect(SLOT_WRITE, 1, 0);
	guest_expect(SLOT_BARRIER, 2, 0);
	guest_expect(SLOT_BARRIER, 3, 0);
	guest_expect(SLOT_READ, 4, 0);
	ck_assert_str_eq(script_log(), "wWffr");
	stop();
}
END_TEST

/* EOPNOTSUPP would have Linux do without barriers, and take this one for done. */
START_TEST(barrier_with_an_error)
{
	start();
	script_error(BLOCK_OP_WRITE, _i ? -EOPNOTSUPP : -EIO);
	guest_put(SLOT_BARRIER, 1, 8, 1, GUEST_DATA);
	guest_put(SLOT_READ, 2, 8, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_BARRIER, 1, -1);
	guest_expect(SLOT_READ, 2, 0);
	ck_assert_str_eq(script_log(), "fwr");
	stop();
}
END_TEST

START_TEST(disk_without_flush)
{
	params.provider->info.can_flush = false;
	start();
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	guest_expect(SLOT_FLUSH, 1, -2);
	guest_put(SLOT_BARRIER, 2, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_BARRIER, 2, -2);
	guest_put(SLOT_WRITE, 3, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 3, 0);
	ck_assert_str_eq(script_log(), "w");
	stop();
}
END_TEST

/* A flush that failed is not answered until one has succeeded. */
START_TEST(failed_flush_is_tried_again)
{
	script_hold(BLOCK_OP_FLUSH, true);
	start();
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_held(1);
	script_release(-EIO);
	script_wait_log(3);
	ck_assert_uint_eq(guest_shared_load(8), 0);
	/* Everything else goes on meanwhile. */
	guest_put(SLOT_WRITE, 2, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 2, 0);
	script_wait_held(1);
	script_release(0);
	guest_expect(SLOT_FLUSH, 1, 0);
	ck_assert_str_eq(script_log(), "fFfwF");
	ck_assert_uint_eq(events.disk_failed, 0);
	stop();
}
END_TEST

/* Disk failed: no flush is answered any more, no write accepted. */
static void check_disk_failed(void)
{
	guest_put(SLOT_WRITE, 10, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 10, -1);
	guest_put(SLOT_FLUSH, 11, 0, 0, 0);
	guest_put(SLOT_FLUSH, 12, 0, 1, GUEST_DATA);
	guest_put(SLOT_READ, 13, 4, 1, GUEST_DATA);
	guest_push();
	/* The one with data may fail; the empty ones never do. */
	guest_wait_responses(guest_rsp_cons + 2);
	for (int i = 0; i < 2; i++) {
		const unsigned char *slot = guest_slot(guest_rsp_cons++);
		uint64_t id = slot_get(slot, 0, 8);

		ck_assert(id == 12 || id == 13);
		ck_assert_int_eq((int16_t)slot_get(slot, 10, 2),
				 id == 12 ? -1 : 0);
	}
	ck_assert_uint_eq(fake_pages[GUEST_DATA][0], 4);
	ck_assert_uint_eq(events.disk_failed, 1);
	ck_assert_ptr_nonnull(strstr(events.cause, "flush failed"));
	ck_assert_uint_eq(script_disk[0], 0);
}

/* It was not carried out at all: of what else it is never known. */
static const int untried[] = { -EINTR, -EAGAIN, -ENOMEM };

START_TEST(flush_that_was_not_tried)
{
	params.provider->info.flush_retryable = false;
	script_hold(BLOCK_OP_FLUSH, true);
	start();
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_held(1);
	script_release(untried[_i]);
	script_wait_log(3);
	script_wait_held(1);
	script_release(0);
	guest_expect(SLOT_FLUSH, 1, 0);
	ck_assert_str_eq(script_log(), "fFfF");
	ck_assert_uint_eq(events.disk_failed, 0);
	stop();
}
END_TEST

/* A lost write may be reported once: a second try proves nothing. */
START_TEST(flush_that_cannot_be_retried)
{
	params.provider->info.flush_retryable = false;
	start();
	script_error(BLOCK_OP_FLUSH, -EIO);
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_log(1);
	script_error(BLOCK_OP_FLUSH, 0);
	check_disk_failed();
	ck_assert_uint_eq(guest_shared_load(8), 3);
	stop();
}
END_TEST

/*
 * One with data waits for its next try when another brings the disk to its
 * limit: it is refused, not forgotten.
 */
START_TEST(data_waits_when_the_disk_fails)
{
	params.flush_timeout_ms = 500;
	script_hold(BLOCK_OP_FLUSH, true);
	start();
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_held(1);
	script_release(-EIO);
	script_wait_log(3); /* it is tried again */
	guest_put(SLOT_FLUSH, 2, 0, 1, GUEST_DATA);
	guest_push();
	script_wait_held(2);
	script_release_nth(1, -EIO);
	script_wait_log(5);
	script_release(-EIO);
	guest_expect(SLOT_FLUSH, 2, -1);
	ck_assert_uint_eq(events.disk_failed, 1);
	stop();
}
END_TEST

START_TEST(flush_limit_reached)
{
	params.flush_timeout_ms = 500;
	params.provider->info.flush_retryable = !_i;
	start();
	script_error(BLOCK_OP_FLUSH, _i ? -ENOMEM : -EIO);
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_log(2);
	check_disk_failed();
	stop();
}
END_TEST

START_TEST(barrier_on_a_failed_disk)
{
	params.provider->info.flush_retryable = false;
	start();
	script_error(BLOCK_OP_FLUSH, -EIO);
	guest_put(SLOT_BARRIER, 1, 0, 1, GUEST_DATA);
	guest_put(SLOT_BARRIER, 2, 0, 0, 0);
	guest_put(SLOT_READ, 3, 4, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_BARRIER, 1, -1);
	/* The empty one waits for ever, and nobody waits for it. */
	guest_expect(SLOT_READ, 3, 0);
	ck_assert_uint_eq(events.disk_failed, 1);
	stop();
}
END_TEST

/* An empty flush that waits for ever holds up no barrier behind it. */
START_TEST(barrier_behind_a_withheld_flush)
{
	uint8_t nr = _i ? 1 : 0;

	params.provider->info.flush_retryable = false;
	start();
	script_error(BLOCK_OP_FLUSH, -EIO);
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_log(1);
	guest_put(SLOT_BARRIER, 2, 0, nr, GUEST_DATA);
	guest_put(SLOT_READ, 3, 4, 1, GUEST_DATA);
	guest_push();
	if (nr)
		guest_expect(SLOT_BARRIER, 2, -1);
	guest_expect(SLOT_READ, 3, 0);
	stop();
	ck_assert_uint_eq(guest_shared_load(8), guest_rsp_cons);
	ck_assert_str_eq(script_log(), "fr");
	ck_assert_uint_eq(events.disk_failed, 1);
}
END_TEST

/* ---- hostile rings ---------------------------------------------------- */

static const uint32_t claims[] = { 33, 0x80000000, 0xffffffff };

START_TEST(broken_ring)
{
	script_hold(BLOCK_OP_READ, true);
	start();
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	__atomic_store_n(guest_shared(0), 1 + claims[_i], __ATOMIC_RELEASE);
	fake_kick();
	/* What was taken before is still answered, and nothing after it. */
	for (int i = 0; !__atomic_load_n(&events.ring_broken, __ATOMIC_ACQUIRE);
	     i++) {
		ck_assert_int_lt(i, 80000);
		usleep(100);
	}
	script_release(0);
	guest_expect(SLOT_READ, 1, 0);
	ck_assert_ptr_nonnull(strstr(events.cause, "more requests"));
	guest_req_prod = 2;
	__atomic_store_n(guest_shared(0), 2, __ATOMIC_RELEASE);
	fake_kick();
	stop();
	ck_assert_uint_eq(guest_shared_load(8), 1);
	ck_assert_str_eq(script_log(), "rR");
	ck_assert_uint_eq(events.ring_broken, 1);
}
END_TEST

/* ---- start and stop --------------------------------------------------- */

static void refuse(const char *says, int rc)
{
	ck_assert_int_eq(queue_start(&params, &queue, &err), rc);
	ck_assert_msg(strstr(err.text, says), "'%s'", err.text);
	ck_assert_uint_eq(fake_live_pages(), 0);
	ck_assert_uint_eq(fake_live_ports(), 0);
	ck_assert_uint_eq(fake_live_handles(), 0);
	script_close();
	close(params.inflight_fd);
}

START_TEST(refuses_a_bad_ring_ref)
{
	params.refs[0] = 5;
	refuse("ring-ref 5", -EINVAL);
}
END_TEST

START_TEST(refuses_a_bad_port)
{
	params.port = 4;
	refuse("event-channel 4", -EINVAL);
}
END_TEST

START_TEST(refuses_a_bad_table)
{
	ck_assert_int_eq(ftruncate(params.inflight_fd, 4096), 0);
	refuse("in-flight table: it has been cut", -EBADMSG);
}
END_TEST

START_TEST(refuses_answers_in_a_new_ring)
{
	slot_put(fake_pages[0], 8, 4, 1);
	refuse("1 requests of it were answered", -EBUSY);
}
END_TEST

START_TEST(refuses_to_resume_a_busy_ring)
{
	params.origin = QUEUE_DRAINED;
	slot_put(fake_pages[0], 0, 4, 1);
	refuse("the ring holds requests", -EBUSY);
}
END_TEST

/* It may have been told of no answer: the one before may be dead. */
START_TEST(resumes)
{
	struct pollfd event = { .fd = fake_guest_fd(), .events = POLLIN };

	params.origin = _i ? QUEUE_ANSWERED : QUEUE_DRAINED;
	guest_req_prod = guest_rsp_cons = 0xfffffff0;
	slot_put(fake_pages[0], 0, 4, guest_req_prod);
	slot_put(fake_pages[0], 4, 4, guest_req_prod + 1);
	slot_put(fake_pages[0], 8, 4, guest_req_prod);
	start();
	ck_assert_msg(poll(&event, 1, DEADLINE_MS) == 1, "no event");
	/* Over the end of 32 bits. */
	for (uint32_t i = 0; i < 40; i++) {
		guest_put(SLOT_READ, i, 0, 1, GUEST_DATA);
		guest_push();
		guest_expect(SLOT_READ, i, 0);
	}
	stop();
}
END_TEST

/* As the worker before left them, which the ring cannot tell. */
static void leave(unsigned int index, uint64_t number, uint8_t operation)
{
	struct inflight_entry *entry = &table.entries[index];

	*entry = (struct inflight_entry){
		.operation = operation,
		.id = 100 + number,
		.nr_segments = 1,
		.offset_bytes = number * 4096,
		.length_bytes = 4096,
		.segments = { { GUEST_DATA + (uint32_t)number, 0, 4096 } },
	};
	inflight_take(entry, number, BLKIF_RSP_OKAY);
}

/* A table that was not begun has nothing in it, whoever wrote there. */
START_TEST(refuses_what_was_never_begun)
{
	struct inflight_entry *entry;

	params.origin = _i % 2 ? QUEUE_LEFT : QUEUE_NEW;
	ck_assert_int_eq(
		inflight_map(params.inflight_fd, 0, 1, GUEST_SLOTS, &table), 0);
	leave(0, 0, BLKIF_OP_WRITE);
	entry = &table.entries[0];
	if (_i / 2)
		entry->nr_segments = INFLIGHT_SEGMENTS_MAX + 1;
	else
		inflight_done(entry, 100000, BLKIF_RSP_OKAY);
	inflight_unmap(&table);
	refuse("in-flight table", -EBADMSG);
}
END_TEST

/* The unseen answer first, then the others in order, the barrier as one. */
START_TEST(takes_over)
{
	params.origin = QUEUE_LEFT;
	ck_assert_int_eq(
		inflight_map(params.inflight_fd, 0, 1, GUEST_SLOTS, &table), 0);
	inflight_start(&table, 0);
	leave(7, 0, BLKIF_OP_WRITE);
	leave(6, 1, BLKIF_OP_READ);
	leave(9, 2, BLKIF_OP_WRITE);
	leave(3, 3, BLKIF_OP_WRITE_BARRIER);
	inflight_publish_taken(&table, 4);
	inflight_done(&table.entries[7], 0, BLKIF_RSP_OKAY);
	inflight_unmap(&table);
	guest_req_prod = 4;
	guest_push();
	script_hold(BLOCK_OP_READ, true);
	script_hold(BLOCK_OP_WRITE, true);
	script_hold(BLOCK_OP_FLUSH, true);
	start();
	guest_expect(SLOT_WRITE, 100, 0);
	/* Until the end of the turn that began them. */
	while (__atomic_load_n(&stats.in_flight, __ATOMIC_RELAXED) != 3)
		sched_yield();
	script_wait_held(2);
	script_release(0);
	guest_expect(SLOT_READ, 101, 0);
	script_release(0);
	guest_expect(SLOT_WRITE, 102, 0);
	for (int i = 0; i < 3; i++) {
		script_wait_held(1);
		script_release(0);
	}
	guest_expect(SLOT_BARRIER, 103, 0);
	ck_assert_str_eq(script_log(), "rwRWfFwWfF");
	ck_assert_uint_eq(stats.replayed, 3);
	stop();
}
END_TEST

/* What is in flight is waited for; what is in the ring stays there. */
START_TEST(stop_waits_for_io)
{
	script_hold(BLOCK_OP_READ, true);
	start();
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	queue_stop(queue);
	/* That it does not stop has no event. */
	ck_assert_msg(!stops_within(300), "it stops with I/O going");
	ck_assert_uint_eq(fake_live_pages(), 1);
	script_release(0);
	wait_stopped();
	sem_post(&stopped);
	ck_assert_uint_eq(guest_shared_load(8), 1);
	stop();
}
END_TEST

START_TEST(stop_drops_what_waits)
{
	script_hold(BLOCK_OP_WRITE, true);
	start();
	script_error(BLOCK_OP_FLUSH, -EIO);
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_log(1);
	guest_put(SLOT_WRITE, 2, 0, 1, GUEST_DATA);
	guest_put(SLOT_BARRIER, 3, 0, 0, 0);
	guest_push();
	script_wait_held(1);
	queue_stop(queue);
	script_release(0);
	wait_stopped();
	sem_post(&stopped);
	stop();
}
END_TEST

/* ---- persistent grants ------------------------------------------------ */

static void start_persistent(bool any_memory)
{
	params.persistent_grants = FAKE_PAGES;
	params.provider->info.any_memory = any_memory;
	start();
}

/*
 * A provider that takes any memory gets the guest's own; another one what was
 * there when the request was taken.
 */
START_TEST(mapped_or_copied)
{
	start_persistent(_i);
	script_hold(BLOCK_OP_WRITE, true);
	memset(fake_pages[GUEST_DATA], 1, 4096);
	guest_put(SLOT_WRITE, 1, 8, 2, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	memset(fake_pages[GUEST_DATA], 2, 4096);
	script_release(0);
	guest_expect(SLOT_WRITE, 1, 0);
	ck_assert_uint_eq(script_disk[8 * 512], _i ? 2 : 1);
	ck_assert_uint_eq(script_disk[16 * 512], 0);
	guest_put(SLOT_READ, 2, 7, 2, GUEST_DATA + 2);
	guest_push();
	guest_expect(SLOT_READ, 2, 0);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 2][511], 7);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 2][512], _i ? 2 : 1);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 3][511], _i ? 2 : 1);
	ck_assert_uint_eq(fake_pages[GUEST_DATA + 3][512], 0);
	stop();
}
END_TEST

/* A page that cannot be mapped for writing is copied, with its request. */
START_TEST(mapped_but_for_one)
{
	fake_grants[GUEST_DATA + 1] = FAKE_GRANT_READ_ONLY;
	start_persistent(true);
	script_hold(BLOCK_OP_WRITE, true);
	memset(fake_pages[GUEST_DATA], 1, 3 * 4096);
	guest_put(SLOT_WRITE, 1, 8, 3, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	memset(fake_pages[GUEST_DATA], 2, 3 * 4096);
	script_release(0);
	guest_expect(SLOT_WRITE, 1, 0);
	for (unsigned int i = 0; i < 3; i++)
		ck_assert_uint_eq(script_disk[(8 + i * 8) * 512], 1);
	stop();
}
END_TEST

static void wait_unmapped(unsigned int nr)
{
	for (int i = 0; fake_nr_unmapped() < nr; i++) {
		ck_assert_msg(i < DEADLINE_MS, "%u pages unmapped, not %u",
			      fake_nr_unmapped(), nr);
		usleep(1000);
	}
}

/* What an I/O is under way to stays, however long that takes. */
START_TEST(mapped_while_in_flight)
{
	start_persistent(true);
	script_hold(BLOCK_OP_READ, true);
	guest_put(SLOT_READ, 1, 8, 1, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	/* Another comes to rest, and that twice. */
	for (unsigned int i = 0; i < 2; i++) {
		guest_put(SLOT_WRITE, 2 + i, 16, 1, GUEST_DATA + 1);
		guest_push();
		guest_expect(SLOT_WRITE, 2 + i, 0);
		wait_unmapped(1 + i);
		ck_assert_uint_eq(fake_live_pages(), 2);
	}
	script_release(0);
	guest_expect(SLOT_READ, 1, 0);
	ck_assert_uint_eq(fake_pages[GUEST_DATA][0], 8);
	wait_unmapped(3);
	ck_assert_uint_eq(fake_live_pages(), 1);
	stop();
}
END_TEST

START_TEST(idle_queue_stops)
{
	start();
	stop();
}
END_TEST

/* ---- limits ----------------------------------------------------------- */

static void limit(uint64_t iops, uint64_t bps)
{
	const struct block_limits limits = { .iops = iops, .bps = bps };

	throttle_set(&throttle, &limits);
}

static uint32_t answers_at_first_event;

static void note_first_event(void)
{
	if (!answers_at_first_event)
		answers_at_first_event = guest_shared_load(8);
}

/* The next worker does not expect more than one that is not answered. */
START_TEST(barriers_one_by_one)
{
	params.provider->info.can_flush = false;
	limit(1000000, 0);
	guest_put(SLOT_BARRIER, 1, 0, 1, GUEST_DATA);
	guest_put(SLOT_BARRIER, 2, 8, 1, GUEST_DATA);
	guest_push();
	fake_on_notify = note_first_event;
	start();
	guest_expect(SLOT_BARRIER, 1, -2);
	guest_expect(SLOT_BARRIER, 2, -2);
	stop();
	fake_on_notify = NULL;
	ck_assert_uint_eq(answers_at_first_event, 1);
}
END_TEST

/* Eleven pages at 4096 bytes a second are paid off after 10.9 s. */
static void start_in_debt(void)
{
	limit(0, 4096);
	start();
	guest_put(SLOT_READ, 1, 0, 11, GUEST_DATA);
	guest_put(SLOT_READ, 2, 0, 1, GUEST_DATA);
	guest_put(SLOT_FLUSH, 3, 0, 0, 0);
	guest_push();
	guest_expect(SLOT_READ, 1, 0);
}

/* What is beyond the limit stays in the ring, until that is lifted. */
START_TEST(limited)
{
	start_in_debt();
	ck_assert(!stops_within(300)); /* nothing stops it: a pause */
	ck_assert_str_eq(script_log(), "r");
	ck_assert_uint_eq(guest_shared_load(8), 1);
	limit(0, 0);
	queue_limits_changed(queue);
	guest_expect(SLOT_READ, 2, 0);
	guest_expect(SLOT_FLUSH, 3, 0);
	stop();
	ck_assert_uint_ge(stats.throttled_ns, 200 * 1000000);
	ck_assert_uint_le(stats.throttled_ns, UINT64_C(10000000000));
	ck_assert_uint_eq(stats.slots, 0);
}
END_TEST

START_TEST(limit_is_lowered)
{
	limit(1000000, 0);
	start();
	guest_put(SLOT_READ, 1, 0, 11, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 1, 0);
	limit(0, 4096);
	queue_limits_changed(queue);
	guest_put(SLOT_READ, 2, 0, 11, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 2, 0);
	guest_put(SLOT_READ, 3, 0, 1, GUEST_DATA);
	guest_push();
	ck_assert(!stops_within(300));
	ck_assert_uint_eq(guest_shared_load(8), 2);
	stop();
}
END_TEST

/* A guest that lets go does not wait for its debt. */
START_TEST(limited_queue_stops)
{
	start_in_debt();
	stop();
	ck_assert_uint_eq(guest_shared_load(8), 1);
}
END_TEST

/* Each of these would have to be paid off for most of a second. */
#define NR_FLUSHES 8u
START_TEST(flushes_have_no_bytes)
{
	limit(0, 4096);
	start();
	for (unsigned int i = 0; i < NR_FLUSHES; i++) {
		guest_put(SLOT_FLUSH, i, 0, 0, 0);
		guest_push();
		guest_expect(SLOT_FLUSH, i, 0);
	}
	guest_put(SLOT_READ, 1, 0, 11, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 1, 0);
	stop();
	ck_assert_uint_eq(stats.flushes, NR_FLUSHES);
	ck_assert_uint_eq(stats.throttled_ns, 0);
}
END_TEST

/* A barrier that does not end keeps the queue, not its timer, waiting. */
START_TEST(limited_behind_a_barrier)
{
	struct timespec before, after;

	limit(20, 0);
	script_hold(BLOCK_OP_FLUSH, true);
	start();
	guest_put(SLOT_READ, 1, 0, 1, GUEST_DATA);
	guest_put(SLOT_READ, 2, 0, 1, GUEST_DATA);
	guest_put(SLOT_BARRIER, 3, 0, 0, 0);
	guest_put(SLOT_READ, 4, 0, 1, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	ck_assert(!stops_within(300));
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000000000 +
				 after.tv_nsec - before.tv_nsec,
			 3000000);
	script_release(0);
	guest_expect(SLOT_READ, 1, 0);
	guest_expect(SLOT_READ, 2, 0);
	guest_expect(SLOT_BARRIER, 3, 0);
	guest_expect(SLOT_READ, 4, 0);
	stop();
}
END_TEST

/* ---- poison ------------------------------------------------------------- */

/*
 * The worker dies now, with nr I/Os held: the next finds what it has left.  This
 * one ends, and the ring and the table are put back.
 */
static void die(unsigned int nr)
{
	static unsigned char ring[4096], left[1 << 20];

	memcpy(ring, fake_pages[0], sizeof(ring));
	ck_assert_uint_le(table.bytes, sizeof(left));
	memcpy(left, table.mapping, table.bytes);
	for (int op = BLOCK_OP_READ; op <= BLOCK_OP_FLUSH; op++)
		script_hold((enum block_op)op, false);
	queue_stop(queue);
	for (unsigned int i = 0; i < nr; i++)
		script_release(0);
	wait_stopped();
	queue_free(queue);
	memcpy(table.mapping, left, table.bytes);
	inflight_unmap(&table);
	memcpy(fake_pages[0], ring, sizeof(ring));
	params.origin = QUEUE_LEFT;
	params.crashed = true;
}

/* Two requests are under way when it dies; ids 1 and 2, at sectors 0 and 8. */
static void die_at_two(uint8_t op, enum block_op held, uint8_t other,
		       enum block_op other_held)
{
	script_hold(held, true);
	script_hold(other_held, true);
	start();
	guest_put(op, 1, 0, op == SLOT_FLUSH ? 0 : 1, GUEST_DATA);
	guest_put(other, 2, 8, other == SLOT_FLUSH ? 0 : 1, GUEST_DATA + 1);
	guest_push();
	script_wait_held(2);
	die(2);
}

static void die_at_two_writes(void)
{
	die_at_two(SLOT_WRITE, BLOCK_OP_WRITE, SLOT_WRITE, BLOCK_OP_WRITE);
}

/* A worker tries one, and dies of it. */
static void die_again(enum block_op held)
{
	script_hold(held, true);
	start();
	script_wait_held(1);
	die(1);
}

START_TEST(tried_one_at_a_time)
{
	size_t before;

	die_at_two_writes();
	before = strlen(script_log());
	script_hold(BLOCK_OP_WRITE, true);
	guest_put(SLOT_READ, 3, 0, 1, GUEST_DATA + 2);
	guest_push();
	start();
	for (unsigned int i = 0; i < 2; i++) {
		script_wait_held(1);
		script_release(0);
		guest_expect(SLOT_WRITE, i + 1, 0);
	}
	guest_expect(SLOT_READ, 3, 0);
	ck_assert_str_eq(script_log() + before, "wWwWr");
	ck_assert_uint_eq(stats.replayed, 2);
	ck_assert_uint_eq(stats.poisoned, 0);
	stop();
}
END_TEST

/* What it left is carried out all at once: nobody died of it. */
START_TEST(killed_by_others)
{
	size_t before;

	die_at_two_writes();
	for (unsigned int i = 0; i <= INFLIGHT_TRIALS_MAX; i++) {
		die_again(BLOCK_OP_WRITE);
		before = strlen(script_log());
		params.crashed = false;
		script_hold(BLOCK_OP_WRITE, true);
		start();
		script_wait_held(2);
		ck_assert_str_eq(script_log() + before, "ww");
		die(2);
	}
	start();
	guest_expect(SLOT_WRITE, 1, 0);
	guest_expect(SLOT_WRITE, 2, 0);
	ck_assert_uint_eq(stats.poisoned, 0);
	stop();
}
END_TEST

START_TEST(poison_fails_alone)
{
	size_t before;

	die_at_two_writes();
	for (unsigned int i = 0; i < INFLIGHT_TRIALS_MAX; i++)
		die_again(BLOCK_OP_WRITE);
	before = strlen(script_log());
	start();
	guest_expect(SLOT_WRITE, 1, -1);
	guest_expect(SLOT_WRITE, 2, 0);
	/* It was not tried again. */
	ck_assert_str_eq(script_log() + before, "w");
	ck_assert_uint_eq(stats.poisoned, 1);
	ck_assert_uint_eq(events.poisoned, 1);
	ck_assert_str_eq(events.cause,
			 "write of 4096 bytes at sector 0: given up, 3 workers "
			 "died of it");
	guest_put(SLOT_WRITE, 3, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 3, 0);
	stop();
}
END_TEST

/* The answer would be taken for "no flushes needed". */
START_TEST(poisoned_flush)
{
	die_at_two(SLOT_FLUSH, BLOCK_OP_FLUSH, SLOT_READ, BLOCK_OP_READ);
	for (unsigned int i = 0; i < INFLIGHT_TRIALS_MAX; i++)
		die_again(BLOCK_OP_FLUSH);
	start();
	guest_expect(SLOT_READ, 2, 0);
	ck_assert_uint_eq(events.disk_failed, 1);
	ck_assert_ptr_nonnull(strstr(events.cause, "workers died of it"));
	check_disk_failed();
	stop();
}
END_TEST

/* At once, and when no event is left that has the queue look again. */
START_TEST(trial_of_a_flush_that_fails)
{
	params.provider->info.flush_retryable = false;
	die_at_two(SLOT_READ, BLOCK_OP_READ, SLOT_FLUSH, BLOCK_OP_FLUSH);
	guest_put(SLOT_READ, 3, 8, 1, GUEST_DATA + 2);
	guest_push();
	script_hold(BLOCK_OP_READ, true);
	script_error(BLOCK_OP_FLUSH, -EIO);
	start();
	script_wait_held(1);
	script_hold(BLOCK_OP_READ, false);
	script_release(0);
	guest_expect(SLOT_READ, 1, 0);
	guest_expect(SLOT_READ, 3, 0);
	ck_assert_uint_eq(events.disk_failed, 1);
	stop();
}
END_TEST

/* It waits for ever, and what came after it is left, too. */
START_TEST(trial_behind_a_withheld_barrier)
{
	params.provider->info.flush_retryable = false;
	script_error(BLOCK_OP_FLUSH, -EIO);
	script_hold(BLOCK_OP_READ, true);
	start();
	guest_put(SLOT_BARRIER, 1, 0, 0, 0);
	guest_put(SLOT_READ, 2, 8, 1, GUEST_DATA);
	guest_push();
	script_wait_held(1);
	die(1);
	start();
	guest_expect(SLOT_READ, 2, 0);
	stop();
}
END_TEST

START_TEST(trial_is_stopped)
{
	die_at_two_writes();
	script_hold(BLOCK_OP_WRITE, true);
	start();
	script_wait_held(1);
	ck_assert_int_eq(pthread_mutex_trylock(&trial), EBUSY);
	die(1);
	ck_assert_int_eq(pthread_mutex_trylock(&trial), 0);
	pthread_mutex_unlock(&trial);
	start();
	guest_expect(SLOT_WRITE, 1, 0);
	guest_expect(SLOT_WRITE, 2, 0);
	stop();
}
END_TEST

static TCase *case_poison(void)
{
	TCase *tc = tcase_create("poison");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, tried_one_at_a_time);
	tcase_add_test(tc, killed_by_others);
	tcase_add_test(tc, poison_fails_alone);
	tcase_add_test(tc, poisoned_flush);
	tcase_add_test(tc, trial_of_a_flush_that_fails);
	tcase_add_test(tc, trial_behind_a_withheld_barrier);
	tcase_add_test(tc, trial_is_stopped);
	return tc;
}

static TCase *case_limits(void)
{
	TCase *tc = tcase_create("limits");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, barriers_one_by_one);
	tcase_add_test(tc, limited);
	tcase_add_test(tc, limit_is_lowered);
	tcase_add_test(tc, limited_queue_stops);
	tcase_add_test(tc, flushes_have_no_bytes);
	tcase_add_test(tc, limited_behind_a_barrier);
	return tc;
}

static TCase *case_requests(void)
{
	TCase *tc = tcase_create("requests");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, reads_and_writes, 0, NR_SLOT_LAYOUTS);
	tcase_add_test(tc, full_rings);
	tcase_add_loop_test(tc, bad_requests_harm_nobody, 0, (int)NR_OF(bad));
	tcase_add_test(tc, writes_from_read_only_grants);
	tcase_add_loop_test(tc, errors_are_answered, 0, (int)NR_OF(errors));
	tcase_add_loop_test(tc, discard_that_is_not_supported, 0,
			    (int)NR_OF(errors));
	tcase_add_loop_test(tc, refused_discards_move_nothing, 0,
			    (int)NR_OF(wild_sectors));
	tcase_add_test(tc, read_only_disk);
	tcase_add_test(tc, binds_no_other_guests_ports);
	tcase_add_test(tc, in_flight);
	tcase_add_test(tc, one_event_for_what_was_asked);
	tcase_add_test(tc, many_events);
	tcase_add_test(tc, events_without_requests);
	return tc;
}

static TCase *case_flushes(void)
{
	TCase *tc = tcase_create("flushes");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, flush_with_data);
	tcase_add_test(tc, barrier_is_ordered);
	tcase_add_test(tc, empty_barrier);
	tcase_add_loop_test(tc, barrier_with_an_error, 0, 2);
	tcase_add_test(tc, disk_without_flush);
	tcase_add_test(tc, failed_flush_is_tried_again);
	tcase_add_test(tc, flush_that_cannot_be_retried);
	tcase_add_loop_test(tc, flush_that_was_not_tried, 0,
			    (int)NR_OF(untried));
	tcase_add_loop_test(tc, flush_limit_reached, 0, 2);
	tcase_add_test(tc, data_waits_when_the_disk_fails);
	tcase_add_test(tc, barrier_on_a_failed_disk);
	tcase_add_loop_test(tc, barrier_behind_a_withheld_flush, 0, 2);
	return tc;
}

static TCase *case_persistent(void)
{
	TCase *tc = tcase_create("persistent");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, mapped_or_copied, 0, 2);
	tcase_add_test(tc, mapped_but_for_one);
	tcase_add_test(tc, mapped_while_in_flight);
	return tc;
}

static TCase *case_life(void)
{
	TCase *tc = tcase_create("life");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, broken_ring, 0, (int)NR_OF(claims));
	tcase_add_test(tc, refuses_a_bad_ring_ref);
	tcase_add_test(tc, refuses_a_bad_port);
	tcase_add_test(tc, refuses_a_bad_table);
	tcase_add_test(tc, refuses_answers_in_a_new_ring);
	tcase_add_test(tc, refuses_to_resume_a_busy_ring);
	tcase_add_loop_test(tc, resumes, 0, 2);
	tcase_add_loop_test(tc, refuses_what_was_never_begun, 0, 4);
	tcase_add_test(tc, takes_over);
	tcase_add_test(tc, stop_waits_for_io);
	tcase_add_test(tc, stop_drops_what_waits);
	tcase_add_test(tc, idle_queue_stops);
	return tc;
}

Suite *suite_queue(void)
{
	Suite *suite = suite_create("queue");

	suite_add_tcase(suite, case_requests());
	suite_add_tcase(suite, case_flushes());
	suite_add_tcase(suite, case_persistent());
	suite_add_tcase(suite, case_life());
	suite_add_tcase(suite, case_limits());
	suite_add_tcase(suite, case_poison());
	return suite;
}
