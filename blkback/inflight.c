/* SPDX-License-Identifier: BSD-2-Clause */
/* The in-flight table: its mapping, the stores, and taking it over. */
#include "blkback/inflight.h"

#include "blkback/blkif-abi.h"
#include "providers/provider.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <xen/grant_table.h>

#define PAGE_BYTES 4096u

static size_t queue_bytes(unsigned int nr_slots)
{
	size_t entries = nr_slots * sizeof(struct inflight_entry);

	return INFLIGHT_HEADER_BYTES +
	       (entries + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

size_t inflight_bytes(unsigned int nr_queues, unsigned int nr_slots)
{
	return nr_queues * queue_bytes(nr_slots);
}

int inflight_map(int fd, unsigned int queue, unsigned int nr_queues,
		 unsigned int nr_slots, struct inflight *ret_table)
{
	size_t bytes = queue_bytes(nr_slots);
	struct stat st;
	void *mapping;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != inflight_bytes(nr_queues, nr_slots))
		return -EBADMSG;
	mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       (off_t)(queue * bytes));
	if (mapping == MAP_FAILED)
		return -errno;
	*ret_table = (struct inflight){
		.mapping = mapping,
		.bytes = bytes,
		.nr_entries = nr_slots,
		.header = mapping,
		.entries = (void *)((char *)mapping + INFLIGHT_HEADER_BYTES),
	};
	return 0;
}

void inflight_unmap(struct inflight *table)
{
	if (table->mapping)
		munmap(table->mapping, table->bytes);
	table->mapping = NULL;
}

void inflight_start(struct inflight *table, uint32_t start)
{
	*table->header = (struct inflight_header){
		.version = INFLIGHT_VERSION,
		.nr_entries = table->nr_entries,
		.entry_bytes = sizeof(struct inflight_entry),
		.taken = start,
		.rsp_done = start,
		.rsp_intent = start,
	};
	/* From here on it is one. */
	__atomic_store_n(&table->header->magic, INFLIGHT_MAGIC,
			 __ATOMIC_RELEASE);
}

bool inflight_is_begun(const struct inflight *table)
{
	return table->header->magic != 0;
}

/* ---- the stores -------------------------------------------------------- */

/* Changes whenever one of the words does, whatever the others are. */
static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 32;
}

static uint64_t check_of(const struct inflight_entry *entry)
{
	uint64_t hash = mix(entry->number, entry->id);

	hash = mix(hash, entry->offset_bytes);
	hash = mix(hash, entry->length_bytes);
	hash = mix(hash, (uint64_t)entry->nr_segments << 32 |
				 (uint64_t)entry->operation << 16 |
				 (uint16_t)entry->status);
	for (unsigned int i = 0; i < entry->nr_segments; i++) {
		uint64_t word;

		memcpy(&word, &entry->segments[i], sizeof(word));
		hash = mix(hash, word);
	}
	return hash;
}

#define TRIAL_UNDER_WAY 0x80u

/* A flipped bit shows, here as well. */
static uint16_t pack_trial(unsigned int value)
{
	return (uint16_t)(value | (~value & 0xffu) << 8);
}

void inflight_take(struct inflight_entry *entry, uint64_t number,
		   int16_t status)
{
	entry->number = number;
	entry->status = status;
	entry->trial = pack_trial(0);
	entry->check = check_of(entry);
	__atomic_store_n(&entry->state, INFLIGHT_TAKEN, __ATOMIC_RELEASE);
}

