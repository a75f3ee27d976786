/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The contract between the data path and whatever provides a disk's bytes.
 *
 * Users of a provider call the block_provider_*, block_queue_* and
 * block_submit() functions below.  They are the one checked wrapper: by the
 * time an implementation's submit sees an I/O, it lies within the disk, is
 * aligned to 512 bytes, its vector adds up, and its operation is one that the
 * disk has and may do.
 *
 * Threads: open and close run on the worker's main thread; everything that
 * takes a struct block_queue runs on that queue's own thread, which is also
 * the thread of the queue's io_loop.  An implementation guards what its
 * queues share.
 */
#ifndef XEN_DISKD_PROVIDER_H
#define XEN_DISKD_PROVIDER_H

#include "common/error-text.h"
#include "common/io-loop.h"
#include "common/list.h"
#include "providers/provider-spec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* The unit of the guest's requests (blkif.h), whatever the medium's is. */
#define BLOCK_SECTOR_BYTES 512u

/* A hash of 256 bits in hexadecimal, and a NUL. */
#define BLOCK_VERSION_BYTES 65

enum block_op {
	BLOCK_OP_READ,
	BLOCK_OP_WRITE,
	/* Makes every write that was complete before it durable. */
	BLOCK_OP_FLUSH,
	/*
	 * What is there is not needed any more.  Read again it is zeroes, what
	 * it was, or anything else that was never another's.  Only whole units
	 * of discard_granularity_bytes need be taken: the provider rounds
	 * inward.
	 */
	BLOCK_OP_DISCARD,
};

struct block_queue;

/*
 * One I/O.  The submitter owns it and its buffers and leaves both alone from
 * block_submit() until block_queue_next_done() has returned it: exactly once.
 */
struct block_io {
	enum block_op op;
	uint64_t offset_bytes; /* 0 for a flush */
	uint64_t length_bytes; /* 0 for a flush; never 0 in submit otherwise */
	struct iovec *iov; /* of a read or write; the provider may change it */
	unsigned int nr_iov;
	/*
	 * 0; or a process that died had begun it, and may have it under way
	 * still: then it is told by this from all others of its queue.
	 */
	uint64_t again;
	int error; /* 0 or -errno, valid once it is done */

	/* Scratch of the provider between submit and completion. */
	struct block_queue *queue;
	struct io_op loop_op;
	uint64_t done_bytes;
	struct list node, range_node;
	unsigned int nr_range_waits; /* for so many others */
};

/* Whose bytes these are: two disks with equal identities are one. */
struct block_identity {
	enum block_identity_kind {
		BLOCK_IDENTITY_NONE, /* shared with nobody */
		BLOCK_IDENTITY_FILE, /* a = st_dev, b = st_ino */
		BLOCK_IDENTITY_DEVICE, /* a = st_rdev */
	} kind;
	uint64_t a, b;
};

/* Its text, for another process to hold against one of its own. */
#define BLOCK_IDENTITY_BYTES 64
static inline void block_identity_print(const struct block_identity *identity,
					char text[BLOCK_IDENTITY_BYTES])
{
	snprintf(text, BLOCK_IDENTITY_BYTES, "%d:%llx:%llx",
		 (int)identity->kind, (unsigned long long)identity->a,
		 (unsigned long long)identity->b);
}

/*
 * What a provider serves.  Constant while it is open, but for the size, which
 * block_provider_resize() alone changes.  Flags are bits, for it comes out of files
 * and from workers: of those any value is a truth value.
 */
struct block_info {
	/* A multiple of 512, never 0.  Queues look at it for each I/O. */
	uint64_t size_bytes;
	uint32_t logical_block_bytes, physical_block_bytes;
	bool read_only : 1;
	bool can_flush : 1;
	/* 0: it takes no discards.  A multiple of 512. */
	uint32_t discard_granularity_bytes;
	/*
	 * A failed flush that succeeds when it is tried again has made the
	 * data durable, whatever the error was.  Not so for files and devices:
	 * the page cache reports a lost write once and forgets it, and so does
	 * many a device what was in its own cache.
	 */
	bool flush_retryable : 1;
	/*
	 * Data may lie in many pieces, of which each is a multiple of 512 bytes
	 * at a multiple of 512, and be changed by others while an I/O is under
	 * way: whatever is written then is as good.
	 */
	bool any_memory : 1;
	/*
	 * Data goes to and from the memory itself, which the kernel has to find
	 * and pin for each I/O: not so memory that the loop has registered.
	 */
	bool pins_memory : 1;
	/*
	 * block_provider_fence() waits, so that afterwards nothing of an earlier
	 * process is written any more.
	 */
	bool fence_waits : 1;
	/* The operator allows the same bytes to be served twice. */
	bool shared : 1;
	/*
	 * What is around a write is read and written back: nobody else may
	 * serve the same bytes, whatever the operator allows.
	 */
	bool unshareable : 1;
	/* And so much of it to a guest; kept by the queues (throttle.h). */
	struct block_limits limits;
	struct block_identity identity;
	/*
	 * What exactly is served, where the content has a name of its own (a
	 * commit's id); else "".
	 */
	char version[BLOCK_VERSION_BYTES];
	/*
	 * The version could be taken away by others while it is served: the
	 * supervisor has it held (diskd/hold-main.c).
	 */
	bool hold_version : 1;
};

