/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A test host's side of the control socket, and the real xl in a mount
 * namespace of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/process-cpu.h"
#include "tests/sim/host-process.h"

#define ANSWER_BYTES (256 * 1024)
#define ANSWER_WAIT_MS 20000u

static int control_connect(struct host *h)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/run/control.sock",
		 h->dir);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* One line, without its end; false at end of file or deadline. */
static bool read_line(int fd, char *line, size_t max_bytes)
{
	uint64_t end = host_now_ms() + ANSWER_WAIT_MS;
	size_t at = 0;

	while (at + 1 < max_bytes) {
		struct pollfd p = { fd, POLLIN, 0 };
		uint64_t now = host_now_ms();
		ssize_t n;

		if (now >= end || poll(&p, 1, (int)(end - now)) <= 0)
			return false;
		n = read(fd, line + at, max_bytes - at - 1);
		if (n <= 0)
			return false;
		at += (size_t)n;
		if (line[at - 1] == '\n') {
			line[at - 1] = '\0';
			return true;
		}
	}
	return false;
}

int host_control_begin(struct host *h, json_t *request)
{
	int fd = control_connect(h);
	char *text = json_dumps(request, JSON_COMPACT);

	need(text, "a request that cannot be built");
	if (fd >= 0)
		dprintf(fd, "%s\n", text);
	json_decref(request);
	free(text);
	return fd;
}

json_t *host_control_end(int fd)
{
	char *line = malloc(ANSWER_BYTES);
	json_t *answer = NULL;

	need(line, "memory");
	if (fd >= 0 && read_line(fd, line, ANSWER_BYTES)) {
		answer = json_loads(line, 0, NULL);
		need(answer, "the answer is no JSON: %s", line);
	}
	if (fd >= 0)
		close(fd);
	free(line);
	return answer;
}

json_t *host_control(struct host *h, json_t *request)
{
	return host_control_end(host_control_begin(h, request));
}

json_t *host_control_ok(struct host *h, json_t *request)
{
	char *asked = json_dumps(request, JSON_COMPACT);
	json_t *answer = host_control(h, request);
	char *text = answer ? json_dumps(answer, JSON_COMPACT) : NULL;

	need(answer && json_is_true(json_object_get(answer, "ok")),
	     "%s was answered %s", asked, text ? text : "not at all");
	free(asked);
	free(text);
	return answer;
}

char *host_control_error(struct host *h, json_t *request)
{
	char *asked = json_dumps(request, JSON_COMPACT);
	json_t *answer = host_control(h, request);
	const char *text;
	char *copy;

	need(answer, "%s was not answered", asked);
	need(json_is_false(json_object_get(answer, "ok")), "%s was not refused",
	     asked);
	text = json_string_value(json_object_get(answer, "error"));
	need(text && *text, "%s was refused without a reason", asked);
	copy = strdup(text);
	json_decref(answer);
	free(asked);
	return copy;
}

json_t *host_list(struct host *h, uint16_t domid, unsigned int devid)
{
	json_t *answer =
		host_control_ok(h, json_pack("{s:s}", "command", "list"));
	json_t *vbd, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(answer, "vbds"), i, vbd)
	{
		json_t *dom = json_object_get(vbd, "domid");
		json_t *dev = json_object_get(vbd, "devid");

		if (json_integer_value(dom) == domid &&
		    json_integer_value(dev) == (json_int_t)devid)
			found = json_incref(vbd);
	}
	json_decref(answer);
	return found;
}

bool host_wait_unlisted(struct host *h, uint16_t domid, unsigned int devid)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	json_t *vbd;

	while ((vbd = host_list(h, domid, devid)) != NULL) {
		json_decref(vbd);
		if (host_now_ms() >= end)
			return false;
		poll(NULL, 0, 2);
	}
	return true;
}

static bool worker_is(json_t *vbd, const char *status)
{
	json_t *worker = json_object_get(vbd, "worker");
	const char *now = json_string_value(json_object_get(worker, "status"));

	return now && !strcmp(now, status);
}

bool host_wait_worker(struct host *h, uint16_t domid, unsigned int devid,
		      const char *status)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	for (;;) {
		json_t *vbd = host_list(h, domid, devid);
		bool reached = worker_is(vbd, status);

		json_decref(vbd);
		if (reached || host_now_ms() >= end)
			return reached;
		poll(NULL, 0, 2);
	}
}

