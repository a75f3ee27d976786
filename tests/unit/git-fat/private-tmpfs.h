/* SPDX-License-Identifier: BSD-2-Clause */
/* A tmpfs that only the calling process sees: for tests of full file systems. */
#ifndef XEN_DISKD_PRIVATE_TMPFS_H
#define XEN_DISKD_PRIVATE_TMPFS_H

#include <stdbool.h>

/* Mounts it on a directory, with the flags and options of mount(2). */
bool private_tmpfs_mount(const char *dir, unsigned long flags,
			 const char *options);

/* Tries, in a process of its own. */
bool private_tmpfs_can_mount(void);

#endif
