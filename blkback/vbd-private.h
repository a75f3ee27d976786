/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the parts of a vbd (vbd.c, vbd-*.c) use of one
 * another.  Nothing else includes it.
 */
#ifndef XEN_DISKD_VBD_PRIVATE_H
#define XEN_DISKD_VBD_PRIVATE_H

#include "blkback/vbd.h"

#include <limits.h>

/* A message about a vbd, which it names first. */
#define vbd_log(level, vbd, fmt, ...)                                   \
	log_write(level, "vbd %u/%u: " fmt, (vbd)->domid, (vbd)->devid, \
		  ##__VA_ARGS__)

/* Between two tries: what was in the way may go. */
#define VBD_RETRY_MS UINT64_C(1000)

/* The worker's program was replaced, and we were not. */
#define VBD_OTHER_VERSION                                              \
	"the installed worker is of another version than the daemon: " \
	"restart the daemon"

/* ---- vbd-state.c ---------------------------------------------------- */

/* More nodes to write in the same transaction. */
typedef int vbd_write_more(struct xenstore *xs, xs_transaction_t tx,
			   struct vbd *vbd);

/*
 * Writes new_state, which may be the present one, and what more (or NULL)
 * writes.  Never into a directory that was removed, nor over a state that the
 * toolstack has changed meanwhile: -ENOENT and -ESTALE, and nothing is
 * written.  After any other error the vbd is looked at again.
 */
int vbd_write(struct vbd *vbd, enum xenbus_state new_state,
	      vbd_write_more *more);

/*
 * The one place where a vbd's state changes by our doing.  When the toolstack
 * was faster nothing is written, and its watch event brings us back here.
 */
void vbd_switch(struct vbd *vbd, enum xenbus_state to, vbd_write_more *more);

/* It has a ring, as far as it knows. */
bool vbd_guest_uses(const struct vbd *vbd);

/* Keeps the message for `list`, logs it, and writes it beside the state. */
void vbd_error(struct vbd *vbd, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* It is over; what a failed disk or a poisoned request left stays. */
void vbd_clear_error(struct vbd *vbd);

/* The guest is at fault: says so, and goes to Closing. */
void vbd_frontend_fault(struct vbd *vbd, const char *cause);

/* ---- vbd.c ------------------------------------------------------------ */

/*
 * Refuses the vbd, with the reason, when a backend driver of the kernel has
 * bound itself to its node: two backends on one ring destroy the guest's data.
 */
bool vbd_refuse_held(struct vbd *vbd);

/* ---- vbd-worker.c ------------------------------------------------------ */

/* The program that serves the vbd's target. */
const struct worker_program *vbd_worker_program(const struct vbd *vbd);

void vbd_worker_set_state(struct vbd *vbd, enum vbd_worker_state state);

/*
 * Takes over the worker that an earlier supervisor has left, if there is one: of
 * the connection that ->params describe, else (not ->left) to end it.
 */
void vbd_worker_adopt(struct vbd *vbd);

/* Reads the frontend's answer and hands it to the worker. */
void vbd_worker_connect(struct vbd *vbd, enum queue_origin origin);

/* True when the worker holds nothing of the guest's. */
bool vbd_worker_detached(const struct vbd *vbd);

/*
 * Gets the worker off the guest's memory; true when it is.  One that takes too
 * long for that is killed.
 */
bool vbd_worker_detach(struct vbd *vbd);

/*
 * True when nothing that a worker which has died had under way can reach the
 * image any more, or nobody can find out (block_info.fence_waits): of an image that
 * cannot be opened, that is said.  Until then a worker waits for it.
 */
bool vbd_worker_settled(struct vbd *vbd);

/* Kills a worker that has not let go in time. */
void vbd_worker_check(struct vbd *vbd);

/* Asks it to end for an error, which has been told: it has no successor. */
void vbd_worker_fail(struct vbd *vbd);

/*
 * The guest has another ring, which vbd_journal_end() has written down: nobody is to
 * take this connection up.
 */
void vbd_ring_over(struct vbd *vbd);

/*
 * The guest is done with the ring, or has another one: nobody is to take this
 * connection up, not even who finds its files.
 */
void vbd_connection_over(struct vbd *vbd);

/* Frees what is shared with a worker that has ended. */
void vbd_worker_free_shared(struct vbd *vbd);

/*
 * Whether it is a hash, or empty, and ends within BLOCK_VERSION_BYTES: it goes
 * into command lines, XenStore and JSON.
 */
bool vbd_version_is_sane(const char *version);

/* What the worker serves is held, or could not be: the disk is ready. */
void vbd_worker_held(struct vbd *vbd);

/* The file to run. */
void vbd_worker_path(const struct vbd *vbd, char path[PATH_MAX]);

/* ---- vbd-upgrade.c ------------------------------------------------------ */

/* Has the old worker let go, or finds that it is over. */
void vbd_upgrade_check(struct vbd *vbd);

/* ---- vbd-change.c ------------------------------------------------------ */

/* Whether a change may begin now: errors of vbd_resize(), with a message. */
int vbd_change_begin(const struct vbd *vbd, struct error_text *err);
/* It went well. */
void vbd_changed(struct vbd *vbd);

void vbd_change_failed(struct vbd *vbd, const char *cause);

/* What the worker answers: of no meaning where that was not asked. */
void vbd_resized(struct vbd *vbd, uint64_t size_bytes);
void vbd_resize_failed(struct vbd *vbd, const char *cause);
void vbd_limited(struct vbd *vbd);
/* Or its end. */
void vbd_change_worker_ended(struct vbd *vbd);

/* ---- vbd-journal.c ------------------------------------------------------ */

/*
 * Makes the files of the connection that ->params describe, in place of an
 * earlier one's, which, if it is no new one, stay when that fails.  Errors, with a message that names the file: those of the run
 * directory's file system, and of XenStore; -ESTALE when the toolstack has written
 * another state, or removed the node.
 */
int vbd_journal_create(struct vbd *vbd, struct error_text *err);
/*
 * What a connection that is no new one has been made in place of, if it has: another
 * is to go on with it after all, or nobody, for the new one stands.
 */
void vbd_journal_put_back(struct vbd *vbd);
void vbd_journal_forget_lost(struct vbd *vbd);
/*
 * The guest has another ring: who comes next finds no connection, and knows why, and
 * what disk it is.  Errors as of vbd_write().
 */
int vbd_journal_end(struct vbd *vbd);
/*
 * The same connection, of which something has changed; a failure is logged.  What the
 * file has said is so no more: better none than that one.
 */
void vbd_journal_update(struct vbd *vbd);
/* Likewise, but the file that is there will do. */
void vbd_journal_note(struct vbd *vbd);
/*
 * Finds the connection that an earlier supervisor has made, and its table:
 * ->params, ->info, ->disk_failed, ->frontend_connected and ->inflight_fd; without
 * the last where only the table is no good.  Errors, with a message, which ->lost
 * keeps: -ESTALE when the guest has another ring (vbd_journal_end()), where ->info and
 * ->disk_failed alone are found, if they are.
 */
int vbd_journal_load(struct vbd *vbd, struct error_text *err);
/* A connection of the vbd's has left files, whatever is in them. */
bool vbd_journal_exists(const struct vbd *vbd);
/* Where the in-flight table is, for messages. */
void vbd_journal_table_path(const struct vbd *vbd, char path[PATH_MAX]);
/* The guest has let go, or is gone: nobody is to take it up. */
void vbd_journal_remove(struct vbd *vbd);

/*
 * A socket, bound, for a worker to hear the next supervisor on, instead of an
 * earlier worker's; the caller's.  -errno when it cannot be, which is logged.
 */
int vbd_journal_listen(struct vbd *vbd);
/* Connects to it: the caller's.  -errno when nobody listens. */
int vbd_journal_call(const struct vbd *vbd);
/* Nobody listens any more. */
void vbd_journal_hang_up(const struct vbd *vbd);

/* ---- vbd-hold.c --------------------------------------------------------- */

/*
 * Has the version that the worker reported held, if it wants to be.  True when
 * there is nothing to wait for; else vbd_worker_held() is called later.
 */
bool vbd_hold_take(struct vbd *vbd);

/* A helper is at work. */
bool vbd_hold_running(const struct vbd *vbd);

#endif
