/* SPDX-License-Identifier: BSD-2-Clause */
/* Loop devices by ioctl(2); see loop(4). */
#include "tests/unit/loop-device.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char *loop_device_missing(void)
{
	int fd = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return strerror(errno);
	close(fd);
	return NULL;
}

/* Attaches the file to a free device: 0, or -errno. */
static int attach(struct loop_device *loop, bool read_only,
		  unsigned int block_bytes)
{
	struct loop_config config = {
		.fd = (uint32_t)loop->backing_fd,
		.block_size = block_bytes,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR |
				 (read_only ? LO_FLAGS_READ_ONLY : 0),
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int nr = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (control >= 0)
		close(control);
	if (nr < 0)
		return -errno;
	snprintf(loop->path, sizeof(loop->path), "/dev/loop%d", nr);
	loop->fd = open(loop->path, O_RDWR | O_CLOEXEC);
	if (loop->fd < 0)
		return -errno;
	if (ioctl(loop->fd, LOOP_CONFIGURE, &config) < 0) {
		int rc = -errno;

		close(loop->fd);
		return rc;
	}
	return 0;
}

void loop_device_open(struct loop_device *loop, const char *file,
		      bool read_only, unsigned int block_bytes)
{
	int rc = -EBUSY;

	loop->backing_fd = open(file, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(loop->backing_fd, 0);
	/* Somebody else may take the free device first. */
	for (int i = 0; i < 10 && rc == -EBUSY; i++)
		rc = attach(loop, read_only, block_bytes);
	ck_assert_msg(rc == 0, "loop device: %s", strerror(-rc));
}

void loop_device_close(struct loop_device *loop)
{
	close(loop->fd);
	close(loop->backing_fd);
}
