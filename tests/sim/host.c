/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A test's host: brings up the simulation, xenstored and the daemon in a
 * private directory, and takes all of it down with a check for leaks.
 */
#include "tests/sim/host.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/host-process.h"

#define LOG_TAIL_BYTES 16384

/* The one host of this process: host_fail() is called without it. */
static struct host *current;

uint64_t host_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- the log ---- */

/* The last of a file's text, which the caller frees; empty when absent. */
static char *file_tail(const char *dir, const char *name, size_t max_bytes)
{
	char *text = calloc(1, max_bytes + 1);
	char path[64];
	off_t size;
	int fd;

	ck_assert_ptr_nonnull(text);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return text;
	size = lseek(fd, 0, SEEK_END);
	if (size > (off_t)max_bytes)
		(void)!pread(fd, text, max_bytes, size - (off_t)max_bytes);
	else
		(void)!pread(fd, text, max_bytes, 0);
	close(fd);
	return text;
}

bool host_log_has(struct host *h, const char *text)
{
	char *log = file_tail(h->dir, "daemon.log", 4u << 20);
	bool has = strstr(log, text) != NULL;

	free(log);
	return has;
}

void host_wait_log(struct host *h, const char *text)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	while (!host_log_has(h, text)) {
		need(host_now_ms() < end, "not in the log: %s", text);
		poll(NULL, 0, 2); /* nothing tells a reader of it */
	}
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void print_log(const char *name)
{
	char *log = file_tail(current->dir, name, LOG_TAIL_BYTES);

	if (*log)
		fprintf(stderr, "---- %s ----\n%s\n", name, log);
	free(log);
}

void host_fail(const char *file, int line, const char *condition,
	       const char *format, ...)
{
	char text[1024];
	va_list ap;
	int n;

	n = snprintf(text, sizeof(text), "%.200s: ", condition);
	va_start(ap, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n, format, ap);
	va_end(ap);
	if (current) {
		struct host *h = current;

		print_log("xenstored.log");
		print_log("xl.log");
		print_log("daemon.log");
		current = NULL;
		/* Children die with us; only the directory would stay. */
		if (!getenv("TEST_KEEP"))
			nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	}
	_ck_assert_failed(file, line, text, NULL);
	abort();
}

/* ---- up ---- */

static void xenstored_start(struct host *h)
{
	static const char *const c_argv[] = { "/usr/lib/xen-4.17/bin/xenstored",
					      "-N", NULL };
	static const char *const ocaml_argv[] = {
		"/usr/lib/xen-4.17/bin/oxenstored", "--no-fork", NULL
	};
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	h->xenstored =
		process_start(h, "xenstored.log", program_path(PROGRAM_PRELOAD),
			      h->oxenstored ? ocaml_argv : c_argv);
	/* No event says that the socket is there. */
	while (!(h->xs = xs_open(0))) {
		need(host_now_ms() < end, "xenstored does not answer");
		poll(NULL, 0, 2);
	}
	host_write(h, "0", "/local/domain/0/domid");
	host_write(h, "Domain-0", "/local/domain/0/name");
}

static void host_open(struct host *h)
{
	char dir[] = "/tmp/xd.XXXXXX", socket_path[64];

	memset(h, 0, sizeof(*h));
	need(mkdtemp(dir), "mkdtemp: %s", strerror(errno));
	memcpy(h->dir, dir, sizeof(dir));
	current = h;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	snprintf(socket_path, sizeof(socket_path), "%s/socket", h->dir);
	setenv("XEN_DISKD_SIM", h->dir, 1);
	setenv("XENSTORED_RUNDIR", h->dir, 1);
	setenv("XENSTORED_PATH", socket_path, 1);
	need(sim_open(h->dir, &h->sim) == 0, "cannot simulate");
}

void host_start(struct host *h)
{
	host_open(h);
	xenstored_start(h);
}

/* oxenstored's directory is compiled in: our own is mounted over it. */
static void mount_run_xenstored(struct host *h)
{
	need(unshare(CLONE_NEWNS) == 0, "unshare: %s", strerror(errno));
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
	     "private mounts: %s", strerror(errno));
	need(mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0, "tmpfs: %s",
	     strerror(errno));
	need(mkdir("/run/xenstored", 0700) == 0 && mkdir("/run/xen", 0700) == 0,
	     "mkdir: %s", strerror(errno));
	need(mount(h->dir, "/run/xenstored", NULL, MS_BIND, NULL) == 0,
	     "bind: %s", strerror(errno));
}

void host_start_oxenstored(struct host *h)
{
	host_open(h);
	h->oxenstored = true;
	mount_run_xenstored(h);
	xenstored_start(h);
}

