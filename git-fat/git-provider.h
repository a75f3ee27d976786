/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git:/srv/repo.git?ref=main&path=sub/dir&label=SITE&partition=mbr|none&
 * symlinks=text|follow&cache=64M&verify=off|on: a git tree as a FAT32 disk.
 */
#ifndef XEN_DISKD_GIT_PROVIDER_H
#define XEN_DISKD_GIT_PROVIDER_H

#include "providers/provider.h"

extern const struct block_provider_ops git_provider_ops;

#endif
