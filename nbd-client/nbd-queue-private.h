/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the two halves of a queue, sending (nbd-queue.c) and coming back
 * (nbd-recovery.c), use of one another.  Nothing else includes it.
 */
#ifndef XEN_DISKD_NBD_QUEUE_PRIVATE_H
#define XEN_DISKD_NBD_QUEUE_PRIVATE_H

#include "common/log.h"
#include "nbd-client/nbd-queue.h"
#include "nbd-client/nbd-request.h"

#define NBD_LINKS_MAX 16u
#define NBD_CONNECT_TIMEOUT_MS 10000u

enum nbd_phase {
	NBD_LOST, /* waits to connect again */
	NBD_CONNECTING,
	NBD_REPLAYING, /* sends the record again, nothing else */
	NBD_SERVING,
	NBD_FAILED, /* for good: the server is another disk */
};

struct nbd_queue {
	struct block_queue base;
	struct nbd_disk *disk;
	enum nbd_phase phase;
	struct nbd_link links[NBD_LINKS_MAX];
	/* Asked for, and used: a server may take fewer than it says. */
	unsigned int nr_wanted, nr_links, next_link;

	/* In the order of their numbers. */
	struct list ready, sent;
	/* Written, but the record has no room: they wait for a flush. */
	struct list unrecorded;
	/* Replied to; not looked at yet.  Also linked through node. */
	struct list replied;
	struct list unused;
	uint64_t next_number;
	uint64_t nr_flushes; /* sent */
	bool flush_to_make_room; /* one of our own is on its way */
	unsigned int nr_flush_failures; /* one after the other */
	bool server_is_going; /* it has said so */
	uint64_t abandoned_ms; /* when the guest let go, or 0 */

	/* ---- nbd-recovery.c ---- */
	struct io_op retry_op, check_op; /* timers */
	uint64_t retry_ms; /* the next pause */
	bool retry_due;
	uint64_t phase_since_ms;
	/* 0 while served: a server has to reply for that, too. */
	uint64_t lost_since_ms;
	uint64_t last_reply_ms;
	unsigned int silences; /* one after the other */
	uint64_t silent_number; /* what the last was about is older */
	uint64_t replay_next, replay_end; /* places in the record */
	bool replay_wanted; /* before anything else is sent */
	struct log_limit log_limit;
};

/* Whose its writes are, for the fence. */
static inline uint64_t nbd_request_owner(const struct nbd_request *request)
{
	if (!request->io || !request->io->again)
		return request->number;
	return NBD_FENCE_LEFT | request->io->again;
}

/* ---- nbd-queue.c ---------------------------------------------------- */

/* Sends what can be sent.  Must not be called from a callback of libnbd. */
void nbd_queue_pump(struct nbd_queue *queue);

/* A request of our own, without an I/O; NULL when there is no memory. */
struct nbd_request *nbd_request_take(struct nbd_queue *queue);

/* Sends a request over the next connection and puts it in `sent`. */
void nbd_request_send(struct nbd_queue *queue, struct nbd_request *request);

/* All that was sent is ready again; our own are dropped. */
void nbd_queue_take_back(struct nbd_queue *queue);

/* Ends every request that is ready with an error. */
void nbd_queue_fail_ready(struct nbd_queue *queue, int error);

/* True when a command overlaps one that is in flight. */
bool nbd_queue_overlaps(const struct nbd_queue *queue, uint64_t offset_bytes,
			uint64_t length_bytes);

/* Shows operators how it is. */
void nbd_queue_show(struct nbd_queue *queue);

/* ---- nbd-recovery.c ------------------------------------------------- */

void nbd_recovery_init(struct nbd_queue *queue);
/* For the end of the loop; the connections are still there. */
void nbd_recovery_fini(struct nbd_queue *queue);
/* Connects, for the first time or with the provider's spare connection. */
void nbd_recovery_start(struct nbd_queue *queue);
/* The loop's look at a connection: is it still there? */
void nbd_recovery_link_changed(struct nbd_link *link);
/* Fences off what a process that died has begun, and is to be done again. */
void nbd_recovery_begun_before(struct nbd_queue *queue,
			       const struct nbd_request *request);
/* A reply has come: the server is of use again. */
void nbd_recovery_served(struct nbd_queue *queue);
/* A connection has died under a command. */
void nbd_recovery_lose(struct nbd_queue *queue, const char *cause);
/* Sends as much of the record as may be on its way at once. */
void nbd_recovery_replay(struct nbd_queue *queue);
/* The record has to go out again: a flush of it has failed. */
void nbd_recovery_replay_again(struct nbd_queue *queue);
/* The server has taken a write of the record. */
void nbd_recovery_replayed(struct nbd_queue *queue);
/* The server has not taken a write of the record. */
void nbd_recovery_replay_failed(struct nbd_queue *queue, int error);
/*
 * The guest has let go: a server that is there may finish what it has, for a
 * moment; nothing waits for another.
 */
void nbd_recovery_abandon(struct nbd_queue *queue);
/* Has the clock looked at while anything is waited for. */
void nbd_recovery_watch(struct nbd_queue *queue);

#endif
