/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * blkverify: proves that a disk keeps what it was given.
 *
 *	blkverify write DEV [--bytes=N] [--seed=N] [--min=N] [--max=N]
 *			    [--depth=LO..HI]
 *	blkverify load DEV SECONDS [same options but --bytes]
 *	blkverify sum FILE
 *	blkverify journal DEV [--mode=buffered|direct] [--seed=N] [--count=N]
 *	blkverify replay FILE --acked=N [--seed=N]
 *
 * `write` needs a disk that reads as zeros; it writes at random with varying
 * size and depth, reads everything back and prints the digest that `sum`
 * prints for the image.  `load` mixes writes and verified reads until its time
 * is up; SIGTERM ends it before that, and then all that it wrote is read again.
 * `journal` appends records, each followed by fsync, and prints a line
 * for each that is safe; `replay` demands them all after a power cut.
 *
 * Every sector's content follows from the seed, the sector's number and its
 * generation, so one number per sector is all that must be remembered.  Linux
 * AIO by raw system calls: the program is static and stands alone.
 * Exit status: 0 good, 1 the data is wrong or I/O failed, 2 usage.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
	SECTOR_BYTES = 512,
	SECTOR_WORDS = SECTOR_BYTES / 8,
	RECORD_BYTES = 4096,
	DEPTH_MAX = 64,
	ALIGN_BYTES = 4096,
	/* A guest has little memory: fewer large requests are in flight. */
	INFLIGHT_BYTES_MAX = 8 * 1024 * 1024,
	COMPLAINTS_MAX = 20,
};

struct options {
	uint64_t bytes;
	uint64_t seed;
	uint64_t min_bytes;
	uint64_t max_bytes;
	uint64_t depth_min;
	uint64_t depth_max;
	uint64_t count;
	int64_t acked;
	bool direct;
};

struct slot {
	struct iocb iocb;
	bool busy;
	uint64_t sector;
	uint64_t nr_sectors;
	unsigned char *data;
};

struct disk {
	int fd;
	uint64_t nr_sectors;
	uint64_t seed;
	uint64_t random;
	/* Generation of each sector's content; 0 is "never written here". */
	uint32_t *generation;
	bool zero_is_known;
	uint32_t next_generation;
	aio_context_t aio;
	struct slot slot[DEPTH_MAX];
	unsigned int nr_busy;
	uint64_t bytes_busy;
	uint64_t nr_reads;
	uint64_t nr_writes;
	uint64_t nr_errors;
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static uint64_t disk_random(struct disk *d, uint64_t lo, uint64_t hi)
{
	d->random = mix(d->random);
	return lo + d->random % (hi - lo + 1);
}

static void complain(struct disk *d, const char *what, uint64_t sector,
		     const char *why)
{
	if (d->nr_errors++ < COMPLAINTS_MAX)
		fprintf(stderr, "blkverify: %s at sector %llu: %s\n", what,
			(unsigned long long)sector, why);
}

/* ---- content ---------------------------------------------------------- */

static void sector_fill(uint64_t *word, uint64_t seed, uint64_t sector,
			uint32_t generation)
{
	uint64_t x = mix(seed ^ mix(sector ^ mix(generation)));
	int i;

	/* The first two words tell a person what a stray sector is. */
	word[0] = sector;
	word[1] = generation;
	for (i = 2; i < SECTOR_WORDS; i++)
		word[i] = x = mix(x);
}

static void sector_check(struct disk *d, uint64_t sector, const void *data)
{
	uint64_t want[SECTOR_WORDS] = { 0 };
	uint64_t got[SECTOR_WORDS];
	uint32_t generation = d->generation[sector];
	char why[120];

	if (!generation && !d->zero_is_known)
		return;
	if (generation)
		sector_fill(want, d->seed, sector, generation);
	memcpy(got, data, sizeof(got));
	if (!memcmp(got, want, sizeof(want)))
		return;
	snprintf(why, sizeof(why),
		 "generation %u expected, the content says sector %llu "
		 "generation %llu",
		 generation, (unsigned long long)got[0],
		 (unsigned long long)got[1]);
	complain(d, "wrong content", sector, why);
}

/* ---- asynchronous I/O -------------------------------------------------- */

static int disk_size(int fd, uint64_t *ret_bytes)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISBLK(st.st_mode))
		return ioctl(fd, BLKGETSIZE64, ret_bytes) < 0 ? -errno : 0;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

