/* SPDX-License-Identifier: BSD-2-Clause */
/* The handshake of one vbd and the life of its worker. */
#include "blkback/vbd.h"

#include "blkback/backend.h"
#include "blkback/negotiate.h"
#include "common/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* ---- names and messages -------------------------------------------- */

const char *vbd_state_name(enum xenbus_state state)
{
	static const char *const names[] = {
		[XenbusStateUnknown] = "Unknown",
		[XenbusStateInitialising] = "Initialising",
		[XenbusStateInitWait] = "InitWait",
		[XenbusStateInitialised] = "Initialised",
		[XenbusStateConnected] = "Connected",
		[XenbusStateClosing] = "Closing",
		[XenbusStateClosed] = "Closed",
		[XenbusStateReconfiguring] = "Reconfiguring",
		[XenbusStateReconfigured] = "Reconfigured",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "?";
}

const char *vbd_worker_state_name(enum vbd_worker_state state)
{
	static const char *const names[] = {
		[VBD_WORKER_NONE] = "none",
		[VBD_WORKER_OPENING] = "opening",
		[VBD_WORKER_READY] = "ready",
		[VBD_WORKER_CONNECTING] = "connecting",
		[VBD_WORKER_CONNECTED] = "connected",
		[VBD_WORKER_DISCONNECTING] = "disconnecting",
		[VBD_WORKER_QUITTING] = "quitting",
		[VBD_WORKER_DEAD] = "dead",
	};

	return names[state];
}

#define vbd_log(level, vbd, fmt, ...)                                   \
	log_write(level, "vbd %u/%u: " fmt, (vbd)->domid, (vbd)->devid, \
		  ##__VA_ARGS__)

static void vbd_changed(struct vbd *vbd)
{
	backend_touch(vbd);
}

/* ---- guarded writes to the backend directory ------------------------ */

struct guarded_write {
	struct vbd *vbd;
	enum xenbus_state new_state;
	/* Writes more nodes in the same transaction; may be NULL. */
	int (*more)(struct xenstore *xs, xs_transaction_t tx, struct vbd *vbd);
};

/*
 * Never writes into a directory that was removed, or over a state that the
 * toolstack has changed meanwhile: -ENOENT and -ESTALE, and nothing is
 * written.
 */
static int guarded_body(struct xenstore *xs, xs_transaction_t tx, void *arg)
{
	const struct guarded_write *write = arg;
	struct vbd *vbd = write->vbd;
	uint64_t state;
	int rc = xenstore_read_number(xs, tx, vbd->path, "state",
				      XenbusStateReconfigured, &state);

	if (rc < 0)
		return rc;
	if (state != vbd->state)
		return -ESTALE;
	if (write->more) {
		rc = write->more(xs, tx, vbd);
		if (rc < 0)
			return rc;
	}
	if (write->new_state == vbd->state)
		return 0;
	return xenstore_printf(xs, tx, vbd->path, "state", "%d",
			       (int)write->new_state);
}

static int vbd_write(struct vbd *vbd, enum xenbus_state new_state,
		     int (*more)(struct xenstore *, xs_transaction_t,
				 struct vbd *))
{
	struct guarded_write write = { vbd, new_state, more };
	int rc;

	if (!vbd->published)
		return -ENOENT;
	rc = xenstore_transaction(vbd->backend->xs, guarded_body, &write);
	if (rc < 0 && rc != -ENOENT && rc != -ESTALE)
		vbd_log(LOG_LEVEL_ERROR, vbd, "write to '%s': %s", vbd->path,
			strerror(-rc));
	return rc;
}

/* Which state may follow which, as far as we write it. */
static bool transition_allowed(enum xenbus_state from, enum xenbus_state to)
{
	switch (to) {
	case XenbusStateInitWait: /* also: reconnect, and driver reload */
		return from == XenbusStateInitialising ||
		       from == XenbusStateConnected ||
		       from == XenbusStateClosed;
	case XenbusStateConnected:
		return from == XenbusStateInitWait;
	case XenbusStateClosing:
		return from == XenbusStateInitWait ||
		       from == XenbusStateConnected;
	case XenbusStateClosed:
		return from != XenbusStateClosed;
	default:
		return false;
	}
}

/*
 * The one place where a vbd's state changes by our doing.  When the toolstack
 * was faster nothing is written, and its watch event brings us back here.
 */
static void vbd_switch(struct vbd *vbd, enum xenbus_state to,
		       int (*more)(struct xenstore *, xs_transaction_t,
				   struct vbd *))
{
	assert(transition_allowed(vbd->state, to));
	if (vbd_write(vbd, to, more) < 0)
		return;
	vbd_log(LOG_LEVEL_DEBUG, vbd, "%s -> %s", vbd_state_name(vbd->state),
		vbd_state_name(to));
	vbd->state = to;
	vbd_changed(vbd);
}

static int write_error(struct xenstore *xs, xs_transaction_t tx,
		       struct vbd *vbd)
{
	return xenstore_write(xs, tx, vbd->path, "error", vbd->error.text);
}

static int write_hotplug_error(struct xenstore *xs, xs_transaction_t tx,
			       struct vbd *vbd)
{
	int rc = write_error(xs, tx, vbd);

	if (rc < 0)
		return rc;
	return xenstore_write(xs, tx, vbd->path, "hotplug-error",
			      vbd->error.text);
}

static int remove_error(struct xenstore *xs, xs_transaction_t tx,
			struct vbd *vbd)
{
	char path[XENSTORE_PATH_BYTES];

	snprintf(path, sizeof(path), "%s/error", vbd->path);
	return xenstore_remove(xs, tx, path);
}

/* Keeps the message for `list`, logs it, and writes it beside the state. */
__attribute__((format(printf, 2, 3))) static void
vbd_error(struct vbd *vbd, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(vbd->error.text, sizeof(vbd->error.text), fmt, ap);
	va_end(ap);
	vbd->has_error = true;
	if (log_limit_pass(&vbd->error_limit))
		vbd_log(LOG_LEVEL_ERROR, vbd, "%s", vbd->error.text);
	vbd_write(vbd, vbd->state,
		  vbd->hotplug == VBD_HOTPLUG_AWAITED ? write_hotplug_error
						      : write_error);
	vbd_changed(vbd);
}

static void vbd_clear_error(struct vbd *vbd)
{
	if (!vbd->has_error || vbd->disk_failed)
		return;
	vbd->has_error = false;
	vbd_write(vbd, vbd->state, remove_error);
}

/* ---- the worker ----------------------------------------------------- */

static void set_worker_state(struct vbd *vbd, enum vbd_worker_state state)
{
	vbd_log(LOG_LEVEL_DEBUG, vbd, "worker %s -> %s",
		vbd_worker_state_name(vbd->worker_state),
		vbd_worker_state_name(state));
	vbd->worker_state = state;
	vbd_changed(vbd);
}

void vbd_quit(struct vbd *vbd)
{
	if (!vbd->worker || vbd->worker_state == VBD_WORKER_QUITTING)
		return;
	worker_process_quit(vbd->worker);
	set_worker_state(vbd, VBD_WORKER_QUITTING);
}

/*
 * A backend driver of the kernel has bound itself to the node: it has the
 * ring, or will.  Two backends on one ring destroy the guest's data.
 */
static bool kernel_holds(const struct vbd *vbd)
{
	char path[128];

	if (!vbd->kind->kernel_claims)
		return false;
	snprintf(path, sizeof(path),
		 "/sys/bus/xen-backend/devices/%s-%u-%u/driver",
		 vbd->kind->name, vbd->domid, vbd->devid);
	return access(path, F_OK) == 0;
}

static bool refuse_held(struct vbd *vbd)
{
	if (!kernel_holds(vbd))
		return false;
	vbd->refused = true;
	if (vbd->worker)
		vbd_quit(vbd);
	else
		set_worker_state(vbd, VBD_WORKER_DEAD);
	vbd_error(vbd,
		  "the kernel's xen-blkback holds this node; see "
		  "xen-diskctl setup-modprobe, or attach with xen-diskctl");
	return true;
}

/* The provider is open: may we serve it? */
static void on_opened(struct vbd *vbd, const struct block_info *info)
{
	const struct vbd *other;

	vbd->info = *info;
	other = backend_conflict(vbd);
	if (other) {
		vbd_error(vbd,
			  "target '%s': the same image is attached as "
			  "vbd %u/%u, and not both are read-only; share=yes "
			  "in the target allows it",
			  vbd->target, other->domid, other->devid);
		vbd_quit(vbd);
		return;
	}
	vbd->info_valid = true;
	set_worker_state(vbd, VBD_WORKER_READY);
	vbd_log(LOG_LEVEL_INFO, vbd, "opened '%s', %llu bytes, %s", vbd->target,
		(unsigned long long)info->size_bytes,
		info->read_only ? "read-only" : "read-write");
}

static void on_connected(struct vbd *vbd)
{
	set_worker_state(vbd, VBD_WORKER_CONNECTED);
	vbd_clear_error(vbd);
	if (!log_limit_pass(&vbd->info_limit))
		return;
	vbd_log(LOG_LEVEL_INFO, vbd,
		"connected, protocol %s, %u queue%s of "
		"%u page%s",
		connection_abi(&vbd->params)->protocol, vbd->params.nr_queues,
		vbd->params.nr_queues > 1 ? "s" : "", vbd->params.ring_pages,
		vbd->params.ring_pages > 1 ? "s" : "");
}

/* The guest is at fault: say so, and let go of it. */
static void frontend_fault(struct vbd *vbd, const char *cause)
{
	vbd_error(vbd, "%s", cause);
	if (vbd->state == XenbusStateInitWait ||
	    vbd->state == XenbusStateConnected)
		vbd_switch(vbd, XenbusStateClosing, NULL);
}

static void on_connect_failed(struct vbd *vbd, const char *cause)
{
	set_worker_state(vbd, VBD_WORKER_READY);
	if (refuse_held(vbd))
		return; /* the kernel's driver was faster */
	if (!vbd->params.resume) {
		frontend_fault(vbd, cause);
		return;
	}
	/* The guest did nothing wrong: leave its disk for the operator. */
	vbd_error(vbd,
		  "was connected when the daemon started, and cannot be "
		  "taken up: %s; detach it",
		  cause);
	vbd_quit(vbd);
}

static void worker_disconnect(struct vbd *vbd)
{
	struct worker_message message = { .type = WORKER_DISCONNECT };

	if (vbd->worker_state != VBD_WORKER_CONNECTED)
		return;
	/* A failure means that it is about to end, which is as good. */
	worker_process_send(vbd->worker, &message, -1);
	set_worker_state(vbd, VBD_WORKER_DISCONNECTING);
}

static void on_message(void *arg, const struct worker_message *message)
{
	struct vbd *vbd = arg;

	if (vbd->worker_state == VBD_WORKER_QUITTING)
		return; /* what it says no longer matters */
	switch (message->type) {
	case WORKER_OPENED:
		on_opened(vbd, &message->opened);
		break;
	case WORKER_OPEN_FAILED:
		vbd_error(vbd, "%s", message->error.text);
		vbd_quit(vbd);
		break;
	case WORKER_CONNECTED:
		on_connected(vbd);
		break;
	case WORKER_CONNECT_FAILED:
		on_connect_failed(vbd, message->error.text);
		break;
	case WORKER_DISCONNECTED:
		set_worker_state(vbd, VBD_WORKER_READY);
		break;
	case WORKER_RING_BROKEN:
		frontend_fault(vbd, message->error.text);
		worker_disconnect(vbd);
		break;
	case WORKER_DISK_FAILED:
		vbd->disk_failed = true;
		vbd_error(vbd, "%s", message->error.text);
		break;
	default:
		vbd_log(LOG_LEVEL_ERROR, vbd,
			"message %d from the worker: "
			"unknown",
			(int)message->type);
		break;
	}
}

static void drop_inflight(struct vbd *vbd)
{
	if (vbd->inflight_fd >= 0)
		close(vbd->inflight_fd);
	vbd->inflight_fd = -1;
}

static void drop_stats(struct vbd *vbd)
{
	if (vbd->stats)
		munmap(vbd->stats, sizeof(*vbd->stats));
	vbd->stats = NULL;
	if (vbd->stats_fd >= 0)
		close(vbd->stats_fd);
	vbd->stats_fd = -1;
}

static void on_exited(void *arg, int wait_status)
{
	struct vbd *vbd = arg;
	bool asked = vbd->worker_state == VBD_WORKER_QUITTING;

	worker_process_free(vbd->worker);
	vbd->worker = NULL;
	vbd->info_valid = false;
	vbd->disk_failed = false;
	if (asked && !wait_status) {
		/* An error that made us ask stands. */
		set_worker_state(vbd, vbd->has_error ? VBD_WORKER_DEAD
						     : VBD_WORKER_NONE);
		return;
	}
	set_worker_state(vbd, VBD_WORKER_DEAD);
	if (WIFSIGNALED(wait_status))
		vbd_error(vbd, "worker (pid %d) was killed by signal %d (%s)",
			  vbd->worker_pid, WTERMSIG(wait_status),
			  strsignal(WTERMSIG(wait_status)));
	else
		vbd_error(vbd, "worker (pid %d) exited with status %d",
			  vbd->worker_pid, WEXITSTATUS(wait_status));
}

/* Shared memory that cannot shrink under whoever has it mapped. */
static int sealed_memfd(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) <
		    0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static int make_stats(struct vbd *vbd)
{
	void *stats;

	drop_stats(vbd);
	vbd->stats_fd = sealed_memfd("xen-diskd-stats", sizeof(*vbd->stats));
	if (vbd->stats_fd < 0)
		return vbd->stats_fd;
	stats = mmap(NULL, sizeof(*vbd->stats), PROT_READ, MAP_SHARED,
		     vbd->stats_fd, 0);
	if (stats == MAP_FAILED)
		return -errno;
	vbd->stats = stats;
	return 0;
}

static int start_worker(struct vbd *vbd)
{
	const struct worker_process_events events = { on_message, on_exited,
						      vbd };
	const struct backend_options *options = &vbd->backend->options;
	struct worker_message message = { .type = WORKER_OPEN };
	char label[32];
	int rc = make_stats(vbd);

	if (rc < 0)
		return rc;
	snprintf(label, sizeof(label), "%u/%u", vbd->domid, vbd->devid);
	rc = worker_process_spawn(vbd->backend->loop, options->worker_program,
				  label, &events, &vbd->worker);
	if (rc < 0)
		return rc;
	vbd->worker_pid = worker_process_pid(vbd->worker);
	set_worker_state(vbd, VBD_WORKER_OPENING);
	message.open.read_only = vbd->read_only;
	message.open.flush_timeout_ms = options->flush_timeout_ms;
	snprintf(message.open.target, sizeof(message.open.target), "%s",
		 vbd->target);
	/* A failure shows as its exit. */
	worker_process_send(vbd->worker, &message, vbd->stats_fd);
	return 0;
}

void vbd_open(struct vbd *vbd)
{
	int rc;

	if (vbd->worker || vbd->backend->quitting)
		return;
	vbd_clear_error(vbd);
	if (strlen(vbd->target) >= PROVIDER_SPEC_BYTES) {
		set_worker_state(vbd, VBD_WORKER_DEAD);
		vbd_error(vbd, "target '%.64s...': longer than %d bytes",
			  vbd->target, PROVIDER_SPEC_BYTES - 1);
		return;
	}
	rc = start_worker(vbd);
	if (rc < 0) {
		set_worker_state(vbd, VBD_WORKER_DEAD);
		vbd_error(vbd, "start worker '%s': %s",
			  vbd->backend->options.worker_program, strerror(-rc));
	}
}

/* ---- the handshake -------------------------------------------------- */

/* What XenStore says now. */
struct snapshot {
	enum xenbus_state state;
	bool online;
	bool frontend_gone;
	bool frontend_garbage;
	enum xenbus_state frontend_state;
};

static int read_snapshot(struct vbd *vbd, struct snapshot *snap)
{
	struct xenstore *xs = vbd->backend->xs;
	uint64_t value;
	int rc = xenstore_read_number(xs, XBT_NULL, vbd->path, "state",
				      XenbusStateReconfigured, &value);

	if (rc < 0)
		return rc;
	*snap = (struct snapshot){ .state = (enum xenbus_state)value };
	rc = xenstore_read_number(xs, XBT_NULL, vbd->path, "online", 1, &value);
	snap->online = rc < 0 || value;
	rc = xenstore_read_number(xs, XBT_NULL, vbd->frontend_path, "state",
				  XenbusStateReconfigured, &value);
	snap->frontend_gone = rc == -ENOENT || rc == -EACCES;
	snap->frontend_garbage = rc < 0 && !snap->frontend_gone;
	snap->frontend_state =
		rc < 0 ? XenbusStateUnknown : (enum xenbus_state)value;
	return 0;
}

static int write_offer(struct xenstore *xs, xs_transaction_t tx,
		       struct vbd *vbd)
{
	return negotiate_offer(xs, tx, vbd->path);
}

static int write_disk(struct xenstore *xs, xs_transaction_t tx, struct vbd *vbd)
{
	return negotiate_publish_disk(xs, tx, vbd->path, &vbd->info,
				      vbd->cdrom);
}

/* Reads the frontend's answer and hands it to the worker. */
static void connect_worker(struct vbd *vbd, bool resume)
{
	struct worker_message message = { .type = WORKER_CONNECT };
	struct error_text err;
	int rc;

	vbd->reconnecting = vbd->frontend_connected = false;
	memset(&vbd->params, 0, sizeof(vbd->params));
	rc = negotiate_read_frontend(vbd->backend->xs, vbd->frontend_path,
				     &vbd->params, &err);
	if (rc < 0) {
		vbd->params.resume = resume;
		on_connect_failed(vbd, err.text);
		return;
	}
	vbd->params.domid = vbd->domid;
	vbd->params.resume = resume;
	drop_inflight(vbd);
	vbd->inflight_fd = sealed_memfd(
		"xen-diskd-inflight", connection_inflight_bytes(&vbd->params));
	if (vbd->inflight_fd < 0) {
		error_set(&err, vbd->inflight_fd,
			  "create the in-flight table: %s",
			  strerror(-vbd->inflight_fd));
		on_connect_failed(vbd, err.text);
		return;
	}
	message.connect = vbd->params;
	worker_process_send(vbd->worker, &message, vbd->inflight_fd);
	set_worker_state(vbd, VBD_WORKER_CONNECTING);
}

static bool frontend_ready(const struct snapshot *snap)
{
	/* Watches coalesce: 4 may be the first that we see. */
	return snap->frontend_state == XenbusStateInitialised ||
	       snap->frontend_state == XenbusStateConnected;
}

static bool frontend_closed(const struct snapshot *snap)
{
	return snap->frontend_gone || snap->frontend_state == XenbusStateClosed;
}

/* True when the worker holds nothing of the guest's. */
static bool worker_detached(const struct vbd *vbd)
{
	return vbd->worker_state != VBD_WORKER_CONNECTING &&
	       vbd->worker_state != VBD_WORKER_CONNECTED &&
	       vbd->worker_state != VBD_WORKER_DISCONNECTING &&
	       !(vbd->worker_state == VBD_WORKER_QUITTING && vbd->worker);
}

/* Gets the worker off the guest's memory; true when it is. */
static bool detach_worker(struct vbd *vbd)
{
	worker_disconnect(vbd);
	return worker_detached(vbd);
}

static void check_initialising(struct vbd *vbd)
{
	if (refuse_held(vbd))
		return;
	vbd_switch(vbd, XenbusStateInitWait, write_offer);
	vbd_open(vbd);
}

static void check_initwait(struct vbd *vbd, const struct snapshot *snap)
{
	if (snap->frontend_state == XenbusStateClosed ||
	    (snap->frontend_gone && !snap->online)) {
		if (detach_worker(vbd))
			vbd_switch(vbd, XenbusStateClosed, NULL);
		return;
	}
	if (snap->frontend_state == XenbusStateClosing) {
		vbd_switch(vbd, XenbusStateClosing, NULL);
		return;
	}
	switch (vbd->worker_state) {
	case VBD_WORKER_NONE:
		vbd_open(vbd);
		break;
	case VBD_WORKER_READY:
		if (vbd->hotplug == VBD_HOTPLUG_DONE && frontend_ready(snap) &&
		    !refuse_held(vbd))
			connect_worker(vbd, false);
		break;
	case VBD_WORKER_CONNECTED:
		/* The frontend may have turned back meanwhile. */
		if (frontend_ready(snap))
			vbd_switch(vbd, XenbusStateConnected, write_disk);
		else
			worker_disconnect(vbd);
		break;
	default:
		break;
	}
}

/* A frontend that is at its start again let go of what it had before. */
static bool frontend_let_go(const struct snapshot *snap)
{
	return frontend_closed(snap) ||
	       snap->frontend_state == XenbusStateInitialising;
}

static bool same_ring(const struct connection_params *a,
		      const struct connection_params *b)
{
	return a->nr_queues == b->nr_queues && a->ring_pages == b->ring_pages &&
	       !strcmp(a->protocol, b->protocol) &&
	       !memcmp(a->queues, b->queues,
		       a->nr_queues * sizeof(a->queues[0]));
}

/*
 * The frontend has a new ring: a resumed guest grants everything anew and
 * does not wait for InitWait.  It goes back to Initialised, which may be
 * overwritten before it is seen, so the ring's references tell as well.
 */
static bool frontend_reconnects(struct vbd *vbd, const struct snapshot *snap)
{
	struct connection_params now = { .nr_queues = 0 };
	struct error_text err;

	if (snap->frontend_state == XenbusStateConnected)
		vbd->frontend_connected = true;
	else if (vbd->frontend_connected &&
		 snap->frontend_state == XenbusStateInitialised)
		return true;
	if (vbd->worker_state != VBD_WORKER_CONNECTED || !frontend_ready(snap))
		return false;
	return !negotiate_read_frontend(vbd->backend->xs, vbd->frontend_path,
					&now, &err) &&
	       !same_ring(&now, &vbd->params);
}

static void check_connected(struct vbd *vbd, const struct snapshot *snap)
{
	if (frontend_let_go(snap)) {
		if (detach_worker(vbd))
			vbd_switch(vbd, XenbusStateClosed, NULL);
	} else if (snap->frontend_state == XenbusStateClosing) {
		vbd_switch(vbd, XenbusStateClosing, NULL);
	} else if (vbd->reconnecting || frontend_reconnects(vbd, snap)) {
		vbd->reconnecting = !detach_worker(vbd);
		if (!vbd->reconnecting)
			vbd_switch(vbd, XenbusStateInitWait, NULL);
	} else if (vbd->worker_state == VBD_WORKER_NONE) {
		vbd_open(vbd); /* the daemon was restarted */
	} else if (vbd->worker_state == VBD_WORKER_READY) {
		connect_worker(vbd, true);
	}
}

static void check_closing(struct vbd *vbd, const struct snapshot *snap)
{
	bool nothing_held = worker_detached(vbd);

	if (frontend_let_go(snap))
		nothing_held = detach_worker(vbd);
	else if (!nothing_held || snap->online)
		return; /* the frontend is using it still: keep serving */
	if (nothing_held)
		vbd_switch(vbd, XenbusStateClosed, NULL);
}

static void check_closed(struct vbd *vbd, const struct snapshot *snap)
{
	if (!snap->online) {
		vbd_quit(vbd);
		return;
	}
	/* The frontend's driver was loaded again, or the guest resumed. */
	if (snap->frontend_state != XenbusStateInitialising &&
	    snap->frontend_state != XenbusStateInitialised)
		return;
	if (!detach_worker(vbd))
		return;
	if (vbd->worker_state == VBD_WORKER_DEAD)
		set_worker_state(vbd, VBD_WORKER_NONE);
	vbd_clear_error(vbd);
	vbd_switch(vbd, XenbusStateInitWait, write_offer);
}

/*
 * The directory is gone: nobody will ask for this vbd again.  If there is a
 * new one in its place, it is found when this one has ended.
 */
static void check_removed(struct vbd *vbd)
{
	if (!vbd->removed)
		vbd_log(LOG_LEVEL_INFO, vbd, "removed");
	vbd->removed = true;
	vbd->published = false;
	if (vbd->worker)
		vbd_quit(vbd);
}

void vbd_check(struct vbd *vbd)
{
	struct snapshot snap;
	int rc;

	vbd->dirty = false;
	if (!vbd->published) {
		if (vbd->removed)
			check_removed(vbd);
		return;
	}
	rc = read_snapshot(vbd, &snap);
	if (rc == -ENOENT) {
		check_removed(vbd);
		return;
	}
	if (rc < 0) {
		vbd_log(LOG_LEVEL_ERROR, vbd, "read '%s/state': %s", vbd->path,
			strerror(-rc));
		return;
	}
	if (snap.state == XenbusStateInitialising &&
	    vbd->state != XenbusStateInitialising) {
		/* Only a new node is there: ours was removed before. */
		check_removed(vbd);
		return;
	}
	vbd->state = snap.state; /* the toolstack may write it, too */
	if (vbd->refused)
		return;
	if (snap.frontend_garbage && vbd->state != XenbusStateClosing &&
	    vbd->state != XenbusStateClosed) {
		frontend_fault(vbd, "the frontend's state is not a state");
		worker_disconnect(vbd);
		return;
	}
	switch (vbd->state) {
	case XenbusStateInitialising:
		check_initialising(vbd);
		break;
	case XenbusStateInitWait:
		check_initwait(vbd, &snap);
		break;
	case XenbusStateConnected:
		check_connected(vbd, &snap);
		break;
	case XenbusStateClosing:
		check_closing(vbd, &snap);
		break;
	case XenbusStateClosed:
		check_closed(vbd, &snap);
		break;
	default:
		break;
	}
}

/* ---- hotplug -------------------------------------------------------- */

static int write_hotplug_status(struct xenstore *xs, xs_transaction_t tx,
				struct vbd *vbd)
{
	return xenstore_write(xs, tx, vbd->path, "hotplug-status", "connected");
}

int vbd_hotplug_add(struct vbd *vbd)
{
	int rc;

	/* It may have come between our state 2 and the toolstack's script. */
	if (vbd->state == XenbusStateInitWait && refuse_held(vbd))
		return -EBUSY;
	rc = vbd_write(vbd, vbd->state, write_hotplug_status);
	if (rc < 0)
		return rc;
	vbd->hotplug = VBD_HOTPLUG_DONE;
	vbd_changed(vbd);
	return 0;
}

bool vbd_failed(const struct vbd *vbd)
{
	return vbd->worker_state == VBD_WORKER_DEAD ||
	       (vbd->worker_state == VBD_WORKER_QUITTING && vbd->has_error);
}

bool vbd_idle(const struct vbd *vbd)
{
	return !vbd->worker;
}

/* ---- life ----------------------------------------------------------- */

static void on_frontend_event(struct xenstore_watch *watch,
			      const char *changed_path)
{
	(void)changed_path;
	container_of(watch, struct vbd, frontend_watch)->dirty = true;
}

struct vbd *vbd_new(struct backend *backend, const struct vbd_kind *kind,
		    uint16_t domid, uint32_t devid, const char *target,
		    bool read_only)
{
	struct vbd *vbd = calloc(1, sizeof(*vbd));

	if (!vbd)
		return NULL;
	list_init(&vbd->node);
	vbd->backend = backend;
	vbd->kind = kind;
	vbd->domid = domid;
	vbd->devid = devid;
	vbd->read_only = read_only;
	vbd->stats_fd = vbd->inflight_fd = -1;
	vbd->target = strdup(target);
	if (asprintf(&vbd->path, "/local/domain/%u/backend/%s/%u/%u",
		     backend->domid, kind->name, domid, devid) < 0)
		vbd->path = NULL;
	if (asprintf(&vbd->frontend_path, "/local/domain/%u/device/vbd/%u",
		     domid, devid) < 0)
		vbd->frontend_path = NULL;
	if (asprintf(&vbd->frontend_state_path,
		     "/local/domain/%u/device/vbd/%u/state", domid, devid) < 0)
		vbd->frontend_state_path = NULL;
	if (!vbd->target || !vbd->path || !vbd->frontend_path ||
	    !vbd->frontend_state_path) {
		vbd_free(vbd);
		return NULL;
	}
	return vbd;
}

void vbd_free(struct vbd *vbd)
{
	if (!vbd)
		return;
	assert(!vbd->worker);
	xenstore_unwatch(vbd->backend->xs, &vbd->frontend_watch);
	drop_stats(vbd);
	drop_inflight(vbd);
	free(vbd->path);
	free(vbd->frontend_path);
	free(vbd->frontend_state_path);
	free(vbd->target);
	free(vbd);
}

int vbd_adopt(struct vbd *vbd)
{
	struct xenstore *xs = vbd->backend->xs;
	char value[32];
	uint64_t state;
	int rc = xenstore_read_number(xs, XBT_NULL, vbd->path, "state",
				      XenbusStateReconfigured, &state);

	if (rc < 0)
		return rc;
	vbd->published = true;
	vbd->state = (enum xenbus_state)state;
	if (!xenstore_read(xs, XBT_NULL, vbd->path, "device-type", value,
			   sizeof(value)))
		vbd->cdrom = !strcmp(value, "cdrom");
	if (!xenstore_read(xs, XBT_NULL, vbd->path, "hotplug-status", value,
			   sizeof(value)) &&
	    !strcmp(value, "connected"))
		vbd->hotplug = VBD_HOTPLUG_DONE;
	vbd->frontend_watch.path = vbd->frontend_state_path;
	vbd->frontend_watch.fired = on_frontend_event;
	return xenstore_watch(xs, &vbd->frontend_watch);
}
