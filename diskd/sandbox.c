/* SPDX-License-Identifier: BSD-2-Clause */
/* The walls in their order, and those that are a call or two. */
#include "diskd/sandbox.h"

#include "common/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Packs are three descriptors each, and a queue has a dozen. */
#define FILES_MAX 4096u
/* Threads of a user of its own, the kernel's for io_uring among them. */
#define THREADS_MAX 1024u

#define ALL_WALLS                                               \
	(SANDBOX_LIMITS | SANDBOX_DUMPABLE | SANDBOX_MOUNTS |   \
	 SANDBOX_NETWORK | SANDBOX_UID | SANDBOX_CAPABILITIES | \
	 SANDBOX_PRIVILEGES | SANDBOX_SYSCALLS)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/* It traces its own process, reads /proc, and calls what it likes. */
const unsigned int sandbox_walls =
	ALL_WALLS & ~(SANDBOX_DUMPABLE | SANDBOX_SYSCALLS);
const char *const sandbox_runtime_paths[] = { "/proc", NULL };
#else
const unsigned int sandbox_walls = ALL_WALLS;
const char *const sandbox_runtime_paths[] = { NULL };
#endif

static int refused(int error, const char *wall, struct error_text *err)
{
	return error_set(err, error,
			 "sandbox: %s: %s (--sandbox=off does without)", wall,
			 strerror(-error));
}

static int limit(int resource, rlim_t most)
{
	struct rlimit now;

	if (getrlimit(resource, &now) < 0)
		return -errno;
	if (now.rlim_max < most)
		most = now.rlim_max;
	now = (struct rlimit){ most, most };
	return setrlimit(resource, &now) < 0 ? -errno : 0;
}

/*
 * Memory that io_uring pins counts against a limit for those without
 * CAP_IPC_LOCK, of which there is none yet; what may be pinned is bounded by
 * the pool.
 */
static int lift_locked_memory(void)
{
	const struct rlimit none = { RLIM_INFINITY, RLIM_INFINITY };

	/* Not root: what there is has to do. */
	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 && errno != EPERM)
		return -errno;
	return 0;
}

/*
 * The daemon is to be among the last that are killed for want of memory, and a
 * worker is its child.  But nothing else bounds the memory of a worker that its guest
 * has got hold of; and if it is killed, another carries on.
 */
static int end_oom_protection(void)
{
	cleanup_close int fd =
		open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char sign;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (read(fd, &sign, 1) == 1 && sign != '-')
		return 0;
	return pwrite(fd, "0", 1, 0) == 1 ? 0 : -errno;
}

static int enter_limits(const struct sandbox *sandbox)
{
	int rc = lift_locked_memory();

	if (rc == 0)
		rc = end_oom_protection();
	if (rc == 0)
		rc = limit(RLIMIT_NOFILE, FILES_MAX);
	if (rc == 0)
		rc = limit(RLIMIT_CORE, 0);
	/* It counts all threads of the user. */
	if (rc == 0 && sandbox->walls & SANDBOX_UID && sandbox->uid)
		rc = limit(RLIMIT_NPROC, THREADS_MAX);
	return rc;
}

static int set_capabilities(uint32_t effective, uint32_t permitted)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	const struct __user_cap_data_struct data[2] = {
		{ .effective = effective, .permitted = permitted },
	};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int drop_bounding_set(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0;
	     cap++) {
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -errno;
	}
	return 0;
}

static int enter_capabilities(void)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return set_capabilities(0, 0);
}

/*
 * Files are read with their owner's rights, whoever the process is for all
 * else: what there is to read is only what was left to it.  Threads inherit
 * this.
 */
static int set_file_owner(const struct sandbox *sandbox)
{
	setfsgid(sandbox->file_gid);
	setfsuid(sandbox->file_uid);
	/* They tell no errors, but who it was. */
	if ((uid_t)setfsuid((uid_t)-1) != sandbox->file_uid ||
	    (gid_t)setfsgid((gid_t)-1) != sandbox->file_gid)
		return -EPERM;
	return 0;
}

static int enter_uid(const struct sandbox *sandbox)
{
	const uint32_t ids = 1u << CAP_SETUID | 1u << CAP_SETGID;
	int rc;

	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) < 0)
		return -errno;
	if (!sandbox->uid || !(sandbox->walls & SANDBOX_UID))
		return set_file_owner(sandbox);
	/* These outlive it, for the files' owner. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
	    setresgid(sandbox->uid, sandbox->uid, sandbox->uid) < 0 ||
	    setresuid(sandbox->uid, sandbox->uid, sandbox->uid) < 0)
		return -errno;
	rc = set_capabilities(ids, ids);
	return rc < 0 ? rc : set_file_owner(sandbox);
}

int sandbox_enter(const struct sandbox *sandbox, struct error_text *err)
{
	unsigned int walls = sandbox->walls;
	int rc = 0;

	tzset(); /* /etc/localtime, for the log */
	if (walls & SANDBOX_LIMITS)
		rc = enter_limits(sandbox);
	if (rc < 0)
		return refused(rc, "resource limits", err);
	if (walls & SANDBOX_NETWORK && !sandbox->network &&
	    unshare(CLONE_NEWNET) < 0)
		return refused(-errno, "network namespace", err);
	if (walls & SANDBOX_MOUNTS)
		rc = sandbox_enter_mounts(sandbox);
	if (rc < 0)
		return refused(rc, "mount namespace", err);
	/* Who is not root may not, and has none to lose. */
	if (walls & SANDBOX_CAPABILITIES && geteuid() == 0)
		rc = drop_bounding_set();
	if (rc < 0)
		return refused(rc, "capability bounding set", err);
	rc = enter_uid(sandbox);
	if (rc < 0)
		return refused(rc, "user id", err);
	if (walls & SANDBOX_CAPABILITIES)
		rc = enter_capabilities();
	if (rc < 0)
		return refused(rc, "capabilities", err);
	/* To become another user is to be dumpable no more. */
	if (prctl(PR_SET_DUMPABLE, walls & SANDBOX_DUMPABLE ? 0 : 1, 0, 0, 0) <
	    0)
		return refused(-errno, "not dumpable", err);
	if (walls & SANDBOX_PRIVILEGES &&
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return refused(-errno, "no new privileges", err);
	if (walls & SANDBOX_SYSCALLS)
		rc = sandbox_enter_syscalls(sandbox);
	return rc < 0 ? refused(rc, "system calls (seccomp)", err) : 0;
}
