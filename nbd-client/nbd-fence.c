/* SPDX-License-Identifier: BSD-2-Clause */
/* The fence around old connections' writes. */
#include "nbd-client/nbd-fence.h"

#include "common/clock.h"
#include "common/list.h"
#include "nbd-client/nbd-connect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What one turn takes from a server that goes on sending. */
#define DRAIN_READS 16u
/* Of a request that is no more: neither a request's nor the record's. */
#define NOBODYS (NBD_FENCE_LEFT - 1)

static void arm(struct nbd_fence_socket *socket)
{
	io_loop_poll(socket->fence->loop, &socket->op, socket->fd,
		     POLLIN | POLLRDHUP);
}

static void close_socket(struct nbd_fence_socket *socket)
{
	if (socket->fd < 0)
		return;
	nbd_socket_reset(socket->fd);
	io_loop_cancel(socket->fence->loop, &socket->op);
	close(socket->fd);
	socket->fd = -1;
	socket->fence->nr_open--;
}

static void close_sockets(struct nbd_fence *fence)
{
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++)
		close_socket(&fence->sockets[i]);
}

static void lift(struct nbd_fence *fence)
{
	close_sockets(fence);
	fence->list->nr_ranges = fence->list->everything = 0;
	fence->list->until_ms = 0;
	fence->list->marks &= NBD_FENCE_RECORD_SENT;
	fence->unwatched = false;
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
	if (socket->fd < 0)
		return;
	rc = drain(socket->fd);
	if (rc == -EAGAIN) {
		arm(socket);
		return;
	}
	close_socket(socket);
	if (nbd_socket_is_cut_here(-rc)) {
		fence->unwatched = true;
		fence->list->marks |= NBD_FENCE_CUT_HERE;
	}
	if (nbd_fence_is_up(fence))
		return;
	lift(fence);
	fence->lifted(fence);
}

void nbd_fence_init(struct nbd_fence *fence)
{
	memset(fence, 0, sizeof(*fence));
	fence->list = &fence->own;
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++) {
		fence->sockets[i].fence = fence;
		fence->sockets[i].op.done = on_ready;
		fence->sockets[i].fd = -1;
	}
}

/* Whatever stands, it stands for so long from now on. */
static void stand(struct nbd_fence *fence, uint64_t ms)
{
	uint64_t until_ms = clock_now_ms() + ms;

	if (until_ms > fence->list->until_ms)
		fence->list->until_ms = until_ms;
}

/* Others may have written to the memory since it was looked at. */
static uint64_t nr_ranges(const struct nbd_fence_list *list)
{
	uint64_t nr = __atomic_load_n(&list->nr_ranges, __ATOMIC_RELAXED);

	return nr < NBD_FENCE_RANGES ? nr : NBD_FENCE_RANGES;
}

static bool is_left(const struct nbd_fence_range *range)
{
	return range->number & NBD_FENCE_LEFT;
}

/* Of another process, of which one may believe nothing. */
static bool is_sane(const struct nbd_fence_list *list)
{
	uint64_t nr = list->nr_ranges;

	if (nr > NBD_FENCE_RANGES)
		return false;
	for (uint64_t i = 0; i < nr; i++) {
		if (list->ranges[i].start > list->ranges[i].end)
			return false;
	}
	return true;
}

/* The dead one's requests are ours under other numbers, or none. */
static void disown(struct nbd_fence_list *list)
{
	uint64_t nr = nr_ranges(list);

	for (uint64_t i = 0; i < nr; i++) {
		if (!is_left(&list->ranges[i]))
			list->ranges[i].number = NOBODYS;
	}
}

void nbd_fence_everything(struct nbd_fence *fence, uint64_t ms)
{
	fence->list->everything = 1;
	nbd_fence_raise_for_time(fence, ms);
}

static void take_over(struct nbd_fence *fence, uint64_t left_ms)
{
	struct nbd_fence_list *list = fence->list;
	bool cut_here = list->marks & NBD_FENCE_CUT_HERE;
	/* Its connections are closed now, but for those that nothing can close. */
	uint64_t longest =
		clock_now_ms() +
		(cut_here && left_ms < NBD_FENCE_MS ? NBD_FENCE_MS : left_ms);

	if (list->until_ms > longest)
		list->until_ms = longest;
	if (!is_sane(list)) {
		list->nr_ranges = 0;
		list->marks = NBD_FENCE_RECORD_SENT;
	}
	if (list->marks & NBD_FENCE_RECORD_SENT)
		nbd_fence_everything(fence, left_ms);
	list->marks &= NBD_FENCE_CUT_HERE;
	fence->unwatched = list->everything || list->nr_ranges;
	disown(list);
}

