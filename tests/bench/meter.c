/* SPDX-License-Identifier: BSD-2-Clause */
/* Counters, latencies and patterns of the benches' clients. */
#include "tests/bench/meter.h"

#include "tests/process-cpu.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define BATCH_MAX 16u
#define TRACEPOINT "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id"
/* Buckets of a latency: 32 for each power of two. */
#define SUB_BITS 5u

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

uint64_t meter_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)now.tv_nsec;
}

unsigned int meter_batch(unsigned int depth)
{
	unsigned int half = (depth + 1) / 2;

	return half < BATCH_MAX ? half : BATCH_MAX;
}

uint64_t meter_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* ---- the servers ------------------------------------------------------ */

static uint64_t cpu_ns(const struct meter *meter)
{
	uint64_t sum = 0, ns = 0;

	for (unsigned int i = 0; i < meter->nr_servers; i++) {
		if (process_cpu_ns(meter->servers[i], &ns) < 0)
			die("the server's CPU time");
		sum += ns;
	}
	return sum;
}

static uint64_t tracepoint_id(void)
{
	unsigned long id;
	FILE *f = fopen(TRACEPOINT, "re");

	if (!f || fscanf(f, "%lu", &id) != 1)
		die(TRACEPOINT);
	fclose(f);
	return id;
}

/* Counts a thread's system calls, and those of threads that it starts. */
static void count_thread(struct meter *meter, uint64_t tracepoint, pid_t tid)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = tracepoint,
		.inherit = 1,
	};
	int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1,
			      PERF_FLAG_FD_CLOEXEC);

	if (fd < 0 || meter->nr_counters == sizeof(meter->counters) /
						    sizeof(meter->counters[0]))
		die("counting system calls");
	meter->counters[meter->nr_counters++] = fd;
}

static void count_server(struct meter *meter, uint64_t tracepoint, pid_t pid)
{
	struct dirent *entry;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks)
		die(path);
	while ((entry = readdir(tasks)))
		if (entry->d_name[0] != '.')
			count_thread(meter, tracepoint, atoi(entry->d_name));
	closedir(tasks);
}

static uint64_t nr_syscalls(const struct meter *meter)
{
	uint64_t sum = 0, value;

	for (unsigned int i = 0; i < meter->nr_counters; i++) {
		if (read(meter->counters[i], &value, sizeof(value)) !=
		    sizeof(value))
			die("counting system calls");
		sum += value;
	}
	return sum;
}

/* ---- latencies -------------------------------------------------------- */

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int bits = 64 - (unsigned int)__builtin_clzll(ns | 1);
	unsigned int shift = bits > SUB_BITS + 1 ? bits - SUB_BITS - 1 : 0;

	return (shift << SUB_BITS) + (unsigned int)(ns >> shift);
}

/* The middle of a bucket. */
static double bucket_us(unsigned int bucket)
{
	unsigned int shift = bucket >> SUB_BITS;
	uint64_t from = bucket;

	if (shift)
		shift--;
	from -= (uint64_t)shift << SUB_BITS;
	return ((double)from + 0.5) * (double)(UINT64_C(1) << shift) / 1000;
}

static double percentile(const struct meter *meter, double percent)
{
	uint64_t seen = 0;
	uint64_t wanted = (uint64_t)((double)meter->nr_ios * percent / 100);
	unsigned int i;

	for (i = 0; i < METER_BUCKETS - 1; i++) {
		seen += meter->latencies[i];
		if (seen > wanted)
			break;
	}
	return bucket_us(i);
}

/* ---- start to end ----------------------------------------------------- */

void meter_start(struct meter *meter, uint64_t nr_notifies)
{
	meter->nr_ios = 0;
	meter->nr_notifies = nr_notifies;
	memset(meter->latencies, 0, sizeof(meter->latencies));
	if (meter->count_syscalls) {
		uint64_t tracepoint = tracepoint_id();

		for (unsigned int i = 0; i < meter->nr_servers; i++)
			count_server(meter, tracepoint, meter->servers[i]);
	}
	meter->cpu_ns = cpu_ns(meter);
	meter->start_ns = meter_now_ns();
}

void meter_io(struct meter *meter, uint64_t start_ns)
{
	meter->nr_ios++;
	meter->latencies[bucket_of(meter_now_ns() - start_ns)]++;
}

void meter_print(struct meter *meter, uint64_t nr_notifies)
{
	double seconds = (double)(meter_now_ns() - meter->start_ns) / 1e9;
	double cpu_us = (double)(cpu_ns(meter) - meter->cpu_ns) / 1e3;
	double ios = (double)meter->nr_ios;

	if (!meter->nr_ios) {
		errno = ETIMEDOUT;
		die("no I/O was done");
	}
	if (meter->count_syscalls) {
		printf("syscalls_per_io=%.4f\n",
		       (double)nr_syscalls(meter) / ios);
		return;
	}
	printf("iops=%.0f cpu_us_per_io=%.3f p50us=%.2f p99us=%.2f "
	       "p99.9us=%.2f p99_by_p50=%.2f notifies_per_io=%.4f\n",
	       ios / seconds, cpu_us / ios, percentile(meter, 50),
	       percentile(meter, 99), percentile(meter, 99.9),
	       percentile(meter, 99) / percentile(meter, 50),
	       (double)(nr_notifies - meter->nr_notifies) / ios);
}

/* ---- bytes ------------------------------------------------------------ */

/* Of each 8 bytes by their place on the disk: never zero on one of 2^63. */
static uint64_t word_at(uint64_t offset)
{
	return (offset / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

void meter_pattern_fill(void *bytes, uint64_t offset, size_t length)
{
	uint64_t *words = bytes, word = word_at(offset);

	for (size_t i = 0; i < length / 8; i++)
		words[i] = word + i * word_at(0);
}

bool meter_pattern_holds(const void *bytes, uint64_t offset, size_t length)
{
	const uint64_t *words = bytes;
	uint64_t word = word_at(offset), wrong = 0;

	for (size_t i = 0; i < length / 8; i++)
		wrong |= words[i] ^ (word + i * word_at(0));
	return !wrong;
}

bool meter_is_zero(const void *bytes, size_t length)
{
	const uint64_t *words = bytes;
	uint64_t wrong = 0;

	for (size_t i = 0; i < length / 8; i++)
		wrong |= words[i];
	return !wrong;
}

void meter_spoil(void *bytes, size_t length)
{
	for (size_t at = 0; at < length; at += SECTOR_BYTES)
		*(uint64_t *)(void *)((char *)bytes + at) = 1;
}
