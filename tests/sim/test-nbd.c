/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks behind real NBD servers, served by the real daemon and worker:
 * attached by xl and by xen-diskctl, their bytes, what the guest and the
 * operator see of a server that is killed, stopped, started anew or another
 * than before, and that every way to detach works while it is gone.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"
#include "tests/sim/walls.h"

#define XVDB 51728u
#define SLOTS 32u
/* Each slot's own part of the disk, in whole pages. */
#define SLOT_SECTORS 256u
#define SECTORS (SLOTS * SLOT_SECTORS)
#define DISK_BYTES (SECTORS * FE_SECTOR)
/* "In about a second each"; the rest is for a loaded machine. */
#define XL_MS 3000u
/* A server that says nothing is given up after 10 s. */
#define SILENT_SERVER_MS 12000u
/* Longer than the first pauses between attempts to connect. */
#define GONE_MS 150

static struct host h;
static struct guest *g;
static struct blkfront fe;
static char image[64], socket_path[64], target[256];
static char out[16384];
static unsigned int fds_at_start;
static uint64_t seed = 0x2545f49;

/* ---- programs ------------------------------------------------------------- */

/* Runs a command of the shell; its output, without the last newline. */
static const char *shell(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
static const char *shell(const char *format, ...)
{
	char command[2048];
	size_t n;
	va_list ap;
	FILE *f;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	f = popen(command, "re");
	need(f, "popen: %s", strerror(errno));
	n = fread(out, 1, sizeof(out) - 1, f);
	while (n && out[n - 1] == '\n')
		n--;
	out[n] = '\0';
	need(pclose(f) == 0, "'%s': %s", command, out);
	return out;
}

static bool server_answers(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	answers = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	close(fd);
	return answers;
}

/* A server of its own arguments, on the socket. */
static void server_run(const char *const argv[])
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	unlink(socket_path);
	h.server = process_start(&h, "nbdkit.log", NULL, argv);
	while (!server_answers()) {
		need(host_now_ms() < end, "'%s' does not start", argv[0]);
		poll(NULL, 0, 2);
	}
}

/* nbdkit with these arguments of the shell. */
static void server_start(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
static void server_start(const char *format, ...)
{
	char command[1024];
	const char *const argv[] = { "/bin/sh", "-c", command, NULL };
	int n = snprintf(command, sizeof(command), "exec nbdkit -f -U %s ",
			 socket_path);
	va_list ap;

	va_start(ap, format);
	vsnprintf(command + n, sizeof(command) - (size_t)n, format, ap);
	va_end(ap);
	server_run(argv);
}

/* On a port of its own, by a socket that it is given (systemd's way). */
static void server_start_tcp(void)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(in);
	char command[256];
	const char *const argv[] = { "/bin/bash", "-c", command, NULL };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	need(fd >= 0 && bind(fd, (struct sockaddr *)&in, length) == 0 &&
		     listen(fd, 8) == 0 &&
		     getsockname(fd, (struct sockaddr *)&in, &length) == 0,
	     "listen: %s", strerror(errno));
	snprintf(
		command, sizeof(command),
		"exec 3<&%d; LISTEN_FDS=1 LISTEN_PID=$$ exec nbdkit -f file %s",
		fd, image);
	h.server = process_start(&h, "nbdkit.log", NULL, argv);
	close(fd);
	snprintf(target, sizeof(target), "nbd://127.0.0.1:%u/",
		 ntohs(in.sin_port));
}

static void server_kill(void)
{
	int status;

	if (!h.server)
		return;
	need(kill(h.server, SIGKILL) == 0, "kill: %s", strerror(errno));
	need(process_wait(h.server, HOST_WAIT_MS, &status), "nbdkit stays");
	h.server = 0;
}

/* ---- what is left behind ---------------------------------------------------- */

/* Descriptors of the daemon whose target has the text in it. */
static unsigned int daemon_fds(const char *text)
{
	char path[300], to[256];
	const struct dirent *entry;
	unsigned int n = 0;
	ssize_t length;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", h.daemon);
	dir = opendir(path);
	need(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", h.daemon,
			 entry->d_name);
		length = readlink(path, to, sizeof(to) - 1);
		if (length <= 0)
			continue;
		to[length] = '\0';
		n += strstr(to, text) != NULL;
	}
	closedir(dir);
	return n;
}

static bool has_workers(void)
{
	char path[64];
	bool has;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", h.daemon,
		 h.daemon);
	f = fopen(path, "re");
	need(f, "%s: %s", path, strerror(errno));
	has = fgetc(f) != EOF;
	fclose(f);
	return has;
}

/* Processes, descriptors (memfds and sockets among them), mappings, ports. */
static void wait_nothing_left(void)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	/* Our own first connection may have been open at the start. */
	while (has_workers() || daemon_fds("") > fds_at_start) {
		need(host_now_ms() < end,
		     "worker: %d, descriptors: %u, not %u; memfds: %u",
		     has_workers(), daemon_fds(""), fds_at_start,
		     daemon_fds("/memfd:"));
		poll(NULL, 0, 5);
	}
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
}

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	snprintf(socket_path, sizeof(socket_path), "%s/nbd.sock", h.dir);
	snprintf(target, sizeof(target), "nbd+unix:///?socket=%s", socket_path);
	host_image(&h, "disk.img", DISK_BYTES, image);
	poll(NULL, 0, 10);
	fds_at_start = daemon_fds("");
}

static void teardown(void)
{
	server_kill();
	host_stop(&h);
}

/* ---- attaching and detaching -------------------------------------------------- */

static int xl_within(unsigned int limit_ms, const char *const argv[])
{
	uint64_t begin = host_now_ms();
	int status = host_xl(&h, out, sizeof(out), argv);
	uint64_t ms = host_now_ms() - begin;

	need(ms < limit_ms, "xl %s took %llu ms: %s", argv[0],
	     (unsigned long long)ms, out);
	return status;
}

