/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vbd's life in XenStore: attach, connect, detach, and every way a frontend
 * or a toolstack does these out of turn (10-xenstore-and-xl: "States and
 * handshake").
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"

#define XVDA 51712u
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

static void attach(unsigned int devid)
{
	char *error = host_vbd_attach(&h, g, devid, image, 'w');

	need(!error, "attach: %s", error);
	free(error);
}

static void attach_connect(enum fe_abi abi)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, abi);
	blkfront_connect(&fe);
}

static void check_serves(struct blkfront *f)
{
	uint8_t wrote[4096], got[4096];

	memset(wrote, 0x5a, sizeof(wrote));
	need(blkfront_write(f, 8, wrote, 8) == FE_OKAY, "write");
	need(blkfront_read(f, 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(wrote, got, sizeof(got)), "data differs");
	need(blkfront_flush(f) == FE_OKAY, "flush");
}

static void detach(void)
{
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
}

static void check_key(const char *key, const char *value)
{
	char *got = host_read(&h, "%s/%s", fe.backend, key);

	need(got && !strcmp(got, value), "%s is %s, not %s", key,
	     got ? got : "absent", value);
	free(got);
}

START_TEST(attach_and_connect)
{
	attach_connect(FE_ABI_X86_64);
	need(fe.nr_sectors == IMAGE_BYTES / 512, "sectors");
	check_key("hotplug-status", "connected");
	check_key("sectors", "2048");
	check_key("sector-size", "512");
	check_key("info", "0");
	check_key("feature-flush-cache", "1");
	check_key("feature-barrier", "1");
	need(host_exists(&h, "%s/physical-sector-size", fe.backend), "pss");
	need(!host_exists(&h, "%s/error", fe.backend), "an error node");
	check_serves(&fe);
	detach();
	need(host_count_nodes(&h, fe.backend) == 0, "backend nodes");
}
END_TEST

START_TEST(state_2_waits_for_the_script)
{
	/* The frontend is ready first: 2 must stay until the script ran. */
	host_vbd_add(&h, g, XVDB, image, 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_alloc(&fe);
	blkfront_publish(&fe);
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	need(!host_wait_value(&h, "4", 300, "%s/state", fe.backend),
	     "4 before the hotplug script");
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s}", "command",
						  "hotplug-add", "path",
						  "backend/vbd/1/51728")));
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	blkfront_read_backend(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	check_serves(&fe);
	detach();
}
END_TEST

START_TEST(detach_serves_until_6)
{
	attach_connect(FE_ABI_X86_64);
	host_vbd_detach_begin(&h, g, XVDB);
	/* The guest still has it mounted: it goes on. */
	check_serves(&fe);
	need(!host_wait_value(&h, "6", 100, "%s/state", fe.backend),
	     "6 while the guest is connected");
	check_serves(&fe);
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

START_TEST(detach_before_connect)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* A frontend that gives up before it connected is answered step by step. */
START_TEST(closing_before_connect)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_set_state(&fe, FE_CLOSING);
	need(blkfront_wait_backend(&fe, FE_CLOSING), "no state 5");
	need(!host_wait_value(&h, "6", 100, "%s/state", fe.backend),
	     "6 before the frontend is there");
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	/* And it may think again. */
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	check_serves(&fe);
	detach();
}
END_TEST

START_TEST(force_detach)
{
	attach_connect(FE_ABI_X86_64);
	host_vbd_force(&h, g, XVDB);
	/* Nothing may come back into being. */
	need(host_count_nodes(&h, fe.path) == 0, "frontend directory");
	need(host_count_nodes(&h, fe.backend) == 0, "backend directory");
	blkfront_fini(&fe);
}
END_TEST

START_TEST(guest_destroyed)
{
	attach_connect(FE_ABI_X86_64);
	host_guest_destroy(&h, g);
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
	blkfront_abandon(&fe);
}
END_TEST

START_TEST(guest_crashes_with_requests_in_flight)
{
	struct fe_request rq;
	unsigned int i;

	attach_connect(FE_ABI_X86_64);
	for (i = 0; i < 32; i++) {
		blkfront_fill(&fe, &rq, i & 1 ? FE_WRITE : FE_READ, i * 8, 80,
			      i * 11, 0);
		blkfront_submit(&fe.queues[0], &fe, &rq);
	}
	blkfront_kick(&fe, &fe.queues[0]);
	host_guest_crash(&h, g);
	host_guest_destroy(&h, g);
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
	blkfront_abandon(&fe);
}
END_TEST

