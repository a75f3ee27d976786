/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The git provider behind the checked wrapper, on an event loop: what it
 * refuses, what it says of a disk, and that its bytes are those of
 * git_disk_read() however they are asked for.
 */
#include "git-fat/git-provider.h"

#include "common/io-loop.h"
#include "common/log.h"
#include "git-fat/git-disk.h"
#include "tests/unit/git-fat/served-repository.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES (128u << 10)
#define NR_IN_FLIGHT 64u
#define NR_IOV_MAX 11u
#define MIB (1u << 20)

static const struct block_provider_ops *const registry[] = { &git_provider_ops,
							     NULL };

static struct served served;
static char commit[GIT_OID_HEXSZ + 1];
static struct error_text err;

/* The same disk, read without the provider. */
static struct git_disk *model;
static struct git_disk_reader *model_reader;

/* One queue with its loop, and the I/O on it. */
struct client {
	struct io_loop *loop;
	struct block_queue *queue;
	uint64_t seed;
	struct request {
		struct block_io io;
		struct iovec iov[NR_IOV_MAX];
		unsigned char *bytes;
		bool away;
	} requests[NR_IN_FLIGHT];
};

static struct block_provider *provider;
static struct client client;

static uint32_t rnd(struct client *c, uint32_t below)
{
	c->seed = c->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(c->seed >> 33) % below;
}

/* ---- setting up --------------------------------------------------------- */

static void client_init(struct client *c, uint64_t seed)
{
	c->seed = seed;
	for (unsigned int i = 0; i < NR_IN_FLIGHT; i++) {
		c->requests[i].bytes = malloc(BUFFER_BYTES);
		ck_assert_ptr_nonnull(c->requests[i].bytes);
	}
	ck_assert_int_eq(io_loop_new(8, &c->loop), 0);
	ck_assert_int_eq(block_queue_open(provider, c->loop, &c->queue), 0);
}

static void client_fini(struct client *c)
{
	block_queue_close(c->queue);
	io_loop_free(c->loop);
	for (unsigned int i = 0; i < NR_IN_FLIGHT; i++)
		free(c->requests[i].bytes);
}

static int open_spec(const char *options, bool read_only)
{
	char target[SERVED_PATH_BYTES + 128];

	snprintf(target, sizeof(target), "git:%s%s", served.path, options);
	return block_provider_open(registry, target, read_only, &provider,
				   &err);
}

static void open_good(const char *options)
{
	ck_assert_msg(open_spec(options, true) == 0, "%s", err.text);
	client_init(&client, 1);
}

static void close_good(void)
{
	client_fini(&client);
	block_provider_close(provider);
}

static void setup(void)
{
	struct git_disk_options options;

	served_open(&served, "provider");
	served_commit(&served, "main", 1, commit);
	git_disk_options_init(&options);
	options.repository = served.path;
	options.revision = "main";
	ck_assert_msg(git_disk_open(&options, &model, &err) == 0, "%s",
		      err.text);
	ck_assert_int_eq(git_disk_reader_open(model, &model_reader, &err), 0);
}

static void teardown(void)
{
	git_disk_reader_close(model_reader);
	git_disk_close(model);
	served_close(&served);
}

/* ---- places on the disk ------------------------------------------------- */

static uint64_t data_offset(void)
{
	return git_disk_volume(model)->data_sector * VOLUME_SECTOR_BYTES;
}

/* Behind the last byte that anything lies in. */
static uint64_t used_end(void)
{
	return data_offset() + (uint64_t)(layout_end(git_disk_layout(model)) -
					  LAYOUT_FIRST_CLUSTER) *
				       LAYOUT_CLUSTER_BYTES;
}

