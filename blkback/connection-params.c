/* SPDX-License-Identifier: BSD-2-Clause */
/* What follows from a connection's parameters, for supervisor and worker. */
#include "blkback/connection.h"
#include "blkback/inflight.h"
#include "blkback/ring.h"

const struct ring_abi *connection_abi(const struct connection_params *params)
{
	return ring_abi_find(params->protocol[0] ? params->protocol : NULL);
}

size_t connection_inflight_bytes(const struct connection_params *params)
{
	return inflight_bytes(params->nr_queues,
			      ring_slots(connection_abi(params),
					 params->ring_pages));
}
