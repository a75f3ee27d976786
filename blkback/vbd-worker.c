/* SPDX-License-Identifier: BSD-2-Clause */
/* A vbd's worker: starting it, what it reports, its end. */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"
#include "blkback/negotiate.h"
#include "common/cleanup.h"
#include "common/clock.h"
#include "common/sealed-memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Deaths of workers that served for less are counted together. */
#define DEATHS_APART_MS 1000u
#define DEATHS_MAX 8u
/*
 * Between a death that is not the first of these and a new worker; for workers
 * that died of their own fault, or before they served, doubled with each.
 */
#define RESTART_MS UINT64_C(10)
/* Of deaths before they served: so many are told of, and more are not counted. */
#define EARLY_DEATHS_TOLD 4u
#define EARLY_DEATHS_MAX 7u
/*
 * For a worker to let go: of the ring, the disk, or, of one that was found, of
 * its silence.  A medium may be slow, or a server away.
 */
#define LET_GO_MS UINT64_C(5000)
/* For an image to be opened again, only to wait at its fence. */
#define SETTLE_MS UINT64_C(10000)

const char *vbd_worker_state_name(enum vbd_worker_state state)
{
	static const char *const names[] = {
		[VBD_WORKER_NONE] = "none",
		[VBD_WORKER_OPENING] = "opening",
		[VBD_WORKER_READY] = "ready",
		[VBD_WORKER_CONNECTING] = "connecting",
		[VBD_WORKER_CONNECTED] = "connected",
		[VBD_WORKER_DISCONNECTING] = "disconnecting",
		[VBD_WORKER_FENCING] = "fencing",
		[VBD_WORKER_QUITTING] = "quitting",
		[VBD_WORKER_ADOPTING] = "adopting",
		[VBD_WORKER_DEAD] = "dead",
	};

	return names[state];
}

void vbd_worker_set_state(struct vbd *vbd, enum vbd_worker_state state)
{
	vbd_log(LOG_LEVEL_DEBUG, vbd, "worker %s -> %s",
		vbd_worker_state_name(vbd->worker_state),
		vbd_worker_state_name(state));
	vbd->worker_state = state;
	vbd->let_go_until_ms = 0;
	backend_touch(vbd);
}

/* From now on, unless its time runs already. */
static void limit_time(struct vbd *vbd)
{
	if (vbd->let_go_until_ms)
		return;
	vbd->let_go_until_ms = clock_now_ms() + LET_GO_MS;
	backend_touch_after(vbd, LET_GO_MS);
}

/* It is safe at any time: what a worker leaves undone is written down. */
void vbd_worker_check(struct vbd *vbd)
{
	uint64_t now = clock_now_ms();

	if (!vbd->worker || !vbd->let_go_until_ms || vbd->worker_killed)
		return;
	if (now < vbd->let_go_until_ms) {
		backend_touch_after(vbd, vbd->let_go_until_ms - now);
		return;
	}
	vbd_log(LOG_LEVEL_WARNING, vbd,
		"worker (pid %d) is still %s after %u s: it is killed",
		vbd->worker_pid, vbd_worker_state_name(vbd->worker_state),
		(unsigned int)(LET_GO_MS / 1000));
	worker_process_kill(vbd->worker);
	vbd->worker_killed = true;
}

/* See connection_params. */
static uint64_t disk_number(const struct vbd *vbd)
{
	return (uint64_t)vbd->domid << 32 | vbd->devid;
}

/* It had the guest's ring, or was about to: see vbd_worker_connect(). */
static bool had_ring(const struct vbd *vbd)
{
	return vbd->worker_state == VBD_WORKER_CONNECTED ||
	       vbd->worker_state == VBD_WORKER_CONNECTING ||
	       vbd->worker_state == VBD_WORKER_DISCONNECTING ||
	       vbd->worker_state == VBD_WORKER_ADOPTING;
}

/* What a worker that may have the ring does, or has done, there is not known. */
static void doubt_ring(struct vbd *vbd)
{
	if (!had_ring(vbd))
		return;
	vbd->unfenced = true;
	vbd->answered = false;
}

/* The guest has let go, and a worker is there only to wait at the fence. */
static bool settling(const struct vbd *vbd)
{
	return vbd->let_go && vbd->unfenced && !vbd->settled &&
	       vbd->state != XenbusStateClosed;
}

void vbd_quit(struct vbd *vbd)
{
	if (!vbd->worker || vbd->leaving)
		return;
	if (vbd->worker_state == VBD_WORKER_QUITTING) {
		limit_time(vbd);
		return;
	}
	worker_process_quit(vbd->worker);
	doubt_ring(vbd);
	/*
	 * A server, a FIFO or a dead NFS may keep it in its open for ever, or
	 * another's I/O at the fence: there it hears nothing, and has nothing
	 * to lose that is not written down.
	 */
	if (!vbd->worker_answered ||
	    vbd->worker_state == VBD_WORKER_CONNECTING ||
	    vbd->worker_state == VBD_WORKER_FENCING) {
		worker_process_kill(vbd->worker);
		vbd->worker_killed = true;
	}
	vbd_worker_set_state(vbd, VBD_WORKER_QUITTING);
	limit_time(vbd);
}

