/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkback/connection.h: what outlives a connection, seen by the frontend that
 * connects next.
 */
#include "blkback/connection.h"
#include "blkback/inflight.h"
#include "blkback/page-pool.h"
#include "tests/unit/queue/fake-transport.h"
#include "tests/unit/queue/guest.h"
#include "tests/unit/queue/script-provider.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 8

static struct block_provider *provider;
static struct connection *connection;
static struct disk_stats stats;
static struct throttle throttle;
static bool disk_failed; /* as the worker keeps it */
static int inflight_fd;
static sem_t stopped;
static unsigned int nr_disk_failed;

static void on_ring_broken(void *arg, const char *cause)
{
	(void)arg;
	ck_abort_msg("ring broken: %s", cause);
}

static void on_disk_failed(void *arg, const char *cause)
{
	(void)arg;
	(void)cause;
	__atomic_add_fetch(&nr_disk_failed, 1, __ATOMIC_RELEASE);
}

static void on_poisoned(void *arg, const char *cause)
{
	(void)arg;
	ck_abort_msg("poisoned: %s", cause);
}

static void on_stopped(void *arg)
{
	(void)arg;
	sem_post(&stopped);
}

static void setup(void)
{
	guest_init(&slot_layouts[0]);
	provider = script_open();
	sem_init(&stopped, 0, 0);
	inflight_fd = memfd_create("inflight", MFD_CLOEXEC);
}

static int start_connection(unsigned int nr_queues, enum queue_origin origin,
			    struct error_text *err)
{
	const struct queue_events events = { on_ring_broken, on_disk_failed,
					     on_poisoned, on_stopped, NULL };
	struct connection_params params = {
		.domid = FAKE_DOMID,
		.nr_queues = nr_queues,
		.origin = origin,
		.ring_pages = 1,
		.pool_pages = PAGE_POOL_PAGES_MIN,
		/* Nobody has the second. */
		.queues = { { .port = FAKE_PORT }, { .port = FAKE_PORT + 1 } },
	};
	const struct connection_disk disk = {
		.provider = provider,
		.flush_timeout_ms = 60000,
		.failed = &disk_failed,
		.throttle = &throttle,
		.stats = &stats,
	};

	snprintf(params.protocol, sizeof(params.protocol), "%s",
		 guest_layout->protocol);
	ck_assert_int_eq(
		ftruncate(inflight_fd,
			  (off_t)inflight_bytes(nr_queues, GUEST_SLOTS)),
		0);
	return connection_start(&params, &disk, inflight_fd, &events,
				&connection, err);
}

static void connect_guest(void)
{
	struct error_text err;

	ck_assert_msg(start_connection(1, QUEUE_NEW, &err) == 0, "%s",
		      err.text);
}

static void disconnect_guest(void)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += DEADLINE_S;
	connection_stop(connection);
	ck_assert_msg(sem_timedwait(&stopped, &end) == 0,
		      "the connection does not stop");
	connection_free(connection);
	ck_assert_uint_eq(fake_live_pages(), 0);
	ck_assert_uint_eq(fake_live_ports(), 0);
	ck_assert_uint_eq(fake_live_handles(), 0);
}

static void teardown(void)
{
	close(inflight_fd);
	script_close();
}

START_TEST(one_after_the_other)
{
	for (uint64_t i = 0; i < 3; i++) {
		guest_new_ring();
		connect_guest();
		guest_put(SLOT_WRITE, i, 8, 1, GUEST_DATA);
		guest_push();
		guest_expect(SLOT_WRITE, i, 0);
		guest_put(SLOT_FLUSH, i, 0, 0, 0);
		guest_push();
		guest_expect(SLOT_FLUSH, i, 0);
		disconnect_guest();
	}
	ck_assert_str_eq(script_log(), "wfwfwf");
}
END_TEST

