/* SPDX-License-Identifier: BSD-2-Clause */
/* The handshake of one vbd: what XenStore says, and the next step. */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"
#include "blkback/negotiate.h"
#include "common/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * In a driver domain no script tells that the toolstack has seen state 2, which
 * it would miss if 4 followed at once: it is kept for longer than the toolstack
 * takes to look.
 */
#define DWELL_MS 500u

/*
 * To read where a guest's rings are may take hundreds of round trips to xenstored, and
 * to connect it megabytes of files; whoever's worker has died waits for that.  For a
 * guest that writes its state without end it is done this often.
 */
#define FRONTEND_MS 100u

/* The first time it is, at once; false: the vbd is checked again when it is. */
static bool is_due(struct vbd *vbd, uint64_t *not_before_ms)
{
	uint64_t now;

	if (!vbd->frontend_wrote)
		return true;
	now = clock_now_ms();
	if (now < *not_before_ms) {
		backend_touch_after(vbd, *not_before_ms - now);
		return false;
	}
	*not_before_ms = now + FRONTEND_MS;
	vbd->frontend_wrote = false;
	return true;
}

/* A backend driver of the kernel is bound to the node: it has the ring. */
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

bool vbd_refuse_held(struct vbd *vbd)
{
	if (!kernel_holds(vbd))
		return false;
	vbd->refused = true;
	vbd_worker_fail(vbd);
	vbd_error(vbd, "the kernel's xen-blkback holds this node; see "
		       "xen-diskctl setup-modprobe, or attach with "
		       "backendtype=tap (Xen 4.19 or later) or xen-diskctl");
	return true;
}

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
	snap->frontend_garbage = rc == -EINVAL || rc == -ERANGE;
	if (rc < 0 && !snap->frontend_gone && !snap->frontend_garbage)
		return rc;
	snap->frontend_state =
		rc < 0 ? XenbusStateUnknown : (enum xenbus_state)value;
	return 0;
}

static void set_limits(struct vbd *vbd)
{
	const struct worker_program *program = vbd_worker_program(vbd);

	vbd->limits = vbd->backend->options.limits;
	if (vbd->limits.queues > program->max_queues)
		vbd->limits.queues = program->max_queues;
}

static int write_offer(struct xenstore *xs, xs_transaction_t tx,
		       struct vbd *vbd)
{
	set_limits(vbd); /* what was offered before is not any more */
	return negotiate_offer(xs, tx, vbd->path, &vbd->limits);
}

