/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NBD server that breaks the protocol on purpose, in one way a run:
 *
 *   nbd-hostile-server SOCKET FAULT [NR]
 *
 * Only the first NR connections get to see the fault (all, if not given); the
 * others, and everything before the fault, are served as the protocol has it.
 * Its disk has 1 MiB, in which each sector is full of its own number; writes
 * are acknowledged and forgotten.
 */
#include "tests/unit/nbd/server-wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DISK_BYTES (UINT64_C(1) << 20)
#define OPTION_REPLY_MAGIC UINT64_C(0x3e889045565a9)
#define SIMPLE_MAGIC 0x67446698u
#define STRUCTURED_MAGIC 0x668e33efu
#define FLAGS (1 | 4 | 8 | 32) /* has flags, flush, FUA, trim */

enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_GO = 7, OPT_STRUCTURED = 8 };
enum { REP_ACK = 1, REP_INFO = 3 };
enum { INFO_EXPORT = 0, INFO_NAME = 1, INFO_BLOCK_SIZE = 3 };
enum { CMD_READ = 0, CMD_WRITE = 1, CMD_DISC = 2, CMD_FLUSH = 3 };
enum { ERROR_IO = 5, ERROR_NOT_SUPPORTED = 95, ERROR_SHUTDOWN = 108 };
enum { CHUNK_NONE = 0, CHUNK_DATA = 1, CHUNK_HOLE = 2, CHUNK_ERROR = 32769 };

static const char *fault;
static bool structured;

static bool is(const char *name)
{
	return strcmp(fault, name) == 0;
}

/* Says nothing more, until the other side closes its end. */
static void be_silent(void)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		;
	_exit(0);
}

/* ---- negotiation ---------------------------------------------------- */

static void option_reply(uint32_t option, uint32_t type, uint32_t nr_bytes)
{
	put64(is("option-magic") ? 1 : OPTION_REPLY_MAGIC);
	put32(is("other-option") ? option + 1 : option);
	put32(type);
	put32(is("option-length") ? UINT32_MAX : nr_bytes);
}

static const struct {
	const char *name;
	uint64_t bytes;
} sizes[] = {
	{ "size-0", 0 },
	{ "size-100", 100 },
	{ "size-2^63", UINT64_C(1) << 63 },
	{ "size-max", UINT64_MAX },
	{ "size-2^63-1", INT64_MAX },
};

static uint64_t disk_bytes(void)
{
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (is(sizes[i].name))
			return sizes[i].bytes;
	}
	return DISK_BYTES;
}

static const struct {
	const char *name;
	uint32_t minimum, preferred, maximum;
} blocks[] = {
	{ "blocks-0", 0, 0, 0 },
	{ "blocks-3", 3, 4096, 1 << 20 },
	{ "blocks-2^31", UINT32_C(1) << 31, UINT32_C(1) << 31, UINT32_MAX },
	{ "blocks-inverted", 65536, 4096, 512 },
	{ "blocks-max", UINT32_MAX, UINT32_MAX, UINT32_MAX },
};

static void send_block_sizes(void)
{
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
		if (!is(blocks[i].name))
			continue;
		option_reply(OPT_GO, REP_INFO, 14);
		put16(INFO_BLOCK_SIZE);
		put32(blocks[i].minimum);
		put32(blocks[i].preferred);
		put32(blocks[i].maximum);
	}
}

/* As fast as they are taken, or one now and then. */
static void send_names_for_ever(void)
{
	for (;;) {
		option_reply(OPT_GO, REP_INFO, 6);
		put16(INFO_NAME);
		put("name", 4);
		if (is("slow-names"))
			usleep(50000);
	}
}

static void option_go(void)
{
	static const char reason[] = "not on a Sunday";

	if (is("silent-go"))
		be_silent();
	if (is("names") || is("slow-names"))
		send_names_for_ever();
	if (is("policy")) {
		option_reply(OPT_GO, UINT32_C(1) << 31 | 2, sizeof(reason) - 1);
		put(reason, sizeof(reason) - 1);
		return;
	}
	if (is("option-type")) {
		option_reply(OPT_GO, 77, 0);
		return;
	}
	send_block_sizes();
	if (!is("no-export-info")) {
		option_reply(OPT_GO, REP_INFO, 12);
		put16(INFO_EXPORT);
		put64(disk_bytes());
		put16(is("no-flags") ? 0 : FLAGS);
	}
	if (is("silent-ack"))
		be_silent();
	option_reply(OPT_GO, REP_ACK, 0);
}

