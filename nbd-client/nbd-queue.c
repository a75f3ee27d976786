/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests of an NBD queue: sending them, and their replies. */
#include "nbd-client/nbd-queue-private.h"

#include "common/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* At hand before they are needed; more are made if need be. */
#define REQUESTS_AT_HAND 64u
/* Parts of a reply to a read: one a sector, and these. */
#define CHUNKS_BESIDES 64u
/* How long a server may take to see connections off. */
#define PART_MS 500u
/* Flushes that fail one after the other before writes fail for want of room. */
#define FLUSH_FAILURES_MAX 8u

static struct nbd_queue *queue_of(struct block_queue *queue)
{
	return container_of(queue, struct nbd_queue, base);
}

static struct nbd_request *request_of(struct list *node)
{
	return container_of(node, struct nbd_request, node);
}

/* ---- requests ------------------------------------------------------- */

static int add_unused(struct nbd_queue *queue)
{
	struct nbd_request *request = calloc(1, sizeof(*request));

	if (!request)
		return -ENOMEM;
	request->queue = queue;
	list_add_tail(&queue->unused, &request->node);
	return 0;
}

struct nbd_request *nbd_request_take(struct nbd_queue *queue)
{
	struct nbd_request *request;

	if (list_empty(&queue->unused) && add_unused(queue) < 0)
		return NULL;
	request = request_of(list_pop(&queue->unused));
	*request = (struct nbd_request){
		.queue = queue,
		.number = queue->next_number++,
	};
	list_init(&request->node);
	return request;
}

static void give(struct nbd_request *request)
{
	nbd_request_fini(request);
	list_del(&request->node);
	list_add_tail(&request->queue->unused, &request->node);
}

static void end_request(struct nbd_request *request, int error)
{
	struct block_io *io = request->io;

	give(request);
	if (io)
		block_io_complete(io, error);
}

/* Puts a request back into a list that is in the order of the numbers. */
static void insert_in_order(struct list *list, struct nbd_request *request)
{
	struct list *at = list;

	list_del(&request->node);
	while (at->prev != list &&
	       request_of(at->prev)->number > request->number)
		at = at->prev;
	list_add_tail(at, &request->node);
}

/* ---- sending -------------------------------------------------------- */

/*
 * Only notes it down: nothing of libnbd may be called here.  ENOTCONN is
 * libnbd's own and ESHUTDOWN the server's word that it is going: there was no
 * reply, and the request is sent again.
 */
static int on_reply(void *arg, int *error)
{
	struct nbd_request *request = arg;
	struct nbd_queue *queue = request->queue;

	if (*error == ESHUTDOWN)
		queue->server_is_going = true;
	if (*error == ENOTCONN || *error == ESHUTDOWN)
		return 1;
	request->error = -*error;
	/* libnbd leaves it to us to see whether all of it has come. */
	if (!*error && request->command.type == NBD_COMMAND_READ &&
	    request->seen_bytes != request->command.length_bytes)
		request->error = -EIO;
	request->replied = true;
	list_del(&request->node);
	list_add_tail(&queue->replied, &request->node);
	return 1;
}

/*
 * Part of a read.  A server that sends more of them than make sense could go
 * on for ever, with libnbd never returning: its connection is cut.
 */
static int on_chunk(void *arg, const void *buffer, size_t nr_bytes,
		    uint64_t offset_bytes, unsigned int status, int *error)
{
	struct nbd_request *request = arg;
	uint32_t length = request->command.length_bytes;

	(void)buffer;
	(void)offset_bytes;
	(void)error;
	if (status != LIBNBD_READ_ERROR)
		request->seen_bytes += nr_bytes;
	request->nr_chunks++;
	if (request->seen_bytes > length ||
	    request->nr_chunks > length / BLOCK_SECTOR_BYTES + CHUNKS_BESIDES) {
		request->link->cut_here = true;
		shutdown(request->link->fd, SHUT_RDWR);
	}
	return 0;
}

