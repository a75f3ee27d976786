/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Media with blocks larger than a sector: which writes may be in flight
 * together, parts of blocks from several queues at once on a loop device with
 * blocks of 4096 bytes, and the discards that such a device is asked for.
 */
#include "common/io-loop.h"
#include "providers/file-discard.h"
#include "providers/file-flush.h"
#include "providers/file-queue.h"
#include "providers/file-ranges.h"
#include "providers/file.h"
#include "tests/unit/loop-device.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096u
#define NR_THREADS 4u

/* ---- a provider of nothing but what is tested -------------------------- */

static struct {
	struct block_provider base;
	struct file_ranges ranges;
	struct file_discard discard;
	struct file_flush flush;
	/* Queue thread: a write or flush may start. */
	void (*started)(struct block_io *io);
} fake;

static void fake_delivered(struct block_io *io)
{
	if (io->op == BLOCK_OP_WRITE ||
	    (io->op == BLOCK_OP_FLUSH && file_flush_delivered(&fake.flush, io)))
		fake.started(io);
	else
		block_io_complete(io, io->error);
}

static int fake_queue_open(struct block_provider *provider,
			   struct io_loop *loop, struct block_queue **ret_queue)
{
	struct file_queue *queue = calloc(1, sizeof(*queue));

	(void)provider;
	*ret_queue = &queue->base;
	return mailbox_init(&queue->mailbox, loop, fake_delivered);
}

static void fake_queue_close(struct block_queue *queue)
{
	mailbox_fini(&file_queue_of(queue)->mailbox);
	free(file_queue_of(queue));
}

static void fake_flush(struct block_io *io)
{
	int rc = file_flush_enter(&fake.flush, io);

	if (rc < 0)
		block_io_complete(io, rc);
	if (rc > 0)
		fake.started(io);
}

static void fake_submit(struct block_queue *queue, struct block_io *io)
{
	(void)queue;
	if (io->op == BLOCK_OP_DISCARD)
		ck_assert_int_eq(file_discard_start(&fake.discard, io), 0);
	else if (io->op == BLOCK_OP_FLUSH)
		fake_flush(io);
	else if (file_ranges_enter(&fake.ranges, io))
		fake.started(io);
}

static const struct block_provider_ops fake_ops = {
	.name = "fake",
	.queue_open = fake_queue_open,
	.queue_close = fake_queue_close,
	.submit = fake_submit,
};

static void fake_open(uint64_t size_bytes, int fd)
{
	fake.base.ops = &fake_ops;
	fake.base.info.size_bytes = size_bytes;
	fake.base.info.can_flush = true;
	fake.base.info.discard_granularity_bytes = BLOCK;
	file_ranges_init(&fake.ranges, BLOCK);
	file_discard_init(&fake.discard, fd);
	file_flush_init(&fake.flush);
}

static void fake_close(void)
{
	file_discard_fini(&fake.discard);
	file_flush_fini(&fake.flush);
	file_ranges_fini(&fake.ranges);
}

/* ---- which writes may be in flight together --------------------------- */

static struct io_loop *loop;
static struct block_queue *queue;
static const struct block_io *last_started;

static void note_start(struct block_io *io)
{
	last_started = io;
}

static void ranges_setup(void)
{
	fake_open(1 << 20, -1);
	fake.started = note_start;
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	ck_assert_int_eq(block_queue_open(&fake.base, loop, &queue), 0);
}

static void ranges_teardown(void)
{
	block_queue_close(queue);
	io_loop_free(loop);
	fake_close();
}

static unsigned char any_data[16 * BLOCK];
static struct iovec any_iov = { any_data, 0 };

static bool starts(struct block_io *io, uint64_t sector, uint64_t nr)
{
	any_iov.iov_len = nr * 512;
	*io = (struct block_io){ .op = BLOCK_OP_WRITE,
				 .offset_bytes = sector * 512,
				 .length_bytes = nr * 512,
				 .iov = &any_iov,
				 .nr_iov = 1 };
	last_started = NULL;
	block_submit(queue, io);
	return last_started == io;
}