static int disk_open(struct disk *d, const char *path, const struct options *o)
{
	uint64_t bytes;
	int i, r;

	memset(d, 0, sizeof(*d));
	d->seed = o->seed;
	d->random = mix(o->seed);
	d->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (d->fd < 0)
		return -errno;
	r = disk_size(d->fd, &bytes);
	if (r < 0)
		return r;
	d->nr_sectors = bytes / SECTOR_BYTES;
	d->generation = calloc(d->nr_sectors + 1, sizeof(*d->generation));
	if (!d->nr_sectors || !d->generation)
		return d->nr_sectors ? -ENOMEM : -ENXIO;
	for (i = 0; i < DEPTH_MAX; i++)
		d->slot[i].data = NULL;
	if (syscall(SYS_io_setup, DEPTH_MAX, &d->aio) < 0)
		return -errno;
	return 0;
}

/* Order between overlapping requests is undefined, so none is in flight. */
static bool disk_overlaps(const struct disk *d, uint64_t sector,
			  uint64_t nr_sectors)
{
	int i;

	for (i = 0; i < DEPTH_MAX; i++) {
		const struct slot *s = &d->slot[i];

		if (s->busy && sector < s->sector + s->nr_sectors &&
		    s->sector < sector + nr_sectors)
			return true;
	}
	return false;
}

static struct slot *disk_free_slot(struct disk *d)
{
	int i;

	for (i = 0; i < DEPTH_MAX; i++)
		if (!d->slot[i].busy)
			return &d->slot[i];
	return NULL;
}

static void slot_prepare_data(struct disk *d, struct slot *s)
{
	uint32_t generation = ++d->next_generation;
	uint64_t i;

	for (i = 0; i < s->nr_sectors; i++) {
		uint64_t word[SECTOR_WORDS];

		d->generation[s->sector + i] = generation;
		sector_fill(word, d->seed, s->sector + i, generation);
		memcpy(s->data + i * SECTOR_BYTES, word, sizeof(word));
	}
}

static int disk_submit(struct disk *d, bool write, uint64_t sector,
		       uint64_t nr_sectors)
{
	struct slot *s = disk_free_slot(d);
	struct iocb *iocb;
	void *data;

	if (posix_memalign(&data, ALIGN_BYTES, nr_sectors * SECTOR_BYTES))
		return -ENOMEM;
	s->data = data;
	s->sector = sector;
	s->nr_sectors = nr_sectors;
	if (write)
		slot_prepare_data(d, s);
	iocb = &s->iocb;
	memset(iocb, 0, sizeof(*iocb));
	iocb->aio_data = (uintptr_t)s;
	iocb->aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	iocb->aio_fildes = (uint32_t)d->fd;
	iocb->aio_buf = (uintptr_t)data;
	iocb->aio_nbytes = nr_sectors * SECTOR_BYTES;
	iocb->aio_offset = (int64_t)(sector * SECTOR_BYTES);
	if (syscall(SYS_io_submit, d->aio, 1L, &iocb) != 1)
		return -errno;
	s->busy = true;
	d->nr_busy++;
	d->bytes_busy += iocb->aio_nbytes;
	return 0;
}

