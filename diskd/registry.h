/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registries: the only places that name providers.  Adding one is a line
 * in registry.c, or a file like registry-git.c where it brings a library along
 * that other disks' workers should not have to load, hold in memory and trust.
 */
#ifndef XEN_DISKD_REGISTRY_H
#define XEN_DISKD_REGISTRY_H

#include "providers/provider.h"

/* Ends with NULL. */
extern const struct block_provider_ops *const provider_registry[];

#endif
