/* SPDX-License-Identifier: BSD-2-Clause */
/* The NBD provider over TLS: who is let in, who is refused, and losses. */
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct server server;
static char pki[256];

/*
 * In the scratch directory, made by the first test: good/ for both sides with
 * a certificate of "localhost", other/ with one of another name, strange/ of
 * another authority, and keys.psk for alice.
 */
static void make_authority(const char *dir)
{
	run_command("mkdir -p %s/%s && cd %s/%s && "
		    "certtool --generate-privkey --key-type=ecdsa "
		    "--outfile ca-key.pem >log 2>&1 && "
		    "printf 'cn = Test\\nca\\ncert_signing_key\\n' >ca.info && "
		    "certtool --generate-self-signed --load-privkey "
		    "ca-key.pem --template ca.info --outfile ca-cert.pem "
		    ">>log 2>&1",
		    pki, dir, pki, dir);
}

static void make_certificate(const char *dir, const char *name)
{
	run_command("cd %s/%s && "
		    "certtool --generate-privkey --key-type=ecdsa "
		    "--outfile server-key.pem >>log 2>&1 && "
		    "printf 'cn = %s\\ndns_name = %s\\ntls_www_server\\n"
		    "signing_key\\n' >server.info && "
		    "certtool --generate-certificate "
		    "--load-ca-certificate ca-cert.pem "
		    "--load-ca-privkey ca-key.pem "
		    "--load-privkey server-key.pem --template server.info "
		    "--outfile server-cert.pem >>log 2>&1",
		    pki, dir, name, name);
}

static void make_keys(void)
{
	make_authority("good");
	make_certificate("good", "localhost");
	run_command("cp -r %s/good %s/other", pki, pki);
	make_certificate("other", "elsewhere.example");
	make_authority("strange");
	run_command("psktool -u alice -p %s/keys.psk >>%s/good/log 2>&1", pki,
		    pki);
	run_command("psktool -u alice -p %s/wrong.psk >>%s/good/log 2>&1", pki,
		    pki);
}

static void setup(void)
{
	struct stat st;
	char keys[300];

	disk_setup();
	snprintf(pki, sizeof(pki), "%.200s/pki", unit_dir());
	snprintf(keys, sizeof(keys), "%s/wrong.psk", pki);
	if (stat(keys, &st) < 0)
		make_keys();
}

static void teardown(void)
{
	disk_teardown();
	server_kill(&server);
}

/* nbdkit on the loopback, with keys of a directory or file. */
static void start(const char *tls, const char *kind, const char *keys)
{
	static char arg[400];

	snprintf(arg, sizeof(arg), "--tls-%s=%s/%s", kind, pki, keys);
	NBDKIT_TCP(&server, tls, arg, "memory", "1M");
}

static int open_tls(const char *user, const char *kind, const char *keys,
		    const char *more)
{
	char spec[800];

	snprintf(spec, sizeof(spec), "nbds://%slocalhost:%u/?tls-%s=%s/%s%s",
		 user, server.port, kind, pki, keys, more);
	return disk_open_spec(spec, false);
}

static void check_io(void)
{
	disk_open_queue();
	for (unsigned int i = 0; i < 20; i++) {
		fill(65536, i);
		ck_assert_int_eq(do_write(i * 4096, 65536), 0);
		memset(buffer, 0, 65536);
		ck_assert_int_eq(do_read(i * 4096, 65536), 0);
		check_filled(65536, i);
	}
	ck_assert_int_eq(do_flush(), 0);
}

START_TEST(certificates)
{
	start("--tls=require", "certificates", "good");
	ck_assert_msg(open_tls("", "certificates", "good", "") == 0, "%s",
		      err.text);
	check_io();
}
END_TEST

/* The name in the certificate is checked, though the socket is ours. */
START_TEST(name_of_the_host)
{
	start("--tls=require", "certificates", "other");
	ck_assert_int_lt(open_tls("", "certificates", "good", ""), 0);
	ck_assert_msg(strstr(err.text, "ertificate") != NULL, "%s", err.text);
	ck_assert_msg(open_tls("", "certificates", "good",
			       "&tls-verify-peer=no") == 0,
		      "%s", err.text);
	check_io();
}
END_TEST

