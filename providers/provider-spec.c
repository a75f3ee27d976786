/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking provider specs apart. */
#include "providers/provider-spec.h"

#include "common/number.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '+' || c == '.';
}

int provider_spec_name(const char *target, char name[PROVIDER_NAME_BYTES],
		       struct error_text *err)
{
	size_t len = 0;

	if (!*target)
		return error_set(err, -EINVAL, "the target is empty");
	if (*target == '/') {
		strcpy(name, "file");
		return 0;
	}
	while (is_name_char(target[len]))
		len++;
	if (!len || target[len] != ':')
		return error_set(err, -EINVAL,
				 "target '%s': neither an absolute path nor "
				 "PROVIDER:...",
				 target);
	if (len >= PROVIDER_NAME_BYTES)
		return error_set(err, -EINVAL,
				 "target '%s': no provider has so long a name",
				 target);
	memcpy(name, target, len);
	name[len] = '\0';
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes %XX in place.  A zero byte cannot be meant and is refused. */
static int percent_decode(char *text, const char *target,
			  struct error_text *err)
{
	char *out = text;

	for (const char *in = text; *in; in++) {
		int high, low;

		if (*in != '%') {
			*out++ = *in;
			continue;
		}
		high = hex_value(in[1]);
		low = high < 0 ? -1 : hex_value(in[2]);
		if (low < 0 || high * 16 + low == 0)
			return error_set(err, -EINVAL,
					 "target '%s': bad percent-encoding "
					 "at '%.3s'",
					 target, in);
		*out++ = (char)(high * 16 + low);
		in += 2;
	}
	*out = '\0';
	return 0;
}

static int option_parse(struct provider_spec *spec, char *text,
			const char *target, struct error_text *err)
{
	struct provider_option *option = &spec->options[spec->nr_options];
	char *equals = strchr(text, '=');

	if (!equals || equals == text)
		return error_set(err, -EINVAL,
				 "target '%s': '%s' is not KEY=VALUE", target,
				 text);
	if (spec->nr_options == PROVIDER_SPEC_OPTIONS)
		return error_set(err, -E2BIG,
				 "target '%s': more than %d options", target,
				 PROVIDER_SPEC_OPTIONS);
	*equals = '\0';
	for (unsigned int i = 0; i < spec->nr_options; i++) {
		if (!strcmp(spec->options[i].key, text))
			return error_set(err, -EINVAL,
					 "target '%s': option '%s' is given "
					 "twice",
					 target, text);
	}
	*option = (struct provider_option){ .key = text, .value = equals + 1 };
	spec->nr_options++;
	return percent_decode(equals + 1, target, err);
}

static int options_parse(struct provider_spec *spec, char *text,
			 const char *target, struct error_text *err)
{
	char *save = NULL;
	int rc = 0;

	for (char *word = strtok_r(text, "&", &save); word && !rc;
	     word = strtok_r(NULL, "&", &save))
		rc = option_parse(spec, word, target, err);
	return rc;
}

int provider_spec_parse(const char *target, bool has_path,
			struct provider_spec *ret_spec, struct error_text *err)
{
	struct provider_spec *spec = ret_spec;
	char *rest, *options;
	int rc;

	memset(spec, 0, sizeof(*spec));
	rc = provider_spec_name(target, spec->name, err);
	if (rc < 0)
		return rc;
	if (strlen(target) >= sizeof(spec->text))
		return error_set(err, -ENAMETOOLONG,
				 "target '%.64s...': longer than %d bytes",
				 target, PROVIDER_SPEC_BYTES - 1);
	strcpy(spec->text, target);
	if (*target == '/') {
		spec->path = spec->text;
		return 0;
	}
	rest = strchr(spec->text, ':') + 1;
	if (!has_path)
		return options_parse(spec, rest, target, err);
	options = strchr(rest, '?');
	if (options)
		*options++ = '\0';
	spec->path = rest;
	rc = percent_decode(rest, target, err);
	if (rc < 0 || !options)
		return rc;
	return options_parse(spec, options, target, err);
}

const char *provider_spec_option(struct provider_spec *spec, const char *key)
{
	for (unsigned int i = 0; i < spec->nr_options; i++) {
		if (!strcmp(spec->options[i].key, key)) {
			spec->options[i].taken = true;
			return spec->options[i].value;
		}
	}
	return NULL;
}

int provider_spec_flag(struct provider_spec *spec, const char *key,
		       bool *ret_value, struct error_text *err)
{
	const char *value = provider_spec_option(spec, key);

	if (!value || !strcmp(value, "no")) {
		*ret_value = false;
		return 0;
	}
	if (!strcmp(value, "yes")) {
		*ret_value = true;
		return 0;
	}
	return error_set(err, -EINVAL, "option %s=%s: neither yes nor no", key,
			 value);
}

/* More than any disk does; a request's cost in time stays a whole number. */
#define IOPS_MAX UINT64_C(10000000)
#define BPS_MAX (UINT64_C(1) << 36)
/* A large request would wait for minutes. */
#define BPS_MIN UINT64_C(4096)

int block_limits_set(struct block_limits *limits, const char *key,
		     const char *text, struct error_text *err)
{
	bool is_bps = !strcmp(key, "bps");
	uint64_t min = is_bps ? BPS_MIN : 1, value;
	uint64_t max = is_bps ? BPS_MAX : IOPS_MAX;
	int rc = is_bps ? number_parse_size(text, &value)
			: number_parse(text, max, &value);

	if (rc == -EINVAL)
		return error_set(err, rc, "%s=%s: not a %s", key, text,
				 is_bps ? "size" : "number");
	if (rc < 0 || value > max || (value && value < min))
		return error_set(err, -ERANGE,
				 "%s=%s: neither 0 nor from %llu to %llu", key,
				 text, (unsigned long long)min,
				 (unsigned long long)max);
	*(is_bps ? &limits->bps : &limits->iops) = value;
	return 0;
}

int provider_spec_limits(struct provider_spec *spec,
			 struct block_limits *ret_limits,
			 struct error_text *err)
{
	static const char *const keys[] = { "iops", "bps" };
	int rc = 0;

	*ret_limits = (struct block_limits){ 0 };
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && !rc; i++) {
		const char *text = provider_spec_option(spec, keys[i]);

		if (text)
			rc = block_limits_set(ret_limits, keys[i], text, err);
	}
	return rc;
}

int provider_spec_all_taken(const struct provider_spec *spec,
			    struct error_text *err)
{
	for (unsigned int i = 0; i < spec->nr_options; i++) {
		if (!spec->options[i].taken)
			return error_set(err, -EINVAL,
					 "provider %s has no option '%s'",
					 spec->name, spec->options[i].key);
	}
	return 0;
}
