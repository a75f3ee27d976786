/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walls around a worker that runs, seen from outside: what the kernel says of
 * each of its threads, and what there is of the host below its root.
 */
#ifndef XEN_DISKD_TEST_WALLS_H
#define XEN_DISKD_TEST_WALLS_H

#include <stdbool.h>

#include "tests/sim/host.h"

/*
 * Ends the test unless all walls are up, its root holds the simulation's socket and
 * the paths (NULL-terminated), read-only, and nothing besides, and the network is a
 * namespace of its own or, for one that connects to hosts, ours.  A sanitizer's
 * build is without seccomp, stays dumpable, and has /proc.
 */
void walls_check(const struct host *h, pid_t pid, const char *const *paths,
		 bool network);

#endif
