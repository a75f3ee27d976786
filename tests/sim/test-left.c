/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is left of a connection: files in a run directory that is full or may not
 * be written to; and those of a guest that is gone, another, or on a new ring
 * when somebody looks again.  Nothing of it may reach a guest that it is not of.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blkback/inflight.h"
#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"
#include "tests/sim/poison.h"

#define XVDB 51728u
#define SECTORS 16384u

static struct host h;
static struct guest *g;
static char image[64], run_dir[64], mem_dir[64];
static struct blkfront fe;

static void attach(void)
{
	char *error = host_vbd_attach(&h, g, XVDB, image, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_NATIVE);
}

/* The driver lets go, and another sets out. */
static void connect_again(void)
{
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	blkfront_free(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
}

static void detach(void)
{
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
}

static void check_serves(void)
{
	uint8_t wrote[FE_PAGE], got[FE_PAGE];

	memset(wrote, 0x5a, sizeof(wrote));
	need(blkfront_write(&fe, 8, wrote, 8) == FE_OKAY, "write");
	need(blkfront_read(&fe, 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(wrote, got, sizeof(got)), "data");
}

/* In the run directory. */
static bool shell(const char *text)
{
	char command[256];

	snprintf(command, sizeof(command), "cd %s && %s", run_dir, text);
	return system(command) == 0;
}

static void check_no_files(void)
{
	need(shell("! ls vbd-* >/dev/null 2>&1"), "files are left");
}

/* The worker's socket was made before there was trouble. */
static void check_no_journal(void)
{
	need(shell("! ls vbd-*.connection* vbd-*.inflight >/dev/null 2>&1"),
	     "files are left");
}

/* What list, and the error node, say. */
static void check_error(const char *state, const char *file, const char *cause)
{
	char *error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	json_t *vbd = host_list(&h, 1, XVDB);
	const char *listed = json_string_value(json_object_get(vbd, "error"));
	const char *is = json_string_value(json_object_get(vbd, "state"));

	need(error && strstr(error, file) && strstr(error, cause),
	     "the error is '%s'", error ? error : "absent");
	need(listed && !strcmp(listed, error), "list has '%s'",
	     listed ? listed : "null");
	need(is && !strcmp(is, state), "the state is %s", is ? is : "absent");
	free(error);
	json_decref(vbd);
}

static json_int_t request_number(const char *key)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_int_t nr = json_integer_value(
		json_object_get(json_object_get(vbd, "requests"), key));

	json_decref(vbd);
	return nr;
}

static void wait_in_flight(void)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	while (!request_number("in_flight")) {
		need(host_now_ms() < end, "not taken");
		poll(NULL, 0, 2); /* nothing tells a reader of list */
	}
}

/* Neither has a successor: nobody looks while the other is killed. */
static void kill_everything(void)
{
	pid_t worker = host_worker_pid(&h, 1, XVDB);

	need(kill(h.daemon, SIGSTOP) == 0 && kill(worker, SIGKILL) == 0,
	     "kill: %s", strerror(errno));
	host_kill_everything(&h);
}

/* ---- the run directory ---------------------------------------------------- */

/* A file system of its own, which this test and the daemon see. */
static void setup_run_dir(void)
{
	host_start(&h);
	snprintf(run_dir, sizeof(run_dir), "%s/run", h.dir);
	snprintf(mem_dir, sizeof(mem_dir), "%s/mem", h.dir);
	need(unshare(CLONE_NEWNS) == 0 &&
		     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		     mkdir(run_dir, 0700) == 0 && mkdir(mem_dir, 0700) == 0 &&
		     mount("tmpfs", run_dir, "tmpfs", 0, "size=1m") == 0 &&
		     mount("tmpfs", mem_dir, "tmpfs", 0, NULL) == 0,
	     "mount: %s", strerror(errno));
	host_daemon_start(&h);
	g = host_guest(&h, 1, "g1");
	/* In memory, where all is done at once.  No flush is tried again. */
	host_image(&h, "mem/a.img", 1 << 20, image);
}

static void teardown_run_dir(void)
{
	host_daemon_stop(&h);
	/* A ring that was polled may hold it a little longer. */
	need(umount2(run_dir, MNT_DETACH) == 0 &&
		     umount2(mem_dir, MNT_DETACH) == 0,
	     "umount: %s", strerror(errno));
	host_stop(&h);
}

