/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Garbage in every key of the frontend's directory: within 2 seconds there is
 * a reason in the backend's error node and in list, nothing is mapped, another
 * vbd is served on, and the frontend may come back with good keys.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
#define XVDC 51744u
#define REPORT_MS 2000u

static struct host h;
static struct guest *g;
static struct blkfront fe, other;

static void attach(struct blkfront *f, unsigned int devid, const char *name)
{
	char path[64];
	char *error;

	host_image(&h, name, 1 << 20, path);
	error = host_vbd_attach(&h, g, devid, path, 'w');
	need(!error, "attach: %s", error);
	blkfront_init(f, &h, g, devid, FE_ABI_X86_64);
}

static void setup(void)
{
	host_start_all(&h);
	g = host_guest(&h, 1, "g1");
	attach(&fe, XVDB, "a.img");
	attach(&other, XVDC, "b.img");
	blkfront_connect(&other);
}

static void teardown(void)
{
	host_vbd_force(&h, g, XVDB);
	host_vbd_force(&h, g, XVDC);
	blkfront_fini(&fe);
	blkfront_fini(&other);
	host_stop(&h);
}

static const struct fault {
	const char *key;
	const char *value; /* NULL: absent */
	const char *says; /* the reason names it */
} faults[] = {
	{ "protocol", "sparc-abi", "protocol" },
	{ "protocol", "", "protocol" },
	{ "protocol", "x86_64-abi2", "protocol" },
	{ "ring-ref", NULL, "ring-ref" },
	{ "ring-ref", "", "ring-ref" },
	{ "ring-ref", "x", "ring-ref" },
	{ "ring-ref", "-1", "ring-ref" },
	{ "ring-ref", "8x", "ring-ref" },
	{ "ring-ref", "4294967296", "ring-ref" },
	{ "ring-ref", "99999999999999999999999999", "ring-ref" },
	{ "ring-ref", "4000", "map" },
	{ "ring-ref", "4294967295", "map" },
	{ "event-channel", NULL, "event-channel" },
	{ "event-channel", "", "event-channel" },
	{ "event-channel", "port", "event-channel" },
	{ "event-channel", "-1", "event-channel" },
	{ "event-channel", "4294967296", "event-channel" },
	{ "event-channel", "250", "event" },
	{ "event-channel", "4294967295", "event" },
	{ "ring-page-order", "", "ring-page-order" },
	{ "ring-page-order", "x", "ring-page-order" },
	{ "ring-page-order", "-1", "ring-page-order" },
	{ "ring-page-order", "31", "ring-page-order" },
	{ "ring-page-order", "64", "ring-page-order" },
	{ "ring-page-order", "4294967295", "ring-page-order" },
	{ "multi-queue-num-queues", "", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "x", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "0", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "-1", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "4096", "multi-queue-num-queues" },
	{ "multi-queue-num-queues", "4294967295", "multi-queue-num-queues" },
};

#define NR_FAULTS ((int)(sizeof(faults) / sizeof(faults[0])))

/* The reason is in the error node, names the cause, and is in list too. */
static void check_reported(const struct fault *f)
{
	char *text = host_wait_any(&h, REPORT_MS, "%s/error", fe.backend);
	const char *listed;
	json_t *vbd;

	need(text, "%s=%s: no error node within 2 s", f->key,
	     f->value ? f->value : "(absent)");
	need(strcasestr(text, f->says), "%s=%s: '%s' does not name it", f->key,
	     f->value ? f->value : "(absent)", text);
	vbd = host_list(&h, 1, XVDB);
	need(vbd, "not in list");
	listed = json_string_value(json_object_get(vbd, "error"));
	need(listed && *listed, "%s=%s: not in list", f->key,
	     f->value ? f->value : "(absent)");
	json_decref(vbd);
	free(text);
}

START_TEST(garbage)
{
	const struct fault *f = &faults[_i];
	const struct fe_override overrides[] = { { f->key, f->value },
						 { NULL, NULL } };
	uint8_t got[FE_PAGE];

	blkfront_alloc(&fe);
	fe.overrides = overrides;
	blkfront_publish(&fe);
	check_reported(f);
	need(sim_live_maps(h.sim) == 1 && sim_live_ports(h.sim) == 1,
	     "%u pages and %u ports for one good vbd", sim_live_maps(h.sim),
	     sim_live_ports(h.sim));
	need(blkfront_read(&other, 0, got, 8) == FE_OKAY, "the other vbd");
	fe.overrides = NULL;
}
END_TEST

/* A bad start is no life sentence: 6, 1, and a good connection. */
START_TEST(comes_back)
{
	const struct fe_override overrides[] = { { "ring-ref", "x" },
						 { NULL, NULL } };
	uint8_t got[FE_PAGE];

	blkfront_alloc(&fe);
	fe.overrides = overrides;
	blkfront_publish(&fe);
	free(host_wait_any(&h, REPORT_MS, "%s/error", fe.backend));
	fe.overrides = NULL;
	blkfront_set_state(&fe, FE_CLOSING);
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	blkfront_free(&fe);
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	need(!host_exists(&h, "%s/error", fe.backend), "the old error stays");
}
END_TEST

START_TEST(hypervisor_refuses)
{
	static const struct fault map = { "map", "refused", "map" };
	static const struct fault bind = { "bind", "refused", "event" };

	blkfront_alloc(&fe);
	if (_i == 0)
		sim_fail_map(h.sim, 1);
	else
		sim_fail_bind(h.sim, 1, -28);
	blkfront_publish(&fe);
	check_reported(_i == 0 ? &map : &bind);
	need(sim_live_maps(h.sim) == 1, "the ring stays mapped (XSA-71)");
}
END_TEST

START_TEST(garbage_state)
{
	static const char *const states[] = { "x", "99", "-1", "" };
	static const struct fault fault = { "state", "garbage", "state" };
	uint8_t got[FE_PAGE];

	host_write(&h, states[_i], "%s/state", fe.path);
	check_reported(&fault);
	need(blkfront_read(&other, 0, got, 8) == FE_OKAY, "the other vbd");
	blkfront_set_state(&fe, FE_CLOSED);
	need(blkfront_wait_backend(&fe, FE_CLOSED), "no state 6");
	blkfront_set_state(&fe, FE_INITIALISING);
	blkfront_connect(&fe);
	need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("frontend faults");
	TCase *tc = tcase_create("garbage");

	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, garbage, 0, NR_FAULTS);
	tcase_add_test(tc, comes_back);
	tcase_add_loop_test(tc, hypervisor_refuses, 0, 2);
	tcase_add_loop_test(tc, garbage_state, 0, 4);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