START_TEST(driver_reload)
{
	int i;

	attach_connect(FE_ABI_X86_64);
	for (i = 0; i < 3; i++) {
		blkfront_close(&fe);
		need(sim_live_maps(h.sim) == 0 && sim_live_ports(h.sim) == 0,
		     "still mapped at 6");
		blkfront_set_state(&fe, FE_INITIALISING);
		/* Another driver may come, as after pvgrub. */
		fe.abi = i & 1 ? FE_ABI_X86_64 : FE_ABI_X86_32;
		blkfront_connect(&fe);
		check_serves(&fe);
	}
	detach();
}
END_TEST

START_TEST(resume_jumps_to_3)
{
	struct fe_queue old;

	attach_connect(FE_ABI_X86_64);
	old = fe.queues[0];
	blkfront_resume(&fe);
	/* The backend may be at 4 all the time: the new port says it moved. */
	need(sim_wait_bound(g->dom, fe.queues[0].port, HOST_WAIT_MS) == 0,
	     "the new port is not bound");
	need(!sim_port_is_bound(g->dom, old.port), "the old port is bound");
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	blkfront_set_state(&fe, FE_CONNECTED);
	check_serves(&fe);
	need(sim_live_maps(h.sim) == 1, "the old ring is still mapped");
	detach();
}
END_TEST

START_TEST(absent_protocol_is_x86_32)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_32);
	fe.no_protocol = true;
	host_remove(&h, "%s/protocol", fe.path);
	blkfront_connect(&fe);
	check_serves(&fe);
	detach();
}
END_TEST

START_TEST(ring_page_order_0)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	fe.ring_order_key = true;
	blkfront_connect(&fe);
	check_serves(&fe);
	detach();
}
END_TEST

/* GRUB's frontend never writes 4. */
START_TEST(frontend_stays_at_3)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_32);
	fe.stays_initialised = true;
	blkfront_connect(&fe);
	check_serves(&fe);
	check_serves(&fe);
	detach();
}
END_TEST

START_TEST(two_vbds)
{
	static struct blkfront other;
	char path[64];
	char *error;

	attach_connect(FE_ABI_X86_64);
	host_image(&h, "b.img", 2 * IMAGE_BYTES, path);
	error = host_vbd_attach(&h, g, XVDC, path, 'w');
	need(!error, "attach: %s", error);
	blkfront_init(&other, &h, g, XVDC, FE_ABI_X86_32);
	blkfront_connect(&other);
	need(other.nr_sectors == 4096, "sectors");
	check_serves(&fe);
	check_serves(&other);
	detach();
	check_serves(&other);
	host_vbd_force(&h, g, XVDC);
	blkfront_fini(&other);
}
END_TEST

START_TEST(attached_before_the_daemon)
{
	host_daemon_stop(&h);
	host_vbd_add(&h, g, XVDB, image, 'w');
	host_daemon_start(&h);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s}", "command",
						  "hotplug-add", "path",
						  "backend/vbd/1/51728")));
	blkfront_connect(&fe);
	check_serves(&fe);
	detach();
}
END_TEST

