/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The NBD provider and a server that breaks the protocol: a clear error or a
 * new connection, and never a crash, a hang, or more memory.
 */
#include "common/clock.h"
#include "nbd-client/nbd-connect.h"
#include "nbd-client/nbd-export.h"
#include "tests/unit/nbd/disk.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

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

static void start(const char *fault, const char *nr)
{
	const char *program = server_sibling("nbd-hostile-server");

	server_new_socket(&server);
	server.argv[0] = program;
	server.argv[1] = server.socket;
	server.argv[2] = fault;
	server.argv[3] = nr;
	server_start(&server);
}

static long peak_kilobytes(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

/* ---- negotiation ---------------------------------------------------- */

static const struct {
	const char *fault, *says;
} refused[] = {
	{ "closes", "disconnected" },
	{ "text", "magic" },
	{ "half-greeting", "disconnected" },
	{ "version", "" },
	{ "option-magic", "magic" },
	{ "other-option", "" },
	{ "option-length", "" },
	{ "option-type", "" },
	{ "policy", "policy" },
	{ "no-flags", "flags" },
	{ "no-export-info", "" },
	{ "size-0", "0 bytes" },
	{ "size-100", "100 bytes" },
	{ "size-2^63", "" },
	{ "size-max", "" },
	{ "names", "" },
	{ "blocks-0", "block sizes" },
	{ "blocks-3", "block sizes" },
	{ "blocks-2^31", "block sizes" },
	{ "blocks-inverted", "block sizes" },
	{ "blocks-max", "block sizes" },
};

START_TEST(refused_at_once)
{
	uint64_t begun = clock_now_ms();
	long peak;

	start(refused[_i].fault, NULL);
	peak = peak_kilobytes();
	ck_assert_int_lt(
		disk_open_spec(disk_spec(&server, "nbd", "", ""), false), 0);
	ck_assert_msg(strstr(err.text, server.socket) != NULL, "%s", err.text);
	ck_assert_msg(strstr(err.text, refused[_i].says) != NULL, "%s",
		      err.text);
	ck_assert_uint_lt(clock_now_ms() - begun, 3000);
	ck_assert_int_lt(peak_kilobytes() - peak, 32768);
}
END_TEST

/* With less time than the provider takes, for the test's sake. */
static const char *const silent[] = { "silent",        "silent-flags",
				      "silent-option", "silent-go",
				      "silent-ack",    "slow-names" };

START_TEST(silence_has_an_end)
{
	struct nbd_target target = { .is_unix = true };
	struct nbd_addresses addresses;
	struct nbd_handle *nbd;
	uint64_t begun;

	start(silent[_i], NULL);
	strcpy(target.socket, server.socket);
	ck_assert_int_eq(nbd_resolve(&target, &addresses, &err), 0);
	begun = clock_now_ms();
	ck_assert_int_eq(nbd_connect_within(&target, &addresses, 300, &nbd,
					    &err),
			 -ETIMEDOUT);
	ck_assert_msg(strstr(err.text, "timed out") != NULL, "%s", err.text);
	ck_assert_uint_ge(clock_now_ms() - begun, 290);
	ck_assert_uint_lt(clock_now_ms() - begun, 1500);
}
END_TEST

/* As large as can be, and not of whole sectors. */
START_TEST(size_is_odd)
{
	start("size-2^63-1", NULL);
	disk_open(&server, "");
	ck_assert_uint_eq(provider->info.size_bytes % 512, 0);
	ck_assert_int_eq(do_read(512 * 5, 512 * 3), 0);
	ck_assert_uint_eq(buffer[0], 5);
	ck_assert_uint_eq(buffer[512 * 3 - 1], 7);
	ck_assert_int_eq(do_write(0, 512), 0);
	ck_assert_int_eq(do_flush(), 0);
}
END_TEST

/* ---- replies -------------------------------------------------------- */

static void read_all_slots(void)
{
	for (unsigned int i = 0; i < 32; i++) {
		memset(slots[i].page, 0xdb, 4096);
		slots[i].cookie = i;
		slot_submit(&slots[i], BLOCK_OP_READ, i * 4096, 4096);
	}
	while (slots_busy()) {
		struct disk_slot *slot = slot_next_done(8000);

		ck_assert_msg(slot != NULL, "an I/O never ends");
		ck_assert_int_eq(slot->io.error, 0);
		for (unsigned int s = 0; s < 8; s++)
			ck_assert_uint_eq(
				slot->page[s * 512],
				(unsigned char)(slot->cookie * 8 + s));
	}
}

/* The provider's first connection is bad, and the one after it. */
static const char *const lost[] = {
	"reply-magic",  "unknown-cookie",     "twice",      "truncated",
	"silent-reply", "truncated-header",   "half-reply", "eshutdown",
	"simple",       "structured-unasked", "too-much",   "huge-chunk",
	"outside",      "tiny-chunk",         "chunk-type", "block-status",
	"endless-data", "endless-holes",
};

static bool is_silent(const char *fault)
{
	return !strcmp(fault, "silent-reply") || !strcmp(fault, "half-reply");
}

START_TEST(connected_again)
{
	long peak;

	/* With those that are silent it takes a second each time. */
	start(lost[_i], is_silent(lost[_i]) ? "1" : "2");
	disk_open(&server, "reply-timeout=1");
	peak = peak_kilobytes();
	read_all_slots();
	ck_assert_uint_ge(status.reconnects, 1);
	ck_assert_uint_le(status.reconnects, 2);
	ck_assert_int_lt(peak_kilobytes() - peak, 32768);
	read_all_slots();
}
END_TEST

/* No clock is needed to see that a reply has more parts than it can have. */
static const char *const endless[] = { "endless-data", "endless-holes" };

START_TEST(endless_is_cut)
{
	start(endless[_i], "1");
	disk_open(&server, "reply-timeout=0");
	read_all_slots();
	ck_assert_uint_eq(status.reconnects, 1);
}
END_TEST

/* Cut off on this side: that tells nothing of the write behind the read. */
START_TEST(fence_behind_a_reply_without_end)
{
	start("endless-data", "1");
	disk_open(&server, "reply-timeout=0");
	slot_submit(&slots[0], BLOCK_OP_READ, 4096, 4096);
	slot_submit(&slots[1], BLOCK_OP_WRITE, 0, 4096);
	while (slots_busy())
		ck_assert_ptr_nonnull(slot_next_done(8000));
	ck_assert_int_eq(slots[0].io.error, 0);
	ck_assert_int_eq(slots[1].io.error, 0);
	ck_assert_uint_eq(status.reconnects, 1);
	slot_submit(&slots[2], BLOCK_OP_WRITE, 0, 4096);
	/* What is sent later is done; this one is not sent. */
	for (unsigned int i = 0; i < 20; i++)
		ck_assert_int_eq(do_write(65536, 4096), 0);
	ck_assert(slots[2].busy);
	block_queue_abandon(queue);
	ck_assert_ptr_eq(slot_next_done(8000), &slots[2]);
	ck_assert_int_eq(slots[2].io.error, -ECANCELED);
}
END_TEST

START_TEST(reordered)
{
	start("reordered", NULL);
	disk_open(&server, "");
	for (unsigned int i = 0; i < 3; i++)
		read_all_slots();
	ck_assert_uint_eq(status.reconnects, 0);
}
END_TEST

/* Bytes that did not come are never given to the guest as read. */
static const char *const short_reads[] = { "no-data", "less-data", "shutdown" };

START_TEST(short_read)
{
	start(short_reads[_i], NULL);
	disk_open(&server, "timeout=2");
	ck_assert_int_eq(do_read(0, 4096), -EIO);
	ck_assert_int_eq(do_write(0, 4096), 0);
}
END_TEST

START_TEST(unsupported)
{
	start("unsupported", NULL);
	disk_open(&server, "");
	ck_assert_int_eq(do_read(0, 4096), -EOPNOTSUPP);
	ck_assert_int_eq(do_write(0, 4096), -EOPNOTSUPP);
	ck_assert_int_eq(do_flush(), -EOPNOTSUPP);
	ck_assert_int_eq(do_io(BLOCK_OP_DISCARD, 0, 4096, 0), -EOPNOTSUPP);
	ck_assert_uint_eq(status.reconnects, 0);
}
END_TEST

/* It never stops: the operator's timeout= does. */
static const char *const for_ever[] = { "reply-magic", "endless-data",
					"twice-the-same", "slow-errors" };

START_TEST(without_end)
{
	uint64_t begun = clock_now_ms();
	unsigned int nr = 0;

	start(for_ever[_i], NULL);
	disk_open(&server, "timeout=1&reply-timeout=1&reconnect=1");
	for (unsigned int i = 0; i < 8; i++)
		slot_submit(&slots[i], BLOCK_OP_READ, i * 4096, 4096);
	while (slots_busy()) {
		struct disk_slot *slot = slot_next_done(12000);

		ck_assert_msg(slot != NULL, "an I/O never ends");
		nr += slot->io.error == -EIO;
	}
	ck_assert_uint_eq(nr, 8);
	ck_assert_uint_lt(clock_now_ms() - begun, 12000);
}
END_TEST

/* It always has something to say to the last flush, and to the end. */
START_TEST(parting_without_end)
{
	uint64_t start_ms;

	start("endless-end", NULL);
	disk_open(&server, "");
	ck_assert_int_eq(_i ? do_read(0, 4096) : do_write(0, 4096), 0);
	start_ms = clock_now_ms();
	disk_close();
	ck_assert_uint_lt(clock_now_ms() - start_ms, 2000);
}
END_TEST

Suite *suite_nbd_hostile(void)
{
	Suite *suite = suite_create("nbd-hostile");
	TCase *tc = tcase_create("hostile");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, refused_at_once, 0, (int)NR_OF(refused));
	tcase_add_loop_test(tc, silence_has_an_end, 0, (int)NR_OF(silent));
	tcase_add_test(tc, size_is_odd);
	tcase_add_loop_test(tc, connected_again, 0, (int)NR_OF(lost));
	tcase_add_loop_test(tc, endless_is_cut, 0, (int)NR_OF(endless));
	tcase_add_test(tc, fence_behind_a_reply_without_end);
	tcase_add_test(tc, reordered);
	tcase_add_loop_test(tc, short_read, 0, (int)NR_OF(short_reads));
	tcase_add_test(tc, unsupported);
	tcase_add_loop_test(tc, without_end, 0, (int)NR_OF(for_ever));
	tcase_add_loop_test(tc, parting_without_end, 0, 2);
	suite_add_tcase(suite, tc);
	return suite;
}
