/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of the control socket. */
#include "diskd/commands.h"

#include "blkback/vdev.h"
#include "common/clock.h"
#include "diskd/attach.h"
#include "diskd/vbd-json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* As long as libxl waits for a backend to close. */
#define DETACH_TIMEOUT_MS 10000u
/* A provider that takes longer to open is given up. */
#define ATTACH_TIMEOUT_MS 30000u
/* Less than a client waits. */
#define CHANGE_TIMEOUT_MS 20000u

/* A vbd is named, not pointed at: it may be gone at the next look. */
struct command {
	struct backend *backend;
	json_t *(*poll)(struct command *command);
	void (*abandon)(struct command *command);
	uint64_t deadline_ms; /* 0: none */
	const struct vbd_kind *kind;
	uint16_t domid;
	uint32_t devid;
	/* It has failed so, and is answered when all is cleaned up. */
	bool failed;
	struct error_text failure;
};

/* ---- answers ---------------------------------------------------------- */

static json_t *answer_ok(void)
{
	return json_pack("{s:b}", "ok", 1);
}

__attribute__((format(printf, 1, 2))) static json_t *
answer_error(const char *fmt, ...)
{
	char text[2 * ERROR_TEXT_BYTES];
	json_t *answer;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	answer = json_pack("{s:b, s:s}", "ok", 0, "error", text);
	/* A path may hold bytes that are not UTF-8, which JSON must be. */
	if (answer)
		return answer;
	for (char *p = text; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static const char *request_text(const json_t *request, const char *key)
{
	const char *text = json_string_value(json_object_get(request, key));

	return text ? text : "";
}

/* ---- list and stat ----------------------------------------------------- */

/*
 * The disk that a request names by "domain" and "vdev".  NULL when there is
 * none, with the answer to give.
 */
static struct vbd *request_vbd(struct backend *backend, const json_t *request,
			       json_t **ret_answer)
{
	const char *vdev = request_text(request, "vdev");
	struct error_text err;
	struct vbd *vbd = NULL;
	uint32_t devid;
	uint16_t domid;

	if (attach_find_domain(backend, request_text(request, "domain"), &domid,
			       &err) < 0) {
		*ret_answer = answer_error("%s", err.text);
		return NULL;
	}
	if (vdev_parse(vdev, &devid) < 0) {
		*ret_answer = answer_error("'%s' is no virtual device", vdev);
		return NULL;
	}
	vbd = backend_find_device(backend, domid, devid);
	if (vbd && vbd->directory == VBD_PUBLISHED)
		return vbd;
	*ret_answer = answer_error("domain %u has no device %s of xen-diskd",
				   domid, vdev);
	return NULL;
}

/* Every disk, or the one that is not NULL. */
static json_t *answer_vbds(struct backend *backend, const struct vbd *only,
			   json_t *(*json)(const struct vbd *vbd))
{
	json_t *vbds = json_array();

	list_for_each_safe(it, tmp, &backend->vbds) {
		const struct vbd *vbd = container_of(it, struct vbd, node);

		if (!only || vbd == only)
			json_array_append_new(vbds, json(vbd));
	}
	return json_pack("{s:b, s:o}", "ok", 1, "vbds", vbds);
}

static json_t *start_stat(struct backend *backend, const json_t *request)
{
	const struct vbd *only = NULL;
	json_t *answer;

	if (json_object_get(request, "domain")) {
		only = request_vbd(backend, request, &answer);
		if (!only)
			return answer;
	}
	return answer_vbds(backend, only, vbd_json_stat);
}

static json_t *start_version(void)
{
	return json_pack("{s:b, s:s}", "ok", 1, "version", XEN_DISKD_VERSION);
}

/* ---- waiting ------------------------------------------------------------ */

static struct vbd *command_vbd(struct command *command)
{
	return backend_find(command->backend, command->kind, command->domid,
			    command->devid);
}

static struct command *command_new(const struct vbd *vbd,
				   json_t *(*poll)(struct command *),
				   uint64_t timeout_ms)
{
	struct command *command = calloc(1, sizeof(*command));

	if (!command)
		return NULL;
	command->backend = vbd->backend;
	command->kind = vbd->kind;
	command->domid = vbd->domid;
	command->devid = vbd->devid;
	command->poll = poll;
	if (timeout_ms)
		command->deadline_ms = clock_now_ms() + timeout_ms;
	return command;
}

static bool expired(const struct command *command)
{
	return command_wait_ms(command) == 0;
}

/* ---- hotplug ------------------------------------------------------------ */

static json_t *poll_hotplug_add(struct command *command)
{
	struct vbd *vbd = command_vbd(command);

	if (!vbd)
		return answer_error("vbd %u/%u has gone", command->domid,
				    command->devid);
	if (vbd->directory == VBD_REMOVED)
		return NULL; /* the node's predecessor is still ending */
	if (vbd_failed(vbd))
		return answer_error("%s", vbd->has_error
						  ? vbd->error.text
						  : "the worker has ended");
	if (!vbd->info_valid)
		return NULL;
	if (vbd_hotplug_add(vbd) < 0)
		return answer_error("%s", vbd->has_error ? vbd->error.text
							 : "the vbd has gone");
	return answer_ok();
}

/* Done when no process holds the image or the guest's pages any more. */
static json_t *poll_hotplug_remove(struct command *command)
{
	struct vbd *vbd = command_vbd(command);

	return !vbd || vbd_idle(vbd) ? answer_ok() : NULL;
}

static json_t *start_hotplug(struct backend *backend, const json_t *request,
			     bool add, struct command **ret_command)
{
	const char *path = request_text(request, "path");
	struct vbd *vbd = backend_find_path(backend, path);

	if (!vbd)
		return add ? answer_error("'%s' is no vbd of xen-diskd", path)
			   : answer_ok();
	if (!add && !vbd_idle(vbd) && vbd->state == XenbusStateClosed)
		vbd_quit(vbd);
	*ret_command = command_new(
		vbd, add ? poll_hotplug_add : poll_hotplug_remove, 0);
	return *ret_command ? command_poll(*ret_command)
			    : answer_error("no memory");
}

/* ---- attach ------------------------------------------------------------- */

/* The vbd was never published: it ends with its worker. */
static void attach_give_up(struct vbd *vbd)
{
	vbd->directory = VBD_REMOVED;
	vbd_quit(vbd);
	backend_touch(vbd);
}

static void abandon_attach(struct command *command)
{
	struct vbd *vbd = command_vbd(command);

	if (vbd && vbd->directory != VBD_PUBLISHED)
		attach_give_up(vbd);
}

/* 1: the disk is there.  0: not yet.  Or -errno with the reason. */
static int attach_progress(struct command *command, struct vbd *vbd,
			   struct error_text *err)
{
	int rc;

	if (vbd_failed(vbd))
		return error_set(err, -EIO, "%s", vbd->error.text);
	if (vbd->info_valid) {
		rc = attach_write(vbd, err);
		return rc < 0 ? rc : 1;
	}
	if (!expired(command))
		return 0;
	return error_set(err, -ETIMEDOUT, "target '%s': not open after %u s",
			 vbd->target, ATTACH_TIMEOUT_MS / 1000);
}

static json_t *poll_attach(struct command *command)
{
	struct vbd *vbd = command_vbd(command);
	int rc;

	/* A published one is the toolstack's, in the place of ours. */
	if (command->failed)
		return vbd && vbd->directory != VBD_PUBLISHED
			       ? NULL
			       : answer_error("%s", command->failure.text);
	if (!vbd)
		return answer_error("vbd %u/%u has gone", command->domid,
				    command->devid);
	rc = attach_progress(command, vbd, &command->failure);
	if (rc == 1)
		return answer_ok();
	if (rc < 0) {
		command->failed = true;
		command->deadline_ms = 0;
		attach_give_up(vbd);
	}
	return NULL;
}

/* Only the toolstack's domain may write what a frontend and libxl read. */
static json_t *refuse_in_driver_domain(const char *verb)
{
	return answer_error("%s: this is a driver domain: use xl block-%s in "
			    "the toolstack's domain",
			    verb, verb);
}

static json_t *start_attach(struct backend *backend, const json_t *request,
			    struct command **ret_command)
{
	const char *vdev = request_text(request, "vdev");
	struct error_text err;
	struct vbd *vbd;
	uint32_t devid;
	uint16_t domid;

	if (backend_in_driver_domain(backend))
		return refuse_in_driver_domain("attach");
	if (attach_find_domain(backend, request_text(request, "domain"), &domid,
			       &err) < 0)
		return answer_error("%s", err.text);
	if (vdev_parse(vdev, &devid) < 0)
		return answer_error("'%s' is no virtual device (xvdb, sda1, "
				    "hdc, or a number)",
				    vdev);
	if (attach_check_free(backend, domid, devid, &err) < 0)
		return answer_error("%s", err.text);
	vbd = vbd_new(backend, &backend_kind_vbd, domid, devid,
		      request_text(request, "target"),
		      json_is_true(json_object_get(request, "readonly")));
	if (!vbd || backend_add(backend, vbd) < 0) {
		vbd_free(vbd);
		return answer_error("no memory, or %u vbds already",
				    backend->nr_vbds);
	}
	*ret_command = command_new(vbd, poll_attach, ATTACH_TIMEOUT_MS);
	if (!*ret_command) {
		attach_give_up(vbd);
		return answer_error("no memory");
	}
	(*ret_command)->abandon = abandon_attach;
	vbd_open(vbd);
	return command_poll(*ret_command);
}

/* ---- detach ------------------------------------------------------------- */

static json_t *poll_detach(struct command *command)
{
	struct vbd *vbd = command_vbd(command);
	struct error_text err;

	if (!vbd || vbd->directory == VBD_REMOVED)
		return answer_ok();
	if (vbd->state == XenbusStateClosed && vbd_idle(vbd)) {
		if (attach_remove_nodes(vbd, &err) < 0)
			return answer_error("%s", err.text);
		return answer_ok();
	}
	if (!expired(command))
		return NULL;
	if (vbd->let_go)
		return answer_error("vbd %u/%u: its worker still waits for its "
				    "medium after %u s; detach it again when "
				    "that has ended",
				    vbd->domid, vbd->devid,
				    DETACH_TIMEOUT_MS / 1000);
	return answer_error("vbd %u/%u: the guest has not let go of it within "
			    "%u s; it is detached when the guest does; --force "
			    "takes it away",
			    vbd->domid, vbd->devid, DETACH_TIMEOUT_MS / 1000);
}

static json_t *start_detach(struct backend *backend, const json_t *request,
			    struct command **ret_command)
{
	bool force = json_is_true(json_object_get(request, "force"));
	struct error_text err;
	json_t *answer;
	struct vbd *vbd;

	if (backend_in_driver_domain(backend))
		return refuse_in_driver_domain("detach");
	vbd = request_vbd(backend, request, &answer);
	if (!vbd)
		return answer;
	if (attach_request_detach(vbd, force, &err) < 0)
		return answer_error("%s", err.text);
	*ret_command = command_new(vbd, poll_detach, DETACH_TIMEOUT_MS);
	return *ret_command ? NULL : answer_error("no memory");
}

/* ---- resize, limit, upgrade ------------------------------------------------------ */

/* NULL while it is under way, and when it has come to a good end. */
static json_t *poll_change(struct command *command, bool *ret_done)
{
	struct vbd *vbd = command_vbd(command);

	*ret_done = false;
	if (!vbd)
		return answer_error("vbd %u/%u has gone", command->domid,
				    command->devid);
	if (vbd->change && expired(command))
		return answer_error("vbd %u/%u: the worker has not answered "
				    "within %u s: %s",
				    vbd->domid, vbd->devid,
				    CHANGE_TIMEOUT_MS / 1000,
				    vbd->has_error ? vbd->error.text
						   : "is its medium stuck?");
	if (vbd->change)
		return NULL;
	if (vbd->change_error.text[0])
		return answer_error("%s", vbd->change_error.text);
	*ret_done = true;
	return NULL;
}

static json_t *poll_resize(struct command *command)
{
	bool done;
	json_t *answer = poll_change(command, &done);

	if (!done)
		return answer;
	return json_pack("{s:b, s:I}", "ok", 1, "size_bytes",
			 (json_int_t)command_vbd(command)->info.size_bytes);
}

static json_t *poll_limit(struct command *command)
{
	bool done;
	json_t *answer = poll_change(command, &done);

	return done ? answer_ok() : answer;
}

static json_t *poll_upgrade(struct command *command)
{
	bool done;
	json_t *answer = poll_change(command, &done);
	const struct vbd *vbd = command_vbd(command);

	if (!done)
		return answer;
	return json_pack("{s:b, s:I, s:I}", "ok", 1, "from_pid",
			 (json_int_t)vbd->upgraded_pid, "pid",
			 (json_int_t)(vbd->worker ? vbd->worker_pid : 0));
}

static json_t *start_resize(struct backend *backend, const json_t *request,
			    struct command **ret_command)
{
	bool may_shrink = json_is_true(json_object_get(request, "shrink"));
	struct error_text err;
	json_t *answer;
	struct vbd *vbd = request_vbd(backend, request, &answer);

	if (!vbd)
		return answer;
	if (vbd_resize(vbd, may_shrink, &err) < 0)
		return answer_error("%s", err.text);
	*ret_command = command_new(vbd, poll_resize, CHANGE_TIMEOUT_MS);
	return *ret_command ? NULL : answer_error("no memory");
}

static json_t *start_upgrade(struct backend *backend, const json_t *request,
			     struct command **ret_command)
{
	struct error_text err;
	json_t *answer;
	struct vbd *vbd = request_vbd(backend, request, &answer);

	if (!vbd)
		return answer;
	if (vbd_upgrade(vbd, &err) < 0)
		return answer_error("%s", err.text);
	*ret_command = command_new(vbd, poll_upgrade, CHANGE_TIMEOUT_MS);
	return *ret_command ? NULL : answer_error("no memory");
}

/* Those that are not given stay as they are. */
static json_t *start_limit(struct backend *backend, const json_t *request,
			   struct command **ret_command)
{
	static const char *const keys[] = { "iops", "bps" };
	struct block_limits limits;
	struct error_text err;
	json_t *answer;
	struct vbd *vbd = request_vbd(backend, request, &answer);

	if (!vbd)
		return answer;
	limits = vbd->info.limits;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (json_object_get(request, keys[i]) &&
		    block_limits_set(&limits, keys[i],
				     request_text(request, keys[i]), &err) < 0)
			return answer_error("%s", err.text);
	}
	if (vbd_limit(vbd, &limits, &err) < 0)
		return answer_error("%s", err.text);
	*ret_command = command_new(vbd, poll_limit, CHANGE_TIMEOUT_MS);
	return *ret_command ? NULL : answer_error("no memory");
}

/* ---- dispatch ----------------------------------------------------------- */

json_t *command_start(struct backend *backend, const json_t *request,
		      struct command **ret_command)
{
	const char *name = request_text(request, "command");

	*ret_command = NULL;
	if (!strcmp(name, "list"))
		return answer_vbds(backend, NULL, vbd_json);
	if (!strcmp(name, "stat"))
		return start_stat(backend, request);
	if (!strcmp(name, "version"))
		return start_version();
	if (!strcmp(name, "hotplug-add"))
		return start_hotplug(backend, request, true, ret_command);
	if (!strcmp(name, "hotplug-remove"))
		return start_hotplug(backend, request, false, ret_command);
	if (!strcmp(name, "attach"))
		return start_attach(backend, request, ret_command);
	if (!strcmp(name, "detach"))
		return start_detach(backend, request, ret_command);
	if (!strcmp(name, "resize"))
		return start_resize(backend, request, ret_command);
	if (!strcmp(name, "limit"))
		return start_limit(backend, request, ret_command);
	if (!strcmp(name, "upgrade"))
		return start_upgrade(backend, request, ret_command);
	return answer_error("unknown command '%s'", name);
}

json_t *command_poll(struct command *command)
{
	return command->poll(command);
}

int64_t command_wait_ms(const struct command *command)
{
	uint64_t now = clock_now_ms();

	if (!command->deadline_ms)
		return -1;
	return now >= command->deadline_ms
		       ? 0
		       : (int64_t)(command->deadline_ms - now);
}

void command_free(struct command *command)
{
	if (!command)
		return;
	if (command->abandon)
		command->abandon(command);
	free(command);
}
