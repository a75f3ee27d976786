/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same loads as ring-bench.c's, through a vhost-user-blk server, for
 * engine.sh beside it:
 *
 *   vhost-bench SOCKET SERVER-PID MEBIBYTES BLOCK-BYTES DEPTH SECONDS
 *               [FEATURE...]
 *
 * Random reads of a disk of that size; prints the line of meter.h.  FEATURE is
 * write, pattern, zero, syscalls, as for ring-bench.
 *
 * One queue, the event index (the server is told when to notify, and tells when
 * to be), no indirect descriptors, which save a server nothing here.
 *
 * Sources: docs/interop/vhost-user of QEMU; Virtual I/O Device Version 1.1, 2.6
 * and 5.2.
 */
#include "tests/bench/meter.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEPTH_MAX 256u
/* Each I/O has three descriptors: header, data, status. */
#define PARTS 3u
#define RING_SIZE 1024u
#define WARM_UP_MS 300u
#define WAIT_MS 10000
#define PAGE_BYTES 4096u
#define RING_BYTES (64u * 1024)
#define SECTOR_BYTES 512u

enum vhost_user_request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
};

#define VERSION 1u
#define F_PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define F_WANTED                             \
	(UINT64_C(1) << VIRTIO_F_VERSION_1 | \
	 UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX | F_PROTOCOL_FEATURES)

struct region_table {
	uint32_t nr, padding;
	uint64_t guest_address, bytes, user_address, mmap_offset;
};

struct vring_place {
	uint32_t index, flags;
	uint64_t desc, used, avail, log;
};

struct message {
	uint32_t request, flags, bytes;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct region_table regions;
		struct vring_place place;
	};
} __attribute__((packed));

/* Of an I/O, in the memory that is shared. */
struct head {
	struct virtio_blk_outhdr header;
	uint8_t status;
};

struct slot {
	uint64_t start_ns, offset;
};

static unsigned int block_bytes, depth;
static uint64_t nr_blocks, run_ms, seed = 88172645463325252, nr_notifies;
static bool writes, pattern, zero;
static int sock, kick_fd, call_fd;
static char *memory; /* the ring, the heads, the data */
static size_t memory_bytes;
static struct head *heads;
static char *data;
static struct vring vring;
static uint16_t used_taken, avail_kicked;
static struct slot slots[DEPTH_MAX];
static struct meter meter;
static unsigned int in_flight;