static void disk_complete(struct disk *d, const struct io_event *e)
{
	struct slot *s = (struct slot *)(uintptr_t)e->data;
	bool write = s->iocb.aio_lio_opcode == IOCB_CMD_PWRITE;
	uint64_t i;

	if (e->res < 0)
		complain(d, write ? "write" : "read", s->sector,
			 strerror((int)-e->res));
	else if ((uint64_t)e->res != s->iocb.aio_nbytes)
		complain(d, write ? "write" : "read", s->sector, "short");
	else if (!write)
		for (i = 0; i < s->nr_sectors; i++)
			sector_check(d, s->sector + i,
				     s->data + i * SECTOR_BYTES);
	if (write)
		d->nr_writes++;
	else
		d->nr_reads++;
	d->nr_busy--;
	d->bytes_busy -= s->iocb.aio_nbytes;
	s->busy = false;
	free(s->data);
}

/* Waits until no more than the given number are in flight. */
static int disk_reap(struct disk *d, unsigned int nr_left)
{
	while (d->nr_busy > nr_left) {
		struct io_event e[DEPTH_MAX];
		long n = syscall(SYS_io_getevents, d->aio, 1L, (long)DEPTH_MAX,
				 e, NULL);
		long i;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		for (i = 0; i < n; i++)
			disk_complete(d, &e[i]);
	}
	return 0;
}

/* Makes room for one request more, at the given depth. */
static int disk_make_room(struct disk *d, uint64_t depth, uint64_t bytes)
{
	int r = disk_reap(d, (unsigned int)depth - 1);

	while (!r && d->nr_busy && d->bytes_busy + bytes > INFLIGHT_BYTES_MAX)
		r = disk_reap(d, d->nr_busy - 1);
	return r;
}

static int disk_random_request(struct disk *d, const struct options *o,
			       bool write, uint64_t depth, uint64_t *ret_bytes)
{
	uint64_t nr_sectors, sector;
	int r;

	nr_sectors = disk_random(d, o->min_bytes / SECTOR_BYTES,
				 o->max_bytes / SECTOR_BYTES);
	/* Small ones are as likely as large ones: halve at random. */
	nr_sectors >>= disk_random(d, 0, 11);
	if (nr_sectors < o->min_bytes / SECTOR_BYTES)
		nr_sectors = o->min_bytes / SECTOR_BYTES;
	if (nr_sectors > d->nr_sectors)
		nr_sectors = d->nr_sectors;
	sector = disk_random(d, 0, d->nr_sectors - nr_sectors);
	r = disk_make_room(d, depth, nr_sectors * SECTOR_BYTES);
	if (!r && disk_overlaps(d, sector, nr_sectors))
		r = disk_reap(d, 0);
	if (!r)
		r = disk_submit(d, write, sector, nr_sectors);
	*ret_bytes = nr_sectors * SECTOR_BYTES;
	return r;
}

static int disk_read_back(struct disk *d, const struct options *o)
{
	uint64_t sector = 0;

	while (sector < d->nr_sectors) {
		uint64_t n = disk_random(d, 1, 512);
		int r;

		if (n > d->nr_sectors - sector)
			n = d->nr_sectors - sector;
		r = disk_make_room(d, o->depth_max, n * SECTOR_BYTES);
		if (!r)
			r = disk_submit(d, false, sector, n);
		if (r < 0)
			return r;
		sector += n;
	}
	return disk_reap(d, 0);
}

/* ---- digest -------------------------------------------------------------- */

/* Reads a whole file or device through the page cache, in order. */
static int print_sum(const char *path)
{
	static uint64_t buf[128 * 1024 / 8];
	uint64_t digest = 0, bytes = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		ssize_t i;

		for (i = 0; i < n / 8; i++)
			digest = mix(digest ^ buf[i]);
		bytes += (uint64_t)n;
	}
	close(fd);
	if (n < 0)
		return -errno;
	printf("digest %016llx of %llu bytes\n", (unsigned long long)digest,
	       (unsigned long long)bytes);
	return 0;
}

/* ---- the commands -------------------------------------------------------- */

