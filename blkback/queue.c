/* SPDX-License-Identifier: BSD-2-Clause */
/* The queue's thread: turns, steps of requests, start and stop. */
#include "blkback/queue-private.h"

#include "common/clock.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Between two tries of a flush that failed. */
#define FLUSH_RETRY_MS 1000u
/*
 * A guest that sends events and no requests costs a turn for each.  From so many in a
 * row on, the port stays masked for so long after each (XSA-332).
 */
#define VAIN_EVENTS_MAX 100u
#define VAIN_EVENT_MS 10u
/* Looks at the ring between two at the clock. */
#define LOOKS_PER_CLOCK 16u
/* A part of the requests of a turn that is answered before the others. */
#define PART_REQUESTS_MIN 4u
#define PART_BYTES (UINT64_C(64) << 10)
/* Of a queue's memory: as many large requests as Linux has under way at once. */
#define REGISTERED_BYTES ((size_t)1 << 20)
_Static_assert(REGISTERED_BYTES <= PAGE_POOL_PAGES_MIN * PAGE_POOL_PAGE_BYTES,
	       "it is in the pool");
/* ---- responses ---------------------------------------------------- */

/* Nobody else writes it. */
static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static void count_request(struct queue *q, const struct blk_request *req)
{
	struct queue_stats *stats = q->params.stats;
	uint64_t bytes = 0; /* of what failed, they are what the guest says */

	if (req->status == BLKIF_RSP_OKAY)
		bytes = req->entry->length_bytes;
	else
		count(&stats->errors, 1);
	switch (req->entry->operation) {
	case BLKIF_OP_READ:
		count(&stats->reads, 1);
		count(&stats->read_bytes, bytes);
		return;
	case BLKIF_OP_DISCARD:
		count(&stats->discards, 1);
		count(&stats->discarded_bytes, bytes);
		return;
	case BLKIF_OP_WRITE:
		break;
	default:
		count(&stats->flushes, 1);
	}
	if (req->entry->nr_segments) {
		count(&stats->writes, 1);
		count(&stats->written_bytes, bytes);
	}
}

/* Gives back everything a request holds. */
static void request_release(struct queue *q, struct blk_request *req)
{
	if (req->nr_pages)
		page_pool_give(&q->pool, req->buffer, req->nr_pages);
	req->nr_pages = 0;
	req->mapped = false;
	inflight_free(req->entry);
	if (q->barrier == req)
		q->barrier = NULL;
	list_add(&q->free, &req->node); /* it is in the caches */
	q->nr_busy--;
	q->unblocked = true;
}

static void request_finish(struct queue *q, struct blk_request *req,
			   int16_t status)
{
	req->status = status;
	list_add_tail(&q->finished, &req->node);
}

static int16_t status_of(int error)
{
	if (!error)
		return BLKIF_RSP_OKAY;
	return error == -EOPNOTSUPP ? BLKIF_RSP_EOPNOTSUPP : BLKIF_RSP_ERROR;
}

static void list_move_all(struct list *from, struct list *to)
{
	struct list *node;

	while ((node = list_pop(from)))
		list_add_tail(to, node);
}

/* ---- steps of a request ------------------------------------------- */

static void request_run_step(struct queue *q, struct blk_request *req);

static bool disk_failed(const struct queue *q)
{
	return __atomic_load_n(q->params.disk_failed, __ATOMIC_RELAXED);
}

static void timer_start(struct queue *q, struct io_op *op, uint64_t delay_ms)
{
	if (!op->in_flight && !q->stopping)
		io_loop_timeout(q->loop, op, delay_ms);
}

static void retry_done(struct io_op *op, int result)
{
	struct queue *q = container_of(op, struct queue, retry_op);
	struct list again;

	(void)result;
	if (q->stopping)
		return;
	/* On a disk that has failed meanwhile, those with data get an error. */
	list_init(&again);
	list_move_all(&q->flush_failed, &again);
	list_for_each_safe(it, tmp, &again) {
		struct blk_request *req =
			container_of(it, struct blk_request, node);

		list_del(&req->node);
		q->nr_waiting--;
		request_run_step(q, req);
	}
}

/* ---- persistent grants that rest ---------------------------------- */

