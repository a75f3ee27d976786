/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing and removing the nodes of a disk, as libxl would. */
#include "diskd/attach.h"

#include "blkback/negotiate.h"
#include "blkback/vdev.h"
#include "common/cleanup.h"
#include "common/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH_BYTES 128

static bool node_exists(struct xenstore *xs, xs_transaction_t tx,
			const char *path)
{
	char value[XENSTORE_VALUE_BYTES];

	return xenstore_read(xs, tx, path, NULL, value, sizeof(value)) !=
	       -ENOENT;
}

static void domain_path(uint16_t domid, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "/local/domain/%u", domid);
}

static void libxl_path(const struct vbd *vbd, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "/libxl/%u/device/vbd/%u", vbd->domid,
		 vbd->devid);
}

static int find_by_name(struct backend *backend, const char *domain,
			uint16_t *ret_domid)
{
	cleanup_free char **names = NULL;
	unsigned int nr;
	int rc = xenstore_list(backend->xs, XBT_NULL, "/local/domain", &names,
			       &nr);

	for (unsigned int i = 0; !rc && i < nr; i++) {
		char name[256];
		uint64_t domid;

		if (number_parse(names[i], UINT16_MAX, &domid) < 0)
			continue;
		backend_domain_name(backend, (uint16_t)domid, name,
				    sizeof(name));
		if (!strcmp(name, domain)) {
			*ret_domid = (uint16_t)domid;
			return 0;
		}
	}
	return -ENOENT;
}

int attach_find_domain(struct backend *backend, const char *domain,
		       uint16_t *ret_domid, struct error_text *err)
{
	char path[PATH_BYTES];
	uint64_t domid;

	if (!find_by_name(backend, domain, ret_domid))
		return 0;
	if (!number_parse(domain, UINT16_MAX, &domid)) {
		domain_path((uint16_t)domid, path);
		if (node_exists(backend->xs, XBT_NULL, path)) {
			*ret_domid = (uint16_t)domid;
			return 0;
		}
	}
	return error_set(err, -ENOENT, "domain '%s': there is none", domain);
}

int attach_check_free(struct backend *backend, uint16_t domid, uint32_t devid,
		      struct error_text *err)
{
	char path[PATH_BYTES], name[VDEV_NAME_BYTES];

	vdev_format(devid, name);
	snprintf(path, sizeof(path), "/local/domain/%u/device/vbd/%u", domid,
		 devid);
	if (backend_find_device(backend, domid, devid) ||
	    node_exists(backend->xs, XBT_NULL, path))
		return error_set(err, -EEXIST,
				 "domain %u has a device %s already", domid,
				 name);
	return 0;
}

/* The entries of the backend directory, which libxl keeps a copy of. */
static int write_backend_entries(struct xenstore *xs, xs_transaction_t tx,
				 const struct vbd *vbd, const char *dir)
{
	char name[VDEV_NAME_BYTES], domid[8];
	const struct {
		const char *key, *value;
	} entries[] = {
		{ "frontend", vbd->frontend_path },
		{ "frontend-id", domid },
		{ "params", vbd->target },
		{ "script", "/bin/true" },
		{ "online", "1" },
		{ "removable", "0" },
		{ "bootable", "1" },
		{ "state", "2" },
		{ "dev", name },
		{ "type", "phy" },
		{ "mode", vbd->read_only ? "r" : "w" },
		{ "device-type", "disk" },
		{ "discard-enable", "1" },
		{ "specification", "xen" },
		{ "xen-diskd", "1" },
		{ "hotplug-status", "connected" },
	};
	int rc = 0;

	vdev_format(vbd->devid, name);
	snprintf(domid, sizeof(domid), "%u", vbd->domid);
	for (size_t i = 0; !rc && i < sizeof(entries) / sizeof(entries[0]); i++)
		rc = xenstore_write(xs, tx, dir, entries[i].key,
				    entries[i].value);
	return rc;
}

static int write_frontend(struct xenstore *xs, xs_transaction_t tx,
			  const struct vbd *vbd)
{
	const char *dir = vbd->frontend_path;
	int rc = xenstore_mkdir(xs, tx, dir, vbd->domid, vbd->backend->domid);

	if (!rc)
		rc = xenstore_write(xs, tx, dir, "backend", vbd->path);
	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "backend-id", "%u",
				     vbd->backend->domid);
	if (!rc)
		rc = xenstore_write(xs, tx, dir, "state", "1");
	if (!rc)
		rc = xenstore_printf(xs, tx, dir, "virtual-device", "%u",
				     vbd->devid);
	if (!rc)
		rc = xenstore_write(xs, tx, dir, "device-type", "disk");
	return rc;
}

