/* SPDX-License-Identifier: BSD-2-Clause */
/* A server of the FUSE protocol (linux/fuse.h) for one file. */
#include "tests/sim/slow-file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/sim/host-process.h"

#define WRITE_BYTES_MAX (128u << 10)
/* Room for what is in front of a write's data. */
#define MESSAGE_BYTES (WRITE_BYTES_MAX + 4096u)
#define UNDER_WAY_MAX 64u
#define BLOCK_BYTES 512u

/* Shared by the test and the server. */
struct slow_file {
	char path[96];
	uint32_t size_bytes;
	int fuse_fd;
	int go_fd; /* eventfd: let go of what is held */
	int held_fd; /* eventfd: one is held */
	bool hold_next; /* atomic */
	_Alignas(8) uint8_t message[MESSAGE_BYTES]; /* that is held */
	uint8_t bytes[];
};

struct message {
	struct fuse_in_header header;
	union {
		struct fuse_init_in init;
		struct fuse_read_in read;
		struct fuse_write_in write;
	};
};

static void signal_fd(int fd)
{
	(void)!write(fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void answer(const struct slow_file *file,
		   const struct fuse_in_header *in, int error,
		   const void *bytes, size_t nr_bytes)
{
	struct fuse_out_header out = {
		.len = (uint32_t)(sizeof(out) + nr_bytes),
		.error = error,
		.unique = in->unique,
	};
	struct iovec iov[] = { { &out, sizeof(out) },
			       { (void *)(uintptr_t)bytes, nr_bytes } };

	/* ENOENT: whoever asked is gone. */
	(void)!writev(file->fuse_fd, iov, 2);
}

static void do_init(const struct slow_file *file, const struct message *m)
{
	const struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION,
		.minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = m->init.max_readahead,
		.flags = m->init.flags &
			 (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO),
		.max_background = UNDER_WAY_MAX,
		.congestion_threshold = UNDER_WAY_MAX,
		.max_write = WRITE_BYTES_MAX,
		.time_gran = 1,
	};

	answer(file, &m->header, 0, &out, sizeof(out));
}

static void do_getattr(const struct slow_file *file, const struct message *m)
{
	const struct fuse_attr_out out = {
		.attr_valid = 3600,
		.attr = {
			.ino = FUSE_ROOT_ID,
			.size = file->size_bytes,
			.blocks = file->size_bytes / BLOCK_BYTES,
			.mode = S_IFREG | 0600,
			.nlink = 1,
			.blksize = BLOCK_BYTES,
		},
	};

	answer(file, &m->header, 0, &out, sizeof(out));
}

static bool inside(const struct slow_file *file, uint64_t offset, uint32_t size)
{
	return size <= file->size_bytes && offset <= file->size_bytes - size;
}

static void do_read(const struct slow_file *file, const struct message *m)
{
	if (inside(file, m->read.offset, m->read.size))
		answer(file, &m->header, 0, file->bytes + m->read.offset,
		       m->read.size);
	else
		answer(file, &m->header, -EIO, NULL, 0);
}

static void do_write(struct slow_file *file, const struct message *m)
{
	const struct fuse_write_out out = { .size = m->write.size };

	if (!inside(file, m->write.offset, m->write.size)) {
		answer(file, &m->header, -EFBIG, NULL, 0);
		return;
	}
	memcpy(file->bytes + m->write.offset,
	       (const uint8_t *)&m->write + sizeof(m->write), m->write.size);
	answer(file, &m->header, 0, &out, sizeof(out));
}

/* True when it is kept for later. */
static bool hold(struct slow_file *file, const struct message *m)
{
	if (!__atomic_exchange_n(&file->hold_next, false, __ATOMIC_ACQ_REL))
		return false;
	memcpy(file->message, m, m->header.len);
	signal_fd(file->held_fd);
	return true;
}

static void serve(struct slow_file *file, const struct message *m)
{
	const struct fuse_open_out opened = { .fh = 0 };

	switch (m->header.opcode) {
	case FUSE_INIT:
		do_init(file, m);
		return;
	case FUSE_GETATTR:
		do_getattr(file, m);
		return;
	case FUSE_OPEN:
		answer(file, &m->header, 0, &opened, sizeof(opened));
		return;
	case FUSE_READ:
		do_read(file, m);
		return;
	case FUSE_WRITE:
		if (!hold(file, m))
			do_write(file, m);
		return;
	case FUSE_FLUSH:
	case FUSE_FSYNC:
	case FUSE_RELEASE:
		answer(file, &m->header, 0, NULL, 0);
		return;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		return; /* these have no answer */
	default:
		answer(file, &m->header, -ENOSYS, NULL, 0);
	}
}

/* Until it is unmounted. */
static void serve_all(struct slow_file *file)
{
	static _Alignas(struct message) uint8_t bytes[MESSAGE_BYTES];
	struct pollfd fds[] = { { file->fuse_fd, POLLIN, 0 },
				{ file->go_fd, POLLIN, 0 } };
	uint64_t nr;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		poll(fds, 2, -1);
		if (fds[1].revents && read(file->go_fd, &nr, sizeof(nr)) > 0)
			do_write(file, (const void *)file->message);
		if (fds[0].revents & POLLERR)
			_exit(0);
		if (fds[0].revents &&
		    read(file->fuse_fd, bytes, sizeof(bytes)) > 0)
			serve(file, (const void *)bytes);
	}
}

