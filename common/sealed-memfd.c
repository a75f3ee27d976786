/* SPDX-License-Identifier: BSD-2-Clause */
/* memfd_create(2) with F_SEAL_SHRINK and its like. */
#include "common/sealed-memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int sealed_memfd_new(const char *name, uint64_t nr_bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)nr_bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

bool sealed_memfd_is_any(int fd)
{
	int has = fcntl(fd, F_GET_SEALS);

	return has >= 0 && (has & SEALS) == SEALS;
}

bool sealed_memfd_is(int fd, uint64_t nr_bytes)
{
	struct stat st;

	return sealed_memfd_is_any(fd) && fstat(fd, &st) == 0 &&
	       st.st_size >= 0 && (uint64_t)st.st_size == nr_bytes;
}
