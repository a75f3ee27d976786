/* SPDX-License-Identifier: BSD-2-Clause */
/* The workers besides the first: one for each registry-*.c. */
#include "diskd/worker-programs.h"

#include <stddef.h>
#include <string.h>

static const struct worker_program local = { "", CONNECTION_QUEUES_MAX };
static const struct worker_program git = { "-git", CONNECTION_QUEUES_MAX };
/* The order of writes, and the record of them, is that of one queue. */
static const struct worker_program nbd = { "-nbd", 1 };

static const struct {
	const char *provider;
	const struct worker_program *program;
} workers[] = {
	{ "git", &git },      { "nbd", &nbd },       { "nbds", &nbd },
	{ "nbd+unix", &nbd }, { "nbds+unix", &nbd },
};

const struct worker_program *worker_program_find(const char *provider)
{
	for (size_t i = 0; i < sizeof(workers) / sizeof(workers[0]); i++) {
		if (!strcmp(workers[i].provider, provider))
			return workers[i].program;
	}
	return &local;
}
