/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that processes share: a memfd whose length is settled, so that to touch
 * a mapping of it is never a SIGBUS, whatever the other process does.
 */
#ifndef XEN_DISKD_SEALED_MEMFD_H
#define XEN_DISKD_SEALED_MEMFD_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Makes one, of zeroes; name is for /proc.  The caller owns the descriptor.  The
 * -errno of memfd_create(2), ftruncate(2) or fcntl(2).
 */
int sealed_memfd_new(const char *name, uint64_t nr_bytes);

/* Whether a descriptor that came from elsewhere is of one with so many bytes. */
bool sealed_memfd_is(int fd, uint64_t nr_bytes);

/* The same, of any length. */
bool sealed_memfd_is_any(int fd);

#endif
