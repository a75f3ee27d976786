/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the daemon says of its disks, as a table for people: a row for each
 * object of a JSON array.  Whatever is in there is taken for hostile.
 */
#ifndef XEN_DISKD_TABLE_H
#define XEN_DISKD_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX 12
#define TABLE_NOTES_MAX 3

/* One line; all texts are owned, and safe to print. */
struct table_row {
	char *cells[TABLE_COLUMNS_MAX];
	/* On lines of their own below it, after their labels; or NULL. */
	struct {
		const char *label;
		char *text;
	} notes[TABLE_NOTES_MAX];
};

struct table_columns {
	size_t count;
	const char *titles[TABLE_COLUMNS_MAX];
	/* Fills in all cells, and the notes that there are. */
	bool (*fill)(struct table_row *row, const json_t *vbd);
};

/* Prints the table; an exit code, and the reason on stderr. */
int table_print(const struct table_columns *columns, const json_t *vbds);

/* Prints it as JSON, in pure ASCII; an exit code likewise. */
int table_print_json(const json_t *vbds);

/* ---- cells: the caller's; NULL when there is no memory ---- */

/* The text of a member, "-" if it is absent, empty or no string; borrowed. */
const char *member_text(const json_t *object, const char *key);

/* The guest by name, or by number if it has none. */
char *cell_domain(const json_t *vbd);
/* A text member, or "-". */
char *cell_text(const json_t *object, const char *key);
/* Bytes: the largest unit that leaves at least 1; one decimal if odd. */
char *cell_size(const json_t *bytes);
/* How the server behind a disk is; NULL as well where there is none. */
char *cell_server(const json_t *vbd);

#endif
