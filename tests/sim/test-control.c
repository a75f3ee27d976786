/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: list, attach, detach, the hotplug commands, bad input
 * with messages that name the thing and the cause, and a worker that dies.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"
#include "tests/sim/walls.h"

#define XVDB 51728u
#define XVDC 51744u
#define IMAGE_BYTES (1u << 20)
#define NOBODY 65534u

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", IMAGE_BYTES, image);
}

static void teardown(void)
{
	host_stop(&h);
}

static json_t *attach_request(const char *domain, const char *vdev,
			      const char *target, bool readonly)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:b}", "command", "attach", "domain",
			 domain, "vdev", vdev, "target", target, "readonly",
			 (int)readonly);
}

static json_t *detach_request(const char *vdev, bool force)
{
	return json_pack("{s:s,s:s,s:s,s:b}", "command", "detach", "domain",
			 "g1", "vdev", vdev, "force", (int)force);
}

static void expect_string(json_t *vbd, const char *key, const char *value)
{
	const char *got = json_string_value(json_object_get(vbd, key));

	need(got && !strcmp(got, value), "%s is %s, not %s", key,
	     got ? got : "no string", value);
}

/* A refusal that names the thing and the cause. */
static void expect_refusal(json_t *request, const char *thing,
			   const char *cause)
{
	uint64_t start = host_now_ms();
	char *text = host_control_error(&h, request);

	need(host_now_ms() - start < 2000, "refused after 2 s");
	need(strstr(text, thing), "'%s' does not name '%s'", text, thing);
	need(strcasestr(text, cause), "'%s' does not say '%s'", text, cause);
	free(text);
}

START_TEST(version_and_empty_list)
{
	json_t *answer =
		host_control_ok(&h, json_pack("{s:s}", "command", "list"));

	need(json_array_size(json_object_get(answer, "vbds")) == 0, "vbds");
	need(json_is_array(json_object_get(answer, "vbds")), "vbds");
	json_decref(answer);
}
END_TEST

START_TEST(attach_list_detach)
{
	uint8_t data[FE_PAGE] = { 1 };
	json_t *vbd;

	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	vbd = host_list(&h, 1, XVDB);
	need(vbd, "not in list");
	expect_string(vbd, "state", "InitWait");
	json_decref(vbd);

	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(blkfront_write(&fe, 0, data, 8) == FE_OKAY, "write");
	need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "read");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	vbd = host_list(&h, 1, XVDB);
	expect_string(vbd, "domain", "g1");
	expect_string(vbd, "vdev", "xvdb");
	expect_string(vbd, "kind", "vbd");
	expect_string(vbd, "path", fe.backend);
	expect_string(vbd, "target", image);
	expect_string(vbd, "provider", "file");
	expect_string(vbd, "mode", "w");
	expect_string(vbd, "state", "Connected");
	expect_string(vbd, "protocol", "x86_64-abi");
	need(json_is_null(json_object_get(vbd, "error")), "error");
	need(json_integer_value(json_object_get(vbd, "size_bytes")) ==
		     IMAGE_BYTES,
	     "size_bytes");
	json_decref(vbd);

	/* The guest agrees to the detach as soon as it is asked. */
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	json_decref(host_control_ok(&h, detach_request("xvdb", false)));
	need(!host_list(&h, 1, XVDB), "still in list");
	need(host_count_nodes(&h, fe.backend) == 0, "backend nodes");
	need(host_count_nodes(&h, fe.path) == 0, "frontend nodes");
	need(host_count_nodes(&h, "/libxl/1/device/vbd/51728") == 0, "libxl");
	blkfront_fini(&fe);
}
END_TEST

START_TEST(attach_writes_what_libxl_reads)
{
	char *value;

	json_decref(
		host_control_ok(&h, attach_request("1", "xvdb", image, true)));
	value = host_read(&h, "/libxl/1/device/vbd/51728/backend");
	need(value && !strcmp(value, "/local/domain/0/backend/vbd/1/51728"),
	     "libxl's backend is %s", value ? value : "absent");
	free(value);
	value = host_read(&h, "/local/domain/0/backend/vbd/1/51728/mode");
	need(value && !strcmp(value, "r"), "mode");
	free(value);
	need(host_exists(&h, "/local/domain/1/device/vbd/51728/backend"), "fe");
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
}
END_TEST

