/* SPDX-License-Identifier: BSD-2-Clause */
/* The providers of xen-diskd-worker: what is on this host. */
#include "diskd/registry.h"

#include "providers/file.h"
#include "providers/null.h"

const struct block_provider_ops *const provider_registry[] = {
	&file_provider_ops,
	&null_provider_ops,
	NULL,
};
