/* SPDX-License-Identifier: BSD-2-Clause */
/* The worker that has bugs, for a test's host. */
#include "tests/sim/poison.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/host.h"

void poison_use(void)
{
	char self[256], path[300];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	need(n > 0, "no /proc/self/exe");
	self[n] = '\0';
	*strrchr(self, '/') = '\0';
	snprintf(path, sizeof(path), "%s/xen-diskd-worker-poison", self);
	setenv("TEST_WORKER", path, 1);
}