/* Only while something is mapped: a disk at rest wakes nobody. */
static void idle_arm(struct queue *q)
{
	if (transfer_nr_mapped(q->transfer))
		timer_start(q, &q->idle_op, q->params.grant_idle_ms);
}

static void idle_done(struct io_op *op, int result)
{
	struct queue *q = container_of(op, struct queue, idle_op);

	(void)result;
	if (q->stopping)
		return;
	for (unsigned int i = 0; i < q->ring.nr_slots; i++) {
		if (q->requests[i].mapped)
			transfer_keep(q->transfer, &q->requests[i]);
	}
	transfer_release_idle(q->transfer);
}

/* ---- limits --------------------------------------------------------- */

/* The turn that follows looks whether it may take. */
static void throttle_done(struct io_op *op, int result)
{
	(void)op;
	(void)result;
}

static void throttle_arm(struct queue *q)
{
	if (q->payer.waits)
		timer_start(q, &q->throttle_op,
			    throttle_wait_ms(&q->payer, clock_now_ns()));
}

static bool may_take(struct queue *q)
{
	uint64_t waited_ns;
	bool may = throttle_may_take(&q->payer, ring_has_requests(&q->ring),
				     clock_now_ns(), &waited_ns);

	count(&q->params.stats->throttled_ns, waited_ns);
	return may;
}

/* A flush or discard moves no bytes. */
static void pay(struct queue *q, const struct blk_request *req)
{
	const struct inflight_entry *entry = req->entry;

	throttle_pay(q->params.throttle, &q->payer,
		     entry->nr_segments ? entry->length_bytes : 0,
		     clock_now_ns());
}

static void disk_fail(struct queue *q, const char *cause)
{
	struct error_text text;

	if (__atomic_exchange_n(q->params.disk_failed, true, __ATOMIC_RELAXED))
		return;
	error_set(&text, -EIO,
		  "flush failed: %s; the disk takes no more writes", cause);
	q->params.events.disk_failed(q->params.events.arg, text.text);
}

/*
 * A flush that was not durable is never acknowledged, and an empty one never
 * answered with an error either: Linux takes that for "flushes not needed"
 * and stops sending them.  So it waits, is tried again if that can help, and at
 * the limit the disk fails: the flush then waits for ever, and writes are refused.
 */
static void flush_has_failed(struct queue *q, struct blk_request *req,
			     int error)
{
	uint64_t now = clock_now_ms();

	if (!req->flush_failed_ms)
		req->flush_failed_ms = now;
	if ((!block_flush_untried(error) &&
	     !q->block->provider->info.flush_retryable) ||
	    now - req->flush_failed_ms >= q->params.flush_timeout_ms)
		disk_fail(q, strerror(-error));
	if (disk_failed(q) && req->entry->nr_segments) {
		request_finish(q, req, BLKIF_RSP_ERROR);
		return;
	}
	list_add_tail(&q->flush_failed, &req->node);
	q->nr_waiting++;
	if (!disk_failed(q)) {
		timer_start(q, &q->retry_op, FLUSH_RETRY_MS);
		return;
	}
	if (q->barrier == req)
		q->barrier = NULL; /* let reads go on */
	q->unblocked = true; /* and the next be tried */
}

static void request_submit(struct queue *q, struct blk_request *req,
			   enum block_op op)
{
	bool data = op == BLOCK_OP_READ || op == BLOCK_OP_WRITE;
	bool flush = op == BLOCK_OP_FLUSH;

	req->io = (struct block_io){
		.op = op,
		.offset_bytes = flush ? 0 : req->entry->offset_bytes,
		.length_bytes = flush ? 0 : req->entry->length_bytes,
		.iov = data ? req->iov : NULL,
		.nr_iov = data ? req->nr_iov : 0,
		.again = req->again ? req->number + 1 : 0,
	};
	block_submit(q->block, &req->io);
}

static void submit_data(struct queue *q, struct blk_request *req)
{
	enum block_op op = BLOCK_OP_WRITE;

	if (req->entry->operation == BLKIF_OP_READ)
		op = BLOCK_OP_READ;
	else if (req->entry->operation == BLKIF_OP_DISCARD)
		op = BLOCK_OP_DISCARD;
	if (op != BLOCK_OP_READ && disk_failed(q))
		request_finish(q, req, BLKIF_RSP_ERROR);
	else
		request_submit(q, req, op);
}

