/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LD_PRELOAD library under which Debian's unmodified xenstored, oxenstored and
 * xl run where there is no Xen.  It stands in for the hypervisor calls they
 * make, over the simulation's domain records (sim-wire.h): a domain exists
 * when it has a record, destroying it clears the record, and VIRQ_DOM_EXC is a
 * byte in a FIFO.
 *
 * Calls that neither program makes on the paths tested are not here: they
 * reach the real library and fail there, loudly.
 */
/* open and open64 are both defined here: neither may become the other. */
#undef _FILE_OFFSET_BITS
#define XC_WANT_COMPAT_MAP_FOREIGN_API
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#include "tests/sim/sim-wire.h"

#define VIRQ_PORT 1
#define DOMAIN_PORT 2

/* What the handles point to: nobody looks inside. */
static char handle[64];
static int virq_fd = -1;

static int sim_open_file(const char *name, int flags)
{
	const char *dir = getenv(SIM_ENV);
	char path[200];

	if (!dir) {
		errno = ENOENT;
		return -1;
	}
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return open(path, flags | O_CLOEXEC);
}

/* What xl starts (hotplug scripts) runs without this library. */
__attribute__((constructor)) static void forget_preload(void)
{
	unsetenv("LD_PRELOAD");
}

/* ---- domains ---- */

static int records_read(struct sim_domain_record *records)
{
	size_t bytes = SIM_NR_DOMAINS * sizeof(*records);
	int fd = sim_open_file("domains", O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return -1;
	n = read(fd, records, bytes);
	close(fd);
	return n == (ssize_t)bytes ? 0 : -1;
}

static int record_compare(const void *a, const void *b)
{
	const struct sim_domain_record *x = a, *y = b;

	return (x->domid > y->domid) - (x->domid < y->domid);
}

/* Existing domains from first upwards, in order. */
static int records_from(uint32_t first, struct sim_domain_record *ret_list,
			int max)
{
	struct sim_domain_record all[SIM_NR_DOMAINS];
	int i, nr = 0;

	if (records_read(all) < 0)
		return -1;
	qsort(all, SIM_NR_DOMAINS, sizeof(all[0]), record_compare);
	for (i = 0; i < (int)SIM_NR_DOMAINS && nr < max; i++)
		if (all[i].state != SIM_DOMAIN_NONE && all[i].domid >= first)
			ret_list[nr++] = all[i];
	return nr;
}

static int record_set_state(uint32_t domid, uint32_t state)
{
	struct sim_domain_record r;
	int fd = sim_open_file("domains", O_RDWR);
	int error = -1;
	off_t at = 0;

	if (fd < 0)
		return -1;
	for (; pread(fd, &r, sizeof(r), at) == sizeof(r); at += sizeof(r)) {
		if (r.state == SIM_DOMAIN_NONE || r.domid != domid)
			continue;
		r.state = state;
		if (pwrite(fd, &r, sizeof(r), at) == sizeof(r))
			error = 0;
		break;
	}
	close(fd);
	if (error)
		errno = ESRCH;
	return error;
}

xc_interface *xc_interface_open(xentoollog_logger *logger,
				xentoollog_logger *dombuild_logger,
				unsigned int open_flags)
{
	(void)logger;
	(void)dombuild_logger;
	(void)open_flags;
	return (xc_interface *)handle;
}

int xc_interface_close(xc_interface *xch)
{
	(void)xch;
	return 0;
}

int xc_domain_getinfo(xc_interface *xch, uint32_t first_domid,
		      unsigned int max_doms, xc_dominfo_t *info)
{
	struct sim_domain_record list[SIM_NR_DOMAINS];
	int i, nr;

	(void)xch;
	if (max_doms > SIM_NR_DOMAINS)
		max_doms = SIM_NR_DOMAINS;
	nr = records_from(first_domid, list, (int)max_doms);
	for (i = 0; i < nr; i++) {
		memset(&info[i], 0, sizeof(info[i]));
		info[i].domid = list[i].domid;
		info[i].running = list[i].state == SIM_DOMAIN_RUNNING;
		info[i].shutdown = list[i].state == SIM_DOMAIN_SHUTDOWN;
		info[i].dying = list[i].state == SIM_DOMAIN_DYING;
		memcpy(info[i].handle, list[i].uuid, sizeof(list[i].uuid));
	}
	return nr;
}

int xc_domain_getinfolist(xc_interface *xch, uint32_t first_domain,
			  unsigned int max_domains, xc_domaininfo_t *info)
{
	struct sim_domain_record list[SIM_NR_DOMAINS];
	int i, nr;

	(void)xch;
	if (max_domains > SIM_NR_DOMAINS)
		max_domains = SIM_NR_DOMAINS;
	nr = records_from(first_domain, list, (int)max_domains);
	for (i = 0; i < nr; i++) {
		memset(&info[i], 0, sizeof(info[i]));
		info[i].domain = (domid_t)list[i].domid;
		if (list[i].state == SIM_DOMAIN_SHUTDOWN)
			info[i].flags = XEN_DOMINF_shutdown;
		else if (list[i].state == SIM_DOMAIN_DYING)
			info[i].flags = XEN_DOMINF_dying;
		else
			info[i].flags = XEN_DOMINF_running;
		memcpy(info[i].handle, list[i].uuid, sizeof(list[i].uuid));
	}
	return nr;
}

int xc_domain_pause(xc_interface *xch, uint32_t domid)
{
	(void)xch;
	(void)domid;
	return 0;
}

int xc_domain_destroy(xc_interface *xch, uint32_t domid)
{
	int fd;

	(void)xch;
	if (record_set_state(domid, SIM_DOMAIN_NONE) < 0)
		return -1;
	fd = sim_open_file("virq", O_WRONLY | O_NONBLOCK);
	if (fd >= 0) {
		(void)!write(fd, "x", 1);
		close(fd);
	}
	return 0;
}

int xc_get_max_cpus(xc_interface *xch)
{
	(void)xch;
	return 2;
}

const char *xc_domain_get_native_protocol(xc_interface *xch, uint32_t domid)
{
	(void)xch;
	(void)domid;
	return "x86_64-abi";
}

/* As a hypervisor without XSM. */
int xc_flask_sid_to_context(xc_interface *xch, int sid, char *buf,
			    uint32_t size)
{
	(void)xch;
	(void)sid;
	(void)buf;
	(void)size;
	errno = ENOSYS;
	return -1;
}

int xc_version(xc_interface *xch, int cmd, void *arg)
{
	(void)xch;
	(void)arg;
	return cmd == XENVER_version ? 4 << 16 | 17 : 0;
}

/* ---- grants: xenstored's view of a guest's xenstore page ---- */

xengnttab_handle *xengnttab_open(xentoollog_logger *logger,
				 unsigned int open_flags)
{
	(void)logger;
	(void)open_flags;
	return (xengnttab_handle *)handle;
}

int xengnttab_close(xengnttab_handle *xgt)
{
	(void)xgt;
	return 0;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
	(void)xgt;
	(void)nr_grants;
	return 0;
}

/* An empty ring: a fake guest does not speak through its page. */
static void *empty_page(void)
{
	void *p = mmap(NULL, XC_PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid,
			      uint32_t ref, int prot)
{
	(void)xgt;
	(void)domid;
	(void)ref;
	(void)prot;
	return empty_page();
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
	(void)xgt;
	return munmap(start_address, (size_t)count * XC_PAGE_SIZE);
}

/* oxenstored's way to the same page. */
void *xc_map_foreign_range(xc_interface *xch, uint32_t dom, int size, int prot,
			   unsigned long mfn)
{
	(void)xch;
	(void)dom;
	(void)size;
	(void)prot;
	(void)mfn;
	return empty_page();
}

/* ---- event channels: only the virq ever fires ---- */

xenevtchn_handle *xenevtchn_open(xentoollog_logger *logger, unsigned int flags)
{
	(void)logger;
	(void)flags;
	if (virq_fd < 0)
		virq_fd = sim_open_file("virq", O_RDWR | O_NONBLOCK);
	return virq_fd < 0 ? NULL : (xenevtchn_handle *)handle;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
	(void)xce;
	return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
	(void)xce;
	return virq_fd;
}

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	(void)port;
	return 0;
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce,
						     uint32_t domid,
						     evtchn_port_t remote_port)
{
	static evtchn_port_t next = DOMAIN_PORT;

	(void)xce;
	(void)domid;
	(void)remote_port;
	return (xenevtchn_port_or_error_t)next++;
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce,
					      unsigned int virq)
{
	(void)xce;
	(void)virq;
	return VIRQ_PORT;
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	(void)port;
	return 0;
}

xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
	char c;

	(void)xce;
	return read(virq_fd, &c, 1) == 1 ? VIRQ_PORT : -1;
}

