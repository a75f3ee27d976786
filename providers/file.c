/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file provider.  One description of the inode, O_DIRECT where the medium
 * says what it takes (with our own read-modify-write where that is blocks
 * larger than a sector), through the page cache elsewhere (tmpfs).  Never both:
 * a buffered write makes more than its own sector dirty, and could put back
 * what a direct write beside it has just replaced.
 */
#include "providers/file.h"

#include "common/cleanup.h"
#include "common/log.h"
#include "providers/file-blocks.h"
#include "providers/file-discard.h"
#include "providers/file-flush.h"
#include "providers/file-format.h"
#include "providers/file-map.h"
#include "providers/file-queue.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/vfs.h>

/*
 * The fence: the byte of a lock of the file description that all I/O is done on.
 * I/O under way keeps the description, and so the lock, after its process is
 * gone.  No image is as long as that.  Disks that share an image have bytes of
 * their own behind it.
 */
#define FENCE_BYTE (INT64_C(1) << 62)

struct file_provider {
	struct block_provider base;
	int fd;
	bool direct; /* fd is O_DIRECT, and blocks say what it takes */
	struct file_blocks blocks;
	struct file_discard discard;
	struct file_flush flush;
	/*
	 * The file is memory, which io_uring would have a thread of its own
	 * wait for (no FMODE_NOWAIT): it is read and written at once.
	 */
	bool in_memory;
	struct file_map map; /* if in_memory */
};

/*
 * Opens the inode behind path_fd anew, for a file description of its own;
 * the path itself may name something else by now.
 */
