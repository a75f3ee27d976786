/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The supervisor: one process a host.  It follows XenStore, starts a worker
 * for each vbd and answers the control socket; it never touches a guest's
 * memory, nor the contents of an image.
 */
#include "blkback/backend.h"
#include "common/io-loop.h"
#include "common/log.h"
#include "diskd/control.h"
#include "diskd/notify.h"
#include "diskd/options.h"
#include "diskd/worker-programs.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_FAULT 1
#define EXIT_USAGE 2

/* Submissions of the supervisor's loop in one turn. */
#define LOOP_ENTRIES 64u

struct supervisor {
	struct options options;
	struct io_loop *loop;
	struct xenstore *xs;
	struct backend backend;
	bool backend_ready;
	struct control *control;
	int signal_fd;
	struct io_op xenstore_op, signal_op, watchdog_op;
	bool stopping;
	bool draining; /* no worker may stay */
	uint64_t watchdog_ms; /* 0: nobody watches us */
	unsigned int nr_told; /* of disks, to the service manager */
};

static void xenstore_arm(struct supervisor *sup)
{
	io_loop_poll(sup->loop, &sup->xenstore_op, xenstore_fd(sup->xs),
		     POLLIN);
}

/* The events themselves are taken by backend_dispatch() in each turn. */
static void xenstore_done(struct io_op *op, int result)
{
	(void)result;
	xenstore_arm(container_of(op, struct supervisor, xenstore_op));
}

static void signal_arm(struct supervisor *sup)
{
	io_loop_poll(sup->loop, &sup->signal_op, sup->signal_fd, POLLIN);
}

static void signal_done(struct io_op *op, int result)
{
	struct supervisor *sup = container_of(op, struct supervisor, signal_op);
	struct signalfd_siginfo info;

	(void)result;
	while (read(sup->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGINT)
			sup->draining = true;
		if (sup->stopping)
			continue;
		log_info("signal %u: stopping%s", info.ssi_signo,
			 sup->draining ? ", with all workers" : "");
		notify_send("STOPPING=1");
		sup->stopping = true;
	}
	signal_arm(sup);
}

/* True when nothing is left to wait for. */
static bool stop(struct supervisor *sup)
{
	return sup->draining ? backend_quit(&sup->backend)
			     : backend_leave(&sup->backend);
}

static int open_signals(struct supervisor *sup)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	sup->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return sup->signal_fd < 0 ? -errno : 0;
}

static void watchdog_arm(struct supervisor *sup)
{
	io_loop_timeout(sup->loop, &sup->watchdog_op, sup->watchdog_ms);
}

/* It comes out of the loop, so that one that is stuck is found out. */
static void watchdog_done(struct io_op *op, int result)
{
	struct supervisor *sup =
		container_of(op, struct supervisor, watchdog_op);

	(void)result;
	notify_send("WATCHDOG=1");
	watchdog_arm(sup);
}

/* What `systemctl status` shows. */
static void tell_status(struct supervisor *sup)
{
	char state[64];

	sup->nr_told = sup->backend.nr_vbds;
	snprintf(state, sizeof(state), "STATUS=disks: %u", sup->nr_told);
	notify_send(state);
}

static void on_changed(void *arg)
{
	struct supervisor *sup = arg;

	if (sup->control)
		control_poll(sup->control);
	if (sup->nr_told != sup->backend.nr_vbds)
		tell_status(sup);
}

static int open_backend(struct supervisor *sup)
{
	const struct backend_options options = {
		.worker_program = sup->options.worker,
		.worker_find = worker_program_find,
		.hold_program = sup->options.hold,
		.run_dir = sup->options.run_dir,
		.flush_timeout_ms = sup->options.flush_timeout_ms,
		.sandbox = sup->options.sandbox,
		.first_uid = sup->options.worker_uids,
		.limits = sup->options.limits,
	};
	int rc = xenstore_open(&sup->xs);

	if (rc < 0) {
		log_error("connect to xenstored: %s", strerror(-rc));
		return rc;
	}
	rc = backend_init(&sup->backend, sup->xs, sup->loop, &options);
	if (rc < 0) {
		log_error("watch the backend directories: %s", strerror(-rc));
		return rc;
	}
	sup->backend_ready = true;
	sup->backend.changed = on_changed;
	sup->backend.changed_arg = sup;
	return 0;
}

