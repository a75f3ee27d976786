/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulated hypervisor: owns the guests' memory, the port table, and the
 * thread that answers backends.  Port states are those of Xen
 * (xen/common/event_channel.c): an offered port is unbound; a bound one goes
 * back to unbound when the backend's end closes, by whatever means.
 */
#include "tests/sim/sim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim-wire.h"

#define NR_CLIENTS 256
#define NR_PORTS 256 /* per domain; port 0 is never given out */

struct client;

enum port_state { PORT_CLOSED, PORT_UNBOUND, PORT_BOUND };

struct port {
	enum port_state state;
	int fd; /* the frontend's eventfd */
	struct client *peer;
	unsigned int slot; /* at the peer */
};

/* Grants one backend mapped in one domain. */
struct pin {
	struct pin *next;
	struct sim_domain *dom;
	uint32_t nr;
	uint32_t refs[SIM_MAP_MAX];
};

/* One open handle of a backend. */
struct client {
	int sock;
	int event_fd; /* -1 for a grant handle */
	struct sim_ports *ports;
	uint32_t port_base;
	uint64_t slots_used; /* a port lives until its owner unbinds */
	struct port *bound[SIM_NR_SLOTS];
	struct pin *pins;
};

struct sim_domain {
	struct sim_domain *next;
	struct sim *sim;
	uint16_t domid;
	bool dead;
	int fd;
	struct sim_guest *guest;
	size_t size_bytes;
	struct sim_domain_record *record;
	uint8_t *page_used;
	uint32_t grant_maps[SIM_NR_GREFS];
	uint32_t next_ref;
	struct port ports[NR_PORTS];
};

struct sim {
	char dir[80];
	int listen_fd, stop_fd, virq_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct sim_domain *domains;
	struct sim_domain_record *records;
	struct client *clients[NR_CLIENTS];
	unsigned int nr_clients;
	uint32_t next_port_base;
	unsigned int live_maps, live_ports;
	uint32_t fail_map, fail_bind;
	int fail_bind_error, fail_binds;
};

