/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs suites, each test in a process of its own.  CK_RUN_SUITE and
 * CK_RUN_CASE choose (see check's manual).  The last line is the summary; the
 * exit status is 0 when something ran and nothing failed.
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
	/* As TAP has it, for tests/check.sh to count. */
	printf("ok - %s # SKIP %s\n", test, reason);
	nr_skipped++;
}

const char *unit_dir(void)
{
	return dir;
}

static int current_row = -1;

/* Check ends a test that fails by exit(). */
static void name_row(void)
{
	if (current_row >= 0)
		fprintf(stderr, "the row that fails is number %d\n",
			current_row);
}

void unit_rows(void (*check)(int row), size_t nr)
{
	atexit(name_row);
	for (current_row = 0; current_row < (int)nr; current_row++)
		check(current_row);
	current_row = -1;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int run(SRunner *runner, const char *program)
{
	int failed, ran;

	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	ran = srunner_ntests_run(runner);
	srunner_free(runner);
	printf("%s: %d passed, %d failed, %u skipped\n", program, ran - failed,
	       failed, nr_skipped);
	return failed || !ran ? 1 : 0;
}

int unit_main(const char *program, Suite *(*const *suites)(void),
	      unsigned int nr_suites)
{
	const char *tmp = getenv("UNIT_TMPDIR");
	SRunner *runner;
	int status;

	/* Not /tmp, which is a tmpfs on many machines. */
	snprintf(dir, sizeof(dir), "%s/xen-diskd-unit.XXXXXX",
		 tmp ? tmp : "/var/tmp");
	if (!mkdtemp(dir)) {
		perror(dir);
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	runner = srunner_create(NULL);
	for (unsigned int i = 0; i < nr_suites; i++)
		srunner_add_suite(runner, suites[i]());
	status = run(runner, program);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return status;
}
