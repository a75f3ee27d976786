/* SPDX-License-Identifier: BSD-2-Clause */
/* From I/O to NBD commands. */
#include "nbd-client/nbd-request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Whole blocks of any server's. */
#define TRIM_BYTES_MAX (UINT64_C(1) << 30)

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

/* Straight from or into the I/O's one buffer. */
static void prepare_direct(struct nbd_request *request, uint64_t offset,
			   uint64_t length)
{
	struct block_io *io = request->io;

	request->command = (struct nbd_command){
		.type = io->op == BLOCK_OP_READ ? NBD_COMMAND_READ
						: NBD_COMMAND_WRITE,
		.offset_bytes = offset,
		.length_bytes = (uint32_t)length,
		.buffer = (char *)io->iov[0].iov_base + io->done_bytes,
	};
	request->piece_bytes = length;
}

/* Enough for any piece of the I/O. */
static size_t bounce_bytes(const struct block_io *io,
			   const struct nbd_export *export)
{
	uint64_t bytes =
		io->length_bytes + 2 * (uint64_t) export->minimum_bytes;

	return bytes < export->maximum_bytes ? bytes : export->maximum_bytes;
}

/* Whole blocks around a piece, by way of a buffer. */
static int prepare_bounced(struct nbd_request *request, uint64_t offset,
			   uint64_t length, const struct nbd_export *export)
{
	struct block_io *io = request->io;
	uint64_t start = round_down(offset, export->minimum_bytes);
	uint64_t end = round_up(offset + length, export->minimum_bytes);
	bool whole = start == offset && end == offset + length;

	if (end - start > export->maximum_bytes) {
		end = start + export->maximum_bytes;
		length = end - offset;
	}
	/* Cleared: whatever a server leaves out is nobody else's memory. */
	if (!request->bounce)
		request->bounce = calloc(1, bounce_bytes(io, export));
	if (!request->bounce)
		return -ENOMEM;
	request->command = (struct nbd_command){
		.type = io->op == BLOCK_OP_WRITE && whole ? NBD_COMMAND_WRITE
							  : NBD_COMMAND_READ,
		.offset_bytes = start,
		.length_bytes = (uint32_t)(end - start),
		.buffer = request->bounce,
	};
	request->piece_bytes = length;
	if (request->command.type == NBD_COMMAND_WRITE)
		copy_vector(io, io->done_bytes, request->bounce, length, false);
	return 0;
}

/* No payload: the server's maximum is not for it. */
static void prepare_trim(struct nbd_request *request)
{
	struct block_io *io = request->io;
	uint32_t unit = io->queue->provider->info.discard_granularity_bytes;
	uint64_t offset, length;

	block_discard_range(io, unit, &offset, &length);
	offset += io->done_bytes;
	length -= io->done_bytes;
	if (length > TRIM_BYTES_MAX)
		length = TRIM_BYTES_MAX;
	request->command = (struct nbd_command){
		.type = NBD_COMMAND_TRIM,
		.offset_bytes = offset,
		.length_bytes = (uint32_t)length,
	};
	request->piece_bytes = length;
}

int nbd_request_prepare(struct nbd_request *request,
			const struct nbd_export *export)
{
	struct block_io *io = request->io;
	uint64_t offset = io->offset_bytes + io->done_bytes;
	uint64_t length = io->length_bytes - io->done_bytes;

	if (io->op == BLOCK_OP_FLUSH) {
		request->command = (struct nbd_command){
			.type = NBD_COMMAND_FLUSH,
		};
		return 0;
	}
	if (io->op == BLOCK_OP_DISCARD) {
		prepare_trim(request);
		return 0;
	}
	if (length > export->maximum_bytes)
		length = export->maximum_bytes;
	if (io->nr_iov > 1 || offset % export->minimum_bytes ||
	    length % export->minimum_bytes)
		return prepare_bounced(request, offset, length, export);
	prepare_direct(request, offset, length);
	return 0;
}

/* The block that a part is to be written of has been read. */
static void merge(struct nbd_request *request)
{
	struct block_io *io = request->io;
	uint64_t offset = io->offset_bytes + io->done_bytes;
	uint64_t inside = offset - request->command.offset_bytes;

	copy_vector(io, io->done_bytes, request->bounce + inside,
		    request->piece_bytes, false);
	request->command.type = NBD_COMMAND_WRITE;
}

bool nbd_request_is_merging(const struct nbd_request *request)
{
	return request->io && request->io->op == BLOCK_OP_WRITE &&
	       request->command.type == NBD_COMMAND_READ;
}

int nbd_request_advance(struct nbd_request *request,
			const struct nbd_export *export)
{
	struct nbd_command *command = &request->command;
	struct block_io *io = request->io;
	bool bounced = request->bounce && command->buffer == request->bounce;
	uint64_t end_bytes = io->length_bytes, offset_bytes;

	if (io->op == BLOCK_OP_FLUSH)
		return 1;
	if (io->op == BLOCK_OP_DISCARD)
		block_discard_range(
			io, io->queue->provider->info.discard_granularity_bytes,
			&offset_bytes, &end_bytes);
	if (nbd_request_is_merging(request)) {
		merge(request);
		return 0;
	}
	if (io->op == BLOCK_OP_READ && bounced)
		copy_vector(io, io->done_bytes,
			    request->bounce +
				    (io->offset_bytes + io->done_bytes -
				     command->offset_bytes),
			    request->piece_bytes, true);
	io->done_bytes += request->piece_bytes;
	if (io->done_bytes == end_bytes)
		return 1;
	return nbd_request_prepare(request, export);
}

void nbd_request_fini(struct nbd_request *request)
{
	free(request->bounce);
	request->bounce = NULL;
}