static void kick(int fd)
{
	(void)!write(fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static struct sim_domain *domain_find(struct sim *sim, uint32_t domid)
{
	struct sim_domain *d;

	for (d = sim->domains; d; d = d->next)
		if (d->domid == domid && !d->dead &&
		    d->record->state != SIM_DOMAIN_NONE)
			return d;
	return NULL;
}

/* ---- the backend's calls, under the lock ---- */

static void client_post(struct client *c, unsigned int slot)
{
	uint64_t bit = UINT64_C(1) << slot;

	if (atomic_fetch_or(&c->ports->pending, bit) & bit)
		return;
	/* Pairs with evtchn_unmask(): bit first, then the mask is read. */
	if (!(atomic_load(&c->ports->masked) & bit))
		kick(c->event_fd);
}

/* Parts the two ends.  The backend's own port stays until it unbinds. */
static void port_part(struct port *port)
{
	port->peer->bound[port->slot] = NULL;
	port->peer = NULL;
	port->state = PORT_UNBOUND;
}

/* The backend's end closes. */
static void slot_free(struct sim *sim, struct client *c, unsigned int slot)
{
	if (c->bound[slot])
		port_part(c->bound[slot]);
	c->slots_used &= ~(UINT64_C(1) << slot);
	sim->live_ports--;
}

static int op_open(struct sim *sim, struct client *c, int fds[2])
{
	int fd = memfd_create("sim-ports", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SIM_PAGE_BYTES) < 0)
		return -ENOMEM;
	c->ports = mmap(NULL, SIM_PAGE_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED, fd, 0);
	c->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (c->ports == MAP_FAILED || c->event_fd < 0)
		return -ENOMEM;
	/* Slots of different handles never share a port number. */
	c->port_base = sim->next_port_base += SIM_NR_SLOTS;
	fds[0] = c->event_fd;
	fds[1] = fd;
	return 0;
}

static int op_bind(struct sim *sim, struct client *c,
		   const struct sim_request *rq, struct sim_reply *reply,
		   int *ret_fd)
{
	struct sim_domain *d = domain_find(sim, rq->domid);
	unsigned int slot = 0;
	struct port *port;

	if (sim->fail_bind && !--sim->fail_bind)
		return sim->fail_bind_error;
	if (sim->fail_binds)
		return sim->fail_binds;
	if (!d)
		return -ESRCH;
	if (!c->ports || !rq->port || rq->port >= NR_PORTS)
		return -EINVAL;
	port = &d->ports[rq->port];
	if (port->state != PORT_UNBOUND)
		return -EINVAL;
	while (slot < SIM_NR_SLOTS && (c->slots_used >> slot & 1))
		slot++;
	if (slot == SIM_NR_SLOTS)
		return -ENOSPC;

	port->state = PORT_BOUND;
	port->peer = c;
	port->slot = slot;
	c->bound[slot] = port;
	c->slots_used |= UINT64_C(1) << slot;
	sim->live_ports++;
	atomic_fetch_and(&c->ports->masked, ~(UINT64_C(1) << slot));
	atomic_fetch_and(&c->ports->pending, ~(UINT64_C(1) << slot));
	client_post(c, slot);
	reply->port = c->port_base + slot;
	*ret_fd = port->fd;
	return 0;
}

static int op_unbind(struct sim *sim, struct client *c, uint32_t port)
{
	unsigned int slot = port % SIM_NR_SLOTS;

	if (port - slot != c->port_base || !(c->slots_used >> slot & 1))
		return -ENOTCONN;
	slot_free(sim, c, slot);
	return 0;
}

/* Why a grant may not be mapped for writing, or 0 and its frame. */
static int grant_check(struct sim_domain *d, uint32_t ref, uint32_t *ret_frame)
{
	struct sim_grant_entry entry;
	uint64_t raw;

	if (ref >= SIM_NR_GREFS)
		return -EINVAL;
	raw = atomic_load(&d->guest->grants[ref]);
	memcpy(&entry, &raw, sizeof(entry));
	if (!(entry.flags & SIM_GTF_PERMIT) || entry.domid != 0 ||
	    (entry.flags & SIM_GTF_READONLY) ||
	    entry.frame >= d->guest->nr_pages)
		return -EINVAL;
	*ret_frame = entry.frame;
	return 0;
}

static int op_map(struct sim *sim, struct client *c,
		  const struct sim_request *rq, struct sim_reply *reply)
{
	struct sim_domain *d = domain_find(sim, rq->domid);
	struct pin *pin;
	uint32_t i;

	if (sim->fail_map && !--sim->fail_map)
		return -EINVAL;
	if (!d || !rq->nr || rq->nr > SIM_MAP_MAX)
		return -EINVAL;
	for (i = 0; i < rq->nr; i++)
		if (grant_check(d, rq->refs[i], &reply->frames[i]) < 0)
			return -EINVAL;
	pin = calloc(1, sizeof(*pin));
	if (!pin)
		return -ENOMEM;
	pin->dom = d;
	pin->nr = rq->nr;
	memcpy(pin->refs, rq->refs, sizeof(pin->refs));
	for (i = 0; i < rq->nr; i++)
		d->grant_maps[rq->refs[i]]++;
	sim->live_maps += rq->nr;
	pin->next = c->pins;
	c->pins = pin;
	return 0;
}

static void pin_free(struct sim *sim, struct pin *pin)
{
	uint32_t i;

	for (i = 0; i < pin->nr; i++)
		pin->dom->grant_maps[pin->refs[i]]--;
	sim->live_maps -= pin->nr;
	free(pin);
}

static int op_unmap(struct sim *sim, struct client *c,
		    const struct sim_request *rq)
{
	struct pin **at = &c->pins;
	struct pin *pin;

	for (; (pin = *at) != NULL; at = &pin->next)
		if (pin->dom->domid == rq->domid && pin->nr == rq->nr &&
		    !memcmp(pin->refs, rq->refs, rq->nr * sizeof(rq->refs[0])))
			break;
	if (!pin)
		return -EINVAL;
	*at = pin->next;
	pin_free(sim, pin);
	return 0;
}

static int op_dispatch(struct sim *sim, struct client *c,
		       const struct sim_request *rq, struct sim_reply *reply,
		       int fds[2])
{
	struct sim_domain *d;

	switch (rq->op) {
	case SIM_OP_EVTCHN_OPEN:
		return op_open(sim, c, fds);
	case SIM_OP_EVTCHN_BIND:
		return op_bind(sim, c, rq, reply, fds);
	case SIM_OP_EVTCHN_UNBIND:
		return op_unbind(sim, c, rq->port);
	case SIM_OP_GUEST:
		d = domain_find(sim, rq->domid);
		if (!d)
			return -ESRCH;
		fds[0] = d->fd;
		return 0;
	case SIM_OP_GRANT_MAP:
		return op_map(sim, c, rq, reply);
	case SIM_OP_GRANT_UNMAP:
		return op_unmap(sim, c, rq);
	default:
		return -ENOSYS;
	}
}

/* ---- the thread ---- */

static void reply_send(int sock, const struct sim_reply *reply,
		       const int fds[2])
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)reply, sizeof(*reply) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t bytes = (fds[1] >= 0 ? 2 : 1) * sizeof(int);

	if (fds[0] >= 0) {
		struct cmsghdr *c = (struct cmsghdr *)control.buf;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(c), fds, bytes);
	}
	/* A peer that died meanwhile is the next poll's business. */
	(void)sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_free(struct sim *sim, unsigned int index)
{
	struct client *c = sim->clients[index];
	struct pin *pin;
	unsigned int slot;

	for (slot = 0; slot < SIM_NR_SLOTS; slot++)
		if (c->slots_used >> slot & 1)
			slot_free(sim, c, slot);
	while ((pin = c->pins) != NULL) {
		c->pins = pin->next;
		pin_free(sim, pin);
	}
	if (c->ports)
		munmap(c->ports, SIM_PAGE_BYTES);
	if (c->event_fd >= 0)
		close(c->event_fd);
	close(c->sock);
	free(c);
	sim->clients[index] = sim->clients[--sim->nr_clients];
}

