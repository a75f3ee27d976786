/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of disks, and the cells that several have. */
#include "diskctl/table.h"

#include "common/cleanup.h"
#include "diskctl/command.h"
#include "diskctl/printable.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
	const struct table_columns *columns;
	struct table_row *rows;
	size_t row_count;
	size_t widths[TABLE_COLUMNS_MAX];
};

/* ---- cells ---------------------------------------------------------------- */

const char *member_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && *text ? text : "-";
}

char *cell_domain(const json_t *vbd)
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

char *cell_text(const json_t *object, const char *key)
{
	return printable_new(member_text(object, key));
}

char *cell_size(const json_t *bytes_json)
{
	static const char units[] = "BKMGTPE";
	json_int_t bytes = json_integer_value(bytes_json);
	json_int_t unit = 1;
	size_t i = 0;
	char text[32];

	if (!json_is_integer(bytes_json) || bytes < 0)
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

char *cell_server(const json_t *vbd)
{
	const json_t *server = json_object_get(vbd, "server");
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

/* ---- the table -------------------------------------------------------------- */

static void table_fini(struct table *table)
{
	for (size_t r = 0; r < table->row_count; r++) {
		for (size_t i = 0; i < TABLE_COLUMNS_MAX; i++)
			free(table->rows[r].cells[i]);
		for (size_t i = 0; i < TABLE_NOTES_MAX; i++)
			free(table->rows[r].notes[i].text);
	}
	free(table->rows);
}

/* false when memory is short; a row may be half built. */
static bool row_init(struct table *table, struct table_row *row,
		     const json_t *vbd)
{
	if (!table->columns->fill(row, vbd))
		return false;
	for (size_t i = 0; i < table->columns->count; i++)
		if (!row->cells[i])
			return false;
	return true;
}

static bool table_init(struct table *table, const json_t *vbds)
{
	size_t count = json_array_size(vbds);

	table->rows = calloc(count + 1, sizeof(*table->rows));
	if (!table->rows)
		return false;
	table->row_count = count;
	for (size_t i = 0; i < count; i++)
		if (!row_init(table, &table->rows[i], json_array_get(vbds, i)))
			return false;
	return true;
}

static void measure(struct table *table, const char *const *cells)
{
	for (size_t i = 0; i < table->columns->count; i++) {
		size_t columns = printable_columns(cells[i]);

		if (columns > table->widths[i])
			table->widths[i] = columns;
	}
}

static void print_cells(const struct table *table, const char *const *cells)
{
	size_t count = table->columns->count;

	for (size_t i = 0; i < count; i++) {
		size_t columns = printable_columns(cells[i]);

		printf("%s", cells[i]);
		/* The last column is not padded. */
		if (i + 1 < count)
			printf("%*s", (int)(table->widths[i] - columns) + 2,
			       "");
	}
	printf("\n");
}

static const char *const *cells_of(const struct table_row *row)
{
	return (const char *const *)row->cells;
}

static void print_rows(struct table *table)
{
	measure(table, table->columns->titles);
	for (size_t i = 0; i < table->row_count; i++)
		measure(table, cells_of(&table->rows[i]));
	print_cells(table, table->columns->titles);
	for (size_t r = 0; r < table->row_count; r++) {
		const struct table_row *row = &table->rows[r];

		print_cells(table, cells_of(row));
		for (size_t i = 0; i < TABLE_NOTES_MAX; i++)
			if (row->notes[i].text)
				printf("    %s: %s\n", row->notes[i].label,
				       row->notes[i].text);
	}
}

int table_print(const struct table_columns *columns, const json_t *vbds)
{
	struct table table = { .columns = columns };
	bool built = table_init(&table, vbds);

	if (built)
		print_rows(&table);
	else
		complain("out of memory");
	table_fini(&table);
	return built ? EXIT_CODE_DONE : EXIT_CODE_FAILED;
}

int table_print_json(const json_t *vbds)
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