/* Starts the next step, or finishes a request that has none left. */
static void request_run_step(struct queue *q, struct blk_request *req)
{
	if (!req->steps) {
		request_finish(q, req, BLKIF_RSP_OKAY);
		return;
	}
	switch (request_next_step(req->steps)) {
	case REQUEST_STEP_DRAIN:
		break; /* barrier_check() takes it from here */
	case REQUEST_STEP_DATA:
		submit_data(q, req);
		break;
	case REQUEST_STEP_FLUSH_BEFORE:
	case REQUEST_STEP_FLUSH_AFTER:
		if (disk_failed(q))
			flush_has_failed(q, req, -EIO);
		else
			request_submit(q, req, BLOCK_OP_FLUSH);
		break;
	}
}

/*
 * Of a write that is to be durable, Linux takes EOPNOTSUPP to mean that the disk
 * needs no flushes, and the write for done: only a discard may end so.
 */
static int16_t failure_status(const struct block_io *io)
{
	return io->op == BLOCK_OP_DISCARD ? status_of(io->error)
					  : BLKIF_RSP_ERROR;
}

/* One I/O of a request has come to its end. */
static void step_done(struct queue *q, struct blk_request *req)
{
	int error = req->io.error;

	/* The guest gets its answer from who goes on, if there is anybody. */
	if (error == -ECANCELED && q->stopping) {
		q->nr_given_up++;
		return;
	}
	if (error && req->io.op == BLOCK_OP_FLUSH) {
		flush_has_failed(q, req, error);
		return;
	}
	if (error) {
		request_finish(q, req, failure_status(&req->io));
		return;
	}
	req->flush_failed_ms = 0;
	req->steps &= req->steps - 1;
	request_run_step(q, req);
}

/*
 * Those that were begun and will be answered.  On a failed disk, flushes never
 * are: nobody waits for them.
 */
static unsigned int nr_going(const struct queue *q)
{
	return q->nr_busy - q->nr_unbuffered -
	       (disk_failed(q) ? q->nr_waiting : 0);
}

/* A barrier starts when all that was taken before it is answered. */
static void barrier_check(struct queue *q)
{
	struct blk_request *req = q->barrier;

	if (!req || !(req->steps & REQUEST_STEP_DRAIN) || nr_going(q) != 1)
		return;
	req->steps &= ~REQUEST_STEP_DRAIN;
	request_run_step(q, req);
}

/* ---- the turn ----------------------------------------------------- */

/*
 * The pages that are handed out first.  A disk that is never used pins none, and
 * none does that moves its data elsewhere.
 */
static void register_memory(struct queue *q)
{
	if (q->memory_registered || !q->block->provider->info.pins_memory)
		return;
	io_loop_register_memory(q->loop, q->pool.base, REGISTERED_BYTES);
	q->memory_registered = true;
}

/* False when there is no memory for its data now. */
static bool request_take_memory(struct queue *q, struct blk_request *req)
{
	unsigned int nr;

	if (!req->entry->nr_segments || req->status != BLKIF_RSP_OKAY)
		return true;
	if (q->block->provider->info.any_memory &&
	    transfer_map(q->transfer, req))
		return true;
	nr = (unsigned int)((req->entry->length_bytes + PAGE_POOL_PAGE_BYTES -
			     1) /
			    PAGE_POOL_PAGE_BYTES);
	register_memory(q);
	req->buffer = page_pool_take(&q->pool, nr);
	if (!req->buffer)
		return false;
	req->nr_pages = nr;
	req->one = (struct iovec){ req->buffer, req->entry->length_bytes };
	req->iov = &req->one;
	req->nr_iov = 1;
	return true;
}

static void request_enter(struct queue *q, struct blk_request *req)
{
	bool can_flush = q->block->provider->info.can_flush;

	if (req->status == BLKIF_RSP_OKAY)
		req->steps = request_steps(req->entry);
	if (req->steps & REQUEST_STEPS_FLUSH && !can_flush)
		req->status = BLKIF_RSP_EOPNOTSUPP;
	else if (req->steps & REQUEST_STEP_DRAIN)
		q->barrier = req;
	list_add_tail(&q->taken, &req->node);
}

