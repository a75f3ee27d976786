/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat/object-cache.h: what is kept and what is dropped, one load however
 * many ask, the spill file, and that contents are right whatever happens.
 */
#include "git-fat/object-cache.h"

#include "common/list.h"
#include "git-fat/object-table.h"
#include "tests/unit/git-fat/private-tmpfs.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KIB 1024u
#define MIB (1024u * KIB)
#define NR_READERS 8
/* What the cache may count for an entry beside its bytes. */
#define ENTRY_BYTES_MAX 256u

static atomic_int nr_live; /* objects that were made and not released */
static int spill_fd; /* of the last cache_of() */

/* Makes objects whose bytes follow from the key. */
struct maker {
	struct object_loader base;
	uint64_t nr_bytes;
	int fail; /* -errno to return */
	sem_t *entered, *go_on; /* when set: posted, and waited for */
	atomic_int nr_calls;
};

/* Not periodic in any power of two, and never 0. */
static unsigned char content(const struct object_key *key, uint64_t i)
{
	return (unsigned char)(1 + (i * 7 + i / 251 + key->id[0] * 31u +
				    key->id[8] * 17u + key->cluster) %
					   255);
}

/*
 * When set, its spilled bytes are looked at when an object has just been
 * written: their peak.
 */
static struct object_cache *watched;
static uint64_t spilled_bytes_max;

static void release_bytes(void *owner)
{
	struct object_cache_stats stats;

	if (watched) {
		object_cache_get_stats(watched, &stats);
		if (stats.spilled_bytes > spilled_bytes_max)
			spilled_bytes_max = stats.spilled_bytes;
	}
	nr_live--;
	free(owner);
}

static int maker_load(struct object_loader *loader,
		      const struct object_key *key,
		      struct object_bytes *ret_bytes, struct error_text *err)
{
	struct maker *maker = container_of(loader, struct maker, base);
	unsigned char *data;

	maker->nr_calls++;
	if (maker->entered)
		sem_post(maker->entered);
	if (maker->go_on)
		while (sem_wait(maker->go_on) < 0)
			;
	if (maker->fail)
		return error_set(err, maker->fail, "object %d is broken",
				 key->id[0]);
	/* Exactly as long as it says, for the address sanitizer. */
	data = malloc(maker->nr_bytes);
	for (uint64_t i = 0; i < maker->nr_bytes; i++)
		data[i] = content(key, i);
	nr_live++;
	ret_bytes->data = maker->nr_bytes ? data : NULL;
	ret_bytes->nr_bytes = maker->nr_bytes;
	ret_bytes->owner = data;
	ret_bytes->release = release_bytes;
	return 0;
}

static struct maker maker_of(uint64_t nr_bytes)
{
	return (struct maker){ .base.load = maker_load, .nr_bytes = nr_bytes };
}

static struct object_key key_of(unsigned int number)
{
	struct object_key key = { .cluster = 0 };

	memset(key.id, 0xa5, sizeof(key.id));
	key.id[0] = (unsigned char)number;
	key.id[8] = (unsigned char)(number >> 8);
	return key;
}

static struct object_cache *cache_of(uint64_t budget, uint64_t spill_budget)
{
	struct object_cache *cache;

	/* The next to be opened, which is what _new opens. */
	spill_fd = dup(STDERR_FILENO);
	ck_assert_int_ge(spill_fd, 0);
	close(spill_fd);
	ck_assert_int_eq(object_cache_new(budget, spill_budget, &cache), 0);
	return cache;
}

static struct object_cache_stats stats_of(struct object_cache *cache)
{
	struct object_cache_stats stats;

	object_cache_get_stats(cache, &stats);
	return stats;
}

/* Compares what was read from offset on of an object of object_bytes. */
static void check_content(const struct object_key *key, uint64_t object_bytes,
			  uint64_t offset, const unsigned char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t at = offset + i;
		int want = at >= offset && at < object_bytes ? content(key, at)
							     : 0;

		if (data[i] != want)
			ck_abort_msg("object %u, byte %llu: %d, not %d",
				     key->id[0] + 256u * key->id[8],
				     (unsigned long long)at, data[i], want);
	}
}

