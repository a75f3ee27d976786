/* SPDX-License-Identifier: BSD-2-Clause */
/* The record of acknowledged writes, as a ring in a memfd. */
#include "nbd-client/dirty-record.h"

#include "common/sealed-memfd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RECORD_MAGIC UINT64_C(0x3331444e44444558) /* "XEDDND13", backwards */
#define ALIGN_BYTES 64u
/* The length of what fills the ring's end up: no write has it. */
#define FILLER UINT32_MAX

/* In the memfd.  Places count bytes and never wrap; modulo the size they do. */
struct record_header {
	uint64_t magic;
	uint64_t nr_bytes; /* of the ring behind the header */
	uint64_t start, end;
	uint8_t reserved[4096 - 32];
	uint8_t notes[DIRTY_RECORD_NOTES_BYTES];
};
_Static_assert(sizeof(struct record_header) == 4096 + DIRTY_RECORD_NOTES_BYTES,
	       "");

struct write_header {
	uint64_t offset_bytes;
	uint32_t length_bytes;
	uint32_t reserved;
	uint8_t padding[ALIGN_BYTES - 16];
};
_Static_assert(sizeof(struct write_header) == ALIGN_BYTES, "");

struct dirty_record {
	int fd;
	struct record_header *header;
	unsigned char *ring;
	uint64_t nr_bytes;
	/* Our own copies: nobody else may move them under us. */
	uint64_t start, end;
};

static uint64_t write_bytes(uint32_t length_bytes)
{
	return sizeof(struct write_header) +
	       ((uint64_t)length_bytes + ALIGN_BYTES - 1) / ALIGN_BYTES *
		       ALIGN_BYTES;
}

static struct write_header *at(const struct dirty_record *record,
			       uint64_t place)
{
	return (struct write_header *)(record->ring + place % record->nr_bytes);
}

/* What is before it must be there when the place is seen. */
static void publish(uint64_t *shared, uint64_t place)
{
	__atomic_store_n(shared, place, __ATOMIC_RELEASE);
}

/* Takes the descriptor over. */
static int map_record(int fd, uint64_t nr_bytes,
		      struct dirty_record **ret_record)
{
	struct dirty_record *record = calloc(1, sizeof(*record));
	void *mapping = MAP_FAILED;
	int rc = -ENOMEM;

	if (record) {
		mapping = mmap(NULL, sizeof(*record->header) + nr_bytes,
			       PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rc = -errno;
	}
	if (mapping == MAP_FAILED) {
		free(record);
		close(fd);
		return rc;
	}
	record->fd = fd;
	record->nr_bytes = nr_bytes;
	record->header = mapping;
	record->ring = (unsigned char *)mapping + sizeof(*record->header);
	*ret_record = record;
	return 0;
}

static uint64_t whole_pages(uint64_t nr_bytes)
{
	return (nr_bytes + 4095) / 4096 * 4096;
}

int dirty_record_new(uint64_t nr_bytes, struct dirty_record **ret_record)
{
	struct dirty_record *record;
	int fd, rc;

	nr_bytes = whole_pages(nr_bytes);
	fd = sealed_memfd_new("xen-diskd-dirty",
			      sizeof(struct record_header) + nr_bytes);
	if (fd < 0)
		return fd;
	rc = map_record(fd, nr_bytes, &record);
	if (rc < 0)
		return rc;
	record->header->nr_bytes = nr_bytes;
	record->header->magic = RECORD_MAGIC;
	*ret_record = record;
	return 0;
}

/* The place behind a write or a filler, or 0 if it is neither. */
static uint64_t check_write(const struct dirty_record *record, uint64_t place)
{
	uint64_t to_end = record->nr_bytes - place % record->nr_bytes;
	uint32_t length = at(record, place)->length_bytes;
	uint64_t bytes = length == FILLER ? to_end : write_bytes(length);

	return bytes > to_end || bytes > record->end - place ? 0
							     : place + bytes;
}

static bool is_within(const struct write_header *write, uint64_t size_bytes,
		      uint32_t unit_bytes, uint32_t most_bytes)
{
	return write->length_bytes && write->length_bytes <= most_bytes &&
	       write->length_bytes <= size_bytes &&
	       write->offset_bytes <= size_bytes - write->length_bytes &&
	       write->offset_bytes % unit_bytes == 0 &&
	       write->length_bytes % unit_bytes == 0;
}

int dirty_record_check(struct dirty_record *record, uint64_t size_bytes,
		       uint32_t unit_bytes, uint32_t most_bytes)
{
	struct record_header *header = record->header;
	uint64_t place, next;

	record->start = header->start;
	record->end = header->end;
	/* No place is ever so high that the next ones could wrap. */
	if (record->start > record->end || record->end > INT64_MAX ||
	    record->end - record->start > record->nr_bytes ||
	    record->start % ALIGN_BYTES || record->end % ALIGN_BYTES)
		return -EINVAL;
	for (place = record->start; place != record->end; place = next) {
		const struct write_header *write = at(record, place);
		bool filler = write->length_bytes == FILLER;

		next = check_write(record, place);
		if (!next || (!filler && !is_within(write, size_bytes,
						    unit_bytes, most_bytes)))
			return -EINVAL;
		/* Its write did not come to be. */
		if (next == record->end && filler)
			record->end = next = place;
	}
	publish(&header->end, record->end);
	return 0;
}

int dirty_record_adopt(int fd, uint64_t nr_bytes,
		       struct dirty_record **ret_record)
{
	struct dirty_record *record;
	int rc;