/* One datagram of a backend, or its end. */
static void client_serve(struct sim *sim, unsigned int index)
{
	struct client *c = sim->clients[index];
	struct sim_reply reply = { 0 };
	int fds[2] = { -1, -1 };
	struct sim_request rq;
	ssize_t n = recv(c->sock, &rq, sizeof(rq), MSG_DONTWAIT);

	pthread_mutex_lock(&sim->lock);
	if (n == sizeof(rq)) {
		reply.error = op_dispatch(sim, c, &rq, &reply, fds);
		if (reply.error < 0)
			fds[0] = -1;
		reply_send(c->sock, &reply, fds);
		if (fds[1] >= 0)
			close(fds[1]);
	} else if (n >= 0 || (errno != EAGAIN && errno != EINTR)) {
		client_free(sim, index);
	}
	pthread_cond_broadcast(&sim->changed);
	pthread_mutex_unlock(&sim->lock);
}

static void client_accept(struct sim *sim)
{
	int sock = accept4(sim->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	struct client *c;

	if (sock < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c || sim->nr_clients == NR_CLIENTS) {
		free(c);
		close(sock);
		return;
	}
	c->sock = sock;
	c->event_fd = -1;
	pthread_mutex_lock(&sim->lock);
	sim->clients[sim->nr_clients++] = c;
	pthread_mutex_unlock(&sim->lock);
}

static void *sim_thread(void *arg)
{
	struct pollfd p[NR_CLIENTS + 2];
	struct sim *sim = arg;
	unsigned int i, nr;

	for (;;) {
		nr = sim->nr_clients;
		p[0] = (struct pollfd){ sim->stop_fd, POLLIN, 0 };
		p[1] = (struct pollfd){ sim->listen_fd, POLLIN, 0 };
		for (i = 0; i < nr; i++)
			p[i + 2] = (struct pollfd){ sim->clients[i]->sock,
						    POLLIN, 0 };
		if (poll(p, nr + 2, -1) < 0)
			continue;
		if (p[0].revents)
			return NULL;
		/* Downwards: client_free() moves the last into the gap. */
		for (i = nr; i-- > 0;)
			if (p[i + 2].revents)
				client_serve(sim, i);
		if (p[1].revents)
			client_accept(sim);
	}
}

/* ---- opening and closing ---- */

static int listen_open(struct sim *sim)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/sim.sock", sim->dir);
	sim->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sim->listen_fd < 0 ||
	    bind(sim->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    /* The workers are users of their own. */
	    chmod(sa.sun_path, 0666) < 0 || listen(sim->listen_fd, 64) < 0)
		return -errno;
	return 0;
}

