/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The null provider, for benches: null:size=1G reads as zeroes, takes writes
 * and forgets them.
 */
#ifndef XEN_DISKD_PROVIDERS_NULL_H
#define XEN_DISKD_PROVIDERS_NULL_H

#include "providers/provider.h"

extern const struct block_provider_ops null_provider_ops;

#endif
