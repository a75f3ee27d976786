/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens between two looks.  XenStore's events coalesce, and a worker
 * may be slow: here the supervisor or a worker is held still while a guest or
 * a toolstack does several things at once, so that the order of events is
 * decided and not raced for.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blkback/worker-message.h"
#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"

#define XVDB 51728u
#define IMAGE_BYTES (1u << 20)
/* VDISK_READONLY of the node `info`. */
#define INFO_READONLY 4u
#define THREADS_MAX 16

static struct host h;
static struct guest *g;
static char image[64], other_image[64];
static struct blkfront fe, successor;

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", IMAGE_BYTES, image);
	host_image(&h, "b.img", 2 * IMAGE_BYTES, other_image);
}

static void teardown(void)
{
	host_stop(&h);
}

/* ---- holding still ---- */

/* Whether the daemon, which is stopped, was waiting for events. */
static bool daemon_was_idle(void)
{
	char path[32];
	long nr = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/syscall", h.daemon);
	f = fopen(path, "re");
	need(f, "%s", path);
	need(fscanf(f, "%ld", &nr) == 1, "%s", path);
	fclose(f);
	return nr == SYS_io_uring_enter;
}

/*
 * Not in the middle of a message to xenstored, which would wait for the rest
 * of it and serve nobody else.
 */
static void daemon_hold(void)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	int status;

	for (;;) {
		need(kill(h.daemon, SIGSTOP) == 0, "stop the daemon");
		need(waitpid(h.daemon, &status, WUNTRACED) == h.daemon &&
			     WIFSTOPPED(status),
		     "the daemon did not stop but end");
		if (daemon_was_idle())
			return;
		need(kill(h.daemon, SIGCONT) == 0, "continue the daemon");
		need(host_now_ms() < end, "the daemon is never idle");
		poll(NULL, 0, 1);
	}
}

/*
 * SIGKILL, and its workers live on.  The kernel takes an io_uring apart after
 * its process has been reaped, and keeps the listening socket so long.
 */
static void daemon_release(void)
{
	need(kill(h.daemon, SIGCONT) == 0, "continue the daemon");
}

/*
 * Returns when the daemon has acted upon all that XenStore has told it.  To
 * list a vbd it asks XenStore for a name, and has the answer behind all events
 * of before; it looks at these before it serves the next command.
 */
static void daemon_looks(void)
{
	for (int i = 0; i < 2; i++) {
		json_t *vbd = host_list(&h, 1, XVDB);

		need(vbd, "no vbd is listed");
		json_decref(vbd);
	}
}

static pid_t worker_pid(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_t *worker = json_object_get(vbd, "worker");
	pid_t pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));

	need(pid > 1, "no pid of a worker");
	json_decref(vbd);
	return pid;
}

static char process_state(pid_t pid)
{
	char path[32], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	need(f, "worker %d is gone", pid);
	need(fscanf(f, "%*d (%*[^)]) %c", &state) == 1, "%s", path);
	fclose(f);
	return state;
}

/* It is no child of ours: nothing but its state tells that it has stopped. */
static void worker_hold(pid_t pid)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	need(kill(pid, SIGSTOP) == 0, "stop the worker");
	while (process_state(pid) != 'T') {
		need(host_now_ms() < end, "the worker does not stop");
		poll(NULL, 0, 1);
	}
}

/* ---- single threads of a worker ---- */

struct threads {
	unsigned int nr;
	pid_t tid[THREADS_MAX]; /* the main thread's is the first */
};

/* The kernel's own threads within a process cannot be traced. */
static bool thread_is_kernels(pid_t pid, const char *tid)
{
	char path[64], name[32] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/comm", pid, tid);
	f = fopen(path, "re");
	if (f && !fgets(name, sizeof(name), f))
		name[0] = '\0';
	if (f)
		fclose(f);
	return !strncmp(name, "iou-", 4);
}

static void thread_hold(pid_t tid)
{
	int status;

	need(ptrace(PTRACE_SEIZE, tid, NULL, NULL) == 0 &&
		     ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0,
	     "trace thread %d", tid);
	need(waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status),
	     "thread %d does not stop", tid);
}

static void thread_release(pid_t tid)
{
	need(ptrace(PTRACE_DETACH, tid, NULL, NULL) == 0, "thread %d", tid);
}

static void thread_peek(pid_t tid, unsigned long long from, void *bytes,
			size_t nr_bytes)
{
	struct iovec here = { bytes, nr_bytes };
	struct iovec there = { (void *)(uintptr_t)from, nr_bytes };

	need(process_vm_readv(tid, &here, 1, &there, 1, 0) == (ssize_t)nr_bytes,
	     "read thread %d: %s", tid, strerror(errno));
}

