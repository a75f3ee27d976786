/* SPDX-License-Identifier: BSD-2-Clause */
/* The queues of one frontend. */
#include "blkback/connection.h"

#include <errno.h>
#include <stdlib.h>

#define GRANT_IDLE_MS 10000u

struct connection {
	struct queue_events owner;
	unsigned int nr_running; /* atomic */
	pthread_mutex_t trial; /* see queue_params */
	bool announce; /* tell the owner when the last one stops */
	unsigned int nr_queues;
	struct queue *queues[CONNECTION_QUEUES_MAX];
};

static void on_ring_broken(void *arg, const char *cause)
{
	struct connection *connection = arg;

	connection->owner.ring_broken(connection->owner.arg, cause);
}

static void on_disk_failed(void *arg, const char *cause)
{
	struct connection *connection = arg;

	connection->owner.disk_failed(connection->owner.arg, cause);
}

static void on_poisoned(void *arg, const char *cause)
{
	struct connection *connection = arg;

	connection->owner.poisoned(connection->owner.arg, cause);
}

static void on_stopped(void *arg)
{
	struct connection *connection = arg;

	if (__atomic_sub_fetch(&connection->nr_running, 1, __ATOMIC_ACQ_REL))
		return;
	if (connection->announce)
		connection->owner.stopped(connection->owner.arg);
}

static void fill_queue(const struct connection_params *params,
		       unsigned int index, struct queue_params *queue)
{
	queue->domid = params->domid;
	queue->abi = connection_abi(params);
	queue->nr_pages = params->ring_pages;
	for (unsigned int i = 0; i < params->ring_pages; i++)
		queue->refs[i] = params->queues[index].refs[i];
	queue->port = params->queues[index].port;
	queue->persistent_grants = params->persistent_grants;
	queue->pool_pages = params->pool_pages;
	queue->origin = params->origin;
	queue->begun_as = params->begun_as;
	queue->crashed = params->crashed;
	queue->index = index;
	queue->nr_queues = params->nr_queues;
}

int connection_start(const struct connection_params *params,
		     const struct connection_disk *disk, int inflight_fd,
		     const struct queue_events *events,
		     struct connection **ret_connection, struct error_text *err)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	struct queue_params queue = {
		.provider = disk->provider,
		.inflight_fd = inflight_fd,
		.flush_timeout_ms = disk->flush_timeout_ms,
		.disk_failed = disk->failed,
		.throttle = disk->throttle,
		.sleep_cost_ns = disk->sleep_cost_ns,
		.grant_idle_ms = GRANT_IDLE_MS,
		.events = { on_ring_broken, on_disk_failed, on_poisoned,
			    on_stopped, NULL },
	};
	int rc;

	if (!connection)
		return error_set(err, -ENOMEM, "start a connection: no memory");
	connection->owner = *events;
	pthread_mutex_init(&connection->trial, NULL);
	queue.trial = &connection->trial;
	queue.events.arg = connection;
	for (unsigned int i = 0; i < params->nr_queues; i++) {
		fill_queue(params, i, &queue);
		queue.stats = &disk->stats->queues[i];
		__atomic_add_fetch(&connection->nr_running, 1,
				   __ATOMIC_RELAXED);
		rc = queue_start(&queue, &connection->queues[i], err);
		if (rc < 0)
			goto fail;
		connection->nr_queues++;
	}
	/* Not one by one: of what is refused as a whole, nothing is done. */
	for (unsigned int i = 0; i < params->nr_queues; i++)
		queue_serve(connection->queues[i]);
	connection->announce = true;
	*ret_connection = connection;
	return 0;
fail:
	connection_stop(connection);
	connection_free(connection);
	return rc;
}

void connection_stop(struct connection *connection)
{
	for (unsigned int i = 0; i < connection->nr_queues; i++)
		queue_stop(connection->queues[i]);
}

bool connection_answered(const struct connection *connection)
{
	for (unsigned int i = 0; i < connection->nr_queues; i++) {
		if (!queue_answered(connection->queues[i]))
			return false;
	}
	return true;
}

void connection_limits_changed(struct connection *connection)
{
	for (unsigned int i = 0; i < connection->nr_queues; i++)
		queue_limits_changed(connection->queues[i]);
}

void connection_free(struct connection *connection)
{
	if (!connection)
		return;
	for (unsigned int i = 0; i < connection->nr_queues; i++)
		queue_free(connection->queues[i]);
	pthread_mutex_destroy(&connection->trial);
	free(connection);
}