static int xl_attach(const char *disk, char mode, unsigned int limit_ms)
{
	const char *argv[] = { "block-attach", "g1", NULL, NULL };
	char spec[512];

	snprintf(spec, sizeof(spec),
		 "vdev=xvdb,access=%c,backendtype=phy,"
		 "script=block-xen-diskd,target=%s",
		 mode, disk);
	argv[2] = spec;
	return xl_within(limit_ms, argv);
}

static const char *diskctl(const char *arguments)
{
	return shell("%s --socket=%s/run/control.sock %s 2>&1",
		     program_path(PROGRAM_CTL), h.dir, arguments);
}

static void attach(const char *options)
{
	char arguments[400];

	snprintf(arguments, sizeof(arguments), "attach g1 xvdb '%s%s'", target,
		 options);
	diskctl(arguments);
}

static void connect_frontend(void)
{
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
}

static void attach_connect(const char *options)
{
	attach(options);
	connect_frontend();
	need(fe.nr_sectors == SECTORS, "%llu sectors",
	     (unsigned long long)fe.nr_sectors);
	need(fe.feature_flush, "features");
}

/* The guest's driver, which agrees when it is asked to close. */
static void *closing_guest(void *arg)
{
	struct blkfront *f = arg;

	if (host_wait_value(f->host, "5", HOST_WAIT_MS, "%s/state",
			    f->backend)) {
		struct xs_handle *xs = xs_open(0);
		char path[128];

		snprintf(path, sizeof(path), "%s/state", f->path);
		xs_write(xs, XBT_NULL, path, "5", 1);
		xs_write(xs, XBT_NULL, path, "6", 1);
		xs_close(xs);
	}
	return NULL;
}

static void detach_by_xl(void)
{
	static const char *const argv[] = { "block-detach", "g1", "xvdb",
					    NULL };
	pthread_t guest;

	need(pthread_create(&guest, NULL, closing_guest, &fe) == 0, "thread");
	need(xl_within(XL_MS, argv) == 0, "block-detach: %s", out);
	pthread_join(guest, NULL);
	blkfront_fini(&fe);
}

static void detach_by_xl_force(void)
{
	static const char *const argv[] = { "block-detach", "--force", "g1",
					    "xvdb", NULL };

	need(xl_within(XL_MS, argv) == 0, "block-detach --force: %s", out);
	blkfront_fini(&fe);
}

static void destroy_by_xl(void)
{
	static const char *const argv[] = { "destroy", "g1", NULL };

	need(xl_within(XL_MS, argv) == 0, "destroy: %s", out);
	sim_domain_sync(g->dom);
	g->dom = NULL;
	blkfront_abandon(&fe);
}

static void detach_by_diskctl(void)
{
	pthread_t guest;

	need(pthread_create(&guest, NULL, closing_guest, &fe) == 0, "thread");
	diskctl("detach g1 xvdb");
	pthread_join(guest, NULL);
	blkfront_fini(&fe);
}

static void detach_by_diskctl_force(void)
{
	diskctl("detach --force g1 xvdb");
	blkfront_fini(&fe);
}

static void (*const detaches[])(void) = {
	detach_by_xl,      detach_by_xl_force,      destroy_by_xl,
	detach_by_diskctl, detach_by_diskctl_force,
};
#define NR_DETACHES 5

static void detach_finish(void)
{
	detach_by_diskctl_force();
	wait_nothing_left();
}

/* ---- what the operator sees ----------------------------------------------------- */

static json_int_t server_number(const char *key)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_t *number = json_object_get(json_object_get(vbd, "server"), key);
	json_int_t value = json_integer_value(number);

	need(json_is_integer(number), "no number %s", key);
	json_decref(vbd);
	return value;
}

static bool server_state_is(const char *state)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_t *now = json_object_get(json_object_get(vbd, "server"), "state");
	bool is = json_is_string(now) && !strcmp(json_string_value(now), state);

	json_decref(vbd);
	return is;
}

static void wait_server_state(const char *state)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	while (!server_state_is(state)) {
		need(host_now_ms() < end, "the server is not %s", state);
		poll(NULL, 0, 2);
	}
}

static void wait_server_number(const char *key, json_int_t wanted)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	json_int_t now;

	while ((now = server_number(key)) != wanted) {
		need(host_now_ms() < end, "%s: %lld, not %lld", key,
		     (long long)now, (long long)wanted);
		poll(NULL, 0, 2);
	}
}

static void expect_table_line(const char *line)
{
	char wanted[128];
	const char *at;

	snprintf(wanted, sizeof(wanted), "\n    server: %s", line);
	at = strstr(diskctl("list"), wanted);
	need(at && strchr("\n", at[strlen(wanted)]), "list prints %s", out);
}

static void expect_error_node(const char *text)
{
	char *error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);

	need(error && strstr(error, text), "error node: %s",
	     error ? error : "none");
	free(error);
}

static bool has_error(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	bool has = json_string_value(json_object_get(vbd, "error")) != NULL;

	json_decref(vbd);
	return has;
}

/* The worker may be faster than what it says. */
static void wait_error(bool wanted)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	while (has_error() != wanted) {
		need(host_now_ms() < end, "%s", wanted ? "no error" : "error");
		poll(NULL, 0, 5); /* nothing tells a reader of list */
	}
}

static pid_t worker_pid(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_t *worker = json_object_get(vbd, "worker");
	pid_t pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));

	need(pid > 0, "no worker");
	json_decref(vbd);
	return pid;
}

/* ---- I/O against a model ---------------------------------------------------------- */

/* One request in flight at most; it stays within its slot's sectors. */
static struct slot {
	bool used;
	uint64_t id;
	struct fe_request rq;
	unsigned int nr_sectors;
} slots[SLOTS];
static uint8_t model[DISK_BYTES];
static unsigned int percent_flushes;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static void fill_random(uint8_t *bytes, size_t n)
{
	while (n--)
		*bytes++ = (uint8_t)rnd(256);
}

static uint8_t random_op(void)
{
	if (rnd(100) < percent_flushes)
		return FE_FLUSH;
	return rnd(3) ? FE_WRITE : FE_READ;
}