/* The record of domain 0, and room for the others. */
static int records_open(struct sim *sim)
{
	size_t bytes = SIM_NR_DOMAINS * sizeof(*sim->records);
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/domains", sim->dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
		return -errno;
	sim->records =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (sim->records == MAP_FAILED)
		return -errno;
	sim->records[0].state = SIM_DOMAIN_RUNNING;

	snprintf(path, sizeof(path), "%s/virq", sim->dir);
	if (mkfifo(path, 0600) < 0)
		return -errno;
	/* Both ends held here, so that neither side ever sees an end of file. */
	sim->virq_fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	return sim->virq_fd < 0 ? -errno : 0;
}

int sim_open(const char *dir, struct sim **ret_sim)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	int error;

	if (!sim)
		return -ENOMEM;
	sim->listen_fd = sim->stop_fd = sim->virq_fd = -1;
	if ((size_t)snprintf(sim->dir, sizeof(sim->dir), "%s", dir) >=
	    sizeof(sim->dir)) {
		free(sim);
		return -ENAMETOOLONG;
	}
	pthread_mutex_init(&sim->lock, NULL);
	pthread_cond_init(&sim->changed, NULL);
	sim->stop_fd = eventfd(0, EFD_CLOEXEC);
	error = records_open(sim);
	if (!error)
		error = listen_open(sim);
	if (!error)
		error = -pthread_create(&sim->thread, NULL, sim_thread, sim);
	if (error) {
		/* A test that cannot start ends its process: no unwinding. */
		free(sim);
		return error;
	}
	*ret_sim = sim;
	return 0;
}

static void domain_free(struct sim_domain *d)
{
	unsigned int i;

	for (i = 0; i < NR_PORTS; i++)
		if (d->ports[i].fd >= 0)
			close(d->ports[i].fd);
	munmap(d->guest, d->size_bytes);
	close(d->fd);
	free(d->page_used);
	free(d);
}

void sim_close(struct sim *sim)
{
	struct sim_domain *d;

	if (!sim)
		return;
	kick(sim->stop_fd);
	pthread_join(sim->thread, NULL);
	while (sim->nr_clients)
		client_free(sim, 0);
	while ((d = sim->domains) != NULL) {
		sim->domains = d->next;
		domain_free(d);
	}
	munmap(sim->records, SIM_NR_DOMAINS * sizeof(*sim->records));
	close(sim->listen_fd);
	close(sim->stop_fd);
	close(sim->virq_fd);
	pthread_mutex_destroy(&sim->lock);
	pthread_cond_destroy(&sim->changed);
	free(sim);
}

/* ---- domains ---- */

static struct sim_domain_record *record_alloc(struct sim *sim, uint16_t domid)
{
	struct sim_domain_record *r = NULL;
	unsigned int i;

	for (i = 1; i < SIM_NR_DOMAINS; i++)
		if (sim->records[i].state == SIM_DOMAIN_NONE && !r)
			r = &sim->records[i];
	if (!r)
		return NULL;
	r->domid = domid;
	if (getrandom(r->uuid, sizeof(r->uuid), 0) != sizeof(r->uuid))
		return NULL;
	r->state = SIM_DOMAIN_RUNNING;
	return r;
}

