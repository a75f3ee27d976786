/* SPDX-License-Identifier: BSD-2-Clause */
/* nbd-client/nbd-link.h and nbd-connect.h: addresses, and connections. */
#include "common/clock.h"
#include "nbd-client/nbd-link.h"
#include "tests/unit/nbd/server.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct server server;
static struct nbd_target target;
static struct nbd_addresses addresses;
static struct io_loop *loop;
static struct nbd_link link_;
static struct nbd_handle *handle;
static struct error_text err;

static void on_changed(struct nbd_link *changed)
{
	ck_assert_ptr_eq(changed, &link_);
}

static void setup(void)
{
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	nbd_link_init(&link_, loop, &target, &addresses, on_changed);
	strcpy(target.port, "1");
}

static void teardown(void)
{
	nbd_close(nbd_link_fini(&link_));
	nbd_close(handle);
	io_loop_free(loop);
	server_kill(&server);
}

static void add_address(const char *host, unsigned int port)
{
	struct sockaddr_in *in =
		(void *)&addresses.addresses[addresses.nr_addresses];

	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)port);
	inet_pton(AF_INET, host, &in->sin_addr);
	addresses.lengths[addresses.nr_addresses++] = sizeof(*in);
}

/*
 * An address that neither takes connections nor refuses them: what listens
 * there has all that it has room for, and the kernel drops the rest.
 */
static unsigned int make_black_hole(const char *host)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t length = sizeof(in);
	int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, host, &in.sin_addr);
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&in, length), 0);
	ck_assert_int_eq(listen(listening, 0), 0);
	getsockname(listening, (struct sockaddr *)&in, &length);
	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_INET,
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

		connect(fd, (struct sockaddr *)&in, length);
	}
	usleep(10000);
	return ntohs(in.sin_port);
}

static void tick_done(struct io_op *op, int result)
{
	(void)result;
	nbd_link_check(&link_, clock_now_ms());
	io_loop_timeout(loop, op, 100);
}

static void run_until_settled(void)
{
	static struct io_op tick;

	if (!tick.done) {
		tick.done = tick_done;
		io_loop_timeout(loop, &tick, 100);
	}
	while (link_.state != NBD_LINK_UP && link_.state != NBD_LINK_DOWN)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
}

static uint64_t in_10_s(void)
{
	return clock_now_ms() + 10000;
}

/* The second address is reached in good time, by both ways to connect. */
START_TEST(dead_address_does_not_eat_the_time)
{
	unsigned int port = make_black_hole("127.0.0.2");
	uint64_t start = clock_now_ms();

	NBDKIT_TCP(&server, "memory", "1M");
	add_address("127.0.0.2", port);
	add_address("127.0.0.3", 1); /* refuses */
	add_address("127.0.0.1", server.port);
	if (_i) {
		ck_assert_msg(nbd_connect_within(&target, &addresses, 10000,
						 &handle, &err) == 0,
			      "%s", err.text);
	} else {
		nbd_link_connect(&link_, in_10_s());
		run_until_settled();
		ck_assert_msg(link_.state == NBD_LINK_UP, "%s",
			      link_.error.text);
	}
	ck_assert_uint_lt(clock_now_ms() - start, 5000);
}
END_TEST

/* As many as there may be, and only the last answers. */
START_TEST(each_address_is_tried)
{
	unsigned int port = make_black_hole("127.0.0.2");
	uint64_t start;

	NBDKIT_TCP(&server, "memory", "1M");
	while (addresses.nr_addresses < NBD_ADDRESSES_MAX - 1)
		add_address("127.0.0.2", port);
	add_address("127.0.0.1", server.port);
	start = clock_now_ms();
	if (_i) {
		ck_assert_msg(nbd_connect_within(&target, &addresses, 6000,
						 &handle, &err) == 0,
			      "%s", err.text);
	} else {
		nbd_link_connect(&link_, start + 6000);
		run_until_settled();
		ck_assert_msg(link_.state == NBD_LINK_UP, "%s",
			      link_.error.text);
	}
	ck_assert_uint_lt(clock_now_ms() - start, 6000);
}
END_TEST

