/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker: one process for one vbd.  Its main thread does what the
 * supervisor says (open the provider, connect, disconnect) and the threads of
 * the connection's queues do the I/O.  When the supervisor's end of the
 * socket closes, it finishes what it has begun and exits.
 *
 * It is not meant to be run by hand.
 */
#include "blkback/connection.h"
#include "blkback/worker-message.h"
#include "common/log.h"
#include "diskd/registry.h"
#include "diskd/sandbox.h"
#include "evtchn/evtchn.h"
#include "gnttab/gnttab.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct worker {
	int socket_fd;
	int stopped_fd; /* eventfd: the connection has stopped */
	struct block_provider *provider;
	uint64_t flush_timeout_ms;
	bool disk_failed; /* set by the queues, never reset */
	struct throttle throttle; /* shared by the queues */
	struct disk_stats *stats;
	struct connection *connection;
	int inflight_fd;
};

/* A supervisor that is gone is noticed by the main thread's next receive. */
static void tell(struct worker *worker, const struct worker_message *message)
{
	worker_message_send(worker->socket_fd, message, -1);
}

static void tell_text(struct worker *worker, enum worker_message_type type,
		      const char *text)
{
	struct worker_message message = { .type = type };

	snprintf(message.error.text, sizeof(message.error.text), "%s", text);
	tell(worker, &message);
}

/* ---- events of the queues, on their threads ------------------------ */

static void on_ring_broken(void *arg, const char *cause)
{
	tell_text(arg, WORKER_RING_BROKEN, cause);
}

static void on_disk_failed(void *arg, const char *cause)
{
	tell_text(arg, WORKER_DISK_FAILED, cause);
}

/* What comes of it, such as flushes that fail, is not told besides. */
static void on_provider_failed(void *arg, const char *cause)
{
	struct worker *worker = arg;

	if (!__atomic_exchange_n(&worker->disk_failed, true, __ATOMIC_RELAXED))
		on_disk_failed(worker, cause);
}

static void on_stopped(void *arg)
{
	struct worker *worker = arg;
	uint64_t one = 1;

	if (write(worker->stopped_fd, &one, sizeof(one)) < 0)
		abort(); /* an eventfd that was never written to takes 1 */
}

/* ---- what the supervisor asks for ---------------------------------- */

static int map_stats(struct worker *worker, int fd)
{
	void *stats = mmap(NULL, sizeof(*worker->stats), PROT_READ | PROT_WRITE,
			   MAP_SHARED, fd, 0);

	if (stats == MAP_FAILED)
		return -errno;
	worker->stats = stats;
	return 0;
}

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int enter_sandbox(struct worker *worker, const struct worker_open *open,
			 struct error_text *err)
{
	const struct block_needs *needs = &worker->provider->needs;
	const char *const devices[] = { evtchn_path(), gnttab_path(), NULL };
	const struct sandbox sandbox = {
		.walls = sandbox_walls,
		.network = needs->network,
		.sockets = needs->sockets || is_socket(devices[0]),
		.uid = open->uid,
		.file_uid = needs->has_owner ? needs->uid : open->uid,
		.file_gid = needs->has_owner ? needs->gid : open->uid,
		.devices = devices,
		.paths = needs->paths,
	};

	return open->sandbox ? sandbox_enter(&sandbox, err) : 0;
}

static int open_provider(struct worker *worker, const struct worker_open *open,
			 struct error_text *err)
{
	int rc = block_provider_reopen(provider_registry, open->target,
				       open->version, open->read_only,
				       &worker->provider, err);

	if (rc < 0)
		return rc;
	rc = enter_sandbox(worker, open, err);
	if (rc < 0) {
		block_provider_close(worker->provider);
		worker->provider = NULL;
	}
	return rc;
}

static void do_open(struct worker *worker, const struct worker_open *open,
		    int fd)
{
	struct worker_message reply = { .type = WORKER_OPENED };
	struct error_text err;
	int rc = worker->provider ? -EBUSY : map_stats(worker, fd);

	if (rc < 0) {
		tell_text(worker, WORKER_OPEN_FAILED, strerror(-rc));
		return;
	}
	worker->flush_timeout_ms = open->flush_timeout_ms;
	worker->disk_failed = open->failed;
	rc = open_provider(worker, open, &err);
	if (rc < 0) {
		tell_text(worker, WORKER_OPEN_FAILED, err.text);
		return;
	}
	if (open->no_discard)
		worker->provider->info.discard_granularity_bytes = 0;
	worker->provider->status = &worker->stats->provider;
	worker->provider->failed = on_provider_failed;
	worker->provider->failed_arg = worker;
	throttle_set(&worker->throttle, &worker->provider->info.limits);
	reply.opened = worker->provider->info;
	worker_message_send(worker->socket_fd, &reply,
			    worker->provider->record_fd > 0
				    ? worker->provider->record_fd
				    : -1);
}

