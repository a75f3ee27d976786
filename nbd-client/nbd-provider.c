/* SPDX-License-Identifier: BSD-2-Clause */
/* The NBD providers: opening and closing.  What is between is nbd-queue.c. */
#include "nbd-client/nbd-provider.h"

#include "common/clock.h"
#include "common/log.h"
#include "nbd-client/nbd-queue.h"
#include "providers/rmw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A server has so long to be found, to answer and to negotiate. */
#define OPEN_TIMEOUT_MS 10000u
/* And so long for a last flush and to see a connection off. */
#define PART_MS 500u

/* What lies beside the record, for our successor. */
struct nbd_notes {
	struct nbd_fence_list fence;
	struct nbd_export export; /* what the record is of */
};
_Static_assert(sizeof(struct nbd_notes) <= DIRTY_RECORD_NOTES_BYTES, "");

struct nbd_provider {
	struct block_provider base;
	struct nbd_target target;
	struct nbd_disk disk;
	/* What it opens anew with each connection. */
	const char *paths[5];
	char socket_dir[NBD_PATH_BYTES];
};

static struct nbd_provider *nbd_of(struct block_provider *provider)
{
	return container_of(provider, struct nbd_provider, base);
}

/*
 * The record ends with us, but for another worker of the disk: what is in it has
 * to be durable by then, or at least the server has been told.
 */
static void flush_at_the_end(struct nbd_disk *disk, uint64_t deadline_ms)
{
	struct error_text err;
	int rc;

	if (!disk->dirty ||
	    dirty_record_start(disk->dirty) == dirty_record_end(disk->dirty))
		return;
	if (disk->spare)
		rc = nbd_flush_within(disk->spare, deadline_ms, &err);
	else
		rc = error_set(&err, -ENOTCONN, "no connection");
	/* What a server has lost before we came, no flush makes durable. */
	if (rc == 0 && disk->inherited)
		rc = error_set(&err, -ESTALE,
			       "what it had acknowledged to a worker that died "
			       "was not sent again");
	if (rc < 0)
		log_warning("nbd server '%.200s': last flush: %s; what it has "
			    "not flushed is remembered no longer, but by "
			    "another worker of the same disk",
			    disk->server, err.text);
	else
		dirty_record_drop(disk->dirty, dirty_record_end(disk->dirty));
}

static void nbd_provider_close(struct block_provider *provider)
{
	struct nbd_provider *nbd = nbd_of(provider);
	uint64_t deadline_ms = clock_now_ms() + PART_MS;

	flush_at_the_end(&nbd->disk, deadline_ms);
	nbd_part(nbd->disk.spare, deadline_ms);
	nbd_fence_fini(&nbd->disk.fence);
	dirty_record_free(nbd->disk.dirty);
	free(nbd);
}

static uint32_t power_of_two_below(uint32_t n)
{
	uint32_t power = BLOCK_SECTOR_BYTES;

	while (power <= n / 2)
		power *= 2;
	return power;
}

static void fill_info(struct nbd_provider *nbd, bool read_only)
{
	const struct nbd_export *export = &nbd->disk.export;

	nbd->base.info = (struct block_info){
		.size_bytes = export->size_bytes,
		.logical_block_bytes = BLOCK_SECTOR_BYTES,
		/* Down from a server that would like megabytes. */
		.physical_block_bytes = power_of_two_below(
			export->preferred_bytes < RMW_BLOCK_BYTES_MAX
				? export->preferred_bytes
				: RMW_BLOCK_BYTES_MAX),
		.read_only = export->read_only || read_only,
		.can_flush = export->can_flush ||
			     (nbd->target.fua && export->can_fua),
		.discard_granularity_bytes =
			!export->can_trim ? 0
			: export->minimum_bytes > BLOCK_SECTOR_BYTES
				? export->minimum_bytes
				: BLOCK_SECTOR_BYTES,
		/* What a flush has lost is in the record, if it can be lost. */
		.flush_retryable = nbd->disk.dirty || nbd->target.fua,
	};
}

static int check_options(const struct nbd_provider *nbd, struct error_text *err)
{
	const struct nbd_export *export = &nbd->disk.export;

	if (nbd->target.fua && !export->can_fua && !export->read_only)
		return error_set(err, -EINVAL,
				 "nbd server '%.200s': fua=on, but it cannot "
				 "write through (no FUA)",
				 nbd->disk.server);
	return 0;
}

static struct nbd_notes *notes_of(struct dirty_record *record)
{
	return dirty_record_notes(record);
}

/* As another process has left it: NULL, or what is different. */
static const char *other_export(const struct nbd_notes *notes,
				const struct nbd_export *now)
{
	struct nbd_export then = notes->export;

	then.canonical_name[sizeof(then.canonical_name) - 1] = '\0';
	return nbd_export_difference(&then, now);
}