/* On its way into the kernel with a message of that type. */
static bool is_sending(pid_t tid, const struct user_regs_struct *regs,
		       enum worker_message_type type)
{
	struct worker_message message;
	struct msghdr msg;
	struct iovec iov;

	if (regs->orig_rax != SYS_sendmsg || (long long)regs->rax != -ENOSYS)
		return false;
	thread_peek(tid, regs->rsi, &msg, sizeof(msg));
	thread_peek(tid, (uintptr_t)msg.msg_iov, &iov, sizeof(iov));
	thread_peek(tid, (uintptr_t)iov.iov_base, &message, sizeof(message));
	return message.type == type;
}

/* A thread that is held goes on until it is about to send such a message. */
static void thread_hold_at(pid_t tid, enum worker_message_type type,
			   struct user_regs_struct *ret_regs)
{
	int status;

	do {
		need(ptrace(PTRACE_SYSCALL, tid, NULL, NULL) == 0 &&
			     waitpid(tid, &status, __WALL) == tid &&
			     WIFSTOPPED(status) &&
			     ptrace(PTRACE_GETREGS, tid, NULL, ret_regs) == 0,
		     "thread %d does not send %d", tid, (int)type);
	} while (!is_sending(tid, ret_regs, type));
}

/* SIGSTOP and SIGCONT are for whole processes; these for each thread. */
static void threads_hold(pid_t pid, struct threads *ret_threads)
{
	struct threads all = { .nr = 1, .tid = { pid } };
	struct dirent *entry;
	char path[32];
	DIR *dir;

	thread_hold(pid);
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	need(dir, "%s", path);
	while ((entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (!tid || tid == pid || thread_is_kernels(pid, entry->d_name))
			continue;
		need(all.nr < THREADS_MAX, "too many threads");
		thread_hold(tid);
		all.tid[all.nr++] = tid;
	}
	closedir(dir);
	need(all.nr > 1, "no thread of a queue");
	*ret_threads = all;
}

/* ---- the disk ---- */

static void attach_connect(void)
{
	char *error = host_vbd_attach(&h, g, XVDB, image, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
}

static void check_serves(struct blkfront *f)
{
	uint8_t wrote[4096], got[4096];

	memset(wrote, 0x5a, sizeof(wrote));
	need(blkfront_write(f, 8, wrote, 8) == FE_OKAY, "write");
	need(blkfront_read(f, 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(wrote, got, sizeof(got)), "data differs");
	need(blkfront_flush(f) == FE_OKAY, "flush");
}

static void detach(struct blkfront *f)
{
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(f, FE_CLOSING);
	blkfront_set_state(f, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(f);
}

static json_t *hotplug_request(const char *command)
{
	return json_pack("{s:s,s:s}", "command", command, "path",
			 "backend/vbd/1/51728");
}

static void remove_nodes(void)
{
	host_remove(&h, "%s", fe.backend);
	host_remove(&h, "%s", fe.path);
	host_remove(&h, "/libxl/1/device/vbd/%u", XVDB);
}

static void expect_string(json_t *vbd, const char *key, const char *value)
{
	const char *got = json_string_value(json_object_get(vbd, key));

	need(got && !strcmp(got, value), "%s is %s, not %s", key,
	     got ? got : "no string", value);
}

/*
 * A new node of the old one's name, with the other image, read-only: it is
 * served as itself, and waits for its own hotplug script.
 */
static void check_successor(void)
{
	struct blkfront *f = &successor;
	uint8_t data[4096] = { 0 };
	json_t *vbd;

	blkfront_init(f, &h, g, XVDB, FE_ABI_X86_32);
	blkfront_alloc(f);
	blkfront_publish(f);
	need(blkfront_wait_backend(f, FE_INIT_WAIT), "no state 2");
	need(!host_wait_value(&h, "4", 300, "%s/state", f->backend),
	     "4 before the hotplug script");
	json_decref(host_control_ok(&h, hotplug_request("hotplug-add")));
	need(blkfront_wait_backend(f, FE_CONNECTED), "no state 4");
	blkfront_read_backend(f);
	blkfront_set_state(f, FE_CONNECTED);

	vbd = host_list(&h, 1, XVDB);
	expect_string(vbd, "target", other_image);
	expect_string(vbd, "mode", "r");
	json_decref(vbd);
	need(f->nr_sectors == 2 * IMAGE_BYTES / FE_SECTOR, "%llu sectors",
	     (unsigned long long)f->nr_sectors);
	need(f->info & INFO_READONLY, "the guest is not told: read-only");
	need(blkfront_read(f, f->nr_sectors - 8, data, 8) == FE_OKAY, "read");
	need(blkfront_write(f, 0, data, 8) == FE_ERROR, "written");
	need(sim_live_maps(h.sim) == 1, "the old ring is still mapped");
	blkfront_fini(&fe);
	detach(f);
}

/* 0: detached as libxl does.  1: in use, and its directories are gone. */
START_TEST(recreated_unseen)
{
	attach_connect();
	if (_i == 0) {
		host_vbd_detach_begin(&h, g, XVDB);
		blkfront_set_state(&fe, FE_CLOSED);
		need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
		json_decref(
			host_control_ok(&h, hotplug_request("hotplug-remove")));
	}
	daemon_hold();
	remove_nodes();
	host_vbd_add(&h, g, XVDB, other_image, 'r');
	daemon_release();
	check_successor();
}
END_TEST

/* A worker that is stuck in its storage ends long after its node has gone. */
START_TEST(recreated_while_the_worker_ends)
{
	pid_t pid;

	attach_connect();
	pid = worker_pid();
	worker_hold(pid);
	host_vbd_detach_begin(&h, g, XVDB);
	host_remove(&h, "%s", fe.path);
	daemon_looks();
	remove_nodes();
	daemon_looks();
	host_vbd_add(&h, g, XVDB, other_image, 'r');
	daemon_looks();
	need(process_state(pid) == 'T', "the old worker did not wait");
	need(kill(pid, SIGCONT) == 0, "continue the worker");
	check_successor();
}
END_TEST

/* ---- the frontend ---- */

/* The driver goes and comes, and 1 is all that is seen of it. */
START_TEST(reload_unseen)
{
	static const unsigned int states[] = { FE_CLOSING, FE_CLOSED,
					       FE_INITIALISING };

	attach_connect();
	check_serves(&fe);
	daemon_looks();
	daemon_hold();
	for (int i = _i; i < 3; i++)
		blkfront_set_state(&fe, states[i]);
	daemon_release();
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	/* Takes its grants back, which fails for a ring that is mapped. */
	blkfront_free(&fe);
	fe.abi = FE_ABI_X86_32;
	blkfront_connect(&fe);
	check_serves(&fe);
	detach(&fe);
}
END_TEST

/*
 * A resumed guest finds the backend at 4 and goes to 4 at once: nothing but
 * the keys tells that the ring is a new one.
 */
START_TEST(resume_unseen)
{
	struct fe_queue old;

	attach_connect();
	check_serves(&fe);
	old = fe.queues[0];
	daemon_looks();
	daemon_hold();
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	daemon_release();
	need(sim_wait_bound(g->dom, fe.queues[0].port, HOST_WAIT_MS) == 0,
	     "the new port is not bound");
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	check_serves(&fe);
	need(!sim_port_is_bound(g->dom, old.port), "the old port is bound");
	need(sim_live_maps(h.sim) == 1, "the old ring is still mapped");
	detach(&fe);
}
END_TEST

static json_int_t request_count(const char *key)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_t *counts = json_object_get(vbd, "requests");
	json_int_t count = json_integer_value(json_object_get(counts, key));

	need(counts, "not in list");
	json_decref(vbd);
	return count;
}

static void submit_read(void)
{
	struct fe_request rq;

	blkfront_fill(&fe, &rq, FE_READ, 16, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
}

/* Whoever traces it has to wait for it. */
static void end_worker(pid_t pid)
{
	int status;

	need(kill(pid, SIGKILL) == 0 &&
		     process_wait(pid, HOST_WAIT_MS, &status),
	     "worker %d does not end", pid);
}

#define READS 5u

static void expect_answers(unsigned int nr)
{
	struct fe_response rsp;

	while (nr--)
		need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
			     rsp.status == FE_OKAY,
		     "not served");
}

/*
 * A guest that has resumed has answers already, and the worker is about to say that
 * it serves: it is held then.
 */
static pid_t resume_and_hold(void)
{
	struct user_regs_struct regs;
	pid_t pid;

	attach_connect();
	check_serves(&fe);
	pid = worker_pid();
	thread_hold(pid);
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	for (unsigned int i = 0; i < READS; i++)
		submit_read();
	thread_hold_at(pid, WORKER_CONNECTED, &regs);
	expect_answers(READS);
	return pid;
}

static void check_taken_up(void)
{
	struct fe_response rsp;

	expect_answers(1);
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	check_serves(&fe);
	need(request_count("errors") == 0, "a request that nobody sent");
	need(!host_exists(&h, "%s/error", fe.backend), "an error");
	need(!blkfront_poll(&fe, &fe.queues[0], &rsp, 100), "answered twice");
	detach(&fe);
}

static void in_run_dir(const char *text)
{
	char command[128];

	snprintf(command, sizeof(command), "cd %s/run && %s", h.dir, text);
	need(system(command) == 0, "%s", command);
}

/*
 * The daemon is killed when it has found that out, and the worker before it has let
 * go of the old ring: the new one is still known for what it is.
 */
START_TEST(resume_and_restart)
{
	pid_t pid;

	attach_connect();
	check_serves(&fe);
	pid = worker_pid();
	worker_hold(pid);
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	submit_read();
	need(host_wait_worker(&h, 1, XVDB, "disconnecting"), "not noticed");
	host_daemon_kill(&h);
	end_worker(pid);
	host_daemon_start(&h);
	check_taken_up();
}
END_TEST

/*
 * What is known of the connection is not enough to take it up: a new ring is
 * noticed all the same.  0: the first was refused; 1: nobody has looked yet.
 */
START_TEST(resume_of_what_cannot_be_taken_up)
{
	pid_t pid;

	attach_connect();
	check_serves(&fe);
	pid = worker_pid();
	worker_hold(pid);
	submit_read();
	host_daemon_kill(&h);
	end_worker(pid);
	if (_i == 0) {
		in_run_dir("rm vbd-1-51728.connection");
		host_daemon_start(&h);
		need(host_wait_worker(&h, 1, XVDB, "dead"), "not refused");
		daemon_hold();
	} else {
		in_run_dir("truncate -s 4096 vbd-1-51728.inflight");
	}
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	submit_read();
	if (_i == 0)
		daemon_release();
	else
		host_daemon_start(&h);
	check_taken_up();
}
END_TEST

/*
 * The disk of a guest that has resumed stays the same, whatever state it is at.  1:
 * the daemon dies, too, when nobody can open it.
 */
START_TEST(another_image_before_it_is_known_to_serve)
{
	char another[64], away[80];
	pid_t pid = resume_and_hold();

	host_image(&h, "b.img", 1 << 20, another);
	snprintf(away, sizeof(away), "%s.away", image);
	need(rename(image, away) == 0, "rename");
	if (_i == 0)
		need(rename(another, image) == 0, "rename");
	blkfront_resume(&fe);
	end_worker(pid);
	if (_i == 1) {
		host_wait_error(&h, fe.backend, image);
		host_daemon_kill(&h);
		host_remove(&h, "%s/error", fe.backend);
		need(rename(another, image) == 0, "rename");
		host_daemon_start(&h);
	}
	host_wait_error(&h, fe.backend, "it is not the image any more");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* The answers are not taken for requests.  1: the daemon dies, too. */
START_TEST(killed_before_it_is_known_to_serve)
{
	pid_t pid = resume_and_hold();

	if (_i)
		host_daemon_kill(&h);
	end_worker(pid);
	submit_read();
	if (_i)
		host_daemon_start(&h);
	check_taken_up();
}
END_TEST

/* It is left to the operator, until the guest has another ring. */
START_TEST(refused_before_it_is_known_to_serve)
{
	pid_t pid = resume_and_hold();

	host_daemon_kill(&h);
	end_worker(pid);
	in_run_dir("printf '?' | dd of=vbd-1-51728.inflight bs=1 seek=4 "
		   "conv=notrunc status=none");
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "dead"), "not refused");
	blkfront_resume(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	submit_read();
	check_taken_up();
}
END_TEST

/* ---- two workers, one ring ---- */

/*
 * The supervisor was killed, and its worker has not even noticed when there is
 * another.  That must leave the ring alone, and the disk be as it is, until the
 * worker does.  0: a request is in the ring when it starts; 1: one comes
 * afterwards.
 */
START_TEST(restart_before_the_worker_notices)
{
	struct threads old;
	struct fe_response rsp;
	unsigned int handles;
	char *error;
	pid_t pid;

	attach_connect();
	check_serves(&fe);
	handles = sim_live_handles(h.sim);
	pid = worker_pid();
	threads_hold(pid, &old);
	host_daemon_kill(&h);
	if (_i == 0)
		submit_read();
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "adopting"), "not found");
	daemon_looks();
	need(sim_live_handles(h.sim) == handles, "another is at the ring");
	if (_i == 1)
		submit_read();

	/* The old worker's queue goes on, its main thread does not yet. */
	for (unsigned int i = 1; i < old.nr; i++)
		thread_release(old.tid[i]);
	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "the old worker does not answer");
	check_serves(&fe);
	thread_release(old.tid[0]);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not taken up again");
	need(worker_pid() == pid, "it is another");
	error = host_read(&h, "%s/error", fe.backend);
	need(!error, "error: %s", error);
	check_serves(&fe);
	need(request_count("errors") == 0, "a request that nobody sent");
	need(!blkfront_poll(&fe, &fe.queues[0], &rsp, 100), "answered twice");
	need(request_count("read") == 4 && request_count("write") == 3 &&
		     request_count("flush") == 3,
	     "the counts do not go on");
	detach(&fe);
}
END_TEST