static int write_disk(struct xenstore *xs, xs_transaction_t tx, struct vbd *vbd)
{
	int rc = negotiate_publish_disk(xs, tx, vbd->path, &vbd->info,
					vbd->cdrom);

	if (!rc && vbd->info.version[0])
		rc = xenstore_write(xs, tx, vbd->path, "version",
				    vbd->info.version);
	return rc;
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

/* A frontend that is at its start again let go of what it had before. */
static bool frontend_let_go(const struct snapshot *snap)
{
	return frontend_closed(snap) ||
	       snap->frontend_state == XenbusStateInitialising;
}

/* In state 2: the toolstack has seen it. */
static bool barrier_passed(struct vbd *vbd)
{
	uint64_t now;

	if (!backend_in_driver_domain(vbd->backend))
		return vbd->hotplug == VBD_HOTPLUG_DONE;
	now = clock_now_ms();
	if (!vbd->dwell_until_ms)
		vbd->dwell_until_ms = now + DWELL_MS;
	if (now < vbd->dwell_until_ms)
		backend_touch_after(vbd, vbd->dwell_until_ms - now);
	return now >= vbd->dwell_until_ms;
}

/*
 * In a driver domain, state 2 alone tells the toolstack that the disk is there:
 * it comes when the target is open.  Should it not come within the 10 s that
 * libxl waits, xl fails, as it has to for a target that cannot be opened.
 */
static bool check_opened_first(struct vbd *vbd)
{
	if (!backend_in_driver_domain(vbd->backend))
		return true;
	if (vbd->worker_state == VBD_WORKER_NONE)
		vbd_open(vbd);
	return vbd->info_valid;
}

static void check_initialising(struct vbd *vbd)
{
	if (vbd_refuse_held(vbd) || !check_opened_first(vbd))
		return;
	vbd_switch(vbd, XenbusStateInitWait, write_offer);
	vbd_open(vbd);
}

/* The guest has: so do we, and whoever served it before. */
static void let_go(struct vbd *vbd)
{
	vbd->let_go = true;
	vbd->pinned = false;
	vbd_connection_over(vbd);
	if (vbd_worker_detach(vbd) && vbd_worker_settled(vbd))
		vbd_switch(vbd, XenbusStateClosed, NULL);
}

static bool same_ring(const struct connection_params *a,
		      const struct connection_params *b)
{
	return a->nr_queues == b->nr_queues && a->ring_pages == b->ring_pages &&
	       !strcmp(a->protocol, b->protocol) &&
	       !memcmp(a->queues, b->queues,
		       a->nr_queues * sizeof(a->queues[0]));
}

/* Not to be told where it is not known which one it had. */
static bool has_new_ring(const struct vbd *vbd)
{
	struct connection_params now = { .nr_queues = 0 };
	struct error_text err;

	return vbd->params.nr_queues &&
	       !negotiate_read_frontend(vbd->backend->xs, vbd->frontend_path,
					&vbd->limits, &now, &err) &&
	       !same_ring(&now, &vbd->params);
}

/*
 * What a worker was connected to is in use before the guest is told of it: a guest
 * that has resumed does not wait for that.  Any other has asked for nothing yet.
 */
static bool has_begun(const struct vbd *vbd, const struct snapshot *snap)
{
	return snap->frontend_state == XenbusStateConnected &&
	       !has_new_ring(vbd);
}

/* What was in its worker's way is over with a ring that is not there any more. */
static void drop_left(struct vbd *vbd)
{
	vbd_connection_over(vbd);
	if (vbd->worker_state == VBD_WORKER_DEAD && has_new_ring(vbd))
		vbd_worker_set_state(vbd, VBD_WORKER_NONE);
}

/*
 * The guest still uses what the worker that died had: another takes it up.
 * False when there is nothing to take up, or nobody to do it.
 */
static bool go_on(struct vbd *vbd)
{
	if (!vbd->left || vbd->worker_state == VBD_WORKER_DEAD)
		return false;
	if (vbd->worker_state == VBD_WORKER_NONE)
		vbd_open(vbd);
	else if (vbd->worker_state == VBD_WORKER_READY)
		vbd_worker_connect(vbd, QUEUE_LEFT);
	return true;
}

/*
 * The guest still uses what was connected by a daemon of another version, or what
 * is not known any more: that is connected anew, which fails unless all that the
 * guest has asked for is answered.  False as above.
 */
static bool begin_anew(struct vbd *vbd)
{
	if (!vbd->anew || vbd->worker_state == VBD_WORKER_DEAD)
		return false;
	if (vbd->worker_state == VBD_WORKER_NONE)
		vbd_open(vbd);
	else if (vbd->worker_state == VBD_WORKER_READY && !vbd->retry)
		vbd_worker_connect(vbd, vbd->answered ? QUEUE_ANSWERED
						      : QUEUE_DRAINED);
	return true;
}

static void check_initwait(struct vbd *vbd, const struct snapshot *snap)
{
	if (snap->frontend_state == XenbusStateClosed ||
	    (snap->frontend_gone && !snap->online)) {
		let_go(vbd);
		return;
	}
	if (snap->frontend_state == XenbusStateClosing) {
		vbd_switch(vbd, XenbusStateClosing, NULL);
		return;
	}
	if (vbd_is_left(vbd)) {
		if (!is_due(vbd, &vbd->look_ms))
			return;
		if (!has_begun(vbd, snap))
			drop_left(vbd);
	}
	if (go_on(vbd) || begin_anew(vbd))
		return;
	switch (vbd->worker_state) {
	case VBD_WORKER_NONE:
		vbd_open(vbd);
		break;
	case VBD_WORKER_READY:
		if (barrier_passed(vbd) && frontend_ready(snap) &&
		    is_due(vbd, &vbd->connect_ms) && !vbd_refuse_held(vbd))
			vbd_worker_connect(vbd, QUEUE_NEW);
		break;
	case VBD_WORKER_CONNECTED:
		/* The frontend may have turned back meanwhile. */
		if (frontend_ready(snap)) {
			vbd_switch(vbd, XenbusStateConnected, write_disk);
			break;
		}
		if (frontend_let_go(snap))
			vbd->pinned = false;
		vbd_connection_over(vbd);
		vbd_worker_detach(vbd);
		break;
	default:
		break;
	}
}

/*
 * The frontend has a new ring: a resumed guest grants everything anew and
 * does not wait for InitWait.  It goes back to Initialised, which may be
 * overwritten before it is seen, so the ring's references tell as well.  GRUB's
 * stays at Initialised for as long as it uses its ring.
 */
static bool frontend_reconnects(const struct vbd *vbd,
				const struct snapshot *snap)
{
	if (vbd->frontend_connected &&
	    snap->frontend_state == XenbusStateInitialised)
		return true;
	return (vbd->worker_state == VBD_WORKER_CONNECTED ||
		vbd_is_left(vbd)) &&
	       frontend_ready(snap) && has_new_ring(vbd);
}

/*
 * The old ring is let go of.  That there is another is written down first: whoever
 * comes next would not know the old one's any more, or still take it for this one.
 */
static void reconnect(struct vbd *vbd)
{
	vbd->reconnecting = true;
	if (vbd_journal_end(vbd) < 0)
		return;
	vbd_ring_over(vbd);
	vbd->reconnecting = !vbd_worker_detach(vbd);
	if (!vbd->reconnecting)
		vbd_switch(vbd, XenbusStateInitWait, NULL);
}

/* Back at Initialised, it has a new ring; the next daemon has to know, too. */
static void note_connected(struct vbd *vbd, const struct snapshot *snap)
{
	if (vbd->frontend_connected ||
	    snap->frontend_state != XenbusStateConnected)
		return;
	vbd->frontend_connected = true;
	vbd_log(LOG_LEVEL_DEBUG, vbd, "its driver has connected");
	vbd_journal_note(vbd);
}

static void check_connected(struct vbd *vbd, const struct snapshot *snap)
{
	note_connected(vbd, snap);
	if (frontend_let_go(snap)) {
		let_go(vbd);
	} else if (snap->frontend_state == XenbusStateClosing) {
		vbd_switch(vbd, XenbusStateClosing, NULL);
	} else if (vbd->reconnecting) {
		reconnect(vbd);
	} else if (frontend_ready(snap) && !is_due(vbd, &vbd->look_ms)) {
		return;
	} else if (frontend_reconnects(vbd, snap)) {
		reconnect(vbd);
	} else if (go_on(vbd) || begin_anew(vbd)) {
		return;
	} else if (vbd->worker_state == VBD_WORKER_NONE) {
		vbd_open(vbd);
	} else if (vbd->worker_state == VBD_WORKER_READY) {
		/* The frontend turned round while we let go. */
		vbd_switch(vbd, XenbusStateInitWait, NULL);
	}
}

/*
 * A driver that is about to connect has asked for nothing yet, and is to be told that
 * the disk goes.
 */
static void forget_left(struct vbd *vbd, const struct snapshot *snap)
{
	if (snap->frontend_state == XenbusStateInitialised &&
	    (vbd->anew || (vbd->left && frontend_reconnects(vbd, snap))))
		vbd_connection_over(vbd);
}

static void check_closing(struct vbd *vbd, const struct snapshot *snap)
{
	note_connected(vbd, snap);
	if (vbd_is_left(vbd) && frontend_ready(snap) &&
	    !is_due(vbd, &vbd->look_ms))
		return;
	forget_left(vbd, snap);
	if (frontend_let_go(snap))
		let_go(vbd);
	else if (go_on(vbd) || begin_anew(vbd))
		return;
	/* Else the frontend is using it still: keep serving, or the next does. */
	else if (vbd_worker_detached(vbd) && !snap->online &&
		 !vbd->backend->quitting)
		let_go(vbd);
}

/* Unless the toolstack has made it a new disk meanwhile. */
static int remove_directory(struct xenstore *xs, xs_transaction_t tx,
			    struct vbd *vbd)
{
	uint64_t online;
	int rc = xenstore_read_number(xs, tx, vbd->path, "online", 1, &online);

	if (!rc && online)
		rc = -ESTALE;
	return rc < 0 ? rc : xenstore_remove(xs, tx, vbd->path);
}

static void check_closed(struct vbd *vbd, const struct snapshot *snap)
{
	if (!snap->online) {
		vbd_quit(vbd);
		/* The toolstack waits for that. */
		if (vbd_idle(vbd) && backend_in_driver_domain(vbd->backend))
			vbd_write(vbd, vbd->state, remove_directory);
		return;
	}
	/* The frontend's driver was loaded again, or the guest resumed. */
	if (snap->frontend_state != XenbusStateInitialising &&
	    snap->frontend_state != XenbusStateInitialised)
		return;
	if (!vbd_worker_detach(vbd))
		return;
	vbd_clear_error(vbd);
	vbd_switch(vbd, XenbusStateInitWait, write_offer);
}

/*
 * What a guest has used, and uses still, is taken up; also what serves and was not
 * yet told of to the guest.
 */
static void read_connection(struct vbd *vbd)
{
	struct error_text err;
	int rc = -ENOENT;

	if (vbd->state == XenbusStateClosed)
		vbd_journal_remove(vbd);
	if (vbd_guest_uses(vbd) || vbd->state == XenbusStateInitWait)
		rc = vbd_journal_load(vbd, &err);
	vbd->left = !rc;
	/* A guest that has a new ring means the same disk. */
	vbd->pinned = !rc || (rc == -ESTALE && vbd->info.size_bytes);
	vbd->reconnecting = rc == -ESTALE;
	/* At Closing it is over, unless there are files. */
	vbd->anew =
		rc < 0 && !vbd->reconnecting &&
		(vbd->state == XenbusStateConnected ||
		 (vbd->state == XenbusStateClosing && vbd_journal_exists(vbd)));
	/* Of one that has no mark, nobody was ever connected. */
	vbd->unfenced = vbd->mark[0] || rc != -ENOENT ||
			vbd->state == XenbusStateConnected ||
			vbd->state == XenbusStateClosed;
	if (vbd->anew)
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"is taken up only if nothing is in flight: %s",
			err.text);
	vbd_worker_adopt(vbd);
}

