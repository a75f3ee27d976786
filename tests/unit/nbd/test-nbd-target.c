/* SPDX-License-Identifier: BSD-2-Clause */
/* nbd-client/nbd-target.h: every form of spec, and every refusal. */
#include "nbd-client/nbd-target.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct nbd_target target;
static struct error_text err;

static int parse(const char *text)
{
	struct provider_spec spec;
	int rc = provider_spec_parse(text, true, &spec, &err);

	if (rc == 0)
		rc = nbd_target_parse(&spec, &target, &err);
	return rc < 0 ? rc : provider_spec_all_taken(&spec, &err);
}

static const struct {
	const char *text, *server, *export_name;
	bool tls;
} good[] = {
	{ "nbd://host", "host:10809", "", false },
	{ "nbd://host/", "host:10809", "", false },
	{ "nbd://host/disk", "host:10809", "disk", false },
	{ "nbd://host:7/disk", "host:7", "disk", false },
	{ "nbd://10.0.0.1:65535/a/b//c", "10.0.0.1:65535", "a/b//c", false },
	{ "nbd://host//abs", "host:10809", "/abs", false },
	{ "nbd://host/with%20space%2Fslash%3F%25", "host:10809",
	  "with space/slash?%", false },
	{ "nbd://host/a:b@c", "host:10809", "a:b@c", false },
	{ "nbd://[::1]/x", "[::1]:10809", "x", false },
	{ "nbd://[fe80::1%25eth0]:9/x", "[fe80::1%eth0]:9", "x", false },
	{ "nbds://host/x", "host:10809", "x", true },
	{ "nbds://alice@host:1/x", "host:1", "x", true },
	{ "nbd+unix:///x?socket=/run/s", "/run/s", "x", false },
	{ "nbd+unix://?socket=/run/s", "/run/s", "", false },
	{ "nbd+unix:///?socket=/run/a%20b", "/run/a b", "", false },
	{ "nbd+unix:///a/b%20c?socket=/s", "/s", "a/b c", false },
	{ "nbds+unix:///x?socket=/s", "/s", "x", true },
	{ "nbds+unix://alice@/x?socket=/s", "/s", "x", true },
};

static void takes_row(int row)
{
	char server[NBD_PATH_BYTES];

	ck_assert_msg(parse(good[row].text) == 0, "%s", err.text);
	nbd_target_server(&target, server, sizeof(server));
	ck_assert_str_eq(server, good[row].server);
	ck_assert_str_eq(target.export_name, good[row].export_name);
	ck_assert_int_eq(target.tls, good[row].tls);
	if (strstr(good[row].text, "alice@"))
		ck_assert_str_eq(target.tls_username, "alice");
}
ROWS_TEST(takes, NR_OF(good))

static const struct {
	const char *text, *says;
} refused[] = {
	{ "nbd:host", "nbd://HOST/EXPORT" },
	{ "nbd:/host/x", "nbd://HOST/EXPORT" },
	{ "nbd:unix:/run/s", "nbd://HOST/EXPORT" },
	{ "nbd://", "no host" },
	{ "nbd:///x", "no host" },
	{ "nbd://:80/x", "no host" },
	{ "nbd://::1/x", "no host" },
	{ "nbd://[]/x", "no host" },
	{ "nbd://[::1/x", "no host" },
	{ "nbd://[::1]x/x", "no port" },
	{ "nbd://host:/x", "no port" },
	{ "nbd://host:0/x", "no port" },
	{ "nbd://host:65536/x", "no port" },
	{ "nbd://host:-1/x", "no port" },
	{ "nbd://host:1 /x", "no port" },
	{ "nbd://host:nbd/x", "no port" },
	{ "nbd://host/x?socket=/s", "nbd+unix" },
	{ "nbd://alice@host/x", "TLS" },
	{ "nbd+unix:///x", "socket=" },
	{ "nbd+unix:///x?socket=s", "absolute" },
	{ "nbd+unix:///x?socket=", "absolute" },
	{ "nbd+unix://host/x?socket=/s", "three" },
	{ "nbd+unix://alice@/x?socket=/s", "TLS" },
	{ "nbd://host/x?tls-certificates=/etc", "tls-certificates" },
	{ "nbd://host/x?tls-verify-peer=no", "tls-verify-peer" },
	{ "nbds://host/x?tls-certificates=etc", "absolute" },
	{ "nbds://host/x?tls-psk-file=", "absolute" },
	{ "nbds://host/x?tls-verify-peer=maybe", "neither yes nor no" },
	{ "nbd://host/x?timeout=", "timeout=" },
	{ "nbd://host/x?timeout=-1", "timeout=-1" },
	{ "nbd://host/x?timeout=1s", "seconds" },
	{ "nbd://host/x?timeout=4294967296", "seconds" },
	{ "nbd://host/x?reconnect=x", "reconnect=x" },
	{ "nbd://host/x?reply-timeout=1.5", "reply-timeout=" },
	{ "nbd://host/x?fence=never", "fence=" },
	{ "nbd://host/x?dirty=1M", "from 2M" },
	{ "nbd://host/x?dirty=5G", "to 4G" },
	{ "nbd://host/x?dirty=off", "dirty=off" },
	{ "nbd://host/x?connections=0", "from 1 to 16" },
	{ "nbd://host/x?connections=17", "from 1 to 16" },
	{ "nbd://host/x?fua=yes", "neither 'on' nor 'off'" },
	{ "nbd://host/x?speed=1", "speed" },
	{ "nbd://host/x?timeout=1&timeout=2", "twice" },
	{ "nbd://host/%00", "percent" },
};