/* Where the biggest file of the root begins, or the smallest there is. */
static uint64_t file_offset(bool big)
{
	const struct layout *layout = git_disk_layout(model);
	const struct layout_tree *root = layout_root(layout);
	const struct layout_entry *found = NULL;

	for (uint32_t i = 0; i < root->nr_files; i++) {
		const struct layout_entry *file =
			&layout->entries[root->entries + i];
		bool better =
			!found || (file->size_bytes > found->size_bytes) == big;

		if (file->size_bytes && better)
			found = file;
	}
	ck_assert_ptr_nonnull(found);
	return data_offset() +
	       (uint64_t)found->first_cluster * LAYOUT_CLUSTER_BYTES;
}

/* ---- requests ------------------------------------------------------------ */

/* In nr_iov pieces, which need not be of whole sectors. */
static void submit(struct client *c, unsigned int index, uint64_t offset,
		   size_t nr_bytes, unsigned int nr_iov)
{
	struct request *request = &c->requests[index];
	size_t at = 0;

	memset(request->bytes, 0xdb, nr_bytes);
	for (unsigned int i = 0; i < nr_iov; i++) {
		size_t part = nr_bytes / nr_iov + (i % 2 ? 1 : 0);

		if (i == nr_iov - 1)
			part = nr_bytes - at;
		request->iov[i] = (struct iovec){ request->bytes + at, part };
		at += part;
	}
	request->io = (struct block_io){ .op = BLOCK_OP_READ,
					 .offset_bytes = offset,
					 .length_bytes = nr_bytes,
					 .iov = request->iov,
					 .nr_iov = nr_iov };
	request->away = true;
	block_submit(c->queue, &request->io);
}

/* Waits for the next one that is done. */
static struct request *next_done(struct client *c)
{
	struct request *request;
	struct block_io *io;

	while (!(io = block_queue_next_done(c->queue)))
		ck_assert_int_ge(io_loop_run(c->loop, true), 0);
	request = (struct request *)(void *)io;
	ck_assert_msg(request->away, "answered twice");
	request->away = false;
	return request;
}

static void check_bytes(struct git_disk_reader *reader,
			const struct request *request)
{
	static _Thread_local unsigned char expected[BUFFER_BYTES];
	size_t nr_bytes = request->io.length_bytes;
	struct error_text ignored;

	ck_assert_int_eq(request->io.error, 0);
	ck_assert_int_eq(git_disk_read(reader, request->io.offset_bytes,
				       expected, nr_bytes, &ignored),
			 0);
	ck_assert_msg(memcmp(request->bytes, expected, nr_bytes) == 0,
		      "%zu bytes at %llu differ", nr_bytes,
		      (unsigned long long)request->io.offset_bytes);
}

static int read_once(uint64_t offset, size_t nr_bytes, unsigned int nr_iov)
{
	struct request *request;

	submit(&client, 0, offset, nr_bytes, nr_iov);
	request = next_done(&client);
	if (!request->io.error)
		check_bytes(model_reader, request);
	return request->io.error;
}

/* Anywhere; mostly where something lies. */
static void submit_random(struct client *c, unsigned int index)
{
	uint32_t sectors = 1 + rnd(c, 88);
	uint64_t begin = rnd(c, 8) ? data_offset() : 0;
	uint64_t last = used_end() / 512 + 64 - sectors;
	uint64_t sector = begin / 512 + rnd(c, (uint32_t)(last - begin / 512));

	submit(c, index, sector * 512, (size_t)sectors * 512,
	       1 + rnd(c, NR_IOV_MAX));
}

/* ---- opening ------------------------------------------------------------- */