static void greet(void)
{
	if (is("silent"))
		be_silent();
	if (is("closes"))
		_exit(0);
	if (is("text")) {
		put("HTTP/1.0 400 Bad Request\r\n\r\n", 28);
		be_silent();
	}
	if (is("half-greeting")) {
		put("NBDMAG", 6);
		_exit(0);
	}
	put("NBDMAGIC", 8);
	put(is("version") ? "IHAVENOT" : "IHAVEOPT", 8);
	if (is("silent-flags"))
		be_silent();
	put16(3); /* fixed newstyle, no zeroes */
	get32();
}

static void negotiate(void)
{
	static char discarded[65536];

	greet();
	for (;;) {
		uint64_t magic = get64();
		uint32_t option = get32(), length = get32();

		(void)magic;
		if (length > sizeof(discarded))
			_exit(1);
		get(discarded, length);
		if (is("silent-option"))
			be_silent();
		if (option == OPT_STRUCTURED) {
			structured = !is("structured-unasked");
			option_reply(option,
				     structured ? REP_ACK
						: UINT32_C(1) << 31 | 1,
				     0);
		} else if (option == OPT_GO) {
			option_go();
			if (!is("policy") && !is("option-type"))
				return;
		} else if (option == OPT_ABORT) {
			_exit(0);
		} else {
			option_reply(option, UINT32_C(1) << 31 | 1, 0);
		}
	}
}

/* ---- requests ------------------------------------------------------- */

struct request {
	uint16_t type;
	uint64_t cookie, offset;
	uint32_t length;
};

static void simple(uint64_t cookie, uint32_t error)
{
	put32(SIMPLE_MAGIC);
	put32(error);
	put64(cookie);
}

static void chunk(uint16_t flags, uint16_t type, uint64_t cookie,
		  uint32_t length)
{
	put32(STRUCTURED_MAGIC);
	put16(flags);
	put16(type);
	put64(cookie);
	put32(length);
}

static void put_data(uint64_t offset, uint32_t length)
{
	static unsigned char sector[512];

	for (; length; length -= 512, offset += 512) {
		memset(sector, (int)(offset / 512), sizeof(sector));
		put(sector, sizeof(sector));
	}
}

static void data_chunk(uint16_t flags, const struct request *r, uint64_t offset,
		       uint32_t length)
{
	chunk(flags, CHUNK_DATA, r->cookie, length + 8);
	put64(offset);
	put_data(offset, length);
}

static void error_chunk(uint16_t flags, const struct request *r, uint32_t error)
{
	chunk(flags, CHUNK_ERROR, r->cookie, 6);
	put32(error);
	put16(0);
}

/* Many at a time, so that whoever reads them always finds one. */
static void endless_errors(const struct request *r)
{
	static struct {
		uint32_t magic;
		uint16_t flags, type;
		uint64_t cookie;
		uint32_t length, error;
		uint16_t text;
	} __attribute__((packed)) chunks[4096];

	for (unsigned int i = 0; i < 4096; i++) {
		chunks[i].magic = htobe32(STRUCTURED_MAGIC);
		chunks[i].type = htobe16(CHUNK_ERROR);
		chunks[i].cookie = htobe64(r->cookie);
		chunks[i].length = htobe32(6);
		chunks[i].error = htobe32(ERROR_IO);
	}
	for (;;)
		put(chunks, sizeof(chunks));
}

static void reply(const struct request *r)
{
	if (r->type == CMD_READ && structured) {
		data_chunk(1, r, r->offset, r->length);
		return;
	}
	simple(r->cookie, 0);
	if (r->type == CMD_READ)
		put_data(r->offset, r->length);
}

/* Whatever it is asked for. */
static void refuse(const struct request *r)
{
	if (structured && r->type == CMD_READ)
		error_chunk(1, r, ERROR_NOT_SUPPORTED);
	else
		simple(r->cookie, ERROR_NOT_SUPPORTED);
}

