/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The backend's end of the simulated hypervisor's socket: connect, and one
 * blocking question and answer with descriptors passed.
 */
#include "tests/sim/sim-client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char *sim_client_path(void)
{
	static char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	const char *dir = getenv(SIM_ENV);

	snprintf(path, sizeof(path), "%s/sim.sock", dir ? dir : "");
	return path;
}

int sim_client_open(int *ret_fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	const char *dir = getenv(SIM_ENV);
	int fd, n;

	if (!dir)
		return -ENOENT;
	n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sim.sock", dir);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	*ret_fd = fd;
	return 0;
}

/* Fills fds[] from the reply's control message. */
static void take_fds(struct msghdr *msg, int *fds, unsigned int nr_fds)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	unsigned int i;

	for (i = 0; i < nr_fds; i++)
		fds[i] = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
}

int sim_client_call(int fd, const struct sim_request *request,
		    struct sim_reply *ret_reply, int *fds, unsigned int nr_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = { ret_reply, sizeof(*ret_reply) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = nr_fds ? &control : NULL,
		.msg_controllen = nr_fds ? CMSG_SPACE(nr_fds * sizeof(int)) : 0,
	};
	ssize_t n;

	if (send(fd, request, sizeof(*request), MSG_NOSIGNAL) < 0)
		return -errno;
	do {
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != sizeof(*ret_reply))
		return -EPIPE;
	take_fds(&msg, fds, nr_fds);
	return ret_reply->error;
}
