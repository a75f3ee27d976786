/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The daemon that xen-diskctl must never trust: accepts one connection on a
 * socket, copies the request line to standard output and answers with the
 * bytes of standard input, whatever they are.  The real daemon, which gives
 * good answers only, cannot play this part.
 *
 *   ctl-answer SOCKET [DELAY_MS]
 *
 * The socket is there before "listening" is printed.  The first request line
 * follows it.  Standard input is sent DELAY_MS after the request; at its end
 * the connection is closed.  Gives up after 60 seconds.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_SECONDS 60

static void die(const char *what)
{
	fprintf(stderr, "ctl-answer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		errno = ENAMETOOLONG;
		die(path);
	}
	strcpy(address.sun_path, path);
	unlink(path);
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		die(path);
	return fd;
}

static void print_request(int fd)
{
	char c = 0;

	while (c != '\n') {
		if (read(fd, &c, 1) != 1)
			die("read the request");
		putchar(c);
	}
	fflush(stdout);
}

/* A client that has seen enough may close before all is sent. */
static void send_answer(int fd)
{
	char data[65536];
	ssize_t n;

	while ((n = read(STDIN_FILENO, data, sizeof(data))) > 0)
		for (ssize_t sent = 0; sent < n;) {
			ssize_t part = send(fd, data + sent, (size_t)(n - sent),
					    MSG_NOSIGNAL);

			if (part < 0)
				return;
			sent += part;
		}
}

int main(int argc, char **argv)
{
	int listener;
	int fd;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: ctl-answer SOCKET [DELAY_MS]\n");
		return 2;
	}
	alarm(PATIENCE_SECONDS);
	listener = listen_on(argv[1]);
	puts("listening");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	/* A second client is refused, not left waiting for our end. */
	close(listener);
	print_request(fd);
	if (argc == 3)
		poll(NULL, 0, atoi(argv[2]));
	send_answer(fd);
	return 0;
}
