/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the sub-commands share: messages, and asking the daemon.
 */
#include "diskctl/command.h"

#include "common/cleanup.h"
#include "diskctl/printable.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The formatted text, escaped; NULL when memory is short. */
static char *format_printable(const char *fmt, va_list args)
{
	cleanup_free char *text = NULL;

	if (vasprintf(&text, fmt, args) < 0) {
		/* vasprintf() leaves it undefined. */
		text = NULL;
		return NULL;
	}
	return printable_new(text);
}

void complain(const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = format_printable(fmt, args);
	va_end(args);
	fprintf(stderr, "xen-diskctl: %s\n", text ? text : "out of memory");
}

void print_line(const char *fmt, ...)
{
	cleanup_free char *text = NULL;
	va_list args;

	va_start(args, fmt);
	text = format_printable(fmt, args);
	va_end(args);
	printf("%s\n", text ? text : "(out of memory)");
}

static int answer_check(const json_t *answer)
{
	const char *reason;

	if (json_is_true(json_object_get(answer, "ok")))
		return EXIT_CODE_DONE;
	reason = json_string_value(json_object_get(answer, "error"));
	complain("%s", reason ? reason : "xen-diskd refused, with no reason");
	return EXIT_CODE_FAILED;
}

int command_ask(const struct arguments *arguments,
		const struct client_patience *patience, json_t *request,
		json_t **ret_answer)
{
	const char *socket_path = arguments->values[OPTION_SOCKET];
	struct error_text err;
	json_t *answer = NULL;
	int code;
	int rc;

	if (!request) {
		complain("an argument is not valid UTF-8");
		return EXIT_CODE_USAGE;
	}
	rc = client_call(socket_path ? socket_path : CLIENT_DEFAULT_SOCKET,
			 patience, request, &answer, &err);
	json_decref(request);
	if (rc < 0) {
		complain("%s", err.text);
		return EXIT_CODE_UNREACHABLE;
	}
	code = answer_check(answer);
	if (code == EXIT_CODE_DONE)
		*ret_answer = answer;
	else
		json_decref(answer);
	return code;
}

int command_ask_vbds(const struct arguments *arguments,
		     const struct client_patience *patience, json_t *request,
		     json_t **ret_vbds)
{
	json_t *answer = NULL, *vbds;
	int code = command_ask(arguments, patience, request, &answer);

	if (code != EXIT_CODE_DONE)
		return code;
	vbds = json_object_get(answer, "vbds");
	if (json_is_array(vbds)) {
		*ret_vbds = json_incref(vbds);
	} else {
		complain("xen-diskd's answer has no array 'vbds'");
		code = EXIT_CODE_UNREACHABLE;
	}
	json_decref(answer);
	return code;
}

int command_tell(const struct arguments *arguments,
		 const struct client_patience *patience, json_t *request)
{
	json_t *answer = NULL;
	int code = command_ask(arguments, patience, request, &answer);

	json_decref(answer);
	return code;
}
