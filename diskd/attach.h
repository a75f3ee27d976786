/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The nodes of a disk that xen-diskd attaches by itself: what libxl writes,
 * in one transaction, but with the backend in state 2 from the start, which
 * the kernel's backend driver leaves alone; xl lists, detaches and destroys
 * such a disk like its own.
 *
 * Supervisor's thread.
 */
#ifndef XEN_DISKD_ATTACH_H
#define XEN_DISKD_ATTACH_H

#include "blkback/backend.h"
#include "common/error-text.h"

/*
 * Finds a domain by name or number.  -ENOENT with a message when there is
 * none.
 */
int attach_find_domain(struct backend *backend, const char *domain,
		       uint16_t *ret_domid, struct error_text *err);

/* -EEXIST with a message when the guest has such a device already. */
int attach_check_free(struct backend *backend, uint16_t domid, uint32_t devid,
		      struct error_text *err);

/*
 * Writes the nodes of a vbd whose provider is open.  All or nothing.
 * -EEXIST when somebody was faster, -ENOENT when the domain has gone.
 */
int attach_write(struct vbd *vbd, struct error_text *err);

/*
 * Asks for the end of a vbd as libxl does: online 0, state 5; with force the
 * frontend's directory goes in the same transaction.
 */
int attach_request_detach(struct vbd *vbd, bool force, struct error_text *err);

/* Removes the directories of a vbd that is closed. */
int attach_remove_nodes(struct vbd *vbd, struct error_text *err);

#endif