START_TEST(strange_authority)
{
	start("--tls=require", "certificates", "good");
	ck_assert_int_lt(open_tls("", "certificates", "strange", ""), 0);
	ck_assert_msg(strstr(err.text, "ertificate") != NULL, "%s", err.text);
}
END_TEST

START_TEST(pre_shared_key)
{
	start("--tls=require", "psk", "keys.psk");
	ck_assert_msg(open_tls("alice@", "psk-file", "keys.psk", "") == 0, "%s",
		      err.text);
	check_io();
}
END_TEST

START_TEST(wrong_pre_shared_key)
{
	start("--tls=require", "psk", "keys.psk");
	ck_assert_int_lt(open_tls("alice@", "psk-file", "wrong.psk", ""), 0);
	ck_assert_msg(strstr(err.text, "gnutls") != NULL, "%s", err.text);
	ck_assert_int_lt(open_tls("bob@", "psk-file", "keys.psk", ""), 0);
	ck_assert_msg(strstr(err.text, "bob") != NULL, "%s", err.text);
	ck_assert_int_lt(open_tls("alice@", "psk-file", "none.psk", ""), 0);
	ck_assert_msg(strstr(err.text, "none.psk") != NULL, "%s", err.text);
}
END_TEST

START_TEST(required_by_the_server)
{
	start("--tls=require", "certificates", "good");
	ck_assert_int_lt(
		disk_open_spec(disk_spec(&server, "nbd", "", ""), false), 0);
	ck_assert_msg(strstr(err.text, "TLS") != NULL, "%s", err.text);
}
END_TEST

START_TEST(not_offered_by_the_server)
{
	NBDKIT_TCP(&server, "memory", "1M");
	ck_assert_int_lt(open_tls("", "certificates", "good", ""), 0);
	ck_assert_msg(strstr(err.text, "TLS") != NULL, "%s", err.text);
}
END_TEST

/* Without TLS this server has another disk; we never fall back to it. */
START_TEST(fallback)
{
	static char arg[400];

	snprintf(arg, sizeof(arg), "--tls-certificates=%s/good", pki);
	NBDKIT_TCP(&server, "--tls=on", arg, "--filter=tls-fallback", "memory",
		   "1M");
	ck_assert_int_eq(open_tls("", "certificates", "good", ""), 0);
	ck_assert_uint_eq(provider->info.size_bytes, 1 << 20);
	disk_close();
	ck_assert_int_eq(
		disk_open_spec(disk_spec(&server, "nbd", "", ""), true), 0);
	ck_assert_uint_lt(provider->info.size_bytes, 1 << 20);
}
END_TEST

/* Killed with writes in flight: a socket that is gone is no SIGPIPE. */
START_TEST(lost_and_found)
{
	start("--tls=require", "certificates", "good");
	ck_assert_int_eq(open_tls("", "certificates", "good", ""), 0);
	disk_open_queue();
	for (unsigned int round = 0; round < 3; round++) {
		for (unsigned int i = 0; i < 32; i++)
			slot_submit(&slots[i], BLOCK_OP_WRITE, i * 4096, 4096);
		server_kill(&server);
		run_loop_ms(20);
		server_restart(&server);
		while (slots_busy()) {
			struct disk_slot *slot = slot_next_done(5000);

			ck_assert_ptr_nonnull(slot);
			ck_assert_int_eq(slot->io.error, 0);
		}
	}
	ck_assert_uint_ge(status.reconnects, 1);
}
END_TEST

Suite *suite_nbd_tls(void)
{
	Suite *suite = suite_create("nbd-tls");
	TCase *tc = tcase_create("tls");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, certificates);
	tcase_add_test(tc, name_of_the_host);
	tcase_add_test(tc, strange_authority);
	tcase_add_test(tc, pre_shared_key);
	tcase_add_test(tc, wrong_pre_shared_key);
	tcase_add_test(tc, required_by_the_server);
	tcase_add_test(tc, not_offered_by_the_server);
	tcase_add_test(tc, fallback);
	tcase_add_test(tc, lost_and_found);
	suite_add_tcase(suite, tc);
	return suite;
}