/*
 * Of what it does not answer, a guest that waits for it would never hear: it has
 * its time, until the guest has let go or we are told to end.
 */
static void finish(struct vbd *vbd)
{
	vbd_quit(vbd);
	if (vbd_guest_uses(vbd))
		vbd->let_go_until_ms = 0;
}

/* One that is connected, or will be, and can be found by the next supervisor. */
void vbd_leave(struct vbd *vbd)
{
	if (!vbd->worker || !vbd->listens ||
	    (vbd->worker_state != VBD_WORKER_CONNECTED &&
	     vbd->worker_state != VBD_WORKER_CONNECTING &&
	     vbd->worker_state != VBD_WORKER_ADOPTING)) {
		vbd_quit(vbd);
		return;
	}
	if (!vbd->leaving)
		worker_process_leave(vbd->worker);
	vbd->leaving = true;
}

bool vbd_worker_detached(const struct vbd *vbd)
{
	return vbd->worker_state != VBD_WORKER_CONNECTING &&
	       vbd->worker_state != VBD_WORKER_CONNECTED &&
	       vbd->worker_state != VBD_WORKER_DISCONNECTING &&
	       vbd->worker_state != VBD_WORKER_ADOPTING &&
	       !(vbd->worker_state == VBD_WORKER_QUITTING && vbd->worker);
}

/*
 * One that cannot be told has died, which will be told, or nobody else would ever
 * tell it: false, and it has a successor.
 */
static bool tell_or_kill(struct vbd *vbd, const struct worker_message *message,
			 int fd)
{
	if (!worker_process_send(vbd->worker, message, fd))
		return true;
	worker_process_kill(vbd->worker);
	return false;
}

static void worker_disconnect(struct vbd *vbd)
{
	const struct worker_message message = { .type = WORKER_DISCONNECT };

	if (vbd->worker_state == VBD_WORKER_CONNECTED &&
	    tell_or_kill(vbd, &message, -1))
		vbd_worker_set_state(vbd, VBD_WORKER_DISCONNECTING);
	if (!vbd_worker_detached(vbd))
		limit_time(vbd);
}

bool vbd_worker_detach(struct vbd *vbd)
{
	worker_disconnect(vbd);
	return vbd_worker_detached(vbd);
}

static void worker_fence(struct vbd *vbd)
{
	const struct worker_message message = {
		.type = WORKER_FENCE,
		.disk = disk_number(vbd),
	};

	if (tell_or_kill(vbd, &message, -1))
		vbd_worker_set_state(vbd, VBD_WORKER_FENCING);
}

/* Of what is not known yet, somebody has to ask. */
static bool fence_waits(const struct vbd *vbd)
{
	return !vbd->read_only &&
	       (!vbd->info.size_bytes || vbd->info.fence_waits);
}

/* Nobody can open it, or not just now. */
static bool settle_again(struct vbd *vbd)
{
	uint64_t now = clock_now_ms();

	if (now >= vbd->settle_until_ms) {
		if (log_limit_pass(&vbd->error_limit))
			vbd_log(LOG_LEVEL_WARNING, vbd,
				"what a worker that has died had under way may "
				"still be written: nobody could wait for it");
		return false;
	}
	vbd->restart_ms = now + VBD_RETRY_MS;
	vbd_worker_set_state(vbd, VBD_WORKER_NONE);
	return true;
}

bool vbd_worker_settled(struct vbd *vbd)
{
	if (!vbd->unfenced || vbd->settled || !fence_waits(vbd))
		return true;
	/* Whoever serves the same bytes has waited for it. */
	if (backend_has_passed_fence(vbd)) {
		vbd->settled = true;
		if (vbd->worker_state == VBD_WORKER_FENCING)
			vbd_quit(vbd);
		return true;
	}
	if (!vbd->settle_until_ms)
		vbd->settle_until_ms = clock_now_ms() + SETTLE_MS;
	switch (vbd->worker_state) {
	case VBD_WORKER_NONE:
		vbd_open(vbd);
		break;
	case VBD_WORKER_OPENING:
		limit_time(vbd);
		break;
	case VBD_WORKER_READY:
		worker_fence(vbd);
		break;
	case VBD_WORKER_FENCING:
		backend_touch_after(vbd, VBD_RETRY_MS);
		break;
	case VBD_WORKER_DEAD:
		return !settle_again(vbd);
	default:
		break;
	}
	return false;
}