/* ---- messages that cannot be sent ---- */

/* As the kernel refuses one for want of memory. */
static void thread_refuse(pid_t tid, struct user_regs_struct *regs)
{
	int status;

	regs->orig_rax = (unsigned long long)-1;
	need(ptrace(PTRACE_SETREGS, tid, NULL, regs) == 0 &&
		     ptrace(PTRACE_SYSCALL, tid, NULL, NULL) == 0 &&
		     waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status),
	     "thread %d does not go on", tid);
	regs->rax = (unsigned long long)-ENOBUFS;
	need(ptrace(PTRACE_SETREGS, tid, NULL, regs) == 0, "its registers");
	thread_release(tid);
}

/* Whoever has not heard what it is to do is no use, and has a successor. */
START_TEST(message_that_is_not_sent)
{
	static const enum worker_message_type types[] = { WORKER_LISTEN,
							  WORKER_OPEN };
	struct user_regs_struct regs;
	pid_t pid;

	attach_connect();
	check_serves(&fe);
	pid = worker_pid();
	thread_hold(h.daemon);
	need(kill(pid, SIGKILL) == 0, "kill");
	thread_hold_at(h.daemon, types[_i], &regs);
	thread_refuse(h.daemon, &regs);
	check_serves(&fe);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	/* It can be found by the next supervisor. */
	pid = worker_pid();
	host_daemon_kill(&h);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(worker_pid() == pid, "it is another");
	check_serves(&fe);
	detach(&fe);
}
END_TEST