	nr_bytes = whole_pages(nr_bytes);
	if (!sealed_memfd_is(fd, sizeof(struct record_header) + nr_bytes))
		return -EINVAL;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = map_record(fd, nr_bytes, &record);
	if (rc < 0)
		return rc;
	if (record->header->magic != RECORD_MAGIC ||
	    record->header->nr_bytes != nr_bytes) {
		dirty_record_free(record);
		return -EINVAL;
	}
	*ret_record = record;
	return 0;
}

void dirty_record_free(struct dirty_record *record)
{
	if (!record)
		return;
	munmap(record->header, sizeof(*record->header) + record->nr_bytes);
	close(record->fd);
	free(record);
}

int dirty_record_fd(const struct dirty_record *record)
{
	return record->fd;
}

void *dirty_record_notes(const struct dirty_record *record)
{
	return record->header->notes;
}

/* To the front of the ring.  What is empty stays so. */
static void skip(struct dirty_record *record, uint64_t filler)
{
	bool empty = record->start == record->end;

	record->end += filler;
	publish(&record->header->end, record->end);
	if (empty)
		dirty_record_drop(record, record->end);
}

int dirty_record_add(struct dirty_record *record, uint64_t offset_bytes,
		     const void *data, uint32_t length_bytes)
{
	uint64_t bytes = write_bytes(length_bytes);
	uint64_t to_end = record->nr_bytes - record->end % record->nr_bytes;
	uint64_t filler = bytes > to_end ? to_end : 0;
	struct write_header *header;

	if (length_bytes == FILLER || bytes > record->nr_bytes)
		return -ENOSPC;
	/* With nothing to keep, what fills the end up costs no room. */
	if (record->end - record->start + bytes +
		    (record->start == record->end ? 0 : filler) >
	    record->nr_bytes)
		return -ENOSPC;
	if (filler) {
		at(record, record->end)->length_bytes = FILLER;
		skip(record, filler);
	}
	header = at(record, record->end);
	header->offset_bytes = offset_bytes;
	header->length_bytes = length_bytes;
	memcpy(header + 1, data, length_bytes);
	record->end += bytes;
	publish(&record->header->end, record->end);
	return 0;
}

uint64_t dirty_record_start(const struct dirty_record *record)
{
	return record->start;
}

uint64_t dirty_record_end(const struct dirty_record *record)
{
	return record->end;
}

int dirty_record_get(const struct dirty_record *record, uint64_t place,
		     struct dirty_write *ret_write)
{
	const struct write_header *header = at(record, place);
	uint32_t length;

	assert(place >= record->start && place < record->end);
	length = __atomic_load_n(&header->length_bytes, __ATOMIC_RELAXED);
	if (length == FILLER) {
		place += record->nr_bytes - place % record->nr_bytes;
		header = at(record, place);
		length = __atomic_load_n(&header->length_bytes,
					 __ATOMIC_RELAXED);
	}
	if (place >= record->end || !length || length == FILLER ||
	    write_bytes(length) > record->end - place ||
	    write_bytes(length) > record->nr_bytes - place % record->nr_bytes)
		return -EINVAL;
	*ret_write = (struct dirty_write){
		.offset_bytes = header->offset_bytes,
		.length_bytes = length,
		.data = header + 1,
		.next = place + write_bytes(length),
	};
	return 0;
}

void dirty_record_drop(struct dirty_record *record, uint64_t place)
{
	if (place <= record->start)
		return;
	assert(place <= record->end);
	record->start = place;
	publish(&record->header->start, place);
}