static void launch(unsigned int i)
{
	static uint8_t data[FE_SEGMENTS * FE_PAGE];
	unsigned int skip = rnd(8), nr = 1 + rnd(88 - skip);
	struct slot *slot = &slots[i];
	uint8_t op = random_op();
	uint64_t sector = i * SLOT_SECTORS + rnd(SLOT_SECTORS - nr + 1);

	if (op == FE_FLUSH)
		nr = 0;
	blkfront_fill(&fe, &slot->rq, op, sector, nr, i * FE_SEGMENTS, skip);
	if (op == FE_WRITE) {
		fill_random(data, (size_t)nr * FE_SECTOR);
		blkfront_data_put(&fe, &slot->rq, data);
		memcpy(model + sector * FE_SECTOR, data,
		       (size_t)nr * FE_SECTOR);
	}
	slot->nr_sectors = nr;
	slot->used = true;
	slot->id = blkfront_submit(&fe.queues[0], &fe, &slot->rq);
}

static void launch_all(void)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (!slots[i].used)
			launch(i);
	blkfront_kick(&fe, &fe.queues[0]);
}

static void land(void)
{
	static uint8_t data[FE_SEGMENTS * FE_PAGE];
	struct fe_response rsp;
	unsigned int i = 0;
	struct slot *slot;

	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS),
	     "no response");
	while (!(slots[i].used && slots[i].id == rsp.id))
		need(++i < SLOTS, "an id that is not in flight");
	slot = &slots[i];
	slot->used = false;
	need(rsp.status == FE_OKAY, "op %u sector %llu + %u: status %d",
	     rsp.operation, (unsigned long long)slot->rq.sector,
	     slot->nr_sectors, rsp.status);
	if (rsp.operation != FE_READ)
		return;
	blkfront_data_get(&fe, &slot->rq, data);
	need(!memcmp(data, model + slot->rq.sector * FE_SECTOR,
		     (size_t)slot->nr_sectors * FE_SECTOR),
	     "read of sector %llu + %u differs",
	     (unsigned long long)slot->rq.sector, slot->nr_sectors);
}

static void land_all(void)
{
	while (fe.queues[0].nr_busy)
		land();
}

static void compare_disk(void)
{
	uint8_t got[64 * FE_SECTOR];

	for (uint64_t s = 0; s < SECTORS; s += 64) {
		need(blkfront_read(&fe, s, got, 64) == FE_OKAY, "read");
		need(!memcmp(got, model + s * FE_SECTOR, sizeof(got)),
		     "sector %llu differs", (unsigned long long)s);
	}
}

static void compare_image(void)
{
	static uint8_t got[DISK_BYTES];

	host_image_read(image, got, DISK_BYTES);
	need(!memcmp(got, model, DISK_BYTES), "the image differs");
}

/* Writes that the server has not replied to when it goes. */
static void submit_writes(unsigned int nr)
{
	struct fe_request rq;

	for (unsigned int i = 0; i < nr; i++) {
		blkfront_fill(&fe, &rq, FE_WRITE, i * 8, 8, i, 0);
		blkfront_submit(&fe.queues[0], &fe, &rq);
	}
	blkfront_kick(&fe, &fe.queues[0]);
}

static void expect_responses(unsigned int nr, int status)
{
	struct fe_response rsp;

	while (nr--) {
		need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS),
		     "no response");
		need(rsp.status == status, "status %d", rsp.status);
	}
}

/* ---- a server that is there ----------------------------------------------------------- */

START_TEST(served_by_xl)
{
	server_start("file %s", image);
	host_image_read(image, model, DISK_BYTES);
	percent_flushes = 5;
	need(xl_attach(target, 'w', XL_MS) == 0, "block-attach: %s", out);
	connect_frontend();
	wait_server_state("connected");
	need(server_number("reconnects") == 0 && server_number("resent") == 0,
	     "counters");
	need(daemon_fds("/memfd:xen-diskd-dirty") == 1, "no record is kept");
	for (unsigned int round = 0; round < 30; round++) {
		launch_all();
		land_all();
	}
	compare_disk();
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	compare_image();
	detach_by_xl();
	wait_nothing_left();
}
END_TEST

START_TEST(served_by_diskctl)
{
	json_t *vbd;

	server_start("file %s", image);
	host_image_read(image, model, DISK_BYTES);
	attach_connect("&fua=on&connections=4");
	wait_server_state("connected");
	expect_table_line("connected");
	vbd = host_list(&h, 1, XVDB);
	need(!strcmp(json_string_value(json_object_get(vbd, "provider")),
		     "nbd+unix"),
	     "provider");
	json_decref(vbd);
	/* What is written through need not be remembered. */
	need(daemon_fds("/memfd:xen-diskd-dirty") == 0, "a record");
	launch_all();
	land_all();
	compare_disk();
	detach_by_diskctl();
	wait_nothing_left();
}
END_TEST

/* A disk without a server has none in the list. */
START_TEST(other_disks_have_no_server)
{
	json_t *vbd;

	snprintf(target, sizeof(target), "%s", image);
	attach_connect("");
	vbd = host_list(&h, 1, XVDB);
	need(json_is_null(json_object_get(vbd, "server")), "server");
	json_decref(vbd);
	need(!strstr(diskctl("list"), "server:"), "list prints %s", out);
	detach_finish();
}
END_TEST

START_TEST(read_only_export)
{
	uint8_t data[FE_PAGE] = { 1 };

	server_start("-r file %s", image);
	host_image_read(image, model, DISK_BYTES);
	need(xl_attach(target, 'w', XL_MS) != 0, "attached writable");
	need(strstr(out, "is read-only; attach it read-only (access=ro, "),
	     "xl says: %s", out);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	detach_by_xl_force();
	wait_nothing_left();
	need(xl_attach(target, 'r', XL_MS) == 0, "block-attach: %s", out);
	connect_frontend();
	need(fe.info & 4, "info does not say read-only");
	compare_disk();
	need(blkfront_write(&fe, 0, data, 8) == FE_ERROR, "write");
	need(daemon_fds("/memfd:xen-diskd-dirty") == 0, "a record");
	detach_by_xl();
	wait_nothing_left();
}
END_TEST

/* ---- a server that is killed -------------------------------------------------------- */

