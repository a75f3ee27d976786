/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * list: the disks that the daemon serves, as a table for people or as the
 * daemon's own JSON for programs.
 */
#include "common/cleanup.h"
#include "diskctl/command.h"
#include "diskctl/printable.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct client_patience patience_list = {
	.connect_ms = 2000,
	.answer_ms = 10000,
};

enum column {
	COLUMN_DOMAIN,
	COLUMN_VDEV,
	COLUMN_STATE,
	COLUMN_MODE,
	COLUMN_SIZE,
	COLUMN_TARGET,
	COLUMN_WORKER,
	COLUMN_COUNT,
};

static const char *const column_titles[COLUMN_COUNT] = {
	"DOMAIN", "VDEV", "STATE", "MODE", "SIZE", "TARGET", "WORKER",
};

/* One line of the table; cells are owned, and safe to print. */
struct row {
	char *cells[COLUMN_COUNT];
	/* On lines of their own; NULL when there is nothing to say. */
	char *version, *server, *error;
};

struct table {
	struct row *rows;
	size_t row_count;
	size_t widths[COLUMN_COUNT];
};

/* The text of a member, "-" if it is absent, empty or no string. */
static const char *member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && *text ? text : "-";
}

static char *domain_cell(const json_t *vbd)
{
	const char *name = member_text(vbd, "domain");
	const json_t *domid = json_object_get(vbd, "domid");
	char number[24];

	/* A domain that is being built or torn down has no name. */
	if (strcmp(name, "-") != 0 || !json_is_integer(domid))
		return printable_new(name);
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
		 json_integer_value(domid));
	return strdup(number);
}

/* The largest unit that leaves a number of at least 1; one decimal if odd. */
static char *size_cell(const json_t *size)
{
	static const char units[] = "BKMGTPE";
	json_int_t bytes = json_integer_value(size);
	json_int_t unit = 1;
	size_t i = 0;
	char text[32];

	if (!json_is_integer(size) || bytes < 0)
		return strdup("-");
	while (bytes / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	if (bytes % unit == 0)
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT "%c",
			 bytes / unit, units[i]);
	else
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT ".%d%c",
			 bytes / unit,
			 (int)(bytes % unit / (unit / 1024) * 10 / 1024),
			 units[i]);
	return strdup(text);
}

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

static void row_fini(struct row *row)
{
	for (int i = 0; i < COLUMN_COUNT; i++)
		free(row->cells[i]);
	free(row->version);
	free(row->server);
	free(row->error);
}

/* NULL where there is no server, or when memory is short. */
static char *server_line(const json_t *server)
{
	static const char *const counters[][2] = {
		{ "reconnects", "reconnects" },
		{ "waiting", "requests wait" },
		{ "resent", "acknowledged writes sent again" },
	};
	char text[256];
	size_t used;

	if (!json_is_object(server))
		return NULL;
	used = (size_t)snprintf(text, sizeof(text), "%.32s",
				member_text(server, "state"));
	for (size_t i = 0; i < 3; i++) {
		json_int_t n = json_integer_value(
			json_object_get(server, counters[i][0]));

		if (n > 0)
			used += (size_t)snprintf(text + used,
						 sizeof(text) - used,
						 ", %" JSON_INTEGER_FORMAT
						 " %s",
						 n, counters[i][1]);
	}
	return printable_new(text);
}

/* false when memory is short; the row is then half built. */
static bool row_init(struct row *row, const json_t *vbd)
{
	const char *version =
		json_string_value(json_object_get(vbd, "version"));
	const char *error = json_string_value(json_object_get(vbd, "error"));
	char **cells = row->cells;

	cells[COLUMN_DOMAIN] = domain_cell(vbd);
	cells[COLUMN_VDEV] = printable_new(member_text(vbd, "vdev"));
	cells[COLUMN_STATE] = printable_new(member_text(vbd, "state"));
	cells[COLUMN_MODE] = printable_new(member_text(vbd, "mode"));
	cells[COLUMN_SIZE] = size_cell(json_object_get(vbd, "size_bytes"));
	cells[COLUMN_TARGET] = printable_new(member_text(vbd, "target"));
	cells[COLUMN_WORKER] = worker_cell(json_object_get(vbd, "worker"));
	if (version)
		row->version = printable_new(version);
	row->server = server_line(json_object_get(vbd, "server"));
	if (error)
		row->error = printable_new(error);
	for (int i = 0; i < COLUMN_COUNT; i++)
		if (!cells[i])
			return false;
	return (!version || row->version) && (!error || row->error);
}

