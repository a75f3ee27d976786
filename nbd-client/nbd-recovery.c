/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue's connections: making them, losing them, and what has to happen
 * before the requests may go on.
 */
#include "nbd-client/nbd-queue-private.h"

#include "common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_FIRST_MS 50u
#define CHECK_MS 500u
/* Writes of the record that are on their way at once. */
#define REPLAY_DEPTH 16u
/* reply-timeout= is doubled so often, at most. */
#define SILENCES_MAX 6u
/* What a server that was sent something may take when the guest has let go. */
#define ABANDONED_MS 1000u

static void set_phase(struct nbd_queue *queue, enum nbd_phase phase)
{
	queue->phase = phase;
	queue->phase_since_ms = clock_now_ms();
}

static bool is_connected(const struct nbd_queue *queue)
{
	return queue->phase == NBD_SERVING || queue->phase == NBD_REPLAYING;
}

static void say(struct nbd_queue *queue, const char *what, const char *cause)
{
	if (log_limit_pass(&queue->log_limit))
		log_warning("nbd server '%.200s': %s: %s", queue->disk->server,
			    what, cause);
}

/* ---- timers --------------------------------------------------------- */

static void timer_start(struct nbd_queue *queue, struct io_op *op,
			uint64_t delay_ms)
{
	if (!op->in_flight)
		io_loop_timeout(queue->base.loop, op, delay_ms);
}

static void pause_before_retry(struct nbd_queue *queue)
{
	uint64_t longest = queue->disk->target->reconnect_ms;

	queue->retry_due = false;
	timer_start(queue, &queue->retry_op, queue->retry_ms);
	queue->retry_ms *= 2;
	if (queue->retry_ms > longest)
		queue->retry_ms =
			longest > RETRY_FIRST_MS ? longest : RETRY_FIRST_MS;
}

/* ---- losing --------------------------------------------------------- */

static void close_links(struct nbd_queue *queue)
{
	for (unsigned int i = 0; i < queue->nr_wanted; i++)
		nbd_link_close(&queue->links[i]);
}

/*
 * Would undo a newer write if it came after it: a write or a trim of the same
 * place, or a flush, which, failing late, could lose anything.
 */
static bool changes_the_disk(const struct nbd_queue *queue,
			     const struct nbd_command *command)
{
	return command->type == NBD_COMMAND_WRITE ||
	       command->type == NBD_COMMAND_TRIM ||
	       (command->type == NBD_COMMAND_FLUSH && queue->disk->dirty);
}

/* The first request from a place in the list on that the server still owes. */
static const struct nbd_request *owed_change(const struct nbd_queue *queue,
					     const struct nbd_link *link,
					     const struct list *from)
{
	for (; from != &queue->sent; from = from->next) {
		const struct nbd_request *request =
			container_of(from, struct nbd_request, node);

		if (request->link == link &&
		    changes_the_disk(queue, &request->command))
			return request;
	}
	return NULL;
}

/* Everything that has been sent to it and not been replied to. */
static void fence_off(struct nbd_queue *queue, struct nbd_link *link)
{
	struct nbd_fence *fence = &queue->disk->fence;
	const struct nbd_request *it =
		owed_change(queue, link, queue->sent.next);

	if (!it || link->fd < 0)
		return;
	if (nbd_link_is_cut_here(link))
		nbd_fence_raise_cut_here(fence);
	else if (!nbd_fence_raise(fence, link->fd))
		return;
	for (; it; it = owed_change(queue, link, it->node.next)) {
		bool flush = it->command.type == NBD_COMMAND_FLUSH;

		/* A flush is nobody's: what it may lose is also the record's. */
		nbd_fence_add(fence, flush ? it->number : nbd_request_owner(it),
			      flush ? 0 : it->command.offset_bytes,
			      flush ? queue->disk->export.size_bytes
				    : it->command.length_bytes);
	}
}

/* The server may still be at work on what it was sent. */
static void fence_old_writes(struct nbd_queue *queue)
{
	for (unsigned int i = 0; i < queue->nr_links; i++)
		fence_off(queue, &queue->links[i]);
}