/* ---- the log ---- */

#define RECONNECTS 60u
/* What the log allows of one kind in 5 s, and some to spare. */
#define LINES_MAX 12u

/* Lines of the daemon's log that have both texts. */
static unsigned int log_lines(const char *one, const char *two)
{
	char path[64], line[4096];
	unsigned int nr = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/daemon.log", h.dir);
	f = fopen(path, "re");
	need(f, "%s", path);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, one) && strstr(line, two);
	fclose(f);
	return nr;
}

/* A guest that connects in a loop does not fill dom0's disk with the news. */
START_TEST(reconnects_are_logged_within_limits)
{
	uint64_t start = host_now_ms();
	unsigned int limit, lines;

	attach_connect();
	for (unsigned int i = 0; i < RECONNECTS; i++) {
		blkfront_close(&fe);
		blkfront_set_state(&fe, FE_INITIALISING);
		blkfront_connect(&fe);
	}
	limit = LINES_MAX * (unsigned int)(1 + (host_now_ms() - start) / 5000);
	need(limit < RECONNECTS, "too slow to tell anything");
	lines = log_lines(" info: vbd 1/51728: ", "connected");
	need(lines >= 1, "not logged at all");
	need(lines <= limit, "%u lines, not %u", lines, limit);
	check_serves(&fe);
	detach(&fe);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("races");
	TCase *tc = tcase_create("races");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, recreated_unseen, 0, 2);
	tcase_add_test(tc, recreated_while_the_worker_ends);
	tcase_add_loop_test(tc, reload_unseen, 0, 2);
	tcase_add_test(tc, resume_unseen);
	tcase_add_test(tc, resume_and_restart);
	tcase_add_loop_test(tc, resume_of_what_cannot_be_taken_up, 0, 2);
	tcase_add_loop_test(tc, another_image_before_it_is_known_to_serve, 0,
			    2);
	tcase_add_loop_test(tc, killed_before_it_is_known_to_serve, 0, 2);
	tcase_add_test(tc, refused_before_it_is_known_to_serve);
	tcase_add_loop_test(tc, restart_before_the_worker_notices, 0, 2);
	tcase_add_loop_test(tc, message_that_is_not_sent, 0, 2);
	tcase_add_test(tc, reconnects_are_logged_within_limits);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
