/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking NBD specs apart. */
#include "nbd-client/nbd-target.h"

#include "common/number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_RECONNECT_MS 5000u
#define DEFAULT_REPLY_TIMEOUT_MS 30000u
#define DEFAULT_FENCE_MS 10000u
#define CONNECTIONS_MAX 16u
#define SECONDS_MAX UINT32_MAX
/* One request of the largest size has to fit. */
#define DIRTY_BYTES_MIN (UINT64_C(2) << 20)
#define DIRTY_BYTES_MAX (UINT64_C(4) << 30)

static int bad(const struct provider_spec *spec, const char *what,
	       struct error_text *err)
{
	return error_set(err, -EINVAL, "provider %s: '%s': %s", spec->name,
			 spec->path, what);
}

static int copy_part(char *to, size_t nr_bytes, const char *from, size_t length)
{
	if (length >= nr_bytes)
		return -ENAMETOOLONG;
	memcpy(to, from, length);
	to[length] = '\0';
	return 0;
}

/* "[::1]:10809", "host:10809", "host": the host, and what follows it. */
static int parse_host(const char *text, size_t length,
		      struct nbd_target *target, const char **ret_rest)
{
	const char *end = text + length, *host_end;
	int rc;

	if (length && text[0] == '[') {
		host_end = memchr(text, ']', length);
		if (!host_end)
			return -EINVAL;
		rc = copy_part(target->host, sizeof(target->host), text + 1,
			       (size_t)(host_end - text - 1));
		*ret_rest = host_end + 1;
		return rc;
	}
	host_end = memchr(text, ':', length);
	if (!host_end)
		host_end = end;
	*ret_rest = host_end;
	return copy_part(target->host, sizeof(target->host), text,
			 (size_t)(host_end - text));
}

static int parse_port(const char *text, size_t length,
		      struct nbd_target *target)
{
	uint64_t port;
	int rc;

	if (length == 0) {
		strcpy(target->port, NBD_DEFAULT_PORT);
		return 0;
	}
	if (text[0] != ':')
		return -EINVAL;
	rc = copy_part(target->port, sizeof(target->port), text + 1,
		       length - 1);
	if (rc == 0)
		rc = number_parse(target->port, UINT16_MAX, &port);
	return rc == 0 && port == 0 ? -EINVAL : rc;
}

/* Who a pre-shared key is for. */
static int parse_user(const struct provider_spec *spec, const char *text,
		      size_t length, struct nbd_target *target,
		      struct error_text *err)
{
	if (!target->tls)
		return bad(spec, "a user's name is for TLS, nbds://", err);
	if (copy_part(target->tls_username, sizeof(target->tls_username), text,
		      length) < 0)
		return bad(spec, "the user's name is too long", err);
	return 0;
}

/* [user@]host[:port] */
static int parse_authority(const struct provider_spec *spec, const char *text,
			   size_t length, struct nbd_target *target,
			   struct error_text *err)
{
	const char *at = memchr(text, '@', length), *rest;

	if (at) {
		int rc = parse_user(spec, text, (size_t)(at - text), target,
				    err);

		if (rc < 0)
			return rc;
		length -= (size_t)(at + 1 - text);
		text = at + 1;
	}
	if (target->is_unix)
		return length ? bad(spec,
				    "a host with a Unix socket; three "
				    "slashes, nbd+unix:///EXPORT",
				    err)
			      : 0;
	if (parse_host(text, length, target, &rest) < 0 || !target->host[0])
		return bad(spec, "no host", err);
	if (parse_port(rest, (size_t)(text + length - rest), target) < 0)
		return bad(spec, "what follows the host is no port", err);
	return 0;
}

static int parse_path(const struct provider_spec *spec,
		      struct nbd_target *target, struct error_text *err)
{
	const char *authority = spec->path + 2;
	const char *slash;
	int rc;

	if (strncmp(spec->path, "//", 2) != 0)
		return bad(spec, "not an NBD URI, nbd://HOST/EXPORT", err);
	slash = strchr(authority, '/');
	rc = parse_authority(spec, authority,
			     slash ? (size_t)(slash - authority)
				   : strlen(authority),
			     target, err);
	if (rc < 0 || !slash)
		return rc;
	if (copy_part(target->export_name, sizeof(target->export_name),
		      slash + 1, strlen(slash + 1)) < 0)
		return bad(spec, "the export's name is too long", err);
	return 0;
}

static int parse_socket(struct provider_spec *spec, struct nbd_target *target,
			struct error_text *err)
{
	const char *path = provider_spec_option(spec, "socket");

	if (!target->is_unix)
		return path ? bad(spec, "socket= is for nbd+unix", err) : 0;
	if (!path || path[0] != '/')
		return bad(spec, "socket= with an absolute path is needed",
			   err);
	if (copy_part(target->socket, sizeof(target->socket), path,
		      strlen(path)) < 0)
		return bad(spec, "socket= is too long", err);
	return 0;
}

/* An option of TLS with an absolute path. */
static int take_tls_path(struct provider_spec *spec, const char *key,
			 char path[NBD_PATH_BYTES], struct error_text *err)
{
	const char *value = provider_spec_option(spec, key);

	if (!value)
		return 0;
	if (value[0] != '/' ||
	    copy_part(path, NBD_PATH_BYTES, value, strlen(value)) < 0)
		return error_set(err, -EINVAL,
				 "provider %s: %s=%s is not an absolute path",
				 spec->name, key, value);
	return 0;
}

static int take_tls_username(struct provider_spec *spec,
			     struct nbd_target *target, struct error_text *err)
{
	const char *user = provider_spec_option(spec, "tls-username");