static const struct refusal {
	const char *options;
	bool read_only;
	int error;
	const char *text;
} refusals[] = {
	{ "", false, -EROFS, "is read-only; attach it read-only (access=ro, " },
	{ "?ref=main&colour=red", true, -EINVAL,
	  "provider git has no option 'colour'" },
	{ "?ref=main&partition=gpt", true, -EINVAL,
	  "provider git: partition=gpt is neither 'none' nor 'mbr'" },
	{ "?symlinks=yes", true, -EINVAL,
	  "provider git: symlinks=yes is neither 'text' nor 'follow'" },
	{ "?verify=1", true, -EINVAL,
	  "provider git: verify=1 is neither 'off' nor 'on'" },
	{ "?cache=plenty", true, -EINVAL,
	  "provider git: cache=plenty is not a size" },
	{ "?cache=", true, -EINVAL, "provider git: cache= is not a size" },
	{ "?ref=main&label=far%20too%20long%20a%20label", true, -EINVAL,
	  "label" },
	{ "?ref=nowhere", true, -ENOENT, "ref 'nowhere'" },
	{ "?ref=", true, -EINVAL, "ref ''" },
	{ "?ref=main&path=no/where", true, -ENOENT, "path 'no/where'" },
	{ "?ref=main&path=big", true, -ENOTDIR, "not a directory" },
	{ "?ref=main&ref=main", true, -EINVAL, "option 'ref' is given twice" },
	{ "?ref=main&share=maybe", true, -EINVAL, "neither yes nor no" },
	{ "?main", true, -EINVAL, "'main' is not KEY=VALUE" },
	{ "/no/such", true, -ENOENT, "/no/such': " },
};

static void open_refusals_row(int row)
{
	const struct refusal *refusal = &refusals[row];
	bool main_too = refusal->options[0] == '\0';

	ck_assert_int_eq(open_spec(main_too ? "?ref=main" : refusal->options,
				   refusal->read_only),
			 refusal->error);
	ck_assert_msg(strstr(err.text, refusal->text), "'%s' does not say '%s'",
		      err.text, refusal->text);
}
ROWS_TEST(open_refusals, NR_OF(refusals))

static void relative_paths_row(int row)
{
	static const char *const targets[] = { "git:", "git:srv/x",
					       "git:./x?ref=main",
					       "git:%2e/x" };

	ck_assert_int_eq(block_provider_open(registry, targets[row], true,
					     &provider, &err),
			 -EINVAL);
	ck_assert_msg(strstr(err.text, "provider git: '") &&
			      strstr(err.text, "' is not an absolute path"),
		      "%s", err.text);
}
ROWS_TEST(relative_paths, 4)

START_TEST(info)
{
	const struct block_info *is;

	open_good("?ref=main&label=SITE&cache=1M&verify=on");
	is = &provider->info;
	ck_assert_uint_eq(is->size_bytes, git_disk_size_bytes(model));
	ck_assert_uint_eq(is->size_bytes % 4096, 0);
	ck_assert_uint_eq(is->logical_block_bytes, 512);
	ck_assert(is->read_only);
	ck_assert(is->can_flush);
	ck_assert(is->hold_version);
	ck_assert(!is->shared);
	ck_assert_str_eq(is->version, commit);
	close_good();
	open_good("?ref=main%5E%7Btree%7D&share=yes");
	is = &provider->info;
	ck_assert(is->shared);
	ck_assert_str_ne(is->version, commit);
	ck_assert_uint_eq(strlen(is->version), GIT_OID_HEXSZ);
	close_good();
}
END_TEST

/* An abbreviated name and a path with an escape in it mean the same disk. */
START_TEST(specs_of_the_same)
{
	char option[64];

	snprintf(option, sizeof(option), "?ref=%.12s&symlinks=text", commit);
	open_good(option);
	ck_assert_str_eq(provider->info.version, commit);
	ck_assert_int_eq(read_once(data_offset(), 4096, 1), 0);
	close_good();
	open_good("/%2e?ref=refs/heads/main&partition=mbr&verify=off");
	ck_assert_str_eq(provider->info.version, commit);
	ck_assert_int_eq(read_once(0, 4096, 3), 0);
	close_good();
}
END_TEST

