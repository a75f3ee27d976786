/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pins: references below refs/xen-diskd/ that keep what is served from being
 * pruned by `git gc`, whatever becomes of the branch it was found by.
 */
#ifndef XEN_DISKD_PIN_H
#define XEN_DISKD_PIN_H

#include "common/error-text.h"

/*
 * Makes or moves refs/xen-diskd/NAME to an object, given in hexadecimal.
 * Blocks.  The caller is the repository's owner (owner.h): root is refused to
 * write to anybody else's, -EPERM.  -EINVAL, -ENOENT, -EIO; all with a message.
 */
int pin_set(const char *repository, const char *name, const char *object,
	    struct error_text *err);

/* Removes it; that there is none is no error. */
int pin_remove(const char *repository, const char *name,
	       struct error_text *err);

#endif