static int write_backend(struct xenstore *xs, xs_transaction_t tx,
			 const struct vbd *vbd)
{
	int rc = xenstore_mkdir(xs, tx, vbd->path, vbd->backend->domid,
				vbd->domid);

	if (!rc)
		rc = write_backend_entries(xs, tx, vbd, vbd->path);
	if (!rc)
		rc = negotiate_offer(xs, tx, vbd->path, &vbd->limits);
	return rc;
}

static int write_libxl(struct xenstore *xs, xs_transaction_t tx,
		       const struct vbd *vbd)
{
	char dir[PATH_BYTES];
	int rc;

	libxl_path(vbd, dir);
	rc = xenstore_mkdir(xs, tx, dir, 0, 0);
	if (!rc)
		rc = write_backend_entries(xs, tx, vbd, dir);
	if (!rc)
		rc = xenstore_write(xs, tx, dir, "backend", vbd->path);
	return rc;
}

static int write_body(struct xenstore *xs, xs_transaction_t tx, void *arg)
{
	const struct vbd *vbd = arg;
	char domain[PATH_BYTES];
	int rc;

	domain_path(vbd->domid, domain);
	if (!node_exists(xs, tx, domain))
		return -ENOENT;
	if (node_exists(xs, tx, vbd->frontend_path) ||
	    node_exists(xs, tx, vbd->path))
		return -EEXIST;
	rc = write_backend(xs, tx, vbd);
	if (!rc)
		rc = write_frontend(xs, tx, vbd);
	if (!rc)
		rc = write_libxl(xs, tx, vbd);
	return rc;
}

int attach_write(struct vbd *vbd, struct error_text *err)
{
	int rc = xenstore_transaction(vbd->backend->xs, write_body, vbd);

	if (!rc)
		rc = vbd_adopt(vbd);
	if (rc < 0)
		return error_set(err, rc, "write '%s': %s", vbd->path,
				 strerror(-rc));
	backend_touch(vbd);
	return 0;
}

struct detach_request {
	const struct vbd *vbd;
	bool force;
};

static int detach_body(struct xenstore *xs, xs_transaction_t tx, void *arg)
{
	const struct detach_request *request = arg;
	const struct vbd *vbd = request->vbd;
	uint64_t state;
	int rc = xenstore_read_number(xs, tx, vbd->path, "state", 8, &state);

	if (!rc)
		rc = xenstore_write(xs, tx, vbd->path, "online", "0");
	if (!rc && state != XenbusStateClosing && state != XenbusStateClosed)
		rc = xenstore_printf(xs, tx, vbd->path, "state", "%d",
				     XenbusStateClosing);
	if (!rc && request->force)
		rc = xenstore_remove(xs, tx, vbd->frontend_path);
	return rc;
}

int attach_request_detach(struct vbd *vbd, bool force, struct error_text *err)
{
	struct detach_request request = { vbd, force };
	int rc = xenstore_transaction(vbd->backend->xs, detach_body, &request);

	backend_touch(vbd);
	if (rc < 0)
		return error_set(err, rc, "detach: write '%s': %s", vbd->path,
				 strerror(-rc));
	return 0;
}

/* Removes a directory that holds nothing any more, as libxl does. */
static int remove_if_empty(struct xenstore *xs, xs_transaction_t tx,
			   const char *path)
{
	cleanup_free char **names = NULL;
	unsigned int nr;
	int rc = xenstore_list(xs, tx, path, &names, &nr);

	if (rc < 0)
		return rc == -ENOENT ? 0 : rc;
	return nr ? 0 : xenstore_remove(xs, tx, path);
}

/* The parents of a vbd's directories, where it was the last in them. */
static int remove_parents(struct xenstore *xs, xs_transaction_t tx,
			  const struct vbd *vbd)
{
	char path[PATH_BYTES];
	int rc;

	snprintf(path, sizeof(path), "/local/domain/%u/backend/%s/%u",
		 vbd->backend->domid, vbd->kind->name, vbd->domid);
	rc = remove_if_empty(xs, tx, path);
	if (rc < 0)
		return rc;
	snprintf(path, sizeof(path), "/libxl/%u/device/vbd", vbd->domid);
	return remove_if_empty(xs, tx, path);
}

static int remove_body(struct xenstore *xs, xs_transaction_t tx, void *arg)
{
	const struct vbd *vbd = arg;
	char libxl[PATH_BYTES];
	int rc = xenstore_remove(xs, tx, vbd->frontend_path);

	libxl_path(vbd, libxl);
	if (!rc)
		rc = xenstore_remove(xs, tx, libxl);
	if (!rc)
		rc = xenstore_remove(xs, tx, vbd->path);
	if (!rc)
		rc = remove_parents(xs, tx, vbd);
	return rc;
}

int attach_remove_nodes(struct vbd *vbd, struct error_text *err)
{
	int rc = xenstore_transaction(vbd->backend->xs, remove_body, vbd);

	backend_touch(vbd);
	if (rc < 0)
		return error_set(err, rc, "remove '%s': %s", vbd->path,
				 strerror(-rc));
	return 0;
}
