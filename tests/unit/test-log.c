/* SPDX-License-Identifier: BSD-2-Clause */
/* common/log.h: one line a message, nothing forged, and the rate limit. */
#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int pipe_fds[2];
static char output[65536];

static void setup(void)
{
	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_open("test", LOG_LEVEL_INFO);
}

/* What has been written to standard error since the last call. */
static const char *written(void)
{
	ssize_t n = read(pipe_fds[0], output, sizeof(output) - 1);

	output[n > 0 ? n : 0] = '\0';
	return output;
}

START_TEST(lines_have_priorities)
{
	log_error("a %d", 1);
	ck_assert_str_eq(written(), "<3>test: a 1\n");
	log_warning("b");
	ck_assert_str_eq(written(), "<4>test: b\n");
	log_info("c");
	ck_assert_str_eq(written(), "<6>test: c\n");
	log_debug("d");
	ck_assert_str_eq(written(), "");
	log_open("test", LOG_LEVEL_DEBUG);
	log_debug("d");
	ck_assert_str_eq(written(), "<7>test: d\n");
	log_open("test", LOG_LEVEL_ERROR);
	log_warning("e");
	ck_assert_str_eq(written(), "");
}
END_TEST

START_TEST(lines_have_time_stamps)
{
	int h, m, s, ms;
	char rest[64];

	unsetenv("JOURNAL_STREAM");
	log_open("test", LOG_LEVEL_INFO);
	log_warning("x");
	ck_assert_int_eq(sscanf(written(), "%2d:%2d:%2d.%3d %63[^\n]", &h, &m,
				&s, &ms, rest),
			 5);
	ck_assert_str_eq(rest, "test: warning: x");
}
END_TEST

START_TEST(escapes_control_characters)
{
	log_info("%s", "a\nb\tc\x1b[31m\x7f\x01");
	ck_assert_str_eq(written(),
			 "<6>test: a\\x0ab\\x09c\\x1b[31m\\x7f\\x01\n");
	/* UTF-8 is left alone. */
	log_info("%s", "gr\xc3\xbc\xc3\x9f");
	ck_assert_str_eq(written(), "<6>test: gr\xc3\xbc\xc3\x9f\n");
}
END_TEST

/* Whatever the length, it is one line, and it ends as one. */
START_TEST(long_messages_stay_one_line)
{
	static char text[5000];
	char fill = _i ? '\n' : 'x';

	for (size_t len = 900; len < sizeof(text); len += 37) {
		const char *line;

		memset(text, fill, len);
		text[len] = '\0';
		log_info("%s", text);
		line = written();
		ck_assert_int_gt(strlen(line), 900);
		ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	}
}
END_TEST

START_TEST(level_names)
{
	static const char *const names[] = { "error", "warning", "info",
					     "debug" };
	enum log_level level;

	for (size_t i = 0; i < NR_OF(names); i++) {
		ck_assert_int_eq(log_level_parse(names[i], &level), 0);
		ck_assert_str_eq(log_level_name(level), names[i]);
	}
	ck_assert_int_eq(log_level_parse("Error", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("errors", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("debug", &level), 0);
	ck_assert_int_eq(level, 7);
}
END_TEST

START_TEST(limit_drops_and_says_so)
{
	struct log_limit limit = { 0 };

	for (unsigned int i = 0; i < LOG_LIMIT_BURST; i++)
		ck_assert(log_limit_pass(&limit));
	for (int i = 0; i < 7; i++)
		ck_assert(!log_limit_pass(&limit));
	ck_assert_str_eq(written(), "");
	/* The interval is over. */
	limit.interval_start_ms = clock_now_ms() - LOG_LIMIT_INTERVAL_MS;
	ck_assert(log_limit_pass(&limit));
	ck_assert_str_eq(written(),
			 "<4>test: 7 messages like the next left out\n");
	for (unsigned int i = 1; i < LOG_LIMIT_BURST; i++)
		ck_assert(log_limit_pass(&limit));
	ck_assert(!log_limit_pass(&limit));
}
END_TEST

START_TEST(limit_lasts_the_interval)
{
	struct log_limit limit = { 0 };

	for (unsigned int i = 0; i < LOG_LIMIT_BURST; i++)
		ck_assert(log_limit_pass(&limit));
	/* A second of slack, for a loaded machine. */
	limit.interval_start_ms = clock_now_ms() - LOG_LIMIT_INTERVAL_MS + 1000;
	ck_assert(!log_limit_pass(&limit));
}
END_TEST

Suite *suite_log(void)
{
	Suite *suite = suite_create("log");
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, lines_have_priorities);
	tcase_add_test(tc, lines_have_time_stamps);
	tcase_add_test(tc, escapes_control_characters);
	tcase_add_loop_test(tc, long_messages_stay_one_line, 0, 2);
	tcase_add_test(tc, level_names);
	tcase_add_test(tc, limit_drops_and_says_so);
	tcase_add_test(tc, limit_lasts_the_interval);
	suite_add_tcase(suite, tc);
	return suite;
}
