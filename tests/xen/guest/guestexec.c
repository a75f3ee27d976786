/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * guestexec: runs one command in a lab guest, from dom0.
 *
 *	guestexec PTY ID SECONDS COMMAND
 *
 * Owns the dom0 end of the protocol that guest/init speaks on the guest's
 * console: sends "RUN id base64", prints what comes back between "@@BEG id"
 * and "@@END id status", and exits with that status.  124: the deadline
 * passed.  125: the console went away (the guest died, moved or rebooted).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
	EXIT_DEADLINE = 124,
	EXIT_GONE = 125,
	LINE_BYTES = 64 * 1024,
};

struct answer {
	char begin[80];
	char end[80];
	bool begun;
	size_t used;
	char line[LINE_BYTES];
};

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

static void base64_append(char *out, const unsigned char *in, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		"0123456789+/";
	size_t i;

	for (i = 0; i < n; i += 3) {
		unsigned int a = in[i];
		unsigned int b = i + 1 < n ? in[i + 1] : 0;
		unsigned int c = i + 2 < n ? in[i + 2] : 0;

		*out++ = digits[a >> 2];
		*out++ = digits[(a & 3) << 4 | b >> 4];
		*out++ = i + 1 < n ? digits[(b & 15) << 2 | c >> 6] : '=';
		*out++ = i + 2 < n ? digits[c & 63] : '=';
	}
	*out = '\0';
}

static int console_open(const char *path)
{
	struct termios t;
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

static int write_all(int fd, const char *buf, size_t n)
{
	while (n) {
		ssize_t done = write(fd, buf, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		buf += done;
		n -= (size_t)done;
	}
	return 0;
}

static int send_command(int fd, const char *id, const char *command)
{
	size_t n = strlen(command);
	size_t size = n / 3 * 4 + 8 + strlen(id) + 16;
	char *text = malloc(size);
	int at, r;

	if (!text)
		return -ENOMEM;
	/* The leading newline ends whatever a dead predecessor left there. */
	at = snprintf(text, size, "\nRUN %s ", id);
	base64_append(text + at, (const unsigned char *)command, n);
	strcat(text, "\n");
	r = write_all(fd, text, strlen(text));
	free(text);
	return r;
}

/* Returns the command's status once its end marker is in the line, else -1. */
static int answer_take_line(struct answer *a)
{
	char *end = strstr(a->line, a->end);

	if (!a->begun) {
		a->begun = strstr(a->line, a->begin) != NULL;
		return -1;
	}
	if (!end) {
		printf("%s\n", a->line);
		return -1;
	}
	*end = '\0';
	/* Output without a final newline shares its line with the marker. */
	if (a->line[0])
		printf("%s\n", a->line);
	return atoi(end + strlen(a->end)) & 255;
}

static int answer_take(struct answer *a, const char *buf, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		int status;

		if (buf[i] != '\n' && a->used < sizeof(a->line) - 1) {
			if (buf[i] != '\r')
				a->line[a->used++] = buf[i];
			continue;
		}
		a->line[a->used] = '\0';
		a->used = 0;
		status = answer_take_line(a);
		if (status >= 0)
			return status;
	}
	return -1;
}

static int answer_wait(struct answer *a, int fd, long deadline_ms)
{
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		long left = deadline_ms - now_ms();
		char buf[4096];
		ssize_t n;
		int status;

		if (left <= 0)
			return EXIT_DEADLINE;
		if (poll(&p, 1, (int)left) <= 0)
			continue;
		n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return EXIT_GONE;
		status = answer_take(a, buf, (size_t)n);
		if (status >= 0)
			return status;
	}
}

int main(int argc, char **argv)
{
	static struct answer answer;
	long deadline_ms;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: guestexec PTY ID SECONDS COMMAND\n");
		return 2;
	}
	deadline_ms = now_ms() + atol(argv[3]) * 1000L;
	snprintf(answer.begin, sizeof(answer.begin), "@@BEG %s", argv[2]);
	snprintf(answer.end, sizeof(answer.end), "@@END %s ", argv[2]);
	fd = console_open(argv[1]);
	if (fd < 0) {
		fprintf(stderr, "guestexec: open '%s': %s\n", argv[1],
			strerror(-fd));
		return EXIT_GONE;
	}
	if (send_command(fd, argv[2], argv[4]) < 0)
		return EXIT_GONE;
	return answer_wait(&answer, fd, deadline_ms);
}
