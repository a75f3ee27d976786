/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a vbd's node is: below vbd3 instead of vbd (path A), and in a driver
 * domain's directory, where no script runs (path D).  The daemon is told that
 * it is in one; that it writes only where it may is for real Xen to show.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
#define XVDC 51744u
#define DRIVER_DOMID 7
/* Less than the daemon keeps state 2 in a driver domain. */
#define DWELL_MS 400u

static struct host h;
static struct guest *g;
static char image[64];
static struct blkfront fe;

static void setup(void)
{
	host_start_all(&h);
	h.kind = "vbd3";
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", 1 << 20, image);
}

static void driver_domain_setup(void)
{
	char domid[8];

	host_start(&h);
	h.backend_domid = DRIVER_DOMID;
	snprintf(domid, sizeof(domid), "%u", DRIVER_DOMID);
	/* Of our socket, which has no domain but dom0. */
	host_write(&h, domid, "/local/domain/0/domid");
	host_daemon_start(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", 1 << 20, image);
}

static void teardown(void)
{
	host_stop(&h);
}

static void check_serves(struct blkfront *f)
{
	uint8_t wrote[4096], got[4096];

	memset(wrote, 0xa3, sizeof(wrote));
	need(blkfront_write(f, 8, wrote, 8) == FE_OKAY, "write");
	need(blkfront_read(f, 8, got, 8) == FE_OKAY, "read");
	need(!memcmp(wrote, got, sizeof(got)), "data differs");
}

static void attach(struct blkfront *f, unsigned int devid, const char *target)
{
	char *error = host_vbd_attach(&h, g, devid, target, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(f, &h, g, devid, FE_ABI_X86_64);
	blkfront_connect(f);
}

static void frontend_closes(void)
{
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
}

static void check_listed(unsigned int devid, const char *key, const char *value)
{
	json_t *vbd = host_list(&h, 1, devid);
	const char *got = json_string_value(json_object_get(vbd, key));

	need(got && !strcmp(got, value), "%s is %s, not %s", key,
	     got ? got : "absent", value);
	json_decref(vbd);
}

/* ---- path A ------------------------------------------------------------- */

START_TEST(vbd3_attach_and_detach)
{
	attach(&fe, XVDB, image);
	need(strstr(fe.backend, "/backend/vbd3/1/"), "%s", fe.backend);
	check_serves(&fe);
	check_listed(XVDB, "kind", "vbd3");
	check_listed(XVDB, "target", image);
	check_listed(XVDB, "path", fe.backend);
	host_vbd_detach_begin(&h, g, XVDB);
	frontend_closes();
	host_vbd_detach_end(&h, g, XVDB);
	need(host_wait_unlisted(&h, 1, XVDB), "still in list");
	blkfront_fini(&fe);
}
END_TEST

/* One guest, a disk of each kind; the events of one do not find the other. */
START_TEST(vbd3_beside_vbd)
{
	static struct blkfront other;
	char path[64];

	attach(&fe, XVDB, image);
	host_image(&h, "b.img", 1 << 20, path);
	h.kind = NULL;
	attach(&other, XVDC, path);
	need(strstr(other.backend, "/backend/vbd/1/"), "%s", other.backend);
	check_serves(&fe);
	check_serves(&other);
	check_listed(XVDC, "kind", "vbd");
	host_vbd_force(&h, g, XVDC);
	host_remove(&h, "/local/domain/0/backend/vbd/1");
	blkfront_fini(&other);
	check_serves(&fe);
	h.kind = "vbd3";
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

START_TEST(vbd3_is_found_at_start)
{
	attach(&fe, XVDB, image);
	host_daemon_stop(&h);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not taken up");
	check_serves(&fe);
	host_guest_destroy(&h, g);
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
	blkfront_abandon(&fe);
}
END_TEST

/* xl's other format of such disks is not raw, whatever the file is. */
START_TEST(vbd3_of_another_format)
{
	char target[80];
	char *error;

	snprintf(target, sizeof(target), "vhd:%s", image);
	error = host_vbd_attach(&h, g, XVDB, target, 'w');
	need(error && strstr(error, "'vhd'"), "error is '%s'",
	     error ? error : "absent");
	free(error);
	host_vbd_force(&h, g, XVDB);
}
END_TEST

/* Our own commands take a disk of xl's of any kind. */
START_TEST(vbd3_and_xen_diskctl)
{
	json_t *request =
		json_pack("{s:s, s:s, s:s, s:s}", "command", "attach", "domain",
			  "g1", "vdev", "xvdb", "target", image);
	char *error;

	attach(&fe, XVDB, image);
	error = host_control_error(&h, request);
	need(strstr(error, "already"), "attach: %s", error);
	free(error);
	frontend_closes();
	json_decref(host_control_ok(&h, json_pack("{s:s, s:s, s:s}", "command",
						  "detach", "domain", "g1",
						  "vdev", "xvdb")));
	need(host_count_nodes(&h, fe.backend) == 0, "backend directory");
	need(host_count_nodes(&h, fe.path) == 0, "frontend directory");
	blkfront_fini(&fe);
}
END_TEST

/* ---- path D ------------------------------------------------------------- */

static void driver_domain_connect(void)
{
	host_vbd_add(&h, g, XVDB, image, 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
}

/* The toolstack looks when it gets round to it, and must find 2. */
START_TEST(driver_domain_dwells_in_2)
{
	host_vbd_add(&h, g, XVDB, image, 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_alloc(&fe);
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	blkfront_publish(&fe);
	need(!host_wait_value(&h, "4", DWELL_MS, "%s/state", fe.backend),
	     "4 at once");
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	blkfront_read_backend(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	check_serves(&fe);
}
END_TEST

/* Two that wait: the second must not make the first late, nor be lost. */
START_TEST(driver_domain_two_dwell)
{
	static struct blkfront other;
	char path[64];

	host_image(&h, "b.img", 1 << 20, path);
	host_vbd_add(&h, g, XVDB, image, 'w');
	host_vbd_add(&h, g, XVDC, path, 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_init(&other, &h, g, XVDC, FE_ABI_X86_64);
	blkfront_connect(&other);
	blkfront_connect(&fe);
	check_serves(&other);
	check_serves(&fe);
	blkfront_abandon(&other);
	host_vbd_force(&h, g, XVDC);
}
END_TEST

/* Its directory is ours to remove, and libxl waits for that. */
START_TEST(driver_domain_detach)
{
	driver_domain_connect();
	check_serves(&fe);
	host_vbd_detach_begin(&h, g, XVDB);
	check_serves(&fe);
	frontend_closes();
	host_vbd_detach_end(&h, g, XVDB);
	need(host_wait_unlisted(&h, 1, XVDB), "still in list");
	blkfront_fini(&fe);
}
END_TEST

START_TEST(driver_domain_force_and_again)
{
	for (int i = 0; i < 3; i++) {
		driver_domain_connect();
		check_serves(&fe);
		host_vbd_force(&h, g, XVDB);
		blkfront_fini(&fe);
	}
}
END_TEST

START_TEST(driver_domain_guest_destroyed)
{
	driver_domain_connect();
	host_guest_destroy(&h, g);
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
	need(host_wait_unlisted(&h, 1, XVDB), "still in list");
	blkfront_abandon(&fe);
}
END_TEST

/* Without a script there is only the state to tell of it: never 2. */
START_TEST(driver_domain_bad_target)
{
	char *error;

	host_vbd_add(&h, g, XVDB, "/no/such.img", 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	need(error && strstr(error, "No such file"), "error is '%s'",
	     error ? error : "absent");
	free(error);
	need(!host_wait_value(&h, "2", DWELL_MS, "%s/state", fe.backend),
	     "state 2");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* What a guest writes before it is offered a disk keeps nobody busy. */
START_TEST(driver_domain_garbage_before_2)
{
	uint64_t used;
	char *error;

	host_vbd_add(&h, g, XVDB, "/no/such.img", 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	error = host_wait_any(&h, HOST_WAIT_MS, "%s/error", fe.backend);
	need(error, "no error");
	free(error);
	host_write(&h, "x", "/local/domain/1/device/vbd/%u/state", XVDB);
	used = host_cpu_ns(h.daemon);
	need(!host_wait_value(&h, "2", DWELL_MS, "%s/state", fe.backend),
	     "state 2");
	used = host_cpu_ns(h.daemon) - used;
	need(used < DWELL_MS * UINT64_C(1000000) / 5,
	     "the daemon was busy for %llu of %u ms",
	     (unsigned long long)used / 1000000, DWELL_MS);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* As `xl devd` does, whose script asks: the answer is right, 2 dwells. */
START_TEST(driver_domain_with_a_script)
{
	char *error = host_vbd_attach(&h, g, XVDB, image, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_alloc(&fe);
	blkfront_publish(&fe);
	need(!host_wait_value(&h, "4", DWELL_MS / 2, "%s/state", fe.backend),
	     "4 at once");
	need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
	blkfront_read_backend(&fe);
	blkfront_set_state(&fe, FE_CONNECTED);
	check_serves(&fe);
}
END_TEST

START_TEST(driver_domain_restart)
{
	driver_domain_connect();
	host_kill_everything(&h);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not taken up");
	check_serves(&fe);
}
END_TEST

/* Killed after it wrote 2: the toolstack may still be waiting. */
START_TEST(driver_domain_restart_in_2)
{
	host_vbd_add(&h, g, XVDB, image, 'w');
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
	host_kill_everything(&h);
	host_daemon_start(&h);
	blkfront_connect(&fe);
	check_serves(&fe);
}
END_TEST

/* Only the toolstack may write what these would have to. */
START_TEST(driver_domain_own_attach)
{
	static const char *const verbs[] = { "attach", "detach" };

	for (unsigned int i = 0; i < 2; i++) {
		char *error = host_control_error(
			&h, json_pack("{s:s, s:s, s:s, s:s}", "command",
				      verbs[i], "domain", "g1", "vdev", "xvdb",
				      "target", image));

		need(strstr(error, "driver domain") && strstr(error, verbs[i]),
		     "%s: %s", verbs[i], error);
		free(error);
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("paths");
	TCase *vbd3 = tcase_create("vbd3");
	TCase *driver_domain = tcase_create("driver-domain");

	tcase_add_checked_fixture(vbd3, setup, teardown);
	tcase_add_test(vbd3, vbd3_attach_and_detach);
	tcase_add_test(vbd3, vbd3_beside_vbd);
	tcase_add_test(vbd3, vbd3_is_found_at_start);
	tcase_add_test(vbd3, vbd3_of_another_format);
	tcase_add_test(vbd3, vbd3_and_xen_diskctl);
	suite_add_tcase(s, vbd3);
	tcase_add_checked_fixture(driver_domain, driver_domain_setup, teardown);
	tcase_add_test(driver_domain, driver_domain_dwells_in_2);
	tcase_add_test(driver_domain, driver_domain_two_dwell);
	tcase_add_test(driver_domain, driver_domain_detach);
	tcase_add_test(driver_domain, driver_domain_force_and_again);
	tcase_add_test(driver_domain, driver_domain_guest_destroyed);
	tcase_add_test(driver_domain, driver_domain_bad_target);
	tcase_add_test(driver_domain, driver_domain_garbage_before_2);
	tcase_add_test(driver_domain, driver_domain_with_a_script);
	tcase_add_test(driver_domain, driver_domain_restart);
	tcase_add_test(driver_domain, driver_domain_restart_in_2);
	tcase_add_test(driver_domain, driver_domain_own_attach);
	suite_add_tcase(s, driver_domain);
	return s;
}

int main(void)
{
	return host_run(suite());
}
