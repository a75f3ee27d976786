/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Grant tables: mapping a guest's granted pages, and copying to and from
 * them in batches.
 *
 * The implementation is chosen by which object is linked: gnttab-xen.c over
 * libxengnttab, or tests/sim/gnttab-sim.c over a memfd.  A handle belongs to
 * one thread at a time.  Nothing here logs.
 *
 * Source: xen/include/public/grant_table.h, xengnttab.h.  The copy segment is
 * libxengnttab's own, so that a batch is built once and handed down as it is.
 */
#ifndef XEN_DISKD_GNTTAB_H
#define XEN_DISKD_GNTTAB_H

#include <stdbool.h>
#include <stdint.h>
#include <xengnttab.h>

/* Granted pages are 4096 bytes on every architecture (grant_table.h). */
#define GNTTAB_PAGE_BYTES 4096u

struct gnttab;

/* What gnttab_open() opens: a device, or a socket. */
const char *gnttab_path(void);

/*
 * Opens a handle.  The caller owns *ret_gt and frees it with gnttab_close().
 * Errors: those of opening the grant device (-ENOENT where there is no Xen).
 */
int gnttab_open(struct gnttab **ret_gt);

/*
 * Closes the handle.  Every mapping made through it must be unmapped before:
 * the kernel keeps a mapping alive for as long as its memory is mapped.
 * NULL is a no-op.
 */
void gnttab_close(struct gnttab *gt);

/*
 * Maps nr_pages pages, granted by domain domid under refs[], read-write and
 * contiguous in this process.  All or nothing: one bad reference fails the
 * whole call, so references of different requests are never mixed in one.
 * Errors: -EINVAL for a reference that cannot be mapped, -ENOMEM, -ENOSPC.
 */
int gnttab_map(struct gnttab *gt, uint16_t domid, const uint32_t *refs,
	       unsigned int nr_pages, void **ret_addr);

/* Undoes one gnttab_map() of nr_pages pages. */
void gnttab_unmap(struct gnttab *gt, void *addr, unsigned int nr_pages);

/*
 * Performs nr copies.  Each segment's status is GNTST_okay or an error of its
 * own (XSA-361/362/365: look at every one); a failing segment harms no other.
 * A call that fails as a whole is retried segment by segment, so on return
 * every status is final and no segment is okay that was not copied.
 *
 * A foreign offset plus length never exceeds GNTTAB_PAGE_BYTES (the caller's
 * duty, asserted); the local side may cross pages.  May block: a paged-out
 * frame is retried by the kernel for up to about 32 s.
 */
void gnttab_copy(struct gnttab *gt, xengnttab_grant_copy_segment_t *segments,
		 unsigned int nr);

/* Fills one segment: bytes from a granted page into local memory. */
static inline void gnttab_copy_from_guest(xengnttab_grant_copy_segment_t *seg,
					  uint16_t domid, uint32_t ref,
					  unsigned int offset_bytes,
					  unsigned int length_bytes,
					  void *local)
{
	*seg = (xengnttab_grant_copy_segment_t){
		.source.foreign = { .ref = ref,
				    .offset = (uint16_t)offset_bytes,
				    .domid = domid },
		.dest.virt = local,
		.len = (uint16_t)length_bytes,
		.flags = GNTCOPY_source_gref,
	};
}

/* Fills one segment: bytes from local memory into a granted page. */
static inline void gnttab_copy_to_guest(xengnttab_grant_copy_segment_t *seg,
					uint16_t domid, uint32_t ref,
					unsigned int offset_bytes,
					unsigned int length_bytes, void *local)
{
	*seg = (xengnttab_grant_copy_segment_t){
		.source.virt = local,
		.dest.foreign = { .ref = ref,
				  .offset = (uint16_t)offset_bytes,
				  .domid = domid },
		.len = (uint16_t)length_bytes,
		.flags = GNTCOPY_dest_gref,
	};
}

#endif
