/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one table of options, and getopt_long(3) over the part of it that a
 * command takes.
 */
#include "diskctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

struct option_row {
	const char *name;
	/* What the help calls the value; NULL if the option takes none. */
	const char *value;
	const char *help;
};

static const struct option_row option_rows[OPTION_COUNT] = {
	[OPTION_HELP] = { "help", NULL, "show this help" },
	[OPTION_VERSION] = { "version", NULL, "show the version" },
	[OPTION_SOCKET] = { "socket", "PATH",
			    "the daemon's control socket\n"
			    "(default " CLIENT_DEFAULT_SOCKET ")" },
	[OPTION_JSON] = { "json", NULL, "print all that is known, as JSON" },
	[OPTION_READONLY] = { "readonly", NULL,
			      "give the guest a read-only disk" },
	[OPTION_FORCE] = { "force", NULL,
			   "do not wait for the guest to let go" },
	[OPTION_UNDO] = { "undo", NULL, "remove the file again" },
	[OPTION_YES] = { "yes", NULL, "do not ask" },
	[OPTION_ROOT] = { "root", "DIR",
			  "act on the system below DIR instead of /" },
	[OPTION_SHRINK] = { "shrink", NULL, "also if it has become smaller" },
	[OPTION_WATCH] = { "watch", "SECONDS",
			   "show it again and again, as what it was in a\n"
			   "second" },
};

/* getopt_long() returns these for the options, clear of '?' and ':'. */
#define GETOPT_BASE 0x100

static void getopt_table_init(unsigned int set,
			      struct option table[OPTION_COUNT + 1])
{
	size_t used = 0;

	memset(table, 0, (OPTION_COUNT + 1) * sizeof(*table));
	for (int id = 0; id < OPTION_COUNT; id++) {
		if (!(set & OPTION_BIT(id)))
			continue;
		table[used].name = option_rows[id].name;
		table[used].has_arg =
			option_rows[id].value ? required_argument : no_argument;
		table[used].val = GETOPT_BASE + id;
		used++;
	}
}

static int usage_error(const struct command *command)
{
	fprintf(stderr, "usage: xen-diskctl %s%s%s\n", command->name,
		*command->name && *command->operands ? " " : "",
		command->operands);
	return -EINVAL;
}

/* argv[optind - 1] is the word, unless it is a cluster of letters. */
static void complain_option(int found, const char *word)
{
	char letter[] = { '-', (char)optopt, '\0' };

	if (optopt > 0 && optopt < GETOPT_BASE)
		word = letter;
	if (found == ':')
		complain("option '%s' needs a value", word);
	else
		complain("unknown or misused option '%s'", word);
}

/* Runs getopt_long() to its end; mode "+:" stops at the first operand. */
static int parse(const struct command *command, const char *mode, int argc,
		 char **argv, struct arguments *arguments)
{
	struct option table[OPTION_COUNT + 1];
	int found;

	getopt_table_init(command->options | OPTION_BIT(OPTION_HELP), table);
	opterr = 0;
	/* 0 makes glibc begin anew: this runs once for each half. */
	optind = 0;
	while ((found = getopt_long(argc, argv, mode, table, NULL)) != -1) {
		if (found < GETOPT_BASE) {
			complain_option(found, argv[optind - 1]);
			return usage_error(command);
		}
		arguments->values[found - GETOPT_BASE] = optarg ? optarg : "";
	}
	return 0;
}

int options_parse(const struct command *command, int argc, char **argv,
		  struct arguments *arguments)
{
	int rc = parse(command, ":", argc, argv, arguments);

	if (rc < 0)
		return rc;
	arguments->operands = argv + optind;
	arguments->operand_count = argc - optind;
	if (arguments->values[OPTION_HELP])
		return 0;
	if (arguments->operand_count < command->min_operands)
		complain("%s: too few arguments", command->name);
	else if (arguments->operand_count > command->max_operands)
		complain("%s: too many arguments", command->name);
	else
		return 0;
	return usage_error(command);
}

int options_parse_leading(const struct command *program, int argc, char **argv,
			  struct arguments *arguments, int *ret_next)
{
	int rc = parse(program, "+:", argc, argv, arguments);

	if (rc < 0)
		return rc;
	*ret_next = optind;
	return 0;
}

static void print_option(const struct option_row *row, FILE *out)
{
	char name[32];
	const char *help = row->help;
	const char *line_end;

	snprintf(name, sizeof(name), "--%s%s%s", row->name,
		 row->value ? "=" : "", row->value ? row->value : "");
	fprintf(out, "  %-16s", name);
	while ((line_end = strchr(help, '\n'))) {
		fprintf(out, "%.*s\n%18s", (int)(line_end - help), help, "");
		help = line_end + 1;
	}
	fprintf(out, "%s\n", help);
}

void options_print_list(unsigned int set, FILE *out)
{
	for (int id = 0; id < OPTION_COUNT; id++)
		if (set & OPTION_BIT(id))
			print_option(&option_rows[id], out);
}

void options_print_help(const struct command *command, FILE *out)
{
	fprintf(out, "usage: xen-diskctl %s [option ...]%s%s\n\n%s\n\n",
		command->name, *command->operands ? " " : "", command->operands,
		command->description);
	options_print_list(command->options | OPTION_BIT(OPTION_HELP), out);
}
