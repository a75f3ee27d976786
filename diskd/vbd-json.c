/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk as JSON. */
#include "diskd/vbd-json.h"

#include "blkback/backend.h"
#include "blkback/vdev.h"

#include <stdio.h>
#include <string.h>

/* A string for JSON whatever its bytes are. */
static json_t *json_text(const char *text)
{
	json_t *value = json_string(text);
	char copy[PROVIDER_SPEC_BYTES];

	if (value)
		return value;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}

static uint64_t counter(const uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

/* The members of "requests", and of each queue: the numbers of a queue. */
static const struct {
	const char *name;
	size_t offset;
	uint64_t unit;
	bool now; /* means nothing without a worker */
} numbers[] = {
#define NUMBER(name, member, unit, now)                               \
	{                                                             \
		name, offsetof(struct queue_stats, member), unit, now \
	}
	NUMBER("read", reads, 1, false),
	NUMBER("write", writes, 1, false),
	NUMBER("flush", flushes, 1, false),
	NUMBER("discard", discards, 1, false),
	NUMBER("errors", errors, 1, false),
	NUMBER("read_bytes", read_bytes, 1, false),
	NUMBER("written_bytes", written_bytes, 1, false),
	NUMBER("discarded_bytes", discarded_bytes, 1, false),
	NUMBER("replayed", replayed, 1, false),
	NUMBER("poisoned", poisoned, 1, false),
	NUMBER("fenced_ms", fenced_ns, 1000000, false),
	NUMBER("throttled_ms", throttled_ns, 1000000, false),
	NUMBER("in_flight", in_flight, 1, true),
	NUMBER("slots", slots, 1, true),
	NUMBER("grants_mapped", grants_mapped, 1, true),
};

static uint64_t number_of(const struct vbd *vbd, unsigned int queue, size_t i)
{
	const void *stats = &vbd->stats->queues[queue];

	if (numbers[i].now && !vbd->worker)
		return 0;
	return counter((const void *)((const char *)stats + numbers[i].offset));
}

/* The sum of so many queues of the disk, from that one on. */
static json_t *json_requests(const struct vbd *vbd, unsigned int first,
			     unsigned int nr)
{
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint64_t sum = 0;

		for (unsigned int q = 0; q < nr; q++)
			sum += number_of(vbd, first + q, i);
		json_object_set_new(
			object, numbers[i].name,
			json_integer((json_int_t)(sum / numbers[i].unit)));
	}
	return object;
}

static json_t *json_all_requests(const struct vbd *vbd)
{
	return json_requests(vbd, 0, vbd->stats ? CONNECTION_QUEUES_MAX : 0);
}

/* How the server behind a disk is; null where there is none. */
static json_t *json_server(const struct vbd *vbd)
{
	static const char *const names[] = {
		[BLOCK_LINK_CONNECTED] = "connected",
		[BLOCK_LINK_CONNECTING] = "connecting",
		[BLOCK_LINK_FAILED] = "failed",
	};
	const struct block_status *status;
	uint64_t state;

	if (!vbd->stats)
		return json_null();
	status = &vbd->stats->provider;
	/* Another process writes it: it may be anything. */
	state = counter(&status->state);
	if (state == BLOCK_LINK_NONE || state > BLOCK_LINK_FAILED)
		return json_null();
	return json_pack("{s:s, s:I, s:I, s:I}", "state", names[state],
			 "reconnects", (json_int_t)counter(&status->reconnects),
			 "waiting", (json_int_t)counter(&status->waiting),
			 "resent", (json_int_t)counter(&status->resent));
}

static void provider_name(const struct vbd *vbd, char *name)
{
	struct error_text err;

	if (provider_spec_name(vbd->target, name, &err) < 0)
		strcpy(name, "?");
}

json_t *vbd_json(const struct vbd *vbd)
{
	char domain[256], vdev[VDEV_NAME_BYTES], provider[PROVIDER_NAME_BYTES];
	bool connected = vbd->worker_state == VBD_WORKER_CONNECTED;
	json_t *protocol = json_null();

	backend_domain_name(vbd->backend, vbd->domid, domain, sizeof(domain));
	vdev_format(vbd->devid, vdev);
	provider_name(vbd, provider);
	if (connected)
		protocol = json_string(connection_abi(&vbd->params)->protocol);
	return json_pack(
		"{s:i, s:o, s:I, s:s, s:s, s:s, s:o, s:s, s:s, s:s, "
		"s:{s:i, s:s}, s:o, s:o, s:o, s:o, s:o, s:o}",
		"domid", vbd->domid, "domain", json_text(domain), "devid",
		(json_int_t)vbd->devid, "vdev", vdev, "kind", vbd->kind->name,
		"path", vbd->path, "target", json_text(vbd->target), "provider",
		provider, "mode", vbd->read_only ? "r" : "w", "state",
		vbd_state_name(vbd->state), "worker", "pid",
		(int)vbd->worker_pid, "status",
		vbd_worker_state_name(vbd->worker_state), "size_bytes",
		vbd->info_valid ? json_integer((json_int_t)vbd->info.size_bytes)
				: json_null(),
		"version",
		vbd->info_valid && vbd->info.version[0]
			? json_string(vbd->info.version)
			: json_null(),
		"server", json_server(vbd), "protocol", protocol, "error",
		vbd->has_error ? json_text(vbd->error.text) : json_null(),
		"requests", json_all_requests(vbd));
}

/* Those that there are now. */
static json_t *json_queues(const struct vbd *vbd)
{
	json_t *queues = json_array();

	if (!vbd->worker || !vbd->stats)
		return queues;
	for (unsigned int i = 0; i < CONNECTION_QUEUES_MAX; i++)
		if (counter(&vbd->stats->queues[i].slots))
			json_array_append_new(queues, json_requests(vbd, i, 1));
	return queues;
}

json_t *vbd_json_stat(const struct vbd *vbd)
{
	const struct block_limits *limits = &vbd->info.limits;
	json_t *object = vbd_json(vbd);

	json_object_set_new(object, "queues", json_queues(vbd));
	json_object_set_new(object, "limits",
			    json_pack("{s:I, s:I}", "iops",
				      (json_int_t)limits->iops, "bps",
				      (json_int_t)limits->bps));
	return object;
}
