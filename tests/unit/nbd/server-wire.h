/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wire of the NBD servers that are programs of their own: a process each
 * connection, which ends when the connection does.
 */
#ifndef XEN_DISKD_UNIT_NBD_SERVER_WIRE_H
#define XEN_DISKD_UNIT_NBD_SERVER_WIRE_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

/* The connection of this process. */
static int fd;

static inline void put(const void *data, size_t nr_bytes)
{
	const char *at = data;

	while (nr_bytes) {
		ssize_t n = send(fd, at, nr_bytes, MSG_NOSIGNAL);

		if (n <= 0)
			_exit(0);
		at += n;
		nr_bytes -= (size_t)n;
	}
}

static inline void get(void *data, size_t nr_bytes)
{
	char *at = data;

	while (nr_bytes) {
		ssize_t n = recv(fd, at, nr_bytes, 0);

		if (n <= 0)
			_exit(0);
		at += n;
		nr_bytes -= (size_t)n;
	}
}

static inline void put16(uint16_t n)
{
	n = htobe16(n);
	put(&n, sizeof(n));
}

static inline void put32(uint32_t n)
{
	n = htobe32(n);
	put(&n, sizeof(n));
}

static inline void put64(uint64_t n)
{
	n = htobe64(n);
	put(&n, sizeof(n));
}

static inline uint32_t get32(void)
{
	uint32_t n;

	get(&n, sizeof(n));
	return be32toh(n);
}

static inline uint64_t get64(void)
{
	uint64_t n;

	get(&n, sizeof(n));
	return be64toh(n);
}

#endif