/* As libxl: whoever removes the last disk removes its parents, too. */
START_TEST(last_detach_leaves_no_directory)
{
	char other[64];
	json_t *vbd;

	host_image(&h, "b.img", IMAGE_BYTES, other);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	json_decref(host_control_ok(&h, attach_request("g1", "xvdc", other,
						       false)));
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	vbd = host_list(&h, 1, XVDC);
	need(vbd, "the other disk is not listed any more");
	json_decref(vbd);
	need(host_exists(&h, "/local/domain/0/backend/vbd/1/%u/state", XVDC),
	     "the other disk's backend directory");
	need(host_exists(&h, "/libxl/1/device/vbd/%u/backend", XVDC),
	     "the other disk's libxl directory");
	json_decref(host_control_ok(&h, detach_request("xvdc", true)));
	need(!host_exists(&h, "/local/domain/0/backend/vbd/1"),
	     "an empty backend/vbd/1");
	need(!host_exists(&h, "/libxl/1/device/vbd"),
	     "an empty /libxl/1/device/vbd");
	/* What is not of disks is not ours. */
	need(host_exists(&h, "/libxl/1/type"), "the domain's own nodes");
}
END_TEST

START_TEST(requests_are_counted)
{
	struct fe_request rq;
	json_t *vbd, *counts;
	uint8_t data[FE_PAGE] = { 0 };
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	bool good = false;
	int i;

	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	for (i = 0; i < 7; i++)
		need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "read");
	for (i = 0; i < 5; i++)
		need(blkfront_write(&fe, 0, data, 8) == FE_OKAY, "write");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	blkfront_fill(&fe, &rq, FE_READ, 1u << 20, 8, 0, 0);
	need(blkfront_do(&fe, &rq) == FE_ERROR, "past the end");
	/* A response may be seen before its count is. */
	while (!good && host_now_ms() < end) {
		vbd = host_list(&h, 1, XVDB);
		counts = json_object_get(vbd, "requests");
#define COUNT(key) json_integer_value(json_object_get(counts, key))
		good = COUNT("read") >= 7 && COUNT("write") == 5 &&
		       COUNT("flush") == 1 && COUNT("errors") == 1;
		json_decref(vbd);
	}
	need(good, "the counts are wrong");
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	blkfront_fini(&fe);
}
END_TEST

START_TEST(attach_refusals)
{
	char path[64], odd[64];

	expect_refusal(attach_request("g1", "xvdb", "/no/such.img", false),
		       "/no/such.img", "No such file");
	expect_refusal(attach_request("g1", "xvdb", h.dir, false), h.dir,
		       "directory");
	expect_refusal(attach_request("g1", "xvdb", "bogus:/x", false), "bogus",
		       "provider");
	expect_refusal(attach_request("g1", "xvdb", "", false), "target",
		       "empty");
	host_image(&h, "odd.img", 1000, odd);
	expect_refusal(attach_request("g1", "xvdb", odd, false), odd, "512");
	host_image(&h, "ro.img", 4096, path);
	need(chmod(path, 0444) == 0, "chmod");
	expect_refusal(attach_request("g1", "xvdb", path, false), path,
		       "read-only");
	expect_refusal(attach_request("g9", "xvdb", image, false), "g9",
		       "domain");
	expect_refusal(attach_request("g1", "wxyz", image, false), "wxyz", "");
	/* Nothing of all this is left. */
	need(host_count_nodes(&h, "/local/domain/0/backend/vbd/1") <= 1,
	     "backend nodes");
	need(host_count_nodes(&h, "/local/domain/1/device/vbd") <= 1,
	     "frontend nodes");
	need(!host_list(&h, 1, XVDB), "listed");
}
END_TEST

/* The longest target there is has 4095 bytes; it is no worker's fault. */
START_TEST(target_too_long)
{
	static char target[5000];

	for (size_t n = 4096; n < sizeof(target); n += 903) {
		char *text;

		memset(target, 'a', n);
		target[0] = '/';
		target[n] = '\0';
		text = host_control_error(&h, attach_request("g1", "xvdb",
							     target, false));
		need(strstr(text, "target '/aaaa"), "'%s' names no target",
		     text);
		need(strcasestr(text, "long"), "'%s' names no cause", text);
		need(!strstr(text, "worker"), "'%s' blames the worker", text);
		free(text);
		need(!host_list(&h, 1, XVDB), "listed");
	}
	need(host_count_nodes(&h, "/local/domain/0/backend/vbd/1") == 0,
	     "backend nodes");
}
END_TEST

