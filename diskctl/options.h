/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parsing of command lines and printing of usage and help, from the tables of
 * command.h.
 */
#ifndef XEN_DISKD_OPTIONS_H
#define XEN_DISKD_OPTIONS_H

#include "diskctl/command.h"

#include <stdio.h>

/*
 * Parses the command line of a command, argv[0] being its name.  The
 * operands stay in argv, which is reordered.  0, or -EINVAL after telling
 * what is wrong on stderr.  The number of operands is checked unless --help
 * was given.
 */
int options_parse(const struct command *command, int argc, char **argv,
		  struct arguments *arguments);

/*
 * As options_parse() for what stands before the command's name: stops there,
 * and adds to arguments.  ret_next is the index of the name in argv.
 */
int options_parse_leading(const struct command *program, int argc, char **argv,
			  struct arguments *arguments, int *ret_next);

/* "usage: xen-diskctl …", the description and a line for each option. */
void options_print_help(const struct command *command, FILE *out);

/* The lines for the options of a set alone. */
void options_print_list(unsigned int set, FILE *out);

#endif