/* A detach that happens while no daemon runs is caught up with. */
START_TEST(detached_without_the_daemon)
{
	attach(XVDB);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	host_daemon_stop(&h);
	host_vbd_detach_begin(&h, g, XVDB);
	blkfront_set_state(&fe, FE_CLOSED);
	host_daemon_start(&h);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* The frontend notices nothing: same ring, same port, no state change. */
START_TEST(restart_with_an_idle_ring)
{
	uint32_t port;

	attach_connect(FE_ABI_X86_64);
	port = fe.queues[0].port;
	for (int i = 0; i < 3; i++) {
		check_serves(&fe);
		if (i & 1)
			host_kill_everything(&h);
		else
			host_daemon_stop(&h);
		host_daemon_start(&h);
		need(sim_wait_bound(g->dom, port, HOST_WAIT_MS) == 0,
		     "the port is not bound again");
		/* A request before it has seen the ring would be doubtful. */
		need(host_wait_worker(&h, 1, XVDB, "connected"),
		     "the worker is not connected again");
		check_key("state", "4");
	}
	check_serves(&fe);
	detach();
}
END_TEST

static void run_shell(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
static void run_shell(const char *format, ...)
{
	char command[512];
	va_list ap;
	int n;

	n = snprintf(command, sizeof(command), "cd %s && ", h.dir);
	va_start(ap, format);
	vsnprintf(command + n, sizeof(command) - (size_t)n, format, ap);
	va_end(ap);
	need(system(command) == 0, "%s", command);
}

/* It comes while nobody is there. */
static void submit_read(void)
{
	struct fe_request rq;

	blkfront_fill(&fe, &rq, FE_READ, 0, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
}

static void check_answered(void)
{
	struct fe_response rsp;

	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS) &&
		     rsp.status == FE_OKAY,
	     "not answered");
}

START_TEST(restart_with_an_unanswered_request)
{
	attach_connect(FE_ABI_X86_64);
	check_serves(&fe);
	host_daemon_stop(&h);
	submit_read();
	host_daemon_start(&h);
	check_answered();
	check_serves(&fe);
	detach();
}
END_TEST

/* How a connection's files may be found. */
static const struct {
	const char *name;
	const char *damage; /* of a shell, in the run directory */
	const char *says;
} damages[] = {
	{ "none", "rm vbd-1-51728.*", "No such file" },
	{ "no table", "rm vbd-1-51728.inflight", "inflight': No such file" },
	{ "cut table", "truncate -s 4096 vbd-1-51728.inflight",
	  "has been cut" },
	{ "cut", "truncate -s 100 vbd-1-51728.connection", "is damaged" },
	{ "empty", ": >vbd-1-51728.connection", "is damaged" },
	{ "a bit",
	  "printf '\\001' | dd of=vbd-1-51728.connection bs=1 seek=700 "
	  "conv=notrunc status=none",
	  "is damaged" },
	{ "version",
	  "printf '\\377' | dd of=vbd-1-51728.connection bs=1 seek=4 "
	  "conv=notrunc status=none",
	  "is of another version" },
	{ "link",
	  "mv vbd-1-51728.connection x && ln -s x vbd-1-51728.connection",
	  "Too many levels" },
	{ "a pipe", "rm vbd-1-51728.connection; mkfifo vbd-1-51728.connection",
	  "connection' is damaged" },
	{ "endless",
	  "rm vbd-1-51728.connection; "
	  "ln /dev/zero vbd-1-51728.connection 2>&- || "
	  "mknod vbd-1-51728.connection c 1 5",
	  "connection' is damaged" },
	{ "a pipe for a table",
	  "rm vbd-1-51728.inflight; mkfifo vbd-1-51728.inflight",
	  "inflight' has been cut" },
	{ "empty table",
	  "s=$(stat -c %s vbd-1-51728.inflight); : >vbd-1-51728.inflight; "
	  "truncate -s $s vbd-1-51728.inflight",
	  "inflight': in-flight table: not one" },
	{ "version of the table",
	  "printf '\\377' | dd of=vbd-1-51728.inflight bs=1 seek=4 "
	  "conv=notrunc status=none",
	  "inflight': in-flight table: version 255" },
	{ "a bit of the table",
	  "printf '\\377' | dd of=vbd-1-51728.inflight bs=1 seek=17 "
	  "conv=notrunc status=none",
	  "requests taken and" },
	{ "answers of the table",
	  "printf '\\377' | dd of=vbd-1-51728.inflight bs=1 seek=25 "
	  "conv=notrunc status=none",
	  "and was left between" },
	{ "an entry",
	  "printf '\\377' | dd of=vbd-1-51728.inflight bs=1 seek=4096 "
	  "conv=notrunc status=none",
	  "inflight': in-flight table: entry 0 is damaged" },
};

static void check_listed_error(const char *text)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	const char *error = json_string_value(json_object_get(vbd, "error"));

	need(error && !strcmp(error, text), "list has '%s', not '%s'",
	     error ? error : "null", text);
	json_decref(vbd);
}

/* Nobody knows whether it was carried out: it must not be guessed. */
START_TEST(restart_without_the_files)
{
	struct fe_request rq;
	char *error, command[512];

	attach_connect(FE_ABI_X86_64);
	check_serves(&fe);
	host_daemon_stop(&h);
	snprintf(command, sizeof(command), "cd %s/run && %s", h.dir,
		 damages[_i].damage);
	need(system(command) == 0, "%s", command);
	blkfront_fill(&fe, &rq, FE_WRITE, 0, 8, 0, 0);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
	host_daemon_start(&h);
	error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	need(error && strstr(error, "detach it") &&
		     strstr(error, damages[_i].says),
	     "%s: error is '%s'", damages[_i].name, error ? error : "absent");
	need(host_wait_worker(&h, 1, XVDB, "dead"), "%s: not given up",
	     damages[_i].name);
	check_listed_error(error);
	free(error);
	need(host_log_has(&h, damages[_i].says), "%s: '%s' is not logged",
	     damages[_i].name, damages[_i].says);
	check_key("state", "4");
	detach();
	snprintf(command, sizeof(command), "! ls %s/run/vbd-* >%s/ls 2>&1",
		 h.dir, h.dir);
	need(system(command) == 0, "files are left");
}
END_TEST

