/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Read-modify-write, for providers whose medium takes whole blocks that are
 * larger than a sector: an I/O in pieces by way of a buffer, with a read
 * before a write that has part of a block.
 *
 * Carries nothing out and knows no other I/O: that two parts of one block are
 * not written at the same time is the provider's to see to.
 */
#ifndef XEN_DISKD_PROVIDERS_RMW_H
#define XEN_DISKD_PROVIDERS_RMW_H

#include "providers/provider.h"

#include <stdbool.h>
#include <stdint.h>

/* The largest block that is read, changed and written. */
#define RMW_BLOCK_BYTES_MAX 65536u

/* A piece: whole blocks, at most so many bytes, itself whole blocks. */
struct rmw_blocks {
	uint32_t block_bytes, maximum_bytes;
};

/* Zeroed before its first use; serves one I/O. */
struct rmw {
	/* What is to be done next with the buffer, or was. */
	bool write;
	uint64_t offset_bytes;
	uint32_t length_bytes;
	unsigned char *buffer; /* aligned to a block and to a page */
	uint64_t piece_bytes; /* of the I/O */
};

/*
 * The first step of the piece from io->done_bytes on, of length_bytes or less.
 * Made anew when the step before was lost.  -ENOMEM.
 */
int rmw_prepare(struct rmw *rmw, struct block_io *io, uint64_t length_bytes,
		const struct rmw_blocks *blocks);

/*
 * The step is done.  True: so is the piece, and counted in io->done_bytes.
 * False: the changed blocks are to be written.
 */
bool rmw_advance(struct rmw *rmw, struct block_io *io);

/* Frees the buffer. */
void rmw_fini(struct rmw *rmw);

#endif
