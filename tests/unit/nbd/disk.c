/* SPDX-License-Identifier: BSD-2-Clause */
/* A disk under test. */
#include "tests/unit/nbd/disk.h"

#include "common/clock.h"
#include "nbd-client/nbd-provider.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct block_provider_ops *const registry[] = {
	&nbd_provider_ops, &nbds_provider_ops, &nbd_unix_provider_ops,
	&nbds_unix_provider_ops, NULL
};

struct block_provider *provider;
struct block_queue *queue;
struct io_loop *loop;
struct error_text err;
struct block_status status;
unsigned int nr_failed;
char failed_cause[ERROR_TEXT_BYTES];
unsigned char *buffer;
static struct io_op tick;
struct disk_slot slots[DISK_SLOTS];

static void on_failed(void *arg, const char *cause)
{
	ck_assert_ptr_eq(arg, &nr_failed);
	nr_failed++;
	snprintf(failed_cause, sizeof(failed_cause), "%s", cause);
}

void disk_setup(void)
{
	buffer = aligned_alloc(4096, BUFFER_BYTES);
	ck_assert_ptr_nonnull(buffer);
	memset(buffer, 0, BUFFER_BYTES);
	for (unsigned int i = 0; i < DISK_SLOTS; i++)
		slots[i].page = aligned_alloc(4096, 4096);
}

void disk_close_queue(void)
{
	block_queue_close(queue);
	queue = NULL;
	io_loop_free(loop);
	loop = NULL;
	tick.in_flight = false;
}

void disk_close(void)
{
	disk_close_queue();
	block_provider_close(provider);
	provider = NULL;
}

void disk_teardown(void)
{
	disk_close();
	free(buffer);
	for (unsigned int i = 0; i < DISK_SLOTS; i++)
		free(slots[i].page);
}

const char *disk_spec(const struct server *server, const char *scheme,
		      const char *export_name, const char *options)
{
	static char spec[PROVIDER_SPEC_BYTES];

	if (server->socket[0])
		snprintf(spec, sizeof(spec), "%s+unix:///%s?socket=%s%s%s",
			 scheme, export_name, server->socket,
			 options[0] ? "&" : "", options);
	else
		snprintf(spec, sizeof(spec), "%s://127.0.0.1:%u/%s%s%s", scheme,
			 server->port, export_name, options[0] ? "?" : "",
			 options);
	return spec;
}

static void watch_provider(void)
{
	provider->status = &status;
	provider->failed = on_failed;
	provider->failed_arg = &nr_failed;
}

int disk_open_spec(const char *spec, bool read_only)
{
	int rc =
		block_provider_open(registry, spec, read_only, &provider, &err);

	if (rc < 0) {
		provider = NULL;
		return rc;
	}
	watch_provider();
	return 0;
}

int disk_open_after(const struct server *server, const char *options,
		    const struct block_left *left)
{
	const char *spec = disk_spec(server, "nbd", "", options);
	int rc = block_provider_reopen(registry, spec, "", left, false,
				       &provider, &err);

	if (rc < 0)
		provider = NULL;
	else
		watch_provider();
	return rc;
}

void disk_open_left(const struct server *server, const char *options,
		    int record_fd)
{
	const struct block_left left = { .record_fd = record_fd,
					 .in_use = true };

	ck_assert_msg(disk_open_after(server, options, &left) == 0, "%s",
		      err.text);
	ck_assert_int_eq(block_provider_fence(provider, 0, false, &err), 0);
}

void disk_open_queue(void)
{
	ck_assert_int_eq(io_loop_new(64, &loop), 0);
	ck_assert_int_eq(block_queue_open(provider, loop, &queue), 0);
}

void disk_open(const struct server *server, const char *options)
{
	ck_assert_msg(disk_open_spec(disk_spec(server, "nbd", "", options),
				     false) == 0,
		      "%s", err.text);
	disk_open_queue();
}

/* ---- I/O ------------------------------------------------------------ */

