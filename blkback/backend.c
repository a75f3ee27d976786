/* SPDX-License-Identifier: BSD-2-Clause */
/* All vbds: discovery through the watch, dispatch of what has changed. */
#include "blkback/backend.h"

#include "common/cleanup.h"
#include "common/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The hotplug script that makes a node ours, and the mark of our own. */
#define HOTPLUG_SCRIPT "block-xen-diskd"
#define OWN_ATTACH_KEY "xen-diskd"

const struct vbd_kind backend_kind_vbd = {
	.name = "vbd",
	.kernel_claims = true,
};

void backend_touch(struct vbd *vbd)
{
	vbd->dirty = true;
}

struct vbd *backend_find(struct backend *backend, const struct vbd_kind *kind,
			 uint16_t domid, uint32_t devid)
{
	list_for_each_safe(it, tmp, &backend->vbds) {
		struct vbd *vbd = container_of(it, struct vbd, node);

		if (vbd->kind == kind && vbd->domid == domid &&
		    vbd->devid == devid)
			return vbd;
	}
	return NULL;
}

/* One component of a path as a number; *text is moved behind it. */
static int path_number(const char **text, uint64_t max, uint64_t *ret_value)
{
	size_t len = strcspn(*text, "/");
	char part[24];

	if (!len || len >= sizeof(part))
		return -EINVAL;
	memcpy(part, *text, len);
	part[len] = '\0';
	*text += len;
	if (**text == '/')
		(*text)++;
	return number_parse(part, max, ret_value);
}

/* "1/51728" or "1/51728/state" behind a kind's directory. */
static int parse_node(const char *text, uint16_t *ret_domid,
		      uint32_t *ret_devid)
{
	uint64_t domid, devid;

	if (path_number(&text, UINT16_MAX, &domid) < 0 ||
	    path_number(&text, UINT32_MAX, &devid) < 0)
		return -EINVAL;
	*ret_domid = (uint16_t)domid;
	*ret_devid = (uint32_t)devid;
	return 0;
}

struct vbd *backend_find_path(struct backend *backend, const char *path)
{
	const struct vbd_kind *kind = &backend_kind_vbd;
	const char *relative = strstr(backend->kind_path, "backend/");
	size_t full = strlen(backend->kind_path), part = strlen(relative);
	uint32_t devid;
	uint16_t domid;

	if (!strncmp(path, backend->kind_path, full) && path[full] == '/')
		path += full + 1;
	else if (!strncmp(path, relative, part) && path[part] == '/')
		path += part + 1;
	else
		return NULL;
	if (parse_node(path, &domid, &devid) < 0)
		return NULL;
	return backend_find(backend, kind, domid, devid);
}

void backend_domain_name(struct backend *backend, uint16_t domid, char *name,
			 size_t name_bytes)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/local/domain/%u", domid);
	if (xenstore_read(backend->xs, XBT_NULL, dir, "name", name,
			  name_bytes) < 0)
		snprintf(name, name_bytes, "%u", domid);
}

/* ---- the same bytes served twice ------------------------------------ */

static bool same_machine(struct backend *backend, uint16_t a, uint16_t b)
{
	char dir[64], vm_a[128], vm_b[128];

	if (a == b)
		return false;
	snprintf(dir, sizeof(dir), "/local/domain/%u", a);
	if (xenstore_read(backend->xs, XBT_NULL, dir, "vm", vm_a,
			  sizeof(vm_a)) < 0)
		return false;
	snprintf(dir, sizeof(dir), "/local/domain/%u", b);
	if (xenstore_read(backend->xs, XBT_NULL, dir, "vm", vm_b,
			  sizeof(vm_b)) < 0)
		return false;
	return !strcmp(vm_a, vm_b);
}

static bool same_bytes(const struct block_identity *a,
		       const struct block_identity *b)
{
	return a->kind != BLOCK_IDENTITY_NONE && a->kind == b->kind &&
	       a->a == b->a && a->b == b->b;
}

const struct vbd *backend_conflict(const struct vbd *vbd)
{
	struct backend *backend = vbd->backend;

	if (vbd->info.shared)
		return NULL;
	list_for_each_safe(it, tmp, &backend->vbds) {
		const struct vbd *other = container_of(it, struct vbd, node);

		if (other == vbd || !other->info_valid || !other->worker ||
		    !same_bytes(&vbd->info.identity, &other->info.identity))
			continue;
		if (vbd->info.read_only && other->info.read_only)
			continue;
		if (!same_machine(backend, vbd->domid, other->domid))
			return other;
	}
	return NULL;
}

