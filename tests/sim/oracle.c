/* SPDX-License-Identifier: BSD-2-Clause */
/* Which write each word of a disk is of, and whether it may be. */
#include "tests/sim/oracle.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/sim/blkfront.h"

#define WORDS (FE_SECTOR / sizeof(uint64_t))

/* The number of the write, and a check that fits no other place. */
static uint64_t word_of(uint32_t number, uint64_t sector, unsigned int i)
{
	uint64_t hash = ((uint64_t)number << 32 | sector << 6 | i) *
			UINT64_C(0x9e3779b97f4a7c15);

	return (hash ^ hash >> 29) << 32 | number;
}

static void fill(uint32_t number, uint64_t sector, unsigned int nr,
		 uint8_t *bytes)
{
	for (unsigned int s = 0; s < nr; s++)
		for (unsigned int i = 0; i < WORDS; i++) {
			uint64_t word = word_of(number, sector + s, i);

			memcpy(bytes, &word, sizeof(word));
			bytes += sizeof(word);
		}
}

void oracle_init(struct oracle *oracle)
{
	memset(oracle, 0, sizeof(*oracle));
	/* Touched as far as it is used. */
	oracle->writes =
		mmap(NULL, ORACLE_WRITES * sizeof(*oracle->writes),
		     PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need(oracle->writes != MAP_FAILED, "mmap: %s", strerror(errno));
	/* Number 0 is none, and 1 is what the disk begins with. */
	oracle->now = 2;
	oracle->nr_writes = oracle->first_unbound = 2;
	oracle->writes[1] = (struct oracle_write){ 1, 1 };
}

void oracle_fini(struct oracle *oracle)
{
	munmap(oracle->writes, ORACLE_WRITES * sizeof(*oracle->writes));
}

void oracle_fill_disk(uint8_t *bytes)
{
	fill(1, 0, ORACLE_SECTORS, bytes);
}

uint32_t oracle_submit(struct oracle *oracle, uint64_t sector, unsigned int nr,
		       uint8_t *ret_data)
{
	uint32_t number = oracle->nr_writes++;

	need(number < ORACLE_WRITES, "too many writes for the oracle");
	oracle->writes[number].submitted = oracle->now++;
	if (ret_data)
		fill(number, sector, nr, ret_data);
	else
		for (unsigned int s = 0; s < nr; s++)
			oracle->nr_discards[sector + s]++;
	return number;
}

void oracle_barrier(struct oracle *oracle)
{
	for (uint32_t i = oracle->first_unbound; i < oracle->nr_writes; i++)
		if (!oracle->writes[i].bound)
			oracle->writes[i].bound = oracle->now;
	oracle->first_unbound = oracle->nr_writes;
	oracle->now++;
}

static void acknowledged(struct oracle *oracle, uint32_t number)
{
	struct oracle_write *write = &oracle->writes[number];

	if (!write->bound)
		write->bound = oracle->now;
	oracle->now++;
	while (oracle->first_unbound < oracle->nr_writes &&
	       oracle->writes[oracle->first_unbound].bound)
		oracle->first_unbound++;
}

void oracle_written(struct oracle *oracle, uint32_t number, uint64_t sector,
		    unsigned int nr)
{
	uint64_t submitted = oracle->writes[number].submitted;

	for (unsigned int s = 0; s < nr; s++)
		if (oracle->floor[sector + s] < submitted)
			oracle->floor[sector + s] = submitted;
	acknowledged(oracle, number);
}

/* It may have done nothing: what was there before stays possible. */
void oracle_discarded(struct oracle *oracle, uint32_t number, uint64_t sector,
		      unsigned int nr)
{
	acknowledged(oracle, number);
	for (unsigned int s = 0; s < nr; s++) {
		uint64_t *bound = &oracle->discard_bound[sector + s];

		oracle->nr_discards[sector + s]--;
		if (*bound < oracle->writes[number].bound)
			*bound = oracle->writes[number].bound;
	}
}

/* Until when what the word is of was not yet settled; 0 is never. */
static uint64_t bound_of(const struct oracle *oracle, uint64_t word,
			 uint64_t sector, unsigned int i)
{
	uint32_t number = (uint32_t)word;

	if (!word)
		return oracle->nr_discards[sector]
			       ? UINT64_MAX
			       : oracle->discard_bound[sector];
	if (number >= oracle->nr_writes || word != word_of(number, sector, i))
		return 0;
	return oracle->writes[number].bound ? oracle->writes[number].bound
					    : UINT64_MAX;
}

void oracle_check(const struct oracle *oracle, uint64_t sector, unsigned int nr,
		  const uint64_t *floor, const uint8_t *bytes,
		  const char *where)
{
	for (unsigned int i = 0; i < nr * WORDS; i++) {
		uint64_t word, bound, at = sector + i / WORDS;

		memcpy(&word, bytes + i * sizeof(word), sizeof(word));
		bound = bound_of(oracle, word, at, i % WORDS);
		need(bound, "%s: sector %llu word %u is %#llx: nobody wrote it",
		     where, (unsigned long long)at, (unsigned int)(i % WORDS),
		     (unsigned long long)word);
		need(bound >= floor[i / WORDS],
		     "%s: sector %llu word %u is %#llx, which was settled at "
		     "%llu, and a write of %llu is acknowledged",
		     where, (unsigned long long)at, (unsigned int)(i % WORDS),
		     (unsigned long long)word, (unsigned long long)bound,
		     (unsigned long long)floor[i / WORDS]);
	}
}
