/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The git provider.  What is at hand is read on the queue's own thread; what
 * has to be inflated is handed to the provider's reader threads and comes back
 * through an eventfd.  They also read ahead of a sequential reader, when there
 * is nothing else to do.
 */
#include "git-fat/git-provider.h"

#include "common/log.h"
#include "git-fat/git-disk.h"
#include "git-fat/owner.h"
#include "providers/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NR_READERS 2u
/* Of objects: as many as loose-objects.c takes. */
#define PLACES_MAX 64u
/* Read ahead by this much, in steps between which a read may come first. */
#define AHEAD_BYTES (1u << 20)
#define AHEAD_STEP_BYTES (128u << 10)

struct git_reader {
	struct git_provider *git;
	struct git_disk_reader *reader;
	pthread_t thread;
	bool started;
};

struct git_provider {
	struct block_provider base;
	struct git_disk *disk;
	struct owner owner;
	uint64_t ahead_bytes; /* 0 when the cache is too small for it */
	struct git_reader readers[NR_READERS];
	const char *places[PLACES_MAX + 1];

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct list jobs; /* of block_io.node */
	uint64_t ahead_next, ahead_end; /* what is to be read ahead */
	bool quitting;
	struct log_limit log_limit;
};

struct git_queue {
	struct block_queue base;
	struct mailbox mailbox; /* of what is with the readers */
	uint64_t next_offset; /* where a sequential read would go on */
};

static struct git_provider *git_of(struct block_provider *provider)
{
	return container_of(provider, struct git_provider, base);
}

static struct git_queue *git_queue_of(struct block_queue *queue)
{
	return container_of(queue, struct git_queue, base);
}

/* ---- the readers' threads -------------------------------------------------- */

static int read_io(struct git_disk_reader *reader, const struct block_io *io,
		   struct error_text *err)
{
	uint64_t offset = io->offset_bytes;

	for (unsigned int i = 0; i < io->nr_iov; i++) {
		int rc = git_disk_read(reader, offset, io->iov[i].iov_base,
				       io->iov[i].iov_len, err);

		if (rc < 0)
			return rc;
		offset += io->iov[i].iov_len;
	}
	return 0;
}

/* The guest only learns that it failed. */
static void say_failed(struct git_provider *git, const struct block_io *io,
		       const struct error_text *err)
{
	bool pass;

	pthread_mutex_lock(&git->lock);
	pass = log_limit_pass(&git->log_limit);
	pthread_mutex_unlock(&git->lock);
	if (pass)
		log_error("provider git: read of %llu bytes at %llu: %s",
			  (unsigned long long)io->length_bytes,
			  (unsigned long long)io->offset_bytes, err->text);
}

static void run_job(struct git_reader *mine, struct block_io *io)
{
	struct error_text err;

	io->error = read_io(mine->reader, io, &err);
	if (io->error)
		say_failed(mine->git, io, &err);
	mailbox_post(&git_queue_of(io->queue)->mailbox, io);
}

/* Waits for something to do: a job, a step of reading ahead, or the end. */
static bool next_work(struct git_provider *git, struct block_io **ret_io,
		      uint64_t *ret_ahead)
{
	struct list *node;
	bool more;

	pthread_mutex_lock(&git->lock);
	while (!git->quitting && list_empty(&git->jobs) &&
	       git->ahead_next >= git->ahead_end)
		pthread_cond_wait(&git->work, &git->lock);
	more = !git->quitting;
	node = list_pop(&git->jobs);
	*ret_io = node ? container_of(node, struct block_io, node) : NULL;
	if (!node) {
		*ret_ahead = git->ahead_next;
		git->ahead_next += AHEAD_STEP_BYTES;
	}
	pthread_mutex_unlock(&git->lock);
	return more;
}

static void *reader_main(void *arg)
{
	struct git_reader *mine = arg;
	struct block_io *io;
	uint64_t ahead;

	owner_enter(&mine->git->owner);
	while (next_work(mine->git, &io, &ahead)) {
		if (io)
			run_job(mine, io);
		else
			git_disk_prefetch(mine->reader, ahead,
					  AHEAD_STEP_BYTES);
	}
	return NULL;
}

