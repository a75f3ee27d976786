/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The worker: one process for one vbd.  Its main thread does what the
 * supervisor says (open the provider, connect, disconnect) and the threads of
 * the connection's queues do the I/O.  When the supervisor ends, a worker that
 * is connected serves on and listens for the next one; any other exits.
 *
 * It is not meant to be run by hand.
 */
#include "blkback/connection.h"
#include "blkback/sleep-cost.h"
#include "blkback/worker-message.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/number.h"
#include "diskd/registry.h"
#include "diskd/sandbox.h"
#include "evtchn/evtchn.h"
#include "gnttab/gnttab.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* What every supervisor is to know, also one that was not there. */
struct lasting_text {
	bool set;
	struct error_text text;
};

struct worker {
	int socket_fd; /* the number stays, whoever is the supervisor */
	int listen_fd; /* -1: ends with the supervisor */
	int stopped_fd; /* eventfd: the connection has stopped */
	struct block_provider *provider;
	struct block_left left; /* of a worker that ended, until it is opened */
	bool unfenced; /* a worker before may have I/O under way */
	uint64_t flush_timeout_ms, sleep_cost_ns;
	bool disk_failed; /* set by the queues, never reset */
	struct throttle throttle; /* shared by the queues */
	struct disk_stats *stats;
	int stats_fd;
	struct connection *connection;
	int inflight_fd;
	bool disconnecting; /* the connection was asked to stop */
	bool attached; /* there is a supervisor */
	bool quitting;
	int exit_status;
	pthread_mutex_t lock; /* of the three below */
	struct lasting_text ring_broken, disk_error, poisoned;
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

/*
 * Remembered first: should it be told to a supervisor that is gone, the next one
 * hears it from say_hello().
 */
static void tell_lasting(struct worker *worker, struct lasting_text *lasting,
			 enum worker_message_type type, const char *text)
{
	pthread_mutex_lock(&worker->lock);
	lasting->set = true;
	snprintf(lasting->text.text, sizeof(lasting->text.text), "%s", text);
	pthread_mutex_unlock(&worker->lock);
	tell_text(worker, type, text);
}

static void tell_again(struct worker *worker, struct lasting_text *lasting,
		       enum worker_message_type type)
{
	struct lasting_text copy;

	pthread_mutex_lock(&worker->lock);
	copy = *lasting;
	pthread_mutex_unlock(&worker->lock);
	if (copy.set)
		tell_text(worker, type, copy.text.text);
}

/* ---- events of the queues, on their threads ------------------------ */

static void on_ring_broken(void *arg, const char *cause)
{
	struct worker *worker = arg;

	tell_lasting(worker, &worker->ring_broken, WORKER_RING_BROKEN, cause);
}

static void on_disk_failed(void *arg, const char *cause)
{
	struct worker *worker = arg;

	tell_lasting(worker, &worker->disk_error, WORKER_DISK_FAILED, cause);
}

static void on_poisoned(void *arg, const char *cause)
{
	struct worker *worker = arg;

	tell_lasting(worker, &worker->poisoned, WORKER_POISONED, cause);
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
	worker->stats_fd = fd;
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
	int rc;

	worker->left.in_use = open->left;
	worker->unfenced = open->unfenced;
	rc = block_provider_reopen(provider_registry, open->target,
				   open->version, &worker->left,
				   open->read_only, &worker->provider, err);
	if (rc < 0)
		return rc;
	/* Threads cannot be put on processors within the walls. */
	worker->sleep_cost_ns = sleep_cost_ns();
	rc = enter_sandbox(worker, open, err);
	if (rc < 0) {
		block_provider_close(worker->provider);
		worker->provider = NULL;
	}
	return rc;
}

static void do_listen(struct worker *worker, int fd)
{
	/* Whoever connects is told our number by that. */
	if (worker->listen_fd >= 0 || fd < 0 || listen(fd, SOMAXCONN) < 0)
		log_error("listen for the next supervisor: %s",
			  strerror(errno));
	else
		worker->listen_fd = fd;
}

static int provider_record(const struct worker *worker)
{
	return worker->provider->record_fd > 0 ? worker->provider->record_fd
					       : -1;
}

static void do_open(struct worker *worker, const struct worker_open *open,
		    int fd)
{
	struct worker_message reply = { .type = WORKER_OPENED };
	struct error_text err;
	int rc = worker->stats ? -EBUSY : map_stats(worker, fd);

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
	if (open->limited)
		worker->provider->info.limits = open->limits;
	throttle_set(&worker->throttle, &worker->provider->info.limits);
	reply.opened = worker->provider->info;
	worker_message_send(worker->socket_fd, &reply, provider_record(worker));
}

static void take_record(struct worker *worker, int fd)
{
	if (worker->left.record_fd < 0)
		worker->left.record_fd = fd;
}

static void drop_record(struct worker *worker)
{
	if (worker->left.record_fd >= 0)
		close(worker->left.record_fd);
	worker->left.record_fd = -1;
}

/* A worker that was killed may have I/O under way still: until it has not. */
static int fence(struct worker *worker, uint64_t disk, bool unreplayed,
		 struct error_text *err)
{
	uint64_t *waited_ns = &worker->stats->queues[0].fenced_ns;
	uint64_t start_ns = clock_now_ns();
	int rc = block_provider_fence(worker->provider, disk,
				      worker->unfenced && unreplayed, err);

