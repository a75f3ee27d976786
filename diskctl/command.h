/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sub-commands of xen-diskctl: what each is called, which options it
 * takes and how it is run.  Help texts and option parsing are both made from
 * these tables, so that they cannot disagree.
 */
#ifndef XEN_DISKD_COMMAND_H
#define XEN_DISKD_COMMAND_H

#include "diskctl/client.h"

#include <jansson.h>
#include <stdbool.h>

/* The exit codes, documented in xen-diskctl(8). */
enum exit_code {
	EXIT_CODE_DONE = 0,
	/* The daemon refused, or the command itself failed. */
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 2,
	/* The daemon cannot be reached, or gave no usable answer. */
	EXIT_CODE_UNREACHABLE = 3,
};

/* Every option there is; a command takes a set of them. */
enum option_id {
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_SOCKET,
	OPTION_JSON,
	OPTION_READONLY,
	OPTION_FORCE,
	OPTION_UNDO,
	OPTION_YES,
	OPTION_ROOT,
	OPTION_SHRINK,
	OPTION_WATCH,
	OPTION_COUNT,
};

#define OPTION_BIT(id) (1u << (id))

/* A command line, parsed: values[] is NULL for an option not given. */
struct arguments {
	const char *values[OPTION_COUNT];
	char **operands;
	int operand_count;
};

struct command {
	const char *name;
	/* Operands as the usage line shows them, "" for none. */
	const char *operands;
	int min_operands;
	int max_operands;
	/* One line for `help`; the paragraph of the command's own --help. */
	const char *summary;
	const char *description;
	/* OPTION_BIT()s; --help is taken by all. */
	unsigned int options;
	/* Returns an enum exit_code. */
	int (*run)(const struct arguments *arguments);
};

extern const struct command command_list;
extern const struct command command_attach;
extern const struct command command_detach;
extern const struct command command_resize;
extern const struct command command_limit;
extern const struct command command_stat;
extern const struct command command_upgrade;
extern const struct command command_hotplug;
extern const struct command command_setup_modprobe;
extern const struct command command_version;

/* Writes "xen-diskctl: <message>" to stderr, escaped for a terminal. */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes a line to stdout, escaped for a terminal. */
void print_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Sends a request, whose reference it takes (NULL stands for one that could
 * not be built).  On EXIT_CODE_DONE the daemon said yes and ret_answer holds
 * its answer, the caller's to release.  Otherwise the reason was written to
 * stderr and the code is what to exit with.
 */
int command_ask(const struct arguments *arguments,
		const struct client_patience *patience, json_t *request,
		json_t **ret_answer);

/*
 * As command_ask(), for an answer with an array of disks, which the caller
 * releases.
 */
int command_ask_vbds(const struct arguments *arguments,
		     const struct client_patience *patience, json_t *request,
		     json_t **ret_vbds);

/* As command_ask(), for an answer that carries nothing but its "ok". */
int command_tell(const struct arguments *arguments,
		 const struct client_patience *patience, json_t *request);

#endif
