/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeping new writes away from old ones: when a connection that still owed
 * replies was given up, the server may carry its writes out at any time until
 * it has closed its end.  Another write to the same place has to wait for
 * that, or it could be undone.  The very same write need not: whichever of
 * its two copies comes last, the bytes are the same.
 *
 * So it is with the writes of a process that died; but its connections are
 * closed, and nothing tells when the server has done with them: their ranges
 * stand for a time (fence=).  What is fenced off lies in memory that may outlive
 * us, for our successor.
 *
 * What remains: a server that closes its end while its writes are still on
 * their way to its own disk.  Nothing in the protocol would tell.
 */
#ifndef XEN_DISKD_NBD_FENCE_H
#define XEN_DISKD_NBD_FENCE_H

#include "common/io-loop.h"

#include <stdbool.h>
#include <stdint.h>

/* A request each, of BLKIF's largest ring. */
#define NBD_FENCE_RANGES 512u
#define NBD_FENCE_SOCKETS 16u
/* A server that keeps its end open for longer is waited for no more. */
#define NBD_FENCE_MS 60000u
/*
 * Whose a write is: a request's number; with this bit, what a request that was
 * begun by a process that died is known by (block_io.again); or the record's.
 */
#define NBD_FENCE_LEFT (UINT64_C(1) << 63)
#define NBD_FENCE_RECORD (NBD_FENCE_LEFT - 2)

enum {
	NBD_FENCE_RECORD_SENT = 1, /* the record is on its way */
	/* A connection was given up on this side: its end is never seen. */
	NBD_FENCE_CUT_HERE = 2,
};

/* Written so that a process may die between any two stores. */
struct nbd_fence_list {
	uint64_t until_ms;
	/* More ranges or sockets than there is room for: all of the disk. */
	uint32_t everything;
	uint32_t marks;
	uint64_t nr_ranges;
	struct nbd_fence_range {
		uint64_t start, end;
		uint64_t number; /* whose */
	} ranges[NBD_FENCE_RANGES];
};

struct nbd_fence {
	struct io_loop *loop;
	struct nbd_fence_socket {
		struct nbd_fence *fence;
		struct io_op op;
		int fd; /* of an old connection, or -1 */
	} sockets[NBD_FENCE_SOCKETS];
	unsigned int nr_open;
	/* Connections that cannot be watched: only time lifts the fence. */
	bool unwatched;
	struct nbd_fence_list *list, own;
	void (*lifted)(struct nbd_fence *fence);
	void *owner; /* for whoever is called */
};

void nbd_fence_init(struct nbd_fence *fence);

/*
 * Keeps the list in memory that outlives us, until nbd_fence_fini().  What a
 * process that died has left there is fenced off for as long as that would have
 * done it, and all of the disk for left_ms if it was sending the record.  What
 * makes no sense means all of the disk; left_ms is 0: nothing of it matters.
 */
void nbd_fence_share(struct nbd_fence *fence, struct nbd_fence_list *list,
		     uint64_t left_ms);

/* All of the disk, for a time: nobody knows what was under way, nor will. */
void nbd_fence_everything(struct nbd_fence *fence, uint64_t ms);

/*
 * It stands longer than a queue and its loop: what an old driver has sent may
 * still undo what the next one writes.  Entered and left with the queue; left
 * when the loop is not run again, and nobody's writes may pass then.
 */
void nbd_fence_enter(struct nbd_fence *fence, struct io_loop *loop,
		     void (*lifted)(struct nbd_fence *fence), void *owner);
void nbd_fence_leave(struct nbd_fence *fence);

/*
 * Puts the fence up around an old connection's socket, which stays the
 * caller's and is told that no more will be sent.  False when the server has
 * closed its end already; else add the ranges after.  May be called again
 * while it is up: all sockets have to be closed then.
 */
bool nbd_fence_raise(struct nbd_fence *fence, int fd);
/*
 * The same for a connection that was given up on this side, so that nothing
 * tells when the server has done with it: only time lifts the fence.
 */
void nbd_fence_raise_cut_here(struct nbd_fence *fence);
/* For what a process that died had sent. */
void nbd_fence_raise_for_time(struct nbd_fence *fence, uint64_t ms);
void nbd_fence_add(struct nbd_fence *fence, uint64_t number,
		   uint64_t offset_bytes, uint64_t length_bytes);

/* Connected again: whatever stands does so for so long from now on, at least. */
void nbd_fence_begin_anew(struct nbd_fence *fence, uint64_t ms);

bool nbd_fence_is_up(const struct nbd_fence *fence);
/* Something of a process that died is behind it. */
bool nbd_fence_has_left(const struct nbd_fence *fence);

/* The record is being sent, or has been: for who comes after us. */
void nbd_fence_record_sent(struct nbd_fence *fence, bool sent);

/*
 * Whether a write that is so-and-so's has to wait.  The record's need not for
 * what is left: it has nothing in it that is newer.
 */
bool nbd_fence_holds(const struct nbd_fence *fence, uint64_t number,
		     uint64_t offset_bytes, uint64_t length_bytes);

/* Lifts it when its time is over; true when a connection was given up by that. */
bool nbd_fence_check(struct nbd_fence *fence, uint64_t now_ms);

/* Left, or never entered.  The list stays as it is, for who comes after us. */
void nbd_fence_fini(struct nbd_fence *fence);

#endif
