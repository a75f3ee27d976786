/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the unit tests share: the list of suites, skipping in the open, and
 * a scratch directory.
 */
#ifndef XEN_DISKD_UNIT_H
#define XEN_DISKD_UNIT_H

#include <check.h>
#include <stdbool.h>
#include <stddef.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

/* One suite a module. */
Suite *suite_list(void);
Suite *suite_number(void);
Suite *suite_log(void);
Suite *suite_io_loop(void);
Suite *suite_provider_spec(void);
Suite *suite_provider(void);
Suite *suite_file(void);
Suite *suite_file_blocks(void);
Suite *suite_file_map(void);
Suite *suite_null(void);
Suite *suite_ring(void);
Suite *suite_request(void);
Suite *suite_page_pool(void);
Suite *suite_idle_poll(void);
Suite *suite_throttle(void);
Suite *suite_inflight(void);
Suite *suite_vdev(void);
Suite *suite_worker_message(void);
Suite *suite_queue(void);
Suite *suite_grant_cache(void);
Suite *suite_transfer(void);
Suite *suite_connection(void);
Suite *suite_sandbox(void);

/*
 * A test program's main(): runs the suites and prints the summary, with the
 * program's name, last.
 */
int unit_main(const char *program, Suite *(*const *suites)(void),
	      unsigned int nr_suites);

/*
 * Says that a test cannot be run here, and counts it.  For suite_*() only,
 * which then leave the test out: a skipped test must not read as passed.
 */
void unit_skip(const char *test, const char *reason);

/*
 * Calls check with each row of a table, all in one process; a row that fails
 * is named on standard error.
 */
void unit_rows(void (*check)(int row), size_t nr);
#define ROWS_TEST(name, nr)                  \
	START_TEST(name)                     \
	{                                    \
		unit_rows(name##_row, (nr)); \
	}                                    \
	END_TEST

/* The scratch directory of this run, on a file system with real storage. */
const char *unit_dir(void);

#endif
