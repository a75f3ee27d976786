/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each wall of a worker, run against from inside.  An attempt is made twice, by
 * processes that differ in that wall alone: with all the others it succeeds, or
 * the test would prove nothing, and with the wall it fails as it says here.
 */
#include "diskd/sandbox.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define UID_BASE 1879052000u
/* As many as a worker has; docs/architecture.md. */
#define THREADS_MAX 1024
#define THREAD_STACK_BYTES 65536u

#define EVERY_WALL                                              \
	(SANDBOX_LIMITS | SANDBOX_DUMPABLE | SANDBOX_MOUNTS |   \
	 SANDBOX_NETWORK | SANDBOX_UID | SANDBOX_CAPABILITIES | \
	 SANDBOX_PRIVILEGES | SANDBOX_SYSCALLS)

/* What this build must have: nobody is asked who could have left one out. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const unsigned int expected_walls =
	EVERY_WALL & ~(SANDBOX_DUMPABLE | SANDBOX_SYSCALLS);
#else
static const unsigned int expected_walls = EVERY_WALL;
#endif

/* What an attempt gets at: made by the test, outside. */
static struct {
	char file[300]; /* anybody may read it */
	char kept[300]; /* a directory that stays, ... */
	char kept_file[320]; /* and a file of its owner's in it, ... */
	char others_file[320]; /* and one of another's */
	uid_t uid; /* of this run alone, as a user's threads are counted */
	int listen_fd;
	struct sockaddr_in address;
	pid_t victim; /* a process of the worker's user, or root's */
	int pipe_fd;
} target;

/* ---- attempts: 0, or -errno -------------------------------------------- */

static int open_file(void)
{
	return open(target.file, O_RDONLY) < 0 ? -errno : 0;
}

static int open_etc(void)
{
	return open("/etc", O_RDONLY | O_DIRECTORY) < 0 ? -errno : 0;
}

static int write_kept(void)
{
	return open(target.kept_file, O_WRONLY) < 0 ? -errno : 0;
}

static int create_at_root(void)
{
	return open("/tmp/xen-diskd-sandbox-test", O_WRONLY | O_CREAT | O_EXCL,
		    0600) < 0
		       ? -errno
		       : unlink("/tmp/xen-diskd-sandbox-test");
}

static int connect_tcp(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&target.address,
			      sizeof(target.address)) < 0)
		return -errno;
	return 0;
}

static int make_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? -errno : 0;
}

static int netlink_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0 ? -errno : 0;
}

static int run_program(void)
{
	char *const argv[] = { (char *)"true", NULL };

	execv("/bin/true", argv); /* exits with 0 */
	return -errno;
}

static int make_process(void)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(0);
	return waitpid(pid, NULL, 0) == pid ? 0 : -ECHILD;
}

static int trace_other(void)
{
	return ptrace(PTRACE_SEIZE, target.victim, NULL, NULL) < 0 ? -errno : 0;
}

static int kill_other(void)
{
	return kill(target.victim, 0) < 0 ? -errno : 0;
}

static int mount_tmpfs(void)
{
	return mount("none", "/", "tmpfs", 0, NULL) < 0 ? -errno : 0;
}

static int new_user_namespace(void)
{
	return unshare(CLONE_NEWUSER) < 0 ? -errno : 0;
}

static int become_root(void)
{
	return syscall(SYS_setresuid, 0, 0, 0) < 0 ? -errno : 0;
}

static int become_other(void)
{
	return syscall(SYS_setresuid, 12345, 12345, 12345) < 0 ? -errno : 0;
}

static int be_root(void)
{
	return geteuid() == 0 && getuid() == 0 ? 0 : -EPERM;
}

static int raise_files(void)
{
	const struct rlimit more = { 16384, 16384 };

	return setrlimit(RLIMIT_NOFILE, &more) < 0 ? -errno : 0;
}

static int dup_beyond(void)
{
	int fd = fcntl(0, F_DUPFD, 5000);

	return fd < 0 ? -errno : 0;
}

static int dump_core(void)
{
	struct rlimit now;

	getrlimit(RLIMIT_CORE, &now);
	return now.rlim_max ? 0 : -EPERM;
}

static int be_traced_by_own(void)
{
	return prctl(PR_GET_DUMPABLE) == 1 ? 0 : -EPERM;
}

static int gain_privileges(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 ? 0 : -EPERM;
}

