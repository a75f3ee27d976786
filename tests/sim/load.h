/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A random load that a fake guest puts on its disk, held against a model: every
 * request is answered once and well, and every read gives what was written last.
 * Ranges in flight never overlap.
 */
#ifndef XEN_DISKD_TEST_LOAD_H
#define XEN_DISKD_TEST_LOAD_H

#include "tests/sim/blkfront.h"

#define LOAD_DEPTH 32u
/* What an indirect request has at most; others have FE_SEGMENTS. */
#define LOAD_PAGES 22u

struct load {
	struct blkfront *fe;
	uint8_t *model; /* what the disk holds when all is answered */
	uint64_t nr_sectors;
	const uint8_t *operations; /* FE_*: each as likely as any */
	unsigned int nr_operations;
	/* Over all queues: LOAD_DEPTH, or half of it with indirect ones. */
	unsigned int depth;
	bool indirect; /* some of the requests are */
	uint64_t seed;
	struct load_flight {
		bool used;
		uint64_t id;
		struct fe_queue *queue;
		struct fe_request rq;
		unsigned int nr_sectors;
	} flights[LOAD_DEPTH];
};

/* Less than below, from ->seed. */
uint32_t load_rnd(struct load *load, uint32_t below);

/*
 * Puts a request into the rings for each of the first nr places that is free,
 * unless its range is in flight, and notifies.
 */
void load_launch(struct load *load, unsigned int nr);

/* How many are not answered, of all queues. */
unsigned int load_nr_busy(const struct load *load);
/* Takes an answer that is there already, on any queue; false when none is. */
bool load_take(struct load *load);
/* Waits for an answer, on any queue, and takes it. */
void load_land(struct load *load);
/* The same until no queue has more than nr to come. */
void load_land_all_but(struct load *load, unsigned int nr);

/* So many rounds of all this; everything is answered in the end. */
void load_rounds(struct load *load, unsigned int nr_rounds);

/*
 * Answers come, and requests go, until the descriptor can be read; the longest time
 * between two answers, in milliseconds.
 */
uint64_t load_until(struct load *load, int fd);

/* The image is as the model is. */
void load_check_image(const struct load *load, const char *image);

#endif