/* Ends a write.  Another one is started by it, or none. */
static void ends(struct block_io *io, const struct block_io *then)
{
	last_started = NULL;
	file_ranges_leave(&fake.ranges, io);
	io_loop_run(loop, then != NULL);
	ck_assert_ptr_eq(last_started, then);
}

START_TEST(parts_of_a_block_take_turns)
{
	struct block_io a, b, c, other;

	ck_assert(starts(&a, 0, 1));
	ck_assert(!starts(&b, 7, 1));
	ck_assert(!starts(&c, 7, 1));
	ck_assert(starts(&other, 8, 7));
	ends(&a, &b);
	ends(&other, NULL);
	ends(&b, &c);
	ends(&c, NULL);
}
END_TEST

START_TEST(whole_blocks_wait_for_parts)
{
	struct block_io part, whole, late, apart;

	ck_assert(starts(&part, 15, 2)); /* of blocks 1 and 2 */
	ck_assert(!starts(&whole, 8, 8));
	ck_assert(!starts(&late, 8, 8));
	ck_assert(starts(&apart, 24, 8));
	last_started = NULL;
	file_ranges_leave(&fake.ranges, &part);
	while (last_started != &late) /* both, in their order */
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ends(&whole, NULL);
	ends(&late, NULL);
	ends(&apart, NULL);
}
END_TEST

START_TEST(parts_wait_for_whole_blocks)
{
	struct block_io whole, too, part;

	ck_assert(starts(&whole, 0, 16));
	ck_assert(starts(&too, 8, 16)); /* as any other disk would */
	ck_assert(!starts(&part, 9, 1));
	ends(&too, NULL);
	ends(&whole, &part);
	ends(&part, NULL);
}
END_TEST

/* What waits is not overtaken by what comes later: it has its turn. */
START_TEST(nobody_is_overtaken)
{
	struct block_io first, long_one, last;

	ck_assert(starts(&first, 1, 1));
	ck_assert(!starts(&long_one, 2, 20));
	ck_assert(!starts(&last, 17, 1));
	ends(&first, &long_one);
	ends(&long_one, &last);
	ends(&last, NULL);
}
END_TEST

/* ---- flushes, one at a time -------------------------------------------- */

static bool flush_starts(struct block_io *io)
{
	*io = (struct block_io){ .op = BLOCK_OP_FLUSH };
	last_started = NULL;
	block_submit(queue, io);
	return last_started == io;
}

/* Ends it as said.  Another one is started by it, or none. */
static void flush_ends(struct block_io *io, int error,
		       const struct block_io *then)
{
	last_started = NULL;
	file_flush_leave(&fake.flush, error, error == -EIO);
	block_io_complete(io, error);
	io_loop_run(loop, then != NULL);
	ck_assert_ptr_eq(last_started, then);
}

static void flush_has_ended(const struct block_io *io, int error)
{
	struct block_io *done;

	while (!(done = block_queue_next_done(queue)))
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_ptr_eq(done, io);
	ck_assert_int_eq(io->error, error);
}

/* Of all that came while another was under way, the first is for the others, too. */
START_TEST(flushes_share_one)
{
	struct block_io first, second, third, fourth, late;

	ck_assert(flush_starts(&first));
	ck_assert(!flush_starts(&second));
	ck_assert(!flush_starts(&third));
	ck_assert(!flush_starts(&fourth));
	flush_ends(&first, 0, &second);
	flush_has_ended(&first, 0);
	ck_assert(!flush_starts(&late)); /* and has to be for itself */
	flush_ends(&second, 0, &late);
	flush_has_ended(&second, 0);
	flush_has_ended(&third, 0);
	flush_has_ended(&fourth, 0);
	ck_assert_ptr_null(block_queue_next_done(queue));
	flush_ends(&late, 0, NULL);
	flush_has_ended(&late, 0);
}
END_TEST