static int have_bounding_set(void)
{
	return prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN, 0, 0, 0) == 1 ? 0 : -EPERM;
}

static int other_ioctl(void)
{
	int queued;

	return ioctl(target.pipe_fd, FIONREAD, &queued) < 0 ? -errno : 0;
}

static int make_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? -errno
		       : 0;
}

static int code_of_data(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}

static int register_personality(void)
{
	struct io_uring_params params = { .flags = 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);

	if (fd < 0)
		return -errno;
	return syscall(SYS_io_uring_register, fd, IORING_REGISTER_PERSONALITY,
		       NULL, 0) < 0
		       ? -errno
		       : 0;
}

static int change_root(void)
{
	return chroot("/") < 0 ? -errno : 0;
}

/* Root could. */
static int read_others(void)
{
	return open(target.others_file, O_RDONLY) < 0 ? -errno : 0;
}

/* What the walls must let through. */
static int read_kept(void)
{
	return open(target.kept_file, O_RDONLY) < 0 ? -errno : 0;
}

static int open_device(void)
{
	return open("/dev/null", O_RDWR) < 0 ? -errno : 0;
}

static void *nothing(void *arg)
{
	return arg;
}

static int make_thread(void)
{
	pthread_t thread;
	int rc = -pthread_create(&thread, NULL, nothing, NULL);

	return rc ? rc : -pthread_join(thread, NULL);
}

/* Nobody writes. */
static void *stay(void *arg)
{
	char byte;

	(void)!read(target.pipe_fd, &byte, 1);
	return arg;
}

/* With the one that makes them, one more than there may be. */
static int make_threads(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc = -pthread_attr_init(&attr);

	if (rc == 0)
		rc = -pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	for (unsigned int nr = 2; rc == 0 && nr <= THREADS_MAX; nr++) {
		rc = -pthread_create(&thread, &attr, stay, NULL);
		if (rc < 0)
			return -EUSERS;
	}
	return rc ? rc : -pthread_create(&thread, &attr, stay, NULL);
}

static int make_ring(void)
{
	struct io_uring_params params = { .flags = 0 };

	return syscall(SYS_io_uring_setup, 4, &params) < 0 ? -errno : 0;
}

/* ---- with and without --------------------------------------------------- */

static const struct attempt {
	const char *what;
	int (*go)(void);
	unsigned int wall;
	int error; /* with the wall, and with all */
	/* Walls that hold it off as well: down in both runs. */
	unsigned int others;
} attempts[] = {
	{ "open a file", open_file, SANDBOX_MOUNTS, -ENOENT, 0 },
	{ "open a directory", open_etc, SANDBOX_MOUNTS, -ENOENT, 0 },
	{ "write to a kept file", write_kept, SANDBOX_MOUNTS, -EROFS, 0 },
	{ "create a file", create_at_root, SANDBOX_MOUNTS, -ENOENT,
	  SANDBOX_SYSCALLS },
	{ "connect", connect_tcp, SANDBOX_NETWORK, -ENETUNREACH,
	  SANDBOX_SYSCALLS },
	{ "socket", make_socket, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "netlink", netlink_socket, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "exec", run_program, SANDBOX_SYSCALLS, -EPERM, SANDBOX_MOUNTS },
	{ "exec: nothing there", run_program, SANDBOX_MOUNTS, -ENOENT,
	  SANDBOX_SYSCALLS },
	{ "fork", make_process, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "ptrace", trace_other, SANDBOX_SYSCALLS, -EPERM,
	  SANDBOX_UID | SANDBOX_CAPABILITIES },
	{ "ptrace: another's", trace_other, SANDBOX_UID, -EPERM,
	  SANDBOX_SYSCALLS | SANDBOX_CAPABILITIES },
	{ "kill", kill_other, SANDBOX_SYSCALLS, -EPERM, SANDBOX_UID },
	{ "kill: another's", kill_other, SANDBOX_UID, -EPERM,
	  SANDBOX_SYSCALLS },
	{ "mount", mount_tmpfs, SANDBOX_CAPABILITIES, -EPERM,
	  SANDBOX_SYSCALLS | SANDBOX_UID },
	{ "mount: no such call", mount_tmpfs, SANDBOX_SYSCALLS, -EPERM,
	  SANDBOX_CAPABILITIES | SANDBOX_UID },
	{ "user namespace", new_user_namespace, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "be root", be_root, SANDBOX_UID, -EPERM, 0 },
	{ "setuid back", become_root, SANDBOX_UID, -EPERM, SANDBOX_SYSCALLS },
	{ "setuid away", become_other, SANDBOX_CAPABILITIES, -EPERM,
	  SANDBOX_SYSCALLS | SANDBOX_UID },
	{ "chroot", change_root, SANDBOX_CAPABILITIES, -EPERM,
	  SANDBOX_SYSCALLS | SANDBOX_UID },
	{ "bounding set", have_bounding_set, SANDBOX_CAPABILITIES, -EPERM,
	  SANDBOX_SYSCALLS },
	{ "descriptor 5000", dup_beyond, SANDBOX_LIMITS, -EINVAL, 0 },
	{ "raise a limit", raise_files, SANDBOX_LIMITS, -EPERM,
	  SANDBOX_SYSCALLS },
	{ "raise a limit: no such call", raise_files, SANDBOX_SYSCALLS, -EPERM,
	  SANDBOX_LIMITS },
	{ "thread 1025", make_threads, SANDBOX_LIMITS, -EAGAIN, 0 },
	{ "core dump", dump_core, SANDBOX_LIMITS, -EPERM, 0 },
	{ "dumpable", be_traced_by_own, SANDBOX_DUMPABLE, -EPERM,
	  SANDBOX_SYSCALLS },
	{ "new privileges", gain_privileges, SANDBOX_PRIVILEGES, -EPERM,
	  SANDBOX_SYSCALLS },
	{ "another ioctl", other_ioctl, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "new code", make_code, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "code of data", code_of_data, SANDBOX_SYSCALLS, -EPERM, 0 },
	{ "io_uring personality", register_personality, SANDBOX_SYSCALLS,
	  -EPERM, 0 },
};

