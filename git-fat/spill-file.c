/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The spill file: opening it where space can be given back, its list of
 * extents, and whole reads and writes.
 *
 * The lock guards the list alone and is never held over an access to the file.
 * An extent is in the list before it is written and until it has been punched,
 * so that nobody else's bytes are ever where a write or a punch goes.
 */
#include "git-fat/spill-file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Well below the largest file of any file system (ext4 has 16 TiB). */
#define FILE_BYTES_MAX (UINT64_C(1) << 40)
#define BLOCK_BYTES_MIN UINT64_C(4096)
#define BLOCK_BYTES_MAX (UINT64_C(1) << 20)

/* ---- making it ----------------------------------------------------------- */

/* Refuses a place where space, once used, could not be given back. */
static int open_in(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);
	int rc;

	if (fd < 0)
		return -errno;
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
		      (off_t)BLOCK_BYTES_MIN) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static int open_anywhere(void)
{
	const char *dir = secure_getenv("TMPDIR");
	int fd = -ENOENT;

	if (dir && *dir)
		fd = open_in(dir);
	if (fd < 0)
		fd = open_in("/var/tmp");
	if (fd < 0) {
		fd = memfd_create("xen-diskd-spill", MFD_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	return fd;
}

int spill_file_init(struct spill_file *file)
{
	uint64_t block = BLOCK_BYTES_MIN;
	struct rlimit limit;
	struct stat st;
	int fd = open_anywhere(), rc;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || getrlimit(RLIMIT_FSIZE, &limit) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (block < (uint64_t)st.st_blksize && block < BLOCK_BYTES_MAX)
		block *= 2;
	file->fd = fd;
	file->block_bytes = block;
	file->limit_bytes = FILE_BYTES_MAX;
	/* Writing beyond it raises a signal. */
	if (limit.rlim_cur < file->limit_bytes)
		file->limit_bytes = limit.rlim_cur;
	list_init(&file->extents);
	/* Cannot fail with default attributes. */
	pthread_mutex_init(&file->lock, NULL);
	return 0;
}

void spill_file_fini(struct spill_file *file)
{
	close(file->fd);
	pthread_mutex_destroy(&file->lock);
}

/* ---- extents ------------------------------------------------------------- */

uint64_t spill_file_round_up(const struct spill_file *file, uint64_t nr_bytes)
{
	return (nr_bytes + file->block_bytes - 1) & ~(file->block_bytes - 1);
}

static struct spill_extent *extent_of(struct list *link)
{
	return container_of(link, struct spill_extent, link);
}

static uint64_t extent_end(const struct spill_extent *extent)
{
	return extent->offset + extent->bytes;
}

/*
 * Finds a place for `bytes`, and what comes after it in the list.  That is the
 * end of the file, without a search, until the limit is near.
 */
static bool find_place(struct spill_file *file, uint64_t bytes,
		       uint64_t *ret_offset, struct list **ret_next)
{
	uint64_t end = 0;

	if (!list_empty(&file->extents))
		end = extent_end(extent_of(file->extents.prev));
	if (end <= file->limit_bytes && file->limit_bytes - end >= bytes) {
		*ret_offset = end;
		*ret_next = &file->extents;
		return true;
	}
	end = 0;
	list_for_each_safe(link, next, &file->extents) {
		const struct spill_extent *other = extent_of(link);

		if (other->offset - end >= bytes) {
			*ret_offset = end;
			*ret_next = link;
			return true;
		}
		end = extent_end(other);
	}
	return false;
}

static bool allocate(struct spill_file *file, uint64_t bytes,
		     struct spill_extent *extent)
{
	struct list *next;
	bool found;

	pthread_mutex_lock(&file->lock);
	found = find_place(file, bytes, &extent->offset, &next);
	if (found) {
		extent->bytes = bytes;
		list_add_tail(next, &extent->link);
	}
	pthread_mutex_unlock(&file->lock);
	return found;
}

void spill_file_remove(struct spill_file *file, struct spill_extent *extent)
{
	/* Where this fails, the space is lost until it is written again. */
	(void)!fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)extent->offset, (off_t)extent->bytes);
	pthread_mutex_lock(&file->lock);
	list_del(&extent->link);
	pthread_mutex_unlock(&file->lock);
}

/* ---- contents ------------------------------------------------------------ */

static int write_all(int fd, const char *data, uint64_t nr_bytes,
		     uint64_t offset)
{
	uint64_t done = 0;

	while (done < nr_bytes) {
		ssize_t n = pwrite(fd, data + done, nr_bytes - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (uint64_t)n;
	}
	return 0;
}

int spill_file_write(struct spill_file *file, const void *data,
		     uint64_t nr_bytes, struct spill_extent *extent)
{
	int rc;

	assert(nr_bytes);
	if (!allocate(file, spill_file_round_up(file, nr_bytes), extent))
		return -EFBIG;
	rc = write_all(file->fd, data, nr_bytes, extent->offset);
	if (rc < 0)
		spill_file_remove(file, extent);
	return rc;
}

int spill_file_read(const struct spill_file *file,
		    const struct spill_extent *extent, uint64_t offset,
		    void *buffer, size_t nr_bytes)
{
	uint64_t at = extent->offset + offset;
	size_t done = 0;

	assert(offset <= extent->bytes && nr_bytes <= extent->bytes - offset);
	while (done < nr_bytes) {
		ssize_t n = pread(file->fd, (char *)buffer + done,
				  nr_bytes - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}