static int guest_alloc(struct sim_domain *d, uint32_t nr_pages)
{
	d->size_bytes =
		SIM_GUEST_HEAD_BYTES + (size_t)nr_pages * SIM_PAGE_BYTES;
	d->page_used = calloc(nr_pages, 1);
	d->fd = memfd_create("sim-guest", MFD_CLOEXEC);
	if (!d->page_used || d->fd < 0 ||
	    ftruncate(d->fd, (off_t)d->size_bytes) < 0)
		return -ENOMEM;
	d->guest = mmap(NULL, d->size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			d->fd, 0);
	if (d->guest == MAP_FAILED)
		return -ENOMEM;
	d->guest->nr_pages = nr_pages;
	atomic_store(&d->guest->alive, 1);
	return 0;
}

int sim_domain_create(struct sim *sim, uint16_t domid, uint32_t nr_pages,
		      struct sim_domain **ret_dom)
{
	struct sim_domain *d = calloc(1, sizeof(*d));
	unsigned int i;
	int error = 0;

	if (!d)
		return -ENOMEM;
	for (i = 0; i < NR_PORTS; i++)
		d->ports[i].fd = -1;
	d->sim = sim;
	d->domid = domid;
	d->next_ref = 8; /* the first eight are reserved */
	pthread_mutex_lock(&sim->lock);
	if (domain_find(sim, domid))
		error = -EEXIST;
	else
		error = guest_alloc(d, nr_pages);
	d->record = error ? NULL : record_alloc(sim, domid);
	if (d->record) {
		d->next = sim->domains;
		sim->domains = d;
	}
	pthread_mutex_unlock(&sim->lock);
	if (!d->record) {
		free(d);
		return error ? error : -ENOSPC;
	}
	*ret_dom = d;
	return 0;
}

/* Under the lock. */
static void domain_die(struct sim_domain *d)
{
	unsigned int i;

	if (d->dead)
		return;
	d->dead = true;
	atomic_store(&d->guest->alive, 0);
	for (i = 0; i < NR_PORTS; i++) {
		if (d->ports[i].state == PORT_BOUND)
			port_part(&d->ports[i]);
		d->ports[i].state = PORT_CLOSED;
	}
}

void sim_domain_destroy(struct sim_domain *d)
{
	struct sim *sim = d->sim;

	pthread_mutex_lock(&sim->lock);
	if (!d->dead && d->record->domid == d->domid)
		d->record->state = SIM_DOMAIN_NONE;
	domain_die(d);
	pthread_mutex_unlock(&sim->lock);
	(void)!write(sim->virq_fd, "x", 1);
}

void sim_domain_sync(struct sim_domain *d)
{
	pthread_mutex_lock(&d->sim->lock);
	if (d->record->state == SIM_DOMAIN_NONE)
		domain_die(d);
	pthread_mutex_unlock(&d->sim->lock);
}

void sim_domain_uuid(const struct sim_domain *d, char ret_text[37])
{
	const uint8_t *u = d->record->uuid;
	unsigned int i, at = 0;

	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			ret_text[at++] = '-';
		at += (unsigned int)sprintf(ret_text + at, "%02x", u[i]);
	}
}

void sim_domain_set_uuid(struct sim_domain *d, const uint8_t uuid[16])
{
	memcpy(d->record->uuid, uuid, sizeof(d->record->uuid));
}

uint16_t sim_domain_id(const struct sim_domain *d)
{
	return d->domid;
}

/* ---- pages and grants ---- */

void *sim_page(const struct sim_domain *d, uint32_t frame)
{
	return (char *)d->guest + SIM_GUEST_HEAD_BYTES +
	       (size_t)frame * SIM_PAGE_BYTES;
}

/* The first of nr free frames in a row, or nr_pages. */
static uint32_t frames_find(const struct sim_domain *d, uint32_t nr)
{
	uint32_t frame, run = 0;

	for (frame = 0; frame < d->guest->nr_pages; frame++) {
		run = d->page_used[frame] ? 0 : run + 1;
		if (run == nr)
			return frame + 1 - nr;
	}
	return d->guest->nr_pages;
}

