/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walls around a worker: what it can no longer do once it has opened what
 * it serves.  docs/architecture.md says what each wall holds off.
 *
 * Most walls are a thread's own: they are put up while there is one, and those
 * that it starts later are born inside.
 *
 * Sources: namespaces(7), capabilities(7), seccomp(2), setfsuid(2).
 */
#ifndef XEN_DISKD_SANDBOX_H
#define XEN_DISKD_SANDBOX_H

#include "common/error-text.h"

#include <stdbool.h>
#include <sys/types.h>

/* One bit a wall. */
enum sandbox_wall {
	SANDBOX_LIMITS = 1 << 0, /* of files, threads, core dumps */
	SANDBOX_DUMPABLE = 1 << 1, /* others of its uid cannot trace it */
	SANDBOX_MOUNTS = 1 << 2, /* an empty file system */
	SANDBOX_NETWORK = 1 << 3, /* a network with nothing in it */
	SANDBOX_UID = 1 << 4, /* a user of its own */
	SANDBOX_CAPABILITIES = 1 << 5, /* none, for good */
	SANDBOX_PRIVILEGES = 1 << 6, /* no_new_privs */
	SANDBOX_SYSCALLS = 1 << 7, /* seccomp */
};

/* What this build can have: a sanitizer's own runtime needs the others. */
extern const unsigned int sandbox_walls;
/* And what that reads. */
extern const char *const sandbox_runtime_paths[];

/* What has to be left to the worker. */
struct sandbox {
	unsigned int walls; /* of enum sandbox_wall */
	bool network; /* connects to other hosts: no SANDBOX_NETWORK then */
	bool sockets; /* connects to Unix sockets */
	/* 0: stays root, without a root's rights. */
	uid_t uid;
	/* Whose files it may read by path: that of the files' owner. */
	uid_t file_uid;
	gid_t file_gid;
	/*
	 * Devices that it opens later, made anew for the files' owner, or
	 * sockets.  NULL-terminated, as all lists here; NULL: none.  What does
	 * not exist is left out.
	 */
	const char *const *devices;
	/* Files and directories, read-only, that their owner can get at. */
	const char *const *paths;
};

/*
 * Puts the walls up, once the provider is open.  -errno with a message that
 * names the wall; some are up then, and the process had better end.
 */
int sandbox_enter(const struct sandbox *sandbox, struct error_text *err);

/* ---- its parts, for sandbox_enter() alone ----------------------------- */

/* Makes a root of the paths, and leaves the other. */
int sandbox_enter_mounts(const struct sandbox *sandbox);
/* Allows the system calls of a worker to all threads. */
int sandbox_enter_syscalls(const struct sandbox *sandbox);

#endif