/* In place of a reply to a read: true when the fault was one of these. */
static bool bad_framing(const struct request *r)
{
	if (is("reply-magic")) {
		put32(0xdeadbeef);
		put64(r->cookie);
		put32(0);
	} else if (is("unknown-cookie")) {
		simple(r->cookie + 1000, 0);
	} else if (is("twice")) {
		reply(r);
		reply(r);
	} else if (is("truncated")) {
		chunk(1, CHUNK_DATA, r->cookie, r->length + 8);
		put64(r->offset);
		put_data(r->offset, 512);
		_exit(0);
	} else if (is("truncated-header")) {
		put32(STRUCTURED_MAGIC);
		_exit(0);
	} else if (is("silent-reply")) {
		be_silent();
	} else if (is("half-reply")) {
		put32(STRUCTURED_MAGIC);
		be_silent();
	} else if (is("shutdown")) {
		error_chunk(0, r, ERROR_IO);
		chunk(1, CHUNK_NONE, r->cookie, 0);
	} else if (is("eshutdown")) {
		error_chunk(1, r, ERROR_SHUTDOWN);
	} else if (is("simple")) {
		simple(r->cookie, 0);
		put_data(r->offset, r->length);
	} else if (is("structured-unasked")) {
		data_chunk(1, r, r->offset, r->length);
	} else {
		return false;
	}
	return true;
}

static bool bad_chunks(const struct request *r)
{
	if (is("too-much")) {
		data_chunk(1, r, r->offset, r->length + 512);
	} else if (is("huge-chunk")) {
		chunk(1, CHUNK_DATA, r->cookie, UINT32_MAX);
		put64(r->offset);
	} else if (is("outside")) {
		data_chunk(1, r, r->offset + r->length, 512);
	} else if (is("tiny-chunk")) {
		chunk(1, CHUNK_DATA, r->cookie, 4);
		put32(0);
	} else if (is("chunk-type")) {
		chunk(1, 1234, r->cookie, 0);
	} else if (is("block-status")) {
		chunk(1, 5, r->cookie, 12);
		put64(0);
		put32(0);
	} else if (is("no-data")) {
		chunk(1, CHUNK_NONE, r->cookie, 0);
	} else if (is("less-data")) {
		data_chunk(1, r, r->offset, r->length - 512);
	} else if (is("twice-the-same")) {
		data_chunk(0, r, r->offset, r->length);
		data_chunk(1, r, r->offset, r->length);
	} else if (is("endless-data")) {
		for (;;)
			data_chunk(0, r, r->offset, r->length);
	} else if (is("endless-holes")) {
		for (;;) {
			chunk(0, CHUNK_HOLE, r->cookie, 12);
			put64(r->offset);
			put32(0);
		}
	} else if (is("slow-errors")) {
		for (;;) {
			error_chunk(0, r, ERROR_IO);
			usleep(20000);
		}
	} else {
		return false;
	}
	return true;
}

/* Legal: requests wait for a while, and are replied to from the last. */
static void reply_reordered(const struct request *first)
{
	static struct request waiting[256];
	unsigned int nr = 0;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	waiting[nr++] = *first;
	while (nr < 256 && poll(&pfd, 1, 20) > 0) {
		struct request *r = &waiting[nr++];

		get32();
		r->type = (uint16_t)get32();
		r->cookie = get64();
		r->offset = get64();
		r->length = get32();
	}
	while (nr)
		reply(&waiting[--nr]);
}

static void serve(void)
{
	static char discarded[1 << 20];

	for (;;) {
		struct request r;

		get32();
		r.type = (uint16_t)get32(); /* the flags are above it */
		r.cookie = get64();
		r.offset = get64();
		r.length = get32();
		if (is("endless-end") &&
		    (r.type == CMD_DISC || r.type == CMD_FLUSH))
			endless_errors(&r);
		if (r.type == CMD_DISC)
			_exit(0);
		if (r.type == CMD_WRITE)
			get(discarded, r.length);
		if (is("unsupported"))
			refuse(&r);
		else if (r.type == CMD_READ && is("reordered"))
			reply_reordered(&r);
		else if (r.type != CMD_READ ||
			 (!bad_framing(&r) && !bad_chunks(&r)))
			reply(&r);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM, 0);
	unsigned int nr_bad, nr = 0;

	if (argc < 3 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	strcpy(address.sun_path, argv[1]);
	nr_bad = argc > 3 ? (unsigned int)atoi(argv[3]) : UINT32_MAX;
	if (bind(listening, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listening, 16) < 0)
		return 1;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		fd = accept(listening, NULL, NULL);
		if (fd < 0)
			continue;
		fault = nr++ < nr_bad ? argv[2] : "none";
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listening);
			negotiate();
			serve();
		}
		close(fd);
	}
}
