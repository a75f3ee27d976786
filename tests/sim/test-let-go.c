/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workers that do not do as they are asked, or end before a guest has come: the
 * disk can be detached, the daemon stopped, and the guest served, all the same.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"

#define XVDB 51728u
#define IMAGE_BYTES (1u << 20)
/* Longer than the daemon waits for a worker. */
#define PATIENCE_MS (3 * HOST_WAIT_MS)

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;

static void setup(void)
{
	worker_link_make();
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", IMAGE_BYTES, image);
}

static void teardown(void)
{
	host_stop(&h);
	worker_link_remove();
}

static pid_t attach(void)
{
	char *error = host_vbd_attach(&h, g, XVDB, image, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_NATIVE);
	return host_worker_pid(&h, 1, XVDB);
}

static pid_t attach_connect(void)
{
	pid_t pid = attach();

	blkfront_connect(&fe);
	return pid;
}

static void check_serves(void)
{
	uint8_t wrote[FE_PAGE], got[FE_PAGE];

	memset(wrote, 0x5a, sizeof(wrote));
	need(blkfront_write(&fe, 8, wrote, 8) == FE_OKAY, "write");
	need(blkfront_read(&fe, 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(wrote, got, sizeof(got)), "data");
}

static void hold(pid_t pid)
{
	need(kill(pid, SIGSTOP) == 0, "stop");
}

/* By the daemon, whose child it may be. */
static void wait_killed(pid_t pid)
{
	uint64_t end = host_now_ms() + PATIENCE_MS;
	char text[96];

	snprintf(text, sizeof(text), "worker (pid %d) is still", pid);
	while (!host_log_has(&h, text)) {
		need(host_now_ms() < end, "worker %d stays", pid);
		poll(NULL, 0, 5); /* nothing tells a reader of the log */
	}
	need(host_log_has(&h, "after 5 s: it is killed"), "not killed");
}

/* The guest has let go, or is gone; the toolstack waits for state 6. */
static void wait_closed(void)
{
	need(host_wait_value(&h, "6", PATIENCE_MS, "%s/state", fe.backend),
	     "no state 6");
	host_vbd_detach_end(&h, g, XVDB);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	blkfront_fini(&fe);
}

static void detach(void)
{
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSED);
	wait_closed();
}

/* ---- workers that hear nothing -------------------------------------------- */

/* 0: by the guest; 1: by force. */
START_TEST(detach_of_a_stopped_worker)
{
	pid_t pid = attach_connect();

	hold(pid);
	host_vbd_detach_begin(&h, g, XVDB);
	if (_i == 0)
		blkfront_set_state(&fe, FE_CLOSED);
	else
		host_remove(&h, "%s", fe.path);
	wait_killed(pid);
	wait_closed();
}
END_TEST

/* 0: with nothing to do; 1: connected, but the daemon is to leave none. */
START_TEST(stop_with_a_stopped_worker)
{
	pid_t pid = _i ? attach_connect() : attach();

	hold(pid);
	if (_i)
		host_daemon_stop(&h);
	else
		host_daemon_leave(&h);
	wait_killed(pid);
	host_daemon_start(&h);
	if (!_i)
		blkfront_connect(&fe);
	check_serves();
	detach();
}
END_TEST

/* Its guest waits for one that answers. */
START_TEST(adopted_worker_that_says_nothing)
{
	pid_t pid = attach_connect();

	check_serves();
	hold(pid);
	host_daemon_kill(&h);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "adopting"), "status");
	wait_killed(pid);
	check_serves();
	detach();
}
END_TEST

/*
 * The port is the guest's to close.  0: the worker's successor waits for it when
 * the guest lets go; 1: the next daemon has found that one.
 */