static int report(struct disk *d, const char *what)
{
	printf("%s: %llu writes, %llu reads, %llu errors\n", what,
	       (unsigned long long)d->nr_writes,
	       (unsigned long long)d->nr_reads,
	       (unsigned long long)d->nr_errors);
	fflush(stdout);
	return d->nr_errors ? -EIO : 0;
}

static int command_write(const char *path, const struct options *o)
{
	static struct disk d;
	uint64_t done = 0, depth = 1, bytes;
	int r = disk_open(&d, path, o);

	d.zero_is_known = true;
	while (!r && done < o->bytes) {
		if (disk_random(&d, 0, 63) == 0)
			depth = disk_random(&d, o->depth_min, o->depth_max);
		r = disk_random_request(&d, o, true, depth, &bytes);
		done += bytes;
	}
	if (!r)
		r = disk_reap(&d, 0);
	if (!r && fsync(d.fd) < 0)
		r = -errno;
	if (!r)
		r = disk_read_back(&d, o);
	if (!r)
		r = report(&d, "write");
	if (!r)
		r = print_sum(path);
	return r;
}

static volatile sig_atomic_t load_ended;

static void on_sigterm(int number)
{
	(void)number;
	load_ended = 1;
}

static int command_load(const char *path, const char *seconds,
			const struct options *o)
{
	static struct disk d;
	time_t end = time(NULL) + atol(seconds);
	uint64_t depth = 1, bytes;
	int r = disk_open(&d, path, o);

	sigaction(SIGTERM,
		  &(struct sigaction){ .sa_handler = on_sigterm,
				       .sa_flags = SA_RESTART },
		  NULL);
	while (!r && !load_ended && time(NULL) < end &&
	       d.nr_errors < COMPLAINTS_MAX) {
		if (disk_random(&d, 0, 31) == 0)
			depth = disk_random(&d, o->depth_min, o->depth_max);
		r = disk_random_request(&d, o, disk_random(&d, 0, 1), depth,
					&bytes);
	}
	if (!r)
		r = disk_reap(&d, 0);
	if (!r && load_ended)
		r = disk_read_back(&d, o);
	return r ? r : report(&d, "load");
}

static void record_fill(unsigned char *record, uint64_t seed, uint64_t number)
{
	uint64_t i;

	for (i = 0; i < RECORD_BYTES / SECTOR_BYTES; i++) {
		uint64_t word[SECTOR_WORDS];

		sector_fill(word, seed, number, (uint32_t)i + 1);
		memcpy(record + i * SECTOR_BYTES, word, sizeof(word));
	}
}

static int command_journal(const char *path, const struct options *o)
{
	static unsigned char record[RECORD_BYTES]
		__attribute__((aligned(ALIGN_BYTES)));
	int fd = open(path, O_RDWR | (o->direct ? O_DIRECT : 0));
	uint64_t n, size;
	int r;

	if (fd < 0)
		return -errno;
	r = disk_size(fd, &size);
	if (r < 0)
		return r;
	for (n = 0; n < o->count && (n + 1) * RECORD_BYTES <= size; n++) {
		record_fill(record, o->seed, n);
		if (pwrite(fd, record, RECORD_BYTES,
			   (off_t)(n * RECORD_BYTES)) != RECORD_BYTES)
			return errno ? -errno : -EIO;
		if (fsync(fd) < 0)
			return -errno;
		printf("ACK %llu\n", (unsigned long long)n);
		fflush(stdout);
	}
	return 0;
}