int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce;
	(void)port;
	return 0;
}

/* ---- the two files of /proc/xen ---- */

/* A memfd for the page, or for the text of the port; -2: not ours. */
static int open_proc_xen(const char *path)
{
	bool kva = !strcmp(path, "/proc/xen/xsd_kva");
	int fd;

	if (!kva && strcmp(path, "/proc/xen/xsd_port") != 0)
		return -2;
	fd = memfd_create("xsd", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	if (kva) {
		if (ftruncate(fd, XC_PAGE_SIZE) < 0)
			return -1;
	} else if (write(fd, "1", 1) != 1 || lseek(fd, 0, SEEK_SET) < 0) {
		return -1;
	}
	return fd;
}

/*
 * oxenstored raises its limit of open files to the machine's at start, which
 * a container may forbid; a test needs few.
 */
typedef int setrlimit_fn(__rlimit_resource_t resource,
			 const struct rlimit *limits);

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limits)
{
	setrlimit_fn *next = (setrlimit_fn *)dlsym(RTLD_NEXT, "setrlimit");
	int error = next(resource, limits);

	return error && errno == EPERM && resource == RLIMIT_NOFILE ? 0 : error;
}

typedef int open_fn(const char *path, int flags, ...);

static int open_next(const char *symbol, const char *path, int flags,
		     mode_t mode)
{
	int fd = open_proc_xen(path);
	open_fn *next;

	if (fd != -2)
		return fd;
	next = (open_fn *)dlsym(RTLD_NEXT, symbol);
	return next(path, flags, mode);
}

/* The mode is there whenever the flags may create; reading it is harmless. */
#define DEFINE_OPEN(name)                                   \
	int name(const char *path, int flags, ...)          \
	{                                                   \
		mode_t mode = 0;                            \
		va_list ap;                                 \
                                                            \
		va_start(ap, flags);                        \
		if (flags & (O_CREAT | O_TMPFILE))          \
			mode = va_arg(ap, mode_t);          \
		va_end(ap);                                 \
		return open_next(#name, path, flags, mode); \
	}

DEFINE_OPEN(open)
DEFINE_OPEN(open64)
