/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * evtchn.h over the simulation: the handle's eventfd is its descriptor, the
 * pending and masked bits of its ports are shared with the frontend, and the
 * peer's eventfd is what a notification writes to.
 */
#include "evtchn/evtchn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/sim/sim-client.h"

struct evtchn {
	int sock;
	int event_fd;
	uint64_t count; /* read by the kernel */
	uint16_t only_domid; /* 0: any */
	struct sim_ports *ports;
	uint32_t port_of[SIM_NR_SLOTS]; /* 0: free */
	int peer_fd[SIM_NR_SLOTS];
};

static void kick(int fd)
{
	(void)!write(fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

const char *evtchn_path(void)
{
	return sim_client_path();
}

int evtchn_open(struct evtchn **ret_ec)
{
	struct sim_request rq = { .op = SIM_OP_EVTCHN_OPEN };
	struct evtchn *ec = calloc(1, sizeof(*ec));
	struct sim_reply reply;
	int fds[2] = { -1, -1 };
	int error;

	if (!ec)
		return -ENOMEM;
	error = sim_client_open(&ec->sock);
	if (error < 0)
		goto err_free;
	error = sim_client_call(ec->sock, &rq, &reply, fds, 2);
	if (error < 0)
		goto err_sock;
	ec->event_fd = fds[0];
	ec->ports = mmap(NULL, SIM_PAGE_BYTES, PROT_READ | PROT_WRITE,
			 MAP_SHARED, fds[1], 0);
	close(fds[1]);
	if (ec->ports == MAP_FAILED) {
		error = -errno;
		close(ec->event_fd);
		goto err_sock;
	}
	*ret_ec = ec;
	return 0;

err_sock:
	close(ec->sock);
err_free:
	free(ec);
	return error;
}

void evtchn_close(struct evtchn *ec)
{
	unsigned int slot;

	if (!ec)
		return;
	for (slot = 0; slot < SIM_NR_SLOTS; slot++)
		if (ec->port_of[slot])
			evtchn_unbind(ec, ec->port_of[slot]);
	munmap(ec->ports, SIM_PAGE_BYTES);
	close(ec->event_fd);
	close(ec->sock);
	free(ec);
}

/* The slot of a bound port, or -1. */
static int slot_of(const struct evtchn *ec, uint32_t port)
{
	unsigned int slot = port % SIM_NR_SLOTS;

	return port && ec->port_of[slot] == port ? (int)slot : -1;
}

int evtchn_restrict(struct evtchn *ec, uint16_t domid)
{
	if (!domid)
		return -EINVAL;
	if (ec->only_domid)
		return -EACCES;
	ec->only_domid = domid;
	return 0;
}

int evtchn_bind(struct evtchn *ec, uint16_t domid, uint32_t remote_port,
		uint32_t *ret_port)
{
	struct sim_request rq = {
		.op = SIM_OP_EVTCHN_BIND,
		.domid = domid,
		.port = remote_port,
	};
	struct sim_reply reply;
	int fds[1] = { -1 };
	unsigned int slot;
	int error;

	if (ec->only_domid && domid != ec->only_domid)
		return -EACCES;
	error = sim_client_call(ec->sock, &rq, &reply, fds, 1);
	if (error < 0)
		return error;
	slot = reply.port % SIM_NR_SLOTS;
	ec->port_of[slot] = reply.port;
	ec->peer_fd[slot] = fds[0];
	*ret_port = reply.port;
	return 0;
}

void evtchn_unbind(struct evtchn *ec, uint32_t port)
{
	struct sim_request rq = { .op = SIM_OP_EVTCHN_UNBIND, .port = port };
	int slot = slot_of(ec, port);
	struct sim_reply reply;

	if (slot < 0)
		return;
	(void)sim_client_call(ec->sock, &rq, &reply, NULL, 0);
	close(ec->peer_fd[slot]);
	ec->port_of[slot] = 0;
}

int evtchn_notify(struct evtchn *ec, uint32_t port)
{
	int slot = slot_of(ec, port);

	if (slot < 0)
		return -ENOTCONN;
	kick(ec->peer_fd[slot]);
	return 0;
}

void evtchn_wait(struct evtchn *ec, struct io_loop *loop, struct io_op *op)
{
	io_loop_read(loop, op, ec->event_fd, &ec->count, sizeof(ec->count));
}

int evtchn_take(struct evtchn *ec, int result, uint32_t *ret_port)
{
	struct sim_ports *p = ec->ports;
	uint64_t ready, bit;

	if (result < 0)
		return result;
	/*
	 * The descriptor was cleared before the bits are read: a frontend sets
	 * its bit and then writes, so nothing it sends in between is lost.
	 */
	ready = atomic_load(&p->pending) & ~atomic_load(&p->masked);
	if (!ready)
		return -EAGAIN;

	bit = ready & -ready;
	atomic_fetch_or(&p->masked, bit);
	atomic_fetch_and(&p->pending, ~bit);
	if (ready != bit)
		kick(ec->event_fd);
	*ret_port = ec->port_of[__builtin_ctzll(bit)];
	return 0;
}

void evtchn_unmask(struct evtchn *ec, struct io_loop *loop, uint32_t port)
{
	int slot = slot_of(ec, port);
	uint64_t bit;

	(void)loop;
	if (slot < 0)
		return;
	bit = UINT64_C(1) << slot;
	/* Pairs with sim_port_notify(): bit first, then the mask is read. */
	atomic_fetch_and(&ec->ports->masked, ~bit);
	if (atomic_load(&ec->ports->pending) & bit)
		kick(ec->event_fd);
}