static const struct {
	const char *what;
	int (*go)(void);
} let_through[] = {
	{ "read a kept file", read_kept },
	{ "open a device", open_device },
	{ "start a thread", make_thread },
	{ "make a ring", make_ring },
};

/* In the child: the attempt's outcome by a pipe, or nothing. */
static void run_inside(unsigned int walls, int (*go)(void), int result_fd)
{
	static const char *const devices[] = { "/dev/null", NULL };
	const char *const paths[] = { target.kept, NULL };
	const struct sandbox sandbox = {
		.walls = walls,
		.uid = walls & SANDBOX_UID ? target.uid : 0,
		.file_uid = 1234,
		.file_gid = 1234,
		.devices = devices,
		.paths = paths,
	};
	struct error_text err = { "" };
	int rc = sandbox_enter(&sandbox, &err);

	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	else
		rc = go();
	if (write(result_fd, &rc, sizeof(rc)) != sizeof(rc))
		_exit(2);
	_exit(0);
}

/* Of a program that was run there is only its status. */
static int attempt(unsigned int walls, int (*go)(void))
{
	int fds[2], rc, status;
	ssize_t got;
	pid_t pid;

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		run_inside(walls, go, fds[1]);
	close(fds[1]);
	got = read(fds[0], &rc, sizeof(rc));
	close(fds[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (got == sizeof(rc))
		return rc;
	ck_assert_msg(WIFEXITED(status), "killed by signal %d",
		      WTERMSIG(status));
	return WEXITSTATUS(status) ? -ECHILD : 0;
}

static void make_file(const char *path, uid_t owner, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, mode);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fchmod(fd, mode), 0);
	ck_assert_int_eq(fchown(fd, owner, owner), 0);
	close(fd);
}

static void listen_here(void)
{
	socklen_t length = sizeof(target.address);

	target.address = (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	target.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(target.listen_fd,
			      (struct sockaddr *)&target.address,
			      sizeof(target.address)),
			 0);
	ck_assert_int_eq(listen(target.listen_fd, 8), 0);
	ck_assert_int_eq(getsockname(target.listen_fd,
				     (struct sockaddr *)&target.address,
				     &length),
			 0);
}