/* ---- discovery ------------------------------------------------------- */

/* Whether a node's script, or the mark of our own attach, names us. */
static bool node_is_ours(struct backend *backend, const char *path)
{
	char script[XENSTORE_VALUE_BYTES];
	const char *base;
	uint64_t mark;

	if (!xenstore_read_number(backend->xs, XBT_NULL, path, OWN_ATTACH_KEY,
				  1, &mark) &&
	    mark == 1)
		return true;
	if (xenstore_read(backend->xs, XBT_NULL, path, "script", script,
			  sizeof(script)) < 0)
		return false;
	base = strrchr(script, '/');
	return !strcmp(base ? base + 1 : script, HOTPLUG_SCRIPT);
}

/* The frontend must be where the node's own path says that it is. */
static bool frontend_matches(struct backend *backend, const char *path,
			     uint16_t domid, uint32_t devid)
{
	char expected[96], found[XENSTORE_PATH_BYTES];

	snprintf(expected, sizeof(expected), "/local/domain/%u/device/vbd/%u",
		 domid, devid);
	if (!xenstore_read(backend->xs, XBT_NULL, path, "frontend", found,
			   sizeof(found)) &&
	    !strcmp(found, expected))
		return true;
	if (log_limit_pass(&backend->log_limit))
		log_error("vbd %u/%u: '%s/frontend' is not '%s': left alone",
			  domid, devid, path, expected);
	return false;
}

static void discover(struct backend *backend, const struct vbd_kind *kind,
		     uint16_t domid, uint32_t devid)
{
	char target[XENSTORE_VALUE_BYTES], mode[16], path[128];
	struct vbd *vbd;

	snprintf(path, sizeof(path), "%s/%u/%u", backend->kind_path, domid,
		 devid);
	if (!node_is_ours(backend, path) ||
	    xenstore_read(backend->xs, XBT_NULL, path, "params", target,
			  sizeof(target)) < 0 ||
	    xenstore_read(backend->xs, XBT_NULL, path, "mode", mode,
			  sizeof(mode)) < 0 ||
	    !frontend_matches(backend, path, domid, devid))
		return;
	vbd = vbd_new(backend, kind, domid, devid, target, !strchr(mode, 'w'));
	if (!vbd || vbd_adopt(vbd) < 0 || backend_add(backend, vbd) < 0) {
		log_error("vbd %u/%u: cannot be taken: no memory, or %u vbds "
			  "already",
			  domid, devid, backend->nr_vbds);
		vbd_free(vbd);
		return;
	}
	backend_touch(vbd);
}

/* Something happened to this node: one of ours, or one that may become so. */
static void look_at(struct backend *backend, uint16_t domid, uint32_t devid)
{
	struct vbd *vbd =
		backend_find(backend, &backend_kind_vbd, domid, devid);

	if (vbd)
		backend_touch(vbd);
	else
		discover(backend, &backend_kind_vbd, domid, devid);
}

