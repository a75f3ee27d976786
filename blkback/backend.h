/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The backend: every vbd that this daemon serves, found and followed through
 * the watch on its backend directories.
 *
 * Supervisor's thread.
 */
#ifndef XEN_DISKD_BACKEND_H
#define XEN_DISKD_BACKEND_H

#include "blkback/vbd.h"
#include "common/io-loop.h"
#include "xenstore-watch/xenstore.h"

/* Refused beyond: a bound on what one toolstack can make us spawn. */
#define BACKEND_VBDS_MAX 4096u

/* One of the programs that serve vbds; see diskd/worker-programs.c. */
struct worker_program {
	const char *suffix; /* to backend_options.worker_program */
	unsigned int max_queues; /* that its providers can serve */
};

struct backend_options {
	const char *worker_program;
	const struct worker_program *(*worker_find)(const char *provider);
	const char *hold_program;
	const char *run_dir;
	uint64_t flush_timeout_ms;
	bool sandbox; /* workers have walls, and ... */
	uint32_t first_uid; /* are users from this one on; 0: root */
	/* What a frontend may ask for at most. */
	struct connection_limits limits;
};

/* Where the nodes of a kind are. */
struct backend_directory {
	struct backend *backend;
	const struct vbd_kind *kind;
	char *path;
	struct xenstore_watch watch;
};

#define BACKEND_KINDS 2u

struct backend {
	struct xenstore *xs;
	struct io_loop *loop;
	struct backend_options options;
	uint16_t domid; /* our own */
	struct list vbds;
	unsigned int nr_vbds;
	bool slots[BACKEND_VBDS_MAX]; /* taken by a vbd */
	struct backend_directory directories[BACKEND_KINDS];
	struct xenstore_watch release_watch;
	bool rescan;
	bool quitting; /* no worker is started any more */
	/* For the first vbd that waits for a time, when one does. */
	struct io_op timer_op;

	struct log_limit log_limit;

	/* Called after any vbd has changed or gone; may be NULL. */
	void (*changed)(void *arg);
	void *changed_arg;
};

/* The kind of xl's backendtype=phy and of our own attach. */
extern const struct vbd_kind backend_kind_vbd;

/*
 * Reads our own domid and starts to watch.  xs, loop and the strings of
 * options stay the caller's and must outlive the backend.
 */
int backend_init(struct backend *backend, struct xenstore *xs,
		 struct io_loop *loop, const struct backend_options *options);
/* Every worker must have ended. */
void backend_fini(struct backend *backend);

/*
 * Takes the watch events that wait and checks every vbd that they touch.  1
 * when it wants to be called again at once, 0 when it may wait for an event,
 * or -errno when xenstored is lost.
 */
int backend_dispatch(struct backend *backend);

/* Checks again, soon: something other than XenStore has changed. */
void backend_touch(struct vbd *vbd);

/*
 * The same, once delay_ms have passed, or sooner: who needs a later look asks for
 * it again at the earlier one.
 */
void backend_touch_after(struct vbd *vbd, uint64_t delay_ms);

/*
 * We run in a driver domain: the toolstack is in another one.  It runs no
 * hotplug script for our vbds, and leaves their directories to us.
 */
bool backend_in_driver_domain(const struct backend *backend);

/* Asks every worker to end; true when none is left. */
bool backend_quit(struct backend *backend);

/* The same, but lets those go on that a guest uses. */
bool backend_leave(struct backend *backend);

struct vbd *backend_find(struct backend *backend, const struct vbd_kind *kind,
			 uint16_t domid, uint32_t devid);

/*
 * The same of whatever kind: a guest has one device of a number.  Its
 * predecessor, which is gone from XenStore, is found only where it has none.
 */
struct vbd *backend_find_device(struct backend *backend, uint16_t domid,
				uint32_t devid);

/*
 * Finds the vbd that a backend path names, relative ("backend/vbd/1/51728")
 * or absolute.  NULL when it names none of ours.
 */
struct vbd *backend_find_path(struct backend *backend, const char *path);

/* Takes vbd into the list and owns it from then on.  -ENOSPC at the bound. */
int backend_add(struct backend *backend, struct vbd *vbd);
/* Gives vbd, which is in the list, a ->slot of its own if it has none. */
void backend_take_slot(struct vbd *vbd);
/* Takes vbd, whose worker has ended, out of the list and frees it. */
void backend_remove(struct vbd *vbd);

/* Two that are shared with nobody are not. */
bool backend_same_bytes(const struct block_identity *a,
			const struct block_identity *b);

/*
 * The vbd that already serves the same bytes as `vbd`, when that is not
 * allowed: either of the two is writable, the two domains are not one virtual
 * machine (localhost migration), and the target does not say share=yes.
 */
const struct vbd *backend_conflict(const struct vbd *vbd);
/*
 * Whether another vbd (localhost migration) serves the same bytes, and so has
 * waited at the same fence: see block_provider_fence().
 */
bool backend_has_passed_fence(const struct vbd *vbd);

/* /local/domain/N/name, or the number itself. */
void backend_domain_name(struct backend *backend, uint16_t domid, char *name,
			 size_t name_bytes);

#endif
