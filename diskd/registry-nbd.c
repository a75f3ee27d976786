/* SPDX-License-Identifier: BSD-2-Clause */
/* The providers of xen-diskd-worker-nbd. */
#include "diskd/registry.h"

#include "nbd-client/nbd-provider.h"

const struct block_provider_ops *const provider_registry[] = {
	&nbd_provider_ops,
	&nbds_provider_ops,
	&nbd_unix_provider_ops,
	&nbds_unix_provider_ops,
	NULL,
};
