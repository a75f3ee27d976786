/* SPDX-License-Identifier: BSD-2-Clause */
/* The checked wrapper that stands before every provider. */
#include "providers/provider.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct block_provider_ops *
registry_find(const struct block_provider_ops *const *registry,
	      const char *name)
{
	for (; *registry; registry++) {
		if (!strcmp((*registry)->name, name))
			return *registry;
	}
	return NULL;
}

static int size_check(uint64_t size_bytes, const char *what,
		      struct error_text *err)
{
	if (!size_bytes)
		return error_set(err, -EINVAL, "%s: size is 0", what);
	if (size_bytes % BLOCK_SECTOR_BYTES)
		return error_set(err, -EINVAL,
				 "%s: size of %llu bytes is not a multiple "
				 "of %u",
				 what, (unsigned long long)size_bytes,
				 BLOCK_SECTOR_BYTES);
	if (size_bytes > INT64_MAX)
		return error_set(err, -EFBIG, "%s: too large", what);
	return 0;
}

/* What every provider must deliver, whatever the medium said. */
static int info_check(const struct block_info *info, const char *target,
		      bool read_only, struct error_text *err)
{
	char what[PROVIDER_SPEC_BYTES + sizeof("target ''")];
	int rc;

	snprintf(what, sizeof(what), "target '%s'", target);
	rc = size_check(info->size_bytes, what, err);
	if (rc < 0)
		return rc;
	if (info->read_only && !read_only)
		return error_set(err, -EROFS,
				 "target '%s': is read-only; attach it "
				 "read-only (access=ro, or attach --readonly)",
				 target);
	return 0;
}

/* The guest goes on with what it has read of the old one. */
static int version_check(const struct block_info *info, const char *target,
			 const char *version, struct error_text *err)
{
	if (!version[0] || !strcmp(info->version, version))
		return 0;
	return error_set(err, -ESTALE,
			 "target '%s': version %s was served, and it has "
			 "become %s",
			 target, version,
			 info->version[0] ? info->version : "another");
}

int block_provider_reopen(const struct block_provider_ops *const *registry,
			  const char *target, const char *version,
			  const struct block_left *left, bool read_only,
			  struct block_provider **ret_provider,
			  struct error_text *err)
{
	const struct block_provider_ops *ops;
	struct block_provider *provider;
	struct block_limits limits;
	struct provider_spec spec;
	int rc;

	rc = provider_spec_name(target, spec.name, err);
	if (rc < 0)
		return rc;
	ops = registry_find(registry, spec.name);
	if (!ops)
		return error_set(err, -EINVAL,
				 "target '%s': unknown provider '%s'", target,
				 spec.name);
	rc = provider_spec_parse(target, ops->has_path, &spec, err);
	if (rc < 0)
		return rc;
	rc = provider_spec_flag(&spec, "share", &spec.share, err);
	if (!rc)
		rc = provider_spec_limits(&spec, &limits, err);
	if (rc < 0)
		return rc;
	spec.version = version[0] ? version : NULL;
	spec.left = left;
	rc = ops->open(&spec, read_only, &provider, err);
	if (rc < 0)
		return rc;
	provider->ops = ops;
	provider->info.shared = spec.share;
	provider->info.limits = limits;
	rc = provider_spec_all_taken(&spec, err);
	if (!rc)
		rc = info_check(&provider->info, target, read_only, err);
	if (!rc)
		rc = version_check(&provider->info, target, version, err);
	if (rc < 0) {
		block_provider_close(provider);
		return rc;
	}
	/* Read-only by wish is enforced here as well as by the open mode. */
	provider->info.read_only |= read_only;
	*ret_provider = provider;
	return 0;
}

int block_provider_open(const struct block_provider_ops *const *registry,
			const char *target, bool read_only,
			struct block_provider **ret_provider,
			struct error_text *err)
{
	return block_provider_reopen(registry, target, "", NULL, read_only,
				     ret_provider, err);
}

int block_provider_resize(struct block_provider *provider, bool may_shrink,
			  struct error_text *err)
{
	uint64_t old = provider->info.size_bytes, new;
	int rc;

	if (!provider->ops->size)
		return error_set(err, -EOPNOTSUPP,
				 "provider %s: the size of a disk is fixed "
				 "while it is attached",
				 provider->ops->name);
	rc = provider->ops->size(provider, &new, err);
	if (!rc)
		rc = size_check(new, "the medium", err);
	if (rc < 0)
		return rc;
	if (new < old && !may_shrink)
		return error_set(err, -ERANGE,
				 "the medium has %llu bytes, %llu less than "
				 "the disk; --shrink takes them from the guest",
				 (unsigned long long)new,
				 (unsigned long long)(old - new));
	/* Pairs with nothing: an I/O is held against the one or the other. */
	__atomic_store_n(&provider->info.size_bytes, new, __ATOMIC_RELAXED);
	return 0;
}

