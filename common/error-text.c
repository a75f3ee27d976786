/* SPDX-License-Identifier: BSD-2-Clause */
/* Formatting of messages that travel beside an errno. */
#include "common/error-text.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct error_text *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}
