/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of a worker of another version, as far as each version has them. */
#define WORKER_MESSAGE_VERSION 1000u
#include "blkback/worker-message.c"