static void make_full(void)
{
	need(shell("! dd if=/dev/zero of=fill bs=4k status=none 2>/dev/null"),
	     "not full");
}

/* Room for the table, and less than another file takes. */
static void make_almost_full(void)
{
	make_full();
	need(shell("truncate -s -76K fill"), "truncate");
}

/* Whoever has a file open may go on. */
static void make_read_only(void)
{
	need(mount(run_dir, run_dir, NULL, MS_BIND, NULL) == 0 &&
		     mount(NULL, run_dir, NULL,
			   MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) == 0,
	     "mount: %s", strerror(errno));
}

static void mend(void)
{
	if (!shell("rm -f fill && test -w ."))
		need(umount(run_dir) == 0, "umount: %s", strerror(errno));
}

static const struct {
	void (*make)(void);
	const char *file, *cause;
} troubles[] = {
	{ make_full, "run/vbd-1-51728.inflight'", "No space left on device" },
	{ make_almost_full, "run/vbd-1-51728.connection'",
	  "No space left on device" },
	{ make_read_only, "run/vbd-1-51728.inflight'",
	  "Read-only file system" },
};

#define NR_TROUBLES ((int)(sizeof(troubles) / sizeof(troubles[0])))

/* It is not served; and when there is room, it is. */
START_TEST(no_files_for_a_connection)
{
	attach();
	troubles[_i].make();
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	blkfront_alloc(&fe);
	blkfront_publish(&fe);
	need(blkfront_wait_backend(&fe, FE_CLOSING), "no state 5");
	check_error("Closing", troubles[_i].file, troubles[_i].cause);
	check_no_journal();
	mend();
	connect_again();
	check_serves();
	need(!host_exists(&h, "%s/error", fe.backend), "the error stays");
	detach();
	check_no_journal();
}
END_TEST

/* Or it is left. */
START_TEST(detached_in_trouble)
{
	attach();
	troubles[_i].make();
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	blkfront_alloc(&fe);
	blkfront_publish(&fe);
	check_error("Closing", troubles[_i].file, troubles[_i].cause);
	detach();
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_journal();
	mend();
}
END_TEST

/* What there is is enough, also for a successor. */
START_TEST(trouble_while_it_serves)
{
	attach();
	blkfront_connect(&fe);
	troubles[_i].make();
	check_serves();
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
	check_serves();
	detach();
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	mend();
	/* What could not be removed is at the next start. */
	host_daemon_stop(&h);
	host_daemon_start(&h);
	check_no_journal();
}
END_TEST

/*
 * A worker has answered all for an upgrade, what it left is of another version,
 * and for a while none can be made anew: the guest waits, and goes on.
 */
START_TEST(begun_anew_in_trouble)
{
	struct fe_response rsp;
	struct fe_request rq;
	pid_t pid;
	int fd;

	attach();
	blkfront_connect(&fe);
	check_serves();
	pid = host_worker_pid(&h, 1, XVDB);
	need(kill(pid, SIGSTOP) == 0, "stop");
	fd = host_control_begin(&h,
				json_pack("{s:s,s:s,s:s}", "command", "upgrade",
					  "domain", g->name, "vdev", "xvdb"));
	need(host_wait_worker(&h, 1, XVDB, "disconnecting"), "status");
	need(shell("printf '?' | dd of=vbd-1-51728.inflight bs=1 seek=4 "
		   "conv=notrunc status=none"),
	     "no table");
	make_read_only();
	need(kill(pid, SIGCONT) == 0, "go on");
	host_wait_error(&h, fe.backend, "run/vbd-1-51728.inflight'");
	blkfront_fill(&fe, &rq, FE_READ, 0, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	mend();
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "the guest is not answered");
	json_decref(host_control_end(fd));
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(!host_exists(&h, "%s/error", fe.backend), "the error stays");
	check_serves();
	detach();
	check_no_journal();
}
END_TEST

/*
 * A change cannot be written down: what is there stays, and the disk is taken up all
 * the same.
 */