/* The same by path C, in hotplug-add's answer and hotplug-error. */
START_TEST(hotplug_refusals)
{
	static const struct {
		const char *target, *thing, *cause;
	} bad[] = {
		{ "/no/such.img", "/no/such.img", "No such file" },
		{ "/tmp", "/tmp", "directory" },
		{ "bogus:/x", "bogus", "provider" },
		{ "", "target", "empty" },
	};
	unsigned int i;

	for (i = 0; i < 4; i++) {
		char *text = host_vbd_attach(&h, g, XVDB, bad[i].target, 'w');
		char *node = host_read(
			&h, "/local/domain/0/backend/vbd/1/%u/hotplug-error",
			XVDB);

		need(text && strstr(text, bad[i].thing) &&
			     strcasestr(text, bad[i].cause),
		     "'%s' for target '%s'", text ? text : "success",
		     bad[i].target);
		need(node && !strcmp(node, text), "hotplug-error is '%s'",
		     node ? node : "absent");
		free(text);
		free(node);
		host_vbd_detach_begin(&h, g, XVDB);
		host_write(&h, "6", "/local/domain/1/device/vbd/%u/state",
			   XVDB);
		host_vbd_detach_end(&h, g, XVDB);
		need(host_wait_unlisted(&h, 1, XVDB), "listed");
	}
}
END_TEST

START_TEST(same_image_twice)
{
	struct guest *other = host_guest(&h, 2, "g2");
	char shared[80];

	(void)other;
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	expect_refusal(attach_request("g2", "xvdb", image, false), image,
		       "1/51728");
	expect_refusal(attach_request("g2", "xvdb", image, true), image,
		       "1/51728");
	snprintf(shared, sizeof(shared), "file:%s?share=yes", image);
	json_decref(host_control_ok(&h, attach_request("g2", "xvdb", shared,
						       false)));
}
END_TEST

START_TEST(same_image_twice_read_only)
{
	host_guest(&h, 2, "g2");
	json_decref(
		host_control_ok(&h, attach_request("g1", "xvdb", image, true)));
	json_decref(
		host_control_ok(&h, attach_request("g2", "xvdb", image, true)));
	expect_refusal(attach_request("g2", "xvdc", image, false), image, "");
}
END_TEST

static const struct {
	const char *qemu, *name;
} formats[] = {
	{ "raw", NULL },  { "qcow2", "qcow2" }, { "qed", "QED" },
	{ "vpc", "VHD" }, { "vhdx", "VHDX" },   { "vmdk", "VMDK" },
	{ "vdi", "VDI" },
};

/* Raw all the same; but it is told. */
START_TEST(format_is_told)
{
	char command[256], path[80], says[64];
	bool told;

	snprintf(path, sizeof(path), "%s/format", h.dir);
	snprintf(command, sizeof(command),
		 "qemu-img create -q -f %s %s 8M && truncate -s %%512 %s",
		 formats[_i].qemu, path, path);
	need(system(command) == 0, "%s", command);
	json_decref(
		host_control_ok(&h, attach_request("g1", "xvdb", path, false)));
	snprintf(says, sizeof(says), "begins as one in the format %s",
		 formats[_i].name ? formats[_i].name : "");
	told = host_log_has(&h, says);
	need(told == (formats[_i].name != NULL), "%s", formats[_i].qemu);
}
END_TEST

START_TEST(attach_twice)
{
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	expect_refusal(attach_request("g1", "xvdb", image, false), "xvdb", "");
	expect_refusal(detach_request("xvdc", false), "xvdc", "");
}
END_TEST

/* ---- a worker that dies ---- */

static pid_t worker_pid(unsigned int devid)
{
	json_t *vbd = host_list(&h, 1, devid);
	json_t *worker = json_object_get(vbd, "worker");
	pid_t pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));

	need(pid > 1, "no pid of a worker");
	json_decref(vbd);
	return pid;
}