static int64_t issue(struct nbd_request *request)
{
	const struct nbd_command *command = &request->command;
	struct nbd_handle *nbd = request->link->nbd;
	nbd_completion_callback done = { .callback = on_reply,
					 .user_data = request };
	uint32_t fua =
		request->queue->disk->target->fua ? LIBNBD_CMD_FLAG_FUA : 0;

	switch (command->type) {
	case NBD_COMMAND_READ:
		return nbd_aio_pread_structured(
			nbd, command->buffer, command->length_bytes,
			command->offset_bytes,
			(nbd_chunk_callback){ .callback = on_chunk,
					      .user_data = request },
			done, 0);
	case NBD_COMMAND_WRITE:
		return nbd_aio_pwrite(nbd, command->buffer,
				      command->length_bytes,
				      command->offset_bytes, done, fua);
	case NBD_COMMAND_TRIM:
		return nbd_aio_trim(nbd, command->length_bytes,
				    command->offset_bytes, done, fua);
	case NBD_COMMAND_FLUSH:
		break;
	}
	return nbd_aio_flush(nbd, done, 0);
}

/* Spreads over the connections. */
static struct nbd_link *next_link(struct nbd_queue *queue)
{
	struct nbd_link *link = &queue->links[queue->next_link];

	queue->next_link = (queue->next_link + 1) % queue->nr_links;
	return link;
}

void nbd_request_send(struct nbd_queue *queue, struct nbd_request *request)
{
	if (list_empty(&queue->sent))
		queue->last_reply_ms = clock_now_ms(); /* nothing was owed */
	request->link = next_link(queue);
	request->replied = false;
	request->seen_bytes = request->nr_chunks = 0;
	if (request->command.type == NBD_COMMAND_FLUSH) {
		request->flush_number = ++queue->nr_flushes;
		if (queue->disk->dirty)
			request->record_end =
				dirty_record_end(queue->disk->dirty);
	}
	list_del(&request->node);
	list_add_tail(&queue->sent, &request->node);
	nbd_link_before_send(request->link);
	/* It may be replied to, or its connection dead, when this returns. */
	if (issue(request) < 0 && !request->replied)
		nbd_recovery_lose(queue, nbd_error_cause());
	else
		nbd_link_after_send(request->link);
}

/*
 * One flush at a time: of two, one could be told of lost writes, and the other
 * that all is well.
 */
static bool is_flushing(const struct nbd_queue *queue)
{
	for (const struct list *it = queue->sent.next; it != &queue->sent;
	     it = it->next) {
		const struct nbd_request *other =
			container_of(it, struct nbd_request, node);

		if (other->command.type == NBD_COMMAND_FLUSH)
			return true;
	}
	return false;
}

static bool list_overlaps(const struct list *list, uint64_t offset_bytes,
			  uint64_t length_bytes)
{
	for (const struct list *it = list->next; it != list; it = it->next) {
		const struct nbd_request *other =
			container_of(it, struct nbd_request, node);

		if (other->command.type != NBD_COMMAND_FLUSH &&
		    offset_bytes < other->command.offset_bytes +
					   other->command.length_bytes &&
		    offset_bytes + length_bytes > other->command.offset_bytes)
			return true;
	}
	return false;
}

bool nbd_queue_overlaps(const struct nbd_queue *queue, uint64_t offset_bytes,
			uint64_t length_bytes)
{
	return list_overlaps(&queue->sent, offset_bytes, length_bytes);
}

/* Less than a unit: there is nothing that the server could be asked for. */
static bool is_empty_discard(const struct block_io *io)
{
	uint32_t unit = io->queue->provider->info.discard_granularity_bytes;
	uint64_t offset, length;

	return io->op == BLOCK_OP_DISCARD &&
	       !block_discard_range(io, unit, &offset, &length);
}

/* Whether a request that is ready must wait for others. */
static bool must_wait(const struct nbd_queue *queue,
		      const struct nbd_request *request)
{
	const struct nbd_command *command = &request->command;
	bool write = request->io && request->io->op == BLOCK_OP_WRITE;

	if (command->type == NBD_COMMAND_FLUSH)
		return is_flushing(queue);
	if (write &&
	    nbd_fence_holds(&queue->disk->fence, nbd_request_owner(request),
			    command->offset_bytes, command->length_bytes))
		return true;
	/*
	 * Part of a block: nobody else may write the rest meanwhile, nor until
	 * the record has it.
	 */
	return write &&
	       queue->disk->export.minimum_bytes > BLOCK_SECTOR_BYTES &&
	       (list_overlaps(&queue->sent, command->offset_bytes,
			      command->length_bytes) ||
		list_overlaps(&queue->unrecorded, command->offset_bytes,
			      command->length_bytes));
}