/* -ESTALE, with what is different in err: it is of another disk. */
static int take_record(struct nbd_provider *nbd, int fd, struct error_text *err)
{
	const struct nbd_export *export = &nbd->disk.export;
	struct dirty_record *record;
	const char *difference;
	int rc = dirty_record_adopt(fd, nbd->target.dirty_bytes, &record);

	if (rc < 0)
		return error_set(err, rc, "%s",
				 rc == -EINVAL ? "it is damaged"
					       : strerror(-rc));
	difference = other_export(notes_of(record), export);
	if (difference)
		rc = error_set(err, -ESTALE, "another disk (%s)", difference);
	else if (dirty_record_check(record, export->size_bytes,
				    export->minimum_bytes,
				    export->maximum_bytes) < 0)
		rc = error_set(err, -EINVAL, "it is damaged");
	if (rc < 0) {
		dirty_record_free(record);
		return rc;
	}
	nbd->disk.dirty = record;
	nbd->disk.inherited = true;
	return 0;
}

/*
 * That of the worker before.  Without it the disk goes on, unless a guest waits
 * and it is not its disk: that may come back.  What is missing here (memory, a
 * descriptor) says nothing of the record: it is there for the next that tries.
 */
static int adopt_record(struct nbd_provider *nbd, const struct block_left *left,
			struct error_text *err)
{
	struct error_text cause;
	int rc = take_record(nbd, left->record_fd, &cause);

	if (rc == -ESTALE && left->in_use)
		return error_set(err, rc,
				 "nbd server '%.200s': came back as %s; "
				 "nothing was written to it",
				 nbd->disk.server, cause.text);
	if (rc < 0 && rc != -ESTALE && rc != -EINVAL)
		return error_set(err, rc,
				 "nbd server '%.200s': the record of the "
				 "worker before: %s",
				 nbd->disk.server, cause.text);
	if (rc < 0)
		log_warning("nbd server '%.200s', export '%.200s': the record "
			    "of the worker before is refused: %s; what "
			    "the server has acknowledged and not flushed must "
			    "not be lost now",
			    nbd->disk.server, nbd->target.export_name,
			    cause.text);
	return 0;
}

/* Its worker ended in order, or everything was killed: nobody knows. */
static void say_no_record(const struct nbd_provider *nbd)
{
	log_info("nbd server '%.200s', export '%.200s': its worker has "
		 "left no record; if that was killed, what the server "
		 "has acknowledged and not flushed must not be lost now",
		 nbd->disk.server, nbd->target.export_name);
}

static int make_record(struct nbd_provider *nbd, struct error_text *err)
{
	int rc = dirty_record_new(nbd->target.dirty_bytes, &nbd->disk.dirty);

	return rc == 0 ? 0
		       : error_set(err, rc,
				   "nbd server '%.200s': record of %llu bytes: "
				   "%s",
				   nbd->disk.server,
				   (unsigned long long)nbd->target.dirty_bytes,
				   strerror(-rc));
}

/* Nothing is remembered that is durable at once, or never known to be. */
static bool needs_record(const struct nbd_provider *nbd)
{
	return !nbd->target.fua && nbd->disk.export.can_flush &&
	       !nbd->base.info.read_only;
}

static int open_record(struct nbd_provider *nbd, const struct block_left *left,
		       struct error_text *err)
{
	struct nbd_disk *disk = &nbd->disk;
	int rc = 0;

	if (left && left->record_fd >= 0)
		rc = adopt_record(nbd, left, err);
	else if (left && left->in_use && needs_record(nbd))
		say_no_record(nbd);
	if (rc == 0 && !disk->dirty && needs_record(nbd))
		rc = make_record(nbd, err);
	if (rc < 0 || !disk->dirty)
		return rc;
	notes_of(disk->dirty)->export = disk->export;
	nbd->base.record_fd = dirty_record_fd(disk->dirty);
	nbd_fence_share(&disk->fence, &notes_of(disk->dirty)->fence,
			nbd->target.fence_ms);
	return 0;
}

/*
 * libnbd looks there for root only, which we are no more when a connection has
 * to be made anew.
 */
static void name_certificates(struct nbd_target *target)
{
	static const char root_certificates[] = "/etc/pki/libnbd";

	if (target->tls && !target->tls_certificates[0] &&
	    !target->tls_psk_file[0] && geteuid() == 0 &&
	    access("/etc/pki/libnbd/ca-cert.pem", R_OK) == 0)
		memcpy(target->tls_certificates, root_certificates,
		       sizeof(root_certificates));
}

