/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kills workers at a store of its choice, by ptrace(2) and without any help of
 * theirs: a process of its own follows the supervisor's children, has a queue's
 * thread map the in-flight table and the ring's pages read-only, and carries out
 * each store that then faults as a single step.  Between any two of them it can
 * send SIGKILL.  The successor of a worker that it killed is treated the same,
 * from its first store on: taking over is enumerated like all else.
 *
 * A disk must have one queue; other threads would store unseen.
 */
#ifndef XEN_DISKD_TEST_KILLER_H
#define XEN_DISKD_TEST_KILLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* When, with regard to the chosen store. */
enum kill_moment {
	KILL_BEFORE, /* all that was begun until then is as done as it can be */
	KILL_AFTER, /* nothing that follows has begun */
	KILL_LATER, /* some time after it, but before the next store */
	KILL_MOMENTS,
};

/*
 * A point is a moment and the number of a store in a worker's life, counted among
 * all of them, or without those that only copy what the guest asks for, or among
 * indices only.  Small numbers are those of taking over, and come more often.
 */
enum store_kind { STORES_ALL, STORES_OF_STATE, STORES_OF_INDEX };
#define KILLER_COUNTS(count)                                           \
	count(STORES_ALL, 64) count(STORES_ALL, 864)                   \
		count(STORES_OF_STATE, 64) count(STORES_OF_STATE, 256) \
			count(STORES_OF_INDEX, 16) count(STORES_OF_INDEX, 48)
#define KILLER_ADD_SPAN(kind, span) +(span)
#define KILLER_POINTS ((0u KILLER_COUNTS(KILLER_ADD_SPAN)) * KILL_MOMENTS)

enum store_place {
	STORE_HEADER, /* of a new table */
	STORE_TAKEN,
	STORE_RSP_INTENT,
	STORE_RSP_DONE,
	STORE_STATE_OF_FREE,
	STORE_STATE_OF_TAKEN,
	STORE_STATE_OF_DONE,
	STORE_ENTRY,
	STORE_ANSWER,
	STORE_SEGMENTS,
	STORE_REQ_EVENT,
	STORE_RSP_PROD,
	STORE_RING_SLOT,
	STORE_PLACES,
};

extern const char *const store_place_names[STORE_PLACES];

struct killer_plan {
	const uint32_t *ring; /* the guest's own mapping of its ring */
	uint64_t ring_offset; /* of its first page, in the guest's memory */
	unsigned int ring_pages;
	unsigned int kind; /* of disk, less than killer_init() was told of */
	uint64_t seed;
	uint64_t first_kill; /* so many of the seed's were before */
	/* Not 0: of the first so many stores only. */
	uint64_t first_stores;
	unsigned int later_us; /* at most, of KILL_LATER */
};

struct killer {
	/* Atomic, between the two processes. */
	bool armed;
	uint64_t nr_kills;
	uint64_t kill_ns; /* when the last was sent; CLOCK_MONOTONIC */
	uint32_t kill_rsp_prod; /* as it was left */

	/* Written before nr_kills. */
	uint64_t nr_busy; /* kills with requests that were not answered */
	uint64_t nr_stores; /* of all workers */
	uint64_t kills[STORE_PLACES];
	uint64_t nr_first; /* that came before the worker's first answer */
	/* That differ, of KILLER_POINTS, of this kind, and those of earlier tests. */
	uint64_t nr_points;

	/* The ring may be another when no worker has one. */
	struct killer_plan plan;
	pid_t pid;
};

/* In the process that starts the tests, of so many kinds of disks. */
void killer_init(unsigned int nr_kinds);
/* With so many kills of a kind, none of its KILLER_POINTS is left out. */
uint64_t killer_round(void);
/* Of all tests until now: points where a worker has died, and kills at a place. */
uint64_t killer_points_of(unsigned int kind);
uint64_t killer_kills_of(unsigned int kind, enum store_place place);

/* Follows what the supervisor starts from now on.  Ends the test on failure. */
struct killer *killer_start(pid_t supervisor, const struct killer_plan *plan);
/* Ends the test when it has ended. */
void killer_check(const struct killer *killer);
/* When no worker is left. */
void killer_stop(struct killer *killer);

#endif
