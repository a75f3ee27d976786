/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vbd seen from the supervisor: its XenStore handshake and its worker.
 *
 * A vbd is looked at again (vbd_check) whenever anything may have changed: it
 * reads the nodes, compares them with what its worker has reached, and takes
 * the next step.  Events are only a reason to look.
 *
 * Supervisor's thread.  Source: xen/include/public/io/xenbus.h and blkif.h,
 * and what libxl and Linux do with them (docs/xenstore.md).
 */
#ifndef XEN_DISKD_VBD_H
#define XEN_DISKD_VBD_H

#include "blkback/child-process.h"
#include "blkback/worker-process.h"
#include "common/log.h"
#include "xenstore-watch/xenstore.h"

#include <xen/io/xenbus.h>

struct backend;

/* 64 bits in hexadecimal, and a NUL. */
#define VBD_MARK_BYTES 17

/*
 * A kind of backend node: a row for each directory under backend/ that a
 * toolstack may put our vbds in.
 */
struct vbd_kind {
	const char *name;
	/* libxl puts this in front of the target in `params`. */
	const char *params_prefix;
	/* Linux has a backend driver of its own for such nodes. */
	bool kernel_claims;
};

/* How far the worker is, as its messages told. */
enum vbd_worker_state {
	VBD_WORKER_NONE, /* not started, or ended as asked */
	VBD_WORKER_OPENING, /* the provider is being opened */
	VBD_WORKER_READY, /* open, not connected */
	VBD_WORKER_CONNECTING,
	VBD_WORKER_CONNECTED,
	VBD_WORKER_DISCONNECTING,
	VBD_WORKER_FENCING, /* waits for what one before has under way */
	VBD_WORKER_QUITTING, /* asked to end */
	VBD_WORKER_ADOPTING, /* an earlier supervisor's, not yet heard */
	VBD_WORKER_DEAD, /* ended unasked, or could not be started */
};

/* Its backend directory. */
enum vbd_directory {
	VBD_UNPUBLISHED, /* of an attach of ours: not yet there */
	VBD_PUBLISHED,
	VBD_REMOVED, /* or never to be: the vbd ends with its worker */
};

/* A barrier between state 2 and state 4: see vbd_hotplug_add(). */
enum vbd_hotplug {
	VBD_HOTPLUG_AWAITED,
	VBD_HOTPLUG_DONE,
};

/* What an operator changes, one at a time: see vbd-change.c. */
enum vbd_change {
	VBD_CHANGE_NONE,
	VBD_CHANGE_SIZE,
	VBD_CHANGE_LIMITS,
	/* Its worker: see vbd-upgrade.c. */
	VBD_CHANGE_TRYING, /* the new program is run for a trial */
	VBD_CHANGE_MOVING,
};

/* What is served is kept from being taken away: see vbd-hold.c. */
enum vbd_hold {
	VBD_HOLD_NONE,
	VBD_HOLD_TAKING,
	VBD_HOLD_HELD,
	VBD_HOLD_RELEASING,
};

struct vbd {
	struct list node; /* in the backend's list */
	struct backend *backend;
	int slot; /* no other vbd has it now; -1: none yet */
	const struct vbd_kind *kind;
	uint16_t domid; /* of the frontend */
	uint32_t devid;
	char *path, *frontend_path, *target;
	bool read_only, cdrom, no_discard;

	/* What we last wrote to or read from our `state` node. */
	enum xenbus_state state;
	enum vbd_directory directory;
	enum vbd_hotplug hotplug;
	/* In a driver domain: state 2 is kept until then.  0: not begun. */
	uint64_t dwell_until_ms;
	bool dirty; /* to be checked */
	uint64_t due_ms; /* to be checked then; 0: no such time */
	bool refused; /* another backend has it: only watch it go */

	struct xenstore_watch frontend_watch;
	char *frontend_state_path;
	bool frontend_wrote; /* since it was looked at for a new ring */
	/* Then not before: for such a look, and to connect it. */
	uint64_t look_ms, connect_ms;
	/* The frontend was seen Connected on this connection. */
	bool frontend_connected;
	/* It has a new ring; the old one is being let go of. */
	bool reconnecting;
	/* The guest has let go of this connection, or was at fault on it. */
	bool over;
	/* It has let go, and only the fence needs a worker still. */
	bool let_go;