/*
 * Requests take some time, so that they are on their way at a kill.  memory
 * loses all that was written: without a flush, all of it is remembered.
 */
static const struct {
	const char *server, *options;
	unsigned int percent_flushes;
	bool loses_all;
} loads[] = {
	{ "--filter=delay file %s delay-read=3ms delay-write=3ms", "", 10,
	  false },
	{ "--filter=delay file %s delay-read=3ms delay-write=3ms",
	  "&connections=4&dirty=2M", 5, false },
	{ "--filter=delay file %s delay-read=3ms delay-write=3ms", "&fua=on", 5,
	  false },
	{ "--filter=blocksize-policy --filter=delay file %s delay-read=3ms "
	  "delay-write=3ms blocksize-minimum=4096 blocksize-preferred=4096 "
	  "blocksize-maximum=32768 blocksize-error-policy=error",
	  "", 5, false },
	{ "--filter=delay memory 4M delay-read=3ms delay-write=3ms # %s", "", 0,
	  true },
};
#define NR_LOADS 5
#define NR_KILLS 8u

/* nbdkit with these arguments, in which %s is the image. */
static void start_on_image(const char *format)
{
	const char *at = strstr(format, "%s");

	server_start("%.*s%s%s", (int)(at - format), format, image, at + 2);
}

static unsigned int kill_under_load(int load)
{
	unsigned int nr_landed, nr_in_flight;

	launch_all();
	for (nr_landed = rnd(SLOTS / 2); nr_landed; nr_landed--)
		land();
	launch_all();
	poll(NULL, 0, (int)rnd(10));
	server_kill();
	nr_in_flight = fe.queues[0].nr_busy;
	poll(NULL, 0, (int)rnd(GONE_MS));
	start_on_image(loads[load].server);
	land_all();
	return nr_in_flight;
}

START_TEST(killed_under_load)
{
	unsigned int nr_busy = 0;

	start_on_image(loads[_i].server);
	if (!loads[_i].loses_all)
		host_image_read(image, model, DISK_BYTES);
	percent_flushes = loads[_i].percent_flushes;
	attach_connect(loads[_i].options);
	for (unsigned int i = 1; i <= NR_KILLS; i++) {
		nr_busy += kill_under_load(_i) != 0;
		wait_server_number("reconnects", i);
	}
	need(nr_busy > NR_KILLS / 2, "only %u kills under load", nr_busy);
	compare_disk();
	if (loads[_i].loses_all)
		need(server_number("resent") > NR_KILLS, "nothing was resent");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	if (!loads[_i].loses_all)
		compare_image();
	need(!host_exists(&h, "%s/error", fe.backend), "an error node");
	detach_finish();
}
END_TEST

START_TEST(list_while_it_is_gone)
{
	server_start("file %s", image);
	attach_connect("");
	wait_server_state("connected");
	server_kill();
	wait_server_state("connecting");
	expect_table_line("connecting");
	submit_writes(7);
	wait_server_number("waiting", 7);
	expect_table_line("connecting, 7 requests wait");
	server_start("file %s", image);
	expect_responses(7, FE_OKAY);
	wait_server_state("connected");
	need(server_number("reconnects") == 1, "reconnects");
	need(server_number("waiting") == 0, "requests wait");
	expect_table_line("connected, 1 reconnects");
	need(host_log_has(&h, "connection lost") &&
		     host_log_has(&h, "connected again after"),
	     "not in the log");
	detach_finish();
}
END_TEST

/* Killed, or only stopped: then the requests are on their way. */
START_TEST(detach_while_it_is_gone)
{
	server_start("file %s", image);
	attach_connect("");
	wait_server_state("connected");
	if (_i % 2) {
		need(kill(h.server, SIGSTOP) == 0, "stop");
	} else {
		server_kill();
		wait_server_state("connecting");
	}
	submit_writes(9);
	if (_i % 2 == 0)
		wait_server_number("waiting", 9);
	detaches[_i / 2]();
	wait_nothing_left();
}
END_TEST

/* No request has told that the server does not answer any more. */
START_TEST(detach_idle_while_it_is_gone)
{
	server_start("file %s", image);
	attach_connect("");
	need(kill(h.server, SIGSTOP) == 0, "stop");
	detaches[_i]();
	wait_nothing_left();
}
END_TEST

/* Reads and writes fail at once; a flush is never answered with an error. */
START_TEST(timeout_0)
{
	struct fe_response rsp;
	struct fe_request rq = { .operation = FE_FLUSH };

	server_start("file %s", image);
	attach_connect("&timeout=0");
	server_kill();
	wait_server_state("connecting");
	submit_writes(3);
	expect_responses(3, FE_ERROR);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	need(!blkfront_poll(&fe, &fe.queues[0], &rsp, GONE_MS),
	     "a flush is answered, status %d", rsp.status);
	server_start("file %s", image);
	expect_responses(1, FE_OKAY);
	wait_server_state("connected");
	submit_writes(3);
	expect_responses(3, FE_OKAY);
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	detach_finish();
}
END_TEST

/* ---- a server that is another -------------------------------------------------------- */

START_TEST(another_size)
{
	static uint8_t before[DISK_BYTES];

	server_start("file %s", image);
	host_image_read(image, before, DISK_BYTES);
	attach_connect("");
	wait_server_state("connected");
	server_kill();
	wait_server_state("connecting");
	submit_writes(5);
	wait_server_number("waiting", 5);
	server_start("--filter=truncate file %s truncate=2M", image);
	expect_responses(5, FE_ERROR);
	wait_server_state("failed");
	expect_table_line("failed");
	expect_error_node("came back as another disk (size)");
	need(strstr(diskctl("list"), "\n    error: nbd server '"),
	     "list prints %s", out);
	submit_writes(1);
	expect_responses(1, FE_ERROR);
	detaches[_i]();
	wait_nothing_left();
	host_image_read(image, model, DISK_BYTES);
	need(!memcmp(before, model, DISK_BYTES), "something was written");
	if (detaches[_i] != destroy_by_xl) {
		attach("");
		connect_frontend();
		need(fe.nr_sectors == 4096, "not the new disk");
		detach_finish();
	}
}
END_TEST

