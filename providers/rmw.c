/* SPDX-License-Identifier: BSD-2-Clause */
/* Pieces of an I/O by way of a buffer. */
#include "providers/rmw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096u

/* Copies between a buffer and the I/O's vector, from `at` in the I/O on. */
static void copy_vector(const struct block_io *io, uint64_t at,
			unsigned char *buffer, uint64_t nr_bytes, bool to_io)
{
	for (unsigned int i = 0; i < io->nr_iov && nr_bytes; i++) {
		const struct iovec *iov = &io->iov[i];
		unsigned char *base;
		uint64_t part;

		if (at >= iov->iov_len) {
			at -= iov->iov_len;
			continue;
		}
		base = (unsigned char *)iov->iov_base + at;
		part = iov->iov_len - at;
		if (part > nr_bytes)
			part = nr_bytes;
		if (to_io)
			memcpy(base, buffer, part);
		else
			memcpy(buffer, base, part);
		buffer += part;
		nr_bytes -= part;
		at = 0;
	}
}

static uint64_t round_down(uint64_t n, uint32_t block)
{
	return n - n % block;
}

static uint64_t round_up(uint64_t n, uint32_t block)
{
	return round_down(n + block - 1, block);
}

/*
 * Enough for any piece of the I/O.  Cleared: whatever a medium leaves out is
 * nobody else's memory.
 */
static int take_buffer(struct rmw *rmw, const struct block_io *io,
		       const struct rmw_blocks *blocks)
{
	uint32_t unit = blocks->block_bytes > PAGE_BYTES ? blocks->block_bytes
							 : PAGE_BYTES;
	uint64_t bytes = io->length_bytes + 2 * (uint64_t)blocks->block_bytes;

	if (rmw->buffer)
		return 0;
	if (bytes > blocks->maximum_bytes)
		bytes = blocks->maximum_bytes;
	bytes = round_up(bytes, unit);
	rmw->buffer = aligned_alloc(unit, bytes);
	if (!rmw->buffer)
		return -ENOMEM;
	memset(rmw->buffer, 0, bytes);
	return 0;
}

/* The piece's bytes within the buffer. */
static unsigned char *piece_of(const struct rmw *rmw, const struct block_io *io)
{
	return rmw->buffer +
	       (io->offset_bytes + io->done_bytes - rmw->offset_bytes);
}

int rmw_prepare(struct rmw *rmw, struct block_io *io, uint64_t length_bytes,
		const struct rmw_blocks *blocks)
{
	uint64_t offset = io->offset_bytes + io->done_bytes;
	uint64_t start = round_down(offset, blocks->block_bytes);
	uint64_t end = round_up(offset + length_bytes, blocks->block_bytes);
	bool whole;

	if (end - start > blocks->maximum_bytes) {
		end = start + blocks->maximum_bytes;
		length_bytes = end - offset;
	}
	whole = start == offset && end == offset + length_bytes;
	if (take_buffer(rmw, io, blocks) < 0)
		return -ENOMEM;
	rmw->write = io->op == BLOCK_OP_WRITE && whole;
	rmw->offset_bytes = start;
	rmw->length_bytes = (uint32_t)(end - start);
	rmw->piece_bytes = length_bytes;
	if (rmw->write)
		copy_vector(io, io->done_bytes, piece_of(rmw, io), length_bytes,
			    false);
	return 0;
}

bool rmw_advance(struct rmw *rmw, struct block_io *io)
{
	if (io->op == BLOCK_OP_WRITE && !rmw->write) {
		copy_vector(io, io->done_bytes, piece_of(rmw, io),
			    rmw->piece_bytes, false);
		rmw->write = true;
		return false;
	}
	if (io->op == BLOCK_OP_READ)
		copy_vector(io, io->done_bytes, piece_of(rmw, io),
			    rmw->piece_bytes, true);
	io->done_bytes += rmw->piece_bytes;
	return true;
}

void rmw_fini(struct rmw *rmw)
{
	free(rmw->buffer);
	rmw->buffer = NULL;
}
