/* SPDX-License-Identifier: BSD-2-Clause */
/* One guest's grants and its event channel, in this process. */
#include "tests/unit/queue/fake-transport.h"

#include "evtchn/evtchn.h"
#include "gnttab/gnttab.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <xen/grant_table.h>

unsigned char fake_pages[FAKE_PAGES][4096] __attribute__((aligned(4096)));
enum fake_grant fake_grants[FAKE_PAGES];
void (*fake_on_notify)(void), (*fake_on_unmask)(void);

static struct {
	pthread_mutex_t lock;
	unsigned int restricted_to;
	unsigned int pages, map_tries, unmapped, ports, handles, notified;
	int backend_fd, guest_fd;
	bool bound, masked, later;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER,
	   .backend_fd = -1,
	   .guest_fd = -1 };

/* There is one guest. */
struct gnttab {
	char unused;
};
struct evtchn {
	uint64_t count; /* read by the kernel */
};

static void add(unsigned int *counter, int n)
{
	pthread_mutex_lock(&fake.lock);
	*counter += (unsigned int)n;
	pthread_mutex_unlock(&fake.lock);
}

static unsigned int look(const unsigned int *counter)
{
	unsigned int value;

	pthread_mutex_lock(&fake.lock);
	value = *counter;
	pthread_mutex_unlock(&fake.lock);
	return value;
}

static void raise_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		abort();
}

/* ---- the test's side -------------------------------------------------- */

