/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue: one ring, its event channel, and the thread that serves it.
 *
 * A turn of the thread: take requests until the ring is empty or the data
 * pool is exhausted; one grant-copy batch in for the segments of all indirect
 * requests, one for the data of all writes; submit to the provider; collect what is done; one grant-copy batch out for all reads
 * done; write the responses, publish them, notify the guest if it asks.
 * Nothing is allocated between taking a request and answering it.
 *
 * The functions below are called by the worker's main thread.
 */
#ifndef XEN_DISKD_QUEUE_H
#define XEN_DISKD_QUEUE_H

#include "blkback/blkif-abi.h"
#include "blkback/throttle.h"
#include "common/error-text.h"
#include "providers/provider.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* BLKIF's largest ring that is offered: 2^4 pages. */
#define QUEUE_RING_PAGES_MAX 16u

struct queue;

/* What has become of the ring before. */
enum queue_origin {
	QUEUE_NEW, /* nothing: the frontend starts at index 0 */
	/* It was served, and is right only if every request was answered. */
	QUEUE_DRAINED,
	/* It was served, and what was taken from it is answered. */
	QUEUE_ANSWERED,
	/* Its worker has died: the in-flight table says what is to be done. */
	QUEUE_LEFT,
};

/*
 * What a queue has done, and how it is: written by its thread alone, with
 * relaxed atomics, into memory that others read.  The counters go on with the
 * next queue of the same place.
 */
struct queue_stats {
	uint64_t reads, writes, flushes, discards, errors;
	uint64_t read_bytes, written_bytes, discarded_bytes;
	uint64_t replayed; /* requests that a worker before had begun */
	uint64_t poisoned; /* of these, given up: workers died of them */
	/* Before it could begin: a dead worker's I/O was still under way. */
	uint64_t fenced_ns;
	uint64_t throttled_ns; /* requests were there, and a limit reached */
	/* Now; all 0 while there is no queue. */
	uint64_t slots; /* of the ring */
	uint64_t in_flight; /* requests taken and not answered */
	uint64_t grants_mapped; /* persistent ones */
} __attribute__((aligned(64))); /* no cache line for two threads */

/* What a queue tells its owner; called on the queue's thread. */
struct queue_events {
	/* The ring is broken by the guest; nothing more is taken from it. */
	void (*ring_broken)(void *arg, const char *cause);
	/* A flush failed for good; from now on every write is refused. */
	void (*disk_failed)(void *arg, const char *cause);
	/* A request was given up, and nothing else: workers died of it. */
	void (*poisoned)(void *arg, const char *cause);
	/* The thread has ended: queue_free() will not block. */
	void (*stopped)(void *arg);
	void *arg;
};

struct queue_params {
	uint16_t domid;
	const struct ring_abi *abi;
	unsigned int nr_pages;
	uint32_t refs[QUEUE_RING_PAGES_MAX];
	uint32_t port;
	/* Pages to keep mapped, if the frontend's grants persist; else 0. */
	unsigned int persistent_grants;
	/* One that was not used is given back after this time to twice that. */
	uint64_t grant_idle_ms;
	/* Pages for the data of requests in flight: see page_pool_init(). */
	unsigned int pool_pages;
	enum queue_origin origin;
	/* With QUEUE_LEFT: what it would have been, if the table was never begun. */
	enum queue_origin begun_as;
	/* Of QUEUE_LEFT: that worker died of its own fault. */
	bool crashed;
	/* Held while its requests are tried; shared by a connection's queues. */
	pthread_mutex_t *trial;
	struct block_provider *provider;
	/* The in-flight table: its descriptor, and which part is ours. */
	int inflight_fd;
	unsigned int index, nr_queues;
	/* How long a failed flush is tried again before the disk fails. */
	uint64_t flush_timeout_ms;
	/* Set when the disk has failed; shared by the queues of a disk. */
	bool *disk_failed;
	/* The disk's; shared likewise. */
	struct throttle *throttle;
	uint64_t sleep_cost_ns; /* see idle_poll_init() */
	struct queue_stats *stats; /* this queue's own */
	struct queue_events events;
};

/*
 * Starts a queue: maps the ring, binds the event channel, starts the thread.
 * Returns when the thread can serve the ring, which it does not before
 * queue_serve(); the caller owns *ret_queue.  Errors, each with a message:
 * -EINVAL for references or a port that the guest has not granted to us; -EBADMSG
 * for an in-flight table that no worker can have left; -EBUSY for a ring with
 * unanswered requests and no table, and for a new one with answers in it; -ENOMEM
 * and those of io_uring and the provider.
 */
int queue_start(const struct queue_params *params, struct queue **ret_queue,
		struct error_text *err);

/* Once, after which there is no way back: what is answered cannot be refused. */
void queue_serve(struct queue *queue);

/*
 * Asks the thread to stop: it takes nothing more, waits for the I/O that is
 * going, answers what can be answered, unmaps, unbinds and ends with
 * events.stopped.  Returns at once.  One that never served does nothing first.
 */
void queue_stop(struct queue *queue);

/* Of one that has stopped: nothing that was taken is left without an answer. */
bool queue_answered(const struct queue *queue);

/* The disk's limits were changed: what waited for the old ones is let go. */
void queue_limits_changed(struct queue *queue);

/* Waits for the thread of a stopped queue and frees it.  NULL is a no-op. */
void queue_free(struct queue *queue);

#endif