void vbd_worker_held(struct vbd *vbd)
{
	const struct block_info *info = &vbd->info;

	if (vbd->worker_state != VBD_WORKER_OPENING)
		return; /* it is ending meanwhile */
	vbd->info_valid = true;
	if (!vbd->left)
		vbd_clear_error(vbd);
	vbd_worker_set_state(vbd, VBD_WORKER_READY);
	vbd_log(LOG_LEVEL_INFO, vbd, "opened '%s', %s%s%llu bytes, %s",
		vbd->target, info->version, info->version[0] ? ", " : "",
		(unsigned long long)info->size_bytes,
		info->read_only ? "read-only" : "read-write");
}

bool vbd_version_is_sane(const char *version)
{
	size_t length = strnlen(version, BLOCK_VERSION_BYTES);

	return length < BLOCK_VERSION_BYTES &&
	       strspn(version, "0123456789abcdef") == length;
}

/* Where it has no identity, by what the guest has been told of it. */
static bool is_another(const struct block_info *now,
		       const struct block_info *before)
{
	if (now->identity.kind != BLOCK_IDENTITY_NONE)
		return !backend_same_bytes(&now->identity, &before->identity);
	return now->size_bytes != before->size_bytes ||
	       (before->can_flush && !now->can_flush) ||
	       (before->discard_granularity_bytes &&
		!now->discard_granularity_bytes);
}

/* The provider is open: may we serve it? */
static void on_opened(struct vbd *vbd, const struct block_info *info)
{
	bool known = vbd->info.size_bytes != 0;
	const struct vbd *other;

	/* A worker may have been taken over: it is opened once. */
	if (vbd->worker_state != VBD_WORKER_OPENING || vbd_hold_running(vbd))
		return;
	/* The name may be another image's by now. */
	if (known && (vbd_is_left(vbd) || vbd->pinned) &&
	    is_another(info, &vbd->info)) {
		vbd_error(vbd,
			  "target '%s': it is not the image any more that the "
			  "guest uses; detach it",
			  vbd->target);
		vbd_worker_fail(vbd);
		return;
	}
	if (known && settling(vbd) && is_another(info, &vbd->info)) {
		vbd_error(vbd, "target '%s': it is another image by now",
			  vbd->target);
		vbd->settle_until_ms = clock_now_ms();
		vbd_worker_fail(vbd);
		return;
	}
	vbd->info = *info;
	if (!vbd_version_is_sane(info->version)) {
		vbd_error(vbd, "the worker's version is not a hash");
		vbd_worker_fail(vbd);
		return;
	}
	other = backend_conflict(vbd);
	if (other) {
		vbd_error(vbd,
			  "target '%s': the same image is attached as "
			  "vbd %u/%u, and not both are read-only; share=yes "
			  "in the target allows it",
			  vbd->target, other->domid, other->devid);
		vbd_worker_fail(vbd);
		return;
	}
	/* Of a connection that was begun anew by what its worker had answered. */
	if (!known && vbd->left)
		vbd_journal_note(vbd);
	if (vbd_hold_take(vbd))
		vbd_worker_held(vbd);
}

/*
 * A guest that has used it waits: what its worker could wait for, such as a
 * server that is started anew, its worker's successor can, too.
 */
void vbd_worker_fail(struct vbd *vbd)
{
	vbd->failed = true;
	if (vbd->worker)
		vbd_quit(vbd);
	else
		vbd_worker_set_state(vbd, VBD_WORKER_DEAD);
}

bool vbd_is_left(const struct vbd *vbd)
{
	return vbd->left || vbd->anew;
}

void vbd_ring_over(struct vbd *vbd)
{
	vbd->over = true;
	vbd->left = vbd->anew = false;
}

void vbd_connection_over(struct vbd *vbd)
{
	if (vbd->over)
		return;
	vbd_ring_over(vbd);
	/* A guest that has a new ring means the same disk. */
	if (!vbd->pinned || vbd_journal_end(vbd) < 0)
		vbd_journal_remove(vbd);
}

/* The toolstack has been told that the disk is there. */
static bool is_attached(const struct vbd *vbd)
{
	return backend_in_driver_domain(vbd->backend) ||
	       vbd->hotplug == VBD_HOTPLUG_DONE;
}

/* The guest uses it, or may at any time: a worker's failure is not its end. */
static bool is_wanted(const struct vbd *vbd)
{
	if (vbd_is_left(vbd))
		return true;
	return !vbd->let_go &&
	       (vbd->state == XenbusStateConnected ||
		(vbd->state == XenbusStateInitWait && is_attached(vbd)));
}

/* Another worker does it, soon: what is in the way may go. */
static void try_again(struct vbd *vbd)
{
	vbd->retry = true;
	worker_process_quit(vbd->worker);
}

static void on_open_failed(struct vbd *vbd, const char *cause)
{
	vbd_error(vbd, "%s", cause);
	if (is_wanted(vbd))
		try_again(vbd);
	else
		vbd_worker_fail(vbd);
}

