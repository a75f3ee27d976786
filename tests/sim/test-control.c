/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: list, attach, detach, the hotplug commands, bad input
 * with messages that name the thing and the cause, and a worker that dies.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
#define XVDC 51744u
#define IMAGE_BYTES (1u << 20)

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
	return json_pack("{s:s,s:s,s:s,s:s,s:b}", "command", "attach", "domain", domain,
			 "vdev", vdev, "target", target, "readonly",
			 (int)readonly);
}

static json_t *detach_request(const char *vdev, bool force)
{
	return json_pack("{s:s,s:s,s:s,s:b}", "command", "detach", "domain", "g1",
			 "vdev", vdev, "force", (int)force);
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
	json_t *answer = host_control_ok(&h, json_pack("{s:s}", "command",
						       "list"));

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
		     IMAGE_BYTES, "size_bytes");
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

	json_decref(host_control_ok(&h, attach_request("1", "xvdb", image,
						       true)));
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
	expect_refusal(attach_request("g1", "xvdb", "bogus:/x", false),
		       "bogus", "provider");
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
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       true)));
	json_decref(host_control_ok(&h, attach_request("g2", "xvdb", image,
						       true)));
	expect_refusal(attach_request("g2", "xvdc", image, false), image, "");
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

/* Waits until list says so; there is no event for a reader of list. */
static bool wait_worker_dead(unsigned int devid)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	const char *status;
	bool dead = false;

	while (!dead && host_now_ms() < end) {
		json_t *vbd = host_list(&h, 1, devid);

		status = json_string_value(json_object_get(
			json_object_get(vbd, "worker"), "status"));
		dead = status && !strcmp(status, "dead");
		json_decref(vbd);
	}
	return dead;
}

START_TEST(worker_killed)
{
	static struct blkfront other;
	uint8_t data[FE_PAGE];
	char path[64];

	host_image(&h, "b.img", IMAGE_BYTES, path);
	json_decref(host_control_ok(&h, attach_request("g1", "xvdb", image,
						       false)));
	json_decref(host_control_ok(&h, attach_request("g1", "xvdc", path,
						       false)));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	blkfront_init(&other, &h, g, XVDC, FE_ABI_X86_64);
	blkfront_connect(&other);
	need(worker_pid(XVDB) != worker_pid(XVDC), "one worker for two vbds");

	need(kill(worker_pid(XVDB), SIGKILL) == 0, "kill");
	need(wait_worker_dead(XVDB), "not listed as dead");
	need(blkfront_read(&other, 0, data, 8) == FE_OKAY, "the other vbd");
	need(sim_live_maps(h.sim) == 1, "maps");
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

/* ---- the socket itself ---- */

START_TEST(socket_is_private)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "%s/run/control.sock", h.dir);
	need(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600,
	     "mode %o", st.st_mode & 07777);
}
END_TEST

START_TEST(garbage_on_the_socket)
{
	static const char *const lines[] = {
		"\n", "{\n", "[]\n", "{}\n", "null\n", "{\"command\":1}\n",
		"{\"command\":\"no-such\"}\n", "\xff\xfe\n",
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
	json_decref(host_control_ok(&h, json_pack("{s:s}", "command",
						  "version")));
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
	tcase_add_test(tc, requests_are_counted);
	tcase_add_test(tc, attach_refusals);
	tcase_add_test(tc, hotplug_refusals);
	tcase_add_test(tc, same_image_twice);
	tcase_add_test(tc, same_image_twice_read_only);
	tcase_add_test(tc, attach_twice);
	tcase_add_test(tc, worker_killed);
	tcase_add_test(tc, socket_is_private);
	tcase_add_test(tc, garbage_on_the_socket);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
