/* SPDX-License-Identifier: BSD-2-Clause */
/* The unit tests of one module at a time: every suite there is. */
#include "tests/unit/unit.h"

int main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_list,      suite_number,         suite_log,
		suite_io_loop,   suite_provider_spec,  suite_provider,
		suite_null,      suite_file,           suite_file_blocks,
		suite_file_map,  suite_ring,           suite_request,
		suite_page_pool, suite_idle_poll,      suite_inflight,
		suite_vdev,      suite_worker_message, suite_throttle,
	};

	return unit_main("unit", suites, NR_OF(suites));
}