/*
 * A process that died had sent it, or perhaps not: what is around part of a block
 * as well.
 */
void nbd_recovery_begun_before(struct nbd_queue *queue,
			       const struct nbd_request *request)
{
	const struct block_io *io = request->io;
	uint64_t ms = queue->disk->target->fence_ms;
	uint32_t unit = queue->disk->export.minimum_bytes;
	uint64_t start = io->offset_bytes / unit * unit;
	uint64_t end =
		(io->offset_bytes + io->length_bytes + unit - 1) / unit * unit;

	if (!ms || (io->op != BLOCK_OP_WRITE && io->op != BLOCK_OP_DISCARD))
		return;
	nbd_fence_raise_for_time(&queue->disk->fence, ms);
	nbd_fence_add(&queue->disk->fence, nbd_request_owner(request), start,
		      end - start);
}

/* I/O that has waited for as long as the operator allows. */
static void give_up_waiting(struct nbd_queue *queue, uint64_t now)
{
	uint64_t timeout = queue->disk->target->timeout_ms;

	if (!queue->lost_since_ms || timeout == NBD_NO_TIMEOUT ||
	    now - queue->lost_since_ms < timeout)
		return;
	if (!list_empty(&queue->ready))
		say(queue, "requests have failed",
		    "no connection within timeout=");
	nbd_queue_fail_ready(queue, -EIO);
}

void nbd_recovery_fini(struct nbd_queue *queue)
{
	fence_old_writes(queue);
	nbd_fence_leave(&queue->disk->fence);
}

static void lost(struct nbd_queue *queue)
{
	uint64_t now = clock_now_ms();

	fence_old_writes(queue);
	close_links(queue);
	set_phase(queue, NBD_LOST);
	queue->replay_wanted = false; /* it is, when they are back */
	nbd_queue_take_back(queue);
	if (!queue->lost_since_ms)
		queue->lost_since_ms = now;
	give_up_waiting(queue, now);
	pause_before_retry(queue);
}

void nbd_recovery_lose(struct nbd_queue *queue, const char *cause)
{
	if (!is_connected(queue))
		return;
	say(queue, "connection lost", cause);
	lost(queue);
}

/* ---- coming back ---------------------------------------------------- */

static void fail_for_good(struct nbd_queue *queue, const char *difference)
{
	struct block_provider *provider = queue->base.provider;
	struct error_text err;

	error_set(&err, -ENODEV,
		  "nbd server '%.200s': came back as another disk (%s); "
		  "nothing was written to it; detach and attach again",
		  queue->disk->server, difference);
	close_links(queue);
	set_phase(queue, NBD_FAILED);
	queue->disk->failed = true;
	nbd_queue_fail_ready(queue, -EIO);
	block_provider_failed(provider, err.text);
}

static void serve(struct nbd_queue *queue)
{
	set_phase(queue, NBD_SERVING);
	nbd_fence_record_sent(&queue->disk->fence, false);
	queue->disk->inherited = false;
	/* With something to send, its reply has to come first. */
	if (list_empty(&queue->ready))
		nbd_recovery_served(queue);
}

void nbd_recovery_served(struct nbd_queue *queue)
{
	if (queue->phase != NBD_SERVING)
		return;
	queue->lost_since_ms = 0;
	queue->retry_ms = RETRY_FIRST_MS;
}

static void start_replay(struct nbd_queue *queue)
{
	struct dirty_record *record = queue->disk->dirty;

	queue->replay_next = record ? dirty_record_start(record) : 0;
	queue->replay_end = record ? dirty_record_end(record) : 0;
	if (queue->replay_next == queue->replay_end) {
		serve(queue);
		return;
	}
	set_phase(queue, NBD_REPLAYING);
	nbd_fence_record_sent(&queue->disk->fence, true);
}

static void say_connected_again(struct nbd_queue *queue)
{
	struct block_status *status = queue->base.provider->status;

	if (status)
		block_status_add(&status->reconnects, 1);
	if (log_limit_pass(&queue->log_limit))
		log_info("nbd server '%.200s': connected again after %llu ms",
			 queue->disk->server,
			 (unsigned long long)(clock_now_ms() -
					      queue->lost_since_ms));
}