/* A connection that is lost on the way changes all the lists. */
static void send_ready(struct nbd_queue *queue)
{
	struct list *it = queue->ready.next;

	while (queue->phase == NBD_SERVING && it != &queue->ready) {
		struct nbd_request *request = request_of(it);

		it = it->next;
		if (!must_wait(queue, request))
			nbd_request_send(queue, request);
	}
}

/* ---- replies -------------------------------------------------------- */

/* The record is full: what is in it has to become durable. */
static int flush_to_make_room(struct nbd_queue *queue)
{
	struct nbd_request *request;

	if (queue->flush_to_make_room)
		return 0;
	request = nbd_request_take(queue);
	if (!request)
		return -ENOMEM;
	request->command.type = NBD_COMMAND_FLUSH;
	queue->flush_to_make_room = true;
	list_add_tail(&queue->ready, &request->node);
	return 0;
}

/* Remembers a write; false when there is no room. */
static bool record_write(const struct nbd_request *request)
{
	const struct nbd_command *command = &request->command;
	struct dirty_record *record = request->queue->disk->dirty;

	return command->type != NBD_COMMAND_WRITE || !record ||
	       dirty_record_add(record, command->offset_bytes, command->buffer,
				command->length_bytes) == 0;
}

/*
 * A write that has been merged is sent at once: between its read and this,
 * nobody else may have the block.
 */
static void go_on(struct nbd_request *request)
{
	struct nbd_queue *queue = request->queue;
	bool merging = nbd_request_is_merging(request);
	int rc = nbd_request_advance(request, &queue->disk->export);

	if (rc)
		end_request(request, rc < 0 ? rc : 0);
	else if (merging && queue->phase == NBD_SERVING)
		nbd_request_send(queue, request);
	else
		insert_in_order(&queue->ready, request);
}

/* Done by the server, but neither durable nor remembered yet. */
static void wait_for_room(struct nbd_request *request, uint64_t flush_number)
{
	struct nbd_queue *queue = request->queue;

	request->flush_number = flush_number;
	insert_in_order(&queue->unrecorded, request);
	if (flush_to_make_room(queue) < 0)
		end_request(request, -ENOMEM);
}

/*
 * A flush has made room, and made durable what had been replied to when it was
 * sent.  The rest is remembered now, or waits for the next.
 */
static void release_unrecorded(struct nbd_queue *queue,
			       const struct nbd_request *flush)
{
	struct list waiting;
	struct list *node;

	list_init(&waiting);
	while ((node = list_pop(&queue->unrecorded)))
		list_add_tail(&waiting, node);
	while ((node = list_pop(&waiting))) {
		struct nbd_request *request = request_of(node);
		uint64_t needs = request->flush_number;

		if (needs <= flush->flush_number || record_write(request)) {
			go_on(request);
			continue;
		}
		wait_for_room(request, needs);
	}
}

static void fail_unrecorded(struct nbd_queue *queue, int error)
{
	struct list *node;

	while ((node = list_pop(&queue->unrecorded)))
		end_request(request_of(node), error);
}

/*
 * The command is made anew: what it was merged with may have changed.  Our own
 * are dropped; what they are for is asked for again.
 */
static void make_ready(struct nbd_queue *queue, struct nbd_request *request)
{
	if (!request->io) {
		if (request->command.type == NBD_COMMAND_FLUSH)
			queue->flush_to_make_room = false;
		give(request);
		return;
	}
	if (nbd_request_prepare(request, &queue->disk->export) < 0)
		end_request(request, -ENOMEM);
	else
		insert_in_order(&queue->ready, request);
}

static void take_list_back(struct nbd_queue *queue, struct list *list)
{
	struct list taken, *node;

	list_init(&taken);
	while ((node = list_pop(list)))
		list_add_tail(&taken, node);
	while ((node = list_pop(&taken)))
		make_ready(queue, request_of(node));
}