static void on_connected(struct vbd *vbd)
{
	vbd->left = vbd->anew = vbd->answered = vbd->unfenced = false;
	vbd->pinned = true;
	vbd_journal_forget_lost(vbd);
	vbd_worker_set_state(vbd, VBD_WORKER_CONNECTED);
	vbd->served_ms = clock_now_ms();
	/* Its queues, and the frontend, may have been faster than this. */
	if (vbd->over) {
		worker_disconnect(vbd);
		return;
	}
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

/* refused: another worker would fare no better. */
static void on_connect_failed(struct vbd *vbd, const char *cause, bool refused)
{
	char path[PATH_MAX];

	if (vbd_refuse_held(vbd))
		return; /* the kernel's driver was faster */
	/* Nobody waits for it. */
	if (vbd->over) {
		vbd_worker_set_state(vbd, VBD_WORKER_READY);
		return;
	}
	if (vbd->params.origin == QUEUE_NEW) {
		vbd_worker_set_state(vbd, VBD_WORKER_READY);
		vbd_frontend_fault(vbd, cause);
		return;
	}
	/* The table is not needed, and may be of another version. */
	if (refused && vbd->params.origin == QUEUE_LEFT && vbd->answered) {
		vbd->anew = true;
		vbd_worker_connect(vbd, QUEUE_ANSWERED);
		return;
	}
	/* The guest did nothing wrong: leave its disk for the operator. */
	vbd_journal_table_path(vbd, path);
	if (vbd->params.origin == QUEUE_LEFT)
		vbd_error(vbd,
			  "its worker has gone, and cannot be taken up from "
			  "'%s': %s%s",
			  path, cause, refused ? "; detach it" : "");
	else
		vbd_error(
			vbd,
			"was connected when the daemon started, and cannot be "
			"taken up: %s%s%s%s",
			vbd->lost.text, vbd->lost.text[0] ? ": " : "", cause,
			refused ? "; detach it" : "");
	if (refused) {
		vbd_journal_put_back(vbd);
		vbd_worker_fail(vbd);
	} else {
		try_again(vbd);
	}
}

static int map_stats(struct vbd *vbd)
{
	void *stats = mmap(NULL, sizeof(*vbd->stats), PROT_READ, MAP_SHARED,
			   vbd->stats_fd, 0);

	if (stats == MAP_FAILED)
		return -errno;
	vbd->stats = stats;
	return 0;
}

/* An earlier supervisor's worker has noticed us. */
static void on_hello(struct vbd *vbd, const struct worker_message *message,
		     int *fd)
{
	if (vbd->worker_state != VBD_WORKER_ADOPTING)
		return;
	if (message->version != WORKER_MESSAGE_VERSION ||
	    !sealed_memfd_is(*fd, sizeof(*vbd->stats))) {
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"worker (pid %d) is of another version: it finishes, "
			"and another goes on",
			vbd->worker_pid);
		finish(vbd);
		return;
	}
	vbd->stats_fd = *fd;
	*fd = -1;
	if (map_stats(vbd) < 0) {
		finish(vbd);
		return;
	}
	vbd->left = vbd->unfenced = false;
	vbd_journal_forget_lost(vbd);
	vbd_clear_error(vbd);
	vbd->info_valid = true;
	vbd->served_ms = clock_now_ms();
	vbd_worker_set_state(vbd, message->hello.disconnecting
					  ? VBD_WORKER_DISCONNECTING
					  : VBD_WORKER_CONNECTED);
	if (message->hello.disconnecting)
		limit_time(vbd);
	vbd_log(LOG_LEVEL_INFO, vbd, "worker (pid %d) has served on",
		vbd->worker_pid);
}

static void drop_record(struct vbd *vbd)
{
	if (vbd->record_fd >= 0)
		close(vbd->record_fd);
	vbd->record_fd = -1;
}

/* Instead of the one before.  Ours to keep, should the worker die. */
static void keep_record(struct vbd *vbd, int *fd)
{
	drop_record(vbd);
	if (!sealed_memfd_is_any(*fd))
		return; /* none, or not what a provider makes */
	vbd->record_fd = *fd;
	*fd = -1;
}

/* Unless the guest is done with the ring, the next worker takes it up. */
static int read_frontend(struct vbd *vbd, struct connection_params *params,
			 struct error_text *err)
{
	memset(params, 0, sizeof(*params));
	return negotiate_read_frontend(vbd->backend->xs, vbd->frontend_path,
				       &vbd->limits, params, err);
}

/* The files of a connection that has none yet, or none that are any good. */
static int prepare(struct vbd *vbd, enum queue_origin origin,
		   struct error_text *err)
{
	int rc = read_frontend(vbd, &vbd->params, err);

