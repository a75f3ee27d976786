/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of the control socket. */
#include "diskd/commands.h"

#include "blkback/vdev.h"
#include "common/clock.h"
#include "diskd/attach.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* As long as libxl waits for a backend to close. */
#define DETACH_TIMEOUT_MS 10000u
/* A provider that takes longer to open is given up. */
#define ATTACH_TIMEOUT_MS 30000u

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

/* A string for JSON whatever its bytes are. */
static json_t *json_text(const char *text)
{
	json_t *value = json_string(text);
	char copy[PROVIDER_SPEC_BYTES];

	if (value)
		return value;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	return json_string(copy);
}

static const char *request_text(const json_t *request, const char *key)
{
	const char *text = json_string_value(json_object_get(request, key));

	return text ? text : "";
}

/* ---- list ------------------------------------------------------------- */

static uint64_t counter(const uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static json_t *list_requests(const struct vbd *vbd)
{
	static const struct queue_stats none;
	const struct queue_stats *stats = vbd->stats ? vbd->stats : &none;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "read",
			 (json_int_t)counter(&stats->reads), "write",
			 (json_int_t)counter(&stats->writes), "flush",
			 (json_int_t)counter(&stats->flushes), "discard",
			 (json_int_t)counter(&stats->discards), "errors",
			 (json_int_t)counter(&stats->errors), "read_bytes",
			 (json_int_t)counter(&stats->read_bytes),
			 "written_bytes",
			 (json_int_t)counter(&stats->written_bytes),
			 "discarded_bytes",
			 (json_int_t)counter(&stats->discarded_bytes));
}

/* How the server behind a disk is; null where there is none. */
static json_t *list_server(const struct vbd *vbd)
{
	static const char *const names[] = {
		[BLOCK_LINK_CONNECTED] = "connected",
		[BLOCK_LINK_CONNECTING] = "connecting",
		[BLOCK_LINK_FAILED] = "failed",
	};
	const struct block_status *status;
	uint64_t state;

	if (!vbd->stats)
		return json_null();
	status = &vbd->stats->provider;
	/* Another process writes it: it may be anything. */
	state = counter(&status->state);
	if (state == BLOCK_LINK_NONE || state > BLOCK_LINK_FAILED)
		return json_null();
	return json_pack("{s:s, s:I, s:I, s:I}", "state", names[state],
			 "reconnects", (json_int_t)counter(&status->reconnects),
			 "waiting", (json_int_t)counter(&status->waiting),
			 "resent", (json_int_t)counter(&status->resent));
}

static void list_provider(const struct vbd *vbd, char *name)
{
	struct error_text err;

	if (provider_spec_name(vbd->target, name, &err) < 0)
		strcpy(name, "?");
}

static json_t *list_vbd(struct vbd *vbd)
{
	char domain[256], vdev[VDEV_NAME_BYTES], provider[PROVIDER_NAME_BYTES];
	bool connected = vbd->worker_state == VBD_WORKER_CONNECTED;
	json_t *protocol = json_null();

	backend_domain_name(vbd->backend, vbd->domid, domain, sizeof(domain));
	vdev_format(vbd->devid, vdev);
	list_provider(vbd, provider);
	if (connected)
		protocol = json_string(connection_abi(&vbd->params)->protocol);
	return json_pack(
		"{s:i, s:o, s:I, s:s, s:s, s:s, s:o, s:s, s:s, s:s, "
		"s:{s:i, s:s}, s:o, s:o, s:o, s:o, s:o, s:o}",
		"domid", vbd->domid, "domain", json_text(domain), "devid",
		(json_int_t)vbd->devid, "vdev", vdev, "kind", vbd->kind->name,
		"path", vbd->path, "target", json_text(vbd->target), "provider",
		provider, "mode", vbd->read_only ? "r" : "w", "state",
		vbd_state_name(vbd->state), "worker", "pid",
		(int)vbd->worker_pid, "status",
		vbd_worker_state_name(vbd->worker_state), "size_bytes",
		vbd->info_valid ? json_integer((json_int_t)vbd->info.size_bytes)
				: json_null(),
		"version",
		vbd->info_valid && vbd->info.version[0]
			? json_string(vbd->info.version)
			: json_null(),
		"server", list_server(vbd), "protocol", protocol, "error",
		vbd->has_error ? json_text(vbd->error.text) : json_null(),
		"requests", list_requests(vbd));
}

static json_t *start_list(struct backend *backend)
{
	json_t *vbds = json_array();

	list_for_each_safe(it, tmp, &backend->vbds)
		json_array_append_new(
			vbds, list_vbd(container_of(it, struct vbd, node)));
	return json_pack("{s:b, s:o}", "ok", 1, "vbds", vbds);
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
	if (vbd->removed)
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
	vbd->removed = true;
	vbd_quit(vbd);
	backend_touch(vbd);
}

static void abandon_attach(struct command *command)
{
	struct vbd *vbd = command_vbd(command);

	if (vbd && !vbd->published)
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
		return vbd && !vbd->published
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

	if (!vbd || vbd->removed)
		return answer_ok();
	if (vbd->state == XenbusStateClosed && vbd_idle(vbd)) {
		if (attach_remove_nodes(vbd, &err) < 0)
			return answer_error("%s", err.text);
		return answer_ok();
	}
	if (!expired(command))
		return NULL;
	return answer_error("vbd %u/%u: the guest has not let go of it within "
			    "%u s (is it mounted?); it is detached when the "
			    "guest does; --force takes it away",
			    vbd->domid, vbd->devid, DETACH_TIMEOUT_MS / 1000);
}

static json_t *start_detach(struct backend *backend, const json_t *request,
			    struct command **ret_command)
{
	const char *vdev = request_text(request, "vdev");
	bool force = json_is_true(json_object_get(request, "force"));
	struct error_text err;
	struct vbd *vbd;
	uint32_t devid;
	uint16_t domid;

	if (backend_in_driver_domain(backend))
		return refuse_in_driver_domain("detach");
	if (attach_find_domain(backend, request_text(request, "domain"), &domid,
			       &err) < 0)
		return answer_error("%s", err.text);
	if (vdev_parse(vdev, &devid) < 0)
		return answer_error("'%s' is no virtual device", vdev);
	vbd = backend_find_device(backend, domid, devid);
	if (!vbd || !vbd->published)
		return answer_error("domain %u has no device %s of xen-diskd",
				    domid, vdev);
	if (attach_request_detach(vbd, force, &err) < 0)
		return answer_error("%s", err.text);
	*ret_command = command_new(vbd, poll_detach, DETACH_TIMEOUT_MS);
	return *ret_command ? NULL : answer_error("no memory");
}

/* ---- dispatch ----------------------------------------------------------- */

json_t *command_start(struct backend *backend, const json_t *request,
		      struct command **ret_command)
{
	const char *name = request_text(request, "command");

	*ret_command = NULL;
	if (!strcmp(name, "list"))
		return start_list(backend);
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
