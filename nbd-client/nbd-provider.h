/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd://HOST[:PORT]/EXPORT and its kin: a disk on an NBD server.
 */
#ifndef XEN_DISKD_NBD_PROVIDER_H
#define XEN_DISKD_NBD_PROVIDER_H

#include "providers/provider.h"

extern const struct block_provider_ops nbd_provider_ops;
extern const struct block_provider_ops nbds_provider_ops;
extern const struct block_provider_ops nbd_unix_provider_ops;
extern const struct block_provider_ops nbds_unix_provider_ops;

#endif