void fake_reset(void)
{
	memset(fake_pages, 0, sizeof(fake_pages));
	memset(fake_grants, 0, sizeof(fake_grants));
	fake.pages = fake.map_tries = fake.unmapped = fake.ports =
		fake.handles = 0;
	fake.notified = fake.restricted_to = 0;
	fake.bound = fake.masked = fake.later = false;
	fake.backend_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	fake.guest_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

/* The port is masked from here on.  The lock is held. */
static void fire(void)
{
	fake.masked = true;
	raise_fd(fake.backend_fd);
}

void fake_kick(void)
{
	pthread_mutex_lock(&fake.lock);
	if (fake.bound && fake.masked)
		fake.later = true;
	else if (fake.bound)
		fire();
	pthread_mutex_unlock(&fake.lock);
}

int fake_guest_fd(void)
{
	return fake.guest_fd;
}

unsigned int fake_nr_notified(void)
{
	return look(&fake.notified);
}

unsigned int fake_live_pages(void)
{
	return look(&fake.pages);
}

unsigned int fake_nr_unmapped(void)
{
	return look(&fake.unmapped);
}

unsigned int fake_nr_map_tries(void)
{
	return look(&fake.map_tries);
}

unsigned int fake_live_ports(void)
{
	return look(&fake.ports);
}

unsigned int fake_restricted_to(void)
{
	return look(&fake.restricted_to);
}

unsigned int fake_live_handles(void)
{
	return look(&fake.handles);
}

/* ---- gnttab.h --------------------------------------------------------- */

int gnttab_open(struct gnttab **ret_gt)
{
	*ret_gt = malloc(sizeof(**ret_gt));
	if (!*ret_gt)
		return -ENOMEM;
	add(&fake.handles, 1);
	return 0;
}

void gnttab_close(struct gnttab *gt)
{
	if (!gt)
		return;
	free(gt);
	add(&fake.handles, -1);
}

int gnttab_map(struct gnttab *gt, uint16_t domid, const uint32_t *refs,
	       unsigned int nr_pages, void **ret_addr)
{
	(void)gt;
	add(&fake.map_tries, 1);
	for (unsigned int i = 0; i < nr_pages; i++) {
		if (domid != FAKE_DOMID || refs[i] >= FAKE_PAGES ||
		    refs[i] != refs[0] + i ||
		    fake_grants[refs[i]] != FAKE_GRANT_READ_WRITE)
			return -EINVAL;
	}
	*ret_addr = fake_pages[refs[0]];
	add(&fake.pages, (int)nr_pages);
	return 0;
}

void gnttab_unmap(struct gnttab *gt, void *addr, unsigned int nr_pages)
{
	(void)gt;
	(void)addr;
	add(&fake.pages, -(int)nr_pages);
	add(&fake.unmapped, (int)nr_pages);
}

static int16_t copy_one(const xengnttab_grant_copy_segment_t *seg)
{
	bool to_guest = seg->flags == GNTCOPY_dest_gref;
	uint32_t ref =
		to_guest ? seg->dest.foreign.ref : seg->source.foreign.ref;
	uint16_t offset = to_guest ? seg->dest.foreign.offset
				   : seg->source.foreign.offset;

	if (ref >= FAKE_PAGES || fake_grants[ref] == FAKE_GRANT_NONE)
		return GNTST_bad_gntref;
	if (to_guest && fake_grants[ref] == FAKE_GRANT_READ_ONLY)
		return GNTST_permission_denied;
	if (offset + seg->len > 4096)
		return GNTST_bad_copy_arg;
	if (to_guest)
		memcpy(fake_pages[ref] + offset, seg->source.virt, seg->len);
	else
		memcpy(seg->dest.virt, fake_pages[ref] + offset, seg->len);
	return GNTST_okay;
}

void gnttab_copy(struct gnttab *gt, xengnttab_grant_copy_segment_t *segments,
		 unsigned int nr)
{
	(void)gt;
	for (unsigned int i = 0; i < nr; i++)
		segments[i].status = copy_one(&segments[i]);
}

/* ---- evtchn.h --------------------------------------------------------- */

int evtchn_open(struct evtchn **ret_ec)
{
	*ret_ec = malloc(sizeof(**ret_ec));
	if (!*ret_ec)
		return -ENOMEM;
	add(&fake.handles, 1);
	return 0;
}

void evtchn_close(struct evtchn *ec)
{
	if (!ec)
		return;
	free(ec);
	add(&fake.handles, -1);
}

int evtchn_restrict(struct evtchn *ec, uint16_t domid)
{
	(void)ec;
	pthread_mutex_lock(&fake.lock);
	fake.restricted_to = domid;
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

int evtchn_bind(struct evtchn *ec, uint16_t domid, uint32_t remote_port,
		uint32_t *ret_port)
{
	(void)ec;
	if (domid != FAKE_DOMID || remote_port != FAKE_PORT)
		return -EINVAL;
	*ret_port = FAKE_PORT + 100;
	pthread_mutex_lock(&fake.lock);
	fake.ports++;
	fake.bound = true;
	fire(); /* pending at once, as Xen has it */
	pthread_mutex_unlock(&fake.lock);
	return 0;
}

void evtchn_unbind(struct evtchn *ec, uint32_t port)
{
	(void)ec;
	if (port != FAKE_PORT + 100)
		abort();
	pthread_mutex_lock(&fake.lock);
	fake.ports--;
	fake.bound = false;
	pthread_mutex_unlock(&fake.lock);
}

int evtchn_notify(struct evtchn *ec, uint32_t port)
{
	(void)ec;
	if (port != FAKE_PORT + 100)
		abort();
	add(&fake.notified, 1);
	raise_fd(fake.guest_fd);
	if (fake_on_notify)
		fake_on_notify();
	return 0;
}

void evtchn_wait(struct evtchn *ec, struct io_loop *loop, struct io_op *op)
{
	io_loop_read(loop, op, fake.backend_fd, &ec->count, sizeof(ec->count));
}

int evtchn_take(struct evtchn *ec, int result, uint32_t *ret_port)
{
	(void)ec;
	if (result < 0)
		return result;
	*ret_port = FAKE_PORT + 100;
	return 0;
}

void evtchn_unmask(struct evtchn *ec, struct io_loop *loop, uint32_t port)
{
	(void)ec;
	(void)loop;
	if (port != FAKE_PORT + 100)
		abort();
	pthread_mutex_lock(&fake.lock);
	fake.masked = false;
	if (fake.later)
		fire();
	fake.later = false;
	pthread_mutex_unlock(&fake.lock);
	if (fake_on_unmask)
		fake_on_unmask();
}
