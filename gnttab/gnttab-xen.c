/* SPDX-License-Identifier: BSD-2-Clause */
/* Grant tables of the hypervisor, over libxengnttab. */
#include "gnttab/gnttab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xen/grant_table.h>

struct gnttab {
	xengnttab_handle *xgt;
};

const char *gnttab_path(void)
{
	return "/dev/xen/gntdev";
}

int gnttab_open(struct gnttab **ret_gt)
{
	struct gnttab *gt = calloc(1, sizeof(*gt));
	int rc;

	if (!gt)
		return -ENOMEM;
	gt->xgt = xengnttab_open(NULL, 0);
	if (!gt->xgt) {
		rc = -errno;
		free(gt);
		return rc;
	}
	*ret_gt = gt;
	return 0;
}

void gnttab_close(struct gnttab *gt)
{
	if (!gt)
		return;
	xengnttab_close(gt->xgt);
	free(gt);
}

int gnttab_map(struct gnttab *gt, uint16_t domid, const uint32_t *refs,
	       unsigned int nr_pages, void **ret_addr)
{
	/* The library's parameter is not const, yet it only reads. */
	void *addr =
		xengnttab_map_domain_grant_refs(gt->xgt, nr_pages, domid,
						(uint32_t *)(uintptr_t)refs,
						PROT_READ | PROT_WRITE);

	if (!addr)
		return errno ? -errno : -EINVAL;
	*ret_addr = addr;
	return 0;
}

void gnttab_unmap(struct gnttab *gt, void *addr, unsigned int nr_pages)
{
	xengnttab_unmap(gt->xgt, addr, nr_pages);
}

static void assert_within_page(const xengnttab_grant_copy_segment_t *seg)
{
	unsigned int offset = seg->flags & GNTCOPY_source_gref
				      ? seg->source.foreign.offset
				      : seg->dest.foreign.offset;

	assert(offset + seg->len <= GNTTAB_PAGE_BYTES);
}

void gnttab_copy(struct gnttab *gt, xengnttab_grant_copy_segment_t *segments,
		 unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		assert_within_page(&segments[i]);
	if (!nr || !xengnttab_grant_copy(gt->xgt, nr, segments))
		return;
	/*
	 * The kernel gave up somewhere in the batch, and statuses it had not
	 * reached read as okay.  Only a call of its own tells for each one.
	 */
	for (unsigned int i = 0; i < nr; i++) {
		if (xengnttab_grant_copy(gt->xgt, 1, &segments[i]))
			segments[i].status = GNTST_general_error;
	}
}
