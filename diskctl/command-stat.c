/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stat: what guests do with their disks, in all, or every so many seconds as
 * what it was in one of them.
 */
#include "common/cleanup.h"
#include "common/number.h"
#include "diskctl/command.h"
#include "diskctl/printable.h"
#include "diskctl/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WATCH_MAX_S 86400u
#define NS_PER_S UINT64_C(1000000000)

static const struct client_patience patience_once = {
	.connect_ms = 2000,
	.answer_ms = 10000,
};

/* One that looks for hours goes on when the daemon is restarted. */
static const struct client_patience patience_watch = {
	.connect_ms = 30000,
	.answer_ms = 40000,
	.await_daemon = true,
};

/* ---- the table ---------------------------------------------------------- */

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static char *number_cell(const json_t *object, const char *key,
			 const char *unit)
{
	char *text;

	if (asprintf(&text, "%" JSON_INTEGER_FORMAT "%s",
		     number_of(object, key), unit) < 0)
		return NULL;
	return text;
}

/* "3/32" */
static char *in_flight_cell(const json_t *requests)
{
	char *text;

	if (asprintf(&text, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT,
		     number_of(requests, "in_flight"),
		     number_of(requests, "slots")) < 0)
		return NULL;
	return text;
}

/* NULL where there is none, or when memory is short. */
static char *limits_note(const json_t *vbd)
{
	const json_t *limits = json_object_get(vbd, "limits");
	json_int_t iops = number_of(limits, "iops");
	json_int_t bps = number_of(limits, "bps");
	char number[32] = "", *text;
	cleanup_free char *size = NULL;

	if (bps > 0)
		size = cell_size(json_object_get(limits, "bps"));
	if (iops > 0)
		snprintf(number, sizeof(number), "iops=%" JSON_INTEGER_FORMAT,
			 iops);
	if ((iops <= 0 && bps <= 0) ||
	    asprintf(&text, "%s%s%s%s", number, iops > 0 && size ? " " : "",
		     size ? "bps=" : "", size ? size : "") < 0)
		return NULL;
	return text;
}

/* What workers that died have cost, if any has; NULL also for no memory. */
static char *deaths_note(const json_t *requests)
{
	json_int_t replayed = number_of(requests, "replayed");
	json_int_t poisoned = number_of(requests, "poisoned");
	json_int_t fenced_ms = number_of(requests, "fenced_ms");
	char *text;

	if (replayed <= 0 && poisoned <= 0)
		return NULL;
	if (asprintf(&text,
		     "%" JSON_INTEGER_FORMAT " requests carried out again, "
		     "%" JSON_INTEGER_FORMAT " given up, "
		     "%" JSON_INTEGER_FORMAT "ms waited for I/O under way",
		     replayed, poisoned, fenced_ms) < 0)
		return NULL;
	return text;
}

static bool fill_row(struct table_row *row, const json_t *vbd)
{
	const json_t *requests = json_object_get(vbd, "requests");
	char **cell = row->cells;

	*cell++ = cell_domain(vbd);
	*cell++ = cell_text(vbd, "vdev");
	*cell++ = number_cell(requests, "read", "");
	*cell++ = number_cell(requests, "write", "");
	*cell++ = number_cell(requests, "flush", "");
	*cell++ = number_cell(requests, "discard", "");
	*cell++ = number_cell(requests, "errors", "");
	*cell++ = cell_size(json_object_get(requests, "read_bytes"));
	*cell++ = cell_size(json_object_get(requests, "written_bytes"));
	*cell++ = in_flight_cell(requests);
	*cell++ = number_cell(requests, "grants_mapped", "");
	*cell++ = number_cell(requests, "throttled_ms", "ms");
	row->notes[0].label = "limits";
	row->notes[0].text = limits_note(vbd);
	row->notes[1].label = "server";
	row->notes[1].text = cell_server(vbd);
	row->notes[2].label = "deaths";
	row->notes[2].text = deaths_note(requests);
	return true;
}

static const struct table_columns stat_columns = {
	.count = 12,
	.titles = { "DOMAIN", "VDEV", "READS", "WRITES", "FLUSHES", "DISCARDS",
		    "ERRORS", "READ", "WRITTEN", "INFLIGHT", "GRANTS",
		    "THROTTLED" },
	.fill = fill_row,
};

/* ---- one second of it ------------------------------------------------------ */

/* What counts on; the other numbers are how it is now. */
static const char *const counters[] = {
	"read",     "write",      "flush",         "discard",
	"errors",   "read_bytes", "written_bytes", "discarded_bytes",
	"replayed", "poisoned",   "fenced_ms",     "throttled_ms",
};

/* A number that has become less began anew meanwhile. */
static void to_rates(json_t *now, const json_t *before, uint64_t elapsed_ns)
{
	for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
		json_int_t n = number_of(now, counters[i]);
		json_int_t o = number_of(before, counters[i]);
		double more = (double)(n < o ? n : n - o);

		if (json_is_object(now))
			json_object_set_new(
				now, counters[i],
				json_integer((
					json_int_t)(more * 1e9 /
							    (double)elapsed_ns +
						    0.5)));
	}
}