static void __attribute__((noreturn)) die(const char *what)
{
	fprintf(stderr, "vhost-bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- vhost-user ------------------------------------------------------- */

/* payload_bytes of *message go out, and a descriptor unless it is -1. */
static void tell(struct message *message, uint32_t request,
		 uint32_t payload_bytes, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { message, 12 + payload_bytes };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	message->request = request;
	message->flags = VERSION;
	message->bytes = payload_bytes;
	if (fd >= 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control.bytes);
	}
	if (sendmsg(sock, &msg, 0) != (ssize_t)iov.iov_len)
		die("vhost-user");
}

static void tell_u64(uint32_t request, uint64_t value, int fd)
{
	struct message message = { .u64 = value };

	tell(&message, request, sizeof(message.u64), fd);
}

static void tell_state(uint32_t request, uint32_t num)
{
	struct message message = { .state = { 0, num } };

	tell(&message, request, sizeof(message.state), -1);
}

static uint64_t ask_u64(uint32_t request)
{
	struct message message;
	size_t bytes = 12 + sizeof(message.u64);

	tell(&message, request, 0, -1);
	if (recv(sock, &message, bytes, MSG_WAITALL) != (ssize_t)bytes ||
	    message.request != request)
		die("the server's answer");
	return message.u64;
}

static void share_memory(void)
{
	int fd = memfd_create("vhost-bench", MFD_CLOEXEC);
	struct message message = { 0 };

	memory_bytes = RING_BYTES + DEPTH_MAX * sizeof(*heads);
	memory_bytes =
		(memory_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
	memory_bytes += (size_t)depth * block_bytes;
	if (fd < 0 || ftruncate(fd, (off_t)memory_bytes) < 0)
		die("memory");
	memory = mmap(NULL, memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		      fd, 0);
	if (memory == MAP_FAILED)
		die("memory");
	heads = (struct head *)(void *)(memory + RING_BYTES);
	data = memory + memory_bytes - (size_t)depth * block_bytes;
	message.regions = (struct region_table){
		.nr = 1,
		.bytes = memory_bytes,
		.user_address = (uintptr_t)memory,
	};
	tell(&message, SET_MEM_TABLE, sizeof(message.regions), fd);
	close(fd);
}

static void connect_server(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct message message = { 0 };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	kick_fd = eventfd(0, EFD_CLOEXEC);
	call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sock < 0 || kick_fd < 0 || call_fd < 0 ||
	    connect(sock, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(path);
	if ((ask_u64(GET_FEATURES) & F_WANTED) != F_WANTED)
		die("the server's features");
	tell(&message, SET_OWNER, 0, -1);
	/* None of them is needed. */
	ask_u64(GET_PROTOCOL_FEATURES);
	tell_u64(SET_PROTOCOL_FEATURES, 0, -1);
	tell_u64(SET_FEATURES, F_WANTED, -1);
	share_memory();
	vring_init(&vring, RING_SIZE, memory, PAGE_BYTES);
	tell_state(SET_VRING_NUM, RING_SIZE);
	tell_state(SET_VRING_BASE, 0);
	message.place = (struct vring_place){
		.desc = (uintptr_t)vring.desc,
		.used = (uintptr_t)vring.used,
		.avail = (uintptr_t)vring.avail,
	};
	tell(&message, SET_VRING_ADDR, sizeof(message.place), -1);
	tell_u64(SET_VRING_CALL, 0, call_fd);
	tell_u64(SET_VRING_KICK, 0, kick_fd);
	tell_state(SET_VRING_ENABLE, 1);
}

/* ---- the ring --------------------------------------------------------- */

/* The server sees the memory from address 0 on. */
static uint64_t seen_at(const void *p)
{
	return (uint64_t)((const char *)p - memory);
}

static void lay_descriptors(unsigned int i)
{
	struct vring_desc *desc = &vring.desc[(size_t)i * PARTS];
	uint16_t first = (uint16_t)(i * PARTS);

	desc[0] =
		(struct vring_desc){ seen_at(&heads[i].header),
				     sizeof(heads[i].header), VRING_DESC_F_NEXT,
				     (uint16_t)(first + 1) };
	desc[1] = (struct vring_desc){
		seen_at(data + (size_t)i * block_bytes), block_bytes,
		(uint16_t)(VRING_DESC_F_NEXT |
			   (writes ? 0 : VRING_DESC_F_WRITE)),
		(uint16_t)(first + 2)
	};
	desc[2] = (struct vring_desc){ seen_at(&heads[i].status), 1,
				       VRING_DESC_F_WRITE, 0 };
}

static void submit(unsigned int i)
{
	uint16_t at = vring.avail->idx;
	struct slot *slot = &slots[i];
	char *bytes = data + (size_t)i * block_bytes;

	slot->offset = meter_random(&seed) % nr_blocks * block_bytes;
	if (writes && pattern)
		meter_pattern_fill(bytes, slot->offset, block_bytes);
	else if (pattern || zero)
		meter_spoil(bytes, block_bytes);
	slot->start_ns = meter_now_ns();
	heads[i].header = (struct virtio_blk_outhdr){
		.type = writes ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN,
		.sector = slot->offset / SECTOR_BYTES,
	};
	heads[i].status = 0xff;
	vring.avail->ring[at % RING_SIZE] = (uint16_t)(i * PARTS);
	__atomic_store_n(&vring.avail->idx, (uint16_t)(at + 1),
			 __ATOMIC_RELEASE);
}

static void kick(void)
{
	uint16_t old = avail_kicked, event;

	/* Pairs with the server's barrier between avail_event and idx. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	avail_kicked = vring.avail->idx;
	event = __atomic_load_n(&vring_avail_event(&vring), __ATOMIC_RELAXED);
	if (vring_need_event(event, avail_kicked, old) &&
	    write(kick_fd, &(uint64_t){ 1 }, 8) != 8)
		die("kick");
}

static void done(unsigned int i)
{
	const char *bytes = data + (size_t)i * block_bytes;

	if (heads[i].status != VIRTIO_BLK_S_OK)
		die("an I/O fails");
	meter_io(&meter, slots[i].start_ns);
	if (writes)
		return;
	if ((zero && !meter_is_zero(bytes, block_bytes)) ||
	    (pattern &&
	     !meter_pattern_holds(bytes, slots[i].offset, block_bytes)))
		die("wrong bytes were read");
}

static uint16_t nr_used(void)
{
	return __atomic_load_n(&vring.used->idx, __ATOMIC_ACQUIRE);
}

static void wait_call(void)
{
	struct pollfd p = { call_fd, POLLIN, 0 };
	uint64_t nr;

	if (poll(&p, 1, WAIT_MS) != 1)
		die("no response");
	if (read(call_fd, &nr, sizeof(nr)) == sizeof(nr))
		nr_notifies += nr;
}

/* What is done, then the request for an event; false: nothing in flight. */
static bool serve_once(bool go_on)
{
	unsigned int batch = meter_batch(depth), nr = 0;

	do {
		while (used_taken != nr_used()) {
			unsigned int i =
				vring.used->ring[used_taken++ % RING_SIZE].id /
				PARTS;

			done(i);
			if (go_on)
				submit(i);
			else
				in_flight--;
			if (++nr % batch == 0)
				kick();
		}
		__atomic_store_n(&vring_used_event(&vring), used_taken,
				 __ATOMIC_RELAXED);
		/* Pairs with the server's barrier before it reads this. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (used_taken != nr_used());
	if (nr % batch)
		kick();
	if (!nr && in_flight)
		wait_call();
	return in_flight != 0;
}

static void serve_for(uint64_t ms)
{
	uint64_t until = meter_now_ns() + ms * 1000000;

	while (meter_now_ns() < until)
		serve_once(true);
}

static void measure(void)
{
	for (unsigned int i = 0; i < depth; i++) {
		lay_descriptors(i);
		submit(i);
		in_flight++;
	}
	kick();
	serve_for(WARM_UP_MS);
	meter_start(&meter, nr_notifies);
	serve_for(run_ms);
	meter_print(&meter, nr_notifies);
	while (serve_once(false))
		;
}

int main(int argc, char **argv)
{
	uint64_t disk_bytes;

	if (argc < 7) {
		fprintf(stderr,
			"usage: vhost-bench SOCKET SERVER-PID MEBIBYTES "
			"BLOCK-BYTES DEPTH SECONDS [FEATURE...]\n");
		return 2;
	}
	meter.servers[0] = atoi(argv[2]);
	meter.nr_servers = 1;
	disk_bytes = (uint64_t)atoll(argv[3]) << 20;
	block_bytes = (unsigned int)atoi(argv[4]);
	depth = (unsigned int)atoi(argv[5]);
	run_ms = (uint64_t)atoi(argv[6]) * 1000;
	for (int i = 7; i < argc; i++) {
		writes |= !strcmp(argv[i], "write");
		pattern |= !strcmp(argv[i], "pattern");
		zero |= !strcmp(argv[i], "zero");
		meter.count_syscalls |= !strcmp(argv[i], "syscalls");
	}
	nr_blocks = block_bytes ? disk_bytes / block_bytes : 0;
	if (!nr_blocks || !depth || depth > DEPTH_MAX ||
	    block_bytes % SECTOR_BYTES || !run_ms) {
		fprintf(stderr, "vhost-bench: a number is out of range\n");
		return 2;
	}
	connect_server(argv[1]);
	measure();
	return 0;
}
