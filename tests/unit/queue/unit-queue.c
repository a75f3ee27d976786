/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests of whole queues, over the transport of this directory. */
#include "tests/unit/unit.h"

int main(void)
{
	static Suite *(*const suites[])(void) = { suite_queue, suite_connection,
						  suite_grant_cache,
						  suite_transfer };

	return unit_main("unit-queue", suites, NR_OF(suites));
}