START_TEST(change_that_is_not_written)
{
	static const char *const commands[] = { "limit", "resize", "upgrade" };
	struct fe_response rsp;
	struct fe_request rq;

	attach();
	blkfront_connect(&fe);
	check_serves();
	need(shell("mkdir vbd-1-51728.connection.new"), "mkdir");
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s,s:s,s:s}",
						  "command", commands[_i],
						  "domain", g->name, "vdev",
						  "xvdb", "iops", "10000")));
	need(shell("rmdir vbd-1-51728.connection.new"), "rmdir");
	kill_everything();
	blkfront_fill(&fe, &rq, FE_READ, 0, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	host_daemon_start(&h);
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "not taken up");
	check_serves();
	detach();
	check_no_journal();
}
END_TEST

/* Where a file is to be made anew: nobody waits for a reader. */
START_TEST(fifo_in_the_way)
{
	char path[96];

	attach();
	blkfront_connect(&fe);
	snprintf(path, sizeof(path), "%s/vbd-1-%u.connection.new", run_dir,
		 XVDB);
	need(mkfifo(path, 0600) == 0, "mkfifo: %s", strerror(errno));
	json_decref(host_control(
		&h, json_pack("{s:s,s:s,s:s,s:s}", "command", "limit", "domain",
			      g->name, "vdev", "xvdb", "iops", "10000")));
	check_serves();
	detach();
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_journal();
}
END_TEST

static int write_page(void)
{
	uint8_t data[FE_PAGE] = { 1 };

	return blkfront_write(&fe, 0, data, 8);
}

static void restart_with_failing_flushes(const char *how)
{
	host_daemon_stop(&h);
	setenv("POISON_FLUSH", how, 1);
	poison_use();
	host_daemon_start(&h);
}

/* A flush, or a barrier of nothing, that is never answered. */
static void fail_disk(uint8_t operation)
{
	struct fe_request rq;
	char *error;

	blkfront_fill(&fe, &rq, operation, 0, 0, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	need(error, "the disk has not failed");
	free(error);
}

/* Nor does a new worker for a new driver make anything of it whole. */
START_TEST(failed_disk_of_a_new_driver)
{
	restart_with_failing_flushes("at once");
	attach();
	blkfront_connect(&fe);
	fail_disk(FE_FLUSH);
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	blkfront_free(&fe);
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s,s:s}", "command",
						  "upgrade", "domain", g->name,
						  "vdev", "xvdb")));
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(write_page() == FE_ERROR, "it is written to");
	unsetenv("POISON_FLUSH");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	/* Another attach begins anew. */
	attach();
	blkfront_connect(&fe);
	need(write_page() == FE_OKAY, "it is not written to");
	detach();
}
END_TEST

/* It is known to whoever comes after all are killed. */
START_TEST(disk_fails_while_it_is_full)
{
	restart_with_failing_flushes("at once");
	attach();
	blkfront_connect(&fe);
	make_full();
	fail_disk(FE_FLUSH);
	kill_everything();
	unsetenv("POISON_FLUSH");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(write_page() == FE_ERROR, "it is written to");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	check_no_journal();
	mend();
}
END_TEST

