/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ground the other suites stand on: the real xenstored and oxenstored
 * under the preload library, domains that come and go, and the real xl.
 * No daemon takes part.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/host.h"

static void start(struct host *h, int with_oxenstored)
{
	if (with_oxenstored)
		host_start_oxenstored(h);
	else
		host_start(h);
}

/* Waits for one event; whether it is the wanted path's. */
static bool next_event_is(struct xs_handle *xs, const char *path)
{
	struct pollfd p = { xs_fileno(xs), POLLIN, 0 };
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	char **event;
	bool same;

	while (!(event = xs_check_watch(xs))) {
		uint64_t now = host_now_ms();

		if (now >= end)
			return false;
		poll(&p, 1, (int)(end - now));
	}
	same = !strcmp(event[XS_WATCH_PATH], path);
	free(event);
	return same;
}

START_TEST(domains_come_and_go)
{
	struct host h;
	struct guest *g;
	struct xs_handle *xs;

	start(&h, _i);
	xs = xs_open(0);
	need(xs, "xs_open");
	need(xs_watch(xs, "@introduceDomain", "i"), "watch");
	need(next_event_is(xs, "@introduceDomain"), "first event");
	g = host_guest(&h, 7, "g7");
	need(next_event_is(xs, "@introduceDomain"), "introduced");
	need(xs_is_domain_introduced(xs, 7), "is introduced");

	/* A death that nobody announces: VIRQ_DOM_EXC. */
	need(xs_watch(xs, "@releaseDomain", "r"), "watch");
	need(next_event_is(xs, "@releaseDomain"), "first event");
	host_guest_crash(&h, g);
	need(next_event_is(xs, "@releaseDomain"), "released by virq");
	need(!xs_is_domain_introduced(xs, 7), "is gone");

	/* And one that the toolstack announces. */
	g = host_guest(&h, 8, "g8");
	host_guest_destroy(&h, g);
	while (!next_event_is(xs, "@releaseDomain"))
		;
	xs_close(xs);
	host_stop(&h);
}
END_TEST

START_TEST(transactions_conflict)
{
	struct xs_handle *other;
	xs_transaction_t t;
	unsigned int n;
	struct host h;

	start(&h, _i);
	other = xs_open(0);
	host_write(&h, "1", "/k");
	t = xs_transaction_start(h.xs);
	free(xs_read(h.xs, t, "/k", &n));
	need(xs_write(other, XBT_NULL, "/k", "2", 1), "write");
	need(xs_write(h.xs, t, "/k", "3", 1), "write");
	need(!xs_transaction_end(h.xs, t, false), "no conflict was seen");
	need(host_wait_value(&h, "2", 100, "/k"), "value");
	need(!host_wait_value(&h, "4", 20, "/k"), "a wait that must fail");
	need(host_count_nodes(&h, "/k") == 1, "count");
	xs_close(other);
	host_stop(&h);
}
END_TEST

START_TEST(xl_runs)
{
	static const char *const list[] = { "list", NULL };
	static const char *const disks[] = { "block-list", "g1", NULL };
	static const char *const nobody[] = { "block-list", "g9", NULL };
	static const char *const destroy[] = { "destroy", "g1", NULL };
	char out[4096];
	struct host h;
	struct guest *g;
	int status;

	start(&h, _i);
	g = host_guest(&h, 1, "g1");
	status = host_xl(&h, out, sizeof(out), list);
	need(status == 0, "xl list: %d: %s", status, out);
	need(strstr(out, "g1"), "xl list: %s", out);
	need(host_xl(&h, out, sizeof(out), disks) == 0, "block-list: %s", out);
	/* xl's status for a domain that does not exist is 0. */
	host_xl(&h, out, sizeof(out), nobody);
	need(strstr(out, "g9 is an invalid domain"), "no such: %s", out);
	need(host_xl(&h, out, sizeof(out), destroy) == 0, "destroy: %s", out);
	need(!host_exists(&h, "/local/domain/1"), "domain directory stays");
	need(host_wait_value(&h, NULL, HOST_WAIT_MS, "/libxl/1"), "libxl");
	sim_domain_sync(g->dom);
	g->dom = NULL;
	host_stop(&h);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xenstored");
	TCase *tc = tcase_create("both daemons");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, domains_come_and_go, 0, 2);
	tcase_add_loop_test(tc, transactions_conflict, 0, 2);
	tcase_add_loop_test(tc, xl_runs, 0, 2);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
