/* SPDX-License-Identifier: BSD-2-Clause */
/* The suites of the NBD provider's tests. */
#ifndef XEN_DISKD_UNIT_NBD_H
#define XEN_DISKD_UNIT_NBD_H

#include "tests/unit/unit.h"

Suite *suite_nbd_target(void);
Suite *suite_dirty_record(void);
Suite *suite_nbd_request(void);
Suite *suite_nbd_fence(void);
Suite *suite_nbd_link(void);
Suite *suite_nbd_io(void);
Suite *suite_nbd_refusals(void);
Suite *suite_nbd_tls(void);
Suite *suite_nbd_loss(void);
Suite *suite_nbd_hostile(void);
Suite *suite_nbd_volatile(void);
Suite *suite_nbd_left(void);

#endif
