/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Logging to standard error, one line a message, safe from any thread.
 *
 * An error is logged once, where it is handled, as "subject: verb 'object':
 * cause".  Under systemd each line starts with its syslog priority in angle
 * brackets (sd-daemon(3)); elsewhere with a time stamp.  Control characters
 * in a message are written as \xNN, so that a guest or a path cannot forge
 * lines.
 */
#ifndef XEN_DISKD_LOG_H
#define XEN_DISKD_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Values are those of syslog(3). */
enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/*
 * Names the program in each line and sets the least urgent level that is
 * written.  Called once, before any thread is started.
 */
void log_open(const char *program, enum log_level level);

/* Parses "error", "warning", "info" or "debug"; -EINVAL for anything else. */
int log_level_parse(const char *text, enum log_level *ret_level);

/* The name log_level_parse() takes for a level. */
const char *log_level_name(enum log_level level);

enum log_level log_level_current(void);

void log_write(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A budget for messages that a guest can cause: at most `burst` lines in each
 * interval, then one line that says how many were left out.
 */
struct log_limit {
	uint64_t interval_start_ms;
	unsigned int written, dropped;
};

#define LOG_LIMIT_INTERVAL_MS 5000u
#define LOG_LIMIT_BURST 10u

/* True when the caller may write its line now. */
bool log_limit_pass(struct log_limit *limit);

#endif
