/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The system calls of a worker that has opened what it serves.  Whatever is not
 * named fails with EPERM.  A filter sees numbers, never what a pointer points
 * to: paths are the mount namespace's, the domain of a grant is nobody's.
 */
#include "diskd/sandbox.h"

#include "blkback/worker-message.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
/* What they are written in. */
#include <stdint.h>
#include <xen/grant_table.h>
#include <xen/sys/evtchn.h>
#include <xen/sys/gntdev.h>
#include <xen/xen.h>

/* Whatever their arguments are. */
static const int calls[] = {
	/* data */
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(preadv),
	SCMP_SYS(pwritev),
	SCMP_SYS(lseek),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(fallocate),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	/* descriptors, and paths where there are any */
	SCMP_SYS(close),
	SCMP_SYS(fcntl),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(statx),
	SCMP_SYS(fstatfs),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(stat),
	SCMP_SYS(lstat),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(getdents64),
	SCMP_SYS(eventfd2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	/* what the supervisor says, and servers */
	SCMP_SYS(sendmsg),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(recvfrom),
	SCMP_SYS(accept4),
	SCMP_SYS(shutdown),
	SCMP_SYS(getsockopt),
	/* memory */
	SCMP_SYS(brk),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	/* threads, and the time */
	SCMP_SYS(futex),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_yield),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sysinfo),
	SCMP_SYS(getrusage),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(time),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(gettid),
	SCMP_SYS(getpid),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
};

static const unsigned int ioctls[] = {
	IOCTL_GNTDEV_MAP_GRANT_REF,
	IOCTL_GNTDEV_UNMAP_GRANT_REF,
	IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR,
	IOCTL_GNTDEV_SET_MAX_GRANTS,
	IOCTL_GNTDEV_SET_UNMAP_NOTIFY,
	IOCTL_GNTDEV_GRANT_COPY,
	IOCTL_EVTCHN_BIND_INTERDOMAIN,
	IOCTL_EVTCHN_UNBIND,
	IOCTL_EVTCHN_NOTIFY,
	IOCTL_EVTCHN_RESTRICT_DOMID,
	BLKGETSIZE64,
	BLKDISCARD,
};

/* Of io_uring_register(2): what common/io-loop.c registers. */
static const unsigned int registrations[] = {
	IORING_REGISTER_BUFFERS,
	IORING_UNREGISTER_BUFFERS,
	IORING_REGISTER_RESTRICTIONS,
	IORING_REGISTER_ENABLE_RINGS,
};

static int allow_calls(scmp_filter_ctx filter)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return rc;
}

/* The call when one argument, or some bits of it, are the value. */
static int allow_when(scmp_filter_ctx filter, int call, unsigned int argument,
		      uint64_t mask, uint64_t value)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
				SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask,
					   value));
}

static int allow_requests(scmp_filter_ctx filter)
{
	int rc = 0;

	/* The kernel looks at 32 bits. */
	for (size_t i = 0; rc == 0 && i < sizeof(ioctls) / sizeof(ioctls[0]);
	     i++)
		rc = allow_when(filter, SCMP_SYS(ioctl), 1, UINT32_MAX,
				ioctls[i]);
	for (size_t i = 0;
	     rc == 0 && i < sizeof(registrations) / sizeof(registrations[0]);
	     i++)
		rc = allow_when(filter, SCMP_SYS(io_uring_register), 1,
				UINT32_MAX, registrations[i]);
	return rc;
}

/* No memory becomes code. */
static int allow_memory(scmp_filter_ctx filter)
{
	int rc = allow_when(filter, SCMP_SYS(mmap), 2, PROT_EXEC, 0);

	return rc ? rc
		  : allow_when(filter, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
}

/* Threads, no processes; a signal is for itself, as in abort(3). */
static int allow_threads(scmp_filter_ctx filter)
{
	int rc = allow_when(filter, SCMP_SYS(clone), 0, CLONE_THREAD,
			    CLONE_THREAD);

	/* Its flags lie in memory: libc goes back to clone(2). */
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
				      SCMP_SYS(clone3), 0);
	if (rc == 0)
		rc = allow_when(filter, SCMP_SYS(tgkill), 0, UINT32_MAX,
				(uint64_t)getpid());
	/* The next supervisor takes the place of the one before. */
	if (rc == 0)
		rc = allow_when(filter, SCMP_SYS(dup3), 1, UINT32_MAX,
				WORKER_SOCKET_FD);
	/* Limits are asked for, not set. */
	if (rc == 0)
		rc = allow_when(filter, SCMP_SYS(prlimit64), 2, UINT64_MAX, 0);
	return rc;
}

static int allow_sockets(scmp_filter_ctx filter, bool network)
{
	static const int families[] = { AF_UNIX, AF_INET, AF_INET6 };
	size_t nr = network ? sizeof(families) / sizeof(families[0]) : 1;
	int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(connect), 0);

	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW,
				      SCMP_SYS(setsockopt), 0);
	for (size_t i = 0; rc == 0 && i < nr; i++)
		rc = allow_when(filter, SCMP_SYS(socket), 0, UINT32_MAX,
				(uint64_t)families[i]);
	return rc;
}

int sandbox_enter_syscalls(const struct sandbox *sandbox)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int rc;

	if (!filter)
		return -ENOMEM;
	rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A tree of comparisons: each call is looked up. */
	if (rc == 0)
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (rc == 0)
		rc = allow_calls(filter);
	if (rc == 0)
		rc = allow_requests(filter);
	if (rc == 0)
		rc = allow_memory(filter);
	if (rc == 0)
		rc = allow_threads(filter);
	if (rc == 0 && (sandbox->network || sandbox->sockets))
		rc = allow_sockets(filter, sandbox->network);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc;
}