/* Whether /proc/PID/status has the line. */
static bool worker_has(pid_t pid, const char *line)
{
	char path[64], text[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	need(f != NULL, "no '%s'", path);
	while (!found && fgets(text, sizeof(text), f))
		found = !strncmp(text, line, strlen(line));
	fclose(f);
	return found;
}

static bool worker_sees(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/root/%s", pid, name);
	return access(path, F_OK) == 0;
}

/* It is a namespace's number. */
static unsigned long long network_of(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	need(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
	return st.st_ino;
}

START_TEST(workers_are_sandboxed)
{
	static const char *const nothing[] = { NULL };
	char path[64];
	pid_t first, second;

	host_image(&h, "b.img", IMAGE_BYTES, path);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	json_decref(
		host_control_ok(&h, attach_request("g1", "xvdc", path, false)));
	first = worker_pid(XVDB);
	second = worker_pid(XVDC);
	need(worker_has(first, "Uid:\t1879048192\t1879048192"), "uid");
	need(worker_has(second, "Uid:\t1879048193\t1879048193"), "its own");
	need(network_of(first) != network_of(second), "one network for two");
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	walls_check(&h, first, nothing, false);
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	blkfront_fini(&fe);
}
END_TEST

static bool has_descriptor(pid_t pid, int fd)
{
	char path[64], target[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return readlink(path, target, sizeof(target)) >= 0;
}

/* Of whoever has started the daemon, in a careless way. */
START_TEST(descriptors_are_not_inherited)
{
	const int fd = 200;

	need(dup2(STDERR_FILENO, fd) == fd, "dup2");
	host_daemon_stop(&h);
	host_daemon_start(&h);
	close(fd);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	need(!has_descriptor(worker_pid(XVDB), fd), "by a worker");
	need(!has_descriptor(h.daemon, fd), "by the daemon");
}
END_TEST

START_TEST(sandbox_is_off)
{
	pid_t pid;

	host_daemon_stop(&h);
	h.daemon_options[0] = "--sandbox=off";
	host_daemon_start(&h);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	pid = worker_pid(XVDB);
	need(worker_has(pid, "Uid:\t0\t0"), "uid");
	need(worker_has(pid, "NoNewPrivs:\t0"), "no_new_privs");
	need(worker_sees(pid, "etc"), "files");
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	blkfront_fini(&fe);
}
END_TEST

START_TEST(workers_stay_root)
{
	pid_t pid;

	host_daemon_stop(&h);
	h.daemon_options[0] = "--worker-uids=0";
	host_daemon_start(&h);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	pid = worker_pid(XVDB);
	need(worker_has(pid, "Uid:\t0\t0"), "uid");
	need(worker_has(pid, "CapPrm:\t0000000000000000"), "permitted");
	need(!worker_sees(pid, "etc"), "files");
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	blkfront_fini(&fe);
}
END_TEST

START_TEST(worker_killed)
{
	static struct blkfront other;
	uint8_t data[FE_PAGE];
	pid_t pid, other_pid;
	char path[64];

	host_image(&h, "b.img", IMAGE_BYTES, path);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	json_decref(
		host_control_ok(&h, attach_request("g1", "xvdc", path, false)));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	blkfront_init(&other, &h, g, XVDC, FE_ABI_X86_64);
	blkfront_connect(&other);
	pid = worker_pid(XVDB);
	other_pid = worker_pid(XVDC);
	need(pid != other_pid, "one worker for two vbds");

	need(kill(pid, SIGKILL) == 0, "kill");
	need(blkfront_read(&other, 0, data, 8) == FE_OKAY, "the other vbd");
	need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "its own vbd");
	need(worker_pid(XVDB) != pid, "the same worker");
	need(worker_pid(XVDC) == other_pid, "another worker for the other");
	need(sim_live_maps(h.sim) == 2, "maps");
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	blkfront_fini(&fe);
	need(blkfront_read(&other, 0, data, 8) == FE_OKAY, "the other vbd");

	/* Its place can be taken again. */
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(blkfront_read(&fe, 0, data, 8) == FE_OKAY, "the new one");
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	json_decref(host_control_ok(&h, detach_request("xvdc", true)));
	blkfront_fini(&fe);
	blkfront_fini(&other);
}
END_TEST

/* It was asked to end, but that it did not end by itself is told. */
START_TEST(worker_killed_while_quitting)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	char *error = host_vbd_attach(&h, g, XVDB, image, 'w');
	char text[80];
	pid_t pid;

	need(!error, "attach: %s", error);
	pid = worker_pid(XVDB);
	/* Held still, it cannot do as it is told. */
	need(kill(pid, SIGSTOP) == 0, "stop");
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSED);
	need(host_wait_worker(&h, 1, XVDB, "quitting"), "not quitting");
	need(kill(pid, SIGKILL) == 0, "kill");
	snprintf(text, sizeof(text), "worker (pid %d) was killed by signal 9",
		 pid);
	while (!host_log_has(&h, text)) {
		need(host_now_ms() < end, "'%s' is not logged", text);
		poll(NULL, 0, 2);
	}
	host_vbd_detach_end(&h, g, XVDB);
	need(host_wait_unlisted(&h, 1, XVDB), "listed");
	blkfront_fini(&fe);
}
END_TEST