/* Its worker was told to end while it flushed: the next must not do that again. */
START_TEST(disk_fails_at_the_end)
{
	struct fe_request rq;

	restart_with_failing_flushes("slow");
	attach();
	blkfront_connect(&fe);
	blkfront_fill(&fe, &rq, FE_FLUSH, 0, 0, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	wait_in_flight();
	host_daemon_stop(&h);
	unsetenv("POISON_FLUSH");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(write_page() == FE_ERROR, "it is written to");
	need(fe.queues[0].nr_busy == 1, "the flush is answered");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	check_no_journal();
}
END_TEST

/* Whoever comes next says so as well. */
START_TEST(failed_disk_is_listed)
{
	char *error;

	restart_with_failing_flushes("at once");
	attach();
	blkfront_connect(&fe);
	fail_disk(FE_FLUSH);
	error = host_read(&h, "%s/error", fe.backend);
	kill_everything();
	unsetenv("POISON_FLUSH");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	check_error("Connected", error, "");
	free(error);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* A guest resumes, and all are killed before its old ring is let go of. */
static void resume_and_kill(void)
{
	host_wait_log(&h, "its driver has connected");
	need(kill(host_worker_pid(&h, 1, XVDB), SIGSTOP) == 0, "stop");
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	need(host_wait_worker(&h, 1, XVDB, "disconnecting"), "not noticed");
	kill_everything();
}

/* What its flush had been told is lost is not found whole by the next. */
START_TEST(failed_disk_of_a_resumed_guest)
{
	restart_with_failing_flushes("at once");
	attach();
	blkfront_connect(&fe);
	fail_disk(FE_FLUSH);
	resume_and_kill();
	unsetenv("POISON_FLUSH");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(write_page() == FE_ERROR, "it is written to");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_journal();
}
END_TEST

/* Nor if that is known only when its worker ends, which the next daemon hears. */
START_TEST(disk_fails_when_its_guest_has_resumed)
{
	struct fe_request rq;
	char away[80];
	pid_t pid;

	restart_with_failing_flushes("slow");
	attach();
	blkfront_connect(&fe);
	host_wait_log(&h, "its driver has connected");
	pid = host_worker_pid(&h, 1, XVDB);
	blkfront_fill(&fe, &rq, FE_FLUSH, 0, 0, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	wait_in_flight();
	need(kill(pid, SIGSTOP) == 0, "stop");
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	need(host_wait_worker(&h, 1, XVDB, "disconnecting"), "not noticed");
	host_daemon_kill(&h);
	snprintf(away, sizeof(away), "%s.away", image);
	need(rename(image, away) == 0, "rename");
	unsetenv("POISON_FLUSH");
	host_daemon_start(&h);
	need(kill(pid, SIGCONT) == 0, "go on");
	host_wait_error(&h, fe.backend, "flush failed");
	host_kill_everything(&h);
	need(rename(away, image) == 0, "rename");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(write_page() == FE_ERROR, "it is written to");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* Nor is it given another disk. */
START_TEST(another_image_of_a_resumed_guest)
{
	char another[64];

	attach();
	blkfront_connect(&fe);
	check_serves();
	resume_and_kill();
	host_image(&h, "mem/b.img", 1 << 20, another);
	need(rename(another, image) == 0, "rename");
	host_daemon_start(&h);
	host_wait_error(&h, fe.backend, "it is not the image any more");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_journal();
}
END_TEST

/*
 * What was put aside comes back when what was made in its place is gone: whoever is
 * killed in between must not leave one's table with the other's connection.
 */
START_TEST(put_back_in_order)
{
	char buffer[8192] __attribute__((aligned(8)));
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	bool there = true, back = false;
	struct fe_request rq;
	ssize_t n;

	attach();
	blkfront_connect(&fe);
	kill_everything();
	blkfront_fill(&fe, &rq, FE_READ, 0, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	need(shell("printf '\\377' | dd of=vbd-1-51728.connection bs=1 seek=4 "
		   "conv=notrunc status=none"),
	     "no file");
	need(inotify_add_watch(watch, run_dir,
			       IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) >= 0,
	     "watch");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "dead"), "not refused");
	while ((n = read(watch, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + n;) {
			const struct inotify_event *event = (void *)at;

			at += sizeof(*event) + event->len;
			if (!strcmp(event->name, "vbd-1-51728.connection"))
				there = event->mask & IN_MOVED_TO;
			if (!strcmp(event->name, "vbd-1-51728.inflight") &&
			    event->mask & IN_MOVED_TO) {
				need(!there, "with another's connection");
				back = true;
			}
		}
	}
	need(back, "not put back");
	close(watch);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	check_no_journal();
}
END_TEST

/*
 * Of a connection whose file is gone the table is left: nobody can take it up, and
 * it stays where it was for the operator.
 */
START_TEST(refused_table_stays)
{
	struct fe_request rq;

	attach();
	blkfront_connect(&fe);
	kill_everything();
	blkfront_fill(&fe, &rq, FE_READ, 0, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	need(shell("rm vbd-1-51728.connection && "
		   "cp vbd-1-51728.inflight was"),
	     "no file");
	for (unsigned int i = 0; i < 2; i++) {
		host_daemon_start(&h);
		need(host_wait_worker(&h, 1, XVDB, "dead"), "not refused");
		need(shell("cmp was vbd-1-51728.inflight && "
			   "! ls vbd-*.lost vbd-*.connection 2>/dev/null"),
		     "not as it was");
		host_daemon_stop(&h);
	}
	host_daemon_start(&h);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	check_no_journal();
}
END_TEST

/*
 * Flushes, and barriers of nothing, are never answered on a disk that has failed;
 * reads are, also by the next worker.
 */
START_TEST(barriers_wait_on_a_failed_disk)
{
	uint8_t got[FE_PAGE];
	pid_t pid;

	restart_with_failing_flushes("at once");
	attach();
	blkfront_connect(&fe);
	for (unsigned int i = 0; i < 3; i++) {
		fail_disk(FE_BARRIER);
		need(blkfront_read(&fe, 8, got, 8) == FE_OKAY, "read");
	}
	pid = host_worker_pid(&h, 1, XVDB);
	need(kill(pid, SIGKILL) == 0, "kill");
	need(blkfront_read(&fe, 8, got, 8) == FE_OKAY, "read");
	need(host_worker_pid(&h, 1, XVDB) != pid, "no successor");
	need(write_page() == FE_ERROR, "it is written to");
	unsetenv("POISON_FLUSH");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

START_TEST(no_run_directory)
{
	char option[80], says[160];
	const char *const argv[] = { program_path(PROGRAM_DAEMON), option,
				     NULL };
	int status = 0;
	pid_t pid;

	host_daemon_stop(&h);
	make_read_only();
	snprintf(option, sizeof(option), "--run-dir=%s", run_dir);
	pid = process_start(&h, "daemon.log", NULL, argv);
	need(process_wait(pid, HOST_WAIT_MS, &status), "it goes on");
	need(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x",
	     status);
	snprintf(says, sizeof(says),
		 "listen at '%s/control.sock': Read-only file system", run_dir);
	need(host_log_has(&h, says), "no cause");
	mend();
	host_daemon_start(&h);
}
END_TEST

/* ---- guests ----------------------------------------------------------------- */

static void setup(void)
{
	poison_use();
	host_start_all(&h);
	snprintf(run_dir, sizeof(run_dir), "%s/run", h.dir);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", SECTORS * FE_SECTOR, image);
}

static void teardown(void)
{
	host_stop(&h);
}

/* A write that is in the table, not on the image, and has no answer. */
static void write_hangs(void)
{
	uint8_t data[FE_PAGE];
	struct fe_request rq;

	memset(data, 0x77, sizeof(data));
	blkfront_fill(&fe, &rq, FE_WRITE, POISON_HANGS, 8, 0, 0);
	blkfront_data_put(&fe, &rq, data);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	wait_in_flight();
}

static bool is_written(void)
{
	static uint8_t bytes[SECTORS * FE_SECTOR];
	uint8_t data[FE_PAGE];

	memset(data, 0x77, sizeof(data));
	host_image_read(image, bytes, sizeof(bytes));
	return !memcmp(bytes + POISON_HANGS * FE_SECTOR, data, sizeof(data));
}

/* Nothing was carried out that another has asked for. */
static void check_not_applied(void)
{
	need(!is_written(), "a write of another ring");
	need(!request_number("replayed"), "replayed");
}

/* It is gone, and its devices, while no daemon is there to ask. */
static void guest_goes(void)
{
	sim_domain_destroy(g->dom);
	xs_release_domain(h.xs, g->domid);
	host_remove(&h, "/local/domain/0/backend/vbd/%u", g->domid);
	host_remove(&h, "/local/domain/%u", g->domid);
	host_remove(&h, "/libxl/%u", g->domid);
	host_remove(&h, "/vm/%s", g->uuid);
	g->dom = NULL;
	blkfront_abandon(&fe);
}

/* The next ones have no bugs. */
static void daemon_start(void)
{
	unsetenv("TEST_WORKER");
	host_daemon_start(&h);
}

static void worker_aborts(void)
{
	pid_t pid = host_worker_pid(&h, 1, XVDB);

	need(kill(pid, SIGABRT) == 0, "kill");
	while (host_worker_pid(&h, 1, XVDB) == pid)
		poll(NULL, 0, 2); /* nothing tells a reader of list */
	need(host_wait_worker(&h, 1, XVDB, "connected"), "no successor");
}

/* What the test of all the others relies on. */
START_TEST(a_hanging_write_is_taken_up)
{
	struct fe_response rsp;

	attach();
	blkfront_connect(&fe);
	write_hangs();
	kill_everything();
	need(!is_written(), "it did not hang");
	daemon_start();
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "not answered");
	need(is_written() && request_number("replayed") == 1, "not replayed");
	detach();
	check_no_files();
}
END_TEST

/* Nor is a request that was at it given up, if a worker long ago had a fault. */
START_TEST(killed_by_others_after_a_fault)
{
	struct fe_response rsp;

	attach();
	blkfront_connect(&fe);
	worker_aborts();
	/* What is known by then is written down. */
	json_decref(host_control_ok(
		&h, json_pack("{s:s,s:s,s:s,s:s}", "command", "limit", "domain",
			      g->name, "vdev", "xvdb", "iops", "10000")));
	write_hangs();
	for (unsigned int i = 0; i <= INFLIGHT_TRIALS_MAX; i++) {
		kill_everything();
		host_daemon_start(&h);
		need(host_wait_worker(&h, 1, XVDB, "connected"), "no worker");
		wait_in_flight();
	}
	kill_everything();
	daemon_start();
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "it is given up");
	need(is_written(), "not carried out again");
	detach();
	check_no_files();
}
END_TEST

/* One that does not finish has its time with the next supervisor as well. */
START_TEST(hangs_while_it_is_upgraded)
{
	struct fe_response rsp;
	int fd;

	attach();
	blkfront_connect(&fe);
	write_hangs();
	fd = host_control_begin(&h,
				json_pack("{s:s,s:s,s:s}", "command", "upgrade",
					  "domain", g->name, "vdev", "xvdb"));
	need(host_wait_worker(&h, 1, XVDB, "disconnecting"), "status");
	host_daemon_kill(&h);
	json_decref(host_control_end(fd));
	daemon_start();
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, 3 * HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "not answered");
	need(is_written(), "not carried out again");
	detach();
	check_no_files();
}
END_TEST

/* The worker as well, or the supervisor alone. */
START_TEST(gone_meanwhile)
{
	attach();
	blkfront_connect(&fe);
	if (_i) {
		host_kill_everything(&h);
	} else {
		write_hangs();
		kill_everything();
	}
	guest_goes();
	daemon_start();
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_files();
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "held");
}
END_TEST

/* The toolstack has not noticed, and does so later. */
START_TEST(crashed_meanwhile)
{
	attach();
	blkfront_connect(&fe);
	write_hangs();
	kill_everything();
	host_guest_crash(&h, g);
	daemon_start();
	/* xenstored has dropped what was the guest's. */
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "held");
	host_guest_destroy(&h, g);
	blkfront_abandon(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_files();
}
END_TEST

/* Its number, and its device's, are another guest's now. */
static void another_guest(uint16_t domid)
{
	g = host_guest(&h, domid, "g2");
	attach();
	blkfront_connect(&fe);
	check_serves();
}

START_TEST(same_numbers_meanwhile)
{
	attach();
	blkfront_connect(&fe);
	write_hangs();
	kill_everything();
	need(shell("mkdir ../old && cp -a vbd-* ../old"), "cp");
	guest_goes();
	g = host_guest(&h, 1, "g2");
	host_vbd_add(&h, g, XVDB, image, 'w');
	daemon_start();
	need(host_wait_value(&h, "2", HOST_WAIT_MS,
			     "/local/domain/0/backend/vbd/1/%u/state", XVDB),
	     "no state 2");
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s}", "command",
						  "hotplug-add", "path",
						  "backend/vbd/1/51728")));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_NATIVE);
	blkfront_connect(&fe);
	check_serves();
	check_not_applied();
	/* And if the old files were there still, in place of its own. */
	host_daemon_stop(&h);
	need(shell("cp -a ../old/vbd-* ."), "cp");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(host_log_has(&h, "connection' is of another connection"),
	     "not told");
	check_serves();
	check_not_applied();
	detach();
	check_no_files();
}
END_TEST