void nbd_fence_share(struct nbd_fence *fence, struct nbd_fence_list *list,
		     uint64_t left_ms)
{
	fence->list = list;
	if (left_ms)
		take_over(fence, left_ms);
	else
		memset(list, 0, sizeof(*list));
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
	/* The loop is not run again: what it has in flight is forgotten. */
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++)
		fence->sockets[i].op = (struct io_op){ .done = on_ready };
	for (uint64_t i = 0, nr = nr_ranges(fence->list); i < nr; i++)
		fence->list->ranges[i].number =
			(fence->list->ranges[i].number & NBD_FENCE_LEFT) |
			NOBODYS;
	fence->loop = NULL;
}

static struct nbd_fence_socket *unused_socket(struct nbd_fence *fence)
{
	for (unsigned int i = 0; i < NBD_FENCE_SOCKETS; i++) {
		if (fence->sockets[i].fd < 0 && !fence->sockets[i].op.in_flight)
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
		nbd_fence_raise_cut_here(fence);
		return true;
	}
	if (rc != -EAGAIN)
		return false;
	stand(fence, NBD_FENCE_MS);
	socket = unused_socket(fence);
	if (socket)
		socket->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!socket || socket->fd < 0) {
		fence->list->everything = 1;
		fence->unwatched = true;
		return true;
	}
	fence->nr_open++;
	arm(socket);
	return true;
}

void nbd_fence_raise_for_time(struct nbd_fence *fence, uint64_t ms)
{
	stand(fence, ms);
	fence->unwatched = true;
}

void nbd_fence_raise_cut_here(struct nbd_fence *fence)
{
	nbd_fence_raise_for_time(fence, NBD_FENCE_MS);
	fence->list->marks |= NBD_FENCE_CUT_HERE;
}

void nbd_fence_add(struct nbd_fence *fence, uint64_t number,
		   uint64_t offset_bytes, uint64_t length_bytes)
{
	struct nbd_fence_list *list = fence->list;
	uint64_t nr = nr_ranges(list);
	const struct nbd_fence_range range = {
		.start = offset_bytes,
		.end = offset_bytes + length_bytes,
		.number = number,
	};

	/* Workers may die of one request again and again. */
	for (uint64_t i = 0; i < nr; i++) {
		if (!memcmp(&list->ranges[i], &range, sizeof(range)))
			return;
	}
	if (nr == NBD_FENCE_RANGES) {
		list->everything = 1;
		return;
	}
	list->ranges[nr] = range;
	__atomic_store_n(&list->nr_ranges, nr + 1, __ATOMIC_RELEASE);
}

void nbd_fence_begin_anew(struct nbd_fence *fence, uint64_t ms)
{
	if (nbd_fence_is_up(fence))
		stand(fence, ms);
}

bool nbd_fence_is_up(const struct nbd_fence *fence)
{
	return fence->nr_open || fence->unwatched;
}

bool nbd_fence_has_left(const struct nbd_fence *fence)
{
	for (uint64_t i = 0, nr = nr_ranges(fence->list); i < nr; i++) {
		if (is_left(&fence->list->ranges[i]))
			return true;
	}
	return false;
}

void nbd_fence_record_sent(struct nbd_fence *fence, bool sent)
{
	uint32_t marks = fence->list->marks & ~NBD_FENCE_RECORD_SENT;

	__atomic_store_n(&fence->list->marks,
			 marks | (sent ? NBD_FENCE_RECORD_SENT : 0),
			 __ATOMIC_RELEASE);
}

/* The same bytes, or older ones that the same bytes follow. */
static bool may_pass(const struct nbd_fence_range *range, uint64_t number)
{
	return number == range->number ||
	       (number == NBD_FENCE_RECORD && is_left(range));
}

bool nbd_fence_holds(const struct nbd_fence *fence, uint64_t number,
		     uint64_t offset_bytes, uint64_t length_bytes)
{
	if (fence->list->everything)
		return true;
	for (uint64_t i = 0, nr = nr_ranges(fence->list); i < nr; i++) {
		const struct nbd_fence_range *range = &fence->list->ranges[i];

		if (offset_bytes < range->end &&
		    offset_bytes + length_bytes > range->start &&
		    !may_pass(range, number))
			return true;
	}
	return false;
}

bool nbd_fence_check(struct nbd_fence *fence, uint64_t now_ms)
{
	bool given_up;

	if (!nbd_fence_is_up(fence) || now_ms < fence->list->until_ms)
		return false;
	given_up = !nbd_fence_has_left(fence) || fence->nr_open;
	lift(fence);
	return given_up;
}

void nbd_fence_fini(struct nbd_fence *fence)
{
	close_sockets(fence);
}
