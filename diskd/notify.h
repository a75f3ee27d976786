/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Telling the service manager how we are: the one-datagram protocol of
 * sd_notify(3).
 */
#ifndef XEN_DISKD_NOTIFY_H
#define XEN_DISKD_NOTIFY_H

/*
 * Sends state ("READY=1", "STOPPING=1") to $NOTIFY_SOCKET.  Does nothing when
 * there is none; nobody can help when it fails.
 */
void notify_send(const char *state);

#endif