static void flush_replied(struct nbd_request *flush)
{
	struct nbd_queue *queue = flush->queue;
	int error = flush->error;
	bool ours = !flush->io;

	if (ours)
		queue->flush_to_make_room = false;
	if (!error) {
		queue->nr_flush_failures = 0;
		if (queue->disk->dirty)
			dirty_record_drop(queue->disk->dirty,
					  flush->record_end);
		release_unrecorded(queue, flush);
	} else {
		/* The server may have lost writes by it. */
		if (++queue->nr_flush_failures < FLUSH_FAILURES_MAX)
			take_list_back(queue, &queue->unrecorded);
		else
			fail_unrecorded(queue, error);
		nbd_recovery_replay_again(queue);
	}
	end_request(flush, error);
}

/* Of the record: that it fails is no news for the guest. */
static void replay_replied(struct nbd_request *request)
{
	struct nbd_queue *queue = request->queue;
	int error = request->error;

	give(request);
	if (error)
		nbd_recovery_replay_failed(queue, error);
	else
		nbd_recovery_replayed(queue);
}

/*
 * What was read while a flush failed may be older than what the server had
 * acknowledged before: it is read again, behind the record.
 */
static bool is_stale(const struct nbd_request *request)
{
	return request->queue->replay_wanted &&
	       request->command.type == NBD_COMMAND_READ;
}

static void reply(struct nbd_request *request)
{
	if (request->command.type == NBD_COMMAND_FLUSH)
		flush_replied(request);
	else if (!request->io)
		replay_replied(request);
	else if (request->error)
		end_request(request, request->error);
	else if (is_stale(request))
		make_ready(request->queue, request);
	else if (record_write(request))
		go_on(request);
	else
		wait_for_room(request, request->queue->nr_flushes + 1);
}

/* For what the last silence was about. */
static bool owes_old_reply(const struct nbd_queue *queue)
{
	for (const struct list *it = queue->sent.next; it != &queue->sent;
	     it = it->next) {
		const struct nbd_request *request =
			container_of(it, struct nbd_request, node);

		if (request->number < queue->silent_number)
			return true;
	}
	return false;
}

static void take_replies(struct nbd_queue *queue)
{
	struct list *node;

	if (list_empty(&queue->replied))
		return;
	queue->last_reply_ms = clock_now_ms();
	nbd_recovery_served(queue);
	while ((node = list_pop(&queue->replied)))
		reply(request_of(node));
	if (!owes_old_reply(queue))
		queue->silences = 0;
}

/* Gives the connections what was written into them; false: one has died. */
static bool drive_links(struct nbd_queue *queue)
{
	if (queue->server_is_going) {
		nbd_recovery_lose(queue, "the server is shutting down");
		return false;
	}
	for (unsigned int i = 0; i < queue->nr_links; i++) {
		struct nbd_link *link = &queue->links[i];

		if (link->state == NBD_LINK_UP && !nbd_link_drive(link)) {
			nbd_recovery_lose(queue, link->error.text);
			return false;
		}
	}
	return true;
}

static bool has_work(const struct nbd_queue *queue)
{
	return !list_empty(&queue->replied);
}

void nbd_queue_pump(struct nbd_queue *queue)
{
	do {
		take_replies(queue);
		nbd_recovery_replay(queue);
		if (queue->phase == NBD_SERVING && !queue->replay_wanted)
			send_ready(queue);
		if (queue->phase == NBD_REPLAYING ||
		    queue->phase == NBD_SERVING)
			drive_links(queue);
	} while (has_work(queue));
	nbd_recovery_watch(queue);
	nbd_queue_show(queue);
}

/* ---- what recovery asks for ----------------------------------------- */

void nbd_queue_take_back(struct nbd_queue *queue)
{
	struct list *node;

	/* What has been replied to has been done. */
	while ((node = list_pop(&queue->replied)))
		reply(request_of(node));
	take_list_back(queue, &queue->sent);
	take_list_back(queue, &queue->unrecorded);
	take_list_back(queue, &queue->ready);
}

