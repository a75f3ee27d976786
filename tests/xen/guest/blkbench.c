/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkbench: how fast a disk is, as a program in the guest sees it.
 *
 *	blkbench DEV randread|randwrite|seqread|seqwrite BYTES DEPTH SECONDS
 *
 * O_DIRECT, Linux AIO, DEPTH requests of BYTES in flight; half a second of the
 * same goes before and is not counted.  A load that writes ends with fsync,
 * whose time counts.  Prints one line:
 *
 *	iops=N mbps=N p50us=N p99us=N errors=N
 *
 * SIGTERM ends it before its time, with the line of what was done until then.
 *
 * Raw system calls, so that the program stands alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	DEPTH_MAX = 256,
	ALIGN_BYTES = 4096,
	WARM_UP_MS = 500,
	/* Of latencies, in microseconds; what takes longer counts as the last. */
	BUCKETS = 1 << 20,
};

struct slot {
	struct iocb iocb;
	uint64_t start_us;
};

struct bench {
	int fd;
	bool random, write;
	uint64_t bytes, nr_blocks, next, seed;
	aio_context_t aio;
	struct slot slots[DEPTH_MAX];
	uint64_t nr_done, nr_errors;
	uint32_t *latencies; /* number, by microsecond */
};

static volatile sig_atomic_t ended;

static void on_term(int signal_number)
{
	(void)signal_number;
	ended = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "blkbench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* xorshift64: no more than spreads the offsets. */
static uint64_t next_block(struct bench *bench)
{
	if (!bench->random)
		return bench->next++ % bench->nr_blocks;
	bench->seed ^= bench->seed << 13;
	bench->seed ^= bench->seed >> 7;
	bench->seed ^= bench->seed << 17;
	return bench->seed % bench->nr_blocks;
}

static void submit(struct bench *bench, struct iocb **list, long nr)
{
	uint64_t now = now_us();

	for (long i = 0; i < nr; i++) {
		struct slot *slot = (struct slot *)list[i];

		slot->iocb.aio_offset =
			(int64_t)(next_block(bench) * bench->bytes);
		slot->start_us = now;
	}
	while (nr) {
		long done = syscall(SYS_io_submit, bench->aio, nr, list);

		if (done < 0)
			die("io_submit");
		list += done;
		nr -= done;
	}
}

/* Takes what is done; at least one, but for a signal. */
static long reap(struct bench *bench, struct iocb **ret_done)
{
	struct io_event events[DEPTH_MAX];
	long nr = syscall(SYS_io_getevents, bench->aio, 1, DEPTH_MAX, events,
			  NULL);
	uint64_t now = now_us();

	if (nr < 0 && errno == EINTR)
		return 0;
	if (nr < 0)
		die("io_getevents");
	for (long i = 0; i < nr; i++) {
		struct slot *slot = (struct slot *)(uintptr_t)events[i].obj;
		uint64_t took = now - slot->start_us;

		ret_done[i] = &slot->iocb;
		bench->nr_done++;
		if (events[i].res != (int64_t)bench->bytes)
			bench->nr_errors++;
		bench->latencies[took < BUCKETS ? took : BUCKETS - 1]++;
	}
	return nr;
}

/* Keeps depth requests in flight for so long; the microseconds it took. */
static uint64_t run(struct bench *bench, long depth, uint64_t ms)
{
	struct iocb *list[DEPTH_MAX];
	uint64_t start = now_us(), end = start + ms * 1000;
	long in_flight = depth;

	bench->nr_done = bench->nr_errors = 0;
	memset(bench->latencies, 0, BUCKETS * sizeof(*bench->latencies));
	for (long i = 0; i < depth; i++)
		list[i] = &bench->slots[i].iocb;
	submit(bench, list, depth);
	while (in_flight) {
		long nr = reap(bench, list);

		if (!ended && now_us() < end)
			submit(bench, list, nr);
		else
			in_flight -= nr;
	}
	if (bench->write && fsync(bench->fd) < 0)
		bench->nr_errors++;
	return now_us() - start;
}

static uint64_t percentile(const struct bench *bench, uint64_t percent)
{
	uint64_t wanted = (bench->nr_done * percent + 99) / 100, seen = 0, us;

	for (us = 0; us < BUCKETS - 1; us++) {
		seen += bench->latencies[us];
		if (seen >= wanted)
			break;
	}
	return us;
}

static void set_up(struct bench *bench, long depth)
{
	for (long i = 0; i < depth; i++) {
		struct iocb *iocb = &bench->slots[i].iocb;
		void *data = aligned_alloc(ALIGN_BYTES, bench->bytes);

		if (!data)
			die("memory");
		memset(data, 0x5a, bench->bytes);
		iocb->aio_fildes = (uint32_t)bench->fd;
		iocb->aio_lio_opcode =
			bench->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
		iocb->aio_buf = (uintptr_t)data;
		iocb->aio_nbytes = bench->bytes;
	}
	if (syscall(SYS_io_setup, DEPTH_MAX, &bench->aio) < 0)
		die("io_setup");
}

int main(int argc, char **argv)
{
	static struct bench bench = { .seed = 88172645463325252 };
	uint64_t device_bytes, us;
	long depth;

	if (argc != 6) {
		fprintf(stderr,
			"usage: blkbench DEV LOAD BYTES DEPTH SECONDS\n");
		return 2;
	}
	bench.random = strncmp(argv[2], "rand", 4) == 0;
	bench.write = strcmp(argv[2] + strlen(argv[2]) - 5, "write") == 0;
	bench.bytes = strtoull(argv[3], NULL, 10);
	depth = strtol(argv[4], NULL, 10);
	bench.fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (bench.fd < 0 || ioctl(bench.fd, BLKGETSIZE64, &device_bytes) < 0)
		die(argv[1]);
	bench.nr_blocks = bench.bytes ? device_bytes / bench.bytes : 0;
	if (!bench.nr_blocks || depth < 1 || depth > DEPTH_MAX ||
	    bench.bytes % 512) {
		fprintf(stderr, "blkbench: a number is out of range\n");
		return 2;
	}
	bench.latencies = calloc(BUCKETS, sizeof(*bench.latencies));
	if (!bench.latencies)
		die("memory");
	set_up(&bench, depth);
	signal(SIGTERM, on_term);
	run(&bench, depth, WARM_UP_MS);
	us = run(&bench, depth, strtoull(argv[5], NULL, 10) * 1000);
	printf("iops=%.0f mbps=%.1f p50us=%llu p99us=%llu errors=%llu\n",
	       (double)bench.nr_done * 1e6 / (double)us,
	       (double)(bench.nr_done * bench.bytes) / (double)us,
	       (unsigned long long)percentile(&bench, 50),
	       (unsigned long long)percentile(&bench, 99),
	       (unsigned long long)bench.nr_errors);
	return bench.nr_errors ? 1 : 0;
}
