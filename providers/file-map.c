/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads of a file in memory, out of a mapping. */
#include "providers/file-map.h"

#include "common/copy-sectors.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Once all that may be is kept, one is let in for so many pages read of it. */
#define WAIT_PAGES 128

struct file_map_chunk {
	uint64_t present; /* a bit for each page that is no hole; atomic */
	int32_t wait_pages; /* until it is let in; or as below; atomic */
	bool looked_at; /* atomic; changed with the lock held */
};

enum { NEVER_READ = 0, KEPT = -1 };

/* ---- SIGBUS --------------------------------------------------------- */

/* Where a copy under way on this thread goes on if the file has got shorter. */
static _Thread_local sigjmp_buf *volatile way_out;
static struct sigaction action_before;

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	bool accessed = info->si_code > 0 && info->si_code != BUS_MCEERR_AO;

	(void)context;
	if (accessed && way_out)
		siglongjmp(*way_out, 1);
	/* Nothing of ours.  One of an access comes again when this returns. */
	sigaction(SIGBUS, &action_before, NULL);
	if (!accessed)
		raise(number);
}

static bool catch_sigbus(void)
{
	static bool caught;
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};

	sigemptyset(&action.sa_mask);
	caught = caught || sigaction(SIGBUS, &action, &action_before) == 0;
	return caught;
}

/* A function of its own: what it has in registers is nothing to come back to. */
__attribute__((noinline)) static void copy_pieces(const unsigned char *from,
						  const struct iovec *iov,
						  unsigned int nr_iov)
{
	for (unsigned int i = 0; i < nr_iov; i++) {
		copy_sectors(iov[i].iov_base, from, iov[i].iov_len);
		from += iov[i].iov_len;
	}
}

/* False where some of it is not there. */
static bool copy(const unsigned char *from, const struct iovec *iov,
		 unsigned int nr_iov)
{
	sigjmp_buf here;
	sigset_t set;

	if (sigsetjmp(here, 0)) {
		way_out = NULL;
		/* The handler has not returned. */
		sigemptyset(&set);
		sigaddset(&set, SIGBUS);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
		return false;
	}
	way_out = &here;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	copy_pieces(from, iov, nr_iov);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	way_out = NULL;
	return true;
}

/* ---- what is there -------------------------------------------------- */

/* The part of a range that is in one chunk. */
struct part {
	uint32_t number;
	uint64_t pages; /* a bit for each that has some of the range */
	uint64_t end_bytes; /* of the part, in the file */
};

/* Of a range that is not empty and within the mapping. */
static struct part first_part(uint64_t offset, uint64_t end)
{
	uint64_t number = offset / FILE_MAP_CHUNK_BYTES;
	uint64_t chunk_end = (number + 1) * FILE_MAP_CHUNK_BYTES;
	unsigned int first, last;

	if (end > chunk_end)
		end = chunk_end;
	first = offset % FILE_MAP_CHUNK_BYTES / FILE_MAP_PAGE_BYTES;
	last = (end - 1) % FILE_MAP_CHUNK_BYTES / FILE_MAP_PAGE_BYTES;
	return (struct part){
		.number = (uint32_t)number,
		.pages = UINT64_MAX << first & UINT64_MAX >> (63 - last),
		.end_bytes = end,
	};
}

static bool is_present(const struct file_map_chunk *chunk,
		       const struct part *part)
{
	uint64_t present = __atomic_load_n(&chunk->present, __ATOMIC_RELAXED);

	return (present & part->pages) == part->pages;
}

static bool is_zero(const unsigned char *data, size_t nr_bytes)
{
	return data[0] == 0 && memcmp(data, data + 1, nr_bytes - 1) == 0;
}

/*
 * The pages of a chunk that have something else than zeroes: they are no holes.
 * Read into memory that is ours alone.
 */
static uint64_t look(const struct file_map *map, uint32_t number)
{
	enum { PAGES = 4 }; /* at once; a divisor of a chunk's */
	unsigned char bytes[PAGES * FILE_MAP_PAGE_BYTES];
	uint64_t present = 0;

	for (unsigned int i = 0; i < FILE_MAP_CHUNK_BYTES / FILE_MAP_PAGE_BYTES;
	     i += PAGES) {
		off_t offset = (off_t)number * FILE_MAP_CHUNK_BYTES +
			       (off_t)i * FILE_MAP_PAGE_BYTES;
		ssize_t n = pread(map->fd, bytes, sizeof(bytes), offset);

		for (ssize_t at = 0; at < n; at += FILE_MAP_PAGE_BYTES)
			if (!is_zero(bytes + at, n - at < FILE_MAP_PAGE_BYTES
							 ? (size_t)(n - at)
							 : FILE_MAP_PAGE_BYTES))
				present |= UINT64_C(1)
					   << (i + at / FILE_MAP_PAGE_BYTES);
	}
	return present;
}