/* Those that share it fail, and those that would be next, and all others. */
START_TEST(flushes_share_a_failure)
{
	struct block_io first, second, third, next, late;

	ck_assert(flush_starts(&first));
	ck_assert(!flush_starts(&second));
	ck_assert(!flush_starts(&third));
	flush_ends(&first, 0, &second);
	flush_has_ended(&first, 0);
	ck_assert(!flush_starts(&next));
	flush_ends(&second, -EIO, NULL);
	flush_has_ended(&second, -EIO);
	flush_has_ended(&third, -EIO);
	flush_has_ended(&next, -EIO);
	ck_assert(!flush_starts(&late));
	flush_has_ended(&late, -EIO);
}
END_TEST

/* Nothing is lost: who shares it learns of it, and the next one has its turn. */
START_TEST(flushes_share_a_try)
{
	struct block_io first, second, third, next;

	ck_assert(flush_starts(&first));
	ck_assert(!flush_starts(&second));
	ck_assert(!flush_starts(&third));
	flush_ends(&first, -ENOMEM, &second);
	flush_has_ended(&first, -ENOMEM);
	ck_assert(!flush_starts(&next));
	flush_ends(&second, -EAGAIN, &next);
	flush_has_ended(&second, -EAGAIN);
	flush_has_ended(&third, -EAGAIN);
	flush_ends(&next, 0, NULL);
	flush_has_ended(&next, 0);
}
END_TEST

/* ---- several queues --------------------------------------------------- */

struct actor {
	unsigned int number;
	struct block_provider *provider;
	pthread_t thread;
};

static void run_actors(struct block_provider *provider,
		       void *(*body)(void *actor))
{
	struct actor actors[NR_THREADS];

	for (unsigned int i = 0; i < NR_THREADS; i++) {
		actors[i] = (struct actor){ .number = i, .provider = provider };
		ck_assert_int_eq(pthread_create(&actors[i].thread, NULL, body,
						&actors[i]),
				 0);
	}
	for (unsigned int i = 0; i < NR_THREADS; i++)
		pthread_join(actors[i].thread, NULL);
}

#define SHARED_BLOCKS 4u
#define ROUNDS 300u

/* Blocks as memory, which TSan sees. */
static unsigned char medium[SHARED_BLOCKS][BLOCK];

static void change_medium(struct block_io *io)
{
	unsigned char *block = medium[io->offset_bytes / BLOCK];
	unsigned char copy[BLOCK];

	memcpy(copy, block, BLOCK);
	sched_yield();
	memcpy(copy + io->offset_bytes % BLOCK, io->iov->iov_base, 512);
	memcpy(block, copy, BLOCK);
	file_ranges_leave(&fake.ranges, io);
	block_io_complete(io, 0);
}

#define NR_OWN (2 * SHARED_BLOCKS)

/* One that writes its own sectors, two in each block. */
struct writer {
	struct block_queue *queue;
	struct io_loop *loop;
	struct block_io ios[NR_OWN];
	struct iovec iov[NR_OWN];
	unsigned char data[NR_OWN][512];
	unsigned char read_back[512];
};

static void write_sector(struct writer *w, unsigned int number, unsigned int i,
			 unsigned int round)
{
	memset(w->data[i], (int)(round * 31 + i * 7 + number), 512);
	w->iov[i] = (struct iovec){ w->data[i], 512 };
	w->ios[i] = (struct block_io){
		.op = BLOCK_OP_WRITE,
		.offset_bytes = i / 2 * BLOCK + (number * 2 + i % 2) * 512,
		.length_bytes = 512,
		.iov = &w->iov[i],
		.nr_iov = 1,
	};
	block_submit(w->queue, &w->ios[i]);
}