	vbd->params.origin = vbd->params.begun_as = origin;
	if (rc < 0)
		return rc;
	vbd->params.domid = vbd->domid;
	vbd->params.disk = disk_number(vbd);
	return vbd_journal_create(vbd, err);
}

/*
 * A worker that has let go has answered all that it had taken: who goes on begins
 * behind that, and needs no table, which may be of another version.  That is
 * written down at once, for a second one to know it, too; or, if that cannot be, is
 * remembered.
 */
static void ring_answered(struct vbd *vbd)
{
	enum queue_origin begun_as = vbd->params.begun_as;
	struct error_text err;
	int rc;

	vbd->unfenced = false;
	if (!vbd_is_left(vbd))
		return;
	if (vbd->left) {
		vbd->params.origin = vbd->params.begun_as = QUEUE_ANSWERED;
		rc = vbd_journal_create(vbd, &err);
	} else {
		backend_take_slot(vbd);
		rc = prepare(vbd, QUEUE_ANSWERED, &err);
		if (rc < 0)
			vbd->params.nr_queues = 0; /* there is no connection */
	}
	vbd->answered = rc < 0;
	if (!rc) {
		vbd->left = true;
		vbd->anew = false;
		return;
	}
	vbd->params.begun_as = begun_as;
	if (log_limit_pass(&vbd->error_limit))
		vbd_log(LOG_LEVEL_WARNING, vbd, "%s", err.text);
}

static void on_disconnected(struct vbd *vbd, bool answered)
{
	vbd->params.crashed = false;
	vbd->left = !vbd->over;
	if (answered)
		ring_answered(vbd);
	else
		vbd->unfenced = true;
	vbd_worker_set_state(vbd, VBD_WORKER_READY);
}

static void on_fenced(struct vbd *vbd)
{
	if (vbd->worker_state != VBD_WORKER_FENCING)
		return;
	vbd->settled = true;
	vbd_worker_set_state(vbd, VBD_WORKER_READY);
}

static void on_disk_failed(struct vbd *vbd, const char *cause)
{
	/* It costs a file and a transaction, and a worker may say so without end. */
	if (vbd->disk_failed && vbd->has_error)
		return;
	vbd->disk_failed = true;
	vbd_journal_update(vbd);
	vbd_error(vbd, "%s", cause);
}