	if (user &&
	    copy_part(target->tls_username, sizeof(target->tls_username), user,
		      strlen(user)) < 0)
		return bad(spec, "tls-username= is too long", err);
	return 0;
}

/* Our own words, and those of the NBD URI specification. */
static int take_tls_verify_peer(struct provider_spec *spec,
				struct nbd_target *target,
				struct error_text *err)
{
	static const char *const words[] = { "no", "yes",   "0",
					     "1",  "false", "true" };
	const char *verify = provider_spec_option(spec, "tls-verify-peer");

	target->tls_verify_peer = true;
	if (!verify)
		return 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(verify, words[i]) == 0) {
			target->tls_verify_peer = i % 2;
			return 0;
		}
	}
	return bad(spec, "tls-verify-peer= is neither yes nor no", err);
}

/* Without TLS its options are not taken, and so refused. */
static int parse_tls(struct provider_spec *spec, struct nbd_target *target,
		     struct error_text *err)
{
	int rc;

	if (!target->tls)
		return 0;
	rc = take_tls_path(spec, "tls-certificates", target->tls_certificates,
			   err);
	if (rc == 0)
		rc = take_tls_path(spec, "tls-psk-file", target->tls_psk_file,
				   err);
	if (rc == 0)
		rc = take_tls_username(spec, target, err);
	return rc < 0 ? rc : take_tls_verify_peer(spec, target, err);
}

/* A time in whole seconds. */
static int take_seconds(struct provider_spec *spec, const char *key,
			uint64_t *ret_ms, struct error_text *err)
{
	const char *value = provider_spec_option(spec, key);
	uint64_t seconds;

	if (!value)
		return 0;
	if (number_parse(value, SECONDS_MAX, &seconds) < 0)
		return error_set(err, -EINVAL,
				 "provider %s: %s=%s is not a number of "
				 "seconds",
				 spec->name, key, value);
	*ret_ms = seconds * 1000;
	return 0;
}

static int take_dirty(struct provider_spec *spec, struct nbd_target *target,
		      struct error_text *err)
{
	const char *value = provider_spec_option(spec, "dirty");

	if (!value)
		return 0;
	if (number_parse_size(value, &target->dirty_bytes) < 0 ||
	    target->dirty_bytes < DIRTY_BYTES_MIN ||
	    target->dirty_bytes > DIRTY_BYTES_MAX)
		return error_set(err, -EINVAL,
				 "provider %s: dirty=%s is not a size from 2M "
				 "to 4G",
				 spec->name, value);
	return 0;
}

static int take_connections(struct provider_spec *spec,
			    struct nbd_target *target, struct error_text *err)
{
	const char *connections = provider_spec_option(spec, "connections");
	uint64_t number = 1;

	if (connections &&
	    (number_parse(connections, CONNECTIONS_MAX, &number) < 0 ||
	     number == 0))
		return error_set(err, -EINVAL,
				 "provider %s: connections=%s is not a number "
				 "from 1 to %u",
				 spec->name, connections, CONNECTIONS_MAX);
	target->connections = (unsigned int)number;
	return 0;
}

static int take_fua(struct provider_spec *spec, struct nbd_target *target,
		    struct error_text *err)
{
	const char *fua = provider_spec_option(spec, "fua");

	if (fua && strcmp(fua, "on") != 0 && strcmp(fua, "off") != 0)
		return error_set(err, -EINVAL,
				 "provider %s: fua=%s is neither 'on' nor "
				 "'off'",
				 spec->name, fua);
	target->fua = fua && strcmp(fua, "on") == 0;
	return 0;
}

static int parse_own_options(struct provider_spec *spec,
			     struct nbd_target *target, struct error_text *err)
{
	int rc;

	target->timeout_ms = NBD_NO_TIMEOUT;
	target->reconnect_ms = DEFAULT_RECONNECT_MS;
	target->reply_timeout_ms = DEFAULT_REPLY_TIMEOUT_MS;
	target->fence_ms = DEFAULT_FENCE_MS;
	target->dirty_bytes = NBD_DEFAULT_DIRTY_BYTES;
	rc = take_seconds(spec, "timeout", &target->timeout_ms, err);
	if (rc == 0)
		rc = take_seconds(spec, "reconnect", &target->reconnect_ms,
				  err);
	if (rc == 0)
		rc = take_seconds(spec, "reply-timeout",
				  &target->reply_timeout_ms, err);
	if (rc == 0)
		rc = take_seconds(spec, "fence", &target->fence_ms, err);
	if (rc == 0)
		rc = take_dirty(spec, target, err);
	if (rc == 0)
		rc = take_connections(spec, target, err);
	return rc < 0 ? rc : take_fua(spec, target, err);
}

int nbd_target_parse(struct provider_spec *spec, struct nbd_target *ret_target,
		     struct error_text *err)
{
	struct nbd_target *target = ret_target;
	int rc;

	memset(target, 0, sizeof(*target));
	target->tls = strncmp(spec->name, "nbds", 4) == 0;
	target->is_unix = strstr(spec->name, "+unix") != NULL;
	rc = parse_path(spec, target, err);
	if (rc == 0)
		rc = parse_socket(spec, target, err);
	if (rc == 0)
		rc = parse_tls(spec, target, err);
	return rc < 0 ? rc : parse_own_options(spec, target, err);
}

void nbd_target_server(const struct nbd_target *target, char *text,
		       size_t nr_bytes)
{
	if (target->is_unix)
		snprintf(text, nr_bytes, "%s", target->socket);
	else if (strchr(target->host, ':'))
		snprintf(text, nr_bytes, "[%s]:%s", target->host, target->port);
	else
		snprintf(text, nr_bytes, "%s:%s", target->host, target->port);
}
