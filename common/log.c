/* SPDX-License-Identifier: BSD-2-Clause */
/* Logging to standard error: formatting, escaping and the rate limit. */
#include "common/log.h"

#include "common/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES 1024

static struct {
	const char *program;
	enum log_level level;
	bool priorities;
} log_state = { "xen-diskd", LOG_LEVEL_INFO, false };

static const struct {
	const char *name;
	enum log_level level;
} level_names[] = {
	{ "error", LOG_LEVEL_ERROR },
	{ "warning", LOG_LEVEL_WARNING },
	{ "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },
};

#define NR_LEVELS (sizeof(level_names) / sizeof(level_names[0]))

void log_open(const char *program, enum log_level level)
{
	log_state.program = program;
	log_state.level = level;
	log_state.priorities = getenv("JOURNAL_STREAM") != NULL;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
	for (size_t i = 0; i < NR_LEVELS; i++) {
		if (!strcmp(text, level_names[i].name)) {
			*ret_level = level_names[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	for (size_t i = 0; i < NR_LEVELS; i++) {
		if (level == level_names[i].level)
			return level_names[i].name;
	}
	return "?";
}

enum log_level log_level_current(void)
{
	return log_state.level;
}

/* Writes the start of a line: priority or time stamp, then the program. */
static size_t line_prefix(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm tm;
	int n;

	if (log_state.priorities) {
		n = snprintf(line, size, "<%d>%s: ", (int)level,
			     log_state.program);
		return n > 0 ? (size_t)n : 0;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = snprintf(line, size, "%02d:%02d:%02d.%03ld %s: %s: ", tm.tm_hour,
		     tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000,
		     log_state.program, log_level_name(level));
	return n > 0 ? (size_t)n : 0;
}

/* Appends text with control characters as \xNN; returns the new length. */
static size_t line_append_escaped(char *line, size_t used, size_t size,
				  const char *text)
{
	static const char hex[] = "0123456789abcdef";

	for (; *text && used + 5 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != 0x7f) {
			line[used++] = (char)c;
			continue;
		}
		line[used++] = '\\';
		line[used++] = 'x';
		line[used++] = hex[c >> 4];
		line[used++] = hex[c & 15];
	}
	return used;
}

void log_write(enum log_level level, const char *fmt, ...)
{
	char text[LOG_LINE_BYTES], line[2 * LOG_LINE_BYTES];
	size_t used;
	va_list ap;

	if (level > log_state.level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	used = line_prefix(line, sizeof(line), level);
	used = line_append_escaped(line, used, sizeof(line), text);
	line[used++] = '\n';
	/* One write, so that lines of several processes do not mix. */
	if (write(STDERR_FILENO, line, used) < 0)
		return; /* There is nowhere left to say it. */
}

bool log_limit_pass(struct log_limit *limit)
{
	uint64_t now = clock_now_ms();

	if (now - limit->interval_start_ms >= LOG_LIMIT_INTERVAL_MS) {
		if (limit->dropped)
			log_warning("%u messages like the next left out",
				    limit->dropped);
		limit->interval_start_ms = now;
		limit->written = limit->dropped = 0;
	}
	if (limit->written >= LOG_LIMIT_BURST) {
		limit->dropped++;
		return false;
	}
	limit->written++;
	return true;
}
