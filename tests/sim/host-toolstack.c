/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A test host's XenStore: reading, writing, waiting by watch; and what libxl
 * writes there when a guest or a disk comes and goes
 * (tools/libs/light/libxl_device.c, libxl_disk.c).
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/host.h"

#define PATH_BYTES 256

#define FORMAT_PATH(path, format)                         \
	do {                                              \
		va_list ap_;                              \
                                                          \
		va_start(ap_, format);                    \
		vsnprintf(path, PATH_BYTES, format, ap_); \
		va_end(ap_);                              \
	} while (0)

void host_write(struct host *h, const char *value, const char *format, ...)
{
	char path[PATH_BYTES];

	FORMAT_PATH(path, format);
	need(xs_write(h->xs, XBT_NULL, path, value,
		      (unsigned int)strlen(value)),
	     "write %s: %s", path, strerror(errno));
}

char *host_read(struct host *h, const char *format, ...)
{
	char path[PATH_BYTES];
	unsigned int n;

	FORMAT_PATH(path, format);
	return xs_read(h->xs, XBT_NULL, path, &n);
}

bool host_exists(struct host *h, const char *format, ...)
{
	char path[PATH_BYTES];
	unsigned int n;
	char *value;

	FORMAT_PATH(path, format);
	value = xs_read(h->xs, XBT_NULL, path, &n);
	free(value);
	return value != NULL;
}

void host_remove(struct host *h, const char *format, ...)
{
	char path[PATH_BYTES];

	FORMAT_PATH(path, format);
	need(xs_rm(h->xs, XBT_NULL, path) || errno == ENOENT, "rm %s: %s", path,
	     strerror(errno));
}

/*
 * Waits until path reads wanted (NULL: any non-empty value; "" never), or is
 * absent.  Returns the value, or NULL at the deadline; ret_absent says that
 * the path was not there at the end.
 */
static char *wait_path(const char *path, const char *wanted, bool want_absent,
		       unsigned int timeout_ms, bool *ret_absent)
{
	struct xs_handle *xs = xs_open(0);
	uint64_t end = host_now_ms() + timeout_ms;
	struct pollfd p = { .events = POLLIN };
	char *value = NULL;
	unsigned int n;
	bool done;

	need(xs && xs_watch(xs, path, "wait"), "watch %s", path);
	p.fd = xs_fileno(xs);
	for (;;) {
		char **event;

		while ((event = xs_check_watch(xs)) != NULL)
			free(event);
		value = xs_read(xs, XBT_NULL, path, &n);
		*ret_absent = !value;
		if (want_absent)
			done = !value;
		else
			done = value && (wanted ? !strcmp(value, wanted) : n);
		if (done || host_now_ms() >= end)
			break;
		free(value);
		poll(&p, 1, (int)(end - host_now_ms()));
	}
	xs_close(xs);
	if (!done) {
		free(value);
		value = NULL;
	}
	return value;
}

bool host_wait_value(struct host *h, const char *value, unsigned int timeout_ms,
		     const char *format, ...)
{
	char path[PATH_BYTES];
	bool absent;
	char *got;

	(void)h;
	FORMAT_PATH(path, format);
	got = wait_path(path, value, !value, timeout_ms, &absent);
	free(got);
	return value ? got != NULL : absent;
}

char *host_wait_any(struct host *h, unsigned int timeout_ms, const char *format,
		    ...)
{
	char path[PATH_BYTES];
	bool absent;

	(void)h;
	FORMAT_PATH(path, format);
	return wait_path(path, NULL, false, timeout_ms, &absent);
}

void host_wait_error(struct host *h, const char *backend, const char *text)
{
	char *error = host_wait_any(h, HOST_WAIT_MS, "%s/error", backend);

	need(error && strstr(error, text), "the error is '%s', not '%s'",
	     error ? error : "absent", text);
	free(error);
}

unsigned int host_count_nodes(struct host *h, const char *path)
{
	unsigned int i, nr, total = 1;
	char child[PATH_BYTES];
	char **names = xs_directory(h->xs, XBT_NULL, path, &nr);

	if (!names)
		return 0;
	for (i = 0; i < nr; i++) {
		snprintf(child, sizeof(child), "%s/%s", path, names[i]);
		total += host_count_nodes(h, child);
	}
	free(names);
	return total;
}

/* ---- transactions ---- */

struct change {
	const char *path; /* NULL ends the list */
	const char *value; /* NULL removes */
};

/* Writes base/path = value for all, in one retried transaction. */
static void change_all(struct host *h, const char *base,
		       const struct change *changes)
{
	const struct change *c;
	char path[PATH_BYTES];
	xs_transaction_t t;

	do {
		t = xs_transaction_start(h->xs);
		need(t != XBT_NULL, "transaction: %s", strerror(errno));
		for (c = changes; c->path; c++) {
			snprintf(path, sizeof(path), "%s%s", base, c->path);
			if (c->value)
				xs_write(h->xs, t, path, c->value,
					 (unsigned int)strlen(c->value));
			else
				xs_rm(h->xs, t, path);
		}
	} while (!xs_transaction_end(h->xs, t, false) && errno == EAGAIN);
}

