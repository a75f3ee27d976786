/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a process has cost: the CPU time of all its threads, those included that
 * have ended and those that the kernel runs for it (io_uring's iou-wrk).
 */
#ifndef XEN_DISKD_TEST_PROCESS_CPU_H
#define XEN_DISKD_TEST_PROCESS_CPU_H

#include <errno.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* In nanoseconds.  -ESRCH for a process that is not there. */
static inline int process_cpu_ns(pid_t pid, uint64_t *ret_ns)
{
	struct timespec used;
	clockid_t id;
	int error = clock_getcpuclockid(pid, &id);

	if (error)
		return -error;
	if (clock_gettime(id, &used) < 0)
		return -ESRCH;
	*ret_ns = (uint64_t)used.tv_sec * UINT64_C(1000000000) +
		  (uint64_t)used.tv_nsec;
	return 0;
}

#endif
