/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a disk may hold: each sector that is written is filled with words that
 * name the write, and the oracle knows when each was submitted and when it was
 * acknowledged, or came to lie before a barrier.  A word is lost data when its
 * write was acknowledged before a later one was submitted that has been
 * acknowledged, too.  The daemon has no part in it.
 */
#ifndef XEN_DISKD_TEST_ORACLE_H
#define XEN_DISKD_TEST_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#define ORACLE_SECTORS 2048u
#define ORACLE_WRITES (1u << 24)

struct oracle {
	uint64_t now; /* counts submissions and answers */
	uint32_t nr_writes; /* the first fills the new disk */
	uint32_t first_unbound; /* all before it are acknowledged or bound */
	struct oracle_write {
		uint64_t submitted;
		uint64_t bound; /* later writes are after it; 0: not yet */
	} * writes;
	/* Of each sector, the latest submission of what was acknowledged. */
	uint64_t floor[ORACLE_SECTORS];
	/* Of those that are acknowledged, the latest bound. */
	uint64_t discard_bound[ORACLE_SECTORS];
	unsigned int nr_discards[ORACLE_SECTORS]; /* that are not */
};

void oracle_init(struct oracle *oracle);
void oracle_fini(struct oracle *oracle);
/* The new disk's bytes. */
void oracle_fill_disk(uint8_t *bytes);

/* A write, or discard, is submitted; its number.  It has data, or NULL. */
uint32_t oracle_submit(struct oracle *oracle, uint64_t sector, unsigned int nr,
		       uint8_t *ret_data);
/* All that was submitted is before all that will be. */
void oracle_barrier(struct oracle *oracle);
void oracle_written(struct oracle *oracle, uint32_t number, uint64_t sector,
		    unsigned int nr);
void oracle_discarded(struct oracle *oracle, uint32_t number, uint64_t sector,
		      unsigned int nr);

/*
 * Ends the test unless all words are of writes that were possible when the
 * floor of these sectors was as given, or is still possible.
 */
void oracle_check(const struct oracle *oracle, uint64_t sector, unsigned int nr,
		  const uint64_t *floor, const uint8_t *bytes,
		  const char *where);

#endif