START_TEST(detached_while_it_connects)
{
	pid_t pid = attach_connect();

	check_serves();
	sim_port_close(g->dom, fe.queues[0].port);
	need(kill(pid, SIGKILL) == 0, "kill");
	need(host_wait_worker(&h, 1, XVDB, "connecting"), "status");
	pid = host_worker_pid(&h, 1, XVDB);
	hold(pid);
	if (_i) {
		host_daemon_kill(&h);
		host_daemon_start(&h);
	}
	host_vbd_detach_begin(&h, g, XVDB);
	host_remove(&h, "%s", fe.path);
	wait_killed(pid);
	wait_closed();
}
END_TEST

/* ---- before a guest has come ------------------------------------------------ */

static void take_away(unsigned int what, bool back)
{
	char other[72];

	snprintf(other, sizeof(other), "%s.away", image);
	if (what == 0)
		worker_link_to(back ? NULL : "/no/such/worker");
	else if (back)
		need(rename(other, image) == 0, "rename");
	else
		need(rename(image, other) == 0, "rename");
}

/* The program, or the image, is away for a while.  It has been attached. */
START_TEST(not_to_be_opened_for_a_while)
{
	pid_t pid = attach();
	char *error;

	take_away((unsigned int)_i, false);
	need(kill(pid, SIGKILL) == 0, "kill");
	error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	need(error && strstr(error, "No such file"), "the error is '%s'",
	     error ? error : "absent");
	free(error);
	take_away((unsigned int)_i, true);
	need(host_wait_worker(&h, 1, XVDB, "ready"), "not tried again");
	need(host_wait_value(&h, NULL, HOST_WAIT_MS, "%s/error", fe.backend),
	     "the error stays");
	blkfront_connect(&fe);
	check_serves();
	detach();
}
END_TEST

/* Nor may it be after a restart, while the guest waits for state 4. */
START_TEST(not_to_be_opened_after_a_restart)
{
	pid_t pid = attach();
	char *error;

	hold(pid);
	blkfront_alloc(&fe);
	blkfront_publish(&fe);
	need(host_wait_worker(&h, 1, XVDB, "connecting"), "status");
	host_daemon_kill(&h);
	need(kill(pid, SIGKILL) == 0, "kill");
	take_away(1, false);
	host_daemon_start(&h);
	error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	need(error && strstr(error, "No such file"), "the error is '%s'",
	     error ? error : "absent");
	free(error);
	take_away(1, true);
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "not tried again");
	blkfront_read_backend(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	check_serves();
	detach();
}
END_TEST

/* It was asked to end for another that takes its place.  1: of its own fault. */
START_TEST(killed_while_it_is_upgraded)
{
	pid_t pid = attach();
	int fd;

	hold(pid);
	fd = host_control_begin(&h, json_pack("{s:s, s:s, s:s}", "command",
					      "upgrade", "domain", "g1", "vdev",
					      "xvdb"));
	need(host_wait_worker(&h, 1, XVDB, "quitting"), "status");
	need(kill(pid, _i ? SIGABRT : SIGKILL) == 0, "kill");
	kill(pid, SIGCONT);
	json_decref(host_control_end(fd));
	need(host_wait_worker(&h, 1, XVDB, "ready"), "no successor");
	blkfront_connect(&fe);
	check_serves();
	detach();
}
END_TEST

/* What is left of a worker may have the port for a moment. */
START_TEST(port_is_let_go_of_late)
{
	attach();
	sim_fail_bind(h.sim, 1, -EINVAL);
	blkfront_connect(&fe);
	check_serves();
	detach();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("let-go");
	TCase *tc = tcase_create("stopped");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, detach_of_a_stopped_worker, 0, 2);
	tcase_add_loop_test(tc, stop_with_a_stopped_worker, 0, 2);
	tcase_add_test(tc, adopted_worker_that_says_nothing);
	tcase_add_loop_test(tc, detached_while_it_connects, 0, 2);
	suite_add_tcase(suite, tc);
	tc = tcase_create("no guest");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, not_to_be_opened_for_a_while, 0, 2);
	tcase_add_test(tc, not_to_be_opened_after_a_restart);
	tcase_add_loop_test(tc, killed_while_it_is_upgraded, 0, 2);
	tcase_add_test(tc, port_is_let_go_of_late);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