/*
 * The error of a flush says that it was not carried out at all: nothing is lost
 * by that, and it may be tried again on any disk.
 */
static inline bool block_flush_untried(int error)
{
	return error == -EINTR || error == -EAGAIN || error == -ENOMEM;
}

enum block_link {
	BLOCK_LINK_NONE, /* it depends on nobody */
	BLOCK_LINK_CONNECTED,
	BLOCK_LINK_CONNECTING,
	BLOCK_LINK_FAILED,
};

/*
 * How a provider that depends on others is doing, for operators; in memory
 * that the supervisor reads.  Only through the functions below.
 */
struct block_status {
	uint64_t state; /* enum block_link */
	uint64_t reconnects;
	uint64_t waiting; /* requests, for a connection */
	uint64_t resent; /* writes that had been acknowledged before */
};

/* Any thread. */
static inline void block_status_set(uint64_t *field, uint64_t value)
{
	__atomic_store_n(field, value, __ATOMIC_RELAXED);
}

static inline void block_status_add(uint64_t *field, uint64_t value)
{
	__atomic_fetch_add(field, value, __ATOMIC_RELAXED);
}

/*
 * What an open provider goes on using of the system, for the walls around the
 * worker.
 */
struct block_needs {
	bool network;
	bool sockets; /* Unix ones */
	/*
	 * Files that it opens later, NULL-terminated; or NULL.  Valid until a
	 * queue is opened.
	 */
	const char *const *paths;
	/* Who may read them, where that is not everybody. */
	bool has_owner;
	uid_t uid;
	gid_t gid;
};

/* An open provider; implementations embed it as their first member. */
struct block_provider {
	const struct block_provider_ops *ops;
	struct block_info info;
	/*
	 * Memory that must outlive the process (a memfd, the provider's): the
	 * supervisor keeps a descriptor of it, for block_left.  0 or -1: none.
	 */
	int record_fd;
	struct block_needs needs;

	/* Set by who has opened it, before any queue is opened; or NULL. */
	struct block_status *status;
	/* The medium is lost for good; any queue's thread. */
	void (*failed)(void *arg, const char *cause);
	void *failed_arg;
};

/* For implementations: no I/O will succeed any more. */
void block_provider_failed(struct block_provider *provider, const char *cause);

/* One queue's part of a provider; implementations embed it likewise. */
struct block_queue {
	struct block_provider *provider;
	struct io_loop *loop;
	struct list done;
};

struct block_provider_ops {
	/* The name before the colon of a spec. */
	const char *name;
	/* The spec has a path after the colon, not options. */
	bool has_path;

	/*
	 * Required; main thread; may block; starts no thread, for that would
	 * be outside of the walls.  Opens what the spec names,
	 * fills in ->info and hands the provider over.  Opens spec->version
	 * where content has versions; goes on with spec->left.  Takes every option it
	 * knows from the spec; the wrapper refuses the others.  On failure
	 * returns -errno with a message that names the thing and the cause.
	 */
	int (*open)(struct provider_spec *spec, bool read_only,
		    struct block_provider **ret_provider,
		    struct error_text *err);
	/*
	 * Optional (NULL: it never changes); main thread; may block; queues are
	 * at work.  The size of the medium now, whatever it is.  Does not touch
	 * ->info.
	 */
	int (*size)(struct block_provider *provider, uint64_t *ret_bytes,
		    struct error_text *err);

	/*
	 * Optional (NULL: a process that has ended has nothing under way);
	 * main thread; may block; no queue is open.  See
	 * block_provider_fence().
	 */
	int (*fence)(struct block_provider *provider, uint64_t disk,
		     bool unreplayed, struct error_text *err);
	/* Optional; with fence; main thread; no queue is open. */
	void (*unfence)(struct block_provider *provider);

