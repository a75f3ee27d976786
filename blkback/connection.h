/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection: the queues of one frontend that has said how to reach it.  It
 * begins with the frontend's parameters and ends when the last queue is
 * unmapped.  The functions are called by the worker's main thread.
 */
#ifndef XEN_DISKD_CONNECTION_H
#define XEN_DISKD_CONNECTION_H

#include "blkback/queue.h"
#include "common/error-text.h"

#include <stdbool.h>
#include <stdint.h>

#define CONNECTION_QUEUES_MAX 16u
#define CONNECTION_PROTOCOL_BYTES 16

/* What a frontend may have; offered to it, and held against its answer. */
struct connection_limits {
	unsigned int ring_page_order; /* 2^this pages a ring */
	unsigned int queues; /* 1 or more */
	unsigned int persistent_grants; /* a queue keeps mapped; 0: none */
	unsigned int pool_pages; /* for a queue's data in flight */
};

/* What the frontend published, read and bounded by the supervisor. */
struct connection_params {
	uint16_t domid;
	uint64_t disk; /* tells it from all others of this host */
	enum queue_origin origin;
	/* The same, of the first worker: QUEUE_LEFT goes by it if that never began. */
	enum queue_origin begun_as;
	bool crashed : 1; /* see queue_params */
	/* An `protocol` node's value; empty when there is none. */
	char protocol[CONNECTION_PROTOCOL_BYTES];
	unsigned int nr_queues;
	unsigned int ring_pages;
	unsigned int persistent_grants; /* a queue; 0 if either side has none */
	unsigned int pool_pages;
	struct {
		uint32_t port;
		uint32_t refs[QUEUE_RING_PAGES_MAX];
	} queues[CONNECTION_QUEUES_MAX];
};

/* The ABI that the parameters name; NULL when it is unknown. */
const struct ring_abi *connection_abi(const struct connection_params *params);

/* The size of the in-flight table that the parameters need. */
size_t connection_inflight_bytes(const struct connection_params *params);

/* What a worker writes for the supervisor to read: numbers alone. */
struct disk_stats {
	struct queue_stats queues[CONNECTION_QUEUES_MAX];
	struct block_status provider; /* of what is behind the disk */
};

/* What one connection after the other shares. */
struct connection_disk {
	struct block_provider *provider;
	uint64_t flush_timeout_ms;
	/*
	 * Set when the disk fails, and not reset: the data that a flush has
	 * lost does not come back with a new frontend.
	 */
	bool *failed;
	struct throttle *throttle;
	struct disk_stats *stats;
	uint64_t sleep_cost_ns; /* see idle_poll_init() */
};

struct connection;

/*
 * Starts a queue for each that the parameters name; all or none.  The
 * caller keeps inflight_fd, and what disk points to, in place until
 * connection_free() and owns *ret_connection.  events.stopped is called once,
 * on a queue's thread, after the last queue has stopped.  Errors as
 * queue_start(), with a message.
 */
int connection_start(const struct connection_params *params,
		     const struct connection_disk *disk, int inflight_fd,
		     const struct queue_events *events,
		     struct connection **ret_connection,
		     struct error_text *err);

/* Asks every queue to stop.  Returns at once; ends with events.stopped. */
void connection_stop(struct connection *connection);

/* See queue_answered(): that of all queues, after events.stopped. */
bool connection_answered(const struct connection *connection);

/* See queue_limits_changed(). */
void connection_limits_changed(struct connection *connection);

/* Waits for a stopped connection and frees it.  NULL is a no-op. */
void connection_free(struct connection *connection);

#endif