static void setup(void)
{
	struct rlimit files;
	int fds[2];

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
	files.rlim_cur = 8192;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
	target.uid = UID_BASE + (uid_t)getpid();
	ck_assert_int_eq(chmod(unit_dir(), 0755), 0);
	snprintf(target.file, sizeof(target.file), "%s/file", unit_dir());
	snprintf(target.kept, sizeof(target.kept), "%s/kept", unit_dir());
	snprintf(target.kept_file, sizeof(target.kept_file), "%s/owned",
		 target.kept);
	make_file(target.file, 4321, 0444);
	ck_assert_int_eq(mkdir(target.kept, 0755), 0);
	make_file(target.kept_file, 1234, 0600);
	snprintf(target.others_file, sizeof(target.others_file), "%s/others",
		 target.kept);
	make_file(target.others_file, 0, 0600);
	listen_here();
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	target.pipe_fd = fds[0];
	target.victim = fork();
	if (target.victim == 0) {
		pause();
		_exit(0);
	}
}

static void teardown(void)
{
	kill(target.victim, SIGKILL);
	waitpid(target.victim, NULL, 0);
	close(target.listen_fd);
	unlink(target.others_file);
	unlink(target.kept_file);
	rmdir(target.kept);
	unlink(target.file);
}

/* Many a host allows it to root alone. */
static bool has_user_namespaces(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setresuid(UID_BASE, UID_BASE, UID_BASE) < 0 ||
		      new_user_namespace() < 0);
	return waitpid(pid, &status, 0) == pid && status == 0;
}

static const char *missing(const struct attempt *a)
{
	if (!(expected_walls & a->wall))
		return "not in a sanitizer's build";
	if (a->go == new_user_namespace && !has_user_namespaces())
		return "not on this host";
	return NULL;
}

/* Of attempts: those that can be made here. */
static unsigned int available[NR_OF(attempts)];

static int find_available(void)
{
	int nr = 0;

	for (unsigned int i = 0; i < NR_OF(attempts); i++) {
		const char *reason = missing(&attempts[i]);

		if (reason)
			unit_skip(attempts[i].what, reason);
		else
			available[nr++] = i;
	}
	return nr;
}

START_TEST(all_walls_are_there)
{
	ck_assert_uint_eq(sandbox_walls, expected_walls);
}
END_TEST

START_TEST(a_wall_holds)
{
	const struct attempt *a = &attempts[available[_i]];
	unsigned int all = sandbox_walls & ~a->others, rest = all & ~a->wall;
	int rc;

	rc = attempt(rest, a->go);
	ck_assert_msg(rc == 0, "%s: without the wall: %s", a->what,
		      strerror(-rc));
	rc = attempt(all, a->go);
	ck_assert_msg(rc == a->error, "%s: with the wall: %s, not %s", a->what,
		      strerror(-rc), strerror(-a->error));
	/* Whichever it is that says so first. */
	rc = attempt(sandbox_walls, a->go);
	ck_assert_msg(rc < 0, "%s: with all walls, it succeeds", a->what);
}
END_TEST

START_TEST(what_is_needed_passes)
{
	int rc = attempt(sandbox_walls, let_through[_i].go);

	ck_assert_msg(rc == 0, "%s: %s", let_through[_i].what, strerror(-rc));
}
END_TEST

START_TEST(files_are_their_owners)
{
	ck_assert_int_eq(attempt(sandbox_walls, read_kept), 0);
	ck_assert_int_eq(attempt(sandbox_walls, read_others), -EACCES);
}
END_TEST

/* A host that has not what a wall takes. */
static int enter_again(void)
{
	const struct sandbox sandbox = { .walls = SANDBOX_NETWORK };
	struct error_text err = { "" };
	int rc = sandbox_enter(&sandbox, &err);

	return strstr(err.text, "network namespace") ? rc : -EINVAL;
}

START_TEST(a_refused_wall_is_named)
{
	ck_assert_int_eq(attempt(SANDBOX_CAPABILITIES, enter_again), -EPERM);
}
END_TEST

Suite *suite_sandbox(void)
{
	Suite *suite = suite_create("sandbox");
	TCase *tc = tcase_create("walls");

	suite_add_tcase(suite, tc);
	if (geteuid() != 0) {
		unit_skip("sandbox", "not root");
		return suite;
	}
	tcase_add_unchecked_fixture(tc, setup, teardown);
	tcase_add_test(tc, all_walls_are_there);
	tcase_add_loop_test(tc, a_wall_holds, 0, find_available());
	tcase_add_loop_test(tc, what_is_needed_passes, 0,
			    (int)NR_OF(let_through));
	tcase_add_test(tc, files_are_their_owners);
	tcase_add_test(tc, a_refused_wall_is_named);
	return suite;
}
