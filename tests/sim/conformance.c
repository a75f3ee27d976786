/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract of evtchn.h and gnttab.h as tests; see conformance.h.
 */
#include "tests/sim/conformance.h"

#include <errno.h>
#include <string.h>

#include "evtchn/evtchn.h"
#include "gnttab/gnttab.h"

#define WAIT_MS 2000
/* For what must not happen: long enough for an event that is on its way. */
#define QUIET_MS 50

static const struct peer_ops *peer;

static struct io_loop *loop;
static struct io_op event_op, time_op;
static bool waits, came, late;
static int event_result;

static void event_done(struct io_op *op, int result)
{
	(void)op;
	waits = false;
	came = true;
	event_result = result;
}

static void time_done(struct io_op *op, int result)
{
	(void)op;
	(void)result;
	late = true;
}

static void open_handle(struct evtchn **ret_ec)
{
	ck_assert_int_eq(evtchn_open(ret_ec), 0);
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	waits = came = false;
}

static void close_handle(struct evtchn *ec)
{
	if (waits)
		io_loop_cancel(loop, &event_op);
	while (waits)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	io_loop_free(loop);
	evtchn_close(ec);
}

/* Takes the next event; 0 when none comes. */
static uint32_t take(struct evtchn *ec, unsigned int timeout_ms)
{
	uint32_t port = 0;

	event_op.done = event_done;
	time_op.done = time_done;
	late = false;
	io_loop_timeout(loop, &time_op, timeout_ms);
	while (!late && !port) {
		if (!waits && !came)
			evtchn_wait(ec, loop, &event_op);
		waits = !came;
		ck_assert_int_ge(io_loop_run(loop, !came), 0);
		if (came && evtchn_take(ec, event_result, &port) < 0)
			ck_assert_int_ge(event_result, 0);
		came = false;
	}
	if (!late)
		io_loop_cancel(loop, &time_op);
	while (!late)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	return port;
}

static void unmask(struct evtchn *ec, uint32_t port)
{
	evtchn_unmask(ec, loop, port);
	ck_assert_int_ge(io_loop_run(loop, false), 0);
}

/* A bound port whose first event is drained. */
static uint32_t bind_quiet(struct evtchn *ec, uint32_t remote)
{
	uint32_t port;

	ck_assert_int_eq(evtchn_bind(ec, peer->domid(), remote, &port), 0);
	ck_assert_uint_eq(take(ec, WAIT_MS), port);
	unmask(ec, port);
	return port;
}

/* ---- event channels ---- */

START_TEST(evtchn_is_quiet_when_open)
{
	struct evtchn *ec;

	open_handle(&ec);
	ck_assert_uint_eq(take(ec, QUIET_MS), 0);
	close_handle(ec);
	evtchn_close(NULL);
}
END_TEST

START_TEST(evtchn_is_pending_after_bind)
{
	uint32_t remote = peer->port(), port;
	struct evtchn *ec;

	open_handle(&ec);
	ck_assert_int_eq(evtchn_bind(ec, peer->domid(), remote, &port), 0);
	ck_assert_uint_eq(take(ec, WAIT_MS), port);
	ck_assert_uint_eq(take(ec, QUIET_MS), 0);
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_bind_refuses)
{
	uint32_t remote = peer->port(), port = 77, other;
	struct evtchn *ec;

	open_handle(&ec);
	ck_assert_int_lt(evtchn_bind(ec, peer->domid(), 4000, &port), 0);
	ck_assert_int_eq(evtchn_bind(ec, 32000, remote, &port), -ESRCH);
	ck_assert_uint_eq(port, 77);
	/* A port has one peer. */
	ck_assert_int_eq(evtchn_bind(ec, peer->domid(), remote, &port), 0);
	ck_assert_int_eq(evtchn_bind(ec, peer->domid(), remote, &other),
			 -EINVAL);
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_restricts_to_one_domain)
{
	uint32_t remote = peer->port(), port;
	struct evtchn *ec;

	open_handle(&ec);
	ck_assert_int_eq(evtchn_restrict(ec, 0), -EINVAL);
	port = bind_quiet(ec, remote);
	ck_assert_int_eq(evtchn_restrict(ec, peer->domid()), 0);
	ck_assert_int_eq(evtchn_restrict(ec, 32000), -EACCES);
	ck_assert_int_eq(evtchn_bind(ec, 32000, remote, &port), -EACCES);
	/* What it has goes on, and its own domain's may be bound. */
	ck_assert_int_eq(evtchn_notify(ec, port), 0);
	evtchn_unbind(ec, port);
	bind_quiet(ec, remote);
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_binds_again_after_unbind_and_close)
{
	uint32_t remote = peer->port(), port;
	struct evtchn *ec;

	open_handle(&ec);
	port = bind_quiet(ec, remote);
	evtchn_unbind(ec, port);
	bind_quiet(ec, remote);
	/* Closing the handle closes its ports. */
	close_handle(ec);
	open_handle(&ec);
	bind_quiet(ec, remote);
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_carries_events_both_ways)
{
	uint32_t remote = peer->port(), port;
	struct evtchn *ec;

	open_handle(&ec);
	port = bind_quiet(ec, remote);
	peer->port_wait(remote, 0);
	peer->port_notify(remote);
	ck_assert_uint_eq(take(ec, WAIT_MS), port);
	unmask(ec, port);
	ck_assert(!peer->port_wait(remote, QUIET_MS));
	ck_assert_int_eq(evtchn_notify(ec, port), 0);
	ck_assert(peer->port_wait(remote, WAIT_MS));
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_is_masked_until_unmask)
{
	uint32_t remote = peer->port(), port;
	struct evtchn *ec;
	int i;

	open_handle(&ec);
	port = bind_quiet(ec, remote);
	peer->port_notify(remote);
	ck_assert_uint_eq(take(ec, WAIT_MS), port);
	/* A storm costs nothing (XSA-332) ... */
	for (i = 0; i < 1000; i++)
		peer->port_notify(remote);
	ck_assert_uint_eq(take(ec, QUIET_MS), 0);
	/* ... and is one event afterwards. */
	unmask(ec, port);
	ck_assert_uint_eq(take(ec, WAIT_MS), port);
	unmask(ec, port);
	ck_assert_uint_eq(take(ec, QUIET_MS), 0);
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_serves_two_ports)
{
	uint32_t remote_a = peer->port(), remote_b = peer->port();
	uint32_t a, b, first, second;
	struct evtchn *ec;

	open_handle(&ec);
	a = bind_quiet(ec, remote_a);
	b = bind_quiet(ec, remote_b);
	ck_assert_uint_ne(a, b);
	peer->port_notify(remote_a);
	peer->port_notify(remote_b);
	first = take(ec, WAIT_MS);
	second = take(ec, WAIT_MS);
	ck_assert((first == a && second == b) || (first == b && second == a));
	ck_assert_uint_eq(take(ec, QUIET_MS), 0);
	close_handle(ec);
}
END_TEST