/* As after a restart of the daemon: the branch has gone on meanwhile. */
START_TEST(reopened)
{
	static const char gone[] = "00000000000000000000000000000000000000aa";
	char target[SERVED_PATH_BYTES + 16], newer[GIT_OID_HEXSZ + 1];

	served_commit(&served, "main", 2, newer);
	snprintf(target, sizeof(target), "git:%s?ref=main", served.path);
	ck_assert_int_eq(block_provider_reopen(registry, target, commit, NULL,
					       true, &provider, &err),
			 0);
	ck_assert_str_eq(provider->info.version, commit);
	client_init(&client, 1);
	ck_assert_int_eq(read_once(file_offset(true), 4096, 1), 0);
	close_good();
	open_good("?ref=main");
	ck_assert_str_eq(provider->info.version, newer);
	close_good();
	ck_assert_int_eq(block_provider_reopen(registry, target, gone, NULL,
					       true, &provider, &err),
			 -ENOENT);
	ck_assert_msg(strstr(err.text, gone), "%s", err.text);
}
END_TEST

/* ---- reading -------------------------------------------------------------- */

START_TEST(inline_or_handed_over)
{
	uint64_t big = file_offset(true);

	open_good("?ref=main");
	/* Nothing of it has to be inflated. */
	submit(&client, 0, 512 * VOLUME_PARTITION_SECTOR, 4096, 1);
	ck_assert_ptr_nonnull(block_queue_next_done(client.queue));
	check_bytes(model_reader, &client.requests[0]);
	submit(&client, 1, big, 4096, 2);
	ck_assert_ptr_null(block_queue_next_done(client.queue));
	check_bytes(model_reader, next_done(&client));
	/* Now it is at hand: all of the object. */
	submit(&client, 2, big + MIB, 8192, 5);
	ck_assert_ptr_nonnull(block_queue_next_done(client.queue));
	check_bytes(model_reader, &client.requests[2]);
	client.requests[2].away = false;
	close_good();
}
END_TEST

START_TEST(unaligned_vectors)
{
	uint64_t begin = data_offset();

	open_good("?ref=main");
	for (unsigned int i = 1; i <= NR_IOV_MAX; i++) {
		ck_assert_int_eq(read_once(begin + i * 512, i * 3584, i), 0);
		ck_assert_int_eq(read_once(begin - i * 512, i * 1024, i), 0);
	}
	ck_assert_int_eq(read_once(provider->info.size_bytes - 4096, 4096, 7),
			 0);
	close_good();
}
END_TEST

static void in_flight_rounds(struct client *c, struct git_disk_reader *reader,
			     unsigned int nr_rounds)
{
	while (nr_rounds--) {
		unsigned int nr = 1 + rnd(c, NR_IN_FLIGHT);

		for (unsigned int i = 0; i < nr; i++)
			submit_random(c, i);
		while (nr--)
			check_bytes(reader, next_done(c));
	}
	ck_assert_ptr_null(block_queue_next_done(c->queue));
}

static const char *const cache_options[] = {
	"?ref=main",
	"?ref=main&cache=1M&verify=on",
	/* Everything is spilled, or made for each read. */
	"?ref=main&cache=0",
};

START_TEST(many_in_flight)
{
	open_good(cache_options[_i]);
	in_flight_rounds(&client, model_reader, 3);
	close_good();
}
END_TEST

/* The readers go ahead meanwhile; it must not show. */
START_TEST(sequential)
{
	uint64_t end = used_end() + MIB;

	open_good(cache_options[_i]);
	for (uint64_t at = data_offset() - 64 * 1024; at < end; at += 45056)
		ck_assert_int_eq(read_once(at, 45056, 11), 0);
	/* To the last sector, behind which there is nothing to go ahead to. */
	end = provider->info.size_bytes;
	for (uint64_t at = end - 45056 * 3; at < end; at += 45056)
		ck_assert_int_eq(read_once(at, 45056, 1), 0);
	close_good();
}
END_TEST

/*
 * The end of the big file is read in sequence, and the small files behind it
 * come to be at hand although nobody has asked for them.  Asking makes a file
 * be at hand, so each is tried once.
 */
