/* SPDX-License-Identifier: BSD-2-Clause */
/* All vbds: discovery through the watch, dispatch of what has changed. */
#include "blkback/backend.h"

#include "common/cleanup.h"
#include "common/clock.h"
#include "common/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The hotplug script that makes a node ours, and the mark of our own. */
#define HOTPLUG_SCRIPT "block-xen-diskd"
#define OWN_ATTACH_KEY "xen-diskd"

const struct vbd_kind backend_kind_vbd = {
	.name = "vbd",
	.params_prefix = "",
	.kernel_claims = true,
};

/*
 * Of xl's backendtype=tap, since Xen 4.19.  "aio" is its word for raw; what has
 * another format keeps the word, which names no provider.
 */
static const struct vbd_kind kind_vbd3 = {
	.name = "vbd3",
	.params_prefix = "aio:",
};

static const struct vbd_kind *const kinds[BACKEND_KINDS] = {
	&backend_kind_vbd,
	&kind_vbd3,
};

/* LIBXL_TOOLSTACK_DOMID */
#define TOOLSTACK_DOMID 0

void backend_touch(struct vbd *vbd)
{
	vbd->dirty = true;
}

bool backend_in_driver_domain(const struct backend *backend)
{
	return backend->domid != TOOLSTACK_DOMID;
}

/* ---- vbds that wait for a time ---------------------------------------- */

static void timer_arm(struct backend *backend)
{
	uint64_t now = clock_now_ms(), first = UINT64_MAX;

	list_for_each_safe(it, tmp, &backend->vbds) {
		const struct vbd *vbd = container_of(it, struct vbd, node);

		if (vbd->due_ms && vbd->due_ms < first)
			first = vbd->due_ms;
	}
	if (first == UINT64_MAX)
		return;
	io_loop_timeout(backend->loop, &backend->timer_op,
			first > now ? first - now : 0);
}

/* Its time has come, or an earlier one is to be waited for. */
static void timer_done(struct io_op *op, int result)
{
	struct backend *backend = container_of(op, struct backend, timer_op);
	uint64_t now = clock_now_ms();

	(void)result;
	list_for_each_safe(it, tmp, &backend->vbds) {
		struct vbd *vbd = container_of(it, struct vbd, node);

		if (!vbd->due_ms || vbd->due_ms > now)
			continue;
		vbd->due_ms = 0;
		backend_touch(vbd);
	}
	timer_arm(backend);
}

void backend_touch_after(struct vbd *vbd, uint64_t delay_ms)
{
	struct backend *backend = vbd->backend;
	uint64_t due_ms = clock_now_ms() + delay_ms;

	if (!vbd->due_ms || due_ms < vbd->due_ms)
		vbd->due_ms = due_ms;
	if (backend->timer_op.in_flight)
		io_loop_cancel(backend->loop, &backend->timer_op);
	else
		timer_arm(backend);
}

/* ---- finding ------------------------------------------------------------ */

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

