/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins: references below refs/xen-diskd/ that keep what is served from being
 * pruned by `git gc`, whatever becomes of the branch it was found by.
 */
#ifndef XEN_DISKD_PIN_H
#define XEN_DISKD_PIN_H

#include "common/error-text.h"

#include <sys/types.h>

/*
 * Finds whose repository it is: the owner of its directory (that of the main
 * one, for a worktree).  -ENOENT, -EIO with a message.
 */
int pin_find_owner(const char *repository, uid_t *ret_uid, gid_t *ret_gid,
		   struct error_text *err);

/*
 * Makes or moves refs/xen-diskd/NAME to an object, given in hexadecimal.
 * Blocks.  -EINVAL, -ENOENT, -EIO with a message.
 */
int pin_set(const char *repository, const char *name, const char *object,
	    struct error_text *err);

/* Removes it; that there is none is no error. */
int pin_remove(const char *repository, const char *name,
	       struct error_text *err);

#endif