static void request_reset(struct blk_request *req)
{
	req->nr_pages = 0;
	req->steps = 0;
	req->flush_failed_ms = 0;
	req->again = false;
}

/* Copies one request off the ring.  NULL when there is none. */
static struct blk_request *request_take(struct queue *q)
{
	unsigned char slot[BLKIF_SLOT_BYTES_MAX];
	struct blk_request *req;
	int rc = ring_take(&q->ring, slot);

	if (rc < 0) {
		q->ring_broken = true;
		q->params.events.ring_broken(
			q->params.events.arg,
			"the guest claims more requests than the ring holds");
	}
	if (rc <= 0)
		return NULL;
	/* As many requests as slots: ring_take() keeps to that. */
	req = container_of(list_pop(&q->free), struct blk_request, node);
	q->nr_busy++;
	request_reset(req);
	req->number = q->nr_taken++;
	rc = request_parse(q->params.abi, slot, req);
	req->status = status_of(rc);
	return req;
}

static void work_begins(struct queue *q)
{
	q->nr_vain_events = 0;
	idle_poll_work(&q->poll, clock_now_ns());
}

/* Up to a barrier: what is behind it stays in the ring until it is answered. */
static void take_slots(struct queue *q, unsigned int most)
{
	struct blk_request *req;
	bool first = true;

	do {
		if (q->stopping || q->ring_broken)
			return;
		req = request_take(q);
		if (req && first)
			work_begins(q);
		if (req)
			list_add_tail(&q->parsed, &req->node);
		first = false;
	} while (req && --most &&
		 req->entry->operation != BLKIF_OP_WRITE_BARRIER);
}

/* Whatever becomes of us, these are remembered: they may be submitted. */
static void remember_parsed(struct queue *q)
{
	list_for_each_safe(it, tmp, &q->parsed) {
		struct blk_request *req =
			container_of(it, struct blk_request, node);

		inflight_take(req->entry, req->number, req->status);
	}
	inflight_publish_taken(&q->inflight, q->nr_taken);
}

/*
 * Those that find a buffer may start, up to a barrier; the others keep their order.
 */
static void enter_buffered(struct queue *q, struct list *requests)
{
	struct list *node;

	while ((node = list_pop(requests))) {
		struct blk_request *req =
			container_of(node, struct blk_request, node);

		if (q->barrier || !list_empty(&q->unbuffered) ||
		    !request_take_memory(q, req)) {
			list_add_tail(&q->unbuffered, &req->node);
			q->nr_unbuffered++;
			continue;
		}
		request_enter(q, req);
	}
}

/*
 * One after the other, while the limits allow it: the size of an indirect one
 * is known only when its segments have been fetched.  Up to a barrier, as above.
 */
static void take_limited(struct queue *q)
{
	bool barrier = false;

	while (!barrier && !q->nr_unbuffered && may_take(q)) {
		const struct blk_request *req;

		take_slots(q, 1);
		if (list_empty(&q->parsed))
			return;
		transfer_indirect(q->transfer, &q->parsed);
		req = container_of(q->parsed.next, struct blk_request, node);
		barrier = req->entry->operation == BLKIF_OP_WRITE_BARRIER;
		pay(q, req);
		remember_parsed(q);
		enter_buffered(q, &q->parsed);
	}
}

/* ---- poison ---------------------------------------------------------- */

static const char *operation_name(uint8_t operation)
{
	switch (operation) {
	case BLKIF_OP_READ:
		return "read";
	case BLKIF_OP_WRITE:
		return "write";
	case BLKIF_OP_WRITE_BARRIER:
		return "barrier";
	case BLKIF_OP_FLUSH_DISKCACHE:
		return "flush";
	default:
		return "discard";
	}
}

/*
 * Each worker that tried it has died of it: it alone fails.  Not so a flush
 * without data, which is never answered with an error: see flush_has_failed().
 */