static void refuses_row(int row)
{
	ck_assert_int_eq(parse(refused[row].text), -EINVAL);
	ck_assert_msg(strstr(err.text, refused[row].says) != NULL,
		      "'%s' does not say '%s'", err.text, refused[row].says);
}
ROWS_TEST(refuses, NR_OF(refused))

START_TEST(has_defaults)
{
	ck_assert_int_eq(parse("nbds://host/x"), 0);
	ck_assert_uint_eq(target.timeout_ms, NBD_NO_TIMEOUT);
	ck_assert_uint_eq(target.reconnect_ms, 5000);
	ck_assert_uint_eq(target.reply_timeout_ms, 30000);
	ck_assert_uint_eq(target.fence_ms, 10000);
	ck_assert_uint_eq(target.dirty_bytes, 64 << 20);
	ck_assert_uint_eq(target.connections, 1);
	ck_assert(!target.fua);
	ck_assert(target.tls_verify_peer);
	ck_assert_str_eq(target.tls_certificates, "");
	ck_assert_str_eq(target.tls_psk_file, "");
	ck_assert_str_eq(target.tls_username, "");
}
END_TEST

START_TEST(takes_options)
{
	ck_assert_int_eq(parse("nbds://host/x?timeout=0&reconnect=7&dirty=2M&"
			       "reply-timeout=0&fence=0&connections=16&fua=on&"
			       "tls-certificates=/a%20b&tls-psk-file=/p&"
			       "tls-username=bob&tls-verify-peer=no"),
			 0);
	ck_assert_uint_eq(target.timeout_ms, 0);
	ck_assert_uint_eq(target.reconnect_ms, 7000);
	ck_assert_uint_eq(target.reply_timeout_ms, 0);
	ck_assert_uint_eq(target.fence_ms, 0);
	ck_assert_uint_eq(target.dirty_bytes, 2 << 20);
	ck_assert_uint_eq(target.connections, 16);
	ck_assert(target.fua);
	ck_assert(!target.tls_verify_peer);
	ck_assert_str_eq(target.tls_certificates, "/a b");
	ck_assert_str_eq(target.tls_psk_file, "/p");
	ck_assert_str_eq(target.tls_username, "bob");
}
END_TEST

/* The words of NBD URIs, beside our own. */
START_TEST(verify_peer_has_many_words)
{
	static const char *const words[] = { "no", "yes",   "0",
					     "1",  "false", "true" };

	for (size_t i = 0; i < NR_OF(words); i++) {
		char text[64];

		snprintf(text, sizeof(text), "nbds://h/?tls-verify-peer=%s",
			 words[i]);
		ck_assert_int_eq(parse(text), 0);
		ck_assert_int_eq(target.tls_verify_peer, i % 2);
	}
}
END_TEST

/* As long as they may be, and one more. */
START_TEST(lengths)
{
	char text[PROVIDER_SPEC_BYTES], name[300];

	memset(name, 'h', sizeof(name));
	name[NBD_HOST_BYTES - 1] = '\0';
	snprintf(text, sizeof(text), "nbd://%s/x", name);
	ck_assert_int_eq(parse(text), 0);
	ck_assert_str_eq(target.host, name);
	name[NBD_HOST_BYTES - 1] = 'h';
	name[NBD_HOST_BYTES] = '\0';
	snprintf(text, sizeof(text), "nbd://%s/x", name);
	ck_assert_int_eq(parse(text), -EINVAL);
	snprintf(text, sizeof(text), "nbds://%s@h/x", name);
	ck_assert_int_eq(parse(text), -EINVAL);
	memset(text, 'e', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "nbd://h/", 8);
	ck_assert_int_eq(parse(text), 0);
	ck_assert_uint_eq(strlen(target.export_name), sizeof(text) - 9);
}
END_TEST

Suite *suite_nbd_target(void)
{
	Suite *suite = suite_create("nbd-target");
	TCase *tc = tcase_create("target");

	tcase_add_test(tc, takes);
	tcase_add_test(tc, refuses);
	tcase_add_test(tc, has_defaults);
	tcase_add_test(tc, takes_options);
	tcase_add_test(tc, verify_peer_has_many_words);
	tcase_add_test(tc, lengths);
	suite_add_tcase(suite, tc);
	return suite;
}