const char *slow_file_missing(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return strerror(errno);
	close(fd);
	return NULL;
}

static void mount_over(const struct slow_file *file)
{
	char options[128];

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other",
		 file->fuse_fd, (unsigned int)S_IFREG | 0600);
	need(unshare(CLONE_NEWNS) == 0, "unshare: %s", strerror(errno));
	need(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0,
	     "private mounts: %s", strerror(errno));
	need(mount("slow-file", file->path, "fuse", 0, options) == 0,
	     "mount: %s", strerror(errno));
}

struct slow_file *slow_file_open(struct host *h, const char *path,
				 uint32_t size_bytes)
{
	struct slow_file *file =
		mmap(NULL, sizeof(*file) + size_bytes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(file != MAP_FAILED, "mmap: %s", strerror(errno));
	snprintf(file->path, sizeof(file->path), "%s", path);
	file->size_bytes = size_bytes;
	file->go_fd = eventfd(0, EFD_CLOEXEC);
	file->held_fd = eventfd(0, EFD_CLOEXEC);
	file->fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	need(file->fuse_fd >= 0, "/dev/fuse: %s", strerror(errno));
	mount_over(file);
	fflush(NULL);
	h->server = fork();
	need(h->server >= 0, "fork: %s", strerror(errno));
	if (h->server == 0)
		serve_all(file);
	/* It must go when the server does. */
	close(file->fuse_fd);
	return file;
}

void slow_file_close(struct host *h, struct slow_file *file)
{
	int status;

	need(umount2(file->path, MNT_DETACH) == 0, "umount: %s",
	     strerror(errno));
	need(process_wait(h->server, HOST_WAIT_MS, &status), "it is used");
	h->server = 0;
	close(file->go_fd);
	close(file->held_fd);
	munmap(file, sizeof(*file) + file->size_bytes);
}

void slow_file_hold(struct slow_file *file)
{
	__atomic_store_n(&file->hold_next, true, __ATOMIC_RELEASE);
}

void slow_file_wait_held(struct slow_file *file)
{
	struct pollfd p = { file->held_fd, POLLIN, 0 };
	uint64_t nr;

	need(poll(&p, 1, HOST_WAIT_MS) == 1 &&
		     read(file->held_fd, &nr, sizeof(nr)) > 0,
	     "no write came to be held");
}

void slow_file_let_go(struct slow_file *file)
{
	signal_fd(file->go_fd);
}
