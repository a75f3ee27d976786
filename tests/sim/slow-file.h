/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file whose writes can be held up: a server of the kernel's FUSE protocol,
 * mounted over a regular file.  What is held has not been written, and is when
 * it is let go, however many others came between.
 *
 * The server is a process: one that had the file open itself could not end.  The
 * mount is one of a namespace of the calling thread's own, and of what that
 * starts from then on: it goes with them.
 */
#ifndef XEN_DISKD_TEST_SLOW_FILE_H
#define XEN_DISKD_TEST_SLOW_FILE_H

#include <stdint.h>

#include "tests/sim/host.h"

struct slow_file;

/* NULL when the kernel has FUSE, else why not. */
const char *slow_file_missing(void);
/* Over the file at path; h->server is its process.  Ends the test on failure. */
struct slow_file *slow_file_open(struct host *h, const char *path,
				 uint32_t size_bytes);
void slow_file_close(struct host *h, struct slow_file *file);

/* The next write is held. */
void slow_file_hold(struct slow_file *file);
/* Waits until one is.  Ends the test when none comes. */
void slow_file_wait_held(struct slow_file *file);
/* Now it is written, and then answered. */
void slow_file_let_go(struct slow_file *file);

#endif