/* The first queue's worker died with its answer written, and not published. */
static void leave_answer(void)
{
	struct inflight table;
	struct inflight_entry *entry;

	ck_assert_int_eq(ftruncate(inflight_fd,
				   (off_t)inflight_bytes(2, GUEST_SLOTS)),
			 0);
	ck_assert_int_eq(inflight_map(inflight_fd, 0, 2, GUEST_SLOTS, &table),
			 0);
	inflight_start(&table, 0);
	entry = &table.entries[0];
	*entry = (struct inflight_entry){
		.operation = BLKIF_OP_WRITE,
		.id = 1,
		.nr_segments = 1,
		.offset_bytes = 4096,
		.length_bytes = 4096,
		.segments = { { GUEST_DATA, 0, 4096 } },
	};
	inflight_take(entry, 0, BLKIF_RSP_OKAY);
	inflight_publish_taken(&table, 1);
	inflight_done(entry, 0, BLKIF_RSP_OKAY);
	inflight_unmap(&table);
}

/* Of several queues none serves before all can: else they are refused whole. */
START_TEST(all_queues_or_none)
{
	struct error_text err;

	guest_new_ring();
	guest_put(SLOT_WRITE, 1, 8, 1, GUEST_DATA);
	guest_push();
	if (_i)
		leave_answer();
	ck_assert_int_eq(start_connection(2, _i ? QUEUE_LEFT : QUEUE_NEW, &err),
			 -EINVAL);
	ck_assert_msg(strstr(err.text, "bind event-channel 10"), "%s",
		      err.text);
	ck_assert_uint_eq(guest_shared_load(8), 0);
	ck_assert_str_eq(script_log(), "");
	ck_assert_uint_eq(fake_nr_notified(), 0);
	ck_assert_uint_eq(fake_live_pages(), 0);
	ck_assert_uint_eq(fake_live_ports(), 0);
	ck_assert_uint_eq(fake_live_handles(), 0);
}
END_TEST

/* The first frontend's flush fails for good: nothing of it is answered. */
static void fail_disk(void)
{
	provider->info.flush_retryable = false;
	script_error(BLOCK_OP_FLUSH, -EIO);
	connect_guest();
	guest_put(SLOT_FLUSH, 1, 0, 0, 0);
	guest_push();
	script_wait_log(1);
	script_error(BLOCK_OP_FLUSH, 0);
	guest_put(SLOT_WRITE, 2, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 2, -1);
	disconnect_guest();
	ck_assert_uint_eq(guest_shared_load(8), 1);
	ck_assert_uint_eq(nr_disk_failed, 1);
}

/* The bytes that a flush has lost do not come back with a new frontend. */
START_TEST(failed_disk_stays_failed)
{
	fail_disk();
	guest_new_ring();
	connect_guest();
	memset(fake_pages[GUEST_DATA], 0xa5, sizeof(fake_pages[0]));
	guest_put(SLOT_WRITE, 3, 0, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_WRITE, 3, -1);
	guest_put(SLOT_FLUSH, 4, 0, 0, 0);
	guest_put(SLOT_READ, 5, 4, 1, GUEST_DATA);
	guest_push();
	guest_expect(SLOT_READ, 5, 0);
	ck_assert_uint_eq(fake_pages[GUEST_DATA][0], 4);
	disconnect_guest();
	/* The flush was withheld to the end, and the disk left alone. */
	ck_assert_uint_eq(guest_shared_load(8), guest_rsp_cons);
	ck_assert_uint_eq(script_disk[0], 0);
	ck_assert_str_eq(script_log(), "fr");
}
END_TEST

Suite *suite_connection(void)
{
	Suite *suite = suite_create("connection");
	TCase *tc = tcase_create("what outlives it");

	tcase_set_timeout(tc, 20);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, one_after_the_other);
	tcase_add_loop_test(tc, all_queues_or_none, 0, 2);
	tcase_add_test(tc, failed_disk_stays_failed);
	suite_add_tcase(suite, tc);
	return suite;
}