#define FOREIGN(file) \
	"printf '\\377' | dd of=" file " bs=1 seek=4 conv=notrunc status=none"

/*
 * What a daemon of another version cannot go on with, that of the first can; and
 * wherever the other was killed while it put the files aside, or back.
 */
static const struct {
	const char *found; /* of a shell, which makes it of both files */
	bool given_up; /* by the other version, for it is a daemon of that */
} other_versions[] = {
	{ FOREIGN("connection"), true },
	{ FOREIGN("connection") "; mv inflight inflight.lost", true },
	{ FOREIGN("connection") "; mv inflight inflight.lost; "
				"mv connection connection.lost",
	  true },
	/* The other version had made a table of its own. */
	{ FOREIGN("connection") "; mv inflight inflight.lost; "
				"mv connection connection.lost; "
				"truncate -s $(stat -c %s inflight.lost) "
				"inflight",
	  true },
	/* One of the same version was killed while it put them aside, or back. */
	{ "mv inflight inflight.lost", false },
	{ "mv inflight inflight.lost; mv connection connection.lost", false },
	{ "mv inflight inflight.lost; mv connection connection.lost; "
	  "truncate -s $(stat -c %s inflight.lost) inflight",
	  false },
	{ "mv connection connection.lost", false },
	/* Of the files that it puts back the table is the first. */
	{ "cp connection connection.lost; " FOREIGN("connection.lost"), false },
};

START_TEST(back_to_the_earlier_version)
{
	attach_connect(FE_ABI_X86_64);
	check_serves(&fe);
	host_daemon_stop(&h);
	run_shell("cp run/vbd-1-51728.connection first && cd run && "
		  "mv vbd-1-51728.connection connection && "
		  "mv vbd-1-51728.inflight inflight && { %s; } && "
		  "for f in connection* inflight*; do "
		  "mv $f vbd-1-51728.$f; done",
		  other_versions[_i].found);
	submit_read();
	for (int i = 0; i < 2 && other_versions[_i].given_up; i++) {
		host_daemon_start(&h);
		need(host_wait_worker(&h, 1, XVDB, "dead"), "not given up");
		host_daemon_stop(&h);
		run_shell("! ls run/*.lost >ls 2>&1");
	}
	if (other_versions[_i].given_up)
		run_shell(
			"cmp -s run/vbd-1-51728.connection first; "
			"[ $? = 1 ] && cat first >run/vbd-1-51728.connection");
	host_daemon_start(&h);
	check_answered();
	check_serves(&fe);
	detach();
	run_shell("! ls run/vbd-* >ls 2>&1");
}
END_TEST

/* Of a shell, in the run directory: what the next daemon finds. */
static const char *const found_at_closing[] = {
	"true",
	FOREIGN("vbd-1-51728.connection"),
	/* Which had not found room when something changed. */
	"rm vbd-1-51728.connection",
	/* And was killed when it had put that aside. */
	FOREIGN("vbd-1-51728.connection") "; for f in connection inflight; do "
					  "mv vbd-1-51728.$f "
					  "vbd-1-51728.$f.lost; done",
};

/* The guest has it mounted, and refuses to let go. */
START_TEST(restart_while_it_is_detached)
{
	attach_connect(FE_ABI_X86_64);
	check_serves(&fe);
	host_vbd_detach_begin(&h, g, XVDB);
	if (_i & 1)
		blkfront_set_state(&fe, FE_CLOSING);
	host_daemon_stop(&h);
	run_shell("cd run && { %s; }", found_at_closing[_i / 2]);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not taken up");
	check_serves(&fe);
	check_key("state", "5");
	blkfront_set_state(&fe, FE_CLOSED);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
	run_shell("! ls run/vbd-* >ls 2>&1");
}
END_TEST

/* It has asked for nothing, and is to be told that the disk goes. */
START_TEST(new_driver_while_it_is_detached)
{
	attach_connect(FE_ABI_X86_64);
	host_wait_log(&h, "its driver has connected");
	check_serves(&fe);
	host_vbd_detach_begin(&h, g, XVDB);
	host_daemon_stop(&h);
	run_shell("cd run && { %s; }", found_at_closing[_i]);
	blkfront_set_state(&fe, FE_INITIALISED);
	host_daemon_start(&h);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
	run_shell("! ls run/vbd-* >ls 2>&1");
}
END_TEST