/* ---- the queues' threads --------------------------------------------------- */

static void complete_delivered(struct block_io *io)
{
	block_io_complete(io, io->error);
}

static int try_io(struct git_disk *disk, const struct block_io *io)
{
	uint64_t offset = io->offset_bytes;

	for (unsigned int i = 0; i < io->nr_iov; i++) {
		int rc = git_disk_try_read(disk, offset, io->iov[i].iov_base,
					   io->iov[i].iov_len);

		if (rc < 0)
			return rc;
		offset += io->iov[i].iov_len;
	}
	return 0;
}

/* Has the readers go on where a sequential reader will come to. */
static void read_ahead(struct git_queue *queue, const struct block_io *io)
{
	struct git_provider *git = git_of(queue->base.provider);
	uint64_t end = io->offset_bytes + io->length_bytes;
	bool sequential = io->offset_bytes == queue->next_offset;

	queue->next_offset = end;
	if (!sequential || !git->ahead_bytes)
		return;
	pthread_mutex_lock(&git->lock);
	/* On from where it is, unless that is somewhere else. */
	if (git->ahead_next < end || git->ahead_next > end + git->ahead_bytes)
		git->ahead_next = end;
	git->ahead_end = end + git->ahead_bytes;
	pthread_cond_signal(&git->work);
	pthread_mutex_unlock(&git->lock);
}

static void hand_over(struct git_queue *queue, struct block_io *io)
{
	struct git_provider *git = git_of(queue->base.provider);

	mailbox_expect(&queue->mailbox);
	pthread_mutex_lock(&git->lock);
	list_add_tail(&git->jobs, &io->node);
	pthread_cond_signal(&git->work);
	pthread_mutex_unlock(&git->lock);
}

static void git_submit(struct block_queue *base, struct block_io *io)
{
	struct git_queue *queue = git_queue_of(base);

	/* Nothing was ever written: there is nothing to make durable. */
	if (io->op == BLOCK_OP_FLUSH) {
		block_io_complete(io, 0);
		return;
	}
	if (try_io(git_of(base->provider)->disk, io) == 0)
		block_io_complete(io, 0);
	else
		hand_over(queue, io);
	read_ahead(queue, io);
}

/* All signals are the main thread's. */
static int start_reader(struct git_provider *git, struct git_reader *mine)
{
	sigset_t all, old;
	int rc;

	if (mine->started)
		return 0;
	mine->git = git;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	rc = -pthread_create(&mine->thread, NULL, reader_main, mine);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	mine->started = rc == 0;
	return rc;
}

/* With the first queue: by then the walls around the process are up. */
static int start_readers(struct git_provider *git)
{
	int rc = 0;

	pthread_mutex_lock(&git->lock);
	for (unsigned int i = 0; rc == 0 && i < NR_READERS; i++)
		rc = start_reader(git, &git->readers[i]);
	pthread_mutex_unlock(&git->lock);
	return rc;
}

static int git_queue_open(struct block_provider *provider, struct io_loop *loop,
			  struct block_queue **ret_queue)
{
	struct git_queue *queue;
	int rc = start_readers(git_of(provider));

	if (rc < 0)
		return rc;
	queue = calloc(1, sizeof(*queue));
	if (!queue)
		return -ENOMEM;
	rc = mailbox_init(&queue->mailbox, loop, complete_delivered);
	if (rc < 0) {
		free(queue);
		return rc;
	}
	*ret_queue = &queue->base;
	return 0;
}

static void git_queue_close(struct block_queue *base)
{
	struct git_queue *queue = git_queue_of(base);

	mailbox_fini(&queue->mailbox);
	free(queue);
}

/* ---- the main thread --------------------------------------------------------- */

static void git_close(struct block_provider *provider)
{
	struct git_provider *git = git_of(provider);

	pthread_mutex_lock(&git->lock);
	git->quitting = true;
	pthread_cond_broadcast(&git->work);
	pthread_mutex_unlock(&git->lock);
	for (unsigned int i = 0; i < NR_READERS; i++) {
		if (git->readers[i].started)
			pthread_join(git->readers[i].thread, NULL);
		git_disk_reader_close(git->readers[i].reader);
	}
	git_disk_close(git->disk);
	pthread_cond_destroy(&git->work);
	pthread_mutex_destroy(&git->lock);
	free(git);
}

