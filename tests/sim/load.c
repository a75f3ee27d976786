/* SPDX-License-Identifier: BSD-2-Clause */
/* A random load, held against a model of the disk. */
#include "tests/sim/load.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_SECTORS (FE_PAGE / FE_SECTOR)

uint32_t load_rnd(struct load *load, uint32_t below)
{
	load->seed = load->seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(load->seed >> 33) % below;
}

static bool overlaps(const struct load *load, uint64_t sector, unsigned int nr)
{
	for (unsigned int i = 0; i < load->depth; i++) {
		const struct load_flight *f = &load->flights[i];

		if (f->used && sector < f->rq.sector + f->nr_sectors &&
		    f->rq.sector < sector + nr)
			return true;
	}
	return false;
}

/* The whole pages of a file that a discard makes a hole of. */
static void model_discard(struct load *load, uint64_t sector, unsigned int nr)
{
	uint64_t start = (sector + PAGE_SECTORS - 1) / PAGE_SECTORS;
	uint64_t end = (sector + nr) / PAGE_SECTORS;

	if (end > start)
		memset(load->model + start * FE_PAGE, 0,
		       (end - start) * FE_PAGE);
}

static void put_data(struct load *load, const struct fe_request *rq,
		     uint64_t sector, unsigned int nr)
{
	static uint8_t data[LOAD_PAGES * FE_PAGE];

	for (unsigned int b = 0; b < nr * FE_SECTOR; b++)
		data[b] = (uint8_t)load_rnd(load, 256);
	blkfront_data_put(load->fe, rq, data);
	memcpy(load->model + sector * FE_SECTOR, data, (size_t)nr * FE_SECTOR);
}

/* The most that a request which begins anywhere in a page can have. */
static unsigned int most_sectors(bool indirect)
{
	return ((indirect ? LOAD_PAGES : FE_SEGMENTS) - 1) * PAGE_SECTORS;
}

static void launch(struct load *load, unsigned int i)
{
	uint8_t op = load->operations[load_rnd(load, load->nr_operations)];
	bool indirect = load->indirect && load_rnd(load, 4) &&
			(op == FE_READ || op == FE_WRITE);
	unsigned int nr =
		op == FE_FLUSH ? 0 : 1 + load_rnd(load, most_sectors(indirect));
	uint64_t sector = load_rnd(load, (uint32_t)load->nr_sectors - nr + 1);
	unsigned int skip = load_rnd(load, PAGE_SECTORS);
	unsigned int page = i * (load->indirect ? LOAD_PAGES : FE_SEGMENTS);
	struct load_flight *f = &load->flights[i];

	if (nr && overlaps(load, sector, nr))
		return;
	if (op == FE_DISCARD) {
		blkfront_fill_discard(load->fe, &f->rq, sector, nr);
		model_discard(load, sector, nr);
	} else if (indirect) {
		blkfront_fill_indirect(load->fe, &f->rq, op, sector, nr, page,
				       skip, i);
	} else {
		blkfront_fill(load->fe, &f->rq, op, sector, nr, page, skip);
	}
	if (op == FE_WRITE || op == FE_BARRIER)
		put_data(load, &f->rq, sector, nr);
	f->nr_sectors = nr;
	f->used = true;
	f->queue = &load->fe->queues[i % load->fe->nr_queues];
	f->id = blkfront_submit(f->queue, load->fe, &f->rq);
}

void load_launch(struct load *load, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (!load->flights[i].used)
			launch(load, i);
	}
	for (unsigned int i = 0; i < load->fe->nr_queues; i++)
		blkfront_kick(load->fe, &load->fe->queues[i]);
}

static void landed(struct load *load, struct fe_queue *queue,
		   const struct fe_response *rsp)
{
	static uint8_t data[LOAD_PAGES * FE_PAGE];
	struct load_flight *f = load->flights;

	while (!(f->used && f->queue == queue && f->id == rsp->id))
		need(++f < load->flights + load->depth,
		     "an id that is not in flight");
	f->used = false;
	need(rsp->status == FE_OKAY, "op %u sector %llu + %u: status %d",
	     rsp->operation, (unsigned long long)f->rq.sector, f->nr_sectors,
	     rsp->status);
	if (rsp->operation != FE_READ)
		return;
	blkfront_data_get(load->fe, &f->rq, data);
	need(!memcmp(data, load->model + f->rq.sector * FE_SECTOR,
		     (size_t)f->nr_sectors * FE_SECTOR),
	     "read of sector %llu + %u differs",
	     (unsigned long long)f->rq.sector, f->nr_sectors);
}

unsigned int load_nr_busy(const struct load *load)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < load->depth; i++)
		nr += load->flights[i].used;
	return nr;
}

bool load_take(struct load *load)
{
	struct fe_response rsp;

	for (unsigned int i = 0; i < load->fe->nr_queues; i++) {
		struct fe_queue *queue = &load->fe->queues[i];

		if (!blkfront_take(load->fe, queue, &rsp))
			continue;
		landed(load, queue, &rsp);
		return true;
	}
	return false;
}

/* Until an event of any queue, unless one has an answer already. */
static void wait_any(const struct load *load, uint64_t end)
{
	struct pollfd events[FE_MAX_QUEUES];
	uint64_t now = host_now_ms();
	bool rests = true;

	for (unsigned int i = 0; i < load->fe->nr_queues; i++) {
		rests = blkfront_rest(&load->fe->queues[i]) && rests;
		events[i] = (struct pollfd){ load->fe->queues[i].event_fd,
					     POLLIN, 0 };
	}
	need(now < end, "no response");
	if (rests)
		poll(events, load->fe->nr_queues, (int)(end - now));
	for (unsigned int i = 0; rests && i < load->fe->nr_queues; i++)
		blkfront_events(&load->fe->queues[i]);
}

void load_land(struct load *load)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	while (!load_take(load))
		wait_any(load, end);
}

static void land_on(struct load *load, struct fe_queue *queue)
{
	struct fe_response rsp;

	need(blkfront_poll(load->fe, queue, &rsp, HOST_WAIT_MS), "no response");
	landed(load, queue, &rsp);
}

void load_land_all_but(struct load *load, unsigned int nr)
{
	for (unsigned int i = 0; i < load->fe->nr_queues; i++) {
		while (load->fe->queues[i].nr_busy > nr)
			land_on(load, &load->fe->queues[i]);
	}
}

void load_rounds(struct load *load, unsigned int nr_rounds)
{
	for (unsigned int round = 0; round < nr_rounds; round++) {
		load_launch(load, 1 + load_rnd(load, load->depth));
		/* Sometimes some stay in flight across rounds. */
		load_land_all_but(load, load_rnd(load, 2)
						? 0
						: load_rnd(load, load->depth));
	}
	load_land_all_but(load, 0);
}

uint64_t load_until(struct load *load, int fd)
{
	struct pollfd said = { .fd = fd, .events = POLLIN };
	uint64_t last = host_now_ms(), longest = 0, now;

	while (poll(&said, 1, 0) == 0 || load_nr_busy(load) == 0) {
		load_launch(load, load->depth);
		load_land(load);
		now = host_now_ms();
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	return longest;
}

void load_check_image(const struct load *load, const char *image)
{
	size_t nr_bytes = (size_t)load->nr_sectors * FE_SECTOR;
	uint8_t *got = malloc(nr_bytes);

	need(got, "memory");
	host_image_read(image, got, nr_bytes);
	need(!memcmp(got, load->model, nr_bytes), "the image differs");
	free(got);
}
