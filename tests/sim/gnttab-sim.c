/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gnttab.h over the simulation: guests are memfds whose head is their grant
 * table.  Mapping asks the simulated hypervisor, which pins the grants and
 * counts them; copying checks the grant in place and is one memcpy.
 *
 * Statuses are those Xen gives (xen/common/grant_table.c).
 */
#include "gnttab/gnttab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/sim/sim-client.h"

/* One guest this handle has touched. */
struct guest_view {
	struct guest_view *next;
	uint32_t domid;
	int fd;
	struct sim_guest *head;
	size_t size_bytes;
};

/* One live gnttab_map(), remembered because unmapping names no references. */
struct live_map {
	struct live_map *next;
	void *addr;
	struct sim_request unmap;
};

struct gnttab {
	int sock;
	struct guest_view *guests;
	struct live_map *maps;
};

const char *gnttab_path(void)
{
	return sim_client_path();
}

int gnttab_open(struct gnttab **ret_gt)
{
	struct gnttab *gt = calloc(1, sizeof(*gt));
	int error;

	if (!gt)
		return -ENOMEM;
	error = sim_client_open(&gt->sock);
	if (error < 0) {
		free(gt);
		return error;
	}
	*ret_gt = gt;
	return 0;
}

void gnttab_close(struct gnttab *gt)
{
	struct guest_view *g;

	if (!gt)
		return;
	/* A caller's duty: nothing is mapped any more. */
	assert(!gt->maps);
	while ((g = gt->guests) != NULL) {
		gt->guests = g->next;
		munmap(g->head, g->size_bytes);
		close(g->fd);
		free(g);
	}
	close(gt->sock);
	free(gt);
}

static int guest_open(struct gnttab *gt, uint16_t domid,
		      struct guest_view **ret_guest)
{
	struct sim_request rq = { .op = SIM_OP_GUEST, .domid = domid };
	struct guest_view *g = calloc(1, sizeof(*g));
	struct sim_reply reply;
	int error;

	if (!g)
		return -ENOMEM;
	error = sim_client_call(gt->sock, &rq, &reply, &g->fd, 1);
	if (error < 0)
		goto err_free;
	g->size_bytes = (size_t)lseek(g->fd, 0, SEEK_END);
	g->head = mmap(NULL, g->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		       g->fd, 0);
	if (g->head == MAP_FAILED) {
		error = -errno;
		close(g->fd);
		goto err_free;
	}
	g->domid = domid;
	g->next = gt->guests;
	gt->guests = g;
	*ret_guest = g;
	return 0;

err_free:
	free(g);
	return error;
}

/* The view of a living guest, or NULL. */
static struct guest_view *guest_get(struct gnttab *gt, uint16_t domid)
{
	struct guest_view *g;

	/* A domid may come back as another domain: dead views are skipped. */
	for (g = gt->guests; g; g = g->next)
		if (g->domid == domid && atomic_load(&g->head->alive))
			return g;
	return guest_open(gt, domid, &g) < 0 ? NULL : g;
}

/* Lays the granted frames side by side in a fresh range. */
static int lay_frames(const struct guest_view *g, const uint32_t *frames,
		      unsigned int nr_pages, void **ret_addr)
{
	size_t bytes = (size_t)nr_pages * SIM_PAGE_BYTES;
	unsigned int i;
	char *addr;

	addr = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		return -errno;
	for (i = 0; i < nr_pages; i++) {
		off_t offset = (off_t)(SIM_GUEST_HEAD_BYTES +
				       (size_t)frames[i] * SIM_PAGE_BYTES);
		void *p = mmap(addr + (size_t)i * SIM_PAGE_BYTES,
			       SIM_PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_FIXED, g->fd, offset);

		if (p == MAP_FAILED) {
			int error = -errno;

			munmap(addr, bytes);
			return error;
		}
	}
	*ret_addr = addr;
	return 0;
}

