/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * attach, detach, resize, limit, hotplug and version: the commands that are one request and
 * its yes or no.  The patience of each is a little longer than the daemon's
 * own, so that the daemon's reason is what is reported.
 */
#include "diskctl/command.h"

#include <stdio.h>
#include <string.h>

#define NOTICE_MS 2000

#define WAITING "xen-diskctl: waiting for "

static const struct client_patience patience_version = {
	.connect_ms = 2000,
	.answer_ms = 10000,
};

static const struct client_patience patience_attach = {
	.connect_ms = 2000,
	.answer_ms = 60000,
	.notice = WAITING "xen-diskd to open the target",
	.notice_ms = NOTICE_MS,
};

/* The daemon itself gives up after 10 s. */
static const struct client_patience patience_detach = {
	.connect_ms = 2000,
	.answer_ms = 30000,
	.notice = WAITING "the guest to let go of the disk "
			  "(an interrupt ends the wait, not the detach)",
	.notice_ms = NOTICE_MS,
};

/* The daemon itself gives up after 20 s. */
static const struct client_patience patience_resize = {
	.connect_ms = 2000,
	.answer_ms = 40000,
	.notice = WAITING "the image or device to tell its size",
	.notice_ms = NOTICE_MS,
};

/* The daemon itself gives up after 20 s. */
static const struct client_patience patience_limit = {
	.connect_ms = 2000,
	.answer_ms = 40000,
};

/*
 * libxl kills the hotplug script after 40 s: give up before, so that the
 * script can still say why.  It runs it when a daemon has written state 2, which
 * may just be restarted: wait for it.
 */
static const struct client_patience patience_hotplug_add = {
	.connect_ms = 30000,
	.answer_ms = 38000,
	.await_daemon = true,
};

static const struct client_patience patience_hotplug_remove = {
	.connect_ms = 2000,
	.answer_ms = 38000,
};

static int run_attach(const struct arguments *arguments)
{
	char **operands = arguments->operands;
	json_t *request;

	request = json_pack("{s:s, s:s, s:s, s:s, s:b}", "command", "attach",
			    "domain", operands[0], "vdev", operands[1],
			    "target", operands[2], "readonly",
			    arguments->values[OPTION_READONLY] != NULL);
	return command_tell(arguments, &patience_attach, request);
}

const struct command command_attach = {
	.name = "attach",
	.operands = "DOMAIN VDEV TARGET",
	.min_operands = 3,
	.max_operands = 3,
	.summary = "give a running guest a disk",
	.description =
		"Gives the guest DOMAIN (a name or an id) the disk TARGET as "
		"VDEV (xvdb).\n"
		"TARGET is a provider specification, see "
		"xen-diskd-providers(7).\n"
		"This works with the kernel's xen-blkback loaded and serving "
		"other disks.",
	.options = OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_READONLY),
	.run = run_attach,
};

static int run_detach(const struct arguments *arguments)
{
	char **operands = arguments->operands;
	json_t *request;

	request = json_pack("{s:s, s:s, s:s, s:b}", "command", "detach",
			    "domain", operands[0], "vdev", operands[1], "force",
			    arguments->values[OPTION_FORCE] != NULL);
	return command_tell(arguments, &patience_detach, request);
}

const struct command command_detach = {
	.name = "detach",
	.operands = "DOMAIN VDEV",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "take a disk away from a guest",
	.description =
		"Takes the disk VDEV (xvdb) away from the guest DOMAIN (a "
		"name or an id).\n"
		"Waits until the guest has let go of it.  Unmount it there "
		"first: today's Linux\nlets go of what is mounted, too, and "
		"loses what it had not written.\n"
		"With --force the guest is not asked, and what it had not "
		"written is lost; what\nits worker has under way is waited "
		"for.",
	.options = OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_FORCE),
	.run = run_detach,
};

static int run_resize(const struct arguments *arguments)
{
	char **operands = arguments->operands;
	json_t *answer = NULL;
	const json_t *size;
	int code;

	code = command_ask(arguments, &patience_resize,
			   json_pack("{s:s, s:s, s:s, s:b}", "command",
				     "resize", "domain", operands[0], "vdev",
				     operands[1], "shrink",
				     arguments->values[OPTION_SHRINK] != NULL),
			   &answer);
	if (code != EXIT_CODE_DONE)
		return code;
	size = json_object_get(answer, "size_bytes");
	if (json_is_integer(size)) {
		print_line("%" JSON_INTEGER_FORMAT " bytes",
			   json_integer_value(size));
	} else {
		complain("xen-diskd's answer has no size");
		code = EXIT_CODE_UNREACHABLE;
	}
	json_decref(answer);
	return code;
}

