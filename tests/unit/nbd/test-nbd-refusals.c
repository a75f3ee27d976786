/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers and exports that cannot be served: each refused with its reason. */
#include "common/clock.h"
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server server;

static void setup(void)
{
	disk_setup();
}

static void teardown(void)
{
	disk_teardown();
	server_kill(&server);
}

/* At once, with these words and the server's name. */
static void check_refused(const char *spec, const char *says)
{
	uint64_t start = clock_now_ms();

	ck_assert_int_lt(disk_open_spec(spec, false), 0);
	ck_assert_msg(strstr(err.text, says) != NULL, "'%s' does not say '%s'",
		      err.text, says);
	ck_assert_ptr_nonnull(strstr(err.text, "nbd server '"));
	ck_assert_uint_lt(clock_now_ms() - start, 3000);
}

START_TEST(no_server)
{
	server_new_port(&server);
	check_refused(disk_spec(&server, "nbd", "", ""), "Connection refused");
	server_new_socket(&server);
	check_refused(disk_spec(&server, "nbd", "", ""), "No such file");
	check_refused("nbd://no-such-host.invalid/x", "no-such-host.invalid");
	memset(server.socket, 's', sizeof(server.socket) - 1);
	server.socket[0] = '/';
	{
		char spec[400];

		snprintf(spec, sizeof(spec), "nbd+unix:///?socket=%s%s",
			 server.socket, server.socket);
		check_refused(spec, "at most 107");
	}
}
END_TEST

START_TEST(no_such_export)
{
	const char *path = scratch_file("image", 1 << 20);
	const char *const args[] = { "qemu-nbd", "-t",  "-k", server.socket,
				     "-f",       "raw", "-x", "one",
				     path,       NULL };

	server_new_socket(&server);
	memcpy(server.argv, args, sizeof(args));
	server_start(&server);
	check_refused(disk_spec(&server, "nbd", "two", ""), "two");
	check_refused(disk_spec(&server, "nbd", "", ""), "no export");
	ck_assert_int_eq(
		disk_open_spec(disk_spec(&server, "nbd", "one", ""), false), 0);
}
END_TEST

static const struct {
	const char *size, *says;
} sizes[] = {
	{ "0", "0 bytes" },
	{ "100", "100 bytes" },
	{ "511", "511 bytes" },
};

START_TEST(too_small)
{
	NBDKIT(&server, "memory", sizes[_i].size);
	check_refused(disk_spec(&server, "nbd", "", ""), sizes[_i].says);
}
END_TEST

START_TEST(smaller_than_a_block)
{
	NBDKIT(&server, "--filter=blocksize-policy", "memory", "4096",
	       "blocksize-minimum=8192", "blocksize-preferred=8192",
	       "blocksize-maximum=1M", "blocksize-error-policy=error");
	check_refused(disk_spec(&server, "nbd", "", ""), "less than a block");
}
END_TEST

/* Larger blocks than the protocol has: libnbd does not tell of them. */
START_TEST(block_sizes_that_cannot_be)
{
	char image[600];
	const char *const args[] = { "qemu-nbd",     "-t",  "-k", server.socket,
				     "--image-opts", image, NULL };

	snprintf(image, sizeof(image),
		 "driver=blkdebug,align=131072,image.driver=file,"
		 "image.filename=%s",
		 scratch_file("image", 1 << 20));
	server_new_socket(&server);
	memcpy(server.argv, args, sizeof(args));
	server_start(&server);
	check_refused(disk_spec(&server, "nbd", "", ""), "min: 131072 ");
}
END_TEST

START_TEST(plugin_that_fails)
{
	NBDKIT(&server, "eval", "get_size=echo 1M",
	       "open=echo the disk is on fire >&2; exit 1", "pread=exit 1");
	check_refused(disk_spec(&server, "nbd", "", ""), "server");
}
END_TEST

/* A misspelt option is found without a server. */
START_TEST(options_come_first)
{
	ck_assert_int_eq(disk_open_spec("nbd://localhost:1/x?speed=9", false),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "speed"));
}
END_TEST

Suite *suite_nbd_refusals(void)
{
	Suite *suite = suite_create("nbd-refusals");
	TCase *tc = tcase_create("refusals");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, no_server);
	tcase_add_test(tc, no_such_export);
	tcase_add_loop_test(tc, too_small, 0, (int)NR_OF(sizes));
	tcase_add_test(tc, smaller_than_a_block);
	tcase_add_test(tc, block_sizes_that_cannot_be);
	tcase_add_test(tc, plugin_that_fails);
	tcase_add_test(tc, options_come_first);
	suite_add_tcase(suite, tc);
	return suite;
}