static void give_up(struct queue *q, struct blk_request *req)
{
	const struct inflight_entry *entry = req->entry;
	struct error_text text;

	if (!entry->nr_segments && entry->operation != BLKIF_OP_DISCARD) {
		disk_fail(q, "workers died of it");
		flush_has_failed(q, req, -EIO);
		return;
	}
	error_set(&text, -EIO,
		  "%s of %llu bytes at sector %llu: given up, %u workers died "
		  "of it",
		  operation_name(entry->operation),
		  (unsigned long long)entry->length_bytes,
		  (unsigned long long)entry->offset_bytes / BLOCK_SECTOR_BYTES,
		  inflight_trials(entry));
	count(&q->params.stats->poisoned, 1);
	q->params.events.poisoned(q->params.events.arg, text.text);
	request_finish(q, req, BLKIF_RSP_ERROR);
}

static void trial_end(struct queue *q)
{
	if (!q->on_trial)
		return;
	q->on_trial = false;
	pthread_mutex_unlock(q->params.trial);
}

/* Those behind it wait, as if there were no memory for them. */
static void enter_alone(struct queue *q, struct blk_request *req)
{
	struct list one, others;

	list_init(&one);
	list_init(&others);
	list_move_all(&q->unbuffered, &others);
	list_add_tail(&one, &req->node);
	enter_buffered(q, &one);
	list_move_all(&others, &q->unbuffered);
}

/*
 * Starts the next of those that were left, when the one before is answered, so
 * that if this worker dies, too, it is known of which.  Ends the trial when there
 * is none.
 */
static void try_next(struct queue *q)
{
	while (!nr_going(q)) {
		struct list *node = list_pop(&q->unbuffered);
		struct blk_request *req;

		if (!node) {
			trial_end(q);
			return;
		}
		q->nr_unbuffered--;
		req = container_of(node, struct blk_request, node);
		if (inflight_trials(req->entry) < INFLIGHT_TRIALS_MAX) {
			inflight_try(req->entry);
			enter_alone(q, req);
			return;
		}
		give_up(q, req);
	}
}

static void take_requests(struct queue *q)
{
	struct list again;

	if (q->stopping)
		return;
	if (q->on_trial)
		try_next(q);
	if (q->on_trial)
		return;
	list_init(&again);
	list_move_all(&q->unbuffered, &again);
	q->nr_unbuffered = 0;
	enter_buffered(q, &again);
	if (q->barrier || q->nr_unbuffered)
		return;
	if (throttle_active(q->params.throttle) || q->payer.waits) {
		take_limited(q);
		return;
	}
	take_slots(q, q->ring.nr_slots);
	if (list_empty(&q->parsed))
		return;
	transfer_indirect(q->transfer, &q->parsed);
	remember_parsed(q);
	enter_buffered(q, &q->parsed);
}

static void collect_done(struct queue *q)
{
	struct block_io *io;

	while ((io = block_queue_next_done(q->block)))
		step_done(q, container_of(io, struct blk_request, io));
}

/* For others to read; nr_answered are being answered just now. */
static void show_state(struct queue *q, unsigned int nr_answered)
{
	struct queue_stats *stats = q->params.stats;

	__atomic_store_n(&stats->in_flight, q->nr_busy - nr_answered,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&stats->grants_mapped, transfer_nr_mapped(q->transfer),
			 __ATOMIC_RELAXED);
}

/* Writes one answer, which the guest does not see yet. */
static void answer(struct queue *q, const struct blk_request *req,
		   int16_t status)
{
	inflight_done(req->entry, q->ring.rsp_prod, status);
	ring_respond(&q->ring, req->entry->id, req->entry->operation, status);
}

/* Shows the guest all that were written; true when it wants an event. */
static bool publish_answers(struct queue *q)
{
	bool notify;

	inflight_intend(&q->inflight, q->ring.rsp_prod);
	notify = ring_publish(&q->ring);
	inflight_published(&q->inflight, q->ring.rsp_prod);
	return notify;
}

static void answer_finished(struct queue *q)
{
	unsigned int nr = 0;
	struct list *node;
	bool notify;

	if (list_empty(&q->finished))
		return;
	transfer_data(q->transfer, &q->finished, false);
	list_for_each_safe(it, tmp, &q->finished) {
		struct blk_request *req =
			container_of(it, struct blk_request, node);

		count_request(q, req);
		answer(q, req, req->status);
		nr++;
	}
	show_state(q, nr); /* who has the answer sees it as it is then */
	notify = publish_answers(q);
	while ((node = list_pop(&q->finished)))
		request_release(q,
				container_of(node, struct blk_request, node));
	if (notify)
		evtchn_notify(q->ec, q->port);
}

