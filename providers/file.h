/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file provider: a raw image file or a block device through io_uring.
 * Spec: /path, or file:/path[?share=yes].
 */
#ifndef XEN_DISKD_PROVIDERS_FILE_H
#define XEN_DISKD_PROVIDERS_FILE_H

#include "providers/provider.h"

extern const struct block_provider_ops file_provider_ops;

#endif