/* ---- guests ---- */

struct guest *host_guest(struct host *h, uint16_t domid, const char *name)
{
	struct guest *g = &h->guests[h->nr_guests++];
	char base[64], vm[64];

	need(h->nr_guests <= HOST_MAX_GUESTS, "too many guests");
	g->domid = domid;
	snprintf(g->name, sizeof(g->name), "%s", name);
	need(sim_domain_create(h->sim, domid, 1024, &g->dom) == 0, "domain");
	sim_domain_uuid(g->dom, g->uuid);
	need(xs_introduce_domain(h->xs, domid, 1, 1), "introduce: %s",
	     strerror(errno));
	snprintf(base, sizeof(base), "/local/domain/%u", domid);
	snprintf(vm, sizeof(vm), "/vm/%s", g->uuid);
	host_write(h, name, "%s/name", base);
	host_write(h, vm, "%s/vm", base);
	host_write(h, name, "%s/name", vm);
	host_write(h, g->uuid, "%s/uuid", vm);
	host_write(h, "pv", "/libxl/%u/type", domid);
	host_write(h, "qemu_xen", "/libxl/%u/dm-version", domid);
	/* Last, as a lookup by id needs all of the above. */
	snprintf(vm, sizeof(vm), "%u", domid);
	host_write(h, vm, "%s/domid", base);
	return g;
}

void host_guest_crash(struct host *h, struct guest *g)
{
	(void)h;
	sim_domain_destroy(g->dom);
}

static const char *kind_of(const struct host *h)
{
	return h->kind ? h->kind : "vbd";
}

static void guest_dir(const struct host *h, const struct guest *g,
		      char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "/local/domain/%u/backend/%s/%u",
		 h->backend_domid, kind_of(h), g->domid);
}

/* Every disk of the guest that has a backend directory. */
static void force_all(struct host *h, struct guest *g)
{
	char path[PATH_BYTES];
	unsigned int i, nr;
	char **names;

	guest_dir(h, g, path);
	names = xs_directory(h->xs, XBT_NULL, path, &nr);
	if (!names)
		return;
	for (i = 0; i < nr; i++)
		host_vbd_force(h, g, (unsigned int)atoi(names[i]));
	free(names);
	host_remove(h, "%s", path);
}

void host_guest_destroy(struct host *h, struct guest *g)
{
	force_all(h, g);
	sim_domain_destroy(g->dom);
	/* VIRQ_DOM_EXC may have told xenstored already. */
	xs_release_domain(h->xs, g->domid);
	host_remove(h, "/local/domain/%u", g->domid);
	host_remove(h, "/libxl/%u", g->domid);
	host_remove(h, "/vm/%s", g->uuid);
	g->dom = NULL;
}

/* ---- disks ---- */

static void vbd_paths(const struct host *h, const struct guest *g,
		      unsigned int devid, char be[PATH_BYTES],
		      char fe[PATH_BYTES])
{
	guest_dir(h, g, be);
	snprintf(be + strlen(be), PATH_BYTES - strlen(be), "/%u", devid);
	snprintf(fe, PATH_BYTES, "/local/domain/%u/device/vbd/%u", g->domid,
		 devid);
}

static void vbd_dirs(struct host *h, const struct guest *g, unsigned int devid)
{
	struct xs_permissions be_perms[2] = {
		{ 0, XS_PERM_NONE },
		{ g->domid, XS_PERM_READ },
	};
	struct xs_permissions fe_perms[2] = {
		{ g->domid, XS_PERM_NONE },
		{ 0, XS_PERM_READ },
	};
	char be[PATH_BYTES], fe[PATH_BYTES];

	vbd_paths(h, g, devid, be, fe);
	need(xs_mkdir(h->xs, XBT_NULL, be) && xs_mkdir(h->xs, XBT_NULL, fe),
	     "mkdir: %s", strerror(errno));
	xs_set_permissions(h->xs, XBT_NULL, be, be_perms, 2);
	xs_set_permissions(h->xs, XBT_NULL, fe, fe_perms, 2);
}