static int reopen(int path_fd, int flags)
{
	char proc[64];
	int fd;

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path_fd);
	fd = open(proc, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* Refuses what is neither image nor device, and images marked read-only. */
static int check_inode(const char *path, const struct stat *st, bool read_only,
		       struct error_text *err)
{
	if (S_ISDIR(st->st_mode))
		return error_set(err, -EISDIR, "open '%s': %s", path,
				 strerror(EISDIR));
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return error_set(err, -EINVAL,
				 "open '%s': neither a regular file nor a "
				 "block device",
				 path);
	/* Root's open succeeds whatever the mode says: honour it here. */
	if (S_ISREG(st->st_mode) && !read_only && !(st->st_mode & 0222))
		return error_set(err, -EROFS,
				 "open '%s' for writing: the image is "
				 "read-only (mode %04o); attach it read-only "
				 "(access=ro, or attach --readonly)",
				 path, st->st_mode & 07777);
	return 0;
}

/* A device that this host itself has mounted or claimed is not written to. */
static int check_unclaimed(const char *path, int path_fd,
			   struct error_text *err)
{
	cleanup_close int fd = reopen(path_fd, O_RDONLY | O_EXCL);

	if (fd == -EBUSY)
		return error_set(err, -EBUSY,
				 "open '%s' for writing: in use by this host "
				 "(mounted, or part of another device)",
				 path);
	return 0;
}

static int size_of(const struct file_provider *file, const struct stat *st,
		   uint64_t *ret_bytes)
{
	if (!S_ISBLK(st->st_mode)) {
		*ret_bytes = (uint64_t)st->st_size;
		return 0;
	}
	return ioctl(file->fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
}

/*
 * Where several serve it, each with writes of parts of blocks, the page cache is
 * the one place where these meet.
 */
static bool is_direct(struct file_provider *file, const struct stat *st,
		      bool share)
{
	uint64_t bytes;

	if (file->fd < 0 || size_of(file, st, &bytes) < 0)
		return false;
	file_blocks_probe(file->fd, S_ISBLK(st->st_mode), bytes, &file->blocks);
	return file->blocks.block_bytes != 0 &&
	       (file->blocks.block_bytes <= BLOCK_SECTOR_BYTES || !share);
}

static int open_for_io(struct file_provider *file, const char *path,
		       int path_fd, const struct stat *st, bool read_only,
		       bool share, struct error_text *err)
{
	int mode = read_only ? O_RDONLY : O_RDWR;
	int rc;

	file->fd = reopen(path_fd, mode | O_DIRECT);
	file->direct = is_direct(file, st, share);
	if (file->direct)
		return 0;
	if (file->fd >= 0)
		close(file->fd);
	file->fd = reopen(path_fd, mode);
	if (file->fd >= 0)
		return 0;
	rc = file->fd;
	if (!read_only &&
	    (rc == -EACCES || rc == -EROFS || rc == -EPERM || rc == -ETXTBSY))
		return error_set(err, rc, "open '%s' for writing: %s", path,
				 strerror(-rc));
	return error_set(err, rc, "open '%s': %s", path, strerror(-rc));
}

static int file_size(struct block_provider *provider, uint64_t *ret_bytes,
		     struct error_text *err)
{
	const struct file_provider *file =
		container_of(provider, struct file_provider, base);
	struct stat st;
	int rc = fstat(file->fd, &st) < 0 ? -errno : 0;

	if (!rc)
		rc = size_of(file, &st, ret_bytes);
	if (rc < 0)
		return error_set(err, rc, "size of the image: %s",
				 strerror(-rc));
	if (file->direct && *ret_bytes % file->blocks.block_bytes)
		return error_set(
			err, -EINVAL,
			"size of the image: %llu bytes are no multiple "
			"of the medium's blocks of %u",
			(unsigned long long)*ret_bytes,
			file->blocks.block_bytes);
	return 0;
}

/* The largest unit that the medium gives back. */
static uint32_t discard_granularity(const struct file_provider *file,
				    const struct stat *st)
{
	uint64_t bytes = (uint64_t)st->st_blksize;
	char path[96], text[32] = "";
	FILE *f;

	if (S_ISBLK(st->st_mode)) {
		/* Of a partition, it is the disk's. */
		snprintf(path, sizeof(path),
			 "/sys/dev/block/%u:%u/queue/discard_granularity",
			 major(st->st_rdev), minor(st->st_rdev));
		f = fopen(path, "re");
		if (!f) {
			snprintf(path, sizeof(path),
				 "/sys/dev/block/%u:%u/../queue/"
				 "discard_granularity",
				 major(st->st_rdev), minor(st->st_rdev));
			f = fopen(path, "re");
		}
		if (!f || !fgets(text, sizeof(text), f))
			text[0] = '\0';
		if (f)
			fclose(f);
		bytes = strtoull(text, NULL, 10);
	}
	/* Part of a block is given back by nobody. */
	if (bytes && bytes < file->blocks.block_bytes)
		bytes = file->blocks.block_bytes;
	if (bytes % BLOCK_SECTOR_BYTES || bytes > UINT32_MAX)
		return 0;
	return (uint32_t)bytes;
}

/* Larger than the guest's sectors: there is a way round for parts of them. */
static bool has_blocks(const struct file_provider *file)
{
	return file->direct && file->blocks.block_bytes > BLOCK_SECTOR_BYTES;
}

static void fill_info(struct file_provider *file, const struct stat *st,
		      bool read_only)
{
	struct block_info *info = &file->base.info;
	bool device = S_ISBLK(st->st_mode);
	int device_read_only = 0;
	unsigned int physical = 0;

	info->logical_block_bytes = BLOCK_SECTOR_BYTES;
	/* Of the page cache it is a page. */
	info->physical_block_bytes =
		file->direct ? file->blocks.block_bytes : 4096;
	if (device && ioctl(file->fd, BLKPBSZGET, &physical) == 0 &&
	    physical > BLOCK_SECTOR_BYTES)
		info->physical_block_bytes = physical;
	if (device && ioctl(file->fd, BLKROGET, &device_read_only) == 0)
		info->read_only = device_read_only != 0;
	info->read_only |= read_only;
	info->can_flush = true;
	/*
	 * Past the page cache, a guest's pages are not worth it: to find them
	 * takes the kernel longer than to copy them takes us.
	 */
	info->any_memory = !file->direct;
	info->pins_memory = file->direct;
	info->fence_waits = !info->read_only;
	info->unshareable = has_blocks(file) && !info->read_only;
	info->discard_granularity_bytes = discard_granularity(file, st);
	info->identity.kind =
		device ? BLOCK_IDENTITY_DEVICE : BLOCK_IDENTITY_FILE;
	info->identity.a = device ? st->st_rdev : st->st_dev;
	info->identity.b = device ? 0 : st->st_ino;
}

/* Whoever makes a guest from such a file means what is in it. */
static void warn_of_format(const char *path, int path_fd)
{
	cleanup_close int fd = reopen(path_fd, O_RDONLY);
	char bytes[FILE_FORMAT_BYTES];
	const char *name = NULL;
	ssize_t n = -1;

	if (fd >= 0)
		n = pread(fd, bytes, sizeof(bytes), 0);
	if (n > 0)
		name = file_format(bytes, (size_t)n);
	if (name)
		log_warning("image '%s' begins as one in the format %s does: "
			    "it is served as raw bytes all the same (an NBD "
			    "server serves what is in it)",
			    path, name);
}

static int open_inode(struct file_provider *file, const char *path,
		      bool read_only, bool share, struct error_text *err)
{
	cleanup_close int path_fd = open(path, O_PATH | O_CLOEXEC);
	struct statfs fs;
	struct stat st;
	int rc;

	if (path_fd < 0 || fstat(path_fd, &st) < 0) {
		rc = -errno;
		return error_set(err, rc, "open '%s': %s", path, strerror(-rc));
	}
	rc = check_inode(path, &st, read_only, err);
	if (rc < 0)
		return rc;
	if (S_ISBLK(st.st_mode) && !read_only) {
		rc = check_unclaimed(path, path_fd, err);
		if (rc < 0)
			return rc;
	}
	rc = open_for_io(file, path, path_fd, &st, read_only, share, err);
	if (rc < 0)
		return rc;
	rc = file_size(&file->base, &file->base.info.size_bytes, err);
	if (rc < 0)
		return rc;
	file->in_memory = fstatfs(file->fd, &fs) == 0 &&
			  fs.f_type == TMPFS_MAGIC && S_ISREG(st.st_mode);
	if (file->in_memory)
		file_map_init(&file->map, file->fd, file->base.info.size_bytes);
	fill_info(file, &st, read_only);
	warn_of_format(path, path_fd);
	return 0;
}

static int fence_lock(const struct file_provider *file, short type,
		      int64_t start, int64_t length)
{
	struct flock lock = {
		.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = start,
		.l_len = length,
	};
	int rc;

	do
		rc = fcntl(file->fd, F_OFD_SETLKW, &lock);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

/* What is only read is never changed by what is late. */
static int file_fence(struct block_provider *provider, uint64_t disk,
		      bool unreplayed, struct error_text *err)
{
	const struct file_provider *file =
		container_of(provider, struct file_provider, base);
	int64_t byte = FENCE_BYTE;
	int rc;

	(void)unreplayed;
	if (provider->info.read_only)
		return 0;
	if (provider->info.shared)
		byte += 1 + (int64_t)(disk & INT64_MAX >> 2);
	rc = fence_lock(file, F_WRLCK, byte, 1);
	if (rc < 0)
		return error_set(err, rc, "lock the image: %s", strerror(-rc));
	return 0;
}

static void file_unfence(struct block_provider *provider)
{
	const struct file_provider *file =
		container_of(provider, struct file_provider, base);

	if (!provider->info.read_only)
		fence_lock(file, F_UNLCK, FENCE_BYTE, 0);
}

static void file_close(struct block_provider *provider)
{
	struct file_provider *file =
		container_of(provider, struct file_provider, base);

	file_discard_fini(&file->discard);
	file_ranges_fini(&file->blocks.ranges);
	file_flush_fini(&file->flush);
	file_map_fini(&file->map);
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

static int file_open(struct provider_spec *spec, bool read_only,
		     struct block_provider **ret_provider,
		     struct error_text *err)
{
	struct file_provider *file;
	int rc;

	if (spec->path[0] != '/')
		return error_set(err, -EINVAL,
				 "provider file: '%s' is not an absolute path",
				 spec->path);
	file = calloc(1, sizeof(*file));
	if (!file)
		return error_set(err, -ENOMEM, "open '%s': no memory",
				 spec->path);
	file->fd = -1;
	rc = open_inode(file, spec->path, read_only, spec->share, err);
	file_ranges_init(&file->blocks.ranges, file->blocks.block_bytes);
	file_discard_init(&file->discard, file->fd);
	file_flush_init(&file->flush);
	if (rc < 0) {
		file_close(&file->base);
		return rc;
	}
	*ret_provider = &file->base;
	return 0;
}

/* Drops bytes that have been moved from the front of the vector. */
static void iov_advance(struct block_io *io, size_t bytes)
{
	while (io->nr_iov && bytes >= io->iov->iov_len) {
		bytes -= io->iov->iov_len;
		io->iov++;
		io->nr_iov--;
	}
	if (bytes) {
		io->iov->iov_base = (char *)io->iov->iov_base + bytes;
		io->iov->iov_len -= bytes;
	}
}

/* What is moved at once is whole ones of. */
static uint32_t unit_bytes(const struct file_provider *file)
{
	return file->direct ? file->blocks.block_bytes : BLOCK_SECTOR_BYTES;
}

static int transfer_now(const struct file_provider *file,
			const struct block_io *io)
{
	off_t offset = (off_t)(io->offset_bytes + io->done_bytes);
	const struct iovec *iov = io->iov;
	int nr_iov = (int)io->nr_iov;
	bool read = io->op == BLOCK_OP_READ;
	ssize_t n;

	/* A vector of one costs the kernel more than what is in it. */
	if (nr_iov == 1)
		n = read ? pread(file->fd, iov->iov_base, iov->iov_len, offset)
			 : pwrite(file->fd, iov->iov_base, iov->iov_len,
				  offset);
	else
		n = read ? preadv(file->fd, iov, nr_iov, offset)
			 : pwritev(file->fd, iov, nr_iov, offset);
	return n < 0 ? -errno : (int)n;
}

/* A read or write has come to its end. */
static void transfer_end(struct block_io *io, int error)
{
	struct file_provider *file =
		container_of(io->queue->provider, struct file_provider, base);

	if (io->op == BLOCK_OP_WRITE && has_blocks(file))
		file_ranges_leave(&file->blocks.ranges, io);
	block_io_complete(io, error);
}

/* Of a file in memory. */
static int transfer_in_memory(struct file_provider *file,
			      const struct block_io *io)
{
	int n;

	if (io->op == BLOCK_OP_READ && file_map_read(&file->map, io))
		return (int)(io->length_bytes - io->done_bytes);
	n = transfer_now(file, io);
	if (io->op == BLOCK_OP_WRITE && n > 0)
		file_map_written(&file->map, io->offset_bytes + io->done_bytes,
				 (uint64_t)n);
	return n;
}

static void transfer_done(struct io_op *op, int result);

/* Starts what is left of a transfer. */
static void transfer_start(struct file_provider *file, struct block_io *io)
{
	uint64_t offset = io->offset_bytes + io->done_bytes;

	if (file->in_memory) {
		transfer_done(&io->loop_op, transfer_in_memory(file, io));
		return;
	}
	if (io->op == BLOCK_OP_READ)
		io_loop_readv(io->queue->loop, &io->loop_op, file->fd, io->iov,
			      io->nr_iov, offset);
	else
		io_loop_writev(io->queue->loop, &io->loop_op, file->fd, io->iov,
			       io->nr_iov, offset);
}

static void transfer_done(struct io_op *op, int result)
{
	struct block_io *io = container_of(op, struct block_io, loop_op);
	struct file_provider *file =
		container_of(io->queue->provider, struct file_provider, base);

	if (result == -EINTR || result == -EAGAIN) {
		transfer_start(file, io);
		return;
	}
	/* Part of a block is done again, so that what is left is aligned. */
	if (result > 0)
		result -= result % (int)unit_bytes(file);
	/* Nothing moved: the image has been cut short behind our back. */
	if (result <= 0) {
		transfer_end(io, result ? result : -EIO);
		return;
	}
	io->done_bytes += (uint64_t)result;
	if (io->done_bytes == io->length_bytes) {
		transfer_end(io, 0);
		return;
	}
	iov_advance(io, (size_t)result);
	transfer_start(file, io);
}

/* Nothing is in its way. */
static void transfer_begin(struct file_provider *file, struct block_io *io)
{
	if (file->direct && !file_blocks_are_sectors(&file->blocks) &&
	    !file_blocks_fit(&file->blocks, io)) {
		file_blocks_start(&file->blocks, file->fd, io, transfer_end);
		return;
	}
	io->loop_op.done = transfer_done;
	transfer_start(file, io);
}

static void transfer_submit(struct file_provider *file, struct block_io *io)
{
	if (io->op == BLOCK_OP_READ || !has_blocks(file) ||
	    file_ranges_enter(&file->blocks.ranges, io))
		transfer_begin(file, io);
}

static void flush_done(struct io_op *op, int result)
{
	struct block_io *io = container_of(op, struct block_io, loop_op);
	struct file_provider *file =
		container_of(io->queue->provider, struct file_provider, base);

	/* Through the page cache, any error may be that of a write. */
	if (!file->direct && block_flush_untried(result))
		result = -EIO;
	file_flush_leave(&file->flush, result,
			 result < 0 && !block_flush_untried(result));
	block_io_complete(io, result);
}

static void flush_begin(struct file_provider *file, struct block_io *io)
{
	io->loop_op.done = flush_done;
	if (file->in_memory)
		flush_done(&io->loop_op, fdatasync(file->fd) < 0 ? -errno : 0);
	else
		io_loop_fdatasync(io->queue->loop, &io->loop_op, file->fd);
}

static void flush_submit(struct file_provider *file, struct block_io *io)
{
	int rc = file_flush_enter(&file->flush, io);

	if (rc < 0)
		block_io_complete(io, rc);
	if (rc > 0)
		flush_begin(file, io);
}

/* ---- discard -------------------------------------------------------- */

/* Of a file, a hole. */
#define DISCARD_MODE (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

/* The next one.  False when all is done. */
static bool discard_step(const struct file_provider *file,
			 const struct block_io *io, uint64_t *ret_offset,
			 uint64_t *ret_length)
{
	if (!block_discard_range(io, file->base.info.discard_granularity_bytes,
				 ret_offset, ret_length) ||
	    io->done_bytes >= *ret_length)
		return false;
	*ret_offset += io->done_bytes;
	*ret_length -= io->done_bytes;
	if (*ret_length > FILE_DISCARD_BYTES_MAX)
		*ret_length = FILE_DISCARD_BYTES_MAX;
	return true;
}

static void discard_next(struct file_provider *file, struct block_io *io);

static void discard_done(struct io_op *op, int result)
{
	struct block_io *io = container_of(op, struct block_io, loop_op);
	struct file_provider *file =
		container_of(io->queue->provider, struct file_provider, base);
	uint64_t offset, length;

	if (result < 0 && result != -EINTR && result != -EAGAIN) {
		block_io_complete(io, result);
		return;
	}
	if (result == 0 && discard_step(file, io, &offset, &length)) {
		file_map_punched(&file->map, offset, length);
		io->done_bytes += length;
	}
	discard_next(file, io);
}

static void discard_next(struct file_provider *file, struct block_io *io)
{
	uint64_t offset, length;

	if (__atomic_load_n(&file_queue_of(io->queue)->abandoned,
			    __ATOMIC_RELAXED)) {
		block_io_complete(io, -ECANCELED);
		return;
	}
	if (!discard_step(file, io, &offset, &length)) {
		block_io_complete(io, 0);
		return;
	}
	/* Not to be filled by reads meanwhile. */
	file_map_punched(&file->map, offset, length);
	io->loop_op.done = discard_done;
	io_loop_fallocate(io->queue->loop, &io->loop_op, file->fd, DISCARD_MODE,
			  offset, length);
}

/*
 * Of a device, fallocate(2) asks for zeroes (WRITE ZEROES), which may take as long
 * as writing them, and need not give anything back.
 */
static void discard_submit(struct file_provider *file, struct block_io *io)
{
	int rc;

	if (file->base.info.identity.kind != BLOCK_IDENTITY_DEVICE) {
		discard_next(file, io);
		return;
	}
	rc = file_discard_start(&file->discard, io);
	if (rc < 0)
		block_io_complete(io, rc);
}

static void file_submit(struct block_queue *queue, struct block_io *io)
{
	struct file_provider *file =
		container_of(queue->provider, struct file_provider, base);

	if (io->op == BLOCK_OP_FLUSH) {
		flush_submit(file, io);
		return;
	}
	if (io->op == BLOCK_OP_DISCARD) {
		discard_submit(file, io);
		return;
	}
	transfer_submit(file, io);
}

/* By the mailbox. */
static void file_delivered(struct block_io *io)
{
	struct file_provider *file =
		container_of(io->queue->provider, struct file_provider, base);

	if (io->op == BLOCK_OP_WRITE)
		transfer_begin(file, io);
	else if (io->op == BLOCK_OP_FLUSH &&
		 file_flush_delivered(&file->flush, io))
		flush_begin(file, io);
	else
		block_io_complete(io, io->error);
}

static int file_queue_open(struct block_provider *provider,
			   struct io_loop *loop, struct block_queue **ret_queue)
{
	struct file_queue *queue = calloc(1, sizeof(*queue));
	int rc;

	(void)provider;
	if (!queue)
		return -ENOMEM;
	rc = mailbox_init(&queue->mailbox, loop, file_delivered);
	if (rc < 0) {
		free(queue);
		return rc;
	}
	*ret_queue = &queue->base;
	return 0;
}

static void file_queue_close(struct block_queue *base)
{
	struct file_queue *queue = file_queue_of(base);

	mailbox_fini(&queue->mailbox);
	free(queue);
}

/* A discard of much may take minutes, and is a hint. */
static void file_abandon(struct block_queue *queue)
{
	__atomic_store_n(&file_queue_of(queue)->abandoned, true,
			 __ATOMIC_RELAXED);
}

const struct block_provider_ops file_provider_ops = {
	.name = "file",
	.has_path = true,
	.open = file_open,
	.size = file_size,
	.fence = file_fence,
	.unfence = file_unfence,
	.close = file_close,
	.queue_open = file_queue_open,
	.queue_close = file_queue_close,
	.submit = file_submit,
	.abandon = file_abandon,
};