static void table_fini(struct table *table)
{
	for (size_t i = 0; i < table->row_count; i++)
		row_fini(&table->rows[i]);
	free(table->rows);
}

static bool table_init(struct table *table, const json_t *vbds)
{
	size_t count = json_array_size(vbds);

	table->rows = calloc(count + 1, sizeof(*table->rows));
	if (!table->rows)
		return false;
	table->row_count = count;
	for (size_t i = 0; i < count; i++)
		if (!row_init(&table->rows[i], json_array_get(vbds, i)))
			return false;
	return true;
}

static void table_measure(struct table *table, char *const *cells)
{
	for (int i = 0; i < COLUMN_COUNT; i++) {
		size_t columns = printable_columns(cells[i]);

		if (columns > table->widths[i])
			table->widths[i] = columns;
	}
}

static void table_print_cells(const struct table *table, char *const *cells)
{
	for (int i = 0; i < COLUMN_COUNT; i++) {
		size_t columns = printable_columns(cells[i]);

		printf("%s", cells[i]);
		/* The last column is not padded. */
		if (i + 1 < COLUMN_COUNT)
			printf("%*s", (int)(table->widths[i] - columns) + 2,
			       "");
	}
	printf("\n");
}

static void table_print(struct table *table)
{
	char *const *titles = (char *const *)column_titles;

	table_measure(table, titles);
	for (size_t i = 0; i < table->row_count; i++)
		table_measure(table, table->rows[i].cells);
	table_print_cells(table, titles);
	for (size_t i = 0; i < table->row_count; i++) {
		table_print_cells(table, table->rows[i].cells);
		if (table->rows[i].version)
			printf("    version: %s\n", table->rows[i].version);
		if (table->rows[i].server)
			printf("    server: %s\n", table->rows[i].server);
		if (table->rows[i].error)
			printf("    error: %s\n", table->rows[i].error);
	}
}

static int list_as_table(const json_t *vbds)
{
	struct table table = { 0 };
	bool built = table_init(&table, vbds);

	if (built)
		table_print(&table);
	else
		complain("out of memory");
	table_fini(&table);
	return built ? EXIT_CODE_DONE : EXIT_CODE_FAILED;
}

static int list_as_json(const json_t *vbds)
{
	/* Pure ASCII, so that C1 controls are escaped as well... */
	cleanup_free char *text =
		json_dumps(vbds, JSON_INDENT(2) | JSON_ENSURE_ASCII);

	if (!text) {
		complain("out of memory");
		return EXIT_CODE_FAILED;
	}
	for (const char *p = text; *p; p++)
		/* ...and DEL, which JSON lets stand, only occurs in strings. */
		if (*p == 0x7f)
			fputs("\\u007f", stdout);
		else
			putchar(*p);
	putchar('\n');
	return EXIT_CODE_DONE;
}

static int run_list(const struct arguments *arguments)
{
	json_t *answer = NULL;
	const json_t *vbds;
	int code;

	code = command_ask(arguments, &patience_list,
			   json_pack("{s:s}", "command", "list"), &answer);
	if (code != EXIT_CODE_DONE)
		return code;
	vbds = json_object_get(answer, "vbds");
	if (!json_is_array(vbds)) {
		complain("xen-diskd's answer has no array 'vbds'");
		code = EXIT_CODE_UNREACHABLE;
	} else if (arguments->values[OPTION_JSON]) {
		code = list_as_json(vbds);
	} else {
		code = list_as_table(vbds);
	}
	json_decref(answer);
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