/* ---- clients that wait ---- */

static int control_open(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = HOST_WAIT_MS / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/run/control.sock",
		 h.dir);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	need(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0, "connect");
	return fd;
}

static void send_text(int fd, const char *text)
{
	need(write(fd, text, strlen(text)) == (ssize_t)strlen(text), "send");
}

/* A line, parsed; byte by byte, as the next one may be there already. */
static json_t *next_answer(int fd)
{
	char line[4096];
	size_t n = 0;
	json_t *answer;

	while (n < sizeof(line) && read(fd, &line[n], 1) == 1 &&
	       line[n] != '\n')
		n++;
	need(n < sizeof(line) && line[n] == '\n', "no answer");
	answer = json_loadb(line, n, 0, NULL);
	need(answer, "an answer that is no JSON: %.*s", (int)n, line);
	return answer;
}

/* Descriptors that the daemon has open. */
static unsigned int daemon_fds(void)
{
	unsigned int nr = 0;
	char path[32];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", h.daemon);
	dir = opendir(path);
	need(dir, "%s", path);
	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

/* What the daemon has used of the processor so far. */
static unsigned long daemon_ticks(void)
{
	unsigned long user, system;
	char path[32];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", h.daemon);
	f = fopen(path, "re");
	need(f, "%s", path);
	need(fscanf(f,
		    "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u "
		    "%*u %lu %lu",
		    &user, &system) == 2,
	     "%s", path);
	fclose(f);
	return user + system;
}

/* Two turns of the daemon, so it has read what was sent to it before. */
static void daemon_turns(void)
{
	for (int i = 0; i < 2; i++)
		json_decref(host_control_ok(&h, json_pack("{s:s}", "command",
							  "version")));
}

#define DETACH_LINE \
	"{\"command\":\"detach\",\"domain\":\"g1\",\"vdev\":\"xvdb\"}\n"

static void connect_xvdb(void)
{
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
}

/*
 * More than is read ahead of a command that waits, and then nobody there: its
 * end stands behind bytes that are never read.
 */
START_TEST(client_leaves_a_full_buffer)
{
	static char junk[40000];
	unsigned long ticks;
	unsigned int fds;
	int fd;

	connect_xvdb();
	fds = daemon_fds();
	fd = control_open();
	send_text(fd, DETACH_LINE);
	daemon_turns();
	memset(junk, 'x', sizeof(junk) - 1);
	send_text(fd, junk);
	daemon_turns();
	need(daemon_fds() > fds, "the command does not wait");
	close(fd);

	/* It has nothing to do; only time can tell. */
	ticks = daemon_ticks();
	poll(NULL, 0, 1000);
	ticks = daemon_ticks() - ticks;
	need(ticks < (unsigned long)sysconf(_SC_CLK_TCK) / 5,
	     "%lu ticks in a second of idleness", ticks);
	need(daemon_fds() <= fds, "the client is not forgotten");

	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	json_decref(host_control_ok(&h, detach_request("xvdb", true)));
	blkfront_fini(&fe);
}
END_TEST

/* Two requests in one write; the first one waits for the guest. */
START_TEST(pipelined_requests)
{
	json_t *answer;
	struct pollfd p = { .events = POLLIN };

	connect_xvdb();
	p.fd = control_open();
	send_text(p.fd, DETACH_LINE "{\"command\":\"version\"}\n");
	need(poll(&p, 1, 200) == 0, "answered while the guest has the disk");
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	answer = next_answer(p.fd);
	need(json_is_true(json_object_get(answer, "ok")), "detach");
	need(!json_object_get(answer, "version"), "out of order");
	json_decref(answer);
	answer = next_answer(p.fd);
	need(json_object_get(answer, "version"), "the second one's answer");
	json_decref(answer);
	close(p.fd);
	blkfront_fini(&fe);
}
END_TEST

/* ---- the socket itself ---- */

START_TEST(socket_is_private)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "%s/run/control.sock", h.dir);
	need(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600, "mode %o",
	     st.st_mode & 07777);
}
END_TEST

