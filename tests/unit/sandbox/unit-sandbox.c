/* SPDX-License-Identifier: BSD-2-Clause */
/* The tests of a worker's walls. */
#include "tests/unit/unit.h"

int main(void)
{
	static Suite *(*const suites[])(void) = { suite_sandbox };

	return unit_main("unit-sandbox", suites, NR_OF(suites));
}