static void scan_domain(struct backend *backend, const char *domid_text)
{
	cleanup_free char **names = NULL;
	char path[128];
	unsigned int nr;
	uint64_t domid, devid;

	if (number_parse(domid_text, UINT16_MAX, &domid) < 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", backend->kind_path, domid_text);
	if (xenstore_list(backend->xs, XBT_NULL, path, &names, &nr) < 0)
		return;
	for (unsigned int i = 0; i < nr; i++) {
		if (!number_parse(names[i], UINT32_MAX, &devid))
			look_at(backend, (uint16_t)domid, (uint32_t)devid);
	}
}

static void scan(struct backend *backend)
{
	cleanup_free char **names = NULL;
	unsigned int nr;

	backend->rescan = false;
	list_for_each_safe(it, tmp, &backend->vbds)
		backend_touch(container_of(it, struct vbd, node));
	if (xenstore_list(backend->xs, XBT_NULL, backend->kind_path, &names,
			  &nr) < 0)
		return;
	for (unsigned int i = 0; i < nr; i++)
		scan_domain(backend, names[i]);
}

static void on_kind_event(struct xenstore_watch *watch,
			  const char *changed_path)
{
	struct backend *backend =
		container_of(watch, struct backend, kind_watch);
	size_t len = strlen(backend->kind_path);
	uint32_t devid;
	uint16_t domid;

	if (strncmp(changed_path, backend->kind_path, len) ||
	    changed_path[len] != '/' ||
	    parse_node(changed_path + len + 1, &domid, &devid) < 0)
		backend->rescan = true;
	else
		look_at(backend, domid, devid);
}

static void on_release_event(struct xenstore_watch *watch,
			     const char *changed_path)
{
	(void)changed_path;
	container_of(watch, struct backend, release_watch)->rescan = true;
}

/* ---- the list --------------------------------------------------------- */

int backend_add(struct backend *backend, struct vbd *vbd)
{
	if (backend->nr_vbds == BACKEND_VBDS_MAX)
		return -ENOSPC;
	list_add_tail(&backend->vbds, &vbd->node);
	backend->nr_vbds++;
	return 0;
}

void backend_remove(struct vbd *vbd)
{
	list_del(&vbd->node);
	vbd->backend->nr_vbds--;
	/* A new node of the same name may have come meanwhile. */
	vbd->backend->rescan = true;
	vbd_free(vbd);
}

/*
 * Each vbd is checked once however many events named it, so a guest that
 * writes its nodes in a loop costs a check a turn (XSA-349).
 */
static bool check_dirty(struct backend *backend)
{
	bool any = false;

	list_for_each_safe(it, tmp, &backend->vbds) {
		struct vbd *vbd = container_of(it, struct vbd, node);

		if (!vbd->dirty)
			continue;
		any = true;
		vbd_check(vbd);
		if (vbd->removed && vbd_idle(vbd) && vbd_hold_release(vbd))
			backend_remove(vbd);
	}
	return any;
}

/* Steps that follow from one another; the state machine has few. */
#define CHECK_ROUNDS 8

static bool any_dirty(const struct backend *backend)
{
	list_for_each_safe(it, tmp, &backend->vbds) {
		if (container_of(it, struct vbd, node)->dirty)
			return true;
	}
	return false;
}

int backend_dispatch(struct backend *backend)
{
	int rc = xenstore_dispatch(backend->xs);
	bool any = false;

	if (rc < 0)
		return rc;
	for (int i = 0; i < CHECK_ROUNDS; i++) {
		if (backend->rescan)
			scan(backend);
		if (!check_dirty(backend))
			break;
		any = true;
	}
	if (any && backend->changed)
		backend->changed(backend->changed_arg);
	return backend->rescan || any_dirty(backend);
}

bool backend_quit(struct backend *backend)
{
	bool idle = true;

	backend->quitting = true;
	list_for_each_safe(it, tmp, &backend->vbds) {
		struct vbd *vbd = container_of(it, struct vbd, node);

		vbd_quit(vbd);
		idle &= vbd_idle(vbd);
	}
	return idle;
}

int backend_init(struct backend *backend, struct xenstore *xs,
		 struct io_loop *loop, const struct backend_options *options)
{
	uint64_t domid = 0;
	int rc;

	*backend = (struct backend){
		.xs = xs,
		.loop = loop,
		.options = *options,
	};
	list_init(&backend->vbds);
	/* Relative to our own domain; dom0 has no such node everywhere. */
	rc = xenstore_read_number(xs, XBT_NULL, "domid", NULL, UINT16_MAX,
				  &domid);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	backend->domid = (uint16_t)domid;
	if (asprintf(&backend->kind_path, "/local/domain/%u/backend/%s",
		     backend->domid, backend_kind_vbd.name) < 0) {
		backend->kind_path = NULL;
		return -ENOMEM;
	}
	backend->kind_watch.path = backend->kind_path;
	backend->kind_watch.fired = on_kind_event;
	backend->release_watch.path = "@releaseDomain";
	backend->release_watch.fired = on_release_event;
	rc = xenstore_watch(xs, &backend->kind_watch);
	if (!rc)
		rc = xenstore_watch(xs, &backend->release_watch);
	return rc;
}

void backend_fini(struct backend *backend)
{
	list_for_each_safe(it, tmp, &backend->vbds)
		backend_remove(container_of(it, struct vbd, node));
	xenstore_unwatch(backend->xs, &backend->kind_watch);
	xenstore_unwatch(backend->xs, &backend->release_watch);
	free(backend->kind_path);
}
