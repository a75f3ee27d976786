/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the clients of a bench measure, of their I/Os and of the processes that
 * serve them, and the bytes that they check.
 *
 * One thread.  What cannot be measured ends the program with a message.
 */
#ifndef XEN_DISKD_BENCH_METER_H
#define XEN_DISKD_BENCH_METER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define METER_SERVERS_MAX 64u
#define METER_BUCKETS (64u * 32u)

struct meter {
	/* Set by the caller. */
	pid_t servers[METER_SERVERS_MAX];
	unsigned int nr_servers;
	bool count_syscalls;
	/* The meter's own. */
	uint64_t start_ns, cpu_ns, nr_notifies, nr_ios;
	unsigned int nr_counters;
	int counters[1024]; /* perf events, one a thread */
	uint32_t latencies[METER_BUCKETS];
};

/* Monotonic nanoseconds. */
uint64_t meter_now_ns(void);

/*
 * Starts to count.  nr_notifies is how often the servers have notified the
 * client so far.  Counting system calls slows the servers down: what else is
 * measured meanwhile is not to be used.
 */
void meter_start(struct meter *meter, uint64_t nr_notifies);
/* An I/O that was begun at start_ns is done. */
void meter_io(struct meter *meter, uint64_t start_ns);
/*
 * Prints a line about the time since meter_start():
 *
 *	iops=N cpu_us_per_io=N p50us=N p99us=N p99.9us=N p99_by_p50=N
 *		notifies_per_io=N
 *
 * or, when system calls were counted, syscalls_per_io=N alone.  Latencies are
 * right to 3 %.
 */
void meter_print(struct meter *meter, uint64_t nr_notifies);

/* ---- bytes: each page of a disk has its own ---- */

/* What belongs at that offset, a multiple of 8; so must the length be. */
void meter_pattern_fill(void *bytes, uint64_t offset, size_t length);
bool meter_pattern_holds(const void *bytes, uint64_t offset, size_t length);
bool meter_is_zero(const void *bytes, size_t length);
/* Leaves in each sector what neither of these lets pass. */
void meter_spoil(void *bytes, size_t length);

/*
 * How many I/Os a client with `depth` of them in flight sends at once, as soon as
 * it has looked at so many answers: half of them, or 16.  All clients of a bench
 * do the same, fio among them.
 */
unsigned int meter_batch(unsigned int depth);

/* xorshift64: no more than spreads offsets. */
uint64_t meter_random(uint64_t *state);

#endif