const struct command command_resize = {
	.name = "resize",
	.operands = "DOMAIN VDEV",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "give a disk the size that its image has now",
	.description =
		"Looks at the size of the image or device behind the disk "
		"VDEV (xvdb) of the\nguest DOMAIN (a name or an id) again, and "
		"gives the disk that size while it is\nin use.  Make the image "
		"larger before.  A smaller one is refused without\n--shrink: "
		"what is behind the new end is out of the guest's reach then.",
	.options = OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_SHRINK),
	.run = run_resize,
};

/* Adds "iops=500" to a request; what the value may be is the daemon's word. */
static int add_limit(json_t *request, const char *operand)
{
	static const char *const keys[] = { "iops", "bps" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		size_t length = strlen(keys[i]);

		if (strncmp(operand, keys[i], length) == 0 &&
		    operand[length] == '=')
			return json_object_set_new(
				request, keys[i],
				json_string(operand + length + 1));
	}
	return -1;
}

static int run_limit(const struct arguments *arguments)
{
	char **operands = arguments->operands;
	json_t *request = json_pack("{s:s, s:s, s:s}", "command", "limit",
				    "domain", operands[0], "vdev", operands[1]);

	for (int i = 2; request && i < arguments->operand_count; i++) {
		if (add_limit(request, operands[i]) == 0)
			continue;
		complain("limit: '%s' is neither iops=NUMBER nor bps=SIZE",
			 operands[i]);
		json_decref(request);
		return EXIT_CODE_USAGE;
	}
	return command_tell(arguments, &patience_limit, request);
}

const struct command command_limit = {
	.name = "limit",
	.operands = "DOMAIN VDEV [iops=NUMBER] [bps=SIZE]",
	.min_operands = 3,
	.max_operands = 4,
	.summary = "limit what a guest does with a disk in a second",
	.description =
		"Limits the requests (iops), and the bytes read and written "
		"(bps, 10M for\ninstance), that the disk VDEV (xvdb) of the "
		"guest DOMAIN (a name or an id) takes\nin a second, at once and "
		"until it is detached, or the daemon is restarted\nwith no "
		"driver connected.  0 lifts a limit; one that is not given "
		"stays.\nThe options iops= and bps= of a target set them from "
		"the start.",
	.options = OPTION_BIT(OPTION_SOCKET),
	.run = run_limit,
};

static int run_hotplug(const struct arguments *arguments)
{
	const char *action = arguments->operands[0];
	const char *path = arguments->operands[1];

	if (strcmp(action, "add") == 0)
		return command_tell(arguments, &patience_hotplug_add,
				    json_pack("{s:s, s:s}", "command",
					      "hotplug-add", "path", path));
	if (strcmp(action, "remove") == 0)
		return command_tell(arguments, &patience_hotplug_remove,
				    json_pack("{s:s, s:s}", "command",
					      "hotplug-remove", "path", path));
	complain("hotplug: the action is add or remove, not '%s'", action);
	return EXIT_CODE_USAGE;
}

const struct command command_hotplug = {
	.name = "hotplug",
	.operands = "add|remove XENBUS_PATH",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "for the hotplug script: wait for a disk",
	.description =
		"Waits until the backend XENBUS_PATH (backend/vbd/1/51728) "
		"can serve its guest,\n"
		"or until it is gone.  The hotplug script block-xen-diskd runs "
		"it for xl.",
	.options = OPTION_BIT(OPTION_SOCKET),
	.run = run_hotplug,
};

static int run_version(const struct arguments *arguments)
{
	json_t *answer = NULL;
	const char *version;
	int code;

	printf("xen-diskctl %s\n", XEN_DISKD_VERSION);
	code = command_ask(arguments, &patience_version,
			   json_pack("{s:s}", "command", "version"), &answer);
	if (code != EXIT_CODE_DONE)
		return code;
	version = json_string_value(json_object_get(answer, "version"));
	if (version) {
		print_line("xen-diskd %s", version);
	} else {
		complain("xen-diskd's answer has no version");
		code = EXIT_CODE_UNREACHABLE;
	}
	json_decref(answer);
	return code;
}

const struct command command_version = {
	.name = "version",
	.operands = "",
	.summary = "show the running daemon's version too",
	.description =
		"Shows the version of xen-diskctl and that of the daemon that "
		"answers.",
	.options = OPTION_BIT(OPTION_SOCKET),
	.run = run_version,
};
