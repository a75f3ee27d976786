/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers for tests. */
#include "tests/unit/nbd/server.h"

#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_MS 10000

/* Asks the kernel: a connection would be one too many for some servers. */
static bool find_line(const char *file, const char *one, const char *other)
{
	FILE *f = fopen(file, "re");
	char line[512];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = strstr(line, one) && strstr(line, other);
	if (f)
		fclose(f);
	return found;
}

static bool listens(const struct server *server)
{
	char port[32];

	/* With the flag of a socket that takes connections, or its state. */
	if (server->socket[0])
		return find_line("/proc/net/unix", server->socket,
				 " 00010000 ");
	snprintf(port, sizeof(port), ":%04X ", server->port);
	return find_line("/proc/net/tcp", port, " 00000000:0000 0A ");
}

/* The servers' own words are for a failed test only. */
static void redirect(void)
{
	char name[512];
	int fd;

	snprintf(name, sizeof(name), "%s/server.log", unit_dir());
	fd = open(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, 0);
}

void server_start(struct server *server)
{
	pid_t parent = getpid();

	if (server->socket[0])
		unlink(server->socket);
	server->pid = fork();
	ck_assert_int_ge(server->pid, 0);
	if (server->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
		signal(SIGPIPE, SIG_DFL);
		redirect();
		execvp(server->argv[0], (char *const *)server->argv);
		_exit(127);
	}
	for (int ms = 0; !listens(server); ms += 5) {
		ck_assert_msg(ms < START_MS &&
				      waitpid(server->pid, NULL, WNOHANG) == 0,
			      "server '%s' does not start: see server.log",
			      server->argv[0]);
		usleep(5000);
	}
}

void server_new_socket(struct server *server)
{
	static unsigned int nr;

	snprintf(server->socket, sizeof(server->socket), "%.80s/%d.%u",
		 unit_dir(), (int)getpid(), nr++);
}

void server_new_port(struct server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length),
			 0);
	server->port = ntohs(address.sin_port);
	server->socket[0] = '\0';
	close(fd);
}

static unsigned int add_args(struct server *server, unsigned int nr,
			     const char *const *args)
{
	while (*args && nr < SERVER_ARGS - 1)
		server->argv[nr++] = *args++;
	server->argv[nr] = NULL;
	return nr;
}

void server_nbdkit(struct server *server, const char *const *args)
{
	const char *const head[] = { "nbdkit", "-f", "-U", server->socket,
				     NULL };

	server_new_socket(server);
	add_args(server, add_args(server, 0, head), args);
	server_start(server);
}

void server_nbdkit_again(struct server *server, const char *const *args,
			 const char *image)
{
	const char *with_image[9] = { NULL };

	for (unsigned int i = 0; i < 8 && args[i]; i++)
		with_image[i] = strcmp(args[i], "IMAGE") ? args[i] : image;
	if (!server->socket[0]) {
		server_nbdkit(server, with_image);
		return;
	}
	add_args(server, 4, with_image);
	server_start(server);
}

void server_nbdkit_tcp(struct server *server, const char *const *args)
{
	static char port[16];
	const char *const head[] = { "nbdkit", "-f", "-i", "127.0.0.1",
				     "-p",     port, NULL };

	server_new_port(server);
	snprintf(port, sizeof(port), "%u", server->port);
	add_args(server, add_args(server, 0, head), args);
	server_start(server);
}

static void end(struct server *server, int signal_number)
{
	if (!server->pid)
		return;
	kill(server->pid, signal_number);
	kill(server->pid, SIGCONT);
	waitpid(server->pid, NULL, 0);
	server->pid = 0;
}

void server_kill(struct server *server)
{
	end(server, SIGKILL);
}

void server_stop(struct server *server)
{
	end(server, SIGTERM);
}

void server_hang(const struct server *server)
{
	kill(server->pid, SIGSTOP);
	/* All of its threads. */
	usleep(20000);
}

void server_restart(struct server *server)
{
	server_start(server);
}

const char *server_sibling(const char *name)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	ck_assert_int_gt(n, 0);
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, name);
	return path;
}

bool server_installed(const char *program)
{
	char command[128];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1",
		 program);
	return system(command) == 0;
}

const char *scratch_file(const char *name, long long nr_bytes)
{
	static char paths[4][512];
	static unsigned int nr;
	char *path = paths[nr++ % NR_OF(paths)];
	int fd;

	snprintf(path, sizeof(paths[0]), "%.256s/%s.%d", unit_dir(), name,
		 (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, nr_bytes), 0);
	close(fd);
	return path;
}

void run_command(const char *fmt, ...)
{
	char command[4096];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	ck_assert_msg(system(command) == 0, "command failed: %s", command);
}
