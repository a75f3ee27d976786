/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An NBD disk under test: opened as the data path opens it, with one queue on
 * a loop, and I/O one at a time or many at once.
 */
#ifndef XEN_DISKD_UNIT_NBD_DISK_H
#define XEN_DISKD_UNIT_NBD_DISK_H

#include "providers/provider.h"
#include "tests/unit/nbd/server.h"

#include <stdint.h>

extern struct block_provider *provider;
extern struct block_queue *queue;
extern struct io_loop *loop;
extern struct error_text err;
extern struct block_status status;
extern unsigned int nr_failed; /* calls of the provider's callback */
extern char failed_cause[ERROR_TEXT_BYTES];

/* A buffer of 4 MiB, aligned to a page, for do_*(). */
extern unsigned char *buffer;
#define BUFFER_BYTES (4u << 20)

/* For tests' fixtures; the teardown closes whatever is open. */
void disk_setup(void);
void disk_teardown(void);

/* The spec for a server: "" or "opt=1&opt=2". */
const char *disk_spec(const struct server *server, const char *scheme,
		      const char *export_name, const char *options);

int disk_open_spec(const char *spec, bool read_only);
/* Has to succeed; also opens the queue. */
void disk_open(const struct server *server, const char *options);
/* After another process; -errno with err; without a queue. */
int disk_open_after(const struct server *server, const char *options,
		    const struct block_left *left);
/*
 * As the successor of one that died and whose record is record_fd, and which goes
 * on with what that had under way; has to succeed; without a queue.
 */
void disk_open_left(const struct server *server, const char *options,
		    int record_fd);
void disk_open_queue(void);
void disk_close_queue(void);
void disk_close(void);

/* One I/O with the first bytes of the buffer: its error. */
int do_io(enum block_op op, uint64_t offset, size_t bytes, unsigned int nr_iov);
int do_read(uint64_t offset, size_t bytes);
int do_write(uint64_t offset, size_t bytes);
int do_flush(void);

/* Fills the buffer, or finds it filled. */
void fill(size_t bytes, unsigned int seed);
void check_filled(size_t bytes, unsigned int seed);

/* I/O in the background, of one page each. */
#define DISK_SLOTS 64u
struct disk_slot {
	struct block_io io;
	struct iovec iov;
	unsigned char *page;
	bool busy;
	uint64_t cookie; /* the test's */
	uint64_t again; /* the I/O's, as the test sets it */
};
extern struct disk_slot slots[DISK_SLOTS];

/* A slot that is not busy, or NULL. */
struct disk_slot *slot_get_free(void);
void slot_submit(struct disk_slot *slot, enum block_op op, uint64_t offset,
		 size_t bytes);
/* One that has ended, or NULL; runs the loop for at most so long. */
struct disk_slot *slot_next_done(unsigned int wait_ms);
unsigned int slots_busy(void);

/* Runs the loop for a while, or until a condition holds (a failure if not). */
void run_loop_ms(unsigned int ms);
void run_loop_until(bool (*condition)(void), unsigned int ms);
bool disk_is_connected(void);

#endif