START_TEST(reads_ahead)
{
	const struct layout *layout = git_disk_layout(model);
	const struct layout_entry *files =
		&layout->entries[layout_root(layout)->entries];
	uint64_t at = file_offset(true) + SERVED_BIG_BYTES - 8192;
	bool at_hand = false;

	open_good("?ref=main");
	ck_assert_int_eq(read_once(at, 4096, 1), 0);
	ck_assert_int_eq(read_once(at + 4096, 4096, 1), 0);
	for (int i = 3; i < 12 && !at_hand; i++) {
		usleep(100000);
		submit(&client, 0,
		       data_offset() + (uint64_t)files[i].first_cluster *
					       LAYOUT_CLUSTER_BYTES,
		       512, 1);
		at_hand = block_queue_next_done(client.queue) != NULL;
		if (!at_hand)
			next_done(&client);
	}
	ck_assert_msg(at_hand, "nothing was read ahead");
	close_good();
}
END_TEST

START_TEST(writes_and_flushes)
{
	struct request *request = &client.requests[0];

	open_good("?ref=main");
	submit(&client, 0, data_offset(), 4096, 1);
	next_done(&client);
	request->iov[0] = (struct iovec){ request->bytes, 4096 };
	request->io.op = BLOCK_OP_WRITE;
	block_submit(client.queue, &request->io);
	ck_assert_ptr_nonnull(block_queue_next_done(client.queue));
	ck_assert_int_eq(request->io.error, -EROFS);
	request->io = (struct block_io){ .op = BLOCK_OP_FLUSH };
	block_submit(client.queue, &request->io);
	ck_assert_ptr_nonnull(block_queue_next_done(client.queue));
	ck_assert_int_eq(request->io.error, 0);
	close_good();
}
END_TEST

/* ---- what can go wrong ----------------------------------------------------- */

/* Standard error, up to now, into text. */
static char log_path[SERVED_PATH_BYTES + 8];

static void log_capture(void)
{
	int fd;

	snprintf(log_path, sizeof(log_path), "%s.log", served.path);
	fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	close(fd);
	log_open("unit", LOG_LEVEL_INFO);
}

static unsigned int log_count(const char *part)
{
	char line[1024];
	unsigned int nr = 0;
	FILE *f = fopen(log_path, "re");

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, part) != NULL;
	fclose(f);
	return nr;
}

/* The guest learns that it failed, the log why; but not each time. */
START_TEST(missing_blob)
{
	char blob[GIT_OID_HEXSZ + 1];
	uint64_t big = file_offset(true);

	open_good("?ref=main");
	log_capture();
	served_lose_blob(&served, commit, "big", blob);
	ck_assert_int_eq(read_once(big, 4096, 1), -ENOENT);
	ck_assert_uint_eq(log_count("provider git: read of 4096 bytes at"), 1);
	ck_assert_uint_eq(log_count(blob), 1);
	for (unsigned int i = 0; i < 3 * LOG_LIMIT_BURST; i++)
		ck_assert_int_eq(read_once(big + i * 4096, 4096, 1), -ENOENT);
	ck_assert_uint_ge(log_count(blob), LOG_LIMIT_BURST);
	ck_assert_uint_le(log_count(blob), 2 * LOG_LIMIT_BURST);
	/* The rest of the disk is as it was. */
	ck_assert_int_eq(read_once(file_offset(false), 4096, 1), 0);
	close_good();
}
END_TEST

static void damage_blob(const char *file)
{
	char blob[GIT_OID_HEXSZ + 1], path[SERVED_PATH_BYTES + 64];
	FILE *f;

	served_lose_blob(&served, commit, file, blob);
	snprintf(path, sizeof(path), "%s/objects/%.2s/%s", served.path, blob,
		 blob + 2);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs("this is no object", f);
	fclose(f);
}