void file_map_written(struct file_map *map, uint64_t offset_bytes,
		      uint64_t length_bytes)
{
	uint64_t end = offset_bytes + length_bytes;
	struct part part;

	if (!map->bytes)
		return;
	if (end > map->length_bytes)
		end = map->length_bytes;
	for (; offset_bytes < end; offset_bytes = part.end_bytes) {
		struct file_map_chunk *chunk;

		part = first_part(offset_bytes, end);
		chunk = &map->chunks[part.number];
		if (!is_present(chunk, &part))
			__atomic_fetch_or(&chunk->present, part.pages,
					  __ATOMIC_RELAXED);
	}
}

void file_map_punched(struct file_map *map, uint64_t offset_bytes,
		      uint64_t length_bytes)
{
	uint64_t end = offset_bytes + length_bytes;
	struct part part;

	if (!map->bytes)
		return;
	if (end > map->length_bytes)
		end = map->length_bytes;
	pthread_mutex_lock(&map->lock);
	map->nr_punches++;
	for (; offset_bytes < end; offset_bytes = part.end_bytes) {
		uint64_t *present;

		part = first_part(offset_bytes, end);
		present = &map->chunks[part.number].present;
		/* What was never written to stays memory that is not there. */
		if (__atomic_load_n(present, __ATOMIC_RELAXED))
			__atomic_fetch_and(present, ~part.pages,
					   __ATOMIC_RELAXED);
	}
	pthread_mutex_unlock(&map->lock);
}

/* ---- what is kept --------------------------------------------------- */

static bool is_kept(const struct file_map_chunk *chunk)
{
	return __atomic_load_n(&chunk->wait_pages, __ATOMIC_RELAXED) == KEPT;
}

static void unmap_chunk(const struct file_map *map, uint32_t number)
{
	madvise((void *)(map->bytes + (uint64_t)number * FILE_MAP_CHUNK_BYTES),
		FILE_MAP_CHUNK_BYTES, MADV_DONTNEED);
}

/* The oldest one makes room.  The lock is held. */
static void keep(struct file_map *map, uint32_t number)
{
	uint32_t nr_kept = map->nr_kept, *slot = &map->kept[map->next];

	if (nr_kept < FILE_MAP_KEPT_MAX) {
		__atomic_store_n(&map->nr_kept, nr_kept + 1, __ATOMIC_RELAXED);
	} else {
		__atomic_store_n(&map->chunks[*slot].wait_pages, WAIT_PAGES,
				 __ATOMIC_RELAXED);
		unmap_chunk(map, *slot);
	}
	*slot = number;
	map->next = (map->next + 1) % FILE_MAP_KEPT_MAX;
	__atomic_store_n(&map->chunks[number].wait_pages, KEPT,
			 __ATOMIC_RELAXED);
}

/*
 * The lock is held, but not while it is looked.  What was a page then may be a
 * hole by now: that is left for the next time.
 */
static void look_once(struct file_map *map, uint32_t number)
{
	struct file_map_chunk *chunk = &map->chunks[number];
	uint64_t nr_punches = map->nr_punches, present;

	if (chunk->looked_at)
		return;
	pthread_mutex_unlock(&map->lock);
	present = look(map, number);
	pthread_mutex_lock(&map->lock);
	if (map->nr_punches != nr_punches)
		return;
	__atomic_fetch_or(&chunk->present, present, __ATOMIC_RELAXED);
	__atomic_store_n(&chunk->looked_at, true, __ATOMIC_RELAXED);
}

/* True when the pages can be read now. */
static bool let_in(struct file_map *map, const struct part *part)
{
	struct file_map_chunk *chunk = &map->chunks[part->number];
	bool present;

	pthread_mutex_lock(&map->lock);
	look_once(map, part->number);
	present = is_present(chunk, part);
	if (present && !is_kept(chunk))
		keep(map, part->number);
	pthread_mutex_unlock(&map->lock);
	return present;
}

