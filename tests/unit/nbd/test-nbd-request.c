/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * nbd-client/nbd-request.h: I/O cut into commands for servers of all block
 * sizes, carried out on an array.
 */
#include "nbd-client/nbd-request.h"
#include "tests/unit/nbd/unit-nbd.h"

#include <stdlib.h>
#include <string.h>

#define DISK_BYTES (1u << 20)
#define IO_BYTES_MAX (256u << 10)

static unsigned char *server, *twin, *buffer;
static unsigned int nr_commands;

static void setup(void)
{
	server = malloc(DISK_BYTES);
	twin = malloc(DISK_BYTES);
	buffer = malloc(IO_BYTES_MAX);
	for (unsigned int i = 0; i < DISK_BYTES; i++)
		server[i] = twin[i] = (unsigned char)(i * 7 + i / 512);
	srandom(42);
}

static void teardown(void)
{
	free(server);
	free(twin);
	free(buffer);
}

static void carry_out(const struct nbd_command *command,
		      const struct nbd_export *export)
{
	uint64_t end = command->offset_bytes + command->length_bytes;

	nr_commands++;
	ck_assert_uint_gt(command->length_bytes, 0);
	ck_assert_uint_le(command->length_bytes, export->maximum_bytes);
	ck_assert_uint_eq(command->offset_bytes % export->minimum_bytes, 0);
	ck_assert_uint_eq(command->length_bytes % export->minimum_bytes, 0);
	ck_assert_uint_le(end, DISK_BYTES);
	if (command->type == NBD_COMMAND_READ)
		memcpy(command->buffer, server + command->offset_bytes,
		       command->length_bytes);
	else
		memcpy(server + command->offset_bytes, command->buffer,
		       command->length_bytes);
}

/* Cuts [0, bytes) of the buffer up at sector boundaries, or anywhere. */
static unsigned int make_vector(struct iovec *iov, unsigned int nr,
				size_t bytes)
{
	size_t at = 0;
	unsigned int i;

	for (i = 0; i < nr - 1 && bytes - at > 1; i++) {
		size_t part = 1 + (size_t)random() % (bytes - at - 1);

		iov[i] = (struct iovec){ buffer + at, part };
		at += part;
	}
	iov[i] = (struct iovec){ buffer + at, bytes - at };
	return i + 1;
}

/* Now and then a connection is lost half-way: the piece is made anew. */
static void run(struct block_io *io, const struct nbd_export *export)
{
	struct nbd_request request = { .io = io };
	int rc;

	ck_assert_int_eq(nbd_request_prepare(&request, export), 0);
	do {
		if (random() % 5 == 0) {
			if (random() % 2)
				carry_out(&request.command, export);
			ck_assert_int_eq(nbd_request_prepare(&request, export),
					 0);
		}
		carry_out(&request.command, export);
		rc = nbd_request_advance(&request, export);
		ck_assert_int_ge(rc, 0);
	} while (rc == 0);
	ck_assert_uint_eq(io->done_bytes, io->length_bytes);
	nbd_request_fini(&request);
	ck_assert_ptr_null(request.rmw.buffer);
}

static void one_io(const struct nbd_export *export)
{
	struct iovec iov[8];
	uint64_t sectors = 1 + (uint64_t)random() % (IO_BYTES_MAX / 512 - 1);
	uint64_t bytes = random() % 3 ? 512 * (1 + (uint64_t)random() % 16)
				      : 512 * sectors;
	uint64_t offset =
		512 * ((uint64_t)random() % ((DISK_BYTES - bytes) / 512 + 1));
	struct block_io io = {
		.op = random() % 2 ? BLOCK_OP_WRITE : BLOCK_OP_READ,
		.offset_bytes = offset,
		.length_bytes = bytes,
		.iov = iov,
	};

	io.nr_iov = make_vector(iov, 1 + (unsigned int)random() % 8, bytes);
	for (uint64_t i = 0; i < bytes; i++)
		buffer[i] = (unsigned char)random();
	if (io.op == BLOCK_OP_WRITE)
		memcpy(twin + offset, buffer, bytes);
	run(&io, export);
	ck_assert_mem_eq(buffer, twin + offset, bytes);
}

START_TEST(splits_and_merges)
{
	for (unsigned int turn = 0; turn < 400; turn++) {
		uint32_t minimum = 1u << random() % 17;
		uint32_t unit = minimum < 512 ? 512 : minimum;
		struct nbd_export export = {
			.size_bytes = DISK_BYTES,
			.minimum_bytes = minimum,
			.maximum_bytes = unit * (1 + (uint32_t)random() % 40),
		};

		for (unsigned int i = 0; i < 5; i++)
			one_io(&export);
		ck_assert_mem_eq(server, twin, DISK_BYTES);
	}
}
END_TEST

/* One buffer that suits the server goes out as it is, and at once. */
START_TEST(nothing_is_copied_that_fits)
{
	const struct nbd_export export = { .size_bytes = DISK_BYTES,
					   .minimum_bytes = 4096,
					   .maximum_bytes = 65536 };
	struct iovec iov = { buffer, 65536 };
	struct block_io io = { .op = BLOCK_OP_WRITE,
			       .offset_bytes = 8192,
			       .length_bytes = 65536,
			       .iov = &iov,
			       .nr_iov = 1 };
	struct nbd_request request = { .io = &io };

	ck_assert_int_eq(nbd_request_prepare(&request, &export), 0);
	ck_assert_ptr_null(request.rmw.buffer);
	ck_assert_ptr_eq(request.command.buffer, buffer);
	ck_assert_int_eq(request.command.type, NBD_COMMAND_WRITE);
	ck_assert_int_eq(nbd_request_advance(&request, &export), 1);
}
END_TEST

/* Part of a block is read first; whole blocks through a vector are not. */
START_TEST(reads_before_it_writes_only_parts)
{
	const struct nbd_export export = { .size_bytes = DISK_BYTES,
					   .minimum_bytes = 4096,
					   .maximum_bytes = 65536 };
	struct iovec iov[2] = { { buffer, 4096 }, { buffer + 4096, 4096 } };
	struct block_io io = { .op = BLOCK_OP_WRITE,
			       .offset_bytes = 8192,
			       .length_bytes = 8192,
			       .iov = iov,
			       .nr_iov = 2 };

	nr_commands = 0;
	run(&io, &export);
	srandom(1); /* no loss in the next */
	io = (struct block_io){ .op = BLOCK_OP_WRITE,
				.offset_bytes = 512,
				.length_bytes = 512,
				.iov = iov,
				.nr_iov = 1 };
	iov[0].iov_len = 512;
	{
		struct nbd_request request = { .io = &io };

		ck_assert_int_eq(nbd_request_prepare(&request, &export), 0);
		ck_assert(nbd_request_is_merging(&request));
		carry_out(&request.command, &export);
		ck_assert_int_eq(nbd_request_advance(&request, &export), 0);
		ck_assert(!nbd_request_is_merging(&request));
		ck_assert_int_eq(request.command.type, NBD_COMMAND_WRITE);
		ck_assert_uint_eq(request.command.length_bytes, 4096);
		carry_out(&request.command, &export);
		ck_assert_int_eq(nbd_request_advance(&request, &export), 1);
		nbd_request_fini(&request);
	}
}
END_TEST

Suite *suite_nbd_request(void)
{
	Suite *suite = suite_create("nbd-request");
	TCase *tc = tcase_create("request");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, splits_and_merges);
	tcase_add_test(tc, nothing_is_copied_that_fits);
	tcase_add_test(tc, reads_before_it_writes_only_parts);
	suite_add_tcase(suite, tc);
	return suite;
}
