/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between supervisor and worker over a SOCK_SEQPACKET pair. */
#include "blkback/worker-message.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control_buffer {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int worker_message_send(int socket_fd, const struct worker_message *message,
			int fd)
{
	struct worker_message versioned = *message;
	struct iovec iov = { &versioned, sizeof(versioned) };
	union control_buffer control = { .bytes = { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	versioned.version = WORKER_MESSAGE_VERSION;
	if (fd >= 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));
	}
	do
		n = sendmsg(socket_fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The descriptor in a received message, or -1. */
static int received_fd(struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	size_t nr;
	int fd;

	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET ||
	    cmsg->cmsg_type != SCM_RIGHTS)
		return -1;
	/* Alignment leaves room for a second one, which would be lost. */
	nr = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	for (size_t i = 1; i < nr; i++) {
		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
		close(fd);
	}
	if (!nr)
		return -1;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	return fd;
}

/* Whole and of our version, or one that each version knows. */
static bool is_message(const struct worker_message *message, ssize_t n,
		       int flags)
{
	if (n < (ssize_t)offsetof(struct worker_message, hello) ||
	    (flags & MSG_CTRUNC))
		return false;
	if (message->version != WORKER_MESSAGE_VERSION)
		return message->type >= WORKER_QUIT &&
		       message->type <= WORKER_DISCONNECTED;
	return (size_t)n == sizeof(*message) && !(flags & MSG_TRUNC);
}

int worker_message_receive(int socket_fd, struct worker_message *ret_message,
			   int *ret_fd)
{
	struct iovec iov = { ret_message, sizeof(*ret_message) };
	union control_buffer control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	/* A peer that went without hearing us may have said something before. */
	do
		n = recvmsg(socket_fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && (errno == EINTR || errno == ECONNRESET));
	if (n < 0)
		return -errno;
	*ret_fd = received_fd(&msg);
	if (is_message(ret_message, n, msg.msg_flags))
		return 1;
	/* Also of an empty one, which looks like the end but may bring it. */
	if (*ret_fd >= 0)
		close(*ret_fd);
	*ret_fd = -1;
	if (msg.msg_flags & MSG_CTRUNC)
		return -EMFILE;
	return n == 0 ? 0 : -EPROTO;
}
