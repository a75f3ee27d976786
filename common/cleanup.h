/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cleanup attributes, for local variables only: the value is released when
 * the variable goes out of scope, on every path.
 */
#ifndef XEN_DISKD_CLEANUP_H
#define XEN_DISKD_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define cleanup_free __attribute__((cleanup(cleanup_freep)))
#define cleanup_close __attribute__((cleanup(cleanup_closep)))

#endif
