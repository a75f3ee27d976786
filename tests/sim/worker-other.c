/* SPDX-License-Identifier: BSD-2-Clause */
/* A worker of another version than the daemon: it differs in nothing else. */
#define WORKER_MESSAGE_VERSION 1000u
#include "blkback/worker-message.c"
#include "diskd/worker-main.c"