static void read_sector(struct writer *w, unsigned int i)
{
	w->iov[i] = (struct iovec){ w->read_back, 512 };
	w->ios[i].op = BLOCK_OP_READ;
	w->ios[i].iov = &w->iov[i];
	w->ios[i].nr_iov = 1;
	block_submit(w->queue, &w->ios[i]);
}

static struct block_io *next_done(struct block_queue *from, struct io_loop *in)
{
	struct block_io *io;

	while (!(io = block_queue_next_done(from)))
		ck_assert_int_ge(io_loop_run(in, true), 0);
	ck_assert_int_eq(io->error, 0);
	return io;
}

/* What is answered is there, whatever others do: one is read back. */
static void write_round(struct writer *w, unsigned int number,
			unsigned int round, bool read_back)
{
	for (unsigned int i = 0; i < NR_OWN; i++)
		write_sector(w, number, i, round);
	for (unsigned int done = 0; done < NR_OWN; done++) {
		struct block_io *io = next_done(w->queue, w->loop);
		unsigned int i = (unsigned int)(io - w->ios);

		if (io->op == BLOCK_OP_READ)
			ck_assert_mem_eq(w->read_back, w->data[i], 512);
		else if (read_back && i == round % NR_OWN) {
			read_sector(w, i);
			done--;
		}
	}
}

static void *write_own_sectors(void *arg)
{
	struct actor *actor = arg;
	struct writer *w = calloc(1, sizeof(*w));
	bool read_back = actor->provider->ops == &file_provider_ops;

	ck_assert_int_eq(io_loop_new(32, &w->loop), 0);
	ck_assert_int_eq(block_queue_open(actor->provider, w->loop, &w->queue),
			 0);
	for (unsigned int round = 1; round <= ROUNDS; round++)
		write_round(w, actor->number, round, read_back);
	block_queue_close(w->queue);
	io_loop_free(w->loop);
	free(w);
	return NULL;
}

static unsigned char last_byte(unsigned int number, unsigned int i)
{
	return (unsigned char)(ROUNDS * 31 + i * 7 + number);
}

static void check_own_sectors(const unsigned char *bytes)
{
	for (unsigned int i = 0; i < 2 * SHARED_BLOCKS; i++) {
		for (unsigned int number = 0; number < NR_THREADS; number++) {
			const unsigned char *sector =
				bytes + i / 2 * BLOCK +
				(number * 2 + i % 2) * 512;

			ck_assert_uint_eq(sector[0], last_byte(number, i));
			ck_assert_uint_eq(sector[511], last_byte(number, i));
		}
	}
}

START_TEST(queues_share_blocks_in_memory)
{
	fake_open(sizeof(medium), -1);
	fake.started = change_medium;
	run_actors(&fake.base, write_own_sectors);
	fake_close();
	check_own_sectors(&medium[0][0]);
}
END_TEST

/* ---- a device with blocks of 4096 bytes -------------------------------- */

static const struct block_provider_ops *const registry[] = { &file_provider_ops,
							     NULL };
static struct loop_device device;
static struct block_provider *provider;
static struct error_text err;

static void device_setup(uint64_t size_bytes)
{
	char file[512];
	int fd;

	snprintf(file, sizeof(file), "%s/blocks.%d", unit_dir(), (int)getpid());
	fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)size_bytes), 0);
	close(fd);
	loop_device_open(&device, file, false, BLOCK);
	unlink(file);
}

static void open_target(const char *target)
{
	ck_assert_msg(block_provider_open(registry, target, false, &provider,
					  &err) == 0,
		      "%s", err.text);
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	ck_assert_int_eq(block_queue_open(provider, loop, &queue), 0);
}

static void open_device(void)
{
	open_target(device.path);
}

static void close_device(void)
{
	block_queue_close(queue);
	block_provider_close(provider);
	io_loop_free(loop);
	loop_device_close(&device);
}