/* Whoever is at fault is not served again by the next daemon. */
START_TEST(broken_ring_of_an_earlier_daemon)
{
	attach_connect(FE_ABI_X86_64);
	check_serves(&fe);
	*blkfront_req_prod(&fe.queues[0]) += 1000;
	sim_port_notify(g->dom, fe.queues[0].port);
	need(blkfront_wait_backend(&fe, FE_CLOSING), "no state 5");
	need(host_wait_worker(&h, 1, XVDB, "ready"), "not let go of");
	host_daemon_stop(&h);
	host_daemon_start(&h);
	detach();
	need(!host_log_has(&h, "is taken up only if"), "taken up");
}
END_TEST

/* What was in an earlier daemon's way is not to be read any more when it is gone. */
START_TEST(error_of_an_earlier_daemon)
{
	char other[64], *error;

	host_daemon_stop(&h);
	snprintf(other, sizeof(other), "%s/late.img", h.dir);
	host_vbd_add(&h, g, XVDB, other, 'w');
	host_daemon_start(&h);
	error = host_wait_any(&h, HOST_WAIT_MS,
			      "/local/domain/0/backend/vbd/1/%u/error", XVDB);
	need(error && strstr(error, "late.img"), "no error");
	free(error);
	host_daemon_stop(&h);
	host_image(&h, "late.img", 1 << 20, other);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "ready"), "not opened");
	need(!host_exists(&h, "/local/domain/0/backend/vbd/1/%u/error", XVDB),
	     "the error stays");
	host_vbd_force(&h, g, XVDB);
}
END_TEST

/* No connection was ever there, so nobody can have anything under way. */
START_TEST(detached_after_a_restart_that_could_not_open_it)
{
	char *error;
	uint64_t begin;

	host_daemon_stop(&h);
	host_vbd_add(&h, g, XVDB, "file:/no/such/image", 'w');
	host_daemon_start(&h);
	error = host_wait_any(&h, HOST_WAIT_MS,
			      "/local/domain/0/backend/vbd/1/%u/error", XVDB);
	need(error && strstr(error, "/no/such/image"), "no error");
	free(error);
	host_daemon_stop(&h);
	host_daemon_start(&h);
	begin = host_now_ms();
	host_vbd_detach_begin(&h, g, XVDB);
	host_vbd_detach_end(&h, g, XVDB);
	need(host_now_ms() - begin < HOST_WAIT_MS, "only after %u ms",
	     (unsigned int)(host_now_ms() - begin));
}
END_TEST

/* Another device of the same numbers has nothing to do with them. */
START_TEST(files_of_another_device)
{
	char command[256];

	attach_connect(FE_ABI_X86_64);
	check_serves(&fe);
	host_daemon_stop(&h);
	snprintf(command, sizeof(command), "cp -a %s/run %s/old", h.dir, h.dir);
	need(system(command) == 0, "%s", command);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	detach();
	attach_connect(FE_ABI_X86_64);
	host_daemon_stop(&h);
	snprintf(command, sizeof(command), "cp -a %s/old/vbd-* %s/run/", h.dir,
		 h.dir);
	need(system(command) == 0, "%s", command);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(host_log_has(&h, "is of another connection"), "not told");
	check_serves(&fe);
	detach();
}
END_TEST

/* What is left of a device that has gone is removed. */
START_TEST(files_of_a_device_that_is_gone)
{
	char path[96];

	attach_connect(FE_ABI_X86_64);
	host_daemon_stop(&h);
	snprintf(path, sizeof(path), "%s/run/vbd-1-51728.inflight", h.dir);
	need(access(path, F_OK) == 0, "no table");
	host_remove(&h, "%s", fe.backend);
	host_remove(&h, "%s", fe.path);
	host_daemon_start(&h);
	need(access(path, F_OK) < 0, "the table is left");
	blkfront_abandon(&fe);
}
END_TEST