static void on_message(void *arg, struct worker_message *message, int *fd)
{
	struct vbd *vbd = arg;

	/* A worker may have been taken over: its text may have no end. */
	vbd->worker_answered = true;
	if (message->type != WORKER_OPENED && message->type != WORKER_RESIZED &&
	    message->type != WORKER_HELLO)
		message->error.text[ERROR_TEXT_BYTES - 1] = '\0';

	if (vbd->worker_state == VBD_WORKER_QUITTING) {
		/* What else it says no longer matters. */
		if (message->type == WORKER_DISCONNECTED && vbd->unfenced) {
			ring_answered(vbd);
		} else if (message->type == WORKER_DISK_FAILED) {
			on_disk_failed(vbd, message->error.text);
		} else if (message->type == WORKER_RECORD) {
			keep_record(vbd, fd);
		}
		return;
	}
	switch (message->type) {
	case WORKER_HELLO:
		on_hello(vbd, message, fd);
		break;
	case WORKER_RECORD:
		keep_record(vbd, fd);
		break;
	case WORKER_OPENED:
		keep_record(vbd, fd);
		on_opened(vbd, &message->opened);
		break;
	case WORKER_OPEN_FAILED:
		on_open_failed(vbd, message->error.text);
		break;
	case WORKER_CONNECTED:
		on_connected(vbd);
		break;
	case WORKER_CONNECT_FAILED:
	case WORKER_CONNECT_REFUSED:
		on_connect_failed(vbd, message->error.text,
				  message->type == WORKER_CONNECT_REFUSED);
		break;
	case WORKER_DISCONNECTED:
	case WORKER_ABANDONED:
		if (vbd->worker_state == VBD_WORKER_DISCONNECTING)
			on_disconnected(vbd,
					message->type == WORKER_DISCONNECTED);
		break;
	case WORKER_FENCED:
		on_fenced(vbd);
		break;
	case WORKER_FENCE_FAILED:
		vbd_error(vbd, "%s", message->error.text);
		vbd_worker_fail(vbd);
		break;
	case WORKER_RING_BROKEN:
		vbd_frontend_fault(vbd, message->error.text);
		worker_disconnect(vbd);
		break;
	case WORKER_DISK_FAILED:
		on_disk_failed(vbd, message->error.text);
		break;
	case WORKER_POISONED:
		vbd->poisoned = true;
		vbd_error(vbd, "%s", message->error.text);
		break;
	case WORKER_RESIZED:
		vbd_resized(vbd, message->size_bytes);
		break;
	case WORKER_LIMITED:
		vbd_limited(vbd);
		break;
	case WORKER_RESIZE_FAILED:
		vbd_resize_failed(vbd, message->error.text);
		break;
	default:
		if (log_limit_pass(&vbd->error_limit))
			vbd_log(LOG_LEVEL_ERROR, vbd,
				"message %d from the worker: unknown",
				(int)message->type);
		break;
	}
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

/* It has not understood a word. */
static bool is_foreign(const struct vbd *vbd, int wait_status)
{
	return !vbd->worker_answered && WIFEXITED(wait_status) &&
	       WEXITSTATUS(wait_status) == WORKER_EXIT_VERSION;
}

/* How a worker came to its end, for people. */
static void death_text(const struct vbd *vbd, int wait_status, char *text,
		       size_t text_bytes)
{
	if (WIFSIGNALED(wait_status))
		snprintf(text, text_bytes,
			 "worker (pid %d) was killed by signal %d (%s)",
			 vbd->worker_pid, WTERMSIG(wait_status),
			 strsignal(WTERMSIG(wait_status)));
	else if (is_foreign(vbd, wait_status))
		snprintf(text, text_bytes, VBD_OTHER_VERSION);
	else if (WIFEXITED(wait_status))
		snprintf(text, text_bytes, "worker (pid %d) exited with %d",
			 vbd->worker_pid, WEXITSTATUS(wait_status));
	else
		snprintf(text, text_bytes, "worker (pid %d) has ended",
			 vbd->worker_pid);
}

/*
 * Somebody else's doing, and not what the worker was at.  Of one that was not our
 * child nobody tells: its successor's end will.
 */
static bool killed_from_outside(int wait_status)
{
	return wait_status == CHILD_STATUS_UNKNOWN ||
	       (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
}

/*
 * Whether a worker that died unasked has a successor, and when.  One that dies of
 * its own fault as soon as it serves does so again: it is tried less and less
 * often, and at last no more.  One that is killed before it serves, as for want of
 * memory, may be so again: it is not tried without a pause.
 */
static bool plan_restart(struct vbd *vbd, int wait_status)
{
	bool outside = killed_from_outside(wait_status);
	uint64_t now = clock_now_ms(), delay = 0;

	if (vbd->served_ms && now - vbd->served_ms >= DEATHS_APART_MS)
		vbd->nr_deaths = 0;
	/* At Ready it has done all that there was to do. */
	if (vbd->served_ms || vbd->worker_state == VBD_WORKER_READY)
		vbd->nr_early = 0;
	else if (vbd->nr_early < EARLY_DEATHS_MAX)
		vbd->nr_early++;
	vbd->served_ms = 0;
	if (vbd->nr_deaths)
		delay = RESTART_MS
			<< (outside ? vbd->nr_early : vbd->nr_deaths);
	vbd->restart_ms = now + delay;
	/* Of deaths from outside only that there was one counts. */
	if ((!outside && vbd->nr_deaths <= DEATHS_MAX) || !vbd->nr_deaths)
		vbd->nr_deaths++;
	return outside || vbd->nr_deaths <= DEATHS_MAX;
}

static void on_died(struct vbd *vbd, int wait_status)
{
	bool useful = vbd->info_valid;
	char text[128];

	death_text(vbd, wait_status, text, sizeof(text));
	vbd->info_valid = false;
	doubt_ring(vbd);
	if (had_ring(vbd) && vbd->inflight_fd >= 0 && !vbd->over)
		vbd->left = true;
	useful |= is_wanted(vbd) ||
		  (settling(vbd) && killed_from_outside(wait_status) &&
		   !vbd->worker_killed);
	if (is_foreign(vbd, wait_status) && is_wanted(vbd)) {
		vbd->retry = true;
		/* What has been said of the disk is not to be said again. */
		if (!vbd->disk_failed)
			vbd_error(vbd, "%s", text);
	}
	if (vbd->retry) {
		vbd->restart_ms = clock_now_ms() + VBD_RETRY_MS;
		vbd_worker_set_state(vbd, VBD_WORKER_NONE);
		return;
	}
	if (had_ring(vbd))
		vbd->params.crashed = !killed_from_outside(wait_status);
	if (!useful || !plan_restart(vbd, wait_status)) {
		vbd_error(vbd, "%s", text);
		vbd_worker_set_state(vbd, VBD_WORKER_DEAD);
		return;
	}
	vbd_worker_set_state(vbd, VBD_WORKER_NONE);
	/* What has been said of the disk is not to be said again. */
	if (vbd->nr_early >= EARLY_DEATHS_TOLD && !vbd->disk_failed)
		vbd_error(vbd, "%s before it could serve, time and again",
			  text);
	else if (log_limit_pass(&vbd->error_limit))
		vbd_log(LOG_LEVEL_WARNING, vbd, "%s: another goes on", text);
}

static void on_exited(void *arg, int wait_status)
{
	struct vbd *vbd = arg;
	bool asked = vbd->worker_state == VBD_WORKER_QUITTING;
	bool in_order;
	char text[128];

	worker_process_free(vbd->worker);
	vbd->worker = NULL;
	if (vbd->leaving)
		return;
	vbd_journal_hang_up(vbd);
	vbd_change_worker_ended(vbd);
	if (!asked) {
		on_died(vbd, wait_status);
		return;
	}
	vbd->info_valid = false;
	in_order = !wait_status || killed_from_outside(wait_status) ||
		   is_foreign(vbd, wait_status);
	if (!vbd_is_left(vbd)) {
		vbd->poisoned = false;
		if (!vbd->backend->quitting) {
			vbd_hold_release(vbd);
			/* Else it may be another version's: see put_back. */
			if (!vbd_guest_uses(vbd) && !vbd->pinned)
				vbd_journal_remove(vbd);
		}
	}
	death_text(vbd, wait_status, text, sizeof(text));
	if (!in_order)
		in_order = is_wanted(vbd) && plan_restart(vbd, wait_status);
	if (!vbd->failed && (in_order || vbd_is_left(vbd))) {
		if (wait_status > 0 && !vbd->worker_killed)
			vbd_log(LOG_LEVEL_WARNING, vbd, "%s", text);
		vbd_worker_set_state(vbd, VBD_WORKER_NONE);
		return;
	}
	/* An error that made us ask stands. */
	if (!vbd->failed)
		vbd_error(vbd, "%s", text);
	vbd_worker_set_state(vbd, VBD_WORKER_DEAD);
}

void vbd_worker_free_shared(struct vbd *vbd)
{
	drop_stats(vbd);
	drop_record(vbd);
	if (!vbd->backend->quitting && !vbd->leaving) {
		vbd_journal_remove(vbd);
		vbd_journal_hang_up(vbd);
	} else if (vbd->inflight_fd >= 0) {
		close(vbd->inflight_fd);
	}
}

static int make_stats(struct vbd *vbd)
{
	drop_stats(vbd);
	vbd->stats_fd =
		sealed_memfd_new("xen-diskd-stats", sizeof(*vbd->stats));
	return vbd->stats_fd < 0 ? vbd->stats_fd : map_stats(vbd);
}

void vbd_worker_path(const struct vbd *vbd, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s%s", vbd->backend->options.worker_program,
		 vbd_worker_program(vbd)->suffix);
}

/* It is the first that a worker hears: it listens before it has walls. */
static void send_listen(struct vbd *vbd)
{
	const struct worker_message message = { .type = WORKER_LISTEN };
	cleanup_close int fd = vbd_journal_listen(vbd);

	vbd->listens = fd >= 0;
	if (vbd->listens)
		tell_or_kill(vbd, &message, fd);
}

/*
 * What the worker before has remembered: kept until its successor has one.  Most
 * often there is nothing in it when that has ended in order.
 */
static void send_record(struct vbd *vbd)
{
	const struct worker_message message = { .type = WORKER_RECORD };

	if (vbd->record_fd >= 0)
		tell_or_kill(vbd, &message, vbd->record_fd);
}

static int start_worker(struct vbd *vbd, const char *program)
{
	const struct worker_process_events events = { on_message, on_exited,
						      vbd };
	const struct backend_options *options = &vbd->backend->options;
	struct worker_message message = { .type = WORKER_OPEN };
	char label[32];
	int rc = vbd->stats && vbd->left ? 0 : make_stats(vbd);

	if (rc < 0)
		return rc;
	snprintf(label, sizeof(label), "%u/%u", vbd->domid, vbd->devid);
	rc = worker_process_spawn(vbd->backend->loop, program, label, &events,
				  &vbd->worker);
	if (rc < 0)
		return rc;
	vbd->worker_pid = worker_process_pid(vbd->worker);
	vbd->worker_answered = vbd->worker_killed = false;
	vbd->retry = vbd->failed = false;
	vbd->served_ms = 0; /* it has not */
	vbd_worker_set_state(vbd, VBD_WORKER_OPENING);
	send_listen(vbd);
	send_record(vbd);
	backend_take_slot(vbd);
	message.open.read_only = vbd->read_only;
	message.open.no_discard = vbd->no_discard;
	message.open.failed = vbd->disk_failed;
	message.open.left = vbd->left;
	message.open.unfenced = vbd->unfenced;
	/* What an operator has set holds for the disk, not for one worker. */
	message.open.limited = vbd->info.size_bytes != 0;
	message.open.limits = vbd->info.limits;
	message.open.sandbox = options->sandbox;
	if (options->first_uid)
		message.open.uid = options->first_uid + (uint32_t)vbd->slot;
	message.open.flush_timeout_ms = options->flush_timeout_ms;
	snprintf(message.open.target, sizeof(message.open.target), "%s",
		 vbd->target);
	/* The guest uses it: it must not become another disk. */
	if (vbd->state == XenbusStateConnected || vbd->pinned ||
	    vbd_is_left(vbd))
		snprintf(message.open.version, sizeof(message.open.version),
			 "%s", vbd->held_version);
	tell_or_kill(vbd, &message, vbd->stats_fd);
	return 0;
}

/* One that there is, -ENOENT, or why it cannot be told. */
static int find_worker(struct vbd *vbd)
{
	const struct worker_process_events events = { on_message, on_exited,
						      vbd };
	int rc = vbd_journal_call(vbd);

	if (rc >= 0)
		rc = worker_process_adopt(vbd->backend->loop, rc, &events,
					  &vbd->worker);
	/* Nor can anybody listen where the name is too long. */
	return rc == -ECONNREFUSED || rc == -ESRCH || rc == -ENAMETOOLONG
		       ? -ENOENT
		       : rc;
}

void vbd_worker_adopt(struct vbd *vbd)
{
	int rc = find_worker(vbd);

	if (rc == -ENOENT) {
		vbd_worker_set_state(vbd, VBD_WORKER_NONE);
		return;
	}
	vbd_worker_set_state(vbd, VBD_WORKER_ADOPTING);
	/* As long as there may be one, no other is started. */
	if (rc < 0) {
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"find the worker of an earlier daemon: %s",
			strerror(-rc));
		backend_touch_after(vbd, VBD_RETRY_MS);
		return;
	}
	vbd->worker_pid = worker_process_pid(vbd->worker);
	/* One that does not even say HELLO is not waited for: see vbd_quit(). */
	vbd->worker_answered = !vbd->left;
	vbd->listens = true;
	vbd->worker_killed = vbd->failed = false;
	if (vbd->left) {
		limit_time(vbd);
		return;
	}
	vbd_log(LOG_LEVEL_WARNING, vbd,
		"worker (pid %d) of an earlier daemon finishes",
		vbd->worker_pid);
	finish(vbd);
}

