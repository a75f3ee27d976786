/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzzes what a successor finds in the in-flight table, which the worker before
 * it may have written anything to.  What is refused is fine; of what is taken,
 * requests and answers have to be such as there can be.  For libFuzzer.
 *
 * An input is changes to a table with requests taken, answered and tried: four
 * bytes each, of which the first says what the others mean.
 */
#include "blkback/blkif-abi.h"
#include "blkback/inflight.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 32u
#define START 0xfffffffcu
/* Those that are changed: the head of an entry, and some segments. */
#define ENTRY_BYTES 128u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct inflight table;
static uint32_t rsp_prod;

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void map_table(void)
{
	int fd = memfd_create("table", MFD_CLOEXEC);

	require(fd >= 0 && ftruncate(fd, (off_t)inflight_bytes(1, SLOTS)) == 0,
		"no memory");
	require(inflight_map(fd, 0, 1, SLOTS, &table) == 0, "not mapped");
	close(fd);
}

static void take(unsigned int i, uint8_t operation, uint16_t nr_segments)
{
	struct inflight_entry *entry = &table.entries[i];

	entry->operation = operation;
	entry->nr_segments = nr_segments;
	entry->id = 100 + i;
	entry->offset_bytes = 4096 * (uint64_t)i;
	entry->length_bytes = nr_segments * UINT64_C(4096);
	for (uint16_t s = 0; s < nr_segments; s++)
		entry->segments[s] =
			(struct inflight_segment){ 8u + s, 0, 4096 };
	inflight_take(entry, (uint64_t)START + i, BLKIF_RSP_OKAY);
}

/* Eight requests, of which two are answered and one of these is seen. */
static void make_table(void)
{
	static const uint8_t operations[] = {
		BLKIF_OP_READ,  BLKIF_OP_WRITE, BLKIF_OP_FLUSH_DISKCACHE,
		BLKIF_OP_WRITE, BLKIF_OP_READ,  BLKIF_OP_WRITE_BARRIER,
	};

	memset(table.mapping, 0, table.bytes);
	inflight_start(&table, START);
	for (unsigned int i = 0; i < 6; i++)
		take(i, operations[i],
		     operations[i] == BLKIF_OP_FLUSH_DISKCACHE ? 0 : 1 + i);
	inflight_publish_taken(&table, (uint64_t)START + 6);
	inflight_done(&table.entries[1], START, BLKIF_RSP_OKAY);
	inflight_done(&table.entries[4], START + 1, BLKIF_RSP_ERROR);
	inflight_intend(&table, START + 2);
	inflight_try(&table.entries[0]);
	rsp_prod = START + 1;
}

static void change(const uint8_t change[4])
{
	struct inflight_entry *entry = &table.entries[change[1] % SLOTS];
	uint8_t *bytes = (uint8_t *)table.header;

	switch (change[0] % 6) {
	case 0:
		bytes[change[2] % sizeof(*table.header)] = change[3];
		break;
	case 1:
		bytes = (uint8_t *)entry;
		bytes[change[2] % ENTRY_BYTES] = change[3];
		break;
	case 2: /* with a checksum that fits, if there is one to be had */
		if (entry->nr_segments <= INFLIGHT_SEGMENTS_MAX)
			inflight_take(entry, entry->number, entry->status);
		break;
	case 3:
		inflight_done(entry, START + change[2], (int8_t)change[3]);
		break;
	case 4:
		inflight_try(entry);
		if (change[2] & 1)
			inflight_tried(entry, change[2] & 2);
		break;
	default:
		rsp_prod = START + change[2];
	}
}

static void check_taken(const struct inflight_entry *entry)
{
	uint64_t length = 0;

	require(entry->number < table.header->taken, "in the ring still");
	require(inflight_trials(entry) <= INFLIGHT_TRIALS_MAX, "trials");
	require(entry->nr_segments <= INFLIGHT_SEGMENTS_MAX, "segments");
	if (entry->status != BLKIF_RSP_OKAY)
		return;
	for (unsigned int i = 0; i < entry->nr_segments; i++) {
		const struct inflight_segment *segment = &entry->segments[i];

		require(segment->length_bytes &&
				!(segment->offset_bytes % 512) &&
				!(segment->length_bytes % 512) &&
				segment->offset_bytes + segment->length_bytes <=
					4096,
			"a segment");
		length += segment->length_bytes;
	}
	require(!entry->nr_segments || length == entry->length_bytes,
		"its length");
}

static void check_table(void)
{
	uint32_t nr_taken = 0, nr_done = 0, nr_barriers = 0;
	uint64_t places = 0;

	for (unsigned int i = 0; i < SLOTS; i++) {
		const struct inflight_entry *entry = &table.entries[i];

		if (entry->state == INFLIGHT_TAKEN) {
			check_taken(entry);
			nr_barriers +=
				entry->nr_segments &&
				entry->operation == BLKIF_OP_WRITE_BARRIER;
			nr_taken++;
		} else if (entry->state == INFLIGHT_DONE) {
			uint32_t place =
				inflight_answer_index(entry) - rsp_prod;

			require(place < SLOTS, "an answer's place");
			places |= UINT64_C(1) << place;
			nr_done++;
		} else {
			require(entry->state == INFLIGHT_FREE, "a state");
		}
	}
	require(places + 1 == UINT64_C(1) << nr_done, "answers with a gap");
	require(nr_barriers <= 1, "barriers");
	require(nr_taken + nr_done == (uint32_t)table.header->taken - rsp_prod,
		"they do not add up");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error_text err = { .text = "" };
	int rc;

	if (!table.mapping)
		map_table();
	make_table();
	for (size_t i = 0; i + 4 <= size; i += 4)
		change(data + i);
	rc = inflight_recover(&table, rsp_prod, &err);
	require(rc == 0 || (rc == -EINVAL && err.text[0]), "no reason");
	if (rc < 0)
		return 0;
	check_table();
	/* Whoever is killed meanwhile leaves the same. */
	require(inflight_recover(&table, rsp_prod, &err) == 0, "not twice");
	check_table();
	return 0;
}