	/* No queue runs yet. */
	__atomic_store_n(waited_ns, *waited_ns + clock_now_ns() - start_ns,
			 __ATOMIC_RELAXED);
	return rc;
}

/* There is no guest any more, and nothing follows. */
static void do_fence(struct worker *worker, uint64_t disk)
{
	struct worker_message reply = { .type = WORKER_FENCED };
	struct error_text err;

	if (!worker->provider || worker->connection) {
		tell_text(worker, WORKER_FENCE_FAILED, "not open, or in use");
		return;
	}
	if (fence(worker, disk, false, &err) < 0) {
		tell_text(worker, WORKER_FENCE_FAILED, err.text);
		return;
	}
	block_provider_unfence(worker->provider);
	tell(worker, &reply);
}

/* fd is the connection's until it ends. */
static void do_connect(struct worker *worker,
		       const struct connection_params *params, int fd)
{
	const struct queue_events events = { on_ring_broken, on_disk_failed,
					     on_poisoned, on_stopped, worker };
	struct worker_message reply = { .type = WORKER_CONNECTED };
	const struct connection_disk disk = {
		.provider = worker->provider,
		.flush_timeout_ms = worker->flush_timeout_ms,
		.failed = &worker->disk_failed,
		.throttle = &worker->throttle,
		.sleep_cost_ns = worker->sleep_cost_ns,
		.stats = worker->stats,
	};
	struct error_text err;
	int rc;

	if (!worker->provider || worker->connection) {
		tell_text(worker, WORKER_CONNECT_FAILED,
			  "not open, or connected already");
		return;
	}
	if (fence(worker, params->disk, params->origin != QUEUE_LEFT, &err) <
	    0) {
		tell_text(worker, WORKER_CONNECT_FAILED, err.text);
		return;
	}
	rc = connection_start(params, &disk, fd, &events, &worker->connection,
			      &err);
	if (rc < 0) {
		block_provider_unfence(worker->provider);
		tell_text(worker,
			  rc == -EBADMSG || rc == -EBUSY
				  ? WORKER_CONNECT_REFUSED
				  : WORKER_CONNECT_FAILED,
			  err.text);
		return;
	}
	worker->inflight_fd = fd;
	worker->unfenced = false;
	tell(worker, &reply);
}

static void stop_connection(struct worker *worker)
{
	if (worker->connection && !worker->disconnecting)
		connection_stop(worker->connection);
	worker->disconnecting = worker->connection;
}

static void do_disconnect(struct worker *worker)
{
	struct worker_message reply = { .type = WORKER_DISCONNECTED };

	if (worker->connection)
		stop_connection(worker);
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

	/* What waited, for room or for a flush, is not waited for. */
	if (!connection_answered(worker->connection))
		reply.type = WORKER_ABANDONED;
	connection_free(worker->connection);
	worker->connection = NULL;
	worker->disconnecting = worker->ring_broken.set = false;
	block_provider_unfence(worker->provider);
	close(worker->inflight_fd);
	tell(worker, &reply);
	if (!worker->attached)
		worker->quitting = true;
}

/* Whether a descriptor that came with a message was kept. */
static bool kept(const struct worker *worker, int fd)
{
	return fd == worker->listen_fd || fd == worker->left.record_fd ||
	       (worker->stats && fd == worker->stats_fd) ||
	       (worker->connection && fd == worker->inflight_fd);
}

/* The daemon has not been started anew since this program was installed. */
static void supervisor_is_foreign(struct worker *worker)
{
	log_error("the daemon is of another version than its worker");
	worker->exit_status = WORKER_EXIT_VERSION;
}

/* False when the supervisor's stream has ended, or is no use. */
static bool receive(struct worker *worker)
{
	struct worker_message message;
	int fd = -1;
	int rc = worker_message_receive(worker->socket_fd, &message, &fd);

	/* Whoever opened the disk was understood. */
	if (rc == -EPROTO && !worker->provider)
		supervisor_is_foreign(worker);
	if (rc != 1)
		return false;
	switch (message.type) {
	case WORKER_QUIT:
		worker->quitting = true;
		stop_connection(worker);
		break;
	case WORKER_LISTEN:
		do_listen(worker, fd);
		break;
	case WORKER_RECORD:
		take_record(worker, fd);
		break;
	case WORKER_OPEN:
		do_open(worker, &message.open, fd);
		drop_record(worker);
		break;
	case WORKER_CONNECT:
		do_connect(worker, &message.connect, fd);
		break;
	case WORKER_DISCONNECT:
		do_disconnect(worker);
		break;
	case WORKER_FENCE:
		do_fence(worker, message.disk);
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
	if (fd >= 0 && !kept(worker, fd))
		close(fd);
	return true;
}

/* ---- without a supervisor, as long as there is a connection --------- */

static void supervisor_gone(struct worker *worker)
{
	worker->attached = false;
	if (worker->listen_fd < 0 || !worker->connection)
		worker->quitting = true;
	if (worker->quitting)
		stop_connection(worker);
}

static void say_hello(struct worker *worker)
{
	const struct worker_message hello = {
		.type = WORKER_HELLO,
		.hello = { .disconnecting = worker->disconnecting },
	};
	const struct worker_message record = { .type = WORKER_RECORD };

	worker_message_send(worker->socket_fd, &hello, worker->stats_fd);
	if (provider_record(worker) >= 0)
		worker_message_send(worker->socket_fd, &record,
				    provider_record(worker));
	tell_again(worker, &worker->ring_broken, WORKER_RING_BROKEN);
	tell_again(worker, &worker->disk_error, WORKER_DISK_FAILED);
	tell_again(worker, &worker->poisoned, WORKER_POISONED);
}

/* The next supervisor gets the place of the one before. */
static void take_supervisor(struct worker *worker)
{
	struct ucred peer;
	socklen_t bytes = sizeof(peer);
	int fd = accept4(worker->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 &&
	    peer.uid == 0 &&
	    dup3(fd, worker->socket_fd, O_CLOEXEC) == worker->socket_fd) {
		worker->attached = true;
		say_hello(worker);
	}
	close(fd);
}

static void serve(struct worker *worker)
{
	struct pollfd fds[] = {
		{ .fd = worker->stopped_fd, .events = POLLIN },
		{ .events = POLLIN },
	};

	while (!worker->quitting || worker->connection) {
		uint64_t value;

		fds[1].fd = worker->attached   ? worker->socket_fd
			    : worker->quitting ? -1
					       : worker->listen_fd;
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[0].revents &&
		    read(worker->stopped_fd, &value, sizeof(value)) > 0)
			connection_ended(worker);
		/* What has just ended was the last reason to stay. */
		if (!fds[1].revents || (!worker->attached && worker->quitting))
			continue;
		if (!worker->attached)
			take_supervisor(worker);
		else if (!receive(worker))
			supervisor_gone(worker);
	}
}

/*
 * Before a disk is moved to this program: would it open what is served?  Without the
 * walls, of which that needs none.
 */
static int try_target(const char *target, const char *mode,
		      const char *identity)
{
	char found[BLOCK_IDENTITY_BYTES];
	struct block_provider *provider;
	struct error_text err;

	if (block_provider_open(provider_registry, target, *mode == 'r',
				&provider, &err) < 0) {
		log_error("trial: %s", err.text);
		return 1;
	}
	block_identity_print(&provider->info.identity, found);
	block_provider_close(provider);
	if (!strcmp(found, identity))
		return 0;
	log_error("trial: target '%s': it is not what is served any more",
		  target);
	return 1;
}

/* Of the supervisor's version, and what more there is of a trial: a target, or none. */
static int try(int argc, char **argv)
{
	uint64_t version;

	if (number_parse(argv[0], UINT32_MAX, &version) < 0 ||
	    version != WORKER_MESSAGE_VERSION) {
		log_error("trial: the daemon is of another version than its "
			  "worker");
		return WORKER_EXIT_VERSION;
	}
	return argc == 4 ? try_target(argv[1], argv[2], argv[3]) : 0;
}

/* The supervisor ends us by a message, never by a signal. */
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
	struct worker worker = {
		.socket_fd = WORKER_SOCKET_FD,
		.listen_fd = -1,
		.left = { .record_fd = -1 },
		.attached = true,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};

	if (level && log_level_parse(level, &log_level) < 0)
		log_level = LOG_LEVEL_INFO;
	log_open("xen-diskd-worker", log_level);
	if (argc > 2 && !strcmp(argv[1], "try"))
		return try(argc - 2, argv + 2);
	if (argc != 3 || fcntl(worker.socket_fd, F_GETFD) < 0) {
		fprintf(stderr, "%s: is started by xen-diskd only\n", argv[0]);
		return 2;
	}
	fcntl(worker.socket_fd, F_SETFD, FD_CLOEXEC);
	ignore_signals();
	worker.stopped_fd = eventfd(0, EFD_CLOEXEC);
	if (worker.stopped_fd < 0) {
		log_error("vbd %s: eventfd: %s", argv[2], strerror(errno));
		return 1;
	}
	serve(&worker);
	block_provider_close(worker.provider);
	if (worker.stats) {
		munmap(worker.stats, sizeof(*worker.stats));
		close(worker.stats_fd);
	}
	if (worker.listen_fd >= 0)
		close(worker.listen_fd);
	close(worker.stopped_fd);
	return worker.exit_status;
}