int sim_page_alloc(struct sim_domain *d, uint32_t nr, uint32_t *ret_frame)
{
	uint32_t frame;
	int error = -ENOMEM;

	pthread_mutex_lock(&d->sim->lock);
	frame = frames_find(d, nr);
	if (frame < d->guest->nr_pages) {
		memset(d->page_used + frame, 1, nr);
		memset(sim_page(d, frame), 0, (size_t)nr * SIM_PAGE_BYTES);
		*ret_frame = frame;
		error = 0;
	}
	pthread_mutex_unlock(&d->sim->lock);
	return error;
}

void sim_page_free(struct sim_domain *d, uint32_t frame, uint32_t nr)
{
	pthread_mutex_lock(&d->sim->lock);
	memset(d->page_used + frame, 0, nr);
	pthread_mutex_unlock(&d->sim->lock);
}

int sim_grant(struct sim_domain *d, uint32_t frame, bool readonly,
	      uint32_t *ret_ref)
{
	struct sim_grant_entry entry = {
		.flags = SIM_GTF_PERMIT | (readonly ? SIM_GTF_READONLY : 0),
		.frame = frame,
	};
	uint32_t tries, ref = 0;
	uint64_t raw;

	memcpy(&raw, &entry, sizeof(raw));
	pthread_mutex_lock(&d->sim->lock);
	/* Not the lowest free one: a stale reference stays bad for long. */
	for (tries = 0; tries < SIM_NR_GREFS - 8; tries++) {
		ref = d->next_ref++;
		if (d->next_ref == SIM_NR_GREFS)
			d->next_ref = 8;
		if (!atomic_load(&d->guest->grants[ref]))
			break;
	}
	if (tries < SIM_NR_GREFS - 8)
		atomic_store(&d->guest->grants[ref], raw);
	pthread_mutex_unlock(&d->sim->lock);
	if (tries == SIM_NR_GREFS - 8)
		return -ENOSPC;
	*ret_ref = ref;
	return 0;
}

/*
 * Its process has ended, which has unmapped all: here the thread that does it has but
 * to be told, and an io_uring may hold the socket a little longer.
 */
static bool client_has_ended(const struct client *c)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	struct pollfd ended = { .events = POLLIN };
	bool has;

	if (getsockopt(c->sock, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return false;
	ended.fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	has = ended.fd < 0 || poll(&ended, 1, 0) == 1;
	if (ended.fd >= 0)
		close(ended.fd);
	return has;
}

static bool is_mapped_by_the_living(const struct sim_domain *d, uint32_t ref)
{
	const struct sim *sim = d->sim;

	for (unsigned int i = 0; i < sim->nr_clients; i++) {
		const struct pin *pin = sim->clients[i]->pins;

		for (; pin; pin = pin->next)
			for (uint32_t r = 0; r < pin->nr; r++)
				if (pin->dom == d && pin->refs[r] == ref &&
				    !client_has_ended(sim->clients[i]))
					return true;
	}
	return false;
}

int sim_grant_end(struct sim_domain *d, uint32_t ref)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 5;
	pthread_mutex_lock(&d->sim->lock);
	while (d->grant_maps[ref] && !is_mapped_by_the_living(d, ref) &&
	       !pthread_cond_timedwait(&d->sim->changed, &d->sim->lock, &until))
		;
	if (d->grant_maps[ref])
		error = -EBUSY;
	else
		atomic_store(&d->guest->grants[ref], 0);
	pthread_mutex_unlock(&d->sim->lock);
	return error;
}

/* ---- ports ---- */