/* That flushes fail as well is no news, even past --flush-timeout. */
START_TEST(another_size_and_flushes)
{
	struct fe_request rq = { .operation = FE_FLUSH };
	const char *at;

	host_daemon_stop(&h);
	h.daemon_options[0] = "--flush-timeout=0";
	host_daemon_start(&h);
	server_start("file %s", image);
	attach_connect("");
	wait_server_state("connected");
	server_kill();
	server_start("--filter=truncate file %s truncate=2M", image);
	wait_server_state("failed");
	expect_error_node("came back as another disk (size)");
	blkfront_submit(&fe.queues[0], &fe, &rq);
	submit_writes(1);
	expect_responses(1, FE_ERROR);
	/* What the worker said before that has been heard by the second. */
	diskctl("list");
	at = strstr(diskctl("list"), "\n    error: ");
	need(at && strstr(at, "came back as another disk"), "list prints %s",
	     out);
	expect_error_node("came back as another disk (size)");
	detach_finish();
}
END_TEST

/* ---- refusals --------------------------------------------------------------------------- */

/* On a socket that nobody accepts from, or with a server of these arguments. */
static const struct {
	const char *server, *target, *cause;
	unsigned int limit_ms;
} refusals[] = {
	{ NULL, "nbd+unix:///?socket=%s.none", "connect: No such file", XL_MS },
	{ NULL, "nbd://127.0.0.1:1/x?dirty=64M",
	  "127.0.0.1:1': connect: ", XL_MS },
	{ "listen", "nbd+unix:///?socket=%s", "negotiate: Connection timed out",
	  SILENT_SERVER_MS },
	{ "--filter=exportname memory 1M exportname=web exportname-strict=true",
	  "nbd+unix:///none?socket=%s", "export", XL_MS },
	{ "--tls=require --tls-psk=$DIR/psk memory 1M",
	  "nbd+unix:///?socket=%s", "TLS", XL_MS },
	{ "memory 1M", "nbds+unix:///?socket=%s&tls-psk-file=/dev/null", "TLS",
	  XL_MS },
	{ "memory 100", "nbd+unix:///?socket=%s", "less than a sector", XL_MS },
	{ "memory 1M", "nbd+unix:///?socket=%s&colour=red",
	  "no option 'colour'", XL_MS },
	{ "--filter=fua memory 1M", "nbd+unix:///?socket=%s&fua=on",
	  "cannot write through", XL_MS },
};
#define NR_REFUSALS 9

static int listen_silently(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	need(fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
		     listen(fd, 8) == 0,
	     "listen: %s", strerror(errno));
	return fd;
}

static void fill_in_socket(const char *format)
{
	const char *at = strstr(format, "%s");

	if (at)
		snprintf(target, sizeof(target), "%.*s%s%s", (int)(at - format),
			 format, socket_path, at + 2);
	else
		snprintf(target, sizeof(target), "%s", format);
}

START_TEST(attach_refused)
{
	int fd = -1;

	shell("echo guest:00112233445566778899aabbccddeeff > %s/psk", h.dir);
	setenv("DIR", h.dir, 1);
	if (refusals[_i].server && !strcmp(refusals[_i].server, "listen"))
		fd = listen_silently();
	else if (refusals[_i].server)
		server_start("%s", refusals[_i].server);
	fill_in_socket(refusals[_i].target);
	need(xl_attach(target, 'w', refusals[_i].limit_ms) != 0,
	     "attached '%s'", target);
	need(strstr(out, refusals[_i].cause), "xl says: %s", out);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	detach_by_xl_force();
	wait_nothing_left();
	if (fd >= 0)
		close(fd);
}
END_TEST

/* Nobody waits for the server's answer any longer than the operator does. */
START_TEST(detach_while_it_opens)
{
	int fd = listen_silently();

	host_vbd_add(&h, g, XVDB, target, 'w');
	need(host_wait_worker(&h, 1, XVDB, "opening"), "not opening");
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	wait_nothing_left();
	close(fd);
}
END_TEST

/* ---- the walls of a worker ------------------------------------------------------------------- */

/* The socket's directory, and no network. */
START_TEST(worker_is_sandboxed)
{
	char dir[48];
	const char *const paths[] = { dir, NULL };

	snprintf(dir, sizeof(dir), "%s/served", h.dir);
	need(mkdir(dir, 0700) == 0, "mkdir: %s", strerror(errno));
	snprintf(socket_path, sizeof(socket_path), "%s/nbd.sock", dir);
	snprintf(target, sizeof(target), "nbd+unix:///?socket=%s", socket_path);
	server_start("file %s", image);
	attach_connect("");
	wait_server_state("connected");
	walls_check(&h, worker_pid(), paths, false);
	detach_finish();
}
END_TEST

/* The network, and no file. */
START_TEST(worker_of_a_host_is_sandboxed)
{
	static const char *const nothing[] = { NULL };

	server_start_tcp();
	attach_connect("");
	wait_server_state("connected");
	walls_check(&h, worker_pid(), nothing, true);
	detach_finish();
}
END_TEST

/* ---- ends of the daemon, the worker and the guest's driver ----------------------------------- */

START_TEST(daemon_restart)
{
	server_start("file %s", image);
	host_image_read(image, model, DISK_BYTES);
	attach_connect("");
	launch_all();
	land_all();
	if (_i)
		host_kill_everything(&h);
	else
		host_daemon_stop(&h);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	wait_server_state("connected");
	need(host_log_has(&h, "its worker has left no record"), "log");
	compare_disk();
	launch_all();
	land_all();
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	compare_image();
	detach_finish();
}
END_TEST

/* The record ends in good order: what was in it is durable by then. */
START_TEST(durable_at_the_end)
{
	server_start("--filter=cache file %s", image);
	host_image_read(image, model, DISK_BYTES);
	percent_flushes = 0;
	attach_connect("");
	launch_all();
	land_all();
	if (_i == 0) {
		detach_by_diskctl();
		wait_nothing_left();
		server_kill();
		compare_image();
		return;
	}
	host_daemon_stop(&h);
	server_kill();
	compare_image();
	server_start("file %s", image);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	detach_finish();
}
END_TEST