START_TEST(foreign_nodes_are_left_alone)
{
	/* Written in two steps, so while no daemon looks. */
	host_daemon_stop(&h);
	host_vbd_add(&h, g, XVDC, image, 'w');
	host_write(&h, "/etc/xen/scripts/block",
		   "/local/domain/0/backend/vbd/1/%u/script", XVDC);
	host_daemon_start(&h);
	attach(XVDA);
	need(!host_wait_value(&h, "2", 300,
			      "/local/domain/0/backend/vbd/1/%u/state", XVDC),
	     "took a node of another backend");
	host_remove(&h, "/local/domain/0/backend/vbd/1/%u", XVDC);
}
END_TEST

/* A frontend path that is not the device's own is never followed. */
START_TEST(frontend_path_must_match)
{
	host_daemon_stop(&h);
	host_vbd_add(&h, g, XVDB, image, 'w');
	host_write(&h, "/local/domain/0/device/vbd/1",
		   "/local/domain/0/backend/vbd/1/%u/frontend", XVDB);
	host_daemon_start(&h);
	need(!host_wait_value(&h, "4", 300,
			      "/local/domain/0/backend/vbd/1/%u/state", XVDB),
	     "connected to another domain's directory");
	need(!host_exists(&h, "/local/domain/0/device/vbd/1"), "followed");
	host_remove(&h, "/local/domain/0/backend/vbd/1");
}
END_TEST

/* XSA-349: watch events without end cost neither memory nor service. */
START_TEST(watch_flood)
{
	char text[16];
	int i;

	attach_connect(FE_ABI_X86_64);
	for (i = 0; i < 20000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		xs_write(h.xs, XBT_NULL, fe.path, text,
			 (unsigned int)strlen(text));
	}
	for (i = 0; i < 2000; i++)
		blkfront_set_state(&fe, FE_CONNECTED);
	check_serves(&fe);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* XSA-350: connecting and disconnecting as fast as XenStore allows. */
START_TEST(rapid_state_changes)
{
	static const unsigned int states[] = { 3, 5, 1, 6, 3, 4, 6, 1, 5, 2 };
	int i;

	attach_connect(FE_ABI_X86_64);
	for (i = 0; i < 300; i++)
		blkfront_set_state(&fe, states[i % 10]);
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	blkfront_free(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	check_serves(&fe);
	detach();
}
END_TEST

START_TEST(many_cycles)
{
	int i;

	for (i = 0; i < 20; i++) {
		attach_connect((enum fe_abi)(i % 3));
		check_serves(&fe);
		if (i & 1) {
			host_vbd_force(&h, g, XVDB);
			blkfront_fini(&fe);
		} else {
			detach();
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("handshake");
	TCase *tc = tcase_create("life");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, attach_and_connect);
	tcase_add_test(tc, state_2_waits_for_the_script);
	tcase_add_test(tc, detach_serves_until_6);
	tcase_add_test(tc, detach_before_connect);
	tcase_add_test(tc, closing_before_connect);
	tcase_add_test(tc, force_detach);
	tcase_add_test(tc, guest_destroyed);
	tcase_add_test(tc, guest_crashes_with_requests_in_flight);
	tcase_add_test(tc, driver_reload);
	tcase_add_test(tc, resume_jumps_to_3);
	tcase_add_test(tc, absent_protocol_is_x86_32);
	tcase_add_test(tc, ring_page_order_0);
	tcase_add_test(tc, frontend_stays_at_3);
	tcase_add_test(tc, two_vbds);
	tcase_add_test(tc, attached_before_the_daemon);
	tcase_add_test(tc, detached_without_the_daemon);
	tcase_add_test(tc, restart_with_an_idle_ring);
	tcase_add_test(tc, restart_with_an_unanswered_request);
	tcase_add_loop_test(tc, restart_without_the_files, 0,
			    sizeof(damages) / sizeof(*damages));
	tcase_add_loop_test(tc, back_to_the_earlier_version, 0,
			    sizeof(other_versions) / sizeof(*other_versions));
	tcase_add_loop_test(tc, restart_while_it_is_detached, 0, 8);
	tcase_add_loop_test(tc, new_driver_while_it_is_detached, 0, 2);
	tcase_add_test(tc, broken_ring_of_an_earlier_daemon);
	tcase_add_test(tc, error_of_an_earlier_daemon);
	tcase_add_test(tc, detached_after_a_restart_that_could_not_open_it);
	tcase_add_test(tc, files_of_another_device);
	tcase_add_test(tc, files_of_a_device_that_is_gone);
	tcase_add_test(tc, foreign_nodes_are_left_alone);
	tcase_add_test(tc, frontend_path_must_match);
	tcase_add_test(tc, watch_flood);
	tcase_add_test(tc, rapid_state_changes);
	tcase_add_test(tc, many_cycles);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
