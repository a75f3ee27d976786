/* SPDX-License-Identifier: BSD-2-Clause */
/* The sectors at which the worker of tests/sim/registry-poison.c has bugs. */
#ifndef XEN_DISKD_TEST_POISON_H
#define XEN_DISKD_TEST_POISON_H

#define POISON_TRAPS 8192u /* SIGILL, which no sanitizer takes for itself */
#define POISON_EXITS 8208u /* with status 3 */
#define POISON_HANGS 8224u
#define POISON_SLOW 8240u
#define POISON_SLOW_MS 300u

/* $TEST_WORKER for it, beside this program, whatever the variant. */
void poison_use(void);

#endif
