/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading a frontend's answer and writing the backend's offers. */
#include "blkback/negotiate.h"

#include "blkback/inflight.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Bits of the `info` node (blkif.h). */
#define VDISK_BITS_CDROM 0x1u
#define VDISK_BITS_READONLY 0x4u

int negotiate_offer(struct xenstore *xs, xs_transaction_t tx,
		    const char *backend_path,
		    const struct connection_limits *limits)
{
	int rc = xenstore_printf(xs, tx, backend_path, "max-ring-page-order",
				 "%u", limits->ring_page_order);

	if (!rc)
		rc = xenstore_printf(xs, tx, backend_path,
				     "multi-queue-max-queues", "%u",
				     limits->queues);
	if (!rc)
		rc = xenstore_printf(xs, tx, backend_path, "feature-persistent",
				     "%d", limits->persistent_grants != 0);
	return rc;
}

static void honour_number(struct xenstore *xs, const char *dir, const char *key,
			  uint64_t max, unsigned int *limit)
{
	uint64_t value;

	if (!xenstore_read_number(xs, XBT_NULL, dir, key, max, &value) &&
	    value > *limit)
		*limit = (unsigned int)value;
}

void negotiate_honour_offer(struct xenstore *xs, const char *backend_path,
			    struct connection_limits *limits)
{
	uint64_t persistent;

	honour_number(xs, backend_path, "max-ring-page-order",
		      __builtin_ctz(QUEUE_RING_PAGES_MAX),
		      &limits->ring_page_order);
	honour_number(xs, backend_path, "multi-queue-max-queues",
		      CONNECTION_QUEUES_MAX, &limits->queues);
	/* Linux's driver writes its own whatever we offer, and goes by ours. */
	if (xenstore_read_number(xs, XBT_NULL, backend_path,
				 "feature-persistent", UINT32_MAX,
				 &persistent) < 0 ||
	    !persistent)
		limits->persistent_grants = 0;
}

/* A number that the guest wrote; fallback_ok: a missing one leaves *value. */
static int read_number(struct xenstore *xs, const char *dir, const char *key,
		       bool optional, uint64_t max, uint64_t *value,
		       struct error_text *err)
{
	int rc = xenstore_read_number(xs, XBT_NULL, dir, key, max, value);

	if (!rc || (rc == -ENOENT && optional))
		return 0;
	if (rc == -ERANGE)
		return error_set(err, rc, "%s/%s: more than %llu", dir, key,
				 (unsigned long long)max);
	return error_set(err, rc, "%s/%s: %s", dir, key,
			 rc == -EINVAL ? "not a number" : strerror(-rc));
}

static int read_protocol(struct xenstore *xs, const char *dir,
			 struct connection_params *params,
			 struct error_text *err)
{
	char value[256];
	int rc = xenstore_read(xs, XBT_NULL, dir, "protocol", value,
			       sizeof(value));

	params->protocol[0] = '\0';
	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return error_set(err, rc, "%s/protocol: %s", dir,
				 strerror(-rc));
	if (!*value || !ring_abi_find(value))
		return error_set(err, -EINVAL,
				 "%s/protocol: unknown protocol '%s'", dir,
				 value);
	snprintf(params->protocol, sizeof(params->protocol), "%s",
		 ring_abi_find(value)->protocol);
	return 0;
}

/* The references and the port of one queue, from its directory. */
static int read_queue(struct xenstore *xs, const char *dir, bool numbered,
		      struct connection_params *params, unsigned int queue,
		      struct error_text *err)
{
	uint64_t value = 0;
	char key[32];
	int rc;

	for (unsigned int i = 0; i < params->ring_pages; i++) {
		if (numbered)
			snprintf(key, sizeof(key), "ring-ref%u", i);
		else
			snprintf(key, sizeof(key), "ring-ref");
		rc = read_number(xs, dir, key, false, UINT32_MAX, &value, err);
		if (rc < 0)
			return rc;
		params->queues[queue].refs[i] = (uint32_t)value;
	}
	rc = read_number(xs, dir, "event-channel", false, UINT32_MAX, &value,
			 err);
	params->queues[queue].port = (uint32_t)value;
	return rc;
}

/*
 * The number of ring pages.  A frontend that writes ring-page-order numbers
 * its references (ring-ref0, ...) even for a single page.
 */
static int read_ring_order(struct xenstore *xs, const char *dir,
			   const struct connection_limits *limits,
			   struct connection_params *params, bool *ret_numbered,
			   struct error_text *err)
{
	uint64_t order = UINT64_MAX;
	int rc = read_number(xs, dir, "ring-page-order", true,
			     limits->ring_page_order, &order, err);

