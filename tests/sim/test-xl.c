/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real xl against the daemon, through the installed hotplug script and
 * the real xenstored or oxenstored: attach, list, detach, destroy, and what a
 * user reads when it fails.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/blkfront.h"

#define XVDB 51728u
/* "In about a second each"; the rest is for a loaded machine. */
#define XL_MS 3000u

static struct host h;
static struct guest *g;
static char image[64];
static char out[16384];
static struct blkfront fe;

static void start(int with_oxenstored)
{
	if (with_oxenstored)
		host_start_oxenstored(&h);
	else
		host_start(&h);
	host_daemon_start(&h);
	g = host_guest(&h, 1, "g1");
	host_image(&h, "a.img", 1 << 20, image);
}

/* Runs xl; its status, after a check of the time it took. */
static int xl(const char *command, const char *a, const char *b)
{
	const char *const argv[] = { command, a, b, NULL };
	uint64_t begin = host_now_ms();
	int status = host_xl(&h, out, sizeof(out), argv);

	need(host_now_ms() - begin < XL_MS, "xl %s took %llu ms: %s", command,
	     (unsigned long long)(host_now_ms() - begin), out);
	return status;
}

static int xl_attach(const char *target)
{
	char spec[256];

	snprintf(spec, sizeof(spec),
		 "vdev=xvdb,backendtype=phy,script=block-xen-diskd,target=%s",
		 target);
	return xl("block-attach", "g1", spec);
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

START_TEST(attach_list_detach)
{
	uint8_t data[FE_PAGE] = { 1 };
	pthread_t guest;

	start(_i);
	need(xl_attach(image) == 0, "block-attach: %s", out);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(blkfront_write(&fe, 0, data, 8) == FE_OKAY, "write");
	need(xl("block-list", "g1", NULL) == 0, "block-list: %s", out);
	need(strstr(out, "51728") && strstr(out, fe.backend), "block-list: %s",
	     out);
	need(pthread_create(&guest, NULL, closing_guest, &fe) == 0, "thread");
	need(xl("block-detach", "g1", "xvdb") == 0, "block-detach: %s", out);
	pthread_join(guest, NULL);
	need(host_count_nodes(&h, fe.backend) == 0, "backend nodes");
	need(!host_list(&h, 1, XVDB), "still in list");
	blkfront_fini(&fe);
	host_stop(&h);
}
END_TEST

START_TEST(detach_force)
{
	static const char *const argv[] = { "block-detach", "--force", "g1",
					    "xvdb", NULL };

	start(_i);
	need(xl_attach(image) == 0, "block-attach: %s", out);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(host_xl(&h, out, sizeof(out), argv) == 0, "force: %s", out);
	need(host_count_nodes(&h, fe.backend) == 0, "backend nodes");
	blkfront_fini(&fe);
	host_stop(&h);
}
END_TEST

START_TEST(destroy)
{
	start(_i);
	need(xl_attach(image) == 0, "block-attach: %s", out);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(xl("destroy", "g1", NULL) == 0, "destroy: %s", out);
	sim_domain_sync(g->dom);
	g->dom = NULL;
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
	need(host_count_nodes(&h, "/local/domain/0/backend/vbd") <= 1,
	     "backend nodes");
	blkfront_abandon(&fe);
	host_stop(&h);
}
END_TEST

/* xl prints our reason; block-detach cleans up. */
START_TEST(attach_refusals)
{
	static const struct {
		const char *target, *cause;
	} bad[] = {
		{ "/no/such.img", "No such file" },
		{ "/tmp", "directory" },
		{ "bogus:/x", "provider" },
	};
	unsigned int i;

	start(0);
	for (i = 0; i < 3; i++) {
		need(xl_attach(bad[i].target) != 0, "attached '%s'",
		     bad[i].target);
		need(strstr(out, bad[i].target) &&
			     strcasestr(out, bad[i].cause),
		     "xl says: %s", out);
		blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
		blkfront_set_state(&fe, FE_CLOSED);
		need(xl("block-detach", "g1", "xvdb") == 0, "detach: %s", out);
		need(host_wait_unlisted(&h, 1, XVDB), "still in list");
		need(host_count_nodes(&h, fe.backend) == 0, "backend nodes");
		blkfront_fini(&fe);
	}
	host_stop(&h);
}
END_TEST

/* A node of our own attach is one that xl understands. */
START_TEST(own_attach_and_xl)
{
	pthread_t guest;

	start(0);
	json_decref(host_control_ok(
		&h, json_pack("{s:s,s:s,s:s,s:s,s:b}", "command", "attach",
			      "domain", "g1", "vdev", "xvdb", "target", image,
			      "readonly", 0)));
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(xl("block-list", "g1", NULL) == 0, "block-list: %s", out);
	need(strstr(out, "51728"), "block-list: %s", out);
	need(pthread_create(&guest, NULL, closing_guest, &fe) == 0, "thread");
	need(xl("block-detach", "g1", "xvdb") == 0, "block-detach: %s", out);
	pthread_join(guest, NULL);
	/* No script of ours ran that could have waited for the daemon. */
	need(host_wait_unlisted(&h, 1, XVDB), "still in list");
	blkfront_fini(&fe);
	host_stop(&h);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xl");
	TCase *tc = tcase_create("real xl");

	tcase_set_timeout(tc, 90);
	tcase_add_loop_test(tc, attach_list_detach, 0, 2);
	tcase_add_loop_test(tc, detach_force, 0, 2);
	tcase_add_loop_test(tc, destroy, 0, 2);
	tcase_add_test(tc, attach_refusals);
	tcase_add_test(tc, own_attach_and_xl);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
