/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list: the disks that the daemon serves, as a table for people or as the
 * daemon's own JSON for programs.
 */
#include "common/cleanup.h"
#include "diskctl/command.h"
#include "diskctl/printable.h"
#include "diskctl/table.h"

#include <stdio.h>
#include <string.h>

static const struct client_patience patience_list = {
	.connect_ms = 2000,
	.answer_ms = 10000,
};

static char *worker_cell(const json_t *worker)
{
	cleanup_free char *text = NULL;
	const json_t *pid = json_object_get(worker, "pid");
	int n;

	if (!json_is_object(worker))
		return strdup("-");
	if (json_is_integer(pid) && json_integer_value(pid) > 0)
		n = asprintf(&text, "%" JSON_INTEGER_FORMAT " %s",
			     json_integer_value(pid),
			     member_text(worker, "status"));
	else
		n = asprintf(&text, "%s", member_text(worker, "status"));
	if (n < 0) {
		text = NULL;
		return NULL;
	}
	return printable_new(text);
}

static bool fill_row(struct table_row *row, const json_t *vbd)
{
	const char *version =
		json_string_value(json_object_get(vbd, "version"));
	const char *error = json_string_value(json_object_get(vbd, "error"));
	char **cell = row->cells;

	*cell++ = cell_domain(vbd);
	*cell++ = cell_text(vbd, "vdev");
	*cell++ = cell_text(vbd, "state");
	*cell++ = cell_text(vbd, "mode");
	*cell++ = cell_size(json_object_get(vbd, "size_bytes"));
	*cell++ = cell_text(vbd, "target");
	*cell++ = worker_cell(json_object_get(vbd, "worker"));
	row->notes[0].label = "version";
	if (version)
		row->notes[0].text = printable_new(version);
	row->notes[1].label = "server";
	row->notes[1].text = cell_server(vbd);
	row->notes[2].label = "error";
	if (error)
		row->notes[2].text = printable_new(error);
	return (!version || row->notes[0].text) &&
	       (!error || row->notes[2].text);
}

static const struct table_columns list_columns = {
	.count = 7,
	.titles = { "DOMAIN", "VDEV", "STATE", "MODE", "SIZE", "TARGET",
		    "WORKER" },
	.fill = fill_row,
};

static int run_list(const struct arguments *arguments)
{
	json_t *vbds = NULL;
	int code =
		command_ask_vbds(arguments, &patience_list,
				 json_pack("{s:s}", "command", "list"), &vbds);

	if (code != EXIT_CODE_DONE)
		return code;
	code = arguments->values[OPTION_JSON]
		       ? table_print_json(vbds)
		       : table_print(&list_columns, vbds);
	json_decref(vbds);
	return code;
}

const struct command command_list = {
	.name = "list",
	.operands = "",
	.summary = "show the disks that xen-diskd serves",
	.description =
		"Shows each disk that xen-diskd serves: its guest, state, "
		"size and target,\n"
		"the worker process, and what is wrong with it if anything "
		"is.",
	.options = OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_JSON),
	.run = run_list,
};
