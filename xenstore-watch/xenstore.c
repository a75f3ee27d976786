/* SPDX-License-Identifier: BSD-2-Clause */
/* XenStore over libxenstore. */
#include "xenstore-watch/xenstore.h"

#include "common/cleanup.h"
#include "common/number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct xenstore {
	struct xs_handle *xsh;
	struct list watches;
	uint64_t last_token;
};

#define TOKEN_BYTES 21

int xenstore_open(struct xenstore **ret_xs)
{
	struct xenstore *xs = calloc(1, sizeof(*xs));
	int rc;

	if (!xs)
		return -ENOMEM;
	xs->xsh = xs_open(0);
	if (!xs->xsh) {
		rc = errno ? -errno : -EIO;
		free(xs);
		return rc;
	}
	list_init(&xs->watches);
	*ret_xs = xs;
	return 0;
}

void xenstore_close(struct xenstore *xs)
{
	if (!xs)
		return;
	xs_close(xs->xsh);
	free(xs);
}

int xenstore_fd(const struct xenstore *xs)
{
	return xs_fileno(xs->xsh);
}

/* The token names the watch, never a pointer: a stale event may follow. */
static void watch_token(const struct xenstore_watch *watch, char *token)
{
	snprintf(token, TOKEN_BYTES, "%" PRIu64, watch->token);
}

int xenstore_watch(struct xenstore *xs, struct xenstore_watch *watch)
{
	char token[TOKEN_BYTES];

	watch->token = ++xs->last_token;
	watch_token(watch, token);
	if (!xs_watch(xs->xsh, watch->path, token)) {
		watch->token = 0;
		return -errno;
	}
	list_add_tail(&xs->watches, &watch->node);
	return 0;
}

void xenstore_unwatch(struct xenstore *xs, struct xenstore_watch *watch)
{
	char token[TOKEN_BYTES];

	if (!watch->token)
		return;
	watch_token(watch, token);
	xs_unwatch(xs->xsh, watch->path, token);
	list_del(&watch->node);
	watch->token = 0;
}

static struct xenstore_watch *watch_find(struct xenstore *xs, const char *token)
{
	uint64_t number;

	if (number_parse(token, UINT64_MAX, &number) < 0)
		return NULL;
	list_for_each_safe(it, tmp, &xs->watches) {
		struct xenstore_watch *watch =
			container_of(it, struct xenstore_watch, node);

		if (watch->token == number)
			return watch;
	}
	return NULL;
}

int xenstore_dispatch(struct xenstore *xs)
{
	for (;;) {
		struct xenstore_watch *watch;
		cleanup_free char **event = NULL;

		errno = 0;
		event = xs_check_watch(xs->xsh);
		if (!event)
			return errno == EAGAIN || !errno ? 0 : -EPIPE;
		watch = watch_find(xs, event[XS_WATCH_TOKEN]);
		if (watch)
			watch->fired(watch, event[XS_WATCH_PATH]);
	}
}

int xenstore_transaction(struct xenstore *xs, xenstore_body *body, void *arg)
{
	for (unsigned int i = 0; i < XENSTORE_TX_TRIES; i++) {
		xs_transaction_t tx = xs_transaction_start(xs->xsh);
		int rc;

		if (tx == XBT_NULL)
			return -errno;
		rc = body(xs, tx, arg);
		if (rc < 0) {
			xs_transaction_end(xs->xsh, tx, true);
			return rc;
		}
		if (xs_transaction_end(xs->xsh, tx, false))
			return 0;
		if (errno != EAGAIN)
			return -errno;
	}
	return -EAGAIN;
}

/* dir/key, or dir alone when key is NULL; -ENAMETOOLONG if it is cut. */
static int node_path(char path[XENSTORE_PATH_BYTES], const char *dir,
		     const char *key)
{
	int n = key ? snprintf(path, XENSTORE_PATH_BYTES, "%s/%s", dir, key)
		    : snprintf(path, XENSTORE_PATH_BYTES, "%s", dir);

	return n < 0 || n >= XENSTORE_PATH_BYTES ? -ENAMETOOLONG : 0;
}

int xenstore_read(struct xenstore *xs, xs_transaction_t tx, const char *dir,
		  const char *key, char *value, size_t value_bytes)
{
	char path[XENSTORE_PATH_BYTES];
	cleanup_free char *data = NULL;
	unsigned int len;
	int rc = node_path(path, dir, key);

	if (rc < 0)
		return rc;
	data = xs_read(xs->xsh, tx, path, &len);
	if (!data)
		return -errno;
	if (memchr(data, '\0', len))
		return -EINVAL;
	if (len >= value_bytes)
		return -ENAMETOOLONG;
	memcpy(value, data, len);
	value[len] = '\0';
	return 0;
}

int xenstore_read_number(struct xenstore *xs, xs_transaction_t tx,
			 const char *dir, const char *key, uint64_t max,
			 uint64_t *ret_value)
{
	char text[32];
	int rc = xenstore_read(xs, tx, dir, key, text, sizeof(text));

	if (rc == -ENAMETOOLONG)
		return -EINVAL;
	return rc < 0 ? rc : number_parse(text, max, ret_value);
}

int xenstore_write(struct xenstore *xs, xs_transaction_t tx, const char *dir,
		   const char *key, const char *value)
{
	char path[XENSTORE_PATH_BYTES];
	size_t len = strlen(value);
	int rc = node_path(path, dir, key);

	if (rc < 0)
		return rc;
	if (len >= XENSTORE_VALUE_BYTES)
		return -E2BIG;
	return xs_write(xs->xsh, tx, path, value, (unsigned int)len) ? 0
								     : -errno;
}

int xenstore_printf(struct xenstore *xs, xs_transaction_t tx, const char *dir,
		    const char *key, const char *fmt, ...)
{
	char value[XENSTORE_VALUE_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(value))
		return -E2BIG;
	return xenstore_write(xs, tx, dir, key, value);
}

int xenstore_remove(struct xenstore *xs, xs_transaction_t tx, const char *path)
{
	if (xs_rm(xs->xsh, tx, path) || errno == ENOENT)
		return 0;
	return -errno;
}

int xenstore_mkdir(struct xenstore *xs, xs_transaction_t tx, const char *path,
		   uint16_t owner, uint16_t reader)
{
	struct xs_permissions perms[] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	if (!xs_mkdir(xs->xsh, tx, path))
		return -errno;
	return xs_set_permissions(xs->xsh, tx, path, perms, 2) ? 0 : -errno;
}

int xenstore_list(struct xenstore *xs, xs_transaction_t tx, const char *path,
		  char ***ret_names, unsigned int *ret_nr)
{
	unsigned int nr;
	char **names = xs_directory(xs->xsh, tx, path, &nr);

	if (!names)
		return -errno;
	*ret_names = names;
	*ret_nr = nr;
	return 0;
}
