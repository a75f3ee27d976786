/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hashing object ids for tables in memory.
 *
 * An id is what a repository says that it is: nothing is hashed when it is
 * read, so whoever wrote it can have any number of objects whose ids are alike
 * in most bytes.  All bytes count, under keys that nobody knows.
 *
 * Source: Lemire and Kaser, "Strongly universal string hashing is fast", 2014:
 * MULTILINEAR.
 */
#ifndef XEN_DISKD_ID_HASH_H
#define XEN_DISKD_ID_HASH_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#define ID_HASH_WORDS 5u /* of 32 bits in an id */

struct id_hash {
	uint64_t constant, of_number, of_words[ID_HASH_WORDS];
};

/* Draws keys; -errno of getrandom(2). */
static inline int id_hash_init(struct id_hash *hash)
{
	ssize_t got;

	do
		got = getrandom(hash, sizeof(*hash), 0);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return got == sizeof(*hash) ? 0 : -EIO;
}

/* Of an id and a number that goes with it. */
static inline uint32_t id_hash_of(const struct id_hash *hash,
				  const unsigned char id[20], uint32_t number)
{
	uint64_t sum = hash->constant + hash->of_number * number;
	uint32_t words[ID_HASH_WORDS];

	memcpy(words, id, sizeof(words));
	for (unsigned int i = 0; i < ID_HASH_WORDS; i++)
		sum += hash->of_words[i] * words[i];
	return (uint32_t)(sum >> 32);
}

#endif
