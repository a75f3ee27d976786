/* SPDX-License-Identifier: BSD-2-Clause */
/* The providers of xen-diskd-worker-git. */
#include "diskd/registry.h"

#include "git-fat/git-provider.h"

const struct block_provider_ops *const provider_registry[] = {
	&git_provider_ops,
	NULL,
};
