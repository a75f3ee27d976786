/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Telling the service manager how we are: the one-datagram protocol of
 * sd_notify(3).
 */
#ifndef XEN_DISKD_NOTIFY_H
#define XEN_DISKD_NOTIFY_H

#include <stdint.h>

/*
 * Sends state ("READY=1", "STATUS=...", "WATCHDOG=1") to $NOTIFY_SOCKET.  Does nothing when
 * there is none; nobody can help when it fails.
 */
void notify_send(const char *state);

/*
 * How often "WATCHDOG=1" is to be sent, in ms, lest we be taken for hung: twice
 * in the time that the service manager gives us.  0 when it does not watch us.
 */
uint64_t notify_watchdog_ms(void);

#endif