	struct worker_process *worker;
	enum vbd_worker_state worker_state;
	pid_t worker_pid; /* also of one that has ended */
	/*
	 * It has ended, and the guest uses the ring still: params and in-flight
	 * table are of the connection that its successor takes over.
	 */
	bool left;
	/* ->info is of what the guest uses: until it lets go no other will do. */
	bool pinned;
	/* All that was taken is answered, which could not be written down yet. */
	bool answered;
	/* A worker before may have I/O under way; none has connected since. */
	bool unfenced;
	bool settled; /* it has not: see vbd_worker_settled() */
	uint64_t settle_until_ms; /* to find that out; 0: not begun */
	unsigned int nr_deaths; /* one soon after the other */
	unsigned int nr_early; /* likewise, and none had served */
	uint64_t served_ms; /* since when; 0: it does not */
	uint64_t restart_ms; /* not before; 0: at once */
	bool listens; /* for the next supervisor */
	bool leaving; /* it goes on without us */
	bool retry; /* it could not begin to serve: another will try */
	bool failed; /* an error made us ask it to end: there is no other */
	/* It has said whether the provider could be opened. */
	bool worker_answered;
	uint64_t let_go_until_ms; /* or we kill it; 0: it has time */
	bool worker_killed; /* by us, for it had not */
	bool info_valid;
	struct block_info info;
	struct disk_stats *stats; /* shared with the worker */
	int stats_fd;
	int record_fd; /* the provider's memory, kept for its successor */
	/* What is offered; and what the frontend has made of it. */
	struct connection_limits limits;
	struct connection_params params;

	enum vbd_hold hold;
	struct child_process hold_child;
	/* The last that was, or an earlier daemon had, held; or "". */
	char held_version[BLOCK_VERSION_BYTES];

	enum vbd_change change; /* under way */
	pid_t upgraded_pid; /* the worker that was there before */
	struct child_process trial_child;
	struct block_limits new_limits;
	/* Of the last change; "" if it went well. */
	struct error_text change_error;

	/* Of the connection: both survive the worker (vbd-journal.c). */
	int inflight_fd;
	char mark[VBD_MARK_BYTES];
	struct error_text lost; /* why an earlier one's could not be loaded */
	/* The guest uses it, and they cannot be used: it is begun anew. */
	bool anew;
	bool set_aside; /* and is kept: see vbd_journal_put_back() */

	bool has_error;
	/* The error is the disk's own, and stays until it is detached. */
	bool disk_failed;
	/* It is of a request that was given up, and stays as long as the worker. */
	bool poisoned;
	struct error_text error;
	/* Of messages that a guest can cause: errors, and all others. */
	struct log_limit error_limit, info_limit;
};

/*
 * Makes a vbd that is in no list yet; frontend and target are copied.  The
 * caller owns it.  NULL when there is no memory.
 */
struct vbd *vbd_new(struct backend *backend, const struct vbd_kind *kind,
		    uint16_t domid, uint32_t devid, const char *target,
		    bool read_only);
/* Its worker must have ended.  NULL is a no-op. */
void vbd_free(struct vbd *vbd);

/* Reads the rest of a node that is in XenStore, and watches its frontend. */
int vbd_adopt(struct vbd *vbd);

/* Looks at everything again and takes the next step. */
void vbd_check(struct vbd *vbd);

/* Starts the worker and has it open the provider. */
void vbd_open(struct vbd *vbd);

/* Asks the worker, if there is one, to end. */
void vbd_quit(struct vbd *vbd);

/* Lets a worker that a guest uses go on without us; asks any other to end. */
void vbd_leave(struct vbd *vbd);

/*
 * The toolstack's hotplug script has run, which proves that the toolstack has
 * seen state 2: from now on the vbd may go on to state 4.  Only for a vbd
 * whose provider is open.
 */
int vbd_hotplug_add(struct vbd *vbd);

/*
 * Has the worker look at the size anew; ->change is set until it has, and the
 * guest is told.  -ENODEV for a disk that is not served, -EBUSY while another
 * is under way, and those of the worker's socket, with a message.
 */
int vbd_resize(struct vbd *vbd, bool may_shrink, struct error_text *err);

/*
 * Sets limits, until the worker ends; they hold when ->change is not set any
 * more.  Errors as above.
 */
int vbd_limit(struct vbd *vbd, const struct block_limits *limits,
	      struct error_text *err);

/*
 * Moves the disk to a worker of the program that is installed now; over when
 * ->change is not set any more.  Errors as above, and of starting it.
 */
int vbd_upgrade(struct vbd *vbd, struct error_text *err);

/* The provider could not be opened, or the node cannot be ours. */
bool vbd_failed(const struct vbd *vbd);

/* The guest uses a ring that no worker serves: one is to take it up. */
bool vbd_is_left(const struct vbd *vbd);

/* No process, mapping or port is left that belongs to it. */
bool vbd_idle(const struct vbd *vbd);

/* Stops holding what it serves; true when nothing is held any more. */
bool vbd_hold_release(struct vbd *vbd);

/*
 * Removes the files of connections whose disks are gone, and ends workers that serve
 * them still.  When those that are there have been found.
 */
void vbd_journal_clean(struct backend *backend);

const char *vbd_state_name(enum xenbus_state state);
const char *vbd_worker_state_name(enum vbd_worker_state state);

#endif