static void all_up(struct nbd_queue *queue)
{
	struct nbd_export now;
	struct error_text err;
	const char *difference;

	for (unsigned int i = 0; i < queue->nr_links; i++) {
		if (nbd_export_read(queue->links[i].nbd, &now, &err) < 0) {
			fail_for_good(queue, err.text);
			return;
		}
		difference = nbd_export_difference(&queue->disk->export, &now);
		if (difference) {
			fail_for_good(queue, difference);
			return;
		}
	}
	queue->server_is_going = false;
	/* What nothing tells the end of may arrive as late as this. */
	nbd_fence_begin_anew(&queue->disk->fence,
			     queue->disk->target->fence_ms);
	if (queue->lost_since_ms)
		say_connected_again(queue);
	start_replay(queue);
}

static bool all_down(const struct nbd_queue *queue)
{
	for (unsigned int i = 0; i < queue->nr_wanted; i++) {
		if (queue->links[i].state != NBD_LINK_DOWN)
			return false;
	}
	return true;
}

/* The connections that are up, if they come before all others. */
static unsigned int nr_up(const struct nbd_queue *queue)
{
	unsigned int n = 0;

	while (n < queue->nr_links && queue->links[n].state == NBD_LINK_UP)
		n++;
	return n;
}

static const struct nbd_link *any_lost(const struct nbd_queue *queue)
{
	for (unsigned int i = 0; i < queue->nr_links; i++) {
		if (queue->links[i].state == NBD_LINK_DOWN ||
		    queue->links[i].state == NBD_LINK_CLOSING)
			return &queue->links[i];
	}
	return NULL;
}

static bool any_tries(const struct nbd_queue *queue)
{
	for (unsigned int i = 0; i < queue->nr_links; i++) {
		if (queue->links[i].state == NBD_LINK_CONNECTING ||
		    queue->links[i].state == NBD_LINK_NEGOTIATING)
			return true;
	}
	return false;
}

/* The server takes no more connections than these. */
static void make_do_with(struct nbd_queue *queue, unsigned int nr,
			 const char *cause)
{
	char what[64];

	snprintf(what, sizeof(what), "%u connections instead of %u", nr,
		 queue->nr_wanted);
	say(queue, what, cause);
	for (unsigned int i = nr; i < queue->nr_wanted; i++)
		nbd_link_close(&queue->links[i]);
	queue->nr_links = nr;
	queue->next_link = 0;
	all_up(queue);
}

static void cannot_connect(struct nbd_queue *queue, const char *cause)
{
	unsigned int nr = nr_up(queue);

	if (nr) {
		make_do_with(queue, nr, cause);
		return;
	}
	say(queue, "cannot connect", cause);
	lost(queue);
}

static void check_connecting(struct nbd_queue *queue)
{
	const struct nbd_link *down = any_lost(queue);

	/* Those that still try may come up, and be enough. */
	if (down && (down == &queue->links[0] || !any_tries(queue)))
		cannot_connect(queue, down->error.text);
	else if (nr_up(queue) == queue->nr_links)
		all_up(queue);
}

/* But for the first, which may be there. */
static void connect_links(struct nbd_queue *queue, struct nbd_handle *first)
{
	uint64_t deadline_ms = clock_now_ms() + NBD_CONNECT_TIMEOUT_MS;

	set_phase(queue, NBD_CONNECTING);
	queue->nr_links = queue->nr_wanted;
	queue->next_link = 0;
	for (unsigned int i = 0; i < queue->nr_links; i++) {
		if (i == 0 && first)
			nbd_link_adopt(&queue->links[i], first);
		else
			nbd_link_connect(&queue->links[i], deadline_ms);
	}
	check_connecting(queue);
}

static void try_to_connect(struct nbd_queue *queue)
{
	if (queue->phase == NBD_LOST && queue->retry_due && all_down(queue))
		connect_links(queue, NULL);
}

/* Of the connections that are in use. */
static bool is_used(const struct nbd_queue *queue, const struct nbd_link *link)
{
	return link < &queue->links[queue->nr_links];
}