	*ret_numbered = order != UINT64_MAX;
	params->ring_pages = *ret_numbered ? 1u << order : 1u;
	return rc;
}

static int read_nr_queues(struct xenstore *xs, const char *dir,
			  const struct connection_limits *limits,
			  struct connection_params *params,
			  struct error_text *err)
{
	uint64_t nr = 1;
	int rc = read_number(xs, dir, "multi-queue-num-queues", true,
			     limits->queues, &nr, err);

	if (rc < 0)
		return rc;
	if (!nr)
		return error_set(err, -ERANGE,
				 "%s/multi-queue-num-queues: is 0", dir);
	params->nr_queues = (unsigned int)nr;
	return 0;
}

/* Only where both sides have it; nobody must ask for it. */
static int read_persistent(struct xenstore *xs, const char *dir,
			   const struct connection_limits *limits,
			   struct connection_params *params,
			   struct error_text *err)
{
	uint64_t persistent = 0;
	int rc = read_number(xs, dir, "feature-persistent", true, UINT32_MAX,
			     &persistent, err);

	params->persistent_grants = persistent ? limits->persistent_grants : 0;
	params->pool_pages = limits->pool_pages;
	return rc;
}

int negotiate_read_frontend(struct xenstore *xs, const char *frontend_path,
			    const struct connection_limits *limits,
			    struct connection_params *ret_params,
			    struct error_text *err)
{
	char dir[XENSTORE_PATH_BYTES];
	bool numbered = false;
	int rc = read_protocol(xs, frontend_path, ret_params, err);

	if (!rc)
		rc = read_nr_queues(xs, frontend_path, limits, ret_params, err);
	if (!rc)
		rc = read_ring_order(xs, frontend_path, limits, ret_params,
				     &numbered, err);
	if (!rc)
		rc = read_persistent(xs, frontend_path, limits, ret_params,
				     err);
	if (rc < 0)
		return rc;
	if (ret_params->nr_queues == 1)
		return read_queue(xs, frontend_path, numbered, ret_params, 0,
				  err);
	for (unsigned int i = 0; i < ret_params->nr_queues && !rc; i++) {
		snprintf(dir, sizeof(dir), "%.3000s/queue-%u", frontend_path,
			 i);
		rc = read_queue(xs, dir, numbered, ret_params, i, err);
	}
	return rc;
}

/*
 * Not secure (BLKSECDISCARD): hardly a disk has it, and a guest that was told of
 * it would have to be given it on every disk that it is moved to.
 */
static int publish_discard(struct xenstore *xs, xs_transaction_t tx,
			   const char *dir, const struct block_info *info)
{
	bool can_discard = info->discard_granularity_bytes && !info->read_only;
	int rc = xenstore_printf(xs, tx, dir, "feature-discard", "%d",
				 can_discard);

	if (rc || !can_discard)
		return rc;
	rc = xenstore_printf(xs, tx, dir, "discard-granularity", "%u",
			     info->discard_granularity_bytes);
	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "discard-alignment", "0");
	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "discard-secure", "0");
	return rc;
}

static int publish_features(struct xenstore *xs, xs_transaction_t tx,
			    const char *dir, const struct block_info *info)
{
	int rc = xenstore_printf(xs, tx, dir, "feature-flush-cache", "%d",
				 info->can_flush);

	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "feature-barrier", "%d",
				     info->can_flush);
	if (!rc)
		rc = xenstore_printf(xs, tx, dir,
				     "feature-max-indirect-segments", "%u",
				     INFLIGHT_SEGMENTS_MAX);
	if (!rc)
		rc = publish_discard(xs, tx, dir, info);
	return rc;
}

int negotiate_publish_size(struct xenstore *xs, xs_transaction_t tx,
			   const char *backend_path,
			   const struct block_info *info)
{
	return xenstore_printf(
		xs, tx, backend_path, "sectors", "%llu",
		(unsigned long long)(info->size_bytes / BLOCK_SECTOR_BYTES));
}

int negotiate_publish_disk(struct xenstore *xs, xs_transaction_t tx,
			   const char *backend_path,
			   const struct block_info *info, bool cdrom)
{
	const char *dir = backend_path;
	unsigned int bits = (info->read_only ? VDISK_BITS_READONLY : 0) |
			    (cdrom ? VDISK_BITS_CDROM : 0);
	int rc = negotiate_publish_size(xs, tx, dir, info);

	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "sector-size", "%u",
				     info->logical_block_bytes);
	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "physical-sector-size", "%u",
				     info->physical_block_bytes);
	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "info", "%u", bits);
	if (!rc)
		rc = publish_features(xs, tx, dir, info);
	return rc;
}