/* The worker finishes what it took: for a server that is there, it waits. */
START_TEST(daemon_restart_under_load)
{
	server_start("--filter=delay file %s delay-read=200ms "
		     "delay-write=200ms",
		     image);
	host_image_read(image, model, DISK_BYTES);
	percent_flushes = 0;
	attach_connect("");
	launch_all();
	poll(NULL, 0, 50); /* all are taken, none is answered */
	if (_i)
		host_daemon_kill(&h);
	else
		host_daemon_stop(&h);
	land_all();
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	server_kill();
	server_start("file %s", image);
	compare_disk();
	detach_finish();
}
END_TEST

/* The record is there as long as somebody might want it, and no longer. */
START_TEST(worker_killed)
{
	struct fe_request rq;

	server_start("file %s", image);
	attach_connect("");
	submit_writes(5);
	expect_responses(5, FE_OKAY);
	need(kill(worker_pid(), SIGKILL) == 0, "kill");
	submit_writes(5);
	expect_responses(5, FE_OKAY);
	/* It can do what the one before could. */
	blkfront_fill_discard(&fe, &rq, 0, 8);
	need(fe.feature_discard, "no discards are offered");
	need(blkfront_do(&fe, &rq) == FE_OKAY, "discard");
	need(daemon_fds("/memfd:xen-diskd-dirty") == 1, "the record is gone");
	detaches[_i]();
	wait_nothing_left();
}
END_TEST

/* ---- deaths of worker and server ------------------------------------------------------------- */

#define LOSING_SERVER \
	"--filter=delay --filter=cache file %s delay-read=3ms delay-write=3ms"
#define NR_DEATHS 5u

static void kill_worker(void)
{
	need(kill(worker_pid(), SIGKILL) == 0, "kill");
}

/* Without a driver, it has no successor before there is one. */
static void kill_worker_at_rest(void)
{
	kill_worker();
	need(host_wait_worker(&h, 1, XVDB, "none"), "it lives");
}

static void restart_server(void)
{
	server_kill();
	poll(NULL, 0, (int)rnd(GONE_MS));
	server_start(LOSING_SERVER, image);
}

/* Who dies first; at last the daemon, too, but not at once. */
static void die(int order)
{
	if (order == 3) {
		host_daemon_kill(&h);
		host_daemon_start(&h);
		need(host_wait_worker(&h, 1, XVDB, "connected"), "connected");
	}
	if (order == 1)
		server_kill();
	kill_worker();
	if (order == 2)
		need(host_wait_worker(&h, 1, XVDB, "connected"), "connected");
	restart_server();
}

/* The server has lost all that it had not flushed; the guest notices nothing. */
START_TEST(worker_and_server_killed)
{
	unsigned int nr_busy = 0;

	server_start(LOSING_SERVER, image);
	host_image_read(image, model, DISK_BYTES);
	percent_flushes = 3;
	attach_connect("&fence=1");
	for (unsigned int i = 0; i < NR_DEATHS; i++) {
		launch_all();
		for (unsigned int n = rnd(SLOTS / 2); n; n--)
			land();
		launch_all();
		poll(NULL, 0, (int)rnd(5));
		nr_busy += fe.queues[0].nr_busy != 0;
		die(_i);
		land_all();
	}
	need(nr_busy > NR_DEATHS / 2, "only %u deaths under load", nr_busy);
	compare_disk();
	need(server_number("resent") > 0, "nothing was resent");
	need(!host_log_has(&h, "record"), "a record is lost");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	compare_image();
	need(!host_exists(&h, "%s/error", fe.backend), "an error node");
	detach_finish();
}
END_TEST

static void start_late_server(const char *fault)
{
	char program[PATH_MAX];
	const char *const argv[] = { program, socket_path, fault, NULL };

	snprintf(program, sizeof(program), "%s",
		 program_path(PROGRAM_LATE_SERVER));
	server_run(argv);
}

/*
 * The server has the worker's first write for 2.5 seconds before it lands; the
 * guest has overwritten it by then.  Without the fence it lands last.
 */
START_TEST(late_write_of_a_dead_worker)
{
	uint8_t first[FE_PAGE], newer[FE_PAGE], got[FE_PAGE];
	struct fe_request rq;
	uint64_t start;

	memset(first, 1, sizeof(first));
	memset(newer, 2, sizeof(newer));
	start_late_server("late-write");
	attach_connect(_i ? "&fence=0" : "&fence=4");
	blkfront_fill(&fe, &rq, FE_WRITE, 64, 8, 0, 0);
	blkfront_data_put(&fe, &rq, first);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	poll(NULL, 0, 50);
	start = host_now_ms();
	kill_worker();
	expect_responses(1, FE_OKAY);
	/* Elsewhere nothing waits. */
	need(blkfront_write(&fe, 128, newer, 8) == FE_OKAY, "write");
	need(blkfront_read(&fe, 64, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, first, sizeof(got)), "the write was not done again");
	need(host_now_ms() - start < 2000, "%llu ms",
	     (unsigned long long)(host_now_ms() - start));
	need(blkfront_write(&fe, 64, newer, 8) == FE_OKAY, "write");
	need(_i || host_now_ms() - start >= 4000, "not waited for");
	poll(NULL, 0, 2800);
	need(blkfront_read(&fe, 64, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, _i ? first : newer, sizeof(got)), "byte %u", got[0]);
	detach_finish();
}
END_TEST

/* What had not been flushed is lost with the server, and there all the same. */
static void check_sent_again(const uint8_t data[FE_PAGE])
{
	uint8_t got[FE_PAGE];

	need(host_log_has(&h, "last flush: "), "it has flushed");
	server_kill();
	start_late_server("late-flush");
	need(blkfront_read(&fe, 64, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, data, sizeof(got)), "byte %u", got[0]);
	detach_finish();
}

/*
 * The old worker's last flush comes too late: what it has acknowledged is in the
 * record still, which the new one has from it.
 */