int sim_port_alloc(struct sim_domain *d, uint32_t *ret_port, int *ret_fd)
{
	int error = -ENOSPC;
	uint32_t i;

	pthread_mutex_lock(&d->sim->lock);
	for (i = 1; i < NR_PORTS; i++)
		if (d->ports[i].state == PORT_CLOSED)
			break;
	if (i < NR_PORTS) {
		if (d->ports[i].fd >= 0)
			close(d->ports[i].fd);
		d->ports[i].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		d->ports[i].state = PORT_UNBOUND;
		*ret_port = i;
		*ret_fd = d->ports[i].fd;
		error = 0;
	}
	pthread_mutex_unlock(&d->sim->lock);
	return error;
}

void sim_port_close(struct sim_domain *d, uint32_t port)
{
	pthread_mutex_lock(&d->sim->lock);
	if (d->ports[port].state == PORT_BOUND)
		port_part(&d->ports[port]);
	d->ports[port].state = PORT_CLOSED;
	pthread_mutex_unlock(&d->sim->lock);
}

void sim_port_notify(struct sim_domain *d, uint32_t port)
{
	struct port *p = &d->ports[port];

	pthread_mutex_lock(&d->sim->lock);
	if (p->state == PORT_BOUND)
		client_post(p->peer, p->slot);
	pthread_mutex_unlock(&d->sim->lock);
}

bool sim_port_is_bound(struct sim_domain *d, uint32_t port)
{
	bool bound;

	pthread_mutex_lock(&d->sim->lock);
	bound = d->ports[port].state == PORT_BOUND;
	pthread_mutex_unlock(&d->sim->lock);
	return bound;
}

/* ---- counts and faults ---- */

unsigned int sim_live_maps(struct sim *sim)
{
	unsigned int n;

	pthread_mutex_lock(&sim->lock);
	n = sim->live_maps;
	pthread_mutex_unlock(&sim->lock);
	return n;
}

unsigned int sim_live_ports(struct sim *sim)
{
	unsigned int n;

	pthread_mutex_lock(&sim->lock);
	n = sim->live_ports;
	pthread_mutex_unlock(&sim->lock);
	return n;
}

unsigned int sim_live_handles(struct sim *sim)
{
	unsigned int n;

	pthread_mutex_lock(&sim->lock);
	n = sim->nr_clients;
	pthread_mutex_unlock(&sim->lock);
	return n;
}

static struct timespec deadline(unsigned int timeout_ms)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += timeout_ms / 1000;
	end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	return end;
}

int sim_wait_idle(struct sim *sim, unsigned int timeout_ms)
{
	struct timespec end = deadline(timeout_ms);
	int error = 0;

	pthread_mutex_lock(&sim->lock);
	while (!error && (sim->nr_clients || sim->live_maps || sim->live_ports))
		error = pthread_cond_timedwait(&sim->changed, &sim->lock, &end);
	pthread_mutex_unlock(&sim->lock);
	return -error;
}

int sim_wait_bound(struct sim_domain *d, uint32_t port, unsigned int timeout_ms)
{
	struct timespec end = deadline(timeout_ms);
	int error = 0;

	pthread_mutex_lock(&d->sim->lock);
	while (!error && d->ports[port].state != PORT_BOUND)
		error = pthread_cond_timedwait(&d->sim->changed, &d->sim->lock,
					       &end);
	pthread_mutex_unlock(&d->sim->lock);
	return -error;
}

void sim_fail_copy(struct sim_domain *d, uint32_t nth, int16_t status)
{
	atomic_store(&d->guest->copy_fail_status, status);
	atomic_store(&d->guest->copy_fail_at, nth);
}

void sim_fail_map(struct sim *sim, uint32_t nth)
{
	pthread_mutex_lock(&sim->lock);
	sim->fail_map = nth;
	pthread_mutex_unlock(&sim->lock);
}

void sim_fail_bind(struct sim *sim, uint32_t nth, int error)
{
	pthread_mutex_lock(&sim->lock);
	sim->fail_bind = nth;
	sim->fail_bind_error = error;
	pthread_mutex_unlock(&sim->lock);
}

void sim_fail_binds(struct sim *sim, int error)
{
	pthread_mutex_lock(&sim->lock);
	sim->fail_binds = error;
	pthread_mutex_unlock(&sim->lock);
}
