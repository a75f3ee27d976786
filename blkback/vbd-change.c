/* SPDX-License-Identifier: BSD-2-Clause */
/* What an operator changes of a disk that is served: its size, its limits. */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"
#include "blkback/negotiate.h"

#include <errno.h>
#include <string.h>

static int check_served(const struct vbd *vbd, struct error_text *err)
{
	if (vbd->worker && vbd->info_valid &&
	    vbd->worker_state != VBD_WORKER_QUITTING)
		return 0;
	return error_set(err, -ENODEV, "vbd %u/%u: is not served", vbd->domid,
			 vbd->devid);
}

/* One at a time: no more is ever under way to the worker than it can take. */
int vbd_change_begin(const struct vbd *vbd, struct error_text *err)
{
	if (vbd->change)
		return error_set(err, -EBUSY,
				 "vbd %u/%u: is being changed already",
				 vbd->domid, vbd->devid);
	return check_served(vbd, err);
}

static int start_change(struct vbd *vbd, enum vbd_change change,
			const struct worker_message *message,
			struct error_text *err)
{
	int rc = vbd_change_begin(vbd, err);

	if (rc < 0)
		return rc;
	rc = worker_process_send(vbd->worker, message, -1);
	if (rc < 0)
		return error_set(err, rc, "vbd %u/%u: tell the worker: %s",
				 vbd->domid, vbd->devid, strerror(-rc));
	vbd->change = change;
	return 0;
}

void vbd_changed(struct vbd *vbd)
{
	vbd->change = VBD_CHANGE_NONE;
	vbd->change_error.text[0] = '\0';
	/*
	 * What it says of the connection is so still; what changes its size is not
	 * told by that from another image.
	 */
	vbd_journal_note(vbd);
	backend_touch(vbd);
}

void vbd_change_failed(struct vbd *vbd, const char *cause)
{
	vbd->change = VBD_CHANGE_NONE;
	error_set(&vbd->change_error, -EIO, "%s", cause);
	backend_touch(vbd);
}

void vbd_change_worker_ended(struct vbd *vbd)
{
	if (vbd->change == VBD_CHANGE_SIZE || vbd->change == VBD_CHANGE_LIMITS)
		vbd_change_failed(vbd, "the worker has ended");
}

/* ---- size --------------------------------------------------------------- */

int vbd_resize(struct vbd *vbd, bool may_shrink, struct error_text *err)
{
	const struct worker_message message = { .type = WORKER_RESIZE,
						.may_shrink = may_shrink };

	return start_change(vbd, VBD_CHANGE_SIZE, &message, err);
}

/*
 * The state as it is, once more: the frontend's watch on it fires, and the
 * frontend reads the size again (blkif.h; Linux's blkback_changed()).
 */
static int write_size(struct xenstore *xs, xs_transaction_t tx, struct vbd *vbd)
{
	int rc = negotiate_publish_size(xs, tx, vbd->path, &vbd->info);

	if (!rc)
		rc = xenstore_printf(xs, tx, vbd->path, "state", "%d",
				     (int)vbd->state);
	return rc;
}

void vbd_resized(struct vbd *vbd, uint64_t size_bytes)
{
	int rc = 0;

	if (vbd->change != VBD_CHANGE_SIZE)
		return;
	vbd_log(LOG_LEVEL_INFO, vbd, "resized from %llu to %llu bytes",
		(unsigned long long)vbd->info.size_bytes,
		(unsigned long long)size_bytes);
	vbd->info.size_bytes = size_bytes;
	/* Before that state it is told with all else, and after it no more. */
	if (vbd->state == XenbusStateConnected)
		rc = vbd_write(vbd, vbd->state, write_size);
	if (rc < 0 && rc != -ENOENT && rc != -ESTALE) {
		vbd_change_failed(vbd, "the guest could not be told");
		return;
	}
	vbd_changed(vbd);
}

void vbd_resize_failed(struct vbd *vbd, const char *cause)
{
	if (vbd->change == VBD_CHANGE_SIZE)
		vbd_change_failed(vbd, cause);
}

/* ---- limits ------------------------------------------------------------- */

int vbd_limit(struct vbd *vbd, const struct block_limits *limits,
	      struct error_text *err)
{
	const struct worker_message message = { .type = WORKER_LIMIT,
						.limits = *limits };
	int rc = start_change(vbd, VBD_CHANGE_LIMITS, &message, err);

	if (!rc)
		vbd->new_limits = *limits;
	return rc;
}

void vbd_limited(struct vbd *vbd)
{
	if (vbd->change != VBD_CHANGE_LIMITS)
		return;
	vbd->info.limits = vbd->new_limits;
	vbd_log(LOG_LEVEL_INFO, vbd, "limited to iops=%llu bps=%llu",
		(unsigned long long)vbd->new_limits.iops,
		(unsigned long long)vbd->new_limits.bps);
	vbd_changed(vbd);
}