static int read_options(struct provider_spec *spec,
			struct git_disk_options *options,
			struct error_text *err)
{
	struct error_text cause;

	git_disk_options_init(options);
	if (spec->path[0] != '/')
		return error_set(err, -EINVAL,
				 "provider git: '%s' is not an absolute path",
				 spec->path);
	options->repository = spec->path;
	for (unsigned int i = 0; git_disk_option_names[i]; i++) {
		const char *key = git_disk_option_names[i];
		const char *value = provider_spec_option(spec, key);

		if (value &&
		    git_disk_options_set(options, key, value, &cause) < 0)
			return error_set(err, -EINVAL, "provider git: %s",
					 cause.text);
	}
	/* Whatever the ref has come to since. */
	if (spec->version)
		options->revision = spec->version;
	return 0;
}

/* All readers read from the same places. */
static void fill_needs(struct git_provider *git)
{
	for (unsigned int i = 0; i < PLACES_MAX; i++) {
		git->places[i] =
			git_disk_reader_place(git->readers[0].reader, i);
		if (!git->places[i])
			break;
	}
	git->base.needs = (struct block_needs){
		.paths = git->places,
		.has_owner = true,
		.uid = git->owner.uid,
		.gid = git->owner.gid,
	};
}

static int open_disk(struct git_provider *git,
		     const struct git_disk_options *options,
		     struct error_text *err)
{
	struct block_info *info = &git->base.info;
	int rc = repository_library_init(options->verify, err);

	if (rc == 0)
		rc = owner_of(options->repository, &git->owner, err);
	if (rc < 0)
		return rc;
	owner_enter(&git->owner);
	rc = git_disk_open(options, &git->disk, err);
	for (unsigned int i = 0; rc == 0 && i < NR_READERS; i++)
		rc = git_disk_reader_open(git->disk, &git->readers[i].reader,
					  err);
	owner_leave();
	if (rc < 0)
		return rc;
	fill_needs(git);
	/* A quarter of the cache: what is read ahead must not push out more. */
	git->ahead_bytes = options->cache_bytes / 4 < AHEAD_BYTES
				   ? options->cache_bytes / 4
				   : AHEAD_BYTES;
	*info = (struct block_info){
		.size_bytes = git_disk_size_bytes(git->disk),
		.logical_block_bytes = BLOCK_SECTOR_BYTES,
		.physical_block_bytes = 4096,
		.read_only = true,
		.can_flush = true,
		.flush_retryable = true,
		.hold_version = true,
	};
	/* A guest must not go on with another layout of its commit. */
	_Static_assert(GIT_DISK_POLICY_VERSION == 1,
		       "a version without a policy is of policy 1: name it");
	snprintf(info->version, sizeof(info->version), "%s",
		 git_disk_version(git->disk));
	return 0;
}

static int git_open(struct provider_spec *spec, bool read_only,
		    struct block_provider **ret_provider,
		    struct error_text *err)
{
	struct git_disk_options options;
	struct git_provider *git;
	int rc = read_options(spec, &options, err);

	(void)read_only; /* the wrapper refuses what is not */
	if (rc < 0)
		return rc;
	git = calloc(1, sizeof(*git));
	if (!git)
		return error_set(err, -ENOMEM, "provider git: no memory");
	pthread_mutex_init(&git->lock, NULL);
	pthread_cond_init(&git->work, NULL);
	list_init(&git->jobs);
	rc = open_disk(git, &options, err);
	if (rc < 0) {
		git_close(&git->base);
		return rc;
	}
	*ret_provider = &git->base;
	return 0;
}

const struct block_provider_ops git_provider_ops = {
	.name = "git",
	.has_path = true,
	.open = git_open,
	.close = git_close,
	.queue_open = git_queue_open,
	.queue_close = git_queue_close,
	.submit = git_submit,
};
