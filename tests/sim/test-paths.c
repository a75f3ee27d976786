/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a vbd's node is: below vbd3 instead of vbd (path A). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
#define XVDC 51744u

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
	json_t *request = json_pack("{s:s, s:s, s:s, s:s}", "command", "attach",
				    "domain", "g1", "vdev", "xvdb", "target",
				    image);
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

static Suite *suite(void)
{
	Suite *s = suite_create("paths");
	TCase *vbd3 = tcase_create("vbd3");

	tcase_add_checked_fixture(vbd3, setup, teardown);
	tcase_add_test(vbd3, vbd3_attach_and_detach);
	tcase_add_test(vbd3, vbd3_beside_vbd);
	tcase_add_test(vbd3, vbd3_is_found_at_start);
	tcase_add_test(vbd3, vbd3_of_another_format);
	tcase_add_test(vbd3, vbd3_and_xen_diskctl);
	suite_add_tcase(s, vbd3);
	return s;
}

int main(void)
{
	return host_run(suite());
}