/*
 * What a provider does at once is answered in parts: the guest then works on
 * one while the next is done.  More than two of them only where there is much
 * to do for each request.
 */
static void start_taken(struct queue *q)
{
	unsigned int nr = 0, part = q->nr_busy / 2;
	uint64_t nr_bytes = 0;
	struct list *node;

	if (part < PART_REQUESTS_MIN)
		part = PART_REQUESTS_MIN;
	transfer_data(q->transfer, &q->taken, true);
	while ((node = list_pop(&q->taken))) {
		struct blk_request *req =
			container_of(node, struct blk_request, node);

		if (req->status == BLKIF_RSP_OKAY)
			request_run_step(q, req);
		else
			list_add_tail(&q->finished, &req->node);
		if (list_empty(&q->block->done))
			continue;
		nr++;
		nr_bytes += req->entry->length_bytes;
		if (nr < part && nr_bytes < PART_BYTES)
			continue;
		collect_done(q);
		answer_finished(q);
		nr = 0;
		nr_bytes = 0;
	}
}

static void evtchn_done(struct io_op *op, int result)
{
	struct queue *q = container_of(op, struct queue, evtchn_op);
	uint32_t port;

	/* The handle has this one port, which stays masked: there is no second. */
	if (evtchn_take(q->ec, result, &port) < 0)
		return;
	q->masked = true;
	q->nr_vain_events++; /* until there is a request */
}

static void unmask(struct queue *q)
{
	q->masked = false;
	evtchn_unmask(q->ec, q->loop, q->port);
}

static void vain_done(struct io_op *op, int result)
{
	struct queue *q = container_of(op, struct queue, vain_op);

	(void)result;
	if (!q->stopping)
		unmask(q);
}

/* The guest may send events again; in a while, if that is all it does. */
static void allow_event(struct queue *q)
{
	if (!q->masked || q->vain_op.in_flight)
		return;
	if (q->nr_vain_events < VAIN_EVENTS_MAX)
		unmask(q);
	else
		timer_start(q, &q->vain_op, VAIN_EVENT_MS);
}

static bool taking_blocked(const struct queue *q)
{
	return q->barrier || q->nr_unbuffered || q->on_trial ||
	       q->payer.waits || q->stopping || q->ring_broken;
}

/* ---- before sleeping ---------------------------------------------- */

/* Lets the other thread of the core have it. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* Looks, without asking the guest for events: none are sent meanwhile. */
static bool look_for_requests(struct queue *q)
{
	/* What is going will wake us; what is blocked must not be taken. */
	if (q->nr_busy || taking_blocked(q) ||
	    !idle_poll_rest(&q->poll, clock_now_ns()))
		return false;
	do {
		for (unsigned int i = 0; i < LOOKS_PER_CLOCK; i++) {
			if (ring_has_requests(&q->ring))
				return true;
			relax();
		}
		if (__atomic_load_n(&q->stop_requested, __ATOMIC_RELAXED))
			return false;
	} while (idle_poll_goes_on(&q->poll, clock_now_ns()));
	return false;
}

/*
 * Gets ready to sleep: asks for an event, then looks once more.  The port is
 * unmasked only after all work is done, so a guest that sends events without
 * requests wakes us once a turn (XSA-332).  True when there is more to do.
 */
static bool prepare_sleep(struct queue *q)
{
	if (look_for_requests(q))
		return true;
	if (!q->evtchn_op.in_flight)
		evtchn_wait(q->ec, q->loop, &q->evtchn_op);
	idle_arm(q);
	throttle_arm(q);
	if (taking_blocked(q))
		return false; /* completions, or time, will wake us */
	if (ring_final_check(&q->ring))
		return true;
	allow_event(q);
	return false;
}

/*
 * True when another turn has something to do at once: room was made for a
 * request that waits, or a step is complete already.
 */
static bool queue_turn(struct queue *q)
{
	q->unblocked = false;
	collect_done(q);
	take_requests(q);
	start_taken(q);
	collect_done(q); /* what was complete before submit returned */
	answer_finished(q);
	barrier_check(q); /* the last one before it may just be answered */
	show_state(q, 0);
	return (q->unblocked && taking_blocked(q)) ||
	       !list_empty(&q->block->done) || !list_empty(&q->finished);
}