void nbd_recovery_link_changed(struct nbd_link *link)
{
	struct nbd_queue *queue = link->owner;

	if (queue->phase == NBD_LOST)
		try_to_connect(queue);
	else if (queue->phase == NBD_CONNECTING)
		check_connecting(queue);
	else if (queue->phase != NBD_FAILED && link->state != NBD_LINK_UP &&
		 is_used(queue, link))
		nbd_recovery_lose(queue, link->error.text);
	nbd_queue_pump(queue);
}

/* ---- the record ----------------------------------------------------- */

static unsigned int nr_sent(const struct nbd_queue *queue)
{
	unsigned int n = 0;

	for (const struct list *it = queue->sent.next; it != &queue->sent;
	     it = it->next)
		n++;
	return n;
}

static bool replay_one(struct nbd_queue *queue)
{
	struct nbd_request *request;
	struct dirty_write write;

	if (dirty_record_get(queue->disk->dirty, queue->replay_next, &write) <
	    0) {
		say(queue, "the record of writes", "was changed by others");
		queue->replay_next = queue->replay_end;
		return false;
	}
	/* The newer of two writes to one place must not be overtaken. */
	if (nbd_queue_overlaps(queue, write.offset_bytes, write.length_bytes) ||
	    nbd_fence_holds(&queue->disk->fence, NBD_FENCE_RECORD,
			    write.offset_bytes, write.length_bytes))
		return false;
	request = nbd_request_take(queue);
	if (!request)
		return false;
	request->command = (struct nbd_command){
		.type = NBD_COMMAND_WRITE,
		.offset_bytes = write.offset_bytes,
		.length_bytes = write.length_bytes,
		.buffer = (void *)(uintptr_t)write.data,
	};
	queue->replay_next = write.next;
	if (queue->base.provider->status)
		block_status_add(&queue->base.provider->status->resent, 1);
	nbd_request_send(queue, request);
	return true;
}

void nbd_recovery_replay(struct nbd_queue *queue)
{
	/* What is on its way may be newer than what is in the record. */
	if (queue->phase == NBD_SERVING && queue->replay_wanted &&
	    list_empty(&queue->sent) && list_empty(&queue->replied)) {
		queue->replay_wanted = false;
		/* Written, but not in the record: it would undo them. */
		nbd_queue_take_back(queue);
		start_replay(queue);
	}
	while (queue->phase == NBD_REPLAYING &&
	       queue->replay_next != queue->replay_end &&
	       nr_sent(queue) < REPLAY_DEPTH && replay_one(queue))
		;
	if (queue->phase == NBD_REPLAYING &&
	    queue->replay_next == queue->replay_end &&
	    list_empty(&queue->sent) && list_empty(&queue->replied))
		serve(queue);
}

void nbd_recovery_replayed(struct nbd_queue *queue)
{
	/* The server is there: timeout= is for one that is not. */
	if (queue->lost_since_ms)
		queue->lost_since_ms = clock_now_ms();
}

void nbd_recovery_replay_again(struct nbd_queue *queue)
{
	if (queue->phase == NBD_SERVING && queue->disk->dirty)
		queue->replay_wanted = true;
}

/*
 * Written once, it can be written again when the server is over its trouble:
 * until then nothing newer may be.
 */
void nbd_recovery_replay_failed(struct nbd_queue *queue, int error)
{
	nbd_recovery_lose(queue, strerror(-error));
}

void nbd_recovery_abandon(struct nbd_queue *queue)
{
	queue->abandoned_ms = clock_now_ms();
	nbd_queue_pump(queue);
}

/* ---- the clock ------------------------------------------------------ */

static bool waits_for_something(const struct nbd_queue *queue)
{
	return queue->phase == NBD_CONNECTING ||
	       queue->phase == NBD_REPLAYING || !list_empty(&queue->sent) ||
	       (queue->phase != NBD_FAILED &&
		nbd_fence_is_up(&queue->disk->fence)) ||
	       (queue->abandoned_ms && !list_empty(&queue->unrecorded)) ||
	       (!list_empty(&queue->ready) &&
		queue->disk->target->timeout_ms != NBD_NO_TIMEOUT);
}