/* Reads a range, which must be right, of an object of maker->nr_bytes. */
static void read_range(struct object_cache *cache, const struct object_key *key,
		       struct maker *maker, uint64_t offset, size_t n)
{
	unsigned char *data = malloc(n);
	struct error_text err;
	int rc;

	memset(data, 0xee, n);
	rc = object_cache_read(cache, key, offset, data, n, &maker->base, &err);
	ck_assert_msg(rc == 0, "%d: %s", rc, err.text);
	check_content(key, maker->nr_bytes, offset, data, n);
	free(data);
}

static void read_object(struct object_cache *cache, unsigned int number,
			struct maker *maker)
{
	struct object_key key = key_of(number);

	read_range(cache, &key, maker, 0, maker->nr_bytes);
}

static int try_object(struct object_cache *cache, unsigned int number,
		      uint64_t object_bytes)
{
	struct object_key key = key_of(number);
	unsigned char data[64];
	int rc = object_cache_try_read(cache, &key, 0, data, sizeof(data));

	if (rc == 0)
		check_content(&key, object_bytes, 0, data, sizeof(data));
	return rc;
}

/* ---- in memory ----------------------------------------------------------- */

START_TEST(budget_is_honoured)
{
	struct object_cache *cache = cache_of(MIB, MIB);
	struct maker maker = maker_of(0);
	struct object_cache_stats stats;

	for (unsigned int i = 0; i < 500; i++) {
		maker.nr_bytes = i * 509 % (200 * KIB);
		read_object(cache, i, &maker);
		ck_assert_uint_le(stats_of(cache).memory_bytes, MIB);
	}
	stats = stats_of(cache);
	ck_assert_uint_eq(stats.loads, 500);
	ck_assert_uint_eq(stats.hits, 0);
	ck_assert_uint_eq(stats.spills, 0);
	ck_assert_uint_eq(stats.evictions, 500 - (uint64_t)nr_live);
	/* Used, too: no object here is as large as a quarter. */
	ck_assert_uint_ge(stats.memory_bytes, 3 * MIB / 4);
	ck_assert_uint_le(stats.memory_bytes_max, MIB + 201 * KIB);
	ck_assert_uint_ge(stats.memory_bytes_max, stats.memory_bytes);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

START_TEST(least_recently_used_goes_first)
{
	struct object_cache *cache =
		cache_of(4 * (8 * KIB + ENTRY_BYTES_MAX), 0);
	struct maker maker = maker_of(8 * KIB);
	struct object_key key = key_of(2);

	for (unsigned int i = 0; i < 4; i++)
		read_object(cache, i, &maker);
	ck_assert_int_eq(nr_live, 4);
	/* Oldest first: 1 and 3 are left so by a read, a try, a prefetch. */
	read_object(cache, 0, &maker);
	object_cache_prefetch(cache, &key, &maker.base);
	ck_assert_int_eq(maker.nr_calls, 4);
	read_object(cache, 4, &maker);
	ck_assert_int_eq(try_object(cache, 1, 8 * KIB), -EAGAIN);
	ck_assert_int_eq(try_object(cache, 3, 8 * KIB), 0);
	read_object(cache, 5, &maker);
	ck_assert_int_eq(try_object(cache, 0, 8 * KIB), -EAGAIN);
	read_object(cache, 6, &maker);
	ck_assert_int_eq(try_object(cache, 2, 8 * KIB), -EAGAIN);
	for (unsigned int i = 3; i < 7; i++)
		ck_assert_int_eq(try_object(cache, i, 8 * KIB), 0);
	ck_assert_int_eq(maker.nr_calls, 7);
	ck_assert_uint_eq(stats_of(cache).evictions, 3);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

/* Nothing else keeps a million of them in check. */
START_TEST(empty_objects_count)
{
	struct object_cache *cache = cache_of(64 * KIB, MIB);
	struct maker maker = maker_of(0);
	struct object_key key;

	for (unsigned int i = 0; i < 2000; i++) {
		key = key_of(i);
		read_range(cache, &key, &maker, 0, 100);
		ck_assert_int_eq(try_object(cache, i, 0), 0);
	}
	ck_assert_int_gt(nr_live, 100);
	ck_assert_int_lt(nr_live, 1000);
	ck_assert_uint_eq(stats_of(cache).spills, 0);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

START_TEST(bytes_past_the_end_are_zero)
{
	/* In memory, and spilled. */
	struct object_cache *cache = cache_of(_i ? 0 : MIB, MIB);
	struct object_key key = key_of(1);
	struct maker maker = maker_of(5000);

	read_range(cache, &key, &maker, 4990, 100);
	read_range(cache, &key, &maker, 4999, 1);
	read_range(cache, &key, &maker, 5000, 8192);
	read_range(cache, &key, &maker, 5001, 1);
	read_range(cache, &key, &maker, UINT64_MAX - 10, 11);
	read_range(cache, &key, &maker, UINT64_MAX, 1);
	read_range(cache, &key, &maker, 17, 0);
	read_range(cache, &key, &maker, 0, 5000);
	ck_assert_uint_eq(stats_of(cache).spills, _i);
	ck_assert_int_eq(maker.nr_calls, 1);
	object_cache_free(cache);
}
END_TEST

START_TEST(every_part_of_the_key_counts)
{
	struct object_cache *cache = cache_of(MIB, 0);
	struct maker maker = maker_of(1);
	struct object_key key = key_of(1);

	read_range(cache, &key, &maker, 0, 1);
	for (int i = 0; i < 20; i++) {
		key.id[i] ^= 0x80;
		read_range(cache, &key, &maker, 0, 1);
		key.id[i] ^= 0x80;
	}
	/* More than the table has room for: not the hash alone tells them. */
	for (key.cluster = 1; key.cluster < 500; key.cluster++)
		read_range(cache, &key, &maker, 0, 1);
	ck_assert_int_eq(maker.nr_calls, 520);
	key.cluster = 0;
	read_range(cache, &key, &maker, 0, 1);
	ck_assert_int_eq(maker.nr_calls, 520);
	object_cache_free(cache);
}
END_TEST

/* The table grows, and nothing is lost as it does. */
START_TEST(many_objects)
{
	struct object_cache *cache = cache_of(64 * MIB, 0);
	struct maker maker = maker_of(3);

	for (unsigned int i = 0; i < 20000; i++)
		read_object(cache, i, &maker);
	for (unsigned int i = 0; i < 20000; i++)
		ck_assert_int_eq(try_object(cache, i, 3), 0);
	ck_assert_int_eq(maker.nr_calls, 20000);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

#define NR_ALIKE 4096u
#define CHAIN_MAX 16u

/* Whoever wrote a repository chose its ids: their first bytes are all alike. */
START_TEST(alike_ids_are_spread)
{
	static struct object_node nodes[NR_ALIKE];
	struct object_table table;

	ck_assert_int_eq(object_table_init(&table), 0);
	for (unsigned int i = 0; i < NR_ALIKE; i++) {
		nodes[i].key.id[18] = (unsigned char)(i >> 8);
		nodes[i].key.id[19] = (unsigned char)i;
		object_table_insert(&table, &nodes[i]);
	}
	for (size_t i = 0; i < table.nr_buckets; i++) {
		unsigned int length = 0;

		for (const struct object_node *node = table.buckets[i]; node;
		     node = node->next)
			length++;
		ck_assert_uint_le(length, CHAIN_MAX);
	}
	object_table_fini(&table);
}
END_TEST

static const uint64_t tiny[] = { 0, 1, 3, 4, 100, 600, 4096 };

START_TEST(tiny_budgets)
{
	struct maker maker = maker_of(0);

	for (unsigned int i = 0; i < NR_OF(tiny); i++) {
		struct object_cache *cache = cache_of(tiny[i], tiny[_i]);

		for (unsigned int j = 0; j < 60; j++) {
			maker.nr_bytes = j % 20 * 331;
			read_object(cache, j % 20, &maker);
			ck_assert_uint_le(stats_of(cache).memory_bytes,
					  tiny[i]);
			/* One spilled object is allowed whatever its size. */
			ck_assert_uint_le(stats_of(cache).spilled_bytes, 8192);
		}
		object_cache_free(cache);
		ck_assert_int_eq(nr_live, 0);
	}
}
END_TEST

/* ---- threads ------------------------------------------------------------- */

struct reader {
	pthread_t thread;
	struct object_cache *cache;
	struct object_key key;
	struct maker *maker;
	_Atomic pid_t tid; /* set just before it reads */
	bool prefetch;
	int rc;
	struct error_text err;
	unsigned char data[256];
};

static void *reader_run(void *arg)
{
	struct reader *reader = arg;

	reader->tid = (pid_t)syscall(SYS_gettid);
	if (reader->prefetch)
		object_cache_prefetch(reader->cache, &reader->key,
				      &reader->maker->base);
	else
		reader->rc =
			object_cache_read(reader->cache, &reader->key, 0,
					  reader->data, sizeof(reader->data),
					  &reader->maker->base, &reader->err);
	return NULL;
}

static void reader_start(struct reader *reader, struct object_cache *cache,
			 unsigned int number, struct maker *maker)
{
	reader->cache = cache;
	reader->key = key_of(number);
	reader->maker = maker;
	ck_assert_int_eq(
		pthread_create(&reader->thread, NULL, reader_run, reader), 0);
}

/* Waits until the reader sleeps: waits for a load, its own or another's. */
static void reader_await_asleep(struct reader *reader)
{
	char path[64], line[256], state = 0;

	while (!reader->tid)
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
		 (int)reader->tid);
	while (state != 'S') {
		FILE *file = fopen(path, "r");

		ck_assert_ptr_nonnull(file);
		ck_assert_ptr_nonnull(fgets(line, sizeof(line), file));
		fclose(file);
		state = strrchr(line, ')')[2];
		sched_yield();
	}
}

/* All read one object, which is made when all of them wait for it. */
static void read_at_once(struct reader *readers, struct object_cache *cache,
			 struct maker *maker)
{
	sem_t go_on;

	sem_init(&go_on, 0, 0);
	maker->go_on = &go_on;
	for (int i = 0; i < NR_READERS; i++)
		reader_start(&readers[i], cache, 5, maker);
	for (int i = 0; i < NR_READERS; i++)
		reader_await_asleep(&readers[i]);
	ck_assert_int_eq(maker->nr_calls, 1);
	/* For more than one, so that a wrong count ends the test. */
	for (int i = 0; i < NR_READERS; i++)
		sem_post(&go_on);
	for (int i = 0; i < NR_READERS; i++)
		pthread_join(readers[i].thread, NULL);
	maker->go_on = NULL;
	sem_destroy(&go_on);
}

START_TEST(one_load_for_all)
{
	static struct reader readers[NR_READERS];
	struct object_cache *cache = cache_of(_i ? 0 : MIB, MIB);
	struct maker maker = maker_of(200);

	read_at_once(readers, cache, &maker);
	for (int i = 0; i < NR_READERS; i++) {
		ck_assert_int_eq(readers[i].rc, 0);
		check_content(&readers[i].key, 200, 0, readers[i].data, 256);
	}
	ck_assert_uint_eq(stats_of(cache).loads, 1);
	ck_assert_uint_eq(stats_of(cache).hits, NR_READERS - 1);
	ck_assert_uint_eq(stats_of(cache).spills, _i);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

START_TEST(failure_is_for_all_and_forgotten)
{
	static struct reader readers[NR_READERS];
	struct object_cache *cache = cache_of(MIB, 0);
	struct maker maker = maker_of(200);

	maker.fail = -EBADMSG;
	read_at_once(readers, cache, &maker);
	for (int i = 0; i < NR_READERS; i++) {
		ck_assert_int_eq(readers[i].rc, -EBADMSG);
		ck_assert_str_eq(readers[i].err.text, "object 5 is broken");
	}
	ck_assert_uint_eq(stats_of(cache).memory_bytes, 0);
	ck_assert_uint_eq(stats_of(cache).hits, 0);
	ck_assert_int_eq(try_object(cache, 5, 200), -EAGAIN);
	maker.fail = 0;
	read_object(cache, 5, &maker);
	ck_assert_int_eq(maker.nr_calls, 2);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

START_TEST(nothing_waits_but_a_read_of_the_same)
{
	static struct reader reader;
	struct object_cache *cache = cache_of(MIB, MIB);
	struct maker slow = maker_of(200), maker = maker_of(200);
	struct object_key key = key_of(1);
	sem_t entered, go_on;

	sem_init(&entered, 0, 0);
	sem_init(&go_on, 0, 0);
	slow.entered = &entered;
	slow.go_on = &go_on;
	reader.prefetch = _i;
	reader_start(&reader, cache, 1, &slow);
	while (sem_wait(&entered) < 0)
		;
	/* Any of these that waited would wait for good. */
	object_cache_prefetch(cache, &key, &maker.base);
	ck_assert_int_eq(try_object(cache, 1, 200), -EAGAIN);
	ck_assert_int_eq(maker.nr_calls, 0);
	read_object(cache, 2, &maker);
	ck_assert_int_eq(try_object(cache, 2, 200), 0);
	sem_post(&go_on);
	pthread_join(reader.thread, NULL);
	ck_assert_int_eq(reader.rc, 0);
	ck_assert_int_eq(try_object(cache, 1, 200), 0);
	ck_assert_uint_eq(stats_of(cache).loads, 2);
	object_cache_free(cache);
}
END_TEST

START_TEST(prefetch_makes_it)
{
	struct object_cache *cache = cache_of(MIB, 0);
	struct maker maker = maker_of(200);
	struct object_key key = key_of(3);

	maker.fail = -EIO;
	object_cache_prefetch(cache, &key, &maker.base);
	ck_assert_int_eq(try_object(cache, 3, 200), -EAGAIN);
	maker.fail = 0;
	object_cache_prefetch(cache, &key, &maker.base);
	object_cache_prefetch(cache, &key, &maker.base);
	ck_assert_int_eq(maker.nr_calls, 2);
	ck_assert_int_eq(try_object(cache, 3, 200), 0);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

/* ---- spilled ------------------------------------------------------------- */

/* The space that the spill file takes. */
static uint64_t spill_file_bytes(void)
{
	struct stat st;

	ck_assert_int_eq(fstat(spill_fd, &st), 0);
	ck_assert(S_ISREG(st.st_mode));
	ck_assert_uint_eq(st.st_nlink, 0);
	return (uint64_t)st.st_blocks * 512;
}

START_TEST(big_objects_are_spilled)
{
	struct object_cache *cache = cache_of(64 * KIB, 10 * MIB);
	struct maker maker = maker_of(16 * KIB);
	struct object_key key = key_of(1);
	struct object_cache_stats stats;

	read_object(cache, 0, &maker); /* a quarter, and not more */
	ck_assert_uint_eq(stats_of(cache).spills, 0);
	ck_assert_int_eq(try_object(cache, 0, 16 * KIB), 0);
	maker.nr_bytes = 16 * KIB + 1;
	read_object(cache, 2, &maker);
	ck_assert_uint_eq(stats_of(cache).spills, 1);
	maker.nr_bytes = 3 * MIB + 5;
	read_object(cache, 1, &maker);
	stats = stats_of(cache);
	ck_assert_uint_eq(stats.spills, 2);
	ck_assert_uint_lt(stats.memory_bytes, 17 * KIB);
	ck_assert_uint_ge(stats.spilled_bytes, 3 * MIB + 16 * KIB);
	ck_assert_uint_ge(stats.memory_bytes_max, 3 * MIB);
	ck_assert_int_le(nr_live, 1);
	ck_assert_int_eq(try_object(cache, 1, 3 * MIB + 5), -EAGAIN);
	for (unsigned int i = 0; i < 200; i++)
		read_range(cache, &key, &maker, i * 16001, 4099);
	ck_assert_int_eq(maker.nr_calls, 3);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

START_TEST(spilled_space_is_given_back)
{
	struct object_cache *cache = cache_of(0, MIB);
	struct maker maker = maker_of(300 * KIB - 7);

	watched = cache;
	for (unsigned int i = 0; i < 40; i++) {
		read_object(cache, i, &maker);
		ck_assert_uint_le(stats_of(cache).spilled_bytes, MIB);
		ck_assert_uint_le(spill_file_bytes(), MIB + 64 * KIB);
	}
	ck_assert_uint_gt(spilled_bytes_max, 800 * KIB);
	ck_assert_uint_le(spilled_bytes_max, MIB);
	/* The last used three are there. */
	for (unsigned int i = 37; i < 40; i++)
		read_object(cache, i, &maker);
	ck_assert_int_eq(maker.nr_calls, 40);
	read_object(cache, 36, &maker);
	ck_assert_int_eq(maker.nr_calls, 41);
	object_cache_free(cache);
	/* All of it: the file is closed. */
	ck_assert_int_eq(fcntl(spill_fd, F_GETFD), -1);
}
END_TEST

START_TEST(last_spilled_is_kept)
{
	struct object_cache *cache = cache_of(0, 0);
	struct maker maker = maker_of(100 * KIB);

	for (unsigned int i = 0; i < 3; i++) {
		read_object(cache, i, &maker);
		read_object(cache, i, &maker);
	}
	ck_assert_int_eq(maker.nr_calls, 3);
	ck_assert_uint_eq(stats_of(cache).evictions, 2);
	object_cache_free(cache);
}
END_TEST

static void *read_spilled(void *arg)
{
	struct object_cache *cache = arg;
	struct maker maker = maker_of(2 * MIB);

	for (unsigned int i = 0; i < 12; i++)
		read_object(cache, 1, &maker);
	return NULL;
}

/* Each thread's object has the other's dropped while it is being read. */
START_TEST(no_eviction_under_a_reader)
{
	struct object_cache *cache = cache_of(0, 0);
	struct maker maker = maker_of(64 * KIB);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, read_spilled, cache), 0);
	for (unsigned int i = 2; i < 300; i++)
		read_object(cache, i, &maker);
	pthread_join(thread, NULL);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

/* Two that are read at a time are both kept, and then one of them only. */
START_TEST(trimmed_after_reading)
{
	static struct reader readers[2];
	struct object_cache *cache = cache_of(0, 0);
	struct maker maker = maker_of(MIB);

	for (unsigned int round = 0; round < 30; round++) {
		for (unsigned int i = 0; i < 2; i++)
			reader_start(&readers[i], cache, 2 * round + i, &maker);
		for (unsigned int i = 0; i < 2; i++)
			pthread_join(readers[i].thread, NULL);
		ck_assert_uint_eq(stats_of(cache).spilled_bytes, MIB);
	}
	object_cache_free(cache);
}
END_TEST

/* Offsets grow, and come round to gaps of all sizes. */
START_TEST(offsets_come_round)
{
	struct rlimit limit = { MIB, MIB };
	struct object_cache *cache;
	struct maker maker = maker_of(0);

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cache = cache_of(0, 600 * KIB);
	for (unsigned int i = 0; i < 300; i++) {
		unsigned int number = i * i % 23;

		maker.nr_bytes = 1 + number * 7919;
		read_object(cache, number, &maker);
	}
	ck_assert_uint_gt(stats_of(cache).spilled_bytes, 300 * KIB);
	ck_assert_uint_gt(stats_of(cache).hits, 20);
	/* As large as the limit: all the others make way. */
	maker.nr_bytes = MIB;
	read_object(cache, 99, &maker);
	read_object(cache, 99, &maker);
	object_cache_free(cache);
}
END_TEST

/* Objects of 600 KiB do not fit, and those of 200 KiB make way. */
static void check_no_room(struct object_cache *cache, int code)
{
	struct maker small = maker_of(200 * KIB), big = maker_of(600 * KIB);
	struct object_key key = key_of(9);
	struct error_text err = { "" };
	unsigned char byte = 0;

	for (unsigned int i = 0; i < 6; i++)
		read_object(cache, i, &small);
	ck_assert_int_eq(small.nr_calls, 6);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(object_cache_read(cache, &key, 0, &byte, 1,
						   &big.base, &err),
				 code);
		ck_assert_ptr_nonnull(strstr(err.text, "spill file"));
		ck_assert_ptr_nonnull(strstr(err.text, "614400 bytes"));
		ck_assert_ptr_nonnull(strstr(err.text, strerror(-code)));
		ck_assert_uint_eq(stats_of(cache).memory_bytes, 0);
		ck_assert_uint_eq(stats_of(cache).spilled_bytes, 0);
		ck_assert_uint_eq(spill_file_bytes(), 0);
		ck_assert_int_eq(nr_live, 0);
	}
	ck_assert_int_eq(big.nr_calls, 2);
	read_object(cache, 1, &small);
	object_cache_free(cache);
}

START_TEST(file_size_limit)
{
	struct rlimit limit = { 500 * KIB, 500 * KIB };

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	check_no_room(cache_of(0, 10 * MIB), -EFBIG);
}
END_TEST

START_TEST(file_system_is_full)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s/small", unit_dir());
	ck_assert_int_eq(mkdir(dir, 0700), 0);
	ck_assert(private_tmpfs_mount(dir, 0, "size=500k"));
	setenv("TMPDIR", dir, 1);
	check_no_room(cache_of(0, 10 * MIB), -ENOSPC);
}
END_TEST

/* Somebody cuts the file: what was in it can be read once it is made anew. */
START_TEST(a_spilled_object_is_lost)
{
	struct object_cache *cache = cache_of(0, MIB);
	struct maker maker = maker_of(100 * KIB);
	struct object_key key = key_of(7);
	struct error_text err = { "" };
	unsigned char byte;

	read_object(cache, 7, &maker);
	ck_assert_int_eq(ftruncate(spill_fd, 0), 0);
	ck_assert_int_eq(object_cache_read(cache, &key, 5, &byte, 1,
					   &maker.base, &err),
			 -EIO);
	ck_assert_ptr_nonnull(strstr(err.text, "102400 bytes"));
	ck_assert_ptr_nonnull(strstr(err.text, "spill file"));
	ck_assert_uint_eq(stats_of(cache).spilled_bytes, 0);
	read_object(cache, 7, &maker);
	ck_assert_int_eq(maker.nr_calls, 2);
	ck_assert_uint_ge(stats_of(cache).spilled_bytes, 100 * KIB);
	object_cache_free(cache);
}
END_TEST

/* ---- all at once --------------------------------------------------------- */

#define STRESS_OBJECTS 40
#define STRESS_ROUNDS 800

static uint64_t stress_bytes(unsigned int number)
{
	return number * number * 53 % 60000;
}

struct stresser {
	pthread_t thread;
	struct object_cache *cache;
	unsigned int seed;
};

static void stress_once(struct stresser *stresser)
{
	unsigned int number =
		(unsigned int)rand_r(&stresser->seed) % STRESS_OBJECTS;
	unsigned int what = (unsigned int)rand_r(&stresser->seed) % 16;
	struct object_key key = key_of(number);
	struct maker maker = maker_of(stress_bytes(number));
	uint64_t offset = (uint64_t)rand_r(&stresser->seed) % 64000;
	unsigned char data[3000];
	struct error_text err;
	int rc = 0;

	if (what == 0)
		maker.fail = -EIO;
	if (what < 3) {
		object_cache_prefetch(stresser->cache, &key, &maker.base);
		return;
	}
	if (what < 7)
		rc = object_cache_try_read(stresser->cache, &key, offset, data,
					   sizeof(data));
	else
		rc = object_cache_read(stresser->cache, &key, offset, data,
				       sizeof(data), &maker.base, &err);
	if (rc == 0)
		check_content(&key, maker.nr_bytes, offset, data, sizeof(data));
	else if (what < 7)
		ck_assert_int_eq(rc, -EAGAIN);
	else
		ck_assert_int_eq(rc, -EIO); /* a prefetch's, waited for */
}

static void *stress_run(void *arg)
{
	for (int i = 0; i < STRESS_ROUNDS; i++)
		stress_once(arg);
	return NULL;
}

static const struct {
	uint64_t budget, spill_budget;
} stress[] = {
	{ 0, 0 },
	{ 64 * KIB, 0 },
	{ 64 * KIB, 200 * KIB },
	{ 100 * MIB, 0 },
};

START_TEST(contents_under_stress)
{
	struct stresser stressers[NR_READERS];
	struct object_cache *cache =
		cache_of(stress[_i].budget, stress[_i].spill_budget);

	for (unsigned int i = 0; i < NR_READERS; i++) {
		stressers[i].cache = cache;
		stressers[i].seed = i + 1;
		ck_assert_int_eq(pthread_create(&stressers[i].thread, NULL,
						stress_run, &stressers[i]),
				 0);
	}
	for (int i = 0; i < NR_READERS; i++)
		pthread_join(stressers[i].thread, NULL);
	ck_assert_uint_le(stats_of(cache).memory_bytes, stress[_i].budget);
	if (stress[_i].spill_budget)
		ck_assert_uint_le(stats_of(cache).spilled_bytes,
				  stress[_i].spill_budget);
	object_cache_free(cache);
	ck_assert_int_eq(nr_live, 0);
}
END_TEST

/* ---- the suite ----------------------------------------------------------- */

static void add_spill_tests(TCase *tc)
{
	tcase_add_test(tc, big_objects_are_spilled);
	tcase_add_test(tc, spilled_space_is_given_back);
	tcase_add_test(tc, last_spilled_is_kept);
	tcase_add_test(tc, no_eviction_under_a_reader);
	tcase_add_test(tc, offsets_come_round);
	tcase_add_test(tc, file_size_limit);
	tcase_add_test(tc, trimmed_after_reading);
	tcase_add_test(tc, a_spilled_object_is_lost);
	if (private_tmpfs_can_mount())
		tcase_add_test(tc, file_system_is_full);
	else
		unit_skip("object-cache/file_system_is_full",
			  "no right to mount a tmpfs");
}

Suite *suite_object_cache(void)
{
	Suite *suite = suite_create("object-cache");
	TCase *tc = tcase_create("object-cache");

	tcase_add_test(tc, budget_is_honoured);
	tcase_add_test(tc, least_recently_used_goes_first);
	tcase_add_test(tc, empty_objects_count);
	tcase_add_loop_test(tc, bytes_past_the_end_are_zero, 0, 2);
	tcase_add_test(tc, every_part_of_the_key_counts);
	tcase_add_test(tc, many_objects);
	tcase_add_test(tc, alike_ids_are_spread);
	tcase_add_loop_test(tc, tiny_budgets, 0, (int)NR_OF(tiny));
	tcase_add_loop_test(tc, one_load_for_all, 0, 2);
	tcase_add_test(tc, failure_is_for_all_and_forgotten);
	tcase_add_loop_test(tc, nothing_waits_but_a_read_of_the_same, 0, 2);
	tcase_add_test(tc, prefetch_makes_it);
	add_spill_tests(tc);
	tcase_add_loop_test(tc, contents_under_stress, 0, (int)NR_OF(stress));
	suite_add_tcase(suite, tc);
	return suite;
}
