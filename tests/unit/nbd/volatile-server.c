/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NBD server with a cache that it may lose, and with bad timing, in one way
 * a run:
 *
 *   nbd-volatile-server SOCKET FAULT
 *
 *   flush-fails  the first flush takes a while, loses what is in the cache and
 *                says so, once
 *   flush-dies   the same, and then the connection goes, with what came behind
 *                the flush unanswered
 *   late-flush   the first flush takes longer than it is waited for, and then
 *                loses what is in the cache
 *   late-write   the same with the first write, which then lands
 *   nonsense     the first write is replied to with nonsense at once, and lands
 *                later
 *   few          takes one connection at a time, over a slow line, though it
 *                says that it takes several
 *   blocks       has blocks of 4096 bytes, answers the first flush when it has
 *                carried out FLUSH_BEHIND more commands, and loses at the second
 *                what is in the cache, and the connection
 *
 *   none
 *
 * All else is as the protocol has it.  The disk has 4 MiB, zeroes at first.  A
 * process each connection; the disk is in memory that they share.
 */
#include "tests/unit/nbd/server-wire.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DISK_BYTES (UINT64_C(4) << 20)
#define OPTION_REPLY_MAGIC UINT64_C(0x3e889045565a9)
#define LATE_US 2500000u
#define FLUSH_BEHIND 16u

enum { OPT_ABORT = 2, OPT_GO = 7 };
enum { REP_ACK = 1, REP_INFO = 3 };
#define REP_UNSUPPORTED 0x80000001u
enum { CMD_READ = 0, CMD_WRITE = 1, CMD_DISC = 2, CMD_FLUSH = 3 };
/* Has flags, flush, FUA; several connections. */
enum { FLAGS = 1 | 4 | 8, FLAG_MULTI_CONN = 256 };

static struct shared {
	bool faulted; /* the fault has been seen */
	unsigned int nr_flushes; /* of "blocks" */
	unsigned char durable[DISK_BYTES], cache[DISK_BYTES];
} * disk;
static const char *fault;
/* A flush that is still to be answered, when so many commands have been. */
static uint64_t late_flush;
static unsigned int late_flush_in;

static bool is(const char *name)
{
	return strcmp(fault, name) == 0;
}

static bool once(const char *name)
{
	return is(name) &&
	       !__atomic_exchange_n(&disk->faulted, true, __ATOMIC_ACQ_REL);
}

static void slow_line(void)
{
	if (is("few"))
		usleep(100000);
}

static void option_reply(uint32_t option, uint32_t type, uint32_t length)
{
	put64(OPTION_REPLY_MAGIC);
	put32(option);
	put32(type);
	put32(length);
}

static void negotiate(void)
{
	static char discarded[65536];
	uint32_t option, length;

	slow_line();
	put("NBDMAGICIHAVEOPT", 16);
	put16(3); /* fixed newstyle, no zeroes */
	get32();
	for (;;) {
		get64();
		option = get32();
		length = get32();
		if (length > sizeof(discarded) || option == OPT_ABORT)
			_exit(0);
		get(discarded, length);
		slow_line();
		if (option == OPT_GO)
			break;
		option_reply(option, REP_UNSUPPORTED, 0);
	}
	option_reply(option, REP_INFO, 12);
	put16(0); /* NBD_INFO_EXPORT */
	put64(DISK_BYTES);
	put16(FLAGS | (is("few") ? FLAG_MULTI_CONN : 0));
	if (is("blocks")) {
		option_reply(option, REP_INFO, 14);
		put16(3); /* NBD_INFO_BLOCK_SIZE: least, preferred, most */
		put32(4096);
		put32(4096);
		put32(DISK_BYTES);
	}
	option_reply(option, REP_ACK, 0);
}

static void reply(uint64_t cookie, uint32_t error)
{
	put32(0x67446698);
	put32(error);
	put64(cookie);
}

/* Whoever asks is not waited for to read the reply. */
static void too_late(void)
{
	usleep(LATE_US);
}

/* The first flush of "blocks" is durable at once, and answered later. */
static void flush_blocks(uint64_t cookie)
{
	if (disk->nr_flushes++ == 1) {
		memcpy(disk->cache, disk->durable, DISK_BYTES);
		_exit(0);
	}
	memcpy(disk->durable, disk->cache, DISK_BYTES);
	if (disk->nr_flushes > 1) {
		reply(cookie, 0);
		return;
	}
	late_flush = cookie;
	late_flush_in = FLUSH_BEHIND;
}

static void flush(uint64_t cookie)
{
	bool dies = once("flush-dies");

	if (is("blocks")) {
		flush_blocks(cookie);
		return;
	}
	if (dies || once("flush-fails")) {
		usleep(100000);
		memcpy(disk->cache, disk->durable, DISK_BYTES);
		reply(cookie, 5); /* EIO */
		if (!dies)
			return;
		usleep(100000);
		_exit(0);
	}
	if (once("late-flush")) {
		too_late();
		memcpy(disk->cache, disk->durable, DISK_BYTES);
		_exit(0);
	}
	memcpy(disk->durable, disk->cache, DISK_BYTES);
	reply(cookie, 0);
}

static void serve_one(void)
{
	static unsigned char data[DISK_BYTES];
	uint64_t cookie, offset;
	uint32_t type, length;

	get32();
	type = get32() & 0xffff; /* the flags are above it */
	cookie = get64();
	offset = get64();
	length = get32();
	if (type == CMD_DISC || offset > DISK_BYTES ||
	    length > DISK_BYTES - offset)
		_exit(0);
	if (type == CMD_FLUSH) {
		flush(cookie);
	} else if (type == CMD_READ) {
		reply(cookie, 0);
		put(disk->cache + offset, length);
	} else {
		bool nonsense = once("nonsense");

		get(data, length);
		/* As much as a reply's head has, or it would be waited for. */
		if (nonsense)
			put("there is no magic", 16);
		if (nonsense || once("late-write")) {
			too_late();
			memcpy(disk->cache + offset, data, length);
			_exit(0);
		}
		memcpy(disk->cache + offset, data, length);
		reply(cookie, 0);
	}
}

static void answer_late_flush(void)
{
	if (late_flush_in && !--late_flush_in)
		reply(late_flush, 0);
}

/* The one that is served, when there may be just one. */
static bool is_taken(pid_t other)
{
	return is("few") && other && waitpid(other, NULL, WNOHANG) == 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t child = 0;

	if (argc != 3 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	fault = argv[2];
	strcpy(address.sun_path, argv[1]);
	disk = mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (disk == MAP_FAILED ||
	    bind(listening, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listening, 16) < 0)
		return 1;
	for (;;) {
		fd = accept(listening, NULL, NULL);
		if (fd >= 0 && !is_taken(child)) {
			child = fork();
			if (child == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				close(listening);
				negotiate();
				for (;;) {
					serve_one();
					answer_late_flush();
				}
			}
		}
		close(fd);
		while (!is("few") && waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