/* Pages are to be read of a chunk that is not kept. */
static bool has_to_wait(const struct file_map *map,
			struct file_map_chunk *chunk, int32_t nr_pages)
{
	int32_t wait = __atomic_load_n(&chunk->wait_pages, __ATOMIC_RELAXED);
	int32_t next = wait - nr_pages;

	if (wait == NEVER_READ) {
		if (__atomic_load_n(&map->nr_kept, __ATOMIC_RELAXED) <
		    FILE_MAP_KEPT_MAX)
			return false;
		next = WAIT_PAGES;
	}
	if (next <= 0)
		return false;
	/* When somebody else has changed it meanwhile, that is as good. */
	__atomic_compare_exchange_n(&chunk->wait_pages, &wait, next, false,
				    __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return true;
}

/* Whether pages that are to be read can be. */
static bool is_readable(struct file_map *map, const struct part *part)
{
	struct file_map_chunk *chunk = &map->chunks[part->number];
	bool present = is_present(chunk, part);

	if (present && is_kept(chunk))
		return true;
	if (!present && __atomic_load_n(&chunk->looked_at, __ATOMIC_RELAXED))
		return false;
	if (!is_kept(chunk) &&
	    has_to_wait(map, chunk, __builtin_popcountll(part->pages)))
		return false;
	return let_in(map, part);
}

bool file_map_read(struct file_map *map, const struct block_io *io)
{
	uint64_t start = io->offset_bytes + io->done_bytes;
	uint64_t end = io->offset_bytes + io->length_bytes;
	struct part part;
	bool done;

	if (!map->bytes || end > map->length_bytes)
		return false;
	for (uint64_t at = start; at < end; at = part.end_bytes) {
		part = first_part(at, end);
		if (!is_readable(map, &part))
			return false;
	}
	done = copy(map->bytes + start, io->iov, io->nr_iov);
	/* What had to make room meanwhile was mapped again. */
	for (uint64_t at = start; at < end; at = part.end_bytes) {
		part = first_part(at, end);
		if (!is_kept(&map->chunks[part.number]))
			unmap_chunk(map, part.number);
	}
	/* Should it get longer again, that is a hole. */
	if (!done)
		file_map_punched(map, start, end - start);
	return done;
}

/* ---- beginning and end ---------------------------------------------- */

/*
 * At a multiple of a chunk, and in room for whole ones: what the kernel maps
 * around a page that is touched is then of the same chunk.
 */
static void map_file(struct file_map *map, uint64_t nr_chunks)
{
	uintptr_t start;

	map->room_bytes = (nr_chunks + 1) * FILE_MAP_CHUNK_BYTES;
	map->room = mmap(NULL, map->room_bytes, PROT_NONE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map->room == MAP_FAILED) {
		map->room = NULL;
		return;
	}
	start = ((uintptr_t)map->room + FILE_MAP_CHUNK_BYTES - 1) /
		FILE_MAP_CHUNK_BYTES * FILE_MAP_CHUNK_BYTES;
	if (mmap((void *)start, map->length_bytes, PROT_READ,
		 MAP_SHARED | MAP_FIXED, map->fd, 0) == MAP_FAILED)
		return;
	map->bytes = (const unsigned char *)start;
	/* To dump what is a hole would fill it. */
	madvise((void *)start, map->length_bytes, MADV_DONTDUMP);
	/* No more than is touched, on a tmpfs of huge pages as well. */
	madvise((void *)start, map->length_bytes, MADV_NOHUGEPAGE);
}

void file_map_init(struct file_map *map, int fd, uint64_t length_bytes)
{
	uint64_t nr_chunks = (length_bytes + FILE_MAP_CHUNK_BYTES - 1) /
			     FILE_MAP_CHUNK_BYTES;

	*map = (struct file_map){ .length_bytes = length_bytes, .fd = fd };
	if (nr_chunks > UINT32_MAX || !catch_sigbus())
		return;
	pthread_mutex_init(&map->lock, NULL);
	map->chunks = calloc(nr_chunks, sizeof(*map->chunks));
	map->kept = calloc(FILE_MAP_KEPT_MAX, sizeof(*map->kept));
	if (map->chunks && map->kept)
		map_file(map, nr_chunks);
	if (!map->bytes)
		file_map_fini(map);
}

void file_map_fini(struct file_map *map)
{
	if (map->room)
		munmap(map->room, map->room_bytes);
	free(map->chunks);
	free(map->kept);
	*map = (struct file_map){ .bytes = NULL };
}