static bool restart_due(struct vbd *vbd)
{
	uint64_t now = clock_now_ms();

	if (now >= vbd->restart_ms)
		return true;
	backend_touch_after(vbd, vbd->restart_ms - now);
	return false;
}

void vbd_open(struct vbd *vbd)
{
	char program[PATH_MAX];
	int rc;

	/* Not what is tried for an upgrade: that may take its time. */
	if (vbd->worker || vbd_hold_running(vbd) || vbd->backend->quitting ||
	    !restart_due(vbd))
		return;
	/* What was in the way of the one before stands until it is not. */
	if (!vbd->left && !vbd->retry && vbd->nr_early < EARLY_DEATHS_TOLD)
		vbd_clear_error(vbd);
	if (strlen(vbd->target) >= PROVIDER_SPEC_BYTES) {
		vbd_worker_set_state(vbd, VBD_WORKER_DEAD);
		vbd_error(vbd, "target '%.64s...': longer than %d bytes",
			  vbd->target, PROVIDER_SPEC_BYTES - 1);
		return;
	}
	vbd_worker_path(vbd, program);
	rc = start_worker(vbd, program);
	if (rc == 0)
		return;
	vbd_error(vbd, "start worker '%s': %s", program, strerror(-rc));
	if (is_wanted(vbd)) {
		vbd->retry = true;
		vbd->restart_ms = clock_now_ms() + VBD_RETRY_MS;
		backend_touch_after(vbd, VBD_RETRY_MS);
	} else {
		vbd_worker_set_state(vbd, VBD_WORKER_DEAD);
	}
}