int gnttab_map(struct gnttab *gt, uint16_t domid, const uint32_t *refs,
	       unsigned int nr_pages, void **ret_addr)
{
	struct live_map *map;
	struct guest_view *g;
	struct sim_reply reply;
	int error;

	if (!nr_pages || nr_pages > SIM_MAP_MAX)
		return -EINVAL;
	g = guest_get(gt, domid);
	if (!g)
		return -EINVAL;
	map = calloc(1, sizeof(*map));
	if (!map)
		return -ENOMEM;
	map->unmap.op = SIM_OP_GRANT_MAP;
	map->unmap.domid = domid;
	map->unmap.nr = nr_pages;
	memcpy(map->unmap.refs, refs, nr_pages * sizeof(*refs));
	error = sim_client_call(gt->sock, &map->unmap, &reply, NULL, 0);
	if (error < 0)
		goto err_free;
	map->unmap.op = SIM_OP_GRANT_UNMAP;
	error = lay_frames(g, reply.frames, nr_pages, &map->addr);
	if (error < 0) {
		(void)sim_client_call(gt->sock, &map->unmap, &reply, NULL, 0);
		goto err_free;
	}
	map->next = gt->maps;
	gt->maps = map;
	*ret_addr = map->addr;
	return 0;

err_free:
	free(map);
	return error;
}

void gnttab_unmap(struct gnttab *gt, void *addr, unsigned int nr_pages)
{
	struct live_map **at = &gt->maps;
	struct live_map *map;
	struct sim_reply reply;

	while (*at && (*at)->addr != addr)
		at = &(*at)->next;
	map = *at;
	assert(map && map->unmap.nr == nr_pages);
	*at = map->next;
	munmap(addr, (size_t)nr_pages * SIM_PAGE_BYTES);
	(void)sim_client_call(gt->sock, &map->unmap, &reply, NULL, 0);
	free(map);
}

/* Whether fault injection takes this copy; the count is down to one. */
static bool fault_due(struct sim_guest *head)
{
	uint32_t left =
		atomic_load_explicit(&head->copy_fail_at, memory_order_relaxed);

	if (!left)
		return false;
	return atomic_fetch_sub(&head->copy_fail_at, 1) == 1;
}

/* The page behind a grant, or a status. */
static int16_t grant_page(struct gnttab *gt, uint16_t domid, uint32_t ref,
			  bool write_it, char **ret_page)
{
	struct guest_view *g = guest_get(gt, domid);
	struct sim_grant_entry entry;
	uint64_t raw;

	if (!g)
		return GNTST_bad_domain;
	if (fault_due(g->head))
		return (int16_t)atomic_load(&g->head->copy_fail_status);
	if (ref >= SIM_NR_GREFS)
		return GNTST_bad_gntref;
	raw = atomic_load_explicit(&g->head->grants[ref], memory_order_acquire);
	memcpy(&entry, &raw, sizeof(entry));
	if (!(entry.flags & SIM_GTF_PERMIT) || entry.domid != 0)
		return GNTST_general_error;
	if (write_it && (entry.flags & SIM_GTF_READONLY))
		return GNTST_general_error;
	if (entry.frame >= g->head->nr_pages)
		return GNTST_bad_page;
	*ret_page = (char *)g->head + SIM_GUEST_HEAD_BYTES +
		    (size_t)entry.frame * SIM_PAGE_BYTES;
	return GNTST_okay;
}

static int16_t copy_one(struct gnttab *gt,
			const xengnttab_grant_copy_segment_t *seg)
{
	bool to_guest = seg->flags & GNTCOPY_dest_gref;
	uint32_t ref =
		to_guest ? seg->dest.foreign.ref : seg->source.foreign.ref;
	uint16_t offset = to_guest ? seg->dest.foreign.offset
				   : seg->source.foreign.offset;
	uint16_t domid =
		to_guest ? seg->dest.foreign.domid : seg->source.foreign.domid;
	char *page = NULL;
	int16_t status;

	/* The caller's duty by gnttab.h; exactly one side is a guest's. */
	assert(to_guest != !!(seg->flags & GNTCOPY_source_gref));
	assert((uint32_t)offset + seg->len <= SIM_PAGE_BYTES);

	status = grant_page(gt, domid, ref, to_guest, &page);
	if (status != GNTST_okay)
		return status;
	if (to_guest)
		memcpy(page + offset, seg->source.virt, seg->len);
	else
		memcpy(seg->dest.virt, page + offset, seg->len);
	return GNTST_okay;
}

void gnttab_copy(struct gnttab *gt, xengnttab_grant_copy_segment_t *segments,
		 unsigned int nr)
{
	unsigned int i;

	for (i = 0; i < nr; i++)
		segments[i].status = copy_one(gt, &segments[i]);
}