int block_provider_fence(struct block_provider *provider, uint64_t disk,
			 bool unreplayed, struct error_text *err)
{
	if (!provider->ops->fence)
		return 0;
	return provider->ops->fence(provider, disk, unreplayed, err);
}

void block_provider_unfence(struct block_provider *provider)
{
	if (provider->ops->unfence)
		provider->ops->unfence(provider);
}

void block_provider_close(struct block_provider *provider)
{
	if (provider)
		provider->ops->close(provider);
}

int block_queue_open(struct block_provider *provider, struct io_loop *loop,
		     struct block_queue **ret_queue)
{
	struct block_queue *queue = NULL;
	int rc;

	if (provider->ops->queue_open) {
		rc = provider->ops->queue_open(provider, loop, &queue);
		if (rc < 0)
			return rc;
	} else {
		queue = calloc(1, sizeof(*queue));
		if (!queue)
			return -ENOMEM;
	}
	queue->provider = provider;
	queue->loop = loop;
	list_init(&queue->done);
	*ret_queue = queue;
	return 0;
}

void block_queue_close(struct block_queue *queue)
{
	if (!queue)
		return;
	assert(list_empty(&queue->done));
	if (queue->provider->ops->queue_close)
		queue->provider->ops->queue_close(queue);
	else
		free(queue);
}

void block_provider_failed(struct block_provider *provider, const char *cause)
{
	if (provider->failed)
		provider->failed(provider->failed_arg, cause);
}

void block_queue_abandon(struct block_queue *queue)
{
	if (queue->provider->ops->abandon)
		queue->provider->ops->abandon(queue);
}

static uint64_t iov_bytes(const struct block_io *io)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < io->nr_iov; i++)
		sum += io->iov[i].iov_len;
	return sum;
}

static int io_check_range(const struct block_info *info,
			  const struct block_io *io)
{
	uint64_t size = __atomic_load_n(&info->size_bytes, __ATOMIC_RELAXED);
	uint64_t end;

	if (io->offset_bytes % BLOCK_SECTOR_BYTES ||
	    io->length_bytes % BLOCK_SECTOR_BYTES)
		return -EINVAL;
	if (__builtin_add_overflow(io->offset_bytes, io->length_bytes, &end) ||
	    end > size)
		return -EINVAL;
	return 0;
}

static int io_check_data(const struct block_info *info,
			 const struct block_io *io)
{
	if (!io->length_bytes || iov_bytes(io) != io->length_bytes)
		return -EINVAL;
	return io_check_range(info, io);
}

static int io_check_discard(const struct block_info *info,
			    const struct block_io *io)
{
	if (!info->discard_granularity_bytes)
		return -EOPNOTSUPP;
	if (info->read_only)
		return -EROFS;
	return io_check_range(info, io);
}

/* The one place that decides whether an operation may reach the medium. */
static int io_check(const struct block_info *info, const struct block_io *io)
{
	switch (io->op) {
	case BLOCK_OP_READ:
		return io_check_data(info, io);
	case BLOCK_OP_WRITE:
		return info->read_only ? -EROFS : io_check_data(info, io);
	case BLOCK_OP_FLUSH:
		return info->can_flush ? 0 : -EOPNOTSUPP;
	case BLOCK_OP_DISCARD:
		return io_check_discard(info, io);
	}
	return -EOPNOTSUPP;
}

void block_submit(struct block_queue *queue, struct block_io *io)
{
	int rc = io_check(&queue->provider->info, io);

	io->queue = queue;
	io->error = 0;
	io->done_bytes = 0;
	list_init(&io->node);
	/* An empty discard is done, wherever it is. */
	if (rc < 0 || (io->op == BLOCK_OP_DISCARD && !io->length_bytes))
		block_io_complete(io, rc);
	else
		queue->provider->ops->submit(queue, io);
}

bool block_discard_range(const struct block_io *io, uint32_t granularity_bytes,
			 uint64_t *ret_offset, uint64_t *ret_length)
{
	uint64_t end = io->offset_bytes + io->length_bytes;
	uint64_t start = (io->offset_bytes + granularity_bytes - 1) /
			 granularity_bytes * granularity_bytes;

	end = end / granularity_bytes * granularity_bytes;
	*ret_offset = start;
	*ret_length = end > start ? end - start : 0;
	return end > start;
}

void block_io_complete(struct block_io *io, int error)
{
	assert(list_empty(&io->node));
	io->error = error;
	list_add_tail(&io->queue->done, &io->node);
}

struct block_io *block_queue_next_done(struct block_queue *queue)
{
	struct list *node = list_pop(&queue->done);

	return node ? container_of(node, struct block_io, node) : NULL;
}