/* True when it keeps fd: the connection uses it until it ends. */
static bool do_connect(struct worker *worker,
		       const struct connection_params *params, int fd)
{
	const struct queue_events events = { on_ring_broken, on_disk_failed,
					     on_stopped, worker };
	struct worker_message reply = { .type = WORKER_CONNECTED };
	const struct connection_disk disk = {
		.provider = worker->provider,
		.flush_timeout_ms = worker->flush_timeout_ms,
		.failed = &worker->disk_failed,
		.throttle = &worker->throttle,
		.stats = worker->stats,
	};
	struct error_text err;

	if (!worker->provider || worker->connection) {
		tell_text(worker, WORKER_CONNECT_FAILED,
			  "not open, or connected already");
		return false;
	}
	if (block_provider_fence(worker->provider, params->disk, &err) < 0) {
		tell_text(worker, WORKER_CONNECT_FAILED, err.text);
		return false;
	}
	if (connection_start(params, &disk, fd, &events, &worker->connection,
			     &err) < 0) {
		block_provider_unfence(worker->provider);
		tell_text(worker, WORKER_CONNECT_FAILED, err.text);
		return false;
	}
	worker->inflight_fd = fd;
	tell(worker, &reply);
	return true;
}

static void do_disconnect(struct worker *worker)
{
	struct worker_message reply = { .type = WORKER_DISCONNECTED };

	if (worker->connection)
		connection_stop(worker->connection);
	else
		tell(worker, &reply);
}

/* The queues go on meanwhile; each I/O is held against one size or the other. */
static void do_resize(struct worker *worker, bool may_shrink)
{
	struct worker_message reply = { .type = WORKER_RESIZED };
	struct error_text err;

	if (!worker->provider) {
		tell_text(worker, WORKER_RESIZE_FAILED, "not open");
		return;
	}
	if (block_provider_resize(worker->provider, may_shrink, &err) < 0) {
		tell_text(worker, WORKER_RESIZE_FAILED, err.text);
		return;
	}
	reply.size_bytes = worker->provider->info.size_bytes;
	tell(worker, &reply);
}

static void do_limit(struct worker *worker, const struct block_limits *limits)
{
	struct worker_message reply = { .type = WORKER_LIMITED };

	throttle_set(&worker->throttle, limits);
	if (worker->connection)
		connection_limits_changed(worker->connection);
	tell(worker, &reply);
}

static void connection_ended(struct worker *worker)
{
	struct worker_message reply = { .type = WORKER_DISCONNECTED };

	connection_free(worker->connection);
	worker->connection = NULL;
	block_provider_unfence(worker->provider);
	close(worker->inflight_fd);
	tell(worker, &reply);
}

/* False when the supervisor's stream has ended. */
static bool receive(struct worker *worker)
{
	struct worker_message message;
	bool keep = false;
	int fd = -1;

	if (worker_message_receive(worker->socket_fd, &message, &fd) != 1)
		return false;
	switch (message.type) {
	case WORKER_OPEN:
		do_open(worker, &message.open, fd);
		break;
	case WORKER_CONNECT:
		keep = do_connect(worker, &message.connect, fd);
		break;
	case WORKER_DISCONNECT:
		do_disconnect(worker);
		break;
	case WORKER_RESIZE:
		do_resize(worker, message.may_shrink);
		break;
	case WORKER_LIMIT:
		do_limit(worker, &message.limits);
		break;
	default:
		log_error("message %d from the supervisor: unknown",
			  (int)message.type);
		break;
	}
	if (fd >= 0 && !keep)
		close(fd);
	return true;
}

static void serve(struct worker *worker)
{
	struct pollfd fds[] = {
		{ .fd = worker->stopped_fd, .events = POLLIN },
		{ .fd = worker->socket_fd, .events = POLLIN },
	};
	bool attached = true;

	while (attached || worker->connection) {
		uint64_t value;

		if (poll(fds, attached ? 2 : 1, -1) < 0)
			continue;
		if (fds[0].revents &&
		    read(worker->stopped_fd, &value, sizeof(value)) > 0)
			connection_ended(worker);
		if (attached && fds[1].revents && !receive(worker)) {
			attached = false;
			if (worker->connection)
				connection_stop(worker->connection);
		}
	}
}

/* The supervisor ends us by closing the socket, never by a signal. */
static void ignore_signals(void)
{
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

int main(int argc, char **argv)
{
	const char *level = getenv("XEN_DISKD_LOG_LEVEL");
	enum log_level log_level = LOG_LEVEL_INFO;
	struct worker worker = { .socket_fd = WORKER_SOCKET_FD };

	if (argc != 3 || fcntl(worker.socket_fd, F_GETFD) < 0) {
		fprintf(stderr, "%s: is started by xen-diskd only\n", argv[0]);
		return 2;
	}
	if (level && log_level_parse(level, &log_level) < 0)
		log_level = LOG_LEVEL_INFO;
	log_open("xen-diskd-worker", log_level);
	fcntl(worker.socket_fd, F_SETFD, FD_CLOEXEC);
	ignore_signals();
	worker.stopped_fd = eventfd(0, EFD_CLOEXEC);
	if (worker.stopped_fd < 0) {
		log_error("vbd %s: eventfd: %s", argv[2], strerror(errno));
		return 1;
	}
	serve(&worker);
	block_provider_close(worker.provider);
	if (worker.stats)
		munmap(worker.stats, sizeof(*worker.stats));
	close(worker.stopped_fd);
	return 0;
}
