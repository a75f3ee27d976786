/* SPDX-License-Identifier: BSD-2-Clause */
/* The workers besides the first: one for each registry-*.c. */
#include "diskd/worker-programs.h"

#include <stddef.h>
#include <string.h>

static const struct {
	const char *provider, *suffix;
} workers[] = {
	{ "git", "-git" },      { "nbd", "-nbd" },       { "nbds", "-nbd" },
	{ "nbd+unix", "-nbd" }, { "nbds+unix", "-nbd" },
};

const char *worker_program_suffix(const char *provider)
{
	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		if (!strcmp(workers[i].provider, provider))
			return workers[i].suffix;
	}
	return "";
}