START_TEST(evtchn_peer_may_close)
{
	uint32_t remote = peer->port(), port;
	struct evtchn *ec;

	open_handle(&ec);
	port = bind_quiet(ec, remote);
	peer->port_close(remote);
	/* What is sent to nobody is dropped. */
	ck_assert_int_eq(evtchn_notify(ec, port), 0);
	evtchn_unbind(ec, port);
	ck_assert_int_lt(evtchn_notify(ec, port), 0);
	close_handle(ec);
}
END_TEST

/* ---- grants ---- */

START_TEST(gnttab_maps_and_unmaps)
{
	struct gnttab *gt;
	uint32_t refs[3];
	char *pages[3], *map;
	void *page;
	int i;

	ck_assert_int_eq(gnttab_open(&gt), 0);
	for (i = 0; i < 3; i++) {
		refs[i] = peer->grant(false, &page);
		pages[i] = page;
	}
	strcpy(pages[1], "written before");
	ck_assert_int_eq(gnttab_map(gt, peer->domid(), refs, 3, &page), 0);
	map = page;
	/* In the order of refs, and both ways. */
	ck_assert_str_eq(map + GNTTAB_PAGE_BYTES, "written before");
	strcpy(map + 2 * GNTTAB_PAGE_BYTES, "written after");
	ck_assert_str_eq(pages[2], "written after");
	ck_assert_int_eq(peer->grant_end(refs[0]), -EBUSY);
	gnttab_unmap(gt, map, 3);
	for (i = 0; i < 3; i++)
		ck_assert_int_eq(peer->grant_end(refs[i]), 0);
	gnttab_close(gt);
	gnttab_close(NULL);
}
END_TEST

START_TEST(gnttab_map_is_all_or_nothing)
{
	struct gnttab *gt;
	uint32_t refs[2];
	void *page, *map = NULL;

	ck_assert_int_eq(gnttab_open(&gt), 0);
	refs[0] = peer->grant(false, &page);
	refs[1] = 3999;
	ck_assert_int_eq(gnttab_map(gt, peer->domid(), refs, 2, &map), -EINVAL);
	refs[1] = 0xffffffff;
	ck_assert_int_eq(gnttab_map(gt, peer->domid(), refs, 2, &map), -EINVAL);
	ck_assert_ptr_null(map);
	ck_assert_int_eq(peer->grant_end(refs[0]), 0);
	/* Read-only and revoked pages cannot be mapped for writing. */
	ck_assert_int_eq(gnttab_map(gt, peer->domid(), refs, 1, &map), -EINVAL);
	refs[0] = peer->grant(true, &page);
	ck_assert_int_eq(gnttab_map(gt, peer->domid(), refs, 1, &map), -EINVAL);
	ck_assert_ptr_null(map);
	gnttab_close(gt);
}
END_TEST

