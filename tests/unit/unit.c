/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The unit tests' main program: every suite, each test in a process of its
 * own.  CK_RUN_SUITE and CK_RUN_CASE choose (see check's manual).  The last
 * line is the summary; the exit status is 0 when nothing failed and something
 * ran.
 */
#include "tests/unit/unit.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned int nr_skipped;
static char dir[256];

void unit_skip(const char *test, const char *reason)
{
	const char *only = getenv("CK_RUN_SUITE");

	if (only && *only)
		return;
	printf("SKIP: %s: %s\n", test, reason);
	nr_skipped++;
}

const char *unit_dir(void)
{
	return dir;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static SRunner *make_runner(void)
{
	static Suite *(*const suites[])(void) = {
		suite_list, suite_number, suite_log, suite_io_loop,
		suite_provider_spec, suite_provider, suite_null, suite_file,
		suite_ring, suite_request, suite_page_pool, suite_inflight,
		suite_vdev, suite_worker_message, suite_queue,
	};
	SRunner *runner = srunner_create(NULL);

	for (size_t i = 0; i < NR_OF(suites); i++)
		srunner_add_suite(runner, suites[i]());
	return runner;
}

int main(void)
{
	const char *tmp = getenv("UNIT_TMPDIR");
	SRunner *runner;
	int failed, ran;

	/* Not /tmp at first, which may be a tmpfs. */
	snprintf(dir, sizeof(dir), "%s/xen-diskd-unit.XXXXXX",
		 tmp ? tmp : "/var/tmp");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	runner = make_runner();
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	ran = srunner_ntests_run(runner);
	srunner_free(runner);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	printf("unit: %d passed, %d failed, %u skipped\n", ran - failed,
	       failed, nr_skipped);
	return failed || !ran ? 1 : 0;
}
