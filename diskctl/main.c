/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * xen-diskctl, the operator's command: picks the sub-command and hands it
 * its command line.  It speaks the control protocol and nothing else, so it
 * needs no access to xenstore.
 */
#include "diskctl/command.h"
#include "diskctl/options.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
	&command_list,    &command_stat,    &command_attach,
	&command_detach,  &command_resize,  &command_limit,
	&command_upgrade, &command_hotplug, &command_setup_modprobe,
	&command_version,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static int run_help(const struct arguments *arguments);

static const struct command command_help = {
	.name = "help",
	.operands = "[COMMAND]",
	.max_operands = 1,
	.summary = "show this help, or a command's",
	.description = "Shows what xen-diskctl or one of its commands does.",
	.run = run_help,
};

/* What may stand before the command's name. */
static const struct command program = {
	.name = "",
	.operands = "[option ...] COMMAND [argument ...]",
	.options = OPTION_BIT(OPTION_HELP) | OPTION_BIT(OPTION_VERSION) |
		   OPTION_BIT(OPTION_SOCKET),
};

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	return strcmp(command_help.name, name) == 0 ? &command_help : NULL;
}

static const struct command *command_find_or_complain(const char *name)
{
	const struct command *command = command_find(name);

	if (!command)
		complain("unknown command '%s', see xen-diskctl help", name);
	return command;
}

static void print_summary(const struct command *command)
{
	printf("  %-16s%s\n", command->name, command->summary);
}

static void print_program_help(void)
{
	printf("usage: xen-diskctl %s\n\n"
	       "Shows and changes the disks that xen-diskd serves to guests.\n"
	       "\ncommands (each with its own --help):\n",
	       program.operands);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		print_summary(commands[i]);
	print_summary(&command_help);
	printf("\noptions:\n");
	options_print_list(program.options, stdout);
	printf("\nexit codes:\n"
	       "  0  done\n"
	       "  1  xen-diskd refused, or the command failed\n"
	       "  2  the command line is wrong\n"
	       "  3  xen-diskd cannot be reached\n");
}

static int run_help(const struct arguments *arguments)
{
	const struct command *command;

	if (!arguments->operand_count) {
		print_program_help();
		return EXIT_CODE_DONE;
	}
	command = command_find_or_complain(arguments->operands[0]);
	if (!command)
		return EXIT_CODE_USAGE;
	options_print_help(command, stdout);
	return EXIT_CODE_DONE;
}

static int run_command(int argc, char **argv, struct arguments *arguments)
{
	const struct command *command = command_find_or_complain(argv[0]);

	if (!command || options_parse(command, argc, argv, arguments) < 0)
		return EXIT_CODE_USAGE;
	if (!arguments->values[OPTION_HELP])
		return command->run(arguments);
	options_print_help(command, stdout);
	return EXIT_CODE_DONE;
}

static int run(int argc, char **argv)
{
	struct arguments arguments = { 0 };
	int next = 0;

	if (options_parse_leading(&program, argc, argv, &arguments, &next) < 0)
		return EXIT_CODE_USAGE;
	if (arguments.values[OPTION_VERSION]) {
		printf("xen-diskctl %s\n", XEN_DISKD_VERSION);
		return EXIT_CODE_DONE;
	}
	if (arguments.values[OPTION_HELP]) {
		print_program_help();
		return EXIT_CODE_DONE;
	}
	if (next < argc)
		return run_command(argc - next, argv + next, &arguments);
	complain("no command given, see xen-diskctl help");
	return EXIT_CODE_USAGE;
}

/* A full disk behind a pipe or a redirection is a failure like any other. */
static int flush_output(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	complain("write to standard output: %s", strerror(errno));
	return code == EXIT_CODE_DONE ? EXIT_CODE_FAILED : code;
}

int main(int argc, char **argv)
{
	setlocale(LC_CTYPE, "");
	return flush_output(run(argc, argv));
}