static int open_control(struct supervisor *sup)
{
	char path[PATH_MAX];
	struct error_text err;
	int rc;

	if (mkdir(sup->options.run_dir, 0700) < 0 && errno != EEXIST) {
		rc = -errno;
		log_error("make '%s': %s", sup->options.run_dir, strerror(-rc));
		return rc;
	}
	snprintf(path, sizeof(path), "%s/control.sock", sup->options.run_dir);
	rc = control_listen(&sup->backend, sup->loop, path, &sup->control,
			    &err);
	if (rc < 0)
		log_error("%s", err.text);
	return rc;
}

static int open_all(struct supervisor *sup)
{
	int rc = access(sup->options.worker, X_OK) < 0 ? -errno : 0;

	if (rc < 0) {
		log_error("worker '%s': %s", sup->options.worker,
			  strerror(-rc));
		return rc;
	}
	rc = open_signals(sup);
	if (rc < 0) {
		log_error("set up signals: %s", strerror(-rc));
		return rc;
	}
	rc = io_loop_new(LOOP_ENTRIES, &sup->loop);
	if (rc < 0) {
		log_error("set up io_uring: %s", strerror(-rc));
		return rc;
	}
	rc = open_backend(sup);
	return rc < 0 ? rc : open_control(sup);
}

static int serve(struct supervisor *sup)
{
	bool cleaned = false;

	sup->xenstore_op.done = xenstore_done;
	sup->signal_op.done = signal_done;
	sup->watchdog_op.done = watchdog_done;
	xenstore_arm(sup);
	signal_arm(sup);
	if (sup->watchdog_ms)
		watchdog_arm(sup);
	for (;;) {
		int more = backend_dispatch(&sup->backend);
		int rc;

		if (more < 0) {
			log_error("xenstored: %s", strerror(-more));
			return more;
		}
		/* What is there is known, and we are the only one to do it. */
		if (!more && !cleaned)
			vbd_journal_clean(&sup->backend);
		cleaned |= !more;
		if (sup->stopping && stop(sup))
			return 0;
		rc = io_loop_run(sup->loop, !more);
		if (rc < 0) {
			log_error("io_uring: %s", strerror(-rc));
			return rc;
		}
	}
}

static void close_all(struct supervisor *sup)
{
	control_free(sup->control);
	if (sup->backend_ready && stop(sup))
		backend_fini(&sup->backend);
	xenstore_close(sup->xs);
	io_loop_free(sup->loop);
	if (sup->signal_fd >= 0)
		close(sup->signal_fd);
}

int main(int argc, char **argv)
{
	struct supervisor sup = { .signal_fd = -1 };
	int rc = options_parse(argc, argv, &sup.options);

	if (rc)
		return rc < 0 ? EXIT_USAGE : 0;
	/* What whoever has started us has open is not for workers to get at. */
	close_range(STDERR_FILENO + 1, UINT_MAX, 0);
	log_open("xen-diskd", sup.options.log_level);
	setenv("XEN_DISKD_LOG_LEVEL", log_level_name(sup.options.log_level), 1);
	rc = open_all(&sup);
	if (!rc) {
		log_info("version %s, domain %u, control socket in '%s'",
			 XEN_DISKD_VERSION, sup.backend.domid,
			 sup.options.run_dir);
		sup.watchdog_ms = notify_watchdog_ms();
		notify_send("READY=1");
		tell_status(&sup);
		rc = serve(&sup);
	}
	close_all(&sup);
	return rc < 0 ? EXIT_FAULT : 0;
}