static int command_replay(const char *path, const struct options *o)
{
	static unsigned char got[RECORD_BYTES], want[RECORD_BYTES];
	int fd = open(path, O_RDONLY);
	int64_t n, nr_missing = 0;

	if (fd < 0)
		return -errno;
	if (o->acked < 0)
		return -EINVAL;
	for (n = 0; n <= o->acked; n++) {
		record_fill(want, o->seed, (uint64_t)n);
		if (pread(fd, got, RECORD_BYTES, (off_t)(n * RECORD_BYTES)) ==
			    RECORD_BYTES &&
		    !memcmp(got, want, RECORD_BYTES))
			continue;
		if (nr_missing++ < COMPLAINTS_MAX)
			fprintf(stderr,
				"blkverify: record %lld was "
				"acknowledged and is not there\n",
				(long long)n);
	}
	printf("replay: %lld records acknowledged, %lld missing\n",
	       (long long)o->acked + 1, (long long)nr_missing);
	return nr_missing ? -EIO : 0;
}

/* ---- the command line ------------------------------------------------------ */

static uint64_t parse_size(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 0);

	switch (*end) {
	case 'K':
		return n << 10;
	case 'M':
		return n << 20;
	case 'G':
		return n << 30;
	default:
		return n;
	}
}

static bool parse_depth(struct options *o, const char *s)
{
	unsigned long lo, hi;

	if (sscanf(s, "%lu..%lu", &lo, &hi) != 2)
		return false;
	o->depth_min = lo;
	o->depth_max = hi;
	return lo >= 1 && lo <= hi && hi <= DEPTH_MAX;
}

static bool parse_option(struct options *o, const char *arg)
{
	const char *value = strchr(arg, '=');

	if (!value++)
		return false;
	if (!strncmp(arg, "--bytes=", 8))
		o->bytes = parse_size(value);
	else if (!strncmp(arg, "--seed=", 7))
		o->seed = parse_size(value);
	else if (!strncmp(arg, "--min=", 6))
		o->min_bytes = parse_size(value);
	else if (!strncmp(arg, "--max=", 6))
		o->max_bytes = parse_size(value);
	else if (!strncmp(arg, "--count=", 8))
		o->count = parse_size(value);
	else if (!strncmp(arg, "--acked=", 8))
		o->acked = (int64_t)parse_size(value);
	else if (!strncmp(arg, "--depth=", 8))
		return parse_depth(o, value);
	else if (!strncmp(arg, "--mode=", 7))
		o->direct = !strcmp(value, "direct");
	else
		return false;
	return true;
}

static bool options_valid(const struct options *o)
{
	return o->min_bytes >= SECTOR_BYTES && o->min_bytes <= o->max_bytes &&
	       o->min_bytes % SECTOR_BYTES == 0 &&
	       o->max_bytes <= INFLIGHT_BYTES_MAX;
}

static int usage(void)
{
	fprintf(stderr, "usage: blkverify write|load|sum|journal|replay "
			"DEV ... (see the source's head)\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct options o = {
		.bytes = 256 << 20,
		.seed = 1,
		.min_bytes = 512,
		.max_bytes = 1 << 20,
		.depth_min = 1,
		.depth_max = DEPTH_MAX,
		.count = UINT64_MAX,
		.acked = -1,
	};
	bool load = argc > 1 && !strcmp(argv[1], "load");
	int i, r = -EINVAL;

	if (argc < (load ? 4 : 3))
		return usage();
	for (i = load ? 4 : 3; i < argc; i++)
		if (!parse_option(&o, argv[i]))
			return usage();
	if (!options_valid(&o))
		return usage();
	if (load)
		r = command_load(argv[2], argv[3], &o);
	else if (!strcmp(argv[1], "write"))
		r = command_write(argv[2], &o);
	else if (!strcmp(argv[1], "sum"))
		r = print_sum(argv[2]);
	else if (!strcmp(argv[1], "journal"))
		r = command_journal(argv[2], &o);
	else if (!strcmp(argv[1], "replay"))
		r = command_replay(argv[2], &o);
	else
		return usage();
	if (r < 0)
		fprintf(stderr, "blkverify: %s '%s': %s\n", argv[1], argv[2],
			strerror(-r));
	return r < 0;
}