/* ---- xl ---- */

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		_exit(99);
	close(fd);
}

static void copy_file(const char *from, const char *to, mode_t mode)
{
	char text[65536];
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		_exit(98);
	text[n] = '\0';
	close(fd);
	write_file(to, text, mode);
}

/* What xl create would have stored of each guest. */
static void write_userdata(struct host *h)
{
	char path[160], text[400];
	unsigned int i;

	for (i = 0; i < h->nr_guests; i++) {
		struct guest *g = &h->guests[i];

		snprintf(path, sizeof(path),
			 "/var/lib/xen/userdata-d.%u.%s.libxl-json", g->domid,
			 g->uuid);
		snprintf(text, sizeof(text),
			 "{\"c_info\":{\"type\":\"pv\",\"domid\":%u,"
			 "\"name\":\"%s\",\"uuid\":\"%s\"},"
			 "\"b_info\":{\"type\":\"pv\"}}",
			 g->domid, g->name, g->uuid);
		write_file(path, text, 0600);
	}
}

/*
 * In the child: a file system as a Xen host has it.  The run directory of the
 * daemon appears where the installed script expects it.
 */
static void make_world(struct host *h)
{
	static const char *const dirs[] = { "/etc/xen", "/var/lib/xen",
					    "/run" };
	char run_dir[64], bin[600], path[1400];
	unsigned int i;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(97);
	for (i = 0; i < 3; i++)
		if (mount("tmpfs", dirs[i], "tmpfs", 0, NULL) < 0)
			_exit(96);
	snprintf(run_dir, sizeof(run_dir), "%s/run", h->dir);
	if (mkdir("/etc/xen/scripts", 0755) < 0 ||
	    mkdir("/run/xen", 0755) < 0 || mkdir("/run/xen-diskd", 0700) < 0 ||
	    mkdir("/run/lock", 0755) < 0)
		_exit(95);
	if (access(run_dir, F_OK) == 0 &&
	    mount(run_dir, "/run/xen-diskd", NULL, MS_BIND, NULL) < 0)
		_exit(94);
	write_file("/etc/xen/xl.conf", "", 0644);
	write_userdata(h);
	copy_file(program_path(PROGRAM_SCRIPT),
		  "/etc/xen/scripts/block-xen-diskd", 0755);
	snprintf(bin, sizeof(bin), "%s", program_path(PROGRAM_CTL));
	*strrchr(bin, '/') = '\0';
	snprintf(path, sizeof(path), "%s:/usr/sbin:/usr/bin:/sbin:/bin", bin);
	setenv("PATH", path, 1);
}

static int xl_child(struct host *h, const char *const argv[])
{
	const char *args[24] = { "/usr/lib/xen-4.17/bin/xl" };
	unsigned int i;
	int status;
	pid_t pid;

	make_world(h);
	for (i = 0; argv[i] && i < 22; i++)
		args[i + 1] = argv[i];
	/* xl forks, and the namespace must last until its last child is gone. */
	pid = process_start(h, "xl.log", program_path(PROGRAM_PRELOAD), args);
	if (waitpid(pid, &status, 0) != pid)
		return 93;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 92;
}

int host_xl(struct host *h, char *ret_output, size_t output_bytes,
	    const char *const argv[])
{
	char path[64];
	int status = 0, fd;
	ssize_t n;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/xl.log", h->dir);
	unlink(path);
	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork");
	if (pid == 0)
		_exit(xl_child(h, argv));
	need(process_wait(pid, 60000, &status), "xl %s hangs", argv[0]);

	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, ret_output, output_bytes - 1);
	ret_output[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

uint64_t host_cpu_ns(pid_t pid)
{
	uint64_t ns = 0;

	need(process_cpu_ns(pid, &ns) == 0, "the process is gone");
	return ns;
}

pid_t host_worker_pid(struct host *h, uint16_t domid, unsigned int devid)
{
	json_t *vbd = host_list(h, domid, devid);
	pid_t pid = (pid_t)json_integer_value(
		json_object_get(json_object_get(vbd, "worker"), "pid"));

	json_decref(vbd);
	return pid;
}