	/* Required; main thread; may block.  No queue is open. */
	void (*close)(struct block_provider *provider);

	/*
	 * Optional (NULL: a bare struct block_queue will do); queue thread;
	 * may block.  Allocates the queue; the wrapper fills in the base.
	 */
	int (*queue_open)(struct block_provider *provider, struct io_loop *loop,
			  struct block_queue **ret_queue);
	/* Required if queue_open is given; queue thread; nothing in flight. */
	void (*queue_close)(struct block_queue *queue);

	/*
	 * Required; queue thread; must not block.  Ends, now or later, in one
	 * block_io_complete() on the same thread.
	 */
	void (*submit)(struct block_queue *queue, struct block_io *io);

	/*
	 * Optional; queue thread; must not block.  The guest has let go of the
	 * disk, or another process goes on with it: what waits for something that
	 * may never come, and whatever is submitted from now on and would have to,
	 * ends soon and with -ECANCELED, carried out or not.
	 */
	void (*abandon)(struct block_queue *queue);
};

/*
 * Opens the provider that a target names, out of a NULL-terminated registry.
 * Main thread; may block.  The caller owns *ret_provider.  Errors: -EINVAL for
 * a target that cannot be understood or served, -EROFS for a medium that is
 * read-only when read_only is not asked for, others from the medium; err
 * always holds a message.
 */
int block_provider_open(const struct block_provider_ops *const *registry,
			const char *target, bool read_only,
			struct block_provider **ret_provider,
			struct error_text *err);
/*
 * As block_provider_open(), of the very version (block_info.version) that was
 * served before, which a guest still uses.  "": any.  -ESTALE when the provider
 * has another.  left is what the process before has left of it, or NULL.
 */
int block_provider_reopen(const struct block_provider_ops *const *registry,
			  const char *target, const char *version,
			  const struct block_left *left, bool read_only,
			  struct block_provider **ret_provider,
			  struct error_text *err);
/*
 * Looks at the medium's size anew and serves what it has now: I/O that is
 * submitted from then on is held against it.  Main thread; may block; queues
 * may be at work.  Errors, with a message, and the old size stays: -EOPNOTSUPP
 * for a provider whose size cannot change, -EINVAL for a size that cannot be
 * served, -EFBIG, -ERANGE for a smaller one without may_shrink, others from the
 * medium.
 */
int block_provider_resize(struct block_provider *provider, bool may_shrink,
			  struct error_text *err);
/*
 * Waits until nothing is under way any more that an earlier process, perhaps
 * killed, has begun on the same medium, and has later ones wait likewise for this
 * one's end, or block_provider_unfence().  disk tells disks apart that share a
 * medium (share=yes): each waits for its own predecessors only.  unreplayed: there
 * may be some of the process before, and it is not submitted anew (block_io.again).
 * Main thread; may block, for as long as such a process lives; no queue is open.  Errors, with a
 * message: the medium's.
 */
int block_provider_fence(struct block_provider *provider, uint64_t disk,
			 bool unreplayed, struct error_text *err);
void block_provider_unfence(struct block_provider *provider);

/* NULL is a no-op. */
void block_provider_close(struct block_provider *provider);

/* Queue thread; may block.  Errors: -ENOMEM and the provider's own. */
int block_queue_open(struct block_provider *provider, struct io_loop *loop,
		     struct block_queue **ret_queue);
/* Nothing may be in flight.  NULL is a no-op. */
void block_queue_close(struct block_queue *queue);

/*
 * Starts an I/O.  It never fails here: an invalid one is complete at once,
 * with -EINVAL (bounds, alignment, vector), -EROFS or -EOPNOTSUPP.
 */
void block_submit(struct block_queue *queue, struct block_io *io);

/* Queue thread.  See block_provider_ops.abandon. */
void block_queue_abandon(struct block_queue *queue);

/*
 * For implementations: the whole units within a discard.  False when there are
 * none.
 */
bool block_discard_range(const struct block_io *io, uint32_t granularity_bytes,
			 uint64_t *ret_offset, uint64_t *ret_length);

/*
 * For implementations: io has come to its end, with 0 or -errno.  Only puts
 * it on its queue's done list, so completing inside submit does not recurse.
 */
void block_io_complete(struct block_io *io, int error);

/* Takes one finished I/O off the queue, or NULL. */
struct block_io *block_queue_next_done(struct block_queue *queue);

#endif