/* Another driver's, by accident in the place and of the numbers of the old. */
static void same_ring_anew(void)
{
	struct fe_queue *q = &fe.queues[0];

	memset(q->ring, 0, FE_PAGE);
	*blkfront_req_event(q) = *blkfront_rsp_event(q) = 1;
	q->req_prod_pvt = q->rsp_cons = q->nr_busy = 0;
	memset(q->shadow, 0, sizeof(q->shadow));
	blkfront_publish(&fe);
}

/* As after it was moved here, too: it asks again for what it has no answer to. */
START_TEST(new_ring_meanwhile)
{
	attach();
	blkfront_connect(&fe);
	host_wait_log(&h, "its driver has connected");
	write_hangs();
	kill_everything();
	if (_i)
		same_ring_anew();
	else
		blkfront_resume(&fe);
	daemon_start();
	need(sim_wait_bound(g->dom, fe.queues[0].port, HOST_WAIT_MS) == 0,
	     "the new port is not bound");
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	blkfront_set_state(&fe, FE_CONNECTED);
	check_serves();
	check_not_applied();
	detach();
	check_no_files();
}
END_TEST

/*
 * The old one stayed at Initialised, which tells nothing; but there are fewer
 * requests than were taken.  The next connection is served.
 */
START_TEST(new_ring_of_a_driver_at_3)
{
	attach();
	fe.stays_initialised = true;
	blkfront_connect(&fe);
	write_hangs();
	kill_everything();
	same_ring_anew();
	daemon_start();
	need(host_wait_worker(&h, 1, XVDB, "dead"), "not refused");
	need(host_log_has(&h, "which are not those of the ring"), "not told");
	check_not_applied();
	connect_again();
	check_serves();
	check_not_applied();
	detach();
	check_no_files();
}
END_TEST

