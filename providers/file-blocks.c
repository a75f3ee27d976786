/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of direct I/O, and sectors by way of them. */
#include "providers/file-blocks.h"

#include "providers/rmw.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define PAGE_BYTES 4096u
/* What a buffer holds at most; a multiple of every block. */
#define BUFFER_BYTES (1u << 20)

/* An I/O by way of a buffer. */
struct transfer {
	const struct file_blocks *blocks;
	int fd;
	struct block_io *io;
	void (*end)(struct block_io *io, int error);
	struct rmw rmw;
	struct iovec iov; /* what is left of the step */
	struct io_op op;
};

/* ---- what the medium takes ------------------------------------------ */

static bool power_of_two(uint32_t n)
{
	return n && !(n & (n - 1));
}

/*
 * A device tells by its logical block size; asking statx(2) of its node may
 * describe the file system that the node lies on.  What nobody vouches for (no
 * STATX_DIOALIGN) is not.
 */
static void probe_alignment(int fd, bool device, struct file_blocks *blocks)
{
	struct statx stx;
	int logical = 0;

	if (device && ioctl(fd, BLKSSZGET, &logical) == 0) {
		blocks->block_bytes = (uint32_t)logical;
		/* dm-crypt, for one, wants memory aligned as its blocks. */
		blocks->memory_bytes = logical > (int)BLOCK_SECTOR_BYTES
					       ? (uint32_t)logical
					       : BLOCK_SECTOR_BYTES;
	} else if (!device &&
		   statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) == 0 &&
		   stx.stx_mask & STATX_DIOALIGN) {
		blocks->block_bytes = stx.stx_dio_offset_align;
		blocks->memory_bytes = stx.stx_dio_mem_align;
	}
	if (blocks->block_bytes && blocks->block_bytes < BLOCK_SECTOR_BYTES)
		blocks->block_bytes = BLOCK_SECTOR_BYTES;
}

void file_blocks_probe(int fd, bool device, uint64_t size_bytes,
		       struct file_blocks *ret_blocks)
{
	struct file_blocks blocks = { .block_bytes = 0 };

	probe_alignment(fd, device, &blocks);
	/* Part of a block at the end would be made a whole one by a write. */
	if (!power_of_two(blocks.block_bytes) ||
	    blocks.block_bytes > RMW_BLOCK_BYTES_MAX ||
	    !power_of_two(blocks.memory_bytes) ||
	    blocks.memory_bytes > PAGE_BYTES || size_bytes % blocks.block_bytes)
		blocks.block_bytes = 0;
	ret_blocks->block_bytes = blocks.block_bytes;
	ret_blocks->memory_bytes = blocks.memory_bytes;
}

bool file_blocks_are_sectors(const struct file_blocks *blocks)
{
	return blocks->block_bytes <= BLOCK_SECTOR_BYTES &&
	       blocks->memory_bytes <= BLOCK_SECTOR_BYTES;
}

bool file_blocks_fit(const struct file_blocks *blocks,
		     const struct block_io *io)
{
	if (io->offset_bytes % blocks->block_bytes)
		return false;
	for (unsigned int i = 0; i < io->nr_iov; i++) {
		const struct iovec *iov = &io->iov[i];

		if ((uintptr_t)iov->iov_base % blocks->memory_bytes ||
		    iov->iov_len % blocks->block_bytes)
			return false;
	}
	return true;
}

/* ---- by way of a buffer ---------------------------------------------- */

static void step_done(struct io_op *op, int result);

static void step_start(struct transfer *transfer)
{
	const struct rmw *rmw = &transfer->rmw;
	uint64_t offset =
		rmw->offset_bytes + rmw->length_bytes - transfer->iov.iov_len;

	transfer->op.done = step_done;
	if (rmw->write)
		io_loop_writev(transfer->io->queue->loop, &transfer->op,
			       transfer->fd, &transfer->iov, 1, offset);
	else
		io_loop_readv(transfer->io->queue->loop, &transfer->op,
			      transfer->fd, &transfer->iov, 1, offset);
}

static void step_prepared(struct transfer *transfer)
{
	transfer->iov = (struct iovec){ transfer->rmw.buffer,
					transfer->rmw.length_bytes };
	step_start(transfer);
}

static void transfer_end(struct transfer *transfer, int error)
{
	struct block_io *io = transfer->io;
	void (*end)(struct block_io * io, int error) = transfer->end;

	rmw_fini(&transfer->rmw);
	free(transfer);
	end(io, error);
}

static void piece_start(struct transfer *transfer)
{
	struct block_io *io = transfer->io;
	const struct rmw_blocks blocks = { transfer->blocks->block_bytes,
					   BUFFER_BYTES };
	int rc = rmw_prepare(&transfer->rmw, io,
			     io->length_bytes - io->done_bytes, &blocks);

	if (rc < 0)
		transfer_end(transfer, rc);
	else
		step_prepared(transfer);
}

static void step_end(struct transfer *transfer)
{
	struct block_io *io = transfer->io;

	if (!rmw_advance(&transfer->rmw, io))
		step_prepared(transfer);
	else if (io->done_bytes == io->length_bytes)
		transfer_end(transfer, 0);
	else
		piece_start(transfer);
}

static void step_done(struct io_op *op, int result)
{
	struct transfer *transfer = container_of(op, struct transfer, op);

	if (result == -EINTR || result == -EAGAIN) {
		step_start(transfer);
		return;
	}
	/* Part of a block is done again, so that what is left is aligned. */
	if (result > 0)
		result -= result % (int)transfer->blocks->block_bytes;
	/* Nothing moved: the image has been cut short behind our back. */
	if (result <= 0) {
		transfer_end(transfer, result ? result : -EIO);
		return;
	}
	transfer->iov.iov_base = (char *)transfer->iov.iov_base + result;
	transfer->iov.iov_len -= (size_t)result;
	if (transfer->iov.iov_len)
		step_start(transfer);
	else
		step_end(transfer);
}

void file_blocks_start(const struct file_blocks *blocks, int fd,
		       struct block_io *io,
		       void (*end)(struct block_io *io, int error))
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));

	if (!transfer) {
		end(io, -ENOMEM);
		return;
	}
	transfer->blocks = blocks;
	transfer->fd = fd;
	transfer->io = io;
	transfer->end = end;
	piece_start(transfer);
}
