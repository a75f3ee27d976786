/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat image: the whole disk to standard output.  Some threads read a chunk
 * each, the main thread writes them in their order; zeros become a hole where
 * the output is a file.
 */
#include "git-fat/command/command.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (1u << 20)
#define HOLE_BYTES 4096u

struct chunk {
	uint8_t *bytes;
	bool ready;
	int error;
	struct error_text err;
};

struct image {
	struct git_disk *disk;
	uint64_t size_bytes, nr_chunks;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* The chunk after the last that somebody reads, and the written ones. */
	uint64_t next, written;
	bool stopped;
	/* Two a reader: one to read while the other waits to be written. */
	struct chunk chunks[COMMAND_READERS_MAX * 2];
	unsigned int nr_slots;
	pthread_t threads[COMMAND_READERS_MAX];
	struct git_disk_reader *readers[COMMAND_READERS_MAX];
	unsigned int nr_readers, nr_threads;
};

struct reader_argument {
	struct image *image;
	struct git_disk_reader *reader;
};

static size_t chunk_bytes(const struct image *image, uint64_t index)
{
	uint64_t left = image->size_bytes - index * CHUNK_BYTES;

	return left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
}

/* Takes the next chunk to read, when there is a slot for it. */
static bool take_chunk(struct image *image, uint64_t *ret_index)
{
	bool taken = false;

	pthread_mutex_lock(&image->lock);
	while (!image->stopped && image->next < image->nr_chunks &&
	       image->next - image->written >= image->nr_slots)
		pthread_cond_wait(&image->changed, &image->lock);
	if (!image->stopped && image->next < image->nr_chunks) {
		*ret_index = image->next++;
		taken = true;
	}
	pthread_mutex_unlock(&image->lock);
	return taken;
}

static void *read_chunks(void *argument)
{
	struct reader_argument *mine = argument;
	struct image *image = mine->image;
	uint64_t index;

	while (take_chunk(image, &index)) {
		struct chunk *chunk = &image->chunks[index % image->nr_slots];

		chunk->error =
			git_disk_read(mine->reader, index * CHUNK_BYTES,
				      chunk->bytes, chunk_bytes(image, index),
				      &chunk->err);
		pthread_mutex_lock(&image->lock);
		chunk->ready = true;
		pthread_cond_broadcast(&image->changed);
		pthread_mutex_unlock(&image->lock);
	}
	free(mine);
	return NULL;
}

static bool all_zero(const uint8_t *bytes, size_t nr_bytes)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, nr_bytes - 1) == 0;
}

static int write_all(const uint8_t *bytes, size_t nr_bytes)
{
	while (nr_bytes) {
		ssize_t done = write(STDOUT_FILENO, bytes, nr_bytes);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			bytes += done;
			nr_bytes -= (size_t)done;
		}
	}
	return 0;
}

/* Writes a chunk; with holes, passes over what is zero. */
static int write_chunk(const uint8_t *bytes, size_t nr_bytes, bool holes)
{
	int rc = 0;

	if (!holes)
		return write_all(bytes, nr_bytes);
	for (size_t at = 0; rc == 0 && at < nr_bytes; at += HOLE_BYTES) {
		size_t part =
			nr_bytes - at < HOLE_BYTES ? nr_bytes - at : HOLE_BYTES;

		if (!all_zero(bytes + at, part))
			rc = write_all(bytes + at, part);
		else if (lseek(STDOUT_FILENO, (off_t)part, SEEK_CUR) < 0)
			rc = -errno;
	}
	return rc;
}

/* Whether standard output is an empty file that can be sought in. */
static bool output_takes_holes(void)
{
	struct stat st;
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	return fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size == 0 && flags >= 0 && !(flags & O_APPEND);
}

static int fail(const char *what, const char *cause)
{
	fprintf(stderr, "git-fat: %s%s\n", what, cause);
	return EXIT_FAILED;
}

static int write_next(struct image *image, bool holes)
{
	uint64_t index = image->written;
	struct chunk *chunk = &image->chunks[index % image->nr_slots];
	int rc;

	pthread_mutex_lock(&image->lock);
	while (!chunk->ready)
		pthread_cond_wait(&image->changed, &image->lock);
	pthread_mutex_unlock(&image->lock);
	if (chunk->error)
		return fail(chunk->err.text, "");
	rc = write_chunk(chunk->bytes, chunk_bytes(image, index), holes);
	if (rc < 0)
		return fail("write to standard output: ", strerror(-rc));
	pthread_mutex_lock(&image->lock);
	chunk->ready = false;
	image->written++;
	pthread_cond_broadcast(&image->changed);
	pthread_mutex_unlock(&image->lock);
	return EXIT_DONE;
}

static int write_image(struct image *image)
{
	bool holes = output_takes_holes();
	int code = EXIT_DONE;

	while (code == EXIT_DONE && image->written < image->nr_chunks)
		code = write_next(image, holes);
	if (code == EXIT_DONE && holes &&
	    ftruncate(STDOUT_FILENO, (off_t)image->size_bytes) < 0)
		return fail("write to standard output: ", strerror(errno));
	return code;
}

static int start_reader(struct image *image)
{
	struct reader_argument *argument = calloc(1, sizeof(*argument));
	unsigned int i = image->nr_readers;
	struct error_text err;
	int rc;

	if (!argument)
		return fail("no memory", "");
	if (git_disk_reader_open(image->disk, &image->readers[i], &err) < 0) {
		free(argument);
		return fail(err.text, "");
	}
	image->nr_readers++;
	*argument = (struct reader_argument){ image, image->readers[i] };
	rc = pthread_create(&image->threads[i], NULL, read_chunks, argument);
	if (rc) {
		free(argument);
		return fail("thread: ", strerror(rc));
	}
	image->nr_threads++;
	return EXIT_DONE;
}

static unsigned int default_readers(void)
{
	long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (nr_cpus < 1)
		return 1;
	if (nr_cpus > (long)COMMAND_READERS_MAX)
		return COMMAND_READERS_MAX;
	return (unsigned int)nr_cpus;
}

static int start(struct image *image, unsigned int wanted)
{
	int code = EXIT_DONE;

	image->nr_slots = wanted * 2;
	for (unsigned int i = 0; i < image->nr_slots; i++) {
		image->chunks[i].bytes = malloc(CHUNK_BYTES);
		if (!image->chunks[i].bytes)
			return fail("no memory", "");
	}
	for (unsigned int i = 0; code == EXIT_DONE && i < wanted; i++)
		code = start_reader(image);
	return code;
}

static void stop(struct image *image)
{
	pthread_mutex_lock(&image->lock);
	image->stopped = true;
	pthread_cond_broadcast(&image->changed);
	pthread_mutex_unlock(&image->lock);
	for (unsigned int i = 0; i < image->nr_threads; i++)
		pthread_join(image->threads[i], NULL);
	for (unsigned int i = 0; i < image->nr_readers; i++)
		git_disk_reader_close(image->readers[i]);
	for (unsigned int i = 0; i < COMMAND_READERS_MAX * 2; i++)
		free(image->chunks[i].bytes);
}

int command_image(struct git_disk *disk, unsigned int nr_readers)
{
	struct image image = {
		.disk = disk,
		.size_bytes = git_disk_size_bytes(disk),
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};
	int code;

	if (isatty(STDOUT_FILENO))
		return fail("image: standard output is a terminal", "");
	image.nr_chunks = (image.size_bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
	code = start(&image, nr_readers ? nr_readers : default_readers());
	if (code == EXIT_DONE)
		code = write_image(&image);
	stop(&image);
	return code;
}
