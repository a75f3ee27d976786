/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Escaping of untrusted text for a terminal: a small UTF-8 reader and the
 * list of code points that are never written raw.
 */
#include "diskctl/printable.h"

#include <langinfo.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* Bytes of "\xNN". */
#define ESCAPE_BYTES 4

struct code_point_range {
	uint32_t first;
	uint32_t last;
};

/*
 * C0, DEL and C1 drive the terminal; the rest reorder or break a line, with
 * which a path could be made to read as another.
 */
static const struct code_point_range unsafe_ranges[] = {
	{ 0x0000, 0x001f }, { 0x007f, 0x009f }, { 0x061c, 0x061c },
	{ 0x200e, 0x200f }, { 0x2028, 0x202e }, { 0x2066, 0x2069 },
};

static bool code_point_is_unsafe(uint32_t c)
{
	for (size_t i = 0; i < sizeof(unsafe_ranges) / sizeof(*unsafe_ranges);
	     i++)
		if (c >= unsafe_ranges[i].first && c <= unsafe_ranges[i].last)
			return true;
	return false;
}

/* Bytes that a sequence with this lead byte has; 0 if none starts so. */
static size_t utf8_length(unsigned char lead)
{
	if (lead < 0x80)
		return 1;
	if (lead >= 0xc2 && lead <= 0xdf)
		return 2;
	if (lead >= 0xe0 && lead <= 0xef)
		return 3;
	if (lead >= 0xf0 && lead <= 0xf4)
		return 4;
	return 0;
}

static bool utf8_is_valid(size_t length, uint32_t c)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

	return c >= smallest[length] && c <= 0x10ffff &&
	       !(c >= 0xd800 && c <= 0xdfff);
}

/*
 * Reads the character at text: its length in bytes, or 0 if it is malformed.
 * The terminating NUL stops it, as it is no continuation byte.
 */
static size_t utf8_read(const char *text, uint32_t *ret_code_point)
{
	static const unsigned char lead_bits[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
	size_t length = utf8_length((unsigned char)text[0]);
	uint32_t c = (unsigned char)text[0] & lead_bits[length];

	for (size_t i = 1; i < length; i++) {
		unsigned char next = (unsigned char)text[i];

		if ((next & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (next & 0x3f);
	}
	if (!length || !utf8_is_valid(length, c))
		return 0;
	*ret_code_point = c;
	return length;
}

static size_t escape_bytes(char *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		snprintf(out + i * ESCAPE_BYTES, ESCAPE_BYTES + 1, "\\x%02x",
			 (unsigned int)(unsigned char)text[i]);
	return length * ESCAPE_BYTES;
}

char *printable_new(const char *text)
{
	bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	char *out = calloc(strlen(text) + 1, ESCAPE_BYTES);
	size_t used = 0;

	if (!out)
		return NULL;
	while (*text) {
		uint32_t c = 0;
		size_t length = utf8_read(text, &c);

		if (!length || code_point_is_unsafe(c) || (c > 0x7f && !utf8)) {
			length = length ? length : 1;
			used += escape_bytes(out + used, text, length);
		} else {
			if (c == '\\')
				out[used++] = '\\';
			memcpy(out + used, text, length);
			used += length;
		}
		text += length;
	}
	return out;
}

size_t printable_columns(const char *text)
{
	size_t bytes = strlen(text);
	wchar_t *wide = calloc(bytes + 1, sizeof(*wide));
	int columns = -1;

	if (wide && mbstowcs(wide, text, bytes + 1) != (size_t)-1)
		columns = wcswidth(wide, bytes);
	free(wide);
	/* Not every character has a known width: misalign, do not fail. */
	return columns < 0 ? bytes : (size_t)columns;
}