int do_io(enum block_op op, uint64_t offset, size_t bytes, unsigned int nr_iov)
{
	struct iovec iov[4];
	struct block_io io = { .op = op,
			       .offset_bytes = offset,
			       .length_bytes = bytes,
			       .iov = iov,
			       .nr_iov = nr_iov };
	struct block_io *done;

	for (unsigned int i = 0; i < nr_iov; i++)
		iov[i] = (struct iovec){ buffer + i * (bytes / nr_iov),
					 bytes / nr_iov };
	block_submit(queue, &io);
	while (!(done = block_queue_next_done(queue)))
		ck_assert_int_ge(io_loop_run(loop, true), 0);
	ck_assert_ptr_eq(done, &io);
	return io.error;
}

int do_read(uint64_t offset, size_t bytes)
{
	memset(buffer, 0xdb, bytes);
	return do_io(BLOCK_OP_READ, offset, bytes, 1);
}

int do_write(uint64_t offset, size_t bytes)
{
	return do_io(BLOCK_OP_WRITE, offset, bytes, 1);
}

int do_flush(void)
{
	return do_io(BLOCK_OP_FLUSH, 0, 0, 0);
}

static unsigned char fill_byte(size_t i, unsigned int seed)
{
	return (unsigned char)(seed * 31 + i * 7 + i / 512 * 13);
}

void fill(size_t bytes, unsigned int seed)
{
	for (size_t i = 0; i < bytes; i++)
		buffer[i] = fill_byte(i, seed);
}

void check_filled(size_t bytes, unsigned int seed)
{
	size_t i = 0;

	while (i < bytes && buffer[i] == fill_byte(i, seed))
		i++;
	ck_assert_msg(i == bytes, "byte %zu is %#x", i, buffer[i]);
}

struct disk_slot *slot_get_free(void)
{
	for (unsigned int i = 0; i < DISK_SLOTS; i++) {
		if (!slots[i].busy)
			return &slots[i];
	}
	return NULL;
}

void slot_submit(struct disk_slot *slot, enum block_op op, uint64_t offset,
		 size_t bytes)
{
	slot->busy = true;
	slot->iov = (struct iovec){ slot->page, bytes };
	slot->io = (struct block_io){ .op = op,
				      .offset_bytes = offset,
				      .length_bytes = bytes,
				      .iov = bytes ? &slot->iov : NULL,
				      .nr_iov = bytes ? 1 : 0,
				      .again = slot->again };
	block_submit(queue, &slot->io);
}

unsigned int slots_busy(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < DISK_SLOTS; i++)
		n += slots[i].busy;
	return n;
}

/* ---- the loop ------------------------------------------------------- */

static void tick_done(struct io_op *op, int result)
{
	(void)op;
	(void)result;
}

/* A turn that ends after some milliseconds at the latest. */
static void turn(void)
{
	tick.done = tick_done;
	if (!tick.in_flight)
		io_loop_timeout(loop, &tick, 10);
	ck_assert_int_ge(io_loop_run(loop, true), 0);
}

struct disk_slot *slot_next_done(unsigned int wait_ms)
{
	uint64_t until = clock_now_ms() + wait_ms;
	struct block_io *io;

	while (!(io = block_queue_next_done(queue)) && clock_now_ms() < until)
		turn();
	if (!io)
		return NULL;
	for (unsigned int i = 0; i < DISK_SLOTS; i++) {
		if (io == &slots[i].io) {
			slots[i].busy = false;
			return &slots[i];
		}
	}
	ck_abort_msg("an I/O that nobody has submitted has ended");
	return NULL;
}

void run_loop_ms(unsigned int ms)
{
	uint64_t until = clock_now_ms() + ms;

	while (clock_now_ms() < until)
		turn();
}

void run_loop_until(bool (*condition)(void), unsigned int ms)
{
	uint64_t until = clock_now_ms() + ms;

	while (!condition()) {
		ck_assert_msg(clock_now_ms() < until, "it does not happen");
		turn();
	}
}

bool disk_is_connected(void)
{
	return status.state == BLOCK_LINK_CONNECTED;
}
