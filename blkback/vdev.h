/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of virtual devices: xvdb, hda1, sdc and the numbers behind them.
 *
 * Source: xen/docs/man/xen-vbd-interface.7.
 */
#ifndef XEN_DISKD_VDEV_H
#define XEN_DISKD_VDEV_H

#include <stdint.h>

#define VDEV_NAME_BYTES 24

/*
 * The device number that a name (xvdb, xvda1, hda, sdb2) or a decimal number
 * (51712) stands for.  -EINVAL for anything else, -ERANGE for a disk or
 * partition that the scheme has no number for.
 */
int vdev_parse(const char *text, uint32_t *ret_devid);

/* The xvd name of a number, or the number itself where it has none. */
void vdev_format(uint32_t devid, char name[VDEV_NAME_BYTES]);

#endif