/* The same disk in an earlier answer, or NULL. */
static const json_t *find_vbd(const json_t *vbds, const json_t *vbd)
{
	const char *path = member_text(vbd, "path");

	for (size_t i = 0; i < json_array_size(vbds); i++) {
		const json_t *other = json_array_get(vbds, i);

		if (strcmp(member_text(other, "path"), path) == 0)
			return other;
	}
	return NULL;
}

/* Turns the counters of all disks, and of their queues, into rates. */
static void vbds_to_rates(json_t *vbds, const json_t *before,
			  uint64_t elapsed_ns)
{
	for (size_t i = 0; i < json_array_size(vbds); i++) {
		json_t *vbd = json_array_get(vbds, i);
		const json_t *old = find_vbd(before, vbd);
		json_t *queues = json_object_get(vbd, "queues");
		const json_t *old_queues = json_object_get(old, "queues");

		to_rates(json_object_get(vbd, "requests"),
			 json_object_get(old, "requests"), elapsed_ns);
		for (size_t q = 0; q < json_array_size(queues); q++)
			to_rates(json_array_get(queues, q),
				 json_array_get(old_queues, q), elapsed_ns);
	}
}

/* ---- the command ------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	const struct timespec until = { .tv_sec = (time_t)(ns / NS_PER_S),
					.tv_nsec = (long)(ns % NS_PER_S) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
		;
}

static int ask(const struct arguments *arguments,
	       const struct client_patience *patience, json_t **ret_vbds)
{
	json_t *request = json_pack("{s:s}", "command", "stat");
	char **operands = arguments->operands;

	if (arguments->operand_count &&
	    (json_object_set_new(request, "domain", json_string(operands[0])) <
		     0 ||
	     json_object_set_new(request, "vdev", json_string(operands[1])) <
		     0)) {
		json_decref(request);
		request = NULL;
	}
	return command_ask_vbds(arguments, patience, request, ret_vbds);
}

static int print(const struct arguments *arguments, const json_t *vbds)
{
	int code = arguments->values[OPTION_JSON]
			   ? table_print_json(vbds)
			   : table_print(&stat_columns, vbds);

	/* Somebody may be looking; and nobody, if it cannot be written. */
	if (code == EXIT_CODE_DONE && fflush(stdout) != 0)
		code = EXIT_CODE_FAILED;
	return code;
}

/* Until it is interrupted, or something fails. */
static int watch(const struct arguments *arguments, uint64_t interval_s)
{
	json_t *before = NULL, *vbds = NULL, *rates;
	uint64_t start = now_ns(), last = start, now;
	int code = ask(arguments, &patience_watch, &before);

	for (uint64_t i = 1; code == EXIT_CODE_DONE; i++) {
		sleep_until(start + i * interval_s * NS_PER_S);
		code = ask(arguments, &patience_watch, &vbds);
		if (code != EXIT_CODE_DONE)
			break;
		now = now_ns();
		rates = json_deep_copy(vbds);
		vbds_to_rates(rates, before, now - last);
		code = print(arguments, rates);
		json_decref(rates);
		json_decref(before);
		before = vbds;
		last = now;
	}
	json_decref(before);
	return code;
}

static int run_stat(const struct arguments *arguments)
{
	const char *interval = arguments->values[OPTION_WATCH];
	uint64_t interval_s = 0;
	json_t *vbds = NULL;
	int code;

	if (arguments->operand_count == 1) {
		complain("stat: DOMAIN and VDEV go together");
		return EXIT_CODE_USAGE;
	}
	if (!interval) {
		code = ask(arguments, &patience_once, &vbds);
		if (code == EXIT_CODE_DONE)
			code = print(arguments, vbds);
		json_decref(vbds);
		return code;
	}
	if (number_parse(interval, WATCH_MAX_S, &interval_s) < 0 ||
	    !interval_s) {
		complain("stat: --watch=%s: not from 1 to %u seconds", interval,
			 WATCH_MAX_S);
		return EXIT_CODE_USAGE;
	}
	return watch(arguments, interval_s);
}

const struct command command_stat = {
	.name = "stat",
	.operands = "[DOMAIN VDEV]",
	.max_operands = 2,
	.summary = "show what guests do with their disks",
	.description =
		"Shows what guests have done with their disks since these "
		"were attached: with\nall, or with VDEV (xvdb) of DOMAIN (a "
		"name or an id).  With --watch, shows\nevery so many seconds "
		"how much it was in a second, until it is interrupted.",
	.options = OPTION_BIT(OPTION_SOCKET) | OPTION_BIT(OPTION_JSON) |
		   OPTION_BIT(OPTION_WATCH),
	.run = run_stat,
};