struct vbd *backend_find_device(struct backend *backend, uint16_t domid,
				uint32_t devid)
{
	struct vbd *found = NULL;

	for (unsigned int i = 0; i < BACKEND_KINDS; i++) {
		struct vbd *vbd = backend_find(backend, kinds[i], domid, devid);

		if (vbd && (!found || found->directory == VBD_REMOVED))
			found = vbd;
	}
	return found;
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

/* What follows directory and a slash at the start of path, or NULL. */
static const char *below(const char *path, const char *directory)
{
	size_t len = strlen(directory);

	return !strncmp(path, directory, len) && path[len] == '/'
		       ? path + len + 1
		       : NULL;
}

struct vbd *backend_find_path(struct backend *backend, const char *path)
{
	for (unsigned int i = 0; i < BACKEND_KINDS; i++) {
		const struct backend_directory *dir = &backend->directories[i];
		const char *node = below(path, dir->path);
		uint32_t devid;
		uint16_t domid;

		if (!node)
			node = below(path, strstr(dir->path, "backend/"));
		if (node && !parse_node(node, &domid, &devid))
			return backend_find(backend, dir->kind, domid, devid);
	}
	return NULL;
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

bool backend_same_bytes(const struct block_identity *a,
			const struct block_identity *b)
{
	return a->kind != BLOCK_IDENTITY_NONE && a->kind == b->kind &&
	       a->a == b->a && a->b == b->b;
}

const struct vbd *backend_conflict(const struct vbd *vbd)
{
	struct backend *backend = vbd->backend;

	list_for_each_safe(it, tmp, &backend->vbds) {
		const struct vbd *other = container_of(it, struct vbd, node);

		/*
		 * One without a worker just now will soon have another, or what
		 * that had under way may land yet.
		 */
		if (other == vbd ||
		    !(vbd_is_left(other) ||
		      (other->info_valid && other->worker) ||
		      (other->state != XenbusStateClosed && other->let_go &&
		       other->unfenced && !other->settled &&
		       other->info.fence_waits)) ||
		    !backend_same_bytes(&vbd->info.identity,
					&other->info.identity))
			continue;
		if (vbd->info.read_only && other->info.read_only)
			continue;
		if (vbd->info.shared && !vbd->info.unshareable &&
		    !other->info.unshareable)
			continue;
		if (!same_machine(backend, vbd->domid, other->domid))
			return other;
	}
	return NULL;
}

bool backend_has_passed_fence(const struct vbd *vbd)
{
	list_for_each_safe(it, tmp, &vbd->backend->vbds) {
		const struct vbd *other = container_of(it, struct vbd, node);

		if (other != vbd &&
		    other->worker_state == VBD_WORKER_CONNECTED &&
		    other->info.fence_waits && !other->info.shared &&
		    !vbd->info.shared &&
		    backend_same_bytes(&vbd->info.identity,
				       &other->info.identity))
			return true;
	}
	return false;
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

static void discover(struct backend_directory *dir, uint16_t domid,
		     uint32_t devid)
{
	struct backend *backend = dir->backend;
	size_t prefix = strlen(dir->kind->params_prefix);
	char params[XENSTORE_VALUE_BYTES], mode[16], path[128];
	const char *target = params;
	struct vbd *vbd;

	snprintf(path, sizeof(path), "%s/%u/%u", dir->path, domid, devid);
	if (!node_is_ours(backend, path) ||
	    xenstore_read(backend->xs, XBT_NULL, path, "params", params,
			  sizeof(params)) < 0 ||
	    xenstore_read(backend->xs, XBT_NULL, path, "mode", mode,
			  sizeof(mode)) < 0 ||
	    !frontend_matches(backend, path, domid, devid))
		return;
	if (!strncmp(params, dir->kind->params_prefix, prefix))
		target += prefix;
	vbd = vbd_new(backend, dir->kind, domid, devid, target,
		      !strchr(mode, 'w'));
	/* It is found by nobody else: what it has in /run is not ours to end. */
	if (!vbd || backend->nr_vbds == BACKEND_VBDS_MAX ||
	    vbd_adopt(vbd) < 0) {
		log_error("vbd %u/%u: cannot be taken: no memory, or %u vbds "
			  "already",
			  domid, devid, backend->nr_vbds);
		if (vbd)
			vbd->leaving = true;
		vbd_free(vbd);
		return;
	}
	backend_add(backend, vbd);
	backend_touch(vbd);
}

/* Something happened to this node: one of ours, or one that may become so. */
static void look_at(struct backend_directory *dir, uint16_t domid,
		    uint32_t devid)
{
	struct vbd *vbd = backend_find(dir->backend, dir->kind, domid, devid);

	if (vbd)
		backend_touch(vbd);
	else
		discover(dir, domid, devid);
}

static void scan_domain(struct backend_directory *dir, const char *domid_text)
{
	cleanup_free char **names = NULL;
	char path[128];
	unsigned int nr;
	uint64_t domid, devid;

	if (number_parse(domid_text, UINT16_MAX, &domid) < 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", dir->path, domid_text);
	if (xenstore_list(dir->backend->xs, XBT_NULL, path, &names, &nr) < 0)
		return;
	for (unsigned int i = 0; i < nr; i++) {
		if (!number_parse(names[i], UINT32_MAX, &devid))
			look_at(dir, (uint16_t)domid, (uint32_t)devid);
	}
}

static void scan_directory(struct backend_directory *dir)
{
	cleanup_free char **names = NULL;
	unsigned int nr;

	if (xenstore_list(dir->backend->xs, XBT_NULL, dir->path, &names, &nr) <
	    0)
		return;
	for (unsigned int i = 0; i < nr; i++)
		scan_domain(dir, names[i]);
}

static void scan(struct backend *backend)
{
	backend->rescan = false;
	list_for_each_safe(it, tmp, &backend->vbds)
		backend_touch(container_of(it, struct vbd, node));
	for (unsigned int i = 0; i < BACKEND_KINDS; i++)
		scan_directory(&backend->directories[i]);
}

static void on_kind_event(struct xenstore_watch *watch,
			  const char *changed_path)
{
	struct backend_directory *dir =
		container_of(watch, struct backend_directory, watch);
	const char *node = below(changed_path, dir->path);
	uint32_t devid;
	uint16_t domid;

	if (!node || parse_node(node, &domid, &devid) < 0)
		dir->backend->rescan = true;
	else
		look_at(dir, domid, devid);
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
	/* It was its before; only damage gives it to two. */
	if (vbd->slot >= 0 && backend->slots[vbd->slot])
		vbd->slot = -1;
	if (vbd->slot >= 0)
		backend->slots[vbd->slot] = true;
	return 0;
}

void backend_take_slot(struct vbd *vbd)
{
	struct backend *backend = vbd->backend;

	if (vbd->slot >= 0)
		return;
	vbd->slot = 0;
	while (backend->slots[vbd->slot])
		vbd->slot++;
	backend->slots[vbd->slot] = true;
}

void backend_remove(struct vbd *vbd)
{
	list_del(&vbd->node);
	vbd->backend->nr_vbds--;
	if (vbd->slot >= 0)
		vbd->backend->slots[vbd->slot] = false;
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
		if (vbd->directory == VBD_REMOVED && vbd_idle(vbd) &&
		    vbd_hold_release(vbd))
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

static bool end_all(struct backend *backend, void (*end)(struct vbd *vbd))
{
	bool idle = true;

	backend->quitting = true;
	list_for_each_safe(it, tmp, &backend->vbds) {
		struct vbd *vbd = container_of(it, struct vbd, node);

		end(vbd);
		idle &= vbd_idle(vbd);
	}
	return idle;
}

bool backend_quit(struct backend *backend)
{
	return end_all(backend, vbd_quit);
}

bool backend_leave(struct backend *backend)
{
	return end_all(backend, vbd_leave);
}

static int directory_init(struct backend_directory *dir,
			  struct backend *backend, const struct vbd_kind *kind)
{
	dir->backend = backend;
	dir->kind = kind;
	if (asprintf(&dir->path, "/local/domain/%u/backend/%s", backend->domid,
		     kind->name) < 0) {
		dir->path = NULL;
		return -ENOMEM;
	}
	dir->watch.path = dir->path;
	dir->watch.fired = on_kind_event;
	return xenstore_watch(backend->xs, &dir->watch);
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
	backend->timer_op.done = timer_done;
	/* Relative to our own domain; dom0 has no such node everywhere. */
	rc = xenstore_read_number(xs, XBT_NULL, "domid", NULL, UINT16_MAX,
				  &domid);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	backend->domid = (uint16_t)domid;
	backend->release_watch.path = "@releaseDomain";
	backend->release_watch.fired = on_release_event;
	rc = xenstore_watch(xs, &backend->release_watch);
	for (unsigned int i = 0; !rc && i < BACKEND_KINDS; i++)
		rc = directory_init(&backend->directories[i], backend,
				    kinds[i]);
	return rc;
}

void backend_fini(struct backend *backend)
{
	list_for_each_safe(it, tmp, &backend->vbds)
		backend_remove(container_of(it, struct vbd, node));
	for (unsigned int i = 0; i < BACKEND_KINDS; i++) {
		xenstore_unwatch(backend->xs, &backend->directories[i].watch);
		free(backend->directories[i].path);
	}
	xenstore_unwatch(backend->xs, &backend->release_watch);
}
