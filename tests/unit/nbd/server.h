/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real NBD servers for tests: started, stopped, killed and started again, on
 * Unix sockets or on the loopback.
 */
#ifndef XEN_DISKD_UNIT_NBD_SERVER_H
#define XEN_DISKD_UNIT_NBD_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#define SERVER_ARGS 32

struct server {
	pid_t pid; /* 0 when it does not run */
	char socket[108]; /* "": on port */
	unsigned int port;
	const char *argv[SERVER_ARGS];
};

/*
 * Starts nbdkit with the arguments, up to a NULL, on a new Unix socket, and
 * waits until it takes connections.
 */
void server_nbdkit(struct server *server, const char *const *args);
#define NBDKIT(server, ...) \
	server_nbdkit(server, (const char *const[]){ __VA_ARGS__, NULL })
/* The same on a port of 127.0.0.1. */
void server_nbdkit_tcp(struct server *server, const char *const *args);
#define NBDKIT_TCP(server, ...) \
	server_nbdkit_tcp(server, (const char *const[]){ __VA_ARGS__, NULL })
/*
 * The same with a file in the place of "IMAGE", on the socket that the server has
 * had if it had one: at most 8 arguments.
 */
void server_nbdkit_again(struct server *server, const char *const *args,
			 const char *image);
/* Any program; the socket or port is filled in by the caller. */
void server_start(struct server *server);

/* What a new socket may be called; and a port that nobody listens on. */
void server_new_socket(struct server *server);
void server_new_port(struct server *server);

/* With -9, or politely; returns when it is gone. */
void server_kill(struct server *server);
void server_stop(struct server *server);
/* It does not react any more; SIGCONT ends that. */
void server_hang(const struct server *server);
/* The same program again. */
void server_restart(struct server *server);

/* The program next to this one, which the same build has made. */
const char *server_sibling(const char *name);

bool server_installed(const char *program);

/* A scratch file of so many bytes; the last four names are kept. */
const char *scratch_file(const char *name, long long nr_bytes);
/* Runs a command line of sh, which must succeed. */
void run_command(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
