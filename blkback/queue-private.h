/* SPDX-License-Identifier: BSD-2-Clause */
/* A queue, for the files that are its thread: queue.c, queue-open.c. */
#ifndef XEN_DISKD_QUEUE_PRIVATE_H
#define XEN_DISKD_QUEUE_PRIVATE_H

#include "blkback/queue.h"

#include "blkback/idle-poll.h"
#include "blkback/inflight.h"
#include "blkback/page-pool.h"
#include "blkback/request.h"
#include "blkback/ring.h"
#include "blkback/transfer.h"
#include "evtchn/evtchn.h"
#include "gnttab/gnttab.h"

#include <semaphore.h>

struct queue {
	struct queue_params params;
	pthread_t thread;
	bool thread_started;
	int wake_fd; /* eventfd: look at stop_requested */
	bool stop_requested; /* atomic */

	/* How the start went, handed over through `started`. */
	sem_t started;
	int start_error;
	struct error_text start_text;
	/* Whether to serve, handed over through `told`. */
	sem_t told;
	bool serves;

	/* From here on the thread's own. */
	struct gnttab *gt;
	struct evtchn *ec;
	uint32_t port;
	bool bound;
	struct ring ring;
	struct io_loop *loop;
	struct block_queue *block;
	struct inflight inflight;
	uint64_t nr_taken; /* the low half is the ring's req_cons */
	struct page_pool pool;
	bool memory_registered; /* or tried */
	struct transfer *transfer;

	struct blk_request *requests;
	struct iovec *iovs; /* INFLIGHT_SEGMENTS_MAX for each of them */
	struct list free; /* requests without a guest's request */
	struct list parsed; /* copied off the ring in this turn */
	struct list unbuffered; /* parsed, and no buffer was free for them */
	struct list taken; /* of this turn, in ring order */
	struct list finished; /* to be answered in this turn */
	struct list flush_failed; /* wait to be flushed again, or for ever */
	unsigned int nr_busy; /* taken and not answered */
	unsigned int nr_waiting; /* of these, on flush_failed */
	unsigned int nr_given_up; /* of these, for who has the table next */
	unsigned int nr_unbuffered; /* and on the list of that name */
	struct blk_request *barrier; /* nothing is taken while it is there */

	struct io_op evtchn_op, wake_op, retry_op, idle_op, throttle_op;
	struct io_op vain_op;
	unsigned int nr_vain_events; /* since there was a request */
	struct throttle_payer payer;
	struct idle_poll poll;
	bool masked; /* an event was taken; the port cannot fire */
	bool unblocked; /* this turn, a request was released */
	bool ring_broken;
	/* What was left is carried out one at a time: one of it may be poison. */
	bool on_trial;
	bool stopping;
};

/*
 * Binds the port, maps the ring and finds out where it is to be begun, of a queue
 * that has its ->params and no more.  Errors, with a message; queue_close() is due in
 * any case.
 */
int queue_open(struct queue *q, struct error_text *err);

/* Takes half-built queues; the thread's own part only. */
void queue_close(struct queue *q);

#endif
