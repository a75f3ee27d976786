/* SPDX-License-Identifier: BSD-2-Clause */
/* What a vbd writes of itself: its state, guarded, and its error. */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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

struct guarded_write {
	struct vbd *vbd;
	enum xenbus_state new_state;
	vbd_write_more *more;
};

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

int vbd_write(struct vbd *vbd, enum xenbus_state new_state,
	      vbd_write_more *more)
{
	struct guarded_write write = { vbd, new_state, more };
	int rc;

	if (vbd->directory != VBD_PUBLISHED)
		return -ENOENT;
	rc = xenstore_transaction(vbd->backend->xs, guarded_body, &write);
	if (rc < 0 && rc != -ENOENT && rc != -ESTALE) {
		if (log_limit_pass(&vbd->error_limit))
			vbd_log(LOG_LEVEL_ERROR, vbd, "write to '%s': %s",
				vbd->path, strerror(-rc));
		backend_touch_after(vbd, VBD_RETRY_MS);
	}
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

bool vbd_guest_uses(const struct vbd *vbd)
{
	return vbd->state == XenbusStateConnected ||
	       vbd->state == XenbusStateClosing;
}

void vbd_switch(struct vbd *vbd, enum xenbus_state to, vbd_write_more *more)
{
	assert(transition_allowed(vbd->state, to));
	if (vbd_write(vbd, to, more) < 0)
		return;
	vbd_log(LOG_LEVEL_DEBUG, vbd, "%s -> %s", vbd_state_name(vbd->state),
		vbd_state_name(to));
	vbd->state = to;
	backend_touch(vbd);
	if (to == XenbusStateClosed) {
		vbd->pinned = false;
		vbd_connection_over(vbd);
		vbd_journal_remove(vbd);
	}
	if (to != XenbusStateInitWait)
		return;
	/* Whatever was in its worker's way is over with the old ring. */
	vbd->over = vbd->let_go = false;
	if (vbd->worker_state == VBD_WORKER_DEAD)
		vbd_worker_set_state(vbd, VBD_WORKER_NONE);
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

void vbd_error(struct vbd *vbd, const char *fmt, ...)
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
	backend_touch(vbd);
}

void vbd_clear_error(struct vbd *vbd)
{
	if (!vbd->has_error || vbd->disk_failed || vbd->poisoned)
		return;
	vbd->has_error = false;
	vbd_write(vbd, vbd->state, remove_error);
}

void vbd_frontend_fault(struct vbd *vbd, const char *cause)
{
	vbd_connection_over(vbd);
	vbd_error(vbd, "%s", cause);
	if (vbd->state == XenbusStateInitWait ||
	    vbd->state == XenbusStateConnected)
		vbd_switch(vbd, XenbusStateClosing, NULL);
}