/* ---- start and stop ----------------------------------------------- */

static void wake_arm(struct queue *q)
{
	io_loop_poll(q->loop, &q->wake_op, q->wake_fd, POLLIN);
}

static void wake_done(struct io_op *op, int result)
{
	struct queue *q = container_of(op, struct queue, wake_op);
	uint64_t value;

	(void)result;
	if (read(q->wake_fd, &value, sizeof(value)) < 0)
		value = 0; /* EAGAIN: somebody was faster than the poll */
	q->stopping = __atomic_load_n(&q->stop_requested, __ATOMIC_ACQUIRE);
	if (q->stopping) {
		block_queue_abandon(q->block);
		return;
	}
	/* Else the limits have changed, or it is measured what this takes. */
	throttle_join(q->params.throttle, &q->payer);
	io_loop_cancel(q->loop, &q->throttle_op);
	wake_arm(q);
}

static int by_number(const void *a, const void *b)
{
	uint64_t left = (*(struct blk_request *const *)a)->entry->number;
	uint64_t right = (*(struct blk_request *const *)b)->entry->number;

	return left < right ? -1 : left > right;
}

/* Answers that the guest has not seen are written again, each in its place. */
static void answer_again(struct queue *q, struct blk_request **done,
			 unsigned int nr_done)
{
	for (unsigned int i = 0; i < nr_done; i++) {
		answer(q, done[i], inflight_answer_status(done[i]->entry));
		q->nr_busy++;
	}
	publish_answers(q);
	for (unsigned int i = 0; i < nr_done; i++)
		request_release(q, done[i]);
}

/*
 * What the worker before us had not answered is carried out again, in the order
 * in which it was taken: its data is in the guest's pages still, and what was
 * half done is done whole.  If that worker died of its own fault, one of them may
 * be what it died of: then one after the other, see try_next().
 */
static void replay(struct queue *q, struct blk_request **taken,
		   unsigned int nr_taken)
{
	qsort(taken, nr_taken, sizeof(*taken), by_number);
	for (unsigned int i = 0; i < nr_taken; i++) {
		struct blk_request *req = taken[i];

		request_reset(req);
		req->number = req->entry->number;
		req->status = req->entry->status;
		req->indirect = false;
		req->again = true;
		inflight_tried(req->entry, q->params.crashed);
		q->nr_busy++;
		q->nr_unbuffered++;
		list_add_tail(&q->unbuffered, &req->node);
	}
	count(&q->params.stats->replayed, nr_taken);
	q->on_trial = q->params.crashed && nr_taken;
}

/* Goes on where the worker before us was killed. */
static void take_over(struct queue *q)
{
	struct blk_request *taken[INFLIGHT_SLOTS_MAX];
	struct blk_request *done[INFLIGHT_SLOTS_MAX];
	unsigned int nr_taken = 0, nr_done = 0;

	for (unsigned int i = 0; i < q->ring.nr_slots; i++) {
		struct blk_request *req = &q->requests[i];
		const struct inflight_entry *entry = req->entry;

		if (entry->state == INFLIGHT_TAKEN) {
			taken[nr_taken++] = req;
		} else if (entry->state == INFLIGHT_DONE) {
			/* inflight_recover() has seen that none is missing. */
			done[inflight_answer_index(entry) - q->ring.rsp_prod] =
				req;
			nr_done++;
		}
	}
	answer_again(q, done, nr_done);
	replay(q, taken, nr_taken);
}

/* Whether anything is left that must end before the thread may. */
static bool queue_busy(const struct queue *q)
{
	unsigned int abandoned =
		q->nr_waiting + q->nr_unbuffered + q->nr_given_up;

	if (q->barrier && q->barrier->steps & REQUEST_STEP_DRAIN)
		abandoned++; /* it never started */
	return q->nr_busy > abandoned;
}

/* Ends the loop's own operations, so that no descriptor stays referenced. */
static void quiesce(struct queue *q)
{
	struct io_op *const ops[] = { &q->evtchn_op,   &q->wake_op,
				      &q->retry_op,    &q->idle_op,
				      &q->throttle_op, &q->vain_op };

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		io_loop_cancel(q->loop, ops[i]);
		while (ops[i]->in_flight && io_loop_run(q->loop, true) >= 0)
			;
	}
}

