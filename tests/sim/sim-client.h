/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The backend's end of the simulated hypervisor's socket (sim-wire.h), shared
 * by gnttab-sim.c and evtchn-sim.c.  Belongs to the thread of its handle.
 */
#ifndef XEN_DISKD_SIM_CLIENT_H
#define XEN_DISKD_SIM_CLIENT_H

#include "tests/sim/sim-wire.h"

/* Of the socket; main thread. */
const char *sim_client_path(void);

/*
 * Connects to the simulation named by $XEN_DISKD_SIM; -ENOENT where there is
 * none.  The caller closes *ret_fd.
 */
int sim_client_open(int *ret_fd);

/*
 * One hypercall.  Up to nr_fds descriptors of the reply go to fds[]; those not
 * sent are -1.  Returns the reply's error, or -errno of the socket.
 */
int sim_client_call(int fd, const struct sim_request *request,
		    struct sim_reply *ret_reply, int *fds, unsigned int nr_fds);

#endif
