/* SPDX-License-Identifier: BSD-2-Clause */
/* The fence around old connections' writes. */
#include "nbd-client/nbd-fence.h"

#include "common/clock.h"
#include "common/list.h"
#include "nbd-client/nbd-connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What one turn takes from a server that goes on sending. */
#define DRAIN_READS 16u
/* Of a request that is no more: neither a request's nor the replay's. */
#define NOBODYS (UINT64_MAX - 1)

static void arm(struct nbd_fence_socket *socket)
{
	socket->armed = true;
	io_loop_poll(socket->fence->loop, &socket->op, socket->fd,
		     POLLIN | POLLRDHUP);
}

static void close_socket(struct nbd_fence_socket *socket)
{
	if (socket->fd < 0)
		return;
	if (socket->armed)
		io_loop_cancel(socket->fence->loop, &socket->op);
	close(socket->fd);
	socket->fd = -1;
	socket->fence->nr_open--;
}

static void lift(struct nbd_fence *fence)
{
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++)
		close_socket(&fence->sockets[i]);
	fence->nr_ranges = 0;
	fence->everything = fence->unwatched = false;
}

/*
 * Takes what the server still sends: -EAGAIN while there may be more, 0 when
 * it has closed its end, or the -errno of a connection that is no more.
 */
static int drain(int fd)
{
	char discarded[16384];

	for (unsigned int i = 0; i < DRAIN_READS; i++) {
		ssize_t n =
			recv(fd, discarded, sizeof(discarded), MSG_DONTWAIT);

		if (n == 0)
			return 0;
		if (n < 0)
			return errno == EINTR ? -EAGAIN : -errno;
	}
	return -EAGAIN;
}

static void on_ready(struct io_op *op, int result)
{
	struct nbd_fence_socket *socket =
		container_of(op, struct nbd_fence_socket, op);
	struct nbd_fence *fence = socket->fence;
	int rc;

	(void)result;
	socket->armed = false;
	if (socket->fd < 0)
		return;
	rc = drain(socket->fd);
	if (rc == -EAGAIN) {
		arm(socket);
		return;
	}
	close_socket(socket);
	if (nbd_socket_is_cut_here(-rc))
		fence->unwatched = true;
	if (nbd_fence_is_up(fence))
		return;
	lift(fence);
	fence->lifted(fence);
}

void nbd_fence_init(struct nbd_fence *fence)
{
	*fence = (struct nbd_fence){ .loop = NULL };
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++) {
		fence->sockets[i].fence = fence;
		fence->sockets[i].op.done = on_ready;
		fence->sockets[i].fd = -1;
	}
}

void nbd_fence_enter(struct nbd_fence *fence, struct io_loop *loop,
		     void (*lifted)(struct nbd_fence *fence), void *owner)
{
	fence->loop = loop;
	fence->lifted = lifted;
	fence->owner = owner;
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++) {
		if (fence->sockets[i].fd >= 0)
			arm(&fence->sockets[i]);
	}
}

void nbd_fence_leave(struct nbd_fence *fence)
{
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++)
		fence->sockets[i].armed = false;
	for (unsigned int i = 0; i < fence->nr_ranges; i++)
		fence->ranges[i].number = NOBODYS;
	fence->loop = NULL;
}

static struct nbd_fence_socket *unused_socket(struct nbd_fence *fence)
{
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++) {
		if (fence->sockets[i].fd < 0 && !fence->sockets[i].armed)
			return &fence->sockets[i];
	}
	return NULL;
}

bool nbd_fence_raise(struct nbd_fence *fence, int fd)
{
	struct nbd_fence_socket *socket;
	int rc;

	shutdown(fd, SHUT_WR);
	rc = drain(fd);
	if (nbd_socket_is_cut_here(-rc)) {
		nbd_fence_raise_for_time(fence);
		return true;
	}
	if (rc != -EAGAIN)
		return false;
	fence->until_ms = clock_now_ms() + NBD_FENCE_MS;
	socket = unused_socket(fence);
	if (socket)
		socket->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!socket || socket->fd < 0) {
		fence->everything = fence->unwatched = true;
		return true;
	}
	fence->nr_open++;
	arm(socket);
	return true;
}

void nbd_fence_raise_for_time(struct nbd_fence *fence)
{
	fence->until_ms = clock_now_ms() + NBD_FENCE_MS;
	fence->unwatched = true;
}

void nbd_fence_add(struct nbd_fence *fence, uint64_t number,
		   uint64_t offset_bytes, uint64_t length_bytes)
{
	if (fence->nr_ranges == NBD_FENCE_RANGES) {
		fence->everything = true;
		return;
	}
	fence->ranges[fence->nr_ranges++] = (struct nbd_fence_range){
		.start = offset_bytes,
		.end = offset_bytes + length_bytes,
		.number = number,
	};
}

bool nbd_fence_is_up(const struct nbd_fence *fence)
{
	return fence->nr_open || fence->unwatched;
}

bool nbd_fence_holds(const struct nbd_fence *fence, uint64_t number,
		     uint64_t offset_bytes, uint64_t length_bytes)
{
	if (fence->everything)
		return true;
	for (unsigned int i = 0; i < fence->nr_ranges; i++) {
		const struct nbd_fence_range *range = &fence->ranges[i];

		if (offset_bytes < range->end &&
		    offset_bytes + length_bytes > range->start &&
		    number != range->number)
			return true;
	}
	return false;
}

bool nbd_fence_check(struct nbd_fence *fence, uint64_t now_ms)
{
	if (!nbd_fence_is_up(fence) || now_ms < fence->until_ms)
		return false;
	lift(fence);
	return true;
}

void nbd_fence_fini(struct nbd_fence *fence)
{
	lift(fence);
}