static bool worker_is_waited_for(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	const char *status = json_string_value(
		json_object_get(json_object_get(vbd, "worker"), "status"));
	bool none = status && !strcmp(status, "none");

	json_decref(vbd);
	return none;
}

/*
 * So often that the next is long in coming; in the ring is a request that nobody
 * has taken.
 */
static void worker_dies(void)
{
	struct fe_request rq;

	for (unsigned int i = 0; i < 7; i++)
		worker_aborts();
	need(kill(host_worker_pid(&h, 1, XVDB), SIGABRT) == 0, "kill");
	need(host_wait_worker(&h, 1, XVDB, "none"), "no back-off");
	blkfront_fill(&fe, &rq, FE_WRITE, POISON_SLOW, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
}

/* The supervisor is there, and its worker is not. */
START_TEST(reboots_without_a_worker)
{
	attach();
	blkfront_connect(&fe);
	worker_dies();
	need(worker_is_waited_for(), "there is one already");
	host_guest_destroy(&h, g);
	blkfront_abandon(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	check_no_files();
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "held");
	another_guest(_i ? 2 : 1);
	need(!request_number("replayed"), "replayed");
	detach();
	check_no_files();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("left");
	TCase *tc = tcase_create("run directory");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup_run_dir, teardown_run_dir);
	tcase_add_loop_test(tc, no_files_for_a_connection, 0, NR_TROUBLES);
	tcase_add_loop_test(tc, detached_in_trouble, 0, NR_TROUBLES);
	tcase_add_loop_test(tc, trouble_while_it_serves, 0, NR_TROUBLES);
	tcase_add_test(tc, begun_anew_in_trouble);
	tcase_add_loop_test(tc, change_that_is_not_written, 0, 3);
	tcase_add_test(tc, fifo_in_the_way);
	tcase_add_test(tc, failed_disk_of_a_new_driver);
	tcase_add_test(tc, failed_disk_is_listed);
	tcase_add_test(tc, failed_disk_of_a_resumed_guest);
	tcase_add_test(tc, disk_fails_when_its_guest_has_resumed);
	tcase_add_test(tc, another_image_of_a_resumed_guest);
	tcase_add_test(tc, put_back_in_order);
	tcase_add_test(tc, disk_fails_while_it_is_full);
	tcase_add_test(tc, disk_fails_at_the_end);
	tcase_add_test(tc, refused_table_stays);
	tcase_add_test(tc, barriers_wait_on_a_failed_disk);
	tcase_add_test(tc, no_run_directory);
	suite_add_tcase(suite, tc);
	tc = tcase_create("guests");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_hanging_write_is_taken_up);
	tcase_add_test(tc, killed_by_others_after_a_fault);
	tcase_add_test(tc, hangs_while_it_is_upgraded);
	tcase_add_loop_test(tc, gone_meanwhile, 0, 2);
	tcase_add_test(tc, crashed_meanwhile);
	tcase_add_test(tc, same_numbers_meanwhile);
	tcase_add_loop_test(tc, new_ring_meanwhile, 0, 2);
	tcase_add_test(tc, new_ring_of_a_driver_at_3);
	tcase_add_loop_test(tc, reboots_without_a_worker, 0, 2);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