void host_vbd_add(struct host *h, struct guest *g, unsigned int devid,
		  const char *target, char mode)
{
	char be[PATH_BYTES], fe[PATH_BYTES], domid[8], backend[8], dev[16];
	char mode_text[2] = { mode, '\0' }, params[PATH_BYTES];
	char lx[PATH_BYTES];
	struct change be_keys[] = {
		{ "/frontend", fe },
		{ "/frontend-id", domid },
		{ "/params", params },
		{ "/online", "1" },
		{ "/script", "/etc/xen/scripts/block-xen-diskd" },
		{ "/removable", "0" },
		{ "/bootable", "1" },
		{ "/dev", "xvdx" },
		{ "/type", "phy" },
		{ "/mode", mode_text },
		{ "/device-type", "disk" },
		{ "/discard-enable", "1" },
		{ "/specification", "xen" },
		{ "/physical-device-path", NULL },
		{ "/state", "1" },
		{ 0 },
	};
	struct change fe_keys[] = {
		{ "/backend", be },         { "/backend-id", backend },
		{ "/virtual-device", dev }, { "/device-type", "disk" },
		{ "/trusted", "1" },        { "/protocol", "x86_64-abi" },
		{ "/state", "1" },          { 0 },
	};

	vbd_paths(h, g, devid, be, fe);
	/* What is not raw comes with its format. */
	snprintf(params, sizeof(params), "%s%s",
		 h->kind && strncmp(target, "vhd:", 4) ? "aio:" : "", target);
	snprintf(domid, sizeof(domid), "%u", g->domid);
	snprintf(backend, sizeof(backend), "%u", h->backend_domid);
	snprintf(dev, sizeof(dev), "%u", devid);
	snprintf(lx, sizeof(lx), "/libxl/%u/device/vbd/%u", g->domid, devid);
	vbd_dirs(h, g, devid);
	change_all(h, fe, fe_keys);
	change_all(h, lx, fe_keys);
	host_write(h, be, "%s/backend", lx);
	host_write(h, fe, "%s/frontend", lx);
	change_all(h, be, be_keys);
}

char *host_vbd_attach(struct host *h, struct guest *g, unsigned int devid,
		      const char *target, char mode)
{
	char be[PATH_BYTES], fe[PATH_BYTES], path[64];
	json_t *answer;
	char *error = NULL;

	vbd_paths(h, g, devid, be, fe);
	host_vbd_add(h, g, devid, target, mode);
	need(host_wait_value(h, "2", HOST_WAIT_MS, "%s/state", be),
	     "no state 2 in %s", be);
	snprintf(path, sizeof(path), "backend/%s/%u/%u", kind_of(h), g->domid,
		 devid);
	answer = host_control(h, json_pack("{s:s,s:s}", "command",
					   "hotplug-add", "path", path));
	need(answer, "no answer to hotplug-add");
	if (!json_is_true(json_object_get(answer, "ok")))
		error = strdup(
			json_string_value(json_object_get(answer, "error")));
	json_decref(answer);
	return error;
}

void host_vbd_detach_begin(struct host *h, struct guest *g, unsigned int devid)
{
	static const struct change changes[] = {
		{ "/online", "0" },
		{ "/state", "5" },
		{ 0 },
	};
	char be[PATH_BYTES], fe[PATH_BYTES];

	vbd_paths(h, g, devid, be, fe);
	change_all(h, be, changes);
}

void host_vbd_detach_end(struct host *h, struct guest *g, unsigned int devid)
{
	char be[PATH_BYTES], fe[PATH_BYTES], path[64];

	vbd_paths(h, g, devid, be, fe);
	if (h->backend_domid) {
		need(host_wait_value(h, NULL, HOST_WAIT_MS, "%s/state", be),
		     "the driver domain has not removed %s", be);
		goto removed;
	}
	need(host_wait_value(h, "6", HOST_WAIT_MS, "%s/state", be),
	     "no state 6 in %s", be);
	snprintf(path, sizeof(path), "backend/%s/%u/%u", kind_of(h), g->domid,
		 devid);
	json_decref(
		host_control_ok(h, json_pack("{s:s,s:s}", "command",
					     "hotplug-remove", "path", path)));
	host_remove(h, "%s", be);
removed:
	host_remove(h, "%s", fe);
	host_remove(h, "/libxl/%u/device/vbd/%u", g->domid, devid);
}

void host_vbd_force(struct host *h, struct guest *g, unsigned int devid)
{
	char be[PATH_BYTES], fe[PATH_BYTES];
	char online[PATH_BYTES + 16], state[PATH_BYTES + 16];
	xs_transaction_t t;

	vbd_paths(h, g, devid, be, fe);
	snprintf(online, sizeof(online), "%s/online", be);
	snprintf(state, sizeof(state), "%s/state", be);
	do {
		unsigned int n;
		char *now;

		t = xs_transaction_start(h->xs);
		need(t != XBT_NULL, "transaction: %s", strerror(errno));
		xs_rm(h->xs, t, fe);
		now = xs_read(h->xs, t, state, &n);
		if (now)
			xs_write(h->xs, t, online, "0", 1);
		/* libxl leaves a device's state that is 6 as it is. */
		if (now && strcmp(now, "6"))
			xs_write(h->xs, t, state, "5", 1);
		free(now);
	} while (!xs_transaction_end(h->xs, t, false) && errno == EAGAIN);
	host_vbd_detach_end(h, g, devid);
}