void inflight_publish_taken(struct inflight *table, uint64_t taken)
{
	__atomic_store_n(&table->header->taken, taken, __ATOMIC_RELEASE);
	/* What follows on the medium is behind it, too. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* A flipped bit shows. */
static uint64_t pack_answer(uint32_t rsp_index, int16_t status)
{
	uint16_t parity = (uint16_t)(rsp_index ^ rsp_index >> 16 ^
				     (uint16_t)status ^ 0x5aa5u);

	return (uint64_t)parity << 48 | (uint64_t)(uint16_t)status << 32 |
	       rsp_index;
}

void inflight_done(struct inflight_entry *entry, uint32_t rsp_index,
		   int16_t status)
{
	entry->answer = pack_answer(rsp_index, status);
	__atomic_store_n(&entry->state, INFLIGHT_DONE, __ATOMIC_RELEASE);
	/* The response is written after that. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

void inflight_intend(struct inflight *table, uint32_t rsp_prod)
{
	__atomic_store_n(&table->header->rsp_intent, rsp_prod,
			 __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

void inflight_published(struct inflight *table, uint32_t rsp_prod)
{
	__atomic_store_n(&table->header->rsp_done, rsp_prod, __ATOMIC_RELEASE);
}

void inflight_free(struct inflight_entry *entry)
{
	__atomic_store_n(&entry->state, INFLIGHT_FREE, __ATOMIC_RELEASE);
}

unsigned int inflight_trials(const struct inflight_entry *entry)
{
	return entry->trial & 0xffu & ~TRIAL_UNDER_WAY;
}

static void store_trial(struct inflight_entry *entry, unsigned int value)
{
	__atomic_store_n(&entry->trial, pack_trial(value), __ATOMIC_RELEASE);
}

void inflight_try(struct inflight_entry *entry)
{
	store_trial(entry, inflight_trials(entry) | TRIAL_UNDER_WAY);
	/* It is submitted after that. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

void inflight_tried(struct inflight_entry *entry, bool crashed)
{
	if (entry->trial & TRIAL_UNDER_WAY)
		store_trial(entry, inflight_trials(entry) + crashed);
}

uint32_t inflight_answer_index(const struct inflight_entry *entry)
{
	return (uint32_t)entry->answer;
}

int16_t inflight_answer_status(const struct inflight_entry *entry)
{
	return (int16_t)(entry->answer >> 32);
}

/* ---- taking over ------------------------------------------------------- */

static int check_header(const struct inflight *table, uint32_t rsp_prod,
			struct error_text *err)
{
	const struct inflight_header *header = table->header;
	uint32_t taken = (uint32_t)header->taken;

	if (header->magic != INFLIGHT_MAGIC)
		return error_set(err, -EINVAL, "in-flight table: not one");
	if (header->version != INFLIGHT_VERSION ||
	    header->entry_bytes != sizeof(struct inflight_entry))
		return error_set(err, -EINVAL,
				 "in-flight table: version %u with entries of "
				 "%u bytes is not known here",
				 header->version, header->entry_bytes);
	if (header->nr_entries != table->nr_entries)
		return error_set(err, -EINVAL,
				 "in-flight table: of %u slots, and the ring "
				 "has %u",
				 header->nr_entries, table->nr_entries);
	if (header->rsp_intent - header->rsp_done > table->nr_entries ||
	    rsp_prod - header->rsp_done > header->rsp_intent - header->rsp_done)
		return error_set(err, -EINVAL,
				 "in-flight table: the ring's rsp_prod is %u, "
				 "and was left between %u and %u",
				 rsp_prod, header->rsp_done,
				 header->rsp_intent);
	if (table->nr_entries > INFLIGHT_SLOTS_MAX ||
	    taken - rsp_prod > table->nr_entries)
		return error_set(err, -EINVAL,
				 "in-flight table: %u requests taken and %u "
				 "answered in a ring of %u",
				 taken, rsp_prod, table->nr_entries);
	return 0;
}

static bool segment_is_sane(const struct inflight_segment *segment)
{
	return segment->length_bytes &&
	       !(segment->offset_bytes % BLOCK_SECTOR_BYTES) &&
	       !(segment->length_bytes % BLOCK_SECTOR_BYTES) &&
	       segment->offset_bytes + segment->length_bytes <= PAGE_BYTES;
}

static bool operation_is_sane(const struct inflight_entry *entry)
{
	switch (entry->operation) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
		return entry->nr_segments != 0;
	case BLKIF_OP_WRITE_BARRIER:
	case BLKIF_OP_FLUSH_DISKCACHE:
		return true;
	case BLKIF_OP_DISCARD:
		return entry->nr_segments == 0;
	default:
		return false;
	}
}

static bool trial_is_sane(const struct inflight_entry *entry)
{
	return entry->trial == pack_trial(entry->trial & 0xffu) &&
	       inflight_trials(entry) <= INFLIGHT_TRIALS_MAX;
}

/* As request_parse() makes them. */
static bool entry_is_sane(const struct inflight_entry *entry)
{
	uint64_t length = 0;

	if (entry->nr_segments > INFLIGHT_SEGMENTS_MAX ||
	    entry->check != check_of(entry) || !trial_is_sane(entry))
		return false;
	if (entry->status != BLKIF_RSP_OKAY)
		return entry->status == BLKIF_RSP_ERROR ||
		       entry->status == BLKIF_RSP_EOPNOTSUPP;
	for (unsigned int i = 0; i < entry->nr_segments; i++) {
		if (!segment_is_sane(&entry->segments[i]))
			return false;
		length += entry->segments[i].length_bytes;
	}
	if (entry->nr_segments && length != entry->length_bytes)
		return false;
	return operation_is_sane(entry);
}

static bool answer_is_sane(const struct inflight_entry *entry)
{
	return entry->answer == pack_answer(inflight_answer_index(entry),
					    inflight_answer_status(entry));
}

static int entry_error(unsigned int index, struct error_text *err)
{
	return error_set(err, -EINVAL, "in-flight table: entry %u is damaged",
			 index);
}

/*
 * The last that were taken may not be published, and stay in the ring; the
 * guest may have seen answers of which it is not written down.
 */
static int settle(struct inflight *table, unsigned int index, uint32_t rsp_prod,
		  unsigned int *nr_taken, unsigned int *nr_done,
		  struct error_text *err)
{
	struct inflight_entry *entry = &table->entries[index];

	switch (entry->state) {
	case INFLIGHT_FREE:
		return 0;
	case INFLIGHT_TAKEN:
		if (!entry_is_sane(entry))
			return entry_error(index, err);
		if (entry->number >= table->header->taken)
			inflight_free(entry);
		else
			(*nr_taken)++;
		return 0;
	case INFLIGHT_DONE:
		if (!answer_is_sane(entry) || !entry_is_sane(entry))
			return entry_error(index, err);
		if ((int32_t)(inflight_answer_index(entry) - rsp_prod) < 0)
			inflight_free(entry);
		else
			(*nr_done)++;
		return 0;
	default:
		return entry_error(index, err);
	}
}

/* Those that are DONE are the next answers, each one once. */
static int check_done(const struct inflight *table, uint32_t rsp_prod,
		      unsigned int nr_done, struct error_text *err)
{
	uint64_t seen[INFLIGHT_SLOTS_MAX / 64] = { 0 };

	for (unsigned int i = 0; i < table->nr_entries; i++) {
		const struct inflight_entry *entry = &table->entries[i];
		uint32_t place;

		if (entry->state != INFLIGHT_DONE)
			continue;
		place = inflight_answer_index(entry) - rsp_prod;
		if (place >= nr_done ||
		    seen[place / 64] & UINT64_C(1) << place % 64)
			return error_set(err, -EINVAL,
					 "in-flight table: answer %u is not "
					 "one of the next %u",
					 inflight_answer_index(entry), nr_done);
		seen[place / 64] |= UINT64_C(1) << place % 64;
	}
	return 0;
}

/*
 * Nothing is taken after a barrier until that is answered; but on a disk that has
 * failed those of nothing never are.
 */
static int check_barriers(const struct inflight *table, struct error_text *err)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < table->nr_entries; i++) {
		const struct inflight_entry *entry = &table->entries[i];

		nr += entry->state == INFLIGHT_TAKEN && entry->nr_segments &&
		      entry->operation == BLKIF_OP_WRITE_BARRIER;
	}
	if (nr > 1)
		return error_set(err, -EINVAL, "in-flight table: %u barriers",
				 nr);
	return 0;
}

int inflight_recover(struct inflight *table, uint32_t rsp_prod,
		     struct error_text *err)
{
	unsigned int nr_taken = 0, nr_done = 0;
	int rc = check_header(table, rsp_prod, err);

	for (unsigned int i = 0; !rc && i < table->nr_entries; i++)
		rc = settle(table, i, rsp_prod, &nr_taken, &nr_done, err);
	if (!rc)
		rc = check_done(table, rsp_prod, nr_done, err);
	if (!rc)
		rc = check_barriers(table, err);
	if (rc < 0)
		return rc;
	if (nr_taken + nr_done != (uint32_t)table->header->taken - rsp_prod)
		return error_set(err, -EINVAL,
				 "in-flight table: %u requests, and the ring "
				 "waits for %u answers",
				 nr_taken + nr_done,
				 (uint32_t)table->header->taken - rsp_prod);
	return 0;
}
