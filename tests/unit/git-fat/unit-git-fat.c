/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests of the disk out of a git tree, one module at a time. */
#include "tests/unit/git-fat/unit-git-fat.h"

int main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_fold,         suite_git_provider, suite_names,
		suite_object_cache, suite_pin,          suite_raw_tree,
		suite_spill_file,   suite_layout,       suite_volume,
		suite_directory,    suite_git_disk,     suite_verify,
	};

	return unit_main("unit-git-fat", suites, NR_OF(suites));
}
