/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The providers of a worker that has bugs, for tests alone: images as they are,
 * but for reads and writes of some sectors (tests/sim/poison.h), at which it dies
 * of its own fault, is slow, or never gets done; and if $POISON_FLUSH is set, no
 * flush succeeds, at once or, if it is "slow", after a while.
 */
#include "diskd/registry.h"
#include "providers/file.h"
#include "tests/sim/poison.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void slow_done(struct io_op *op, int result)
{
	struct block_io *io = container_of(op, struct block_io, loop_op);

	(void)result;
	file_provider_ops.submit(io->queue, io);
}

static void flush_fails(struct io_op *op, int result)
{
	(void)result;
	block_io_complete(container_of(op, struct block_io, loop_op), -EIO);
}

static bool covers(const struct block_io *io, uint64_t sector)
{
	uint64_t at = sector * BLOCK_SECTOR_BYTES;

	return at >= io->offset_bytes &&
	       at < io->offset_bytes + io->length_bytes;
}

static void poison_submit(struct block_queue *queue, struct block_io *io)
{
	const char *flush = getenv("POISON_FLUSH");

	if (io->op == BLOCK_OP_FLUSH && flush) {
		io->loop_op.done = flush_fails;
		if (strcmp(flush, "slow") == 0)
			io_loop_timeout(queue->loop, &io->loop_op,
					POISON_SLOW_MS);
		else
			block_io_complete(io, -EIO);
		return;
	}
	/* Without a system call, which the walls would see. */
	if (covers(io, POISON_TRAPS))
		__builtin_trap();
	if (covers(io, POISON_EXITS))
		_exit(3);
	if (covers(io, POISON_HANGS))
		return;
	if (covers(io, POISON_SLOW)) {
		io->loop_op.done = slow_done;
		io_loop_timeout(queue->loop, &io->loop_op, POISON_SLOW_MS);
		return;
	}
	file_provider_ops.submit(queue, io);
}

static int poison_open(struct provider_spec *spec, bool read_only,
		       struct block_provider **ret_provider,
		       struct error_text *err);

/* The rest is the file provider's own. */
static struct block_provider_ops poison_ops = {
	.name = "file",
	.has_path = true,
	.open = poison_open,
};

static int poison_open(struct provider_spec *spec, bool read_only,
		       struct block_provider **ret_provider,
		       struct error_text *err)
{
	poison_ops = file_provider_ops;
	poison_ops.open = poison_open;
	poison_ops.submit = poison_submit;
	return file_provider_ops.open(spec, read_only, ret_provider, err);
}

const struct block_provider_ops *const provider_registry[] = {
	&poison_ops,
	NULL,
};