/* Root's own: keys are nobody else's. */
static void fill_needs(struct nbd_provider *nbd)
{
	const struct nbd_target *target = &nbd->target;
	unsigned int nr = 0;
	char *slash;

	/* A server that starts anew makes another socket there. */
	if (target->is_unix) {
		strcpy(nbd->socket_dir, target->socket);
		slash = strrchr(nbd->socket_dir, '/');
		if (slash && slash > nbd->socket_dir) {
			*slash = '\0';
			nbd->paths[nr++] = nbd->socket_dir;
		}
	}
	if (target->tls && target->tls_certificates[0])
		nbd->paths[nr++] = target->tls_certificates;
	if (target->tls && target->tls_psk_file[0])
		nbd->paths[nr++] = target->tls_psk_file;
	/* Where libnbd and GnuTLS look for what was not named. */
	if (target->tls && !target->tls_certificates[0]) {
		nbd->paths[nr++] = "/etc/pki";
		nbd->paths[nr++] = "/etc/ssl";
	}
	nbd->base.needs = (struct block_needs){
		.network = !target->is_unix,
		.sockets = target->is_unix,
		.paths = nbd->paths,
		.has_owner = true,
	};
}

static int reach(struct nbd_disk *disk, struct error_text *err)
{
	struct error_text cause;
	/* Once, for the queues as well: where they run nobody can be asked. */
	int rc = nbd_resolve(disk->target, &disk->addresses, &cause);

	if (rc < 0)
		return error_set(err, rc, "nbd server '%.200s': %s",
				 disk->server, cause.text);
	return nbd_connect_within(disk->target, &disk->addresses,
				  OPEN_TIMEOUT_MS, &disk->spare, err);
}

static int open_server(struct nbd_provider *nbd, const struct block_left *left,
		       bool read_only, struct error_text *err)
{
	struct nbd_disk *disk = &nbd->disk;
	struct error_text cause;
	int rc;

	disk->target = &nbd->target;
	nbd_target_server(disk->target, disk->server, sizeof(disk->server));
	rc = reach(disk, err);
	if (rc < 0)
		return rc;
	rc = nbd_export_read(disk->spare, &disk->export, &cause);
	if (rc < 0)
		return error_set(err, rc, "nbd server '%.200s': %s",
				 disk->server, cause.text);
	rc = check_options(nbd, err);
	if (rc < 0)
		return rc;
	nbd->base.info.read_only = disk->export.read_only || read_only;
	rc = open_record(nbd, left, err);
	fill_info(nbd, read_only);
	fill_needs(nbd);
	return rc;
}

static int nbd_provider_open(struct provider_spec *spec, bool read_only,
			     struct block_provider **ret_provider,
			     struct error_text *err)
{
	struct nbd_provider *nbd = calloc(1, sizeof(*nbd));
	int rc;

	if (!nbd)
		return error_set(err, -ENOMEM, "provider %s: no memory",
				 spec->name);
	nbd->base.record_fd = -1;
	nbd_fence_init(&nbd->disk.fence);
	rc = nbd_target_parse(spec, &nbd->target, err);
	if (rc == 0)
		name_certificates(&nbd->target);
	/* A misspelt option is found before a server is bothered. */
	if (rc == 0)
		rc = provider_spec_all_taken(spec, err);
	if (rc == 0)
		rc = open_server(nbd, spec->left, read_only, err);
	if (rc < 0) {
		nbd_provider_close(&nbd->base);
		return rc;
	}
	*ret_provider = &nbd->base;
	return 0;
}

/* Its connections are closed: nothing tells what is to be waited for. */
static int nbd_provider_fence(struct block_provider *provider, uint64_t disk,
			      bool unreplayed, struct error_text *err)
{
	struct nbd_provider *nbd = nbd_of(provider);

	(void)disk;
	(void)err;
	if (unreplayed && nbd->target.fence_ms)
		nbd_fence_everything(&nbd->disk.fence, nbd->target.fence_ms);
	return 0;
}

static int nbd_provider_queue_open(struct block_provider *provider,
				   struct io_loop *loop,
				   struct block_queue **ret_queue)
{
	return nbd_queue_open(provider, &nbd_of(provider)->disk, loop,
			      ret_queue);
}

#define NBD_PROVIDER_OPS(scheme)                                             \
	{                                                                    \
		.name = scheme, .has_path = true, .open = nbd_provider_open, \
		.fence = nbd_provider_fence, .close = nbd_provider_close,    \
		.queue_open = nbd_provider_queue_open,                       \
		.queue_close = nbd_queue_close, .submit = nbd_queue_submit,  \
		.abandon = nbd_queue_abandon,                                \
	}

const struct block_provider_ops nbd_provider_ops = NBD_PROVIDER_OPS("nbd");
const struct block_provider_ops nbds_provider_ops = NBD_PROVIDER_OPS("nbds");
const struct block_provider_ops nbd_unix_provider_ops =
	NBD_PROVIDER_OPS("nbd+unix");
const struct block_provider_ops nbds_unix_provider_ops =
	NBD_PROVIDER_OPS("nbds+unix");