static void serve(struct queue *q)
{
	bool more = true; /* requests may wait from before we came */

	if (q->params.origin == QUEUE_LEFT)
		take_over(q);
	/* Who was there before may have published without telling. */
	if (q->params.origin != QUEUE_NEW)
		evtchn_notify(q->ec, q->port);
	/* No other queue's requests are tried meanwhile. */
	if (q->on_trial)
		pthread_mutex_lock(q->params.trial);
	throttle_join(q->params.throttle, &q->payer);
	wake_arm(q);
	idle_poll_init(&q->poll, q->params.sleep_cost_ns);
	while (!q->stopping || queue_busy(q)) {
		int rc = io_loop_run(q->loop, !more);

		assert(rc >= 0);
		more = queue_turn(q) || prepare_sleep(q);
	}
	trial_end(q); /* it may be asked to stop in the middle */
	quiesce(q);
}

static void wait_for(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		;
}

static void *queue_thread(void *arg)
{
	struct queue *q = arg;

	q->start_error = queue_open(q, &q->start_text);
	if (q->start_error < 0) {
		queue_close(q);
		sem_post(&q->started);
		return NULL;
	}
	__atomic_store_n(&q->params.stats->slots, q->ring.nr_slots,
			 __ATOMIC_RELAXED);
	sem_post(&q->started);
	wait_for(&q->told);
	if (q->serves)
		serve(q);
	queue_close(q);
	__atomic_store_n(&q->params.stats->slots, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&q->params.stats->in_flight, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&q->params.stats->grants_mapped, 0, __ATOMIC_RELAXED);
	q->params.events.stopped(q->params.events.arg);
	return NULL;
}

static int queue_alloc(const struct queue_params *params,
		       struct queue **ret_queue)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->params = *params;
	q->evtchn_op.done = evtchn_done;
	q->wake_op.done = wake_done;
	q->retry_op.done = retry_done;
	q->idle_op.done = idle_done;
	q->throttle_op.done = throttle_done;
	q->vain_op.done = vain_done;
	list_init(&q->free);
	list_init(&q->parsed);
	list_init(&q->unbuffered);
	list_init(&q->taken);
	list_init(&q->finished);
	list_init(&q->flush_failed);
	sem_init(&q->started, 0, 0);
	sem_init(&q->told, 0, 0);
	*ret_queue = q;
	q->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return q->wake_fd < 0 ? -errno : 0;
}

int queue_start(const struct queue_params *params, struct queue **ret_queue,
		struct error_text *err)
{
	struct queue *q = NULL;
	int rc = queue_alloc(params, &q);

	if (!rc)
		rc = -pthread_create(&q->thread, NULL, queue_thread, q);
	if (rc < 0) {
		error_set(err, rc, "start a queue: %s", strerror(-rc));
		goto fail;
	}
	q->thread_started = true;
	wait_for(&q->started);
	rc = q->start_error;
	if (rc < 0) {
		*err = q->start_text;
		goto fail;
	}
	*ret_queue = q;
	return 0;
fail:
	queue_free(q);
	return rc;
}

static void queue_wake(struct queue *queue)
{
	uint64_t one = 1;

	if (write(queue->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN); /* it is awake already */
}

void queue_serve(struct queue *queue)
{
	queue->serves = true;
	sem_post(&queue->told);
}

void queue_stop(struct queue *queue)
{
	__atomic_store_n(&queue->stop_requested, true, __ATOMIC_RELEASE);
	queue_wake(queue);
	sem_post(&queue->told); /* it may never have been */
}

bool queue_answered(const struct queue *queue)
{
	return !queue->nr_busy;
}

void queue_limits_changed(struct queue *queue)
{
	queue_wake(queue);
}

void queue_free(struct queue *queue)
{
	if (!queue)
		return;
	if (queue->thread_started)
		pthread_join(queue->thread, NULL);
	if (queue->wake_fd >= 0)
		close(queue->wake_fd);
	sem_destroy(&queue->started);
	sem_destroy(&queue->told);
	free(queue);
}
