/* SPDX-License-Identifier: BSD-2-Clause */
/* git-fat: a git tree as a FAT32 disk, without Xen; see git-fat(1). */
#include "git-fat/command/command.h"

#include "common/number.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
	struct git_disk_options disk;
	unsigned int nr_readers; /* 0 when it was not given */
};

struct command {
	const char *name;
	int (*run)(struct git_disk *disk, const struct arguments *arguments);
	bool reads_in_threads; /* takes --readers */
	const char *help;
};

static int run_image(struct git_disk *disk, const struct arguments *arguments)
{
	return command_image(disk, arguments->nr_readers);
}

static int run_ls(struct git_disk *disk, const struct arguments *arguments)
{
	(void)arguments;
	return command_ls(disk);
}

static int run_verify(struct git_disk *disk, const struct arguments *arguments)
{
	(void)arguments;
	return command_verify(disk);
}

static const struct command commands[] = {
	{ "image", run_image, true, "write the disk to standard output" },
	{ "ls", run_ls, false,
	  "list its files under the names they have there" },
	{ "verify", run_verify, false,
	  "read all of it and check that it is sound" },
};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_help(void)
{
	printf("Usage: git-fat COMMAND [OPTION]... REPOSITORY REF\n"
	       "A git tree as a FAT32 disk.\n\nCommands:\n");
	for (size_t i = 0; i < NR_COMMANDS; i++)
		printf("  %-8s%s\n", commands[i].name, commands[i].help);
	printf("\nOptions:\n"
	       "  --path=DIRECTORY         only what is in this directory\n"
	       "  --label=TEXT             volume label (GIT)\n"
	       "  --partition=mbr|none     with a partition table, or without\n"
	       "  --symlinks=text|follow   a link is a file with its target, or\n"
	       "                           what it points to within the tree\n"
	       "  --cache=SIZE             memory for what is read (64M)\n"
	       "  --verify=on|off          check the hash of all that is read\n"
	       "  --readers=NUMBER         image: threads that read, at most %u\n"
	       "                           (as many as there are processors)\n"
	       "  --help, --version\n",
	       COMMAND_READERS_MAX);
}

static int usage(const char *message, const char *what)
{
	fprintf(stderr, "git-fat: %s%s; see 'git-fat --help'\n", message, what);
	return EXIT_USAGE;
}

static int set_readers(struct arguments *arguments, const char *value)
{
	uint64_t nr_readers;

	if (number_parse(value, COMMAND_READERS_MAX, &nr_readers) < 0 ||
	    nr_readers == 0) {
		fprintf(stderr, "git-fat: --readers=%s is not from 1 to %u\n",
			value, COMMAND_READERS_MAX);
		return EXIT_USAGE;
	}
	arguments->nr_readers = (unsigned int)nr_readers;
	return EXIT_DONE;
}

/* One option in either spelling, --key=value or --key value. */
static int set_option(struct arguments *arguments, const char *key,
		      const char *value)
{
	struct error_text err;

	if (strcmp(key, "readers") == 0)
		return set_readers(arguments, value);
	if (git_disk_options_set(&arguments->disk, key, value, &err) == 0)
		return EXIT_DONE;
	fprintf(stderr, "git-fat: --%s\n", err.text);
	return EXIT_USAGE;
}

static int parse(int argc, char **argv, struct arguments *arguments)
{
	static const struct option known[] = {
		{ "path", required_argument, NULL, 0 },
		{ "label", required_argument, NULL, 0 },
		{ "partition", required_argument, NULL, 0 },
		{ "symlinks", required_argument, NULL, 0 },
		{ "cache", required_argument, NULL, 0 },
		{ "verify", required_argument, NULL, 0 },
		{ "readers", required_argument, NULL, 0 },
		{ NULL, 0, NULL, 0 },
	};
	int found, at, rc = EXIT_DONE;

	while (rc == EXIT_DONE &&
	       (found = getopt_long(argc, argv, "", known, &at)) != -1) {
		if (found == '?')
			return usage("bad option", "");
		rc = set_option(arguments, known[at].name, optarg);
	}
	if (rc != EXIT_DONE)
		return rc;
	if (argc - optind != 2)
		return usage("a repository and a ref are needed", "");
	arguments->disk.repository = argv[optind];
	arguments->disk.revision = argv[optind + 1];
	return EXIT_DONE;
}

static int run(const struct command *command, const struct arguments *arguments)
{
	struct git_disk *disk;
	struct error_text err;
	int code;

	if (git_disk_open(&arguments->disk, &disk, &err) < 0) {
		fprintf(stderr, "git-fat: %s\n", err.text);
		return EXIT_FAILED;
	}
	code = command->run(disk, arguments);
	git_disk_close(disk);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "git-fat: write to standard output: failed\n");
		return EXIT_FAILED;
	}
	return code;
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .nr_readers = 0 };
	int code;

	git_disk_options_init(&arguments.disk);
	if (argc < 2)
		return usage("a command is needed", "");
	if (strcmp(argv[1], "--help") == 0) {
		print_help();
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("git-fat %s\n", XEN_DISKD_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < NR_COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		argv[1] = argv[0]; /* what getopt calls itself */
		code = parse(argc - 1, argv + 1, &arguments);
		if (code == EXIT_DONE && arguments.nr_readers &&
		    !commands[i].reads_in_threads)
			code = usage("--readers is not for ", commands[i].name);
		return code ? code : run(&commands[i], &arguments);
	}
	return usage("unknown command: ", argv[1]);
}