void vbd_worker_connect(struct vbd *vbd, enum queue_origin origin)
{
	struct worker_message message = { .type = WORKER_CONNECT };
	struct error_text err;
	int rc = 0;

	vbd_worker_set_state(vbd, VBD_WORKER_CONNECTING);
	vbd->settled = false;
	vbd->settle_until_ms = 0;
	if (origin == QUEUE_LEFT) {
		vbd->params.origin = origin;
	} else {
		vbd->reconnecting = vbd->frontend_connected = false;
		vbd->left = vbd->poisoned = vbd->over = vbd->let_go = false;
		rc = prepare(vbd, origin, &err);
	}
	if (rc == -ESTALE) {
		/* The toolstack was faster: see vbd_switch(). */
		vbd->params.nr_queues = 0;
		vbd_worker_set_state(vbd, VBD_WORKER_READY);
		return;
	}
	if (rc < 0) {
		/* The worker was not asked: it has no ring. */
		vbd_worker_set_state(vbd, VBD_WORKER_READY);
		/* A run directory that is full may be so no more. */
		on_connect_failed(vbd, err.text, rc == -EINVAL);
		vbd->params.nr_queues = 0; /* there is no connection */
		return;
	}
	message.connect = vbd->params;
	tell_or_kill(vbd, &message, vbd->inflight_fd);
}
