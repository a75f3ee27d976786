/* SPDX-License-Identifier: BSD-2-Clause */
/* The suites of unit-git-fat. */
#ifndef XEN_DISKD_UNIT_GIT_FAT_H
#define XEN_DISKD_UNIT_GIT_FAT_H

#include "tests/unit/unit.h"

Suite *suite_fold(void);
Suite *suite_git_provider(void);
Suite *suite_names(void);
Suite *suite_object_cache(void);
Suite *suite_pin(void);
Suite *suite_raw_tree(void);
Suite *suite_spill_file(void);
Suite *suite_layout(void);
Suite *suite_volume(void);
Suite *suite_directory(void);
Suite *suite_git_disk(void);
Suite *suite_verify(void);

#endif
