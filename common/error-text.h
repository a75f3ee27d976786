/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A message for a person that travels beside an errno: what could not be
 * done, to which thing, and why.  Filled by whoever knows the cause; printed
 * once by whoever handles it.
 */
#ifndef XEN_DISKD_ERROR_TEXT_H
#define XEN_DISKD_ERROR_TEXT_H

/* Long enough for a path of 4096 bytes to be cut, never for one to fit. */
#define ERROR_TEXT_BYTES 512

struct error_text {
	char text[ERROR_TEXT_BYTES];
};

/*
 * Formats the message (cut at its size) and returns code, a negative errno,
 * so that `return error_set(err, -EINVAL, "…")` is one line.
 */
int error_set(struct error_text *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
