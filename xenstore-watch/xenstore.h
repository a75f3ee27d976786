/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * XenStore: the supervisor's one handle, its watches, strict reads of nodes
 * that others wrote, and transactions that are tried again when they lose a
 * race.
 *
 * All functions belong to the one thread that opened the handle (libxenstore
 * runs a reader thread of its own behind it).  Calls block for the answer of
 * xenstored.  The handle must not be used after fork(2).
 *
 * Source: xen/docs/misc/xenstore.txt, xenstore.h.
 */
#ifndef XEN_DISKD_XENSTORE_H
#define XEN_DISKD_XENSTORE_H

#include "common/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xenstore.h>

/* XENSTORE_ABS_PATH_MAX and the terminator. */
#define XENSTORE_PATH_BYTES 3073
/* A node's value never exceeds the ring's payload limit. */
#define XENSTORE_VALUE_BYTES 4097

struct xenstore;

/* Errors: those of connecting to xenstored (-ENOENT: it does not run). */
int xenstore_open(struct xenstore **ret_xs);
/* Every watch must have been removed.  NULL is a no-op. */
void xenstore_close(struct xenstore *xs);

/* Readable when xenstore_dispatch() has something to do. */
int xenstore_fd(const struct xenstore *xs);

/*
 * A watch.  The caller owns it, fills path and fired, and keeps it in place
 * until xenstore_unwatch().  fired is called from xenstore_dispatch() with
 * the path that changed; an event only says "look again": it may be stale,
 * merged with others or in another order than the writes.
 */
struct xenstore_watch {
	struct list node;
	uint64_t token;
	const char *path;
	void (*fired)(struct xenstore_watch *watch, const char *changed_path);
};

/* Fires once at registration, even when the path does not exist. */
int xenstore_watch(struct xenstore *xs, struct xenstore_watch *watch);
/* Harmless for a watch that was never registered (its token is 0). */
void xenstore_unwatch(struct xenstore *xs, struct xenstore_watch *watch);

/*
 * Calls fired for every event that is waiting.  -EPIPE when the connection to
 * xenstored is lost.
 */
int xenstore_dispatch(struct xenstore *xs);

/* Transactions: tx is XBT_NULL outside of one. */
typedef int xenstore_body(struct xenstore *xs, xs_transaction_t tx, void *arg);

/*
 * Runs body in a transaction and commits it; runs it again when xenstored
 * answers that something it read has changed (EAGAIN), at most
 * XENSTORE_TX_TRIES times.  A negative return of body aborts and is returned;
 * nothing was written then.  body may run several times and must start from
 * scratch in each.
 */
#define XENSTORE_TX_TRIES 256
int xenstore_transaction(struct xenstore *xs, xenstore_body *body, void *arg);

/*
 * Reads dir/key into value (value_bytes includes the terminator).  -ENOENT
 * when there is none, -EINVAL when it holds a zero byte, -ENAMETOOLONG when
 * it does not fit.  value is untouched on failure.
 */
int xenstore_read(struct xenstore *xs, xs_transaction_t tx, const char *dir,
		  const char *key, char *value, size_t value_bytes);

/* Reads a decimal number of at most max; -EINVAL or -ERANGE otherwise. */
int xenstore_read_number(struct xenstore *xs, xs_transaction_t tx,
			 const char *dir, const char *key, uint64_t max,
			 uint64_t *ret_value);

int xenstore_write(struct xenstore *xs, xs_transaction_t tx, const char *dir,
		   const char *key, const char *value);
int xenstore_printf(struct xenstore *xs, xs_transaction_t tx, const char *dir,
		    const char *key, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* Removes path and all below it; a missing one is success. */
int xenstore_remove(struct xenstore *xs, xs_transaction_t tx, const char *path);

/* Makes a directory whose owner is `owner` and that `reader` may read. */
int xenstore_mkdir(struct xenstore *xs, xs_transaction_t tx, const char *path,
		   uint16_t owner, uint16_t reader);

/*
 * The names below path: an array of *ret_nr strings that the caller frees
 * with one free().  -ENOENT when there is no such path.
 */
int xenstore_list(struct xenstore *xs, xs_transaction_t tx, const char *path,
		  char ***ret_names, unsigned int *ret_nr);

#endif
