/* SPDX-License-Identifier: BSD-2-Clause */
/* Loop devices for tests. */
#ifndef XEN_DISKD_TEST_LOOP_DEVICE_H
#define XEN_DISKD_TEST_LOOP_DEVICE_H

#include <stdbool.h>

struct loop_device {
	char path[64];
	int fd, backing_fd;
};

/* NULL when there are loop devices here, else why not. */
const char *loop_device_missing(void);

/* Over a file, which is opened anew.  Ends the test on failure. */
void loop_device_open(struct loop_device *loop, const char *file,
		      bool read_only, unsigned int block_bytes);
/* The device goes when nobody has it open. */
void loop_device_close(struct loop_device *loop);

#endif