START_TEST(upgraded_before_it_has_flushed)
{
	uint8_t data[FE_PAGE];

	memset(data, 3, sizeof(data));
	start_late_server("late-flush");
	attach_connect("");
	need(blkfront_write(&fe, 64, data, 8) == FE_OKAY, "write");
	diskctl("upgrade g1 xvdb");
	check_sent_again(data);
}
END_TEST

/*
 * The same of one that a next daemon has finish, since it does not know what that
 * was connected to.
 */
START_TEST(finished_before_it_has_flushed)
{
	uint8_t data[FE_PAGE];
	char path[96];

	memset(data, 3, sizeof(data));
	start_late_server("late-flush");
	attach_connect("");
	need(blkfront_write(&fe, 64, data, 8) == FE_OKAY, "write");
	host_daemon_kill(&h);
	snprintf(path, sizeof(path), "%s/run/vbd-1-%u.connection", h.dir, XVDB);
	need(unlink(path) == 0, "%s", path);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	check_sent_again(data);
}
END_TEST

/* Nobody waits for the disk, so that nobody sends it again before the next driver. */
static void write_and_close(uint8_t byte)
{
	uint8_t data[FE_PAGE];

	memset(data, byte, sizeof(data));
	need(blkfront_write(&fe, 64, data, 8) == FE_OKAY, "write");
	blkfront_close(&fe);
}

static void reconnect_and_expect(uint8_t byte)
{
	uint8_t data[FE_PAGE], got[FE_PAGE];

	memset(data, byte, sizeof(data));
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(blkfront_read(&fe, 64, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, data, sizeof(got)), "byte %u", got[0]);
}

/* The same as above, without a driver. */
START_TEST(upgraded_without_a_driver)
{
	start_late_server("late-flush");
	attach_connect("");
	write_and_close(3);
	diskctl("upgrade g1 xvdb");
	need(host_log_has(&h, "last flush: "), "it has flushed");
	server_kill();
	start_late_server("late-flush");
	reconnect_and_expect(3);
	detach_finish();
}
END_TEST

/* The record is not the one's that could not even open the disk. */
START_TEST(record_survives_a_failed_open)
{
	server_start("memory 4M");
	attach_connect("");
	write_and_close(3);
	server_kill();
	kill_worker_at_rest();
	blkfront_set_state(&fe, FE_INITIALISING);
	wait_error(true);
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, 6), "not closed");
	server_start("memory 4M");
	reconnect_and_expect(3);
	detach_finish();
}
END_TEST

/* Nor does it end without a word when nobody has sent it again. */
START_TEST(record_that_is_not_sent)
{
	server_start("memory 4M");
	attach_connect("");
	write_and_close(3);
	kill_worker_at_rest();
	blkfront_set_state(&fe, FE_INITIALISING);
	need(host_wait_worker(&h, 1, XVDB, "ready"), "not ready");
	detach_finish();
	need(host_log_has(&h, "was not sent again"), "nothing is told");
}
END_TEST

/* By what the server still has of the one before. */
static void next_driver_is_not_undone(void)
{
	uint8_t newer[FE_PAGE], got[FE_PAGE];

	memset(newer, 2, sizeof(newer));
	blkfront_free(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(blkfront_write(&fe, 0, newer, 8) == FE_OKAY, "write");
	poll(NULL, 0, 2800);
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, newer, sizeof(got)), "byte %u", got[0]);
	detach_finish();
}

/*
 * What a dead worker had under way is not carried out again, for its driver has
 * gone meanwhile; but it may land.
 */
START_TEST(driver_goes_while_the_next_opens)
{
	start_late_server("late-write");
	attach_connect(_i ? "&fence=4&fua=on" : "&fence=4");
	submit_writes(1);
	poll(NULL, 0, 50);
	/* Who has the write goes on. */
	need(kill(h.server, SIGSTOP) == 0, "stop");
	kill_worker();
	need(host_wait_worker(&h, 1, XVDB, "opening"), "no other worker");
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, 6), "not closed");
	need(kill(h.server, SIGCONT) == 0, "go on");
	need(host_wait_worker(&h, 1, XVDB, "ready"), "not ready");
	next_driver_is_not_undone();
}
END_TEST

static const struct {
	const char *options, *status;
} let_go[] = {
	{ "&fence=4", "disconnecting" },
	{ "&fence=4&fua=on", "disconnecting" },
	/* What it was sent is not waited for by then. */
	{ "&fence=4&fua=on", "ready" },
};

/* The same, but that the driver has gone before the worker dies. */
START_TEST(worker_dies_when_its_driver_has_gone)
{
	start_late_server("late-write");
	attach_connect(let_go[_i].options);
	submit_writes(1);
	poll(NULL, 0, 50);
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	need(host_wait_worker(&h, 1, XVDB, let_go[_i].status), "not %s",
	     let_go[_i].status);
	kill_worker();
	need(blkfront_wait_backend(&fe, 6), "not closed");
	next_driver_is_not_undone();
}
END_TEST

/* What serves, and the same or something else in its place. */
static const struct {
	const char *server, *now, *says;
} others[] = {
	{ "file %s", "--filter=truncate file %s truncate=2M",
	  "came back as another disk (size)" },
	{ "--filter=exportname file %s default-export=a",
	  "--filter=exportname file %s default-export=b",
	  "came back as another disk (canonical name)" },
};

/* The guest's requests must not go there, and go on when its own is back. */
START_TEST(another_server_after_death)
{
	static uint8_t before[DISK_BYTES];
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	start_on_image(others[_i].server);
	host_image_read(image, before, DISK_BYTES);
	attach_connect("");
	server_kill();
	submit_writes(5);
	wait_server_number("waiting", 5);
	kill_worker();
	start_on_image(others[_i].now);
	/* Until then it may say that there is none. */
	while (!strstr(diskctl("list"), others[_i].says))
		need(host_now_ms() < end, "list prints %s", out);
	host_image_read(image, model, DISK_BYTES);
	need(!memcmp(before, model, DISK_BYTES), "something was written");
	server_kill();
	start_on_image(others[_i].server);
	expect_responses(5, FE_OKAY);
	detach_finish();
}
END_TEST

