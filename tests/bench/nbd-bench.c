/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NBD provider at its interface, for tests/bench/nbd.sh:
 *
 *   nbd-bench read SPEC BLOCK-BYTES DEPTH SECONDS
 *       random reads; prints "ios=N seconds=S"
 *   nbd-bench cpu COMMAND...
 *       runs a command; prints, on standard error, "cpu=SECONDS" of all that
 *       it and its children have used (wait4(2)), for ours and others alike
 */
#include "common/clock.h"
#include "nbd-client/nbd-provider.h"
#include "providers/provider.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEPTH_MAX 256u

static const struct block_provider_ops *const registry[] = {
	&nbd_provider_ops, &nbd_unix_provider_ops, NULL
};

struct bench {
	struct block_provider *provider;
	struct block_queue *queue;
	struct io_loop *loop;
	uint64_t block_bytes, nr_blocks, random;
	struct slot {
		struct block_io io;
		struct iovec iov;
		void *data;
	} slots[DEPTH_MAX];
	uint64_t nr_ios;
};

static void die(const char *what)
{
	fprintf(stderr, "nbd-bench: %s\n", what);
	exit(1);
}

/* xorshift64: no more than spreads the offsets. */
static uint64_t next_random(struct bench *bench)
{
	bench->random ^= bench->random << 13;
	bench->random ^= bench->random >> 7;
	bench->random ^= bench->random << 17;
	return bench->random;
}

static void submit(struct bench *bench, struct slot *slot)
{
	slot->iov = (struct iovec){ slot->data, bench->block_bytes };
	slot->io = (struct block_io){
		.op = BLOCK_OP_READ,
		.offset_bytes = next_random(bench) % bench->nr_blocks *
				bench->block_bytes,
		.length_bytes = bench->block_bytes,
		.iov = &slot->iov,
		.nr_iov = 1,
	};
	block_submit(bench->queue, &slot->io);
}

static void run(struct bench *bench, unsigned int depth, uint64_t ms)
{
	uint64_t start = clock_now_ms(), now = start;
	unsigned int in_flight = depth;
	struct block_io *io;

	for (unsigned int i = 0; i < depth; i++)
		submit(bench, &bench->slots[i]);
	while (in_flight) {
		if (io_loop_run(bench->loop, true) < 0)
			die("the loop fails");
		now = clock_now_ms();
		while ((io = block_queue_next_done(bench->queue))) {
			if (io->error)
				die(strerror(-io->error));
			bench->nr_ios++;
			if (now - start < ms)
				submit(bench,
				       container_of(io, struct slot, io));
			else
				in_flight--;
		}
	}
	printf("ios=%llu seconds=%.3f\n", (unsigned long long)bench->nr_ios,
	       (double)(now - start) / 1000);
}

static int bench_read(char **argv)
{
	static struct bench bench = { .random = 88172645463325252 };
	unsigned int depth = (unsigned int)atoi(argv[2]);
	struct error_text err;

	bench.block_bytes = (uint64_t)atoll(argv[1]);
	if (!depth || depth > DEPTH_MAX || !bench.block_bytes)
		die("bad depth or block size");
	if (block_provider_open(registry, argv[0], false, &bench.provider,
				&err) < 0)
		die(err.text);
	bench.nr_blocks = bench.provider->info.size_bytes / bench.block_bytes;
	for (unsigned int i = 0; i < depth; i++) {
		bench.slots[i].data = aligned_alloc(
			4096, (bench.block_bytes + 4095) / 4096 * 4096);
		if (!bench.slots[i].data)
			die("no memory");
		memset(bench.slots[i].data, 0, bench.block_bytes);
	}
	if (io_loop_new(256, &bench.loop) < 0 ||
	    block_queue_open(bench.provider, bench.loop, &bench.queue) < 0)
		die("cannot open a queue");
	run(&bench, depth, (uint64_t)atoll(argv[3]) * 1000);
	block_queue_close(bench.queue);
	io_loop_free(bench.loop);
	block_provider_close(bench.provider);
	return 0;
}

static int bench_cpu(char **argv)
{
	struct rusage usage;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &usage) < 0)
		die(strerror(errno));
	fprintf(stderr, "cpu=%.3f\n",
		(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			(double)(usage.ru_utime.tv_usec +
				 usage.ru_stime.tv_usec) /
				1e6);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "read"))
		return bench_read(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "cpu"))
		return bench_cpu(argv + 2);
	die("usage: read SPEC BLOCK-BYTES DEPTH SECONDS, or cpu COMMAND...");
}
