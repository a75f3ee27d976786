/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The programs a test host runs.  The test is a subreaper, so that a worker
 * whose supervisor died is still ours to wait for, and to count as a leak.
 */
#include "tests/sim/host-process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	const char *env;
	const char *path; /* from the executable's directory */
} programs[] = {
	[PROGRAM_DAEMON] = { "TEST_DAEMON", "../bin/xen-diskd" },
	[PROGRAM_WORKER] = { "TEST_WORKER", "xen-diskd-worker-sim" },
	[PROGRAM_WORKER_OTHER] = { "TEST_WORKER_OTHER",
				   "xen-diskd-worker-other" },
	[PROGRAM_CTL] = { "TEST_CTL", "../bin/xen-diskctl" },
	[PROGRAM_SCRIPT] = { "TEST_SCRIPT", "../../../dist/block-xen-diskd" },
	[PROGRAM_PRELOAD] = { "TEST_PRELOAD", "xenstored-preload.so" },
	[PROGRAM_LATE_SERVER] = { "TEST_LATE_SERVER", "nbd-volatile-server" },
};

const char *program_path(enum program program)
{
	static char paths[sizeof(programs) / sizeof(programs[0])][512];
	char *out = paths[program];
	const char *env = getenv(programs[program].env);
	char self[256];
	ssize_t n;

	if (env)
		return env;
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	need(n > 0, "no /proc/self/exe");
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(out, sizeof(paths[0]), "%s/%s", self, programs[program].path);
	return out;
}

static char worker_link[64];
static const char *worker_program;

void worker_link_to(const char *program)
{
	unlink(worker_link);
	need(symlink(program ? program : worker_program, worker_link) == 0,
	     "symlink: %s", strerror(errno));
}

void worker_link_make(void)
{
	worker_program = program_path(PROGRAM_WORKER);
	snprintf(worker_link, sizeof(worker_link), "/tmp/xd-worker.%d",
		 (int)getpid());
	worker_link_to(NULL);
	setenv("TEST_WORKER", worker_link, 1);
}

void worker_link_remove(void)
{
	unlink(worker_link);
}

/* In the child: never returns. */
static void child_exec(const char *log, const char *preload,
		       const char *const argv[])
{
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	sigset_t none;

	/* What Check and the test set must not reach the programs tested. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, STDIN_FILENO);
	if (preload)
		setenv("LD_PRELOAD", preload, 1);
	execvp(argv[0], (char *const *)(uintptr_t)argv);
	fprintf(stderr, "exec %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

pid_t process_start(struct host *h, const char *log_name, const char *preload,
		    const char *const argv[])
{
	char log[64];
	pid_t pid;

	snprintf(log, sizeof(log), "%s/%s", h->dir, log_name);
	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0)
		child_exec(log, preload, argv);
	return pid;
}

bool process_wait(pid_t pid, unsigned int timeout_ms, int *ret_status)
{
	struct pollfd p = { .events = POLLIN };
	int nr;

	p.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p.fd < 0)
		return false;
	do {
		nr = poll(&p, 1, (int)timeout_ms);
	} while (nr < 0 && errno == EINTR);
	close(p.fd);
	return nr == 1 && waitpid(pid, ret_status, 0) == pid;
}

/* A child of ours that nobody has started on purpose, or 0. */
static pid_t stray_find(const struct host *h)
{
	char path[64];
	FILE *f;
	long pid;
	pid_t found = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (!found && fscanf(f, "%ld", &pid) == 1)
		if ((pid_t)pid != h->xenstored && (pid_t)pid != h->server)
			found = (pid_t)pid;
	fclose(f);
	return found;
}

unsigned int process_reap_strays(const struct host *h, unsigned int timeout_ms)
{
	uint64_t end = host_now_ms() + timeout_ms;
	unsigned int killed = 0;
	pid_t pid;
	int status;

	while ((pid = stray_find(h)) != 0) {
		uint64_t now = host_now_ms();
		unsigned int left = now < end ? (unsigned int)(end - now) : 0;

		if (process_wait(pid, left, &status))
			continue;
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		killed++;
	}
	return killed;
}
