/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A provider that does what a test says: a small disk in memory, whose I/Os
 * may be held until the test lets them go, each with the error it names.
 *
 * Its log has a letter for each I/O that reaches it (r, w, f, d), and the same
 * as a capital when it is let go after it was held.
 */
#ifndef XEN_DISKD_UNIT_QUEUE_SCRIPT_PROVIDER_H
#define XEN_DISKD_UNIT_QUEUE_SCRIPT_PROVIDER_H

#include "providers/provider.h"

#define SCRIPT_SECTORS 256u

/* The disk's bytes: look at them when nothing is in flight. */
extern unsigned char script_disk[SCRIPT_SECTORS * 512];

/* A fresh disk; byte i is i / 512.  What it can is changed in ->info. */
struct block_provider *script_open(void);
void script_close(void);

/* Whether I/Os of this kind are held from now on. */
void script_hold(enum block_op op, bool hold);
/* What those that are not held end with. */
void script_error(enum block_op op, int error);

/* Waits until nr are held, or aborts after some seconds. */
void script_wait_held(unsigned int nr);
/* Waits until as many I/Os as the log is to have letters were there. */
void script_wait_log(unsigned int letters);
/* Lets the first that is held go. */
void script_release(int error);

/* Lets one of those behind it go first; none may be on its way. */
void script_release_nth(unsigned int index, int error);

const char *script_log(void);

#endif
