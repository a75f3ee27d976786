/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk as JSON, for the control socket; docs/control.md says what is in it. */
#ifndef XEN_DISKD_VBD_JSON_H
#define XEN_DISKD_VBD_JSON_H

#include "blkback/vbd.h"

#include <jansson.h>

/* An entry of `list`; the caller's.  NULL when there is no memory. */
json_t *vbd_json(const struct vbd *vbd);

/* An entry of `stat`: that of `list`, and what its queues are doing. */
json_t *vbd_json_stat(const struct vbd *vbd);

#endif
