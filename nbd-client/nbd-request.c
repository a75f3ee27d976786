/* SPDX-License-Identifier: BSD-2-Clause */
/* From I/O to NBD commands. */
#include "nbd-client/nbd-request.h"

#include <errno.h>

/* Whole blocks of any server's. */
#define TRIM_BYTES_MAX (UINT64_C(1) << 30)

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

/* Whole blocks around a piece, by way of a buffer. */
static int prepare_bounced(struct nbd_request *request, uint64_t length,
			   const struct nbd_export *export)
{
	const struct rmw_blocks blocks = { export->minimum_bytes,
					   export->maximum_bytes };
	struct rmw *rmw = &request->rmw;

	if (rmw_prepare(rmw, request->io, length, &blocks) < 0)
		return -ENOMEM;
	request->command = (struct nbd_command){
		.type = rmw->write ? NBD_COMMAND_WRITE : NBD_COMMAND_READ,
		.offset_bytes = rmw->offset_bytes,
		.length_bytes = rmw->length_bytes,
		.buffer = rmw->buffer,
	};
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
		return prepare_bounced(request, length, export);
	prepare_direct(request, offset, length);
	return 0;
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
	bool bounced =
		command->buffer && command->buffer == request->rmw.buffer;
	uint64_t end_bytes = io->length_bytes, offset_bytes;

	if (io->op == BLOCK_OP_FLUSH)
		return 1;
	if (io->op == BLOCK_OP_DISCARD)
		block_discard_range(
			io, io->queue->provider->info.discard_granularity_bytes,
			&offset_bytes, &end_bytes);
	if (bounced && !rmw_advance(&request->rmw, io)) {
		command->type = NBD_COMMAND_WRITE;
		return 0;
	}
	if (!bounced)
		io->done_bytes += request->piece_bytes;
	if (io->done_bytes == end_bytes)
		return 1;
	return nbd_request_prepare(request, export);
}

void nbd_request_fini(struct nbd_request *request)
{
	rmw_fini(&request->rmw);
}