void nbd_queue_fail_ready(struct nbd_queue *queue, int error)
{
	struct list *node;

	while ((node = list_pop(&queue->ready))) {
		if (!request_of(node)->io)
			queue->flush_to_make_room = false;
		end_request(request_of(node), error);
	}
}

static uint64_t count(const struct list *list)
{
	uint64_t n = 0;

	for (const struct list *it = list->next; it != list; it = it->next)
		n++;
	return n;
}

void nbd_queue_show(struct nbd_queue *queue)
{
	struct block_status *status = queue->base.provider->status;
	bool served = queue->phase == NBD_SERVING;

	if (!status)
		return;
	block_status_set(&status->state, queue->phase == NBD_FAILED
						 ? BLOCK_LINK_FAILED
					 : served ? BLOCK_LINK_CONNECTED
						  : BLOCK_LINK_CONNECTING);
	block_status_set(&status->waiting, served ? 0 : count(&queue->ready));
}

/* ---- the provider's side -------------------------------------------- */

void nbd_queue_submit(struct block_queue *base, struct block_io *io)
{
	struct nbd_queue *queue = queue_of(base);
	struct nbd_request *request;

	if (queue->phase == NBD_FAILED) {
		block_io_complete(io, -EIO);
		return;
	}
	/* fua=on, and a server that has nothing to flush. */
	if ((io->op == BLOCK_OP_FLUSH && !queue->disk->export.can_flush) ||
	    is_empty_discard(io)) {
		block_io_complete(io, 0);
		return;
	}
	request = nbd_request_take(queue);
	if (!request) {
		block_io_complete(io, -ENOMEM);
		return;
	}
	request->io = io;
	io->done_bytes = 0;
	if (nbd_request_prepare(request, &queue->disk->export) < 0) {
		end_request(request, -ENOMEM);
		return;
	}
	if (io->again)
		nbd_recovery_begun_before(queue, request);
	list_add_tail(&queue->ready, &request->node);
	nbd_queue_pump(queue);
}

void nbd_queue_abandon(struct block_queue *base)
{
	nbd_recovery_abandon(queue_of(base));
}

static void free_requests(struct nbd_queue *queue)
{
	struct list *node;

	while ((node = list_pop(&queue->unused)))
		free(request_of(node));
}

int nbd_queue_open(struct block_provider *provider, struct nbd_disk *disk,
		   struct io_loop *loop, struct block_queue **ret_queue)
{
	struct nbd_queue *queue = calloc(1, sizeof(*queue));
	int rc = 0;

	if (!queue)
		return -ENOMEM;
	queue->disk = disk;
	/* The wrapper sets them again, but connections are made before. */
	queue->base.provider = provider;
	queue->base.loop = loop;
	list_init(&queue->base.done);
	list_init(&queue->ready);
	list_init(&queue->sent);
	list_init(&queue->unrecorded);
	list_init(&queue->replied);
	list_init(&queue->unused);
	for (unsigned int i = 0; rc == 0 && i < REQUESTS_AT_HAND; i++)
		rc = add_unused(queue);
	if (rc < 0) {
		free_requests(queue);
		free(queue);
		return rc;
	}
	nbd_recovery_init(queue);
	nbd_recovery_start(queue);
	*ret_queue = &queue->base;
	return 0;
}

/*
 * Nothing of the submitter's is in flight; a flush of our own may be, and does
 * not matter.  The loop must not be run again: timers and polls may be armed.
 */
void nbd_queue_close(struct block_queue *base)
{
	struct nbd_queue *queue = queue_of(base);
	uint64_t deadline_ms = clock_now_ms() + PART_MS;
	struct nbd_handle *parting[NBD_LINKS_MAX];

	nbd_recovery_fini(queue);
	for (unsigned int i = 0; i < queue->nr_wanted; i++) {
		struct nbd_handle *nbd = nbd_link_fini(&queue->links[i]);

		if (nbd && !queue->disk->spare && queue->phase == NBD_SERVING) {
			queue->disk->spare = nbd;
			nbd = NULL;
		}
		parting[i] = nbd;
	}
	for (unsigned int i = 0; i < queue->nr_wanted; i++)
		nbd_part(parting[i], deadline_ms);
	nbd_queue_take_back(queue);
	free_requests(queue);
	free(queue);
}
