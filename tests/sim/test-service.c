/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a service manager is told: that we serve, how many disks, that we stop,
 * and, for its watchdog, that the loop turns; nothing when it is stuck.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
#define IMAGE_BYTES (1u << 20)
/* Of the watchdog; a ping is due each half of it. */
#define WATCHDOG_MS 200u
#define PINGS 10u

static struct host h;
static struct guest *g;
static char image[64];
static int manager;

static void manager_listen(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/notify", h.dir);
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	need(bind(manager, (struct sockaddr *)&sa, sizeof(sa)) == 0, "bind: %s",
	     strerror(errno));
	setenv("NOTIFY_SOCKET", sa.sun_path, 1);
}

static void setup(void)
{
	host_start(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", IMAGE_BYTES, image);
	manager_listen();
}

static void teardown(void)
{
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	host_stop(&h);
	close(manager);
}

/* The next message, if one comes in time. */
static bool hear(unsigned int timeout_ms, char text[128])
{
	struct pollfd p = { .fd = manager, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, (int)timeout_ms) != 1)
		return false;
	n = recv(manager, text, 127, 0);
	need(n > 0, "recv");
	text[n] = '\0';
	return true;
}

static void expect(const char *text)
{
	char got[128];

	need(hear(HOST_WAIT_MS, got), "'%s' was not told", text);
	need(!strcmp(got, text), "'%s' was told, not '%s'", got, text);
}

static void expect_silence(void)
{
	char got[128];

	need(!hear(3 * WATCHDOG_MS, got), "'%s' was told", got);
}

/* What was on its way when it got stuck. */
static void forget(void)
{
	char got[128];

	while (hear(0, got))
		;
}

static void watchdog_start(const char *pid)
{
	char usec[16];

	snprintf(usec, sizeof(usec), "%u", WATCHDOG_MS * 1000);
	setenv("WATCHDOG_USEC", usec, 1);
	if (pid)
		setenv("WATCHDOG_PID", pid, 1);
	host_daemon_start(&h);
	expect("READY=1");
	expect("STATUS=disks: 0");
}

START_TEST(tells_what_it_does)
{
	char *error;

	host_daemon_start(&h);
	expect("READY=1");
	expect("STATUS=disks: 0");
	error = host_vbd_attach(&h, g, XVDB, image, 'w');
	need(!error, "attach: %s", error);
	expect("STATUS=disks: 1");
	host_vbd_force(&h, g, XVDB);
	expect("STATUS=disks: 0");
	/* Nobody asked for more. */
	expect_silence();
	host_daemon_stop(&h);
	expect("STOPPING=1");
	expect_silence();
}
END_TEST

START_TEST(pings_as_it_is_asked_to)
{
	uint64_t start;

	watchdog_start(NULL);
	expect("WATCHDOG=1");
	start = host_now_ms();
	for (unsigned int i = 0; i < PINGS; i++)
		expect("WATCHDOG=1");
	/* Less a ping that was late, before. */
	need(host_now_ms() - start >= (PINGS - 2) * WATCHDOG_MS / 2,
	     "%u pings in %llu ms", PINGS,
	     (unsigned long long)(host_now_ms() - start));
}
END_TEST

START_TEST(stopped_it_is_silent)
{
	siginfo_t info;

	watchdog_start(NULL);
	expect("WATCHDOG=1");
	kill(h.daemon, SIGSTOP);
	need(waitid(P_PID, (id_t)h.daemon, &info, WSTOPPED) == 0, "waitid");
	forget();
	expect_silence();
	kill(h.daemon, SIGCONT);
	expect("WATCHDOG=1");
	expect("WATCHDOG=1");
}
END_TEST

/* The process runs, and its loop does not: xenstored does not answer it. */
START_TEST(stuck_it_is_silent)
{
	bool pinged = false, told = false;
	char got[128];
	json_t *answer;
	siginfo_t info;
	int fd;

	watchdog_start(NULL);
	expect("WATCHDOG=1");
	kill(h.xenstored, SIGSTOP);
	need(waitid(P_PID, (id_t)h.xenstored, &info, WSTOPPED) == 0, "waitid");
	fd = host_control_begin(&h, json_pack("{s:s,s:s,s:s,s:s,s:b}",
					      "command", "attach", "domain",
					      "g1", "vdev", "xvdb", "target",
					      image, "readonly", 0));
	/* It is in the middle of it once it has pinged for the last time. */
	while (hear(2 * WATCHDOG_MS, got))
		need(!strcmp(got, "WATCHDOG=1"), "'%s'", got);
	expect_silence();
	kill(h.xenstored, SIGCONT);
	answer = host_control_end(fd);
	need(json_is_true(json_object_get(answer, "ok")), "attach");
	json_decref(answer);
	/* In whatever order. */
	while (!pinged || !told) {
		need(hear(HOST_WAIT_MS, got), "nothing more is told");
		pinged |= !strcmp(got, "WATCHDOG=1");
		told |= !strcmp(got, "STATUS=disks: 1");
	}
	json_decref(host_control_ok(
		&h, json_pack("{s:s,s:s,s:s,s:b}", "command", "detach",
			      "domain", "g1", "vdev", "xvdb", "force", 1)));
}
END_TEST

/* Such variables are inherited by whoever is started from a service. */
START_TEST(pings_for_another_are_not_ours)
{
	watchdog_start("1");
	expect_silence();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service");
	TCase *tc = tcase_create("manager");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, tells_what_it_does);
	tcase_add_test(tc, pings_as_it_is_asked_to);
	tcase_add_test(tc, stopped_it_is_silent);
	tcase_add_test(tc, stuck_it_is_silent);
	tcase_add_test(tc, pings_for_another_are_not_ours);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
