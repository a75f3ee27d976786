/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving a disk to the worker program that is installed now.  The program is
 * tried first, while the old worker serves, and opens the image if that is a file
 * or a device; not what a server exports, which may have one client alone, and no
 * repository, which takes its time.  Then the old worker answers what it has taken,
 * lets go of the ring, and ends, and another takes the ring up where it stands.  An
 * old worker that has not done so in time is killed: what it had in flight is
 * carried out again by the new one, as after any other death.
 */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* After which the trial is killed; it has ended when the kernel lets it. */
#define TRIAL_MS 5000u

static bool old_is_there(const struct vbd *vbd)
{
	return vbd->worker && vbd->worker_pid == vbd->upgraded_pid;
}

/* The disk is as it was, with another worker; or it needs none. */
static bool is_moved(const struct vbd *vbd)
{
	return vbd->worker_state == VBD_WORKER_CONNECTED ||
	       (vbd->worker_state == VBD_WORKER_READY && !vbd_is_left(vbd)) ||
	       (vbd->worker_state == VBD_WORKER_NONE && !vbd_is_left(vbd) &&
		(vbd->state == XenbusStateClosing ||
		 vbd->state == XenbusStateClosed));
}

static void check_old(struct vbd *vbd)
{
	if (vbd->worker_state == VBD_WORKER_READY)
		vbd_quit(vbd);
	else
		vbd_worker_detach(vbd);
}

void vbd_upgrade_check(struct vbd *vbd)
{
	if (vbd->change != VBD_CHANGE_MOVING)
		return;
	if (old_is_there(vbd)) {
		check_old(vbd);
	} else if (vbd->worker_state == VBD_WORKER_DEAD) {
		vbd_change_failed(vbd, vbd->error.text);
	} else if (is_moved(vbd)) {
		vbd_changed(vbd);
	}
}

static void move(struct vbd *vbd)
{
	/* One that has died meanwhile is replaced already. */
	vbd->change = VBD_CHANGE_MOVING;
	vbd_log(LOG_LEVEL_INFO, vbd, "worker (pid %d) is replaced",
		vbd->upgraded_pid);
	backend_touch(vbd);
}

static void on_trial_exited(struct child_process *child, int wait_status)
{
	struct vbd *vbd = container_of(child, struct vbd, trial_child);

	if (child->timed_out)
		vbd_change_failed(vbd,
				  "the new worker does not start: it hangs");
	else if (WIFEXITED(wait_status) &&
		 WEXITSTATUS(wait_status) == WORKER_EXIT_VERSION)
		vbd_change_failed(vbd, VBD_OTHER_VERSION);
	else if (wait_status)
		vbd_change_failed(vbd, "the new worker does not start, or "
				       "cannot open what is served; what it "
				       "said is in the log");
	else if (!vbd->worker || vbd->directory == VBD_REMOVED)
		vbd_change_failed(vbd, "the worker has ended");
	else
		move(vbd);
}

int vbd_upgrade(struct vbd *vbd, struct error_text *err)
{
	char identity[BLOCK_IDENTITY_BYTES], version[16];
	char *argv[] = { (char *)"xen-diskd-worker",
			 (char *)"try",
			 version,
			 vbd->target,
			 (char *)(vbd->read_only ? "r" : "w"),
			 identity,
			 NULL };
	char program[PATH_MAX];
	int rc = vbd_change_begin(vbd, err);

	if (rc < 0)
		return rc;
	vbd_worker_path(vbd, program);
	snprintf(version, sizeof(version), "%u", WORKER_MESSAGE_VERSION);
	block_identity_print(&vbd->info.identity, identity);
	if (vbd->info.identity.kind == BLOCK_IDENTITY_NONE)
		argv[3] = NULL;
	vbd->trial_child.exited = on_trial_exited;
	rc = child_process_spawn(&vbd->trial_child, vbd->backend->loop, program,
				 argv, -1, -1);
	if (rc < 0)
		return error_set(err, rc, "vbd %u/%u: start worker '%s': %s",
				 vbd->domid, vbd->devid, program,
				 strerror(-rc));
	child_process_limit(&vbd->trial_child, TRIAL_MS);
	vbd->upgraded_pid = vbd->worker_pid;
	vbd->change = VBD_CHANGE_TRYING;
	return 0;
}