/* As long as nobody lets go of the disk, its server may come back. */
START_TEST(worker_killed_while_it_is_gone)
{
	server_start("file %s", image);
	attach_connect("");
	submit_writes(5);
	expect_responses(5, FE_OKAY);
	server_kill();
	submit_writes(5);
	need(kill(worker_pid(), SIGKILL) == 0, "kill");
	wait_error(true);
	if (_i == 0) {
		server_start("file %s", image);
		expect_responses(5, FE_OKAY);
		wait_error(false);
		detach_finish();
	} else {
		detaches[_i - 1]();
		wait_nothing_left();
	}
}
END_TEST

/* What waits is not answered with an error: the next worker has it. */
START_TEST(upgraded_while_it_is_gone)
{
	pid_t pid;
	int fd;

	server_start("file %s", image);
	attach_connect("");
	submit_writes(5);
	expect_responses(5, FE_OKAY);
	pid = worker_pid();
	server_kill();
	submit_writes(5);
	fd = host_control_begin(&h,
				json_pack("{s:s,s:s,s:s}", "command", "upgrade",
					  "domain", "g1", "vdev", "xvdb"));
	wait_error(true);
	need(!host_log_has(&h, "after 5 s: it is killed"), "it was killed");
	server_start("file %s", image);
	expect_responses(5, FE_OKAY);
	json_decref(host_control_end(fd));
	need(worker_pid() != pid, "it is the same");
	wait_error(false);
	detach_finish();
}
END_TEST

static unsigned int nr_connections(void)
{
	shell("grep -c ' Connect ' %s/nbd.log || true", h.dir);
	return (unsigned int)atoi(out);
}

/* The connection is handed on to the next driver; the record is, too. */
START_TEST(driver_reload)
{
	server_start("--filter=log memory 4M logfile=%s/nbd.log", h.dir);
	percent_flushes = 0;
	attach_connect("");
	for (unsigned int i = 0; i < 3; i++) {
		launch_all();
		land_all();
		blkfront_close(&fe);
		blkfront_set_state(&fe, FE_INITIALISING);
		blkfront_connect(&fe);
		compare_disk();
	}
	need(nr_connections() == 1, "%u connections", nr_connections());
	need(server_number("reconnects") == 0, "reconnects");
	server_kill();
	server_start("memory 4M");
	compare_disk();
	need(server_number("resent") > 0, "nothing was resent");
	detach_finish();
}
END_TEST

/* The connection that was handed on is dead by then. */
START_TEST(killed_between_drivers)
{
	server_start("memory 4M");
	percent_flushes = 0;
	attach_connect("");
	launch_all();
	land_all();
	blkfront_close(&fe);
	server_kill();
	server_start("memory 4M");
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	compare_disk();
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	detach_finish();
}
END_TEST

START_TEST(guest_crash_while_it_is_gone)
{
	server_start("file %s", image);
	attach_connect("");
	server_kill();
	wait_server_state("connecting");
	submit_writes(9);
	wait_server_number("waiting", 9);
	host_guest_destroy(&h, g);
	blkfront_abandon(&fe);
	wait_nothing_left();
}
END_TEST

static void add_gone(Suite *suite)
{
	TCase *tc = tcase_create("gone");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, killed_under_load, 0, NR_LOADS);
	tcase_add_test(tc, list_while_it_is_gone);
	tcase_add_loop_test(tc, detach_while_it_is_gone, 0, 2 * NR_DETACHES);
	tcase_add_loop_test(tc, detach_idle_while_it_is_gone, 0, NR_DETACHES);
	tcase_add_test(tc, guest_crash_while_it_is_gone);
	tcase_add_test(tc, timeout_0);
	tcase_add_loop_test(tc, another_size, 0, NR_DETACHES);
	tcase_add_test(tc, another_size_and_flushes);
	suite_add_tcase(suite, tc);
}

static void add_walls(Suite *suite)
{
	TCase *tc = tcase_create("walls");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, worker_is_sandboxed);
	tcase_add_test(tc, worker_of_a_host_is_sandboxed);
	suite_add_tcase(suite, tc);
}

int main(void)
{
	Suite *suite = suite_create("nbd");
	TCase *tc = tcase_create("served");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, served_by_xl);
	tcase_add_test(tc, served_by_diskctl);
	tcase_add_test(tc, other_disks_have_no_server);
	tcase_add_test(tc, read_only_export);
	tcase_add_loop_test(tc, attach_refused, 0, NR_REFUSALS);
	tcase_add_test(tc, detach_while_it_opens);
	tcase_add_loop_test(tc, daemon_restart, 0, 2);
	tcase_add_loop_test(tc, durable_at_the_end, 0, 2);
	tcase_add_loop_test(tc, daemon_restart_under_load, 0, 2);
	tcase_add_loop_test(tc, worker_killed, 0, NR_DETACHES);
	tcase_add_loop_test(tc, worker_and_server_killed, 0, 4);
	tcase_add_loop_test(tc, late_write_of_a_dead_worker, 0, 2);
	tcase_add_test(tc, upgraded_before_it_has_flushed);
	tcase_add_test(tc, finished_before_it_has_flushed);
	tcase_add_test(tc, upgraded_without_a_driver);
	tcase_add_test(tc, record_survives_a_failed_open);
	tcase_add_test(tc, record_that_is_not_sent);
	tcase_add_loop_test(tc, driver_goes_while_the_next_opens, 0, 2);
	tcase_add_loop_test(tc, worker_dies_when_its_driver_has_gone, 0, 3);
	tcase_add_loop_test(tc, another_server_after_death, 0, 2);
	tcase_add_loop_test(tc, worker_killed_while_it_is_gone, 0,
			    1 + NR_DETACHES);
	tcase_add_test(tc, upgraded_while_it_is_gone);
	tcase_add_test(tc, driver_reload);
	tcase_add_test(tc, killed_between_drivers);
	suite_add_tcase(suite, tc);
	add_gone(suite);
	add_walls(suite);
	return host_run(suite);
}