void nbd_recovery_watch(struct nbd_queue *queue)
{
	if (queue->phase == NBD_LOST || queue->phase == NBD_CONNECTING)
		give_up_waiting(queue, clock_now_ms());
	if (queue->abandoned_ms && queue->phase != NBD_SERVING)
		nbd_queue_fail_ready(queue, -ECANCELED);
	if (waits_for_something(queue))
		timer_start(queue, &queue->check_op, CHECK_MS);
}

/* Replies are owed and do not come. */
static void check_silence(struct nbd_queue *queue, uint64_t now)
{
	uint64_t timeout = queue->disk->target->reply_timeout_ms;

	/* What takes long takes as long again: each time it gets more. */
	timeout <<= queue->silences;
	if (!timeout || list_empty(&queue->sent) ||
	    now - queue->last_reply_ms < timeout)
		return;
	if (queue->silences < SILENCES_MAX)
		queue->silences++;
	queue->silent_number = queue->next_number;
	nbd_recovery_lose(queue, "no reply within reply-timeout=");
}

/* The server is there, and has been sent what may be sent. */
static bool only_fenced(const struct nbd_queue *queue)
{
	return is_connected(queue) && list_empty(&queue->sent) &&
	       nbd_fence_is_up(&queue->disk->fence);
}

static void check_times(struct nbd_queue *queue)
{
	uint64_t now = clock_now_ms();
	bool fenced = only_fenced(queue);

	if (queue->phase == NBD_CONNECTING &&
	    now - queue->phase_since_ms >= NBD_CONNECT_TIMEOUT_MS)
		cannot_connect(queue, strerror(ETIMEDOUT));
	for (unsigned int i = 0; i < queue->nr_links; i++)
		nbd_link_check(&queue->links[i], now);
	check_silence(queue, now);
	if (queue->abandoned_ms && now - queue->abandoned_ms >= ABANDONED_MS)
		nbd_recovery_lose(queue, "the guest has let go of the disk");
	/* A server that is away does nothing in that time. */
	if (is_connected(queue) && nbd_fence_check(&queue->disk->fence, now))
		say(queue, "old connection",
		    "not closed by the server; its writes are waited for no "
		    "more");
	/* timeout= is for a server that is not there. */
	if (fenced && queue->lost_since_ms)
		queue->lost_since_ms = now;
	else
		give_up_waiting(queue, now);
}

static void check_done(struct io_op *op, int result)
{
	struct nbd_queue *queue = container_of(op, struct nbd_queue, check_op);

	(void)result;
	check_times(queue);
	nbd_queue_pump(queue);
}

static void retry_done(struct io_op *op, int result)
{
	struct nbd_queue *queue = container_of(op, struct nbd_queue, retry_op);

	(void)result;
	queue->retry_due = true;
	try_to_connect(queue);
	nbd_queue_pump(queue);
}

static void fence_lifted(struct nbd_fence *fence)
{
	nbd_queue_pump(fence->owner);
}

/* ---- the start ------------------------------------------------------ */

void nbd_recovery_init(struct nbd_queue *queue)
{
	struct nbd_disk *disk = queue->disk;

	queue->nr_wanted = 1;
	if (disk->export.can_multi_conn)
		queue->nr_wanted = disk->target->connections;
	for (unsigned int i = 0; i < queue->nr_wanted; i++) {
		nbd_link_init(&queue->links[i], queue->base.loop, disk->target,
			      &disk->addresses, nbd_recovery_link_changed);
		queue->links[i].owner = queue;
	}
	queue->retry_op.done = retry_done;
	queue->check_op.done = check_done;
	queue->retry_ms = RETRY_FIRST_MS;
	nbd_fence_enter(&disk->fence, queue->base.loop, fence_lifted, queue);
	set_phase(queue, NBD_LOST);
}

void nbd_recovery_start(struct nbd_queue *queue)
{
	struct nbd_handle *spare = queue->disk->spare;

	queue->disk->spare = NULL;
	if (queue->disk->failed) {
		nbd_close(spare);
		set_phase(queue, NBD_FAILED);
		return;
	}
	connect_links(queue, spare);
	nbd_queue_pump(queue);
}
