/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry: the only place that names providers.  Adding one is a line in
 * registry.c.
 */
#ifndef XEN_DISKD_REGISTRY_H
#define XEN_DISKD_REGISTRY_H

#include "providers/provider.h"

/* Ends with NULL. */
extern const struct block_provider_ops *const provider_registry[];

#endif