START_TEST(says_what_the_last_address_said)
{
	add_address("127.0.0.2", 1);
	add_address("127.0.0.3", 1);
	nbd_link_connect(&link_, in_10_s());
	run_until_settled();
	ck_assert_int_eq(link_.state, NBD_LINK_DOWN);
	ck_assert_msg(strstr(link_.error.text, "refused") != NULL, "%s",
		      link_.error.text);
}
END_TEST

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Whatever it was doing, nothing stays open. */
START_TEST(leaks_no_descriptors)
{
	unsigned int before, port = make_black_hole("127.0.0.2");

	NBDKIT_TCP(&server, "memory", "1M");
	before = count_fds();
	for (int i = 0; i < 4; i++) {
		addresses.nr_addresses = 0;
		if (i == 0)
			add_address("127.0.0.2", port);
		else
			add_address("127.0.0.1", server.port);
		nbd_link_connect(&link_, in_10_s());
		if (i == 1)
			io_loop_run(loop, true); /* negotiates */
		if (i >= 2)
			run_until_settled();
		if (i == 3)
			nbd_link_close(&link_);
		nbd_close(nbd_link_fini(&link_));
		ck_assert_uint_eq(count_fds(), before);
		io_loop_free(loop);
		ck_assert_int_eq(io_loop_new(8, &loop), 0);
		nbd_link_init(&link_, loop, &target, &addresses, on_changed);
	}
}
END_TEST

START_TEST(closing_waits_for_the_loop)
{
	NBDKIT_TCP(&server, "memory", "1M");
	add_address("127.0.0.1", server.port);
	nbd_link_connect(&link_, in_10_s());
	run_until_settled();
	nbd_link_close(&link_);
	ck_assert_int_eq(link_.state, NBD_LINK_CLOSING);
	while (link_.state != NBD_LINK_DOWN)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	/* And again. */
	nbd_link_connect(&link_, in_10_s());
	run_until_settled();
	ck_assert_int_eq(link_.state, NBD_LINK_UP);
	handle = nbd_link_fini(&link_);
	ck_assert_ptr_nonnull(handle);
	ck_assert_int_eq(nbd_get_size(handle), 1 << 20);
}
END_TEST

/* One that has died is taken, and found to be dead. */
START_TEST(adopts_the_dead)
{
	NBDKIT_TCP(&server, "memory", "1M");
	add_address("127.0.0.1", server.port);
	ck_assert_int_eq(nbd_connect_within(&target, &addresses, 10000, &handle,
					    &err),
			 0);
	server_kill(&server);
	nbd_link_adopt(&link_, handle);
	handle = NULL;
	while (link_.state == NBD_LINK_UP || link_.state == NBD_LINK_CLOSING)
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_int_eq(link_.state, NBD_LINK_DOWN);
}
END_TEST

/* A server that does not react does not hold us up. */
START_TEST(parting_is_bounded)
{
	uint64_t start = clock_now_ms();

	NBDKIT_TCP(&server, "memory", "1M");
	add_address("127.0.0.1", server.port);
	ck_assert_int_eq(nbd_connect_within(&target, &addresses, 10000, &handle,
					    &err),
			 0);
	server_hang(&server);
	nbd_part(handle, clock_now_ms() + 300);
	handle = NULL;
	ck_assert_uint_ge(clock_now_ms() - start, 300);
	ck_assert_uint_lt(clock_now_ms() - start, 2000);
	nbd_part(NULL, 0);
}
END_TEST

START_TEST(resolves)
{
	target.is_unix = false;
	strcpy(target.port, "1234");
	strcpy(target.host, "::1");
	ck_assert_int_eq(nbd_resolve(&target, &addresses, &err), 0);
	ck_assert_uint_eq(addresses.nr_addresses, 1);
	ck_assert_int_eq(addresses.addresses[0].ss_family, AF_INET6);
	strcpy(target.host, "localhost");
	ck_assert_int_eq(nbd_resolve(&target, &addresses, &err), 0);
	ck_assert_uint_ge(addresses.nr_addresses, 1);
	strcpy(target.host, "no such host");
	ck_assert_int_eq(nbd_resolve(&target, &addresses, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.text, "'no such host'"));
	target.is_unix = true;
	memset(target.socket, 's', 108);
	ck_assert_int_eq(nbd_resolve(&target, &addresses, &err), -ENAMETOOLONG);
	target.socket[107] = '\0';
	ck_assert_int_eq(nbd_resolve(&target, &addresses, &err), 0);
}
END_TEST

Suite *suite_nbd_link(void)
{
	Suite *suite = suite_create("nbd-link");
	TCase *tc = tcase_create("link");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, dead_address_does_not_eat_the_time, 0, 2);
	tcase_add_loop_test(tc, each_address_is_tried, 0, 2);
	tcase_add_test(tc, says_what_the_last_address_said);
	tcase_add_test(tc, leaks_no_descriptors);
	tcase_add_test(tc, closing_waits_for_the_loop);
	tcase_add_test(tc, adopts_the_dead);
	tcase_add_test(tc, parting_is_bounded);
	tcase_add_test(tc, resolves);
	suite_add_tcase(suite, tc);
	return suite;
}