/*
 * The directory is gone: nobody will ask for this vbd again.  If there is a
 * new one in its place, it is found when this one has ended.
 */
static void check_removed(struct vbd *vbd)
{
	if (vbd->directory != VBD_REMOVED)
		vbd_log(LOG_LEVEL_INFO, vbd, "removed");
	vbd->directory = VBD_REMOVED;
	vbd_connection_over(vbd);
	vbd_quit(vbd);
}

void vbd_check(struct vbd *vbd)
{
	struct snapshot snap;
	int rc;

	vbd->dirty = false;
	if (vbd->leaving)
		return;
	vbd_worker_check(vbd);
	vbd_upgrade_check(vbd);
	if (vbd->directory == VBD_UNPUBLISHED)
		return;
	if (vbd->directory == VBD_REMOVED) {
		check_removed(vbd);
		return;
	}
	rc = read_snapshot(vbd, &snap);
	if (rc == -ENOENT) {
		check_removed(vbd);
		return;
	}
	if (rc < 0) {
		if (log_limit_pass(&vbd->error_limit))
			vbd_log(LOG_LEVEL_ERROR, vbd, "read its state: %s",
				strerror(-rc));
		backend_touch_after(vbd, VBD_RETRY_MS);
		return;
	}
	if (snap.state == XenbusStateInitialising &&
	    vbd->state != XenbusStateInitialising) {
		/* Only a new node is there: ours was removed before. */
		check_removed(vbd);
		return;
	}
	vbd->state = snap.state; /* the toolstack may write it, too */
	if (vbd->worker_state == VBD_WORKER_ADOPTING && !vbd->worker)
		vbd_worker_adopt(vbd);
	if (vbd->refused || vbd->worker_state == VBD_WORKER_ADOPTING)
		return;
	/* Before and after these nobody reads it; a fault would change nothing. */
	if (snap.frontend_garbage && (vbd->state == XenbusStateInitWait ||
				      vbd->state == XenbusStateConnected)) {
		vbd_frontend_fault(vbd, "the frontend's state is not a state");
		vbd_worker_detach(vbd);
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

static int write_hotplug_status(struct xenstore *xs, xs_transaction_t tx,
				struct vbd *vbd)
{
	return xenstore_write(xs, tx, vbd->path, "hotplug-status", "connected");
}

int vbd_hotplug_add(struct vbd *vbd)
{
	int rc;

	/* It may have come between our state 2 and the toolstack's script. */
	if (vbd->state == XenbusStateInitWait && vbd_refuse_held(vbd))
		return -EBUSY;
	rc = vbd_write(vbd, vbd->state, write_hotplug_status);
	if (rc < 0)
		return rc;
	vbd->hotplug = VBD_HOTPLUG_DONE;
	backend_touch(vbd);
	return 0;
}

bool vbd_failed(const struct vbd *vbd)
{
	return vbd->worker_state == VBD_WORKER_DEAD ||
	       (vbd->worker_state == VBD_WORKER_QUITTING && vbd->has_error);
}

bool vbd_idle(const struct vbd *vbd)
{
	return !vbd->worker && !vbd_hold_running(vbd) &&
	       vbd->change != VBD_CHANGE_TRYING;
}

static void on_frontend_event(struct xenstore_watch *watch,
			      const char *changed_path)
{
	struct vbd *vbd = container_of(watch, struct vbd, frontend_watch);

	(void)changed_path;
	vbd->dirty = vbd->frontend_wrote = true;
}

/* A target that names no provider is refused by the first worker. */
const struct worker_program *vbd_worker_program(const struct vbd *vbd)
{
	char provider[PROVIDER_NAME_BYTES] = "";
	struct error_text ignored;

	provider_spec_name(vbd->target, provider, &ignored);
	return vbd->backend->options.worker_find(provider);
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
	vbd->slot = -1;
	vbd->stats_fd = vbd->inflight_fd = vbd->record_fd = -1;
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
		/* What there is in /run is not ours to end. */
		vbd->leaving = true;
		vbd_free(vbd);
		return NULL;
	}
	set_limits(vbd);
	return vbd;
}

void vbd_free(struct vbd *vbd)
{
	if (!vbd)
		return;
	assert(vbd_idle(vbd));
	xenstore_unwatch(vbd->backend->xs, &vbd->frontend_watch);
	vbd_worker_free_shared(vbd);
	free(vbd->path);
	free(vbd->frontend_path);
	free(vbd->frontend_state_path);
	free(vbd->target);
	free(vbd);
}

/* What was served, and held, when the daemon was stopped. */
static void read_version(struct vbd *vbd)
{
	char version[BLOCK_VERSION_BYTES];

	if (xenstore_read(vbd->backend->xs, XBT_NULL, vbd->path, "version",
			  version, sizeof(version)) < 0 ||
	    !version[0] || !vbd_version_is_sane(version))
		return;
	snprintf(vbd->held_version, sizeof(vbd->held_version), "%s", version);
	vbd->hold = VBD_HOLD_HELD;
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
	vbd->directory = VBD_PUBLISHED;
	vbd->state = (enum xenbus_state)state;
	if (!xenstore_read(xs, XBT_NULL, vbd->path, "device-type", value,
			   sizeof(value)))
		vbd->cdrom = !strcmp(value, "cdrom");
	/* xl's no-discard. */
	if (!xenstore_read(xs, XBT_NULL, vbd->path, "discard-enable", value,
			   sizeof(value)))
		vbd->no_discard = !strcmp(value, "0");
	if (!xenstore_read(xs, XBT_NULL, vbd->path, "hotplug-status", value,
			   sizeof(value)) &&
	    !strcmp(value, "connected"))
		vbd->hotplug = VBD_HOTPLUG_DONE;
	read_version(vbd);
	if (!xenstore_read(xs, XBT_NULL, vbd->path, "error", vbd->error.text,
			   sizeof(vbd->error.text)))
		vbd->has_error = true;
	/* Of a daemon that had other limits. */
	if (vbd->state != XenbusStateInitialising)
		negotiate_honour_offer(xs, vbd->path, &vbd->limits);
	vbd->frontend_watch.path = vbd->frontend_state_path;
	vbd->frontend_watch.fired = on_frontend_event;
	rc = xenstore_watch(xs, &vbd->frontend_watch);
	/* One of our own is open before there is a node. */
	if (!rc && !vbd->worker)
		read_connection(vbd);
	return rc;
}