/* In a process of its own, as nobody: 0 when it is hung up on. */
static pid_t stranger_start(const struct sockaddr_un *sa)
{
	static const char request[] = "{\"command\":\"version\"}\n";
	char answer[256];
	pid_t pid;
	int fd;

	fflush(NULL);
	pid = fork();
	if (pid)
		return pid;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
	    setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
	    connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0)
		_exit(1);
	if (write(fd, request, strlen(request)) < 0)
		_exit(errno == EPIPE ? 0 : 2);
	_exit(read(fd, answer, sizeof(answer)) > 0 ? 3 : 0);
}

/* Should others get at it all the same, they are not heard. */
START_TEST(strangers_at_the_socket)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char run_dir[64];
	int status;

	snprintf(run_dir, sizeof(run_dir), "%s/run", h.dir);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/control.sock", run_dir);
	need(chmod(h.dir, 0711) == 0 && chmod(run_dir, 0711) == 0 &&
		     chmod(sa.sun_path, 0666) == 0,
	     "chmod: %s", strerror(errno));
	need(process_wait(stranger_start(&sa), HOST_WAIT_MS, &status) &&
		     status == 0,
	     "the stranger's status is %#x", status);
	json_decref(
		host_control_ok(&h, json_pack("{s:s}", "command", "version")));
}
END_TEST

START_TEST(garbage_on_the_socket)
{
	static const char *const lines[] = {
		"\n",
		"{\n",
		"[]\n",
		"{}\n",
		"null\n",
		"{\"command\":1}\n",
		"{\"command\":\"no-such\"}\n",
		"\xff\xfe\n",
		"{\"command\":\"attach\"}\n",
		"{\"command\":\"attach\",\"domain\":1,\"vdev\":2}\n",
		"{\"command\":\"hotplug-add\",\"path\":\"../../x\"}\n",
		"{\"command\":\"hotplug-add\",\"path\":\"backend/vbd/1/1\"}\n",
	};
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char answer[4096];
	unsigned int i;
	int fd;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/run/control.sock",
		 h.dir);
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct timeval tv = { .tv_sec = 3 };
		ssize_t n;

		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		need(connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0,
		     "connect after line %u", i);
		need(write(fd, lines[i], strlen(lines[i])) > 0, "write");
		shutdown(fd, SHUT_WR);
		n = read(fd, answer, sizeof(answer) - 1);
		need(n >= 0, "line %u is not answered", i);
		answer[n] = '\0';
		/* An end of file will do for what is no JSON at all. */
		need(n == 0 || strstr(answer, "false"), "line %u: %s", i,
		     answer);
		close(fd);
	}
	json_decref(
		host_control_ok(&h, json_pack("{s:s}", "command", "version")));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("control");
	TCase *tc = tcase_create("commands");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, version_and_empty_list);
	tcase_add_test(tc, attach_list_detach);
	tcase_add_test(tc, attach_writes_what_libxl_reads);
	tcase_add_test(tc, last_detach_leaves_no_directory);
	tcase_add_test(tc, requests_are_counted);
	tcase_add_test(tc, attach_refusals);
	tcase_add_test(tc, target_too_long);
	tcase_add_test(tc, hotplug_refusals);
	tcase_add_test(tc, same_image_twice);
	tcase_add_test(tc, same_image_twice_read_only);
	tcase_add_loop_test(tc, format_is_told, 0,
			    (int)(sizeof(formats) / sizeof(formats[0])));
	tcase_add_test(tc, attach_twice);
	tcase_add_test(tc, workers_are_sandboxed);
	tcase_add_test(tc, descriptors_are_not_inherited);
	tcase_add_test(tc, sandbox_is_off);
	tcase_add_test(tc, workers_stay_root);
	tcase_add_test(tc, worker_killed);
	tcase_add_test(tc, worker_killed_while_quitting);
	tcase_add_test(tc, client_leaves_a_full_buffer);
	tcase_add_test(tc, pipelined_requests);
	tcase_add_test(tc, socket_is_private);
	tcase_add_test(tc, strangers_at_the_socket);
	tcase_add_test(tc, garbage_on_the_socket);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
