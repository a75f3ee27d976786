/* SPDX-License-Identifier: BSD-2-Clause */
/* The null provider: every operation is complete before submit returns. */
#include "providers/null.h"

#include "common/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int null_open(struct provider_spec *spec, bool read_only,
		     struct block_provider **ret_provider,
		     struct error_text *err)
{
	const char *size = provider_spec_option(spec, "size");
	struct block_provider *provider;
	uint64_t size_bytes;

	if (!size)
		return error_set(err, -EINVAL,
				 "provider null: option size= is missing");
	if (number_parse_size(size, &size_bytes) < 0)
		return error_set(err, -EINVAL,
				 "provider null: size=%s is not a size", size);
	provider = calloc(1, sizeof(*provider));
	if (!provider)
		return error_set(err, -ENOMEM, "provider null: no memory");
	provider->info = (struct block_info){
		.size_bytes = size_bytes,
		.logical_block_bytes = BLOCK_SECTOR_BYTES,
		.physical_block_bytes = BLOCK_SECTOR_BYTES,
		.read_only = read_only,
		.can_flush = true,
		.flush_retryable = true,
		.discard_granularity_bytes = BLOCK_SECTOR_BYTES,
	};
	*ret_provider = provider;
	return 0;
}

static void null_close(struct block_provider *provider)
{
	free(provider);
}

static void null_submit(struct block_queue *queue, struct block_io *io)
{
	(void)queue;
	if (io->op == BLOCK_OP_READ) {
		for (unsigned int i = 0; i < io->nr_iov; i++)
			memset(io->iov[i].iov_base, 0, io->iov[i].iov_len);
	}
	block_io_complete(io, 0);
}

const struct block_provider_ops null_provider_ops = {
	.name = "null",
	.has_path = false,
	.open = null_open,
	.close = null_close,
	.submit = null_submit,
};