START_TEST(gnttab_copies_both_ways)
{
	xengnttab_grant_copy_segment_t seg[2];
	char in[512], out[512];
	struct gnttab *gt;
	uint32_t ref;
	void *page;

	ck_assert_int_eq(gnttab_open(&gt), 0);
	ref = peer->grant(false, &page);
	memset(page, 0x5a, GNTTAB_PAGE_BYTES);
	memset(out, 0xa5, sizeof(out));
	/* To the last byte of the page, and the same page twice. */
	gnttab_copy_from_guest(&seg[0], peer->domid(), ref,
			       GNTTAB_PAGE_BYTES - 512, 512, in);
	gnttab_copy_to_guest(&seg[1], peer->domid(), ref, 512, 512, out);
	gnttab_copy(gt, seg, 2);
	ck_assert_int_eq(seg[0].status, GNTST_okay);
	ck_assert_int_eq(seg[1].status, GNTST_okay);
	ck_assert_int_eq((uint8_t)in[0], 0x5a);
	ck_assert_int_eq((uint8_t)in[511], 0x5a);
	ck_assert_int_eq(((uint8_t *)page)[511], 0x5a);
	ck_assert_int_eq(((uint8_t *)page)[512], 0xa5);
	ck_assert_int_eq(((uint8_t *)page)[1023], 0xa5);
	ck_assert_int_eq(((uint8_t *)page)[1024], 0x5a);
	gnttab_copy(gt, seg, 0);
	gnttab_close(gt);
}
END_TEST

START_TEST(gnttab_copy_fails_segment_by_segment)
{
	xengnttab_grant_copy_segment_t seg[5];
	uint32_t good, readonly, revoked;
	char local[5][64] = { "a", "b", "c", "d", "e" };
	void *good_page, *page;
	struct gnttab *gt;

	ck_assert_int_eq(gnttab_open(&gt), 0);
	good = peer->grant(false, &good_page);
	readonly = peer->grant(true, &page);
	strcpy(page, "seen");
	revoked = peer->grant(false, &page);
	ck_assert_int_eq(peer->grant_end(revoked), 0);

	gnttab_copy_to_guest(&seg[0], peer->domid(), readonly, 0, 64, local[0]);
	gnttab_copy_to_guest(&seg[1], peer->domid(), good, 0, 64, local[1]);
	gnttab_copy_from_guest(&seg[2], peer->domid(), revoked, 0, 64,
			       local[2]);
	gnttab_copy_from_guest(&seg[3], peer->domid(), 0xffffffff, 0, 64,
			       local[3]);
	gnttab_copy_from_guest(&seg[4], peer->domid(), readonly, 0, 64,
			       local[4]);
	gnttab_copy(gt, seg, 5);
	ck_assert_int_lt(seg[0].status, 0);
	ck_assert_int_eq(seg[1].status, GNTST_okay);
	ck_assert_int_lt(seg[2].status, 0);
	ck_assert_int_lt(seg[3].status, 0);
	ck_assert_int_eq(seg[4].status, GNTST_okay);
	ck_assert_str_eq(good_page, "b");
	ck_assert_str_eq(local[2], "c");
	ck_assert_str_eq(local[3], "d");
	ck_assert_str_eq(local[4], "seen");
	gnttab_close(gt);
}
END_TEST

START_TEST(gnttab_copy_of_a_gone_domain)
{
	xengnttab_grant_copy_segment_t seg;
	struct gnttab *gt;
	char local[8] = "kept";

	ck_assert_int_eq(gnttab_open(&gt), 0);
	gnttab_copy_from_guest(&seg, 32000, 8, 0, 8, local);
	gnttab_copy(gt, &seg, 1);
	ck_assert_int_lt(seg.status, 0);
	ck_assert_str_eq(local, "kept");
	gnttab_close(gt);
}
END_TEST

TCase *conformance_tests(const struct peer_ops *ops)
{
	TCase *tc = tcase_create("conformance");

	peer = ops;
	tcase_add_checked_fixture(tc, ops->setup, ops->teardown);
	tcase_add_test(tc, evtchn_is_quiet_when_open);
	tcase_add_test(tc, evtchn_is_pending_after_bind);
	tcase_add_test(tc, evtchn_bind_refuses);
	tcase_add_test(tc, evtchn_restricts_to_one_domain);
	tcase_add_test(tc, evtchn_binds_again_after_unbind_and_close);
	tcase_add_test(tc, evtchn_carries_events_both_ways);
	tcase_add_test(tc, evtchn_is_masked_until_unmask);
	tcase_add_test(tc, evtchn_serves_two_ports);
	tcase_add_test(tc, evtchn_peer_may_close);
	tcase_add_test(tc, gnttab_maps_and_unmaps);
	tcase_add_test(tc, gnttab_map_is_all_or_nothing);
	tcase_add_test(tc, gnttab_copies_both_ways);
	tcase_add_test(tc, gnttab_copy_fails_segment_by_segment);
	tcase_add_test(tc, gnttab_copy_of_a_gone_domain);
	return tc;
}
