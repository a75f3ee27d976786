/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulated transport: the conformance suite against it, and what only a
 * simulation has (counts, faults, the death of a backend by SIGKILL).
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "evtchn/evtchn.h"
#include "gnttab/gnttab.h"
#include "tests/sim/conformance.h"
#include "tests/sim/host.h"

static char dir[32];
static struct sim *sim;
static struct sim_domain *dom;
static int port_fds[256];

static void setup(void)
{
	strcpy(dir, "/tmp/xd.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	setenv("XEN_DISKD_SIM", dir, 1);
	ck_assert_int_eq(sim_open(dir, &sim), 0);
	ck_assert_int_eq(sim_domain_create(sim, 5, 64, &dom), 0);
}

static void teardown(void)
{
	static const char *const names[] = { "sim.sock", "domains", "virq" };
	char path[64];
	unsigned int i;

	ck_assert_int_eq(sim_wait_idle(sim, 2000), 0);
	sim_close(sim);
	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		ck_assert_int_eq(unlink(path), 0);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- the guest's side for the conformance suite ---- */

static uint16_t peer_domid(void)
{
	return sim_domain_id(dom);
}

static uint32_t peer_grant(bool readonly, void **ret_page)
{
	uint32_t frame, ref;

	ck_assert_int_eq(sim_page_alloc(dom, 1, &frame), 0);
	ck_assert_int_eq(sim_grant(dom, frame, readonly, &ref), 0);
	*ret_page = sim_page(dom, frame);
	return ref;
}

static int peer_grant_end(uint32_t ref)
{
	return sim_grant_end(dom, ref);
}

static uint32_t peer_port(void)
{
	uint32_t port;
	int fd;

	ck_assert_int_eq(sim_port_alloc(dom, &port, &fd), 0);
	port_fds[port] = fd;
	return port;
}

static void peer_port_notify(uint32_t port)
{
	sim_port_notify(dom, port);
}

static void peer_port_close(uint32_t port)
{
	sim_port_close(dom, port);
}

static bool peer_port_wait(uint32_t port, unsigned int timeout_ms)
{
	struct pollfd p = { port_fds[port], POLLIN, 0 };
	uint64_t count;

	return poll(&p, 1, (int)timeout_ms) == 1 &&
	       read(p.fd, &count, sizeof(count)) == sizeof(count);
}

static const struct peer_ops sim_peer = {
	.setup = setup,
	.teardown = teardown,
	.domid = peer_domid,
	.grant = peer_grant,
	.grant_end = peer_grant_end,
	.port = peer_port,
	.port_notify = peer_port_notify,
	.port_close = peer_port_close,
	.port_wait = peer_port_wait,
};

/* ---- what only the simulation has ---- */

/* A backend that maps and binds, says so, and sleeps until it is killed. */
static pid_t backend_fork(uint32_t ref, uint32_t remote, int say_fd)
{
	pid_t pid = fork();
	struct gnttab *gt;
	struct evtchn *ec;
	uint32_t port;
	void *page;

	if (pid)
		return pid;
	if (gnttab_open(&gt) || evtchn_open(&ec) ||
	    gnttab_map(gt, 5, &ref, 1, &page) ||
	    evtchn_bind(ec, 5, remote, &port))
		_exit(1);
	(void)!write(say_fd, "r", 1);
	for (;;)
		pause();
}

START_TEST(backend_killed_leaves_nothing)
{
	uint32_t remote = peer_port();
	struct evtchn *ec;
	uint32_t ref, port;
	void *page;
	int pipe_fds[2];
	char c;
	pid_t pid;

	ref = peer_grant(false, &page);
	ck_assert_int_eq(pipe(pipe_fds), 0);
	pid = backend_fork(ref, remote, pipe_fds[1]);
	ck_assert_int_eq(read(pipe_fds[0], &c, 1), 1);
	ck_assert_uint_eq(sim_live_maps(sim), 1);
	ck_assert_uint_eq(sim_live_ports(sim), 1);
	ck_assert_uint_eq(sim_live_handles(sim), 2);
	ck_assert_int_eq(sim_grant_end(dom, ref), -EBUSY);
	ck_assert(sim_port_is_bound(dom, remote));

	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(sim_wait_idle(sim, 2000), 0);
	ck_assert(!sim_port_is_bound(dom, remote));
	ck_assert_int_eq(sim_grant_end(dom, ref), 0);
	/* A successor takes over the same port. */
	ck_assert_int_eq(evtchn_open(&ec), 0);
	ck_assert_int_eq(evtchn_bind(ec, 5, remote, &port), 0);
	evtchn_close(ec);
}
END_TEST

START_TEST(counts_say_what_leaks)
{
	struct gnttab *gt;
	struct evtchn *ec;
	uint32_t ref, port;
	void *page, *map;

	ref = peer_grant(false, &page);
	ck_assert_int_eq(gnttab_open(&gt), 0);
	ck_assert_int_eq(evtchn_open(&ec), 0);
	ck_assert_int_eq(gnttab_map(gt, 5, &ref, 1, &map), 0);
	ck_assert_int_eq(sim_wait_idle(sim, 20), -ETIMEDOUT);
	ck_assert_uint_eq(sim_live_maps(sim), 1);
	gnttab_unmap(gt, map, 1);
	ck_assert_uint_eq(sim_live_maps(sim), 0);
	ck_assert_int_eq(evtchn_bind(ec, 5, peer_port(), &port), 0);
	ck_assert_uint_eq(sim_live_ports(sim), 1);
	evtchn_unbind(ec, port);
	ck_assert_uint_eq(sim_live_ports(sim), 0);
	gnttab_close(gt);
	evtchn_close(ec);
}
END_TEST

START_TEST(faults_are_injected_once)
{
	xengnttab_grant_copy_segment_t seg[3];
	uint32_t ref, port, remote = peer_port();
	char local[8];
	struct gnttab *gt;
	struct evtchn *ec;
	void *page, *map;
	int i;

	ref = peer_grant(false, &page);
	ck_assert_int_eq(gnttab_open(&gt), 0);
	ck_assert_int_eq(evtchn_open(&ec), 0);
	for (i = 0; i < 3; i++)
		gnttab_copy_from_guest(&seg[i], 5, ref, 0, 8, local);
	sim_fail_copy(dom, 2, GNTST_eagain);
	gnttab_copy(gt, seg, 3);
	ck_assert_int_eq(seg[0].status, GNTST_okay);
	ck_assert_int_eq(seg[1].status, GNTST_eagain);
	ck_assert_int_eq(seg[2].status, GNTST_okay);

	sim_fail_map(sim, 1);
	ck_assert_int_eq(gnttab_map(gt, 5, &ref, 1, &map), -EINVAL);
	ck_assert_int_eq(gnttab_map(gt, 5, &ref, 1, &map), 0);
	gnttab_unmap(gt, map, 1);
	sim_fail_bind(sim, 1, -ENOSPC);
	ck_assert_int_eq(evtchn_bind(ec, 5, remote, &port), -ENOSPC);
	ck_assert_int_eq(evtchn_bind(ec, 5, remote, &port), 0);
	gnttab_close(gt);
	evtchn_close(ec);
}
END_TEST

START_TEST(dead_domain_and_its_successor)
{
	xengnttab_grant_copy_segment_t seg;
	uint32_t ref, port, remote = peer_port();
	char local[8] = "";
	struct gnttab *gt;
	struct evtchn *ec;
	void *page;

	ref = peer_grant(false, &page);
	strcpy(page, "old");
	ck_assert_int_eq(gnttab_open(&gt), 0);
	ck_assert_int_eq(evtchn_open(&ec), 0);
	gnttab_copy_from_guest(&seg, 5, ref, 0, 8, local);
	gnttab_copy(gt, &seg, 1);
	ck_assert_int_eq(seg.status, GNTST_okay);

	sim_domain_destroy(dom);
	gnttab_copy(gt, &seg, 1);
	ck_assert_int_eq(seg.status, GNTST_bad_domain);
	ck_assert_int_eq(evtchn_bind(ec, 5, remote, &port), -ESRCH);

	/* The same domid, another memory. */
	ck_assert_int_eq(sim_domain_create(sim, 5, 64, &dom), 0);
	ref = peer_grant(false, &page);
	strcpy(page, "new");
	gnttab_copy_from_guest(&seg, 5, ref, 0, 8, local);
	gnttab_copy(gt, &seg, 1);
	ck_assert_int_eq(seg.status, GNTST_okay);
	ck_assert_str_eq(local, "new");
	gnttab_close(gt);
	evtchn_close(ec);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("transport");
	TCase *tc = tcase_create("simulation");

	suite_add_tcase(suite, conformance_tests(&sim_peer));
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, backend_killed_leaves_nothing);
	tcase_add_test(tc, counts_say_what_leaks);
	tcase_add_test(tc, faults_are_injected_once);
	tcase_add_test(tc, dead_domain_and_its_successor);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