START_TEST(damaged_blob)
{
	open_good("?ref=main");
	log_capture();
	damage_blob("big");
	ck_assert_int_eq(read_once(file_offset(true), 4096, 1), -EIO);
	ck_assert_uint_eq(log_count("provider git: read of"), 1);
	close_good();
}
END_TEST

/* ---- queues and closing ----------------------------------------------------- */

/* Entries of a directory of /proc/self: descriptors, or threads. */
static unsigned int count_own(const char *what)
{
	unsigned int nr = 0;
	char path[64];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/self/%s", what);
	d = opendir(path);
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

START_TEST(nothing_stays)
{
	unsigned int nr_fds, nr_threads;

	/* A sanitizer has threads of its own from the first one on. */
	open_good("?ref=main");
	close_good();
	nr_fds = count_own("fd");
	nr_threads = count_own("task");
	for (int i = 0; i < 12; i++) {
		open_good(cache_options[i % 3]);
		if (i % 2)
			in_flight_rounds(&client, model_reader, 1);
		else /* closed while they read ahead */
			read_once(0, 4096, 1);
		close_good();
	}
	ck_assert_int_eq(open_spec("?ref=main&nothing=1", true), -EINVAL);
	ck_assert_int_eq(open_spec("?ref=main", false), -EROFS);
	/* A thread that was joined may be on its way out still. */
	for (int i = 0; i < 2000 && count_own("task") > nr_threads; i++)
		usleep(1000);
	ck_assert_uint_eq(count_own("task"), nr_threads);
	ck_assert_uint_eq(count_own("fd"), nr_fds);
}
END_TEST

START_TEST(queues_come_and_go)
{
	unsigned int nr_fds;

	open_good("?ref=main&cache=1M");
	nr_fds = count_own("fd");
	for (unsigned int i = 0; i < 20; i++) {
		block_queue_close(client.queue);
		ck_assert_int_eq(block_queue_open(provider, client.loop,
						  &client.queue),
				 0);
		if (i % 3)
			in_flight_rounds(&client, model_reader, 1);
	}
	ck_assert_uint_eq(count_own("fd"), nr_fds);
	close_good();
}
END_TEST

static void *second_queue(void *arg)
{
	struct git_disk_reader *reader = arg;
	struct client *c = calloc(1, sizeof(*c));

	ck_assert_ptr_nonnull(c);
	client_init(c, 99);
	in_flight_rounds(c, reader, 3);
	client_fini(c);
	free(c);
	return NULL;
}

/* Each on its thread, as the worker has them. */
START_TEST(two_queues)
{
	struct git_disk_reader *reader;
	pthread_t thread;

	open_good(cache_options[_i]);
	ck_assert_int_eq(git_disk_reader_open(model, &reader, &err), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, second_queue, reader),
			 0);
	in_flight_rounds(&client, model_reader, 3);
	pthread_join(thread, NULL);
	git_disk_reader_close(reader);
	close_good();
}
END_TEST

Suite *suite_git_provider(void)
{
	Suite *suite = suite_create("git-provider");
	TCase *tc = tcase_create("provider");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, open_refusals);
	tcase_add_test(tc, relative_paths);
	tcase_add_test(tc, info);
	tcase_add_test(tc, specs_of_the_same);
	tcase_add_test(tc, reopened);
	tcase_add_test(tc, inline_or_handed_over);
	tcase_add_test(tc, unaligned_vectors);
	tcase_add_loop_test(tc, many_in_flight, 0, 3);
	tcase_add_loop_test(tc, sequential, 0, 3);
	tcase_add_test(tc, reads_ahead);
	tcase_add_test(tc, writes_and_flushes);
	tcase_add_test(tc, missing_blob);
	tcase_add_test(tc, damaged_blob);
	tcase_add_test(tc, nothing_stays);
	tcase_add_test(tc, queues_come_and_go);
	tcase_add_loop_test(tc, two_queues, 0, 3);
	suite_add_tcase(suite, tc);
	return suite;
}