static int do_io(enum block_op op, uint64_t offset, uint64_t bytes,
		 struct iovec *iov, unsigned int nr_iov)
{
	struct block_io io = { .op = op,
			       .offset_bytes = offset,
			       .length_bytes = bytes,
			       .iov = iov,
			       .nr_iov = nr_iov };
	struct block_io *done;

	block_submit(queue, &io);
	while (!(done = block_queue_next_done(queue)))
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_ptr_eq(done, &io);
	return io.error;
}

#define MODEL_BYTES (4u << 20)
#define IO_BYTES_MAX (2u << 20)

static void one_of_any(unsigned char *model, unsigned char *data)
{
	unsigned int most = random() % 8 ? 40 : IO_BYTES_MAX / 512;
	uint64_t nr = 1 + (unsigned int)random() % most;
	uint64_t at = (uint64_t)random() % (MODEL_BYTES / 512 - nr + 1) * 512;
	unsigned char *from = data + random() % 9 * 8;
	size_t bytes = nr * 512, first = (uint64_t)random() % nr * 512;
	struct iovec iov[2] = { { from, first },
				{ from + first, bytes - first } };
	unsigned int skip = first ? 0 : 1;

	if (random() % 2) {
		for (size_t i = 0; i < bytes; i++)
			from[i] = (unsigned char)random();
		memcpy(model + at, from, bytes);
		ck_assert_int_eq(do_io(BLOCK_OP_WRITE, at, bytes, iov + skip,
				       2 - skip),
				 0);
		return;
	}
	memset(from, 0xdb, bytes);
	ck_assert_int_eq(do_io(BLOCK_OP_READ, at, bytes, iov + skip, 2 - skip),
			 0);
	ck_assert_mem_eq(from, model + at, bytes);
}