void host_daemon_start(struct host *h)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	char run_dir[64], worker[600];
	const char *const argv[] = {
		program_path(PROGRAM_DAEMON),
		run_dir,
		worker,
		"--queues=4",
		"--log-level=debug",
		h->daemon_options[0],
		h->daemon_options[1],
		h->daemon_options[2],
		NULL,
	};
	json_t *answer;
	int status;

	snprintf(run_dir, sizeof(run_dir), "--run-dir=%s/run", h->dir);
	snprintf(worker, sizeof(worker), "--worker=%s",
		 program_path(PROGRAM_WORKER));
	mkdir(run_dir + strlen("--run-dir="), 0700);
	h->daemon = process_start(h, "daemon.log", NULL, argv);
	while (!(answer = host_control(h, json_pack("{s:s}", "command",
						    "version")))) {
		need(waitpid(h->daemon, &status, WNOHANG) == 0,
		     "the daemon ended at start: status %#x", status);
		need(host_now_ms() < end, "the daemon does not answer");
		poll(NULL, 0, 2);
	}
	json_decref(answer);
}

void host_start_all(struct host *h)
{
	host_start(h);
	host_daemon_start(h);
}

/* ---- down ---- */

static void daemon_end(struct host *h, int signal_number)
{
	int status = -1;

	if (!h->daemon)
		return;
	kill(h->daemon, signal_number);
	need(process_wait(h->daemon, 2 * HOST_WAIT_MS, &status),
	     "the daemon does not end");
	h->daemon = 0;
	need(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	     "the daemon's status is %#x", status);
}

void host_daemon_stop(struct host *h)
{
	daemon_end(h, SIGINT);
	need(process_reap_strays(h, HOST_WAIT_MS) == 0,
	     "workers outlive the daemon");
}

void host_daemon_leave(struct host *h)
{
	daemon_end(h, SIGTERM);
}

void host_daemon_kill(struct host *h)
{
	int status;

	kill(h->daemon, SIGKILL);
	need(process_wait(h->daemon, HOST_WAIT_MS, &status), "unkillable");
	h->daemon = 0;
}

void host_kill_everything(struct host *h)
{
	host_daemon_kill(h);
	process_reap_strays(h, 0);
}

static void check_no_socket(struct host *h)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/run/control.sock", h->dir);
	need(access(path, F_OK) < 0, "the control socket is left");
}

static void check_no_leaks(struct host *h)
{
	need(sim_wait_idle(h->sim, HOST_WAIT_MS) == 0,
	     "left: %u mapped pages, %u ports, %u handles",
	     sim_live_maps(h->sim), sim_live_ports(h->sim),
	     sim_live_handles(h->sim));
	need(!host_log_has(h, "Sanitizer") &&
		     !host_log_has(h, "runtime error:"),
	     "a sanitizer's report");
}

/* Devices that a test left attached are detached by force first. */
static void detach_all(struct host *h)
{
	unsigned int i;

	for (i = 0; i < h->nr_guests; i++)
		if (h->guests[i].dom)
			host_guest_destroy(h, &h->guests[i]);
	need(host_count_nodes(h, "/local/domain/0/backend/vbd") <= 1 &&
		     host_count_nodes(h, "/local/domain/0/backend/vbd3") <= 1,
	     "backend nodes are left");
}

void host_stop(struct host *h)
{
	bool had_daemon = h->daemon != 0;
	int status;

	if (had_daemon) {
		detach_all(h);
		host_daemon_stop(h);
		check_no_socket(h);
	}
	check_no_leaks(h);
	xs_close(h->xs);
	kill(h->xenstored, SIGKILL);
	need(process_wait(h->xenstored, HOST_WAIT_MS, &status),
	     "xenstored does not die");
	sim_close(h->sim);
	current = NULL;
	if (h->oxenstored)
		umount2("/run/xenstored", MNT_DETACH);
	nftw(h->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- files ---- */

void host_image_read(const char *path, void *bytes, size_t size_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	need(fd >= 0 && pread(fd, bytes, size_bytes, 0) == (ssize_t)size_bytes,
	     "read %s", path);
	close(fd);
}

void host_image(struct host *h, const char *name, uint64_t size_bytes,
		char ret_path[64])
{
	uint64_t at = 0, x = 0x9e3779b97f4a7c15;
	uint64_t block[512];
	unsigned int i;
	int fd;

	snprintf(ret_path, 64, "%s/%s", h->dir, name);
	fd = open(ret_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	need(fd >= 0, "%s: %s", ret_path, strerror(errno));
	while (at < size_bytes) {
		size_t n = size_bytes - at < sizeof(block)
				   ? (size_t)(size_bytes - at)
				   : sizeof(block);

		for (i = 0; i < 512; i++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			block[i] = x;
		}
		need(write(fd, block, n) == (ssize_t)n, "write image");
		at += n;
	}
	close(fd);
}

int host_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int nr_failed;

	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_ENV);
	nr_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return nr_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
