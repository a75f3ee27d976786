/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding what a vbd serves: where others could take it away, a helper process
 * (diskd/hold-main.c) prevents that from before the vbd is connected until its
 * worker has ended.  A helper that fails, or takes too long, is logged; the vbd
 * is served all the same.
 */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* What the helper says of itself with this status is in the log already. */
#define STATUS_FAILED 1

/*
 * A FIFO in the repository or a dead NFS may keep the helper for ever; it must
 * not keep the vbd.  Less than a detach waits for.
 */
#define DEADLINE_MS 5000u

/* For an end that it did not say anything about. */
static void say_failed(const struct vbd *vbd, bool taking, int wait_status)
{
	const char *consequence = taking ? "what is served may be taken away"
					 : "what was served stays held";

	if (vbd->hold_child.timed_out)
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"hold helper had not ended after %u s and was killed: "
			"%s%s",
			DEADLINE_MS / 1000,
			taking ? "served without a hold: " : "", consequence);
	else if (WIFSIGNALED(wait_status))
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"hold helper was killed by signal %d (%s): %s",
			WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)),
			consequence);
	else if (WEXITSTATUS(wait_status) > STATUS_FAILED)
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"hold helper exited with status %d: %s",
			WEXITSTATUS(wait_status), consequence);
}

static void on_hold_exited(struct child_process *child, int wait_status)
{
	struct vbd *vbd = container_of(child, struct vbd, hold_child);
	bool taking = vbd->hold == VBD_HOLD_TAKING;

	say_failed(vbd, taking, wait_status);
	/* One that failed half-way may have left something to be released. */
	vbd->hold = taking ? VBD_HOLD_HELD : VBD_HOLD_NONE;
	backend_touch(vbd);
	if (taking)
		vbd_worker_held(vbd);
}

static int run_helper(struct vbd *vbd, const char *verb)
{
	const char *program = vbd->backend->options.hold_program;
	char label[32];
	char *argv[] = { (char *)"xen-diskd-hold",
			 (char *)(uintptr_t)verb,
			 label,
			 vbd->target,
			 vbd->held_version,
			 NULL };
	int rc;

	snprintf(label, sizeof(label), "%u/%u", vbd->domid, vbd->devid);
	vbd->hold_child.exited = on_hold_exited;
	rc = child_process_spawn(&vbd->hold_child, vbd->backend->loop, program,
				 argv, -1, -1);
	if (rc < 0)
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"start '%s' to %s what is served: %s", program, verb,
			strerror(-rc));
	else
		child_process_limit(&vbd->hold_child, DEADLINE_MS);
	return rc;
}

bool vbd_hold_running(const struct vbd *vbd)
{
	return vbd->hold == VBD_HOLD_TAKING || vbd->hold == VBD_HOLD_RELEASING;
}

bool vbd_hold_take(struct vbd *vbd)
{
	if (!vbd->info.hold_version)
		return true;
	snprintf(vbd->held_version, sizeof(vbd->held_version), "%s",
		 vbd->info.version);
	if (run_helper(vbd, "take") < 0)
		return true;
	vbd->hold = VBD_HOLD_TAKING;
	return false;
}

bool vbd_hold_release(struct vbd *vbd)
{
	if (vbd->hold == VBD_HOLD_HELD)
		vbd->hold = run_helper(vbd, "release") < 0 ? VBD_HOLD_NONE
							   : VBD_HOLD_RELEASING;
	return vbd->hold == VBD_HOLD_NONE;
}
