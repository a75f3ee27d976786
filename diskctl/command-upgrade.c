/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * upgrade: one disk, or all of them in turn, get a worker of the program that is
 * installed now.
 */
#include "common/cleanup.h"
#include "diskctl/command.h"
#include "diskctl/table.h"

#include <stdio.h>
#include <string.h>

static const struct client_patience patience_list = {
	.connect_ms = 2000,
	.answer_ms = 10000,
};

/* The daemon itself gives up after 20 s. */
static const struct client_patience patience_upgrade = {
	.connect_ms = 2000,
	.answer_ms = 40000,
	.notice = "xen-diskctl: waiting for the old worker to finish",
	.notice_ms = 2000,
};

static int upgrade_one(const struct arguments *arguments, const char *domain,
		       const char *vdev)
{
	json_t *answer = NULL;
	int code =
		command_ask(arguments, &patience_upgrade,
			    json_pack("{s:s, s:s, s:s}", "command", "upgrade",
				      "domain", domain, "vdev", vdev),
			    &answer);

	if (code != EXIT_CODE_DONE)
		return code;
	print_line("%s %s: worker %" JSON_INTEGER_FORMAT
		   " instead of %" JSON_INTEGER_FORMAT,
		   domain, vdev,
		   json_integer_value(json_object_get(answer, "pid")),
		   json_integer_value(json_object_get(answer, "from_pid")));
	json_decref(answer);
	return code;
}

/* Those that are served; a failure does not keep the others back. */
static int upgrade_all(const struct arguments *arguments, const json_t *vbds)
{
	int worst = EXIT_CODE_DONE;
	const json_t *vbd;
	size_t i;

	json_array_foreach(vbds, i, vbd)
	{
		const json_t *worker = json_object_get(vbd, "worker");
		const char *status = member_text(worker, "status");
		char domain[24];
		int code;

		if (strcmp(status, "connected") != 0 &&
		    strcmp(status, "ready") != 0)
			continue;
		snprintf(domain, sizeof(domain), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(json_object_get(vbd, "domid")));
		code = upgrade_one(arguments, domain, member_text(vbd, "vdev"));
		if (code > worst)
			worst = code;
	}
	return worst;
}

static int run_upgrade(const struct arguments *arguments)
{
	char **operands = arguments->operands;
	json_t *vbds = NULL;
	int code;

	if (arguments->operand_count == 1) {
		complain("upgrade: a DOMAIN and a VDEV, or neither");
		return EXIT_CODE_USAGE;
	}
	if (arguments->operand_count == 2)
		return upgrade_one(arguments, operands[0], operands[1]);
	code = command_ask_vbds(arguments, &patience_list,
				json_pack("{s:s}", "command", "list"), &vbds);
	if (code != EXIT_CODE_DONE)
		return code;
	code = upgrade_all(arguments, vbds);
	json_decref(vbds);
	return code;
}

const struct command command_upgrade = {
	.name = "upgrade",
	.operands = "[DOMAIN VDEV]",
	.max_operands = 2,
	.summary = "move disks to the worker that is installed now",
	.description =
		"Gives the disk VDEV (xvdb) of the guest DOMAIN (a name or an "
		"id), or every disk\nin turn, a worker process of the program "
		"that is installed now, while the guest\nuses it: after "
		"xen-diskd was installed anew and restarted.  The guest "
		"notices\na short pause.  A program that cannot be run is "
		"refused, and the old one stays.",
	.options = OPTION_BIT(OPTION_SOCKET),
	.run = run_upgrade,
};
