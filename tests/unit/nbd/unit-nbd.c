/* SPDX-License-Identifier: BSD-2-Clause */
/* The unit tests of the NBD provider, many of them against real servers. */
#include "tests/unit/nbd/unit-nbd.h"

#include <signal.h>

int main(void)
{
	static Suite *(*const suites[])(void) = {
		suite_nbd_target,  suite_dirty_record, suite_nbd_request,
		suite_nbd_fence,   suite_nbd_link,     suite_nbd_io,
		suite_nbd_tls,     suite_nbd_refusals, suite_nbd_loss,
		suite_nbd_hostile, suite_nbd_volatile, suite_nbd_left,
	};

	/* As the workers do: TLS writes without MSG_NOSIGNAL. */
	signal(SIGPIPE, SIG_IGN);
	return unit_main("unit-nbd", suites, NR_OF(suites));
}