/* Odd sectors, odd buffers, and more than one buffer holds. */
START_TEST(any_sectors_against_a_model)
{
	unsigned char *model = calloc(1, MODEL_BYTES);
	unsigned char *data = aligned_alloc(BLOCK, IO_BYTES_MAX + BLOCK);

	device_setup(MODEL_BYTES);
	open_device();
	ck_assert(provider->info.pins_memory); /* directly */
	ck_assert_uint_eq(provider->info.logical_block_bytes, 512);
	ck_assert_uint_eq(provider->info.physical_block_bytes, BLOCK);
	srandom(7);
	for (unsigned int turn = 0; turn < 400; turn++)
		one_of_any(model, data);
	ck_assert_int_eq(do_io(BLOCK_OP_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(pread(device.backing_fd, data, IO_BYTES_MAX, 0),
			 IO_BYTES_MAX);
	ck_assert_mem_eq(data, model, IO_BYTES_MAX);
	close_device();
	free(data);
	free(model);
}
END_TEST

START_TEST(queues_share_blocks_of_a_device)
{
	unsigned char got[SHARED_BLOCKS * BLOCK];

	device_setup(sizeof(got));
	open_device();
	run_actors(provider, write_own_sectors);
	ck_assert_int_eq(do_io(BLOCK_OP_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(pread(device.backing_fd, got, sizeof(got), 0),
			 sizeof(got));
	check_own_sectors(got);
	close_device();
}
END_TEST

/* Beyond the end of the device, which we take for longer. */
/* Others may write the same blocks: through the page cache, or not at all. */
START_TEST(blocks_that_are_shared)
{
	char target[sizeof(device.path) + 16];
	struct block_provider *shared;

	device_setup(MODEL_BYTES);
	open_device();
	ck_assert(provider->info.unshareable);
	close_device();
	device_setup(MODEL_BYTES);
	snprintf(target, sizeof(target), "file:%s?share=yes", device.path);
	ck_assert_int_eq(
		block_provider_open(registry, target, false, &shared, &err), 0);
	ck_assert(shared->info.shared);
	ck_assert(!shared->info.unshareable);
	ck_assert(!shared->info.pins_memory); /* through the page cache */
	block_provider_close(shared);
	loop_device_close(&device);
}
END_TEST

/* A device whose blocks do not all find room where they are kept. */
static void full_device_setup(void)
{
	char dir[256], file[272];
	int fd;

	snprintf(dir, sizeof(dir), "%s/full.%d", unit_dir(), (int)getpid());
	ck_assert(mkdir(dir, 0700) == 0 && unshare(CLONE_NEWNS) == 0 &&
		  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		  mount("none", dir, "tmpfs", 0, "size=256k") == 0);
	snprintf(file, sizeof(file), "%s/blocks", dir);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert(fd >= 0 && ftruncate(fd, MODEL_BYTES) == 0);
	close(fd);
	loop_device_open(&device, file, false, BLOCK);
}

/* One is told that what was written is lost; the other must not say all is well. */
static void lose_writes(void)
{
	static unsigned char data[1 << 20];
	struct iovec iov = { data, sizeof(data) };
	struct block_io flushes[2] = { { .op = BLOCK_OP_FLUSH },
				       { .op = BLOCK_OP_FLUSH } };
	unsigned int nr_done = 0;

	ck_assert_int_eq(do_io(BLOCK_OP_FLUSH, 0, 0, NULL, 0), 0);
	ck_assert_int_eq(do_io(BLOCK_OP_WRITE, 0, sizeof(data), &iov, 1), 0);
	block_submit(queue, &flushes[0]);
	block_submit(queue, &flushes[1]);
	while (nr_done < 2) {
		ck_assert_int_ge(io_loop_run(loop, true), 0);
		while (block_queue_next_done(queue))
			nr_done++;
	}
	ck_assert_int_lt(flushes[0].error, 0);
	ck_assert_int_lt(flushes[1].error, 0);
	ck_assert_int_lt(do_io(BLOCK_OP_FLUSH, 0, 0, NULL, 0), 0);
}

START_TEST(flushes_of_lost_writes)
{
	char target[sizeof(device.path) + 16];

	full_device_setup();
	snprintf(target, sizeof(target), "file:%s?share=yes", device.path);
	open_target(target);
	lose_writes();
	close_device();
}
END_TEST

/*
 * Written directly, to a device with a cache that forgets what it could not keep,
 * as one loop device over another one is: a second flush says that all is well.
 */
START_TEST(device_forgets_lost_writes)
{
	struct loop_device upper;

	full_device_setup();
	loop_device_open(&upper, device.path, false, BLOCK);
	open_target(upper.path);
	ck_assert(provider->info.pins_memory); /* directly */
	lose_writes();
	ck_assert_int_eq(fdatasync(upper.fd), 0);
	ck_assert(!provider->info.flush_retryable);
	close_device();
	loop_device_close(&upper);
}
END_TEST

START_TEST(errors_come_through)
{
	static unsigned char data[512];
	struct iovec iov;

	device_setup(1 << 20);
	open_device();
	provider->info.size_bytes *= 2;
	/* Nobody waits for one that failed. */
	for (unsigned int i = 1; i < 4; i++) {
		iov = (struct iovec){ data, 512 };
		ck_assert_int_eq(do_io(BLOCK_OP_READ, (1 << 20) + i * 512, 512,
				       &iov, 1),
				 -EIO);
		ck_assert_int_eq(do_io(BLOCK_OP_WRITE, (1 << 20) + i * 512, 512,
				       &iov, 1),
				 -EIO);
	}
	close_device();
}
END_TEST

/* ---- discards ----------------------------------------------------------- */

static void discard_setup(uint64_t size_bytes)
{
	device_setup(size_bytes);
	fake_open(size_bytes, device.fd);
	ck_assert_int_eq(io_loop_new(8, &loop), 0);
	ck_assert_int_eq(block_queue_open(&fake.base, loop, &queue), 0);
}

static void discard_end(void)
{
	block_queue_close(queue);
	io_loop_free(loop);
	fake_close();
	loop_device_close(&device);
}

/* Whole units, and not a byte more. */
START_TEST(device_discards)
{
	unsigned char got[16 * BLOCK];

	discard_setup(sizeof(got));
	memset(got, 0x6b, sizeof(got));
	ck_assert_int_eq(pwrite(device.fd, got, sizeof(got), 0), sizeof(got));
	ck_assert_int_eq(fsync(device.fd), 0);
	ck_assert_int_eq(
		do_io(BLOCK_OP_DISCARD, BLOCK + 512, 4 * BLOCK, NULL, 0), 0);
	ck_assert_int_eq(pread(device.fd, got, sizeof(got), 0), sizeof(got));
	for (unsigned int i = 0; i < sizeof(got); i++)
		ck_assert_uint_eq(got[i],
				  i >= 2 * BLOCK && i < 5 * BLOCK ? 0 : 0x6b);
	discard_end();
}
END_TEST

/* How many sectors the device was asked to write, and to discard. */
static void count_sectors(unsigned long long *ret_written,
			  unsigned long long *ret_discarded)
{
	char name[128];
	FILE *f;

	snprintf(name, sizeof(name), "/sys/block/%s/stat",
		 device.path + strlen("/dev/"));
	f = fopen(name, "re");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f,
				"%*u %*u %*u %*u %*u %*u %llu %*u %*u %*u %*u "
				"%*u %*u %llu",
				ret_written, ret_discarded),
			 2);
	fclose(f);
}

/* Zeroes would be written by many a device. */
START_TEST(device_discards_write_nothing)
{
	unsigned long long written, discarded, then_written, then_discarded;
	uint64_t unit;

	device_setup(64 * BLOCK);
	open_device();
	unit = provider->info.discard_granularity_bytes;
	count_sectors(&written, &discarded);
	ck_assert_int_eq(do_io(BLOCK_OP_DISCARD, unit + 512, 4 * unit, NULL, 0),
			 0);
	/* There is no whole one in it. */
	ck_assert_int_eq(do_io(BLOCK_OP_DISCARD, 512, unit, NULL, 0), 0);
	count_sectors(&then_written, &then_discarded);
	ck_assert_uint_eq(then_written, written);
	ck_assert_uint_eq(then_discarded, discarded + 3 * unit / 512);
	close_device();
}
END_TEST

/* Several steps, each from where the last one ended. */
START_TEST(long_discards)
{
	const uint64_t size = 3 * FILE_DISCARD_BYTES_MAX;
	const uint64_t marks[] = { 0, FILE_DISCARD_BYTES_MAX - BLOCK,
				   FILE_DISCARD_BYTES_MAX + BLOCK,
				   size - 2 * BLOCK, size - BLOCK };
	unsigned char block[BLOCK];

	discard_setup(size);
	memset(block, 0x6b, sizeof(block));
	for (unsigned int i = 0; i < NR_OF(marks); i++)
		ck_assert_int_eq(pwrite(device.fd, block, BLOCK,
					(off_t)marks[i]),
				 BLOCK);
	ck_assert_int_eq(fsync(device.fd), 0);
	ck_assert_int_eq(
		do_io(BLOCK_OP_DISCARD, BLOCK, size - 2 * BLOCK, NULL, 0), 0);
	for (unsigned int i = 0; i < NR_OF(marks); i++) {
		bool kept = i == 0 || i == NR_OF(marks) - 1;

		ck_assert_int_eq(
			pread(device.fd, block, BLOCK, (off_t)marks[i]), BLOCK);
		ck_assert_uint_eq(block[0], kept ? 0x6b : 0);
		ck_assert_uint_eq(block[BLOCK - 1], kept ? 0x6b : 0);
	}
	discard_end();
}
END_TEST

START_TEST(discard_errors_come_through)
{
	discard_setup(1 << 20);
	fake.discard.fd = open(device.path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(do_io(BLOCK_OP_DISCARD, 0, BLOCK, NULL, 0), -EBADF);
	close(fake.discard.fd);
	fake.discard.fd = device.backing_fd; /* a file has no such ioctl */
	ck_assert_int_lt(do_io(BLOCK_OP_DISCARD, 0, BLOCK, NULL, 0), 0);
	discard_end();
}
END_TEST

/* A guest that lets go does not wait for what is left of its discards. */
START_TEST(discards_are_abandoned)
{
	discard_setup(1 << 20);
	file_queue_of(queue)->abandoned = true;
	ck_assert_int_eq(do_io(BLOCK_OP_DISCARD, 0, BLOCK, NULL, 0),
			 -ECANCELED);
	discard_end();
}
END_TEST

static void *discard_own_blocks(void *arg)
{
	struct actor *actor = arg;
	struct block_queue *mine;
	struct io_loop *my_loop;
	struct block_io ios[8];

	ck_assert_int_eq(io_loop_new(8, &my_loop), 0);
	ck_assert_int_eq(block_queue_open(actor->provider, my_loop, &mine), 0);
	for (unsigned int i = 0; i < NR_OF(ios); i++) {
		ios[i] = (struct block_io){
			.op = BLOCK_OP_DISCARD,
			.offset_bytes = (2 * i + actor->number % 2) * BLOCK,
			.length_bytes = BLOCK,
		};
		block_submit(mine, &ios[i]);
	}
	for (unsigned int done = 0; done < NR_OF(ios); done++)
		next_done(mine, my_loop);
	block_queue_close(mine);
	io_loop_free(my_loop);
	return NULL;
}

START_TEST(queues_share_the_thread)
{
	discard_setup(64 * BLOCK);
	run_actors(&fake.base, discard_own_blocks);
	discard_end();
}
END_TEST

/* ---- the suite ------------------------------------------------------------ */

Suite *suite_file_blocks(void)
{
	Suite *suite = suite_create("file-blocks");
	TCase *tc = tcase_create("ranges");
	const char *missing = loop_device_missing();

	tcase_add_checked_fixture(tc, ranges_setup, ranges_teardown);
	tcase_add_test(tc, parts_of_a_block_take_turns);
	tcase_add_test(tc, whole_blocks_wait_for_parts);
	tcase_add_test(tc, parts_wait_for_whole_blocks);
	tcase_add_test(tc, nobody_is_overtaken);
	suite_add_tcase(suite, tc);
	tc = tcase_create("flushes");
	tcase_add_checked_fixture(tc, ranges_setup, ranges_teardown);
	tcase_add_test(tc, flushes_share_one);
	tcase_add_test(tc, flushes_share_a_failure);
	tcase_add_test(tc, flushes_share_a_try);
	suite_add_tcase(suite, tc);
	tc = tcase_create("queues");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, queues_share_blocks_in_memory);
	suite_add_tcase(suite, tc);
	if (missing) {
		unit_skip("file-blocks/device", missing);
		return suite;
	}
	tc = tcase_create("device");
	tcase_set_timeout(tc, 20);
	tcase_add_test(tc, any_sectors_against_a_model);
	tcase_add_test(tc, queues_share_blocks_of_a_device);
	tcase_add_test(tc, blocks_that_are_shared);
	tcase_add_test(tc, flushes_of_lost_writes);
	tcase_add_test(tc, device_forgets_lost_writes);
	tcase_add_test(tc, errors_come_through);
	tcase_add_test(tc, device_discards);
	tcase_add_test(tc, device_discards_write_nothing);
	tcase_add_test(tc, long_discards);
	tcase_add_test(tc, discard_errors_come_through);
	tcase_add_test(tc, discards_are_abandoned);
	tcase_add_test(tc, queues_share_the_thread);
	suite_add_tcase(suite, tc);
	return suite;
}
