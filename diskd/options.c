/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line of xen-diskd. */
#include "diskd/options.h"

#include "blkback/backend.h"
#include "blkback/page-pool.h"
#include "common/error-text.h"
#include "common/number.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_RUN_DIR "/run/xen-diskd"
#define DEFAULT_FLUSH_TIMEOUT_S 60u
#define RING_PAGE_ORDER_MAX 4u
_Static_assert(1u << RING_PAGE_ORDER_MAX == QUEUE_RING_PAGES_MAX, "order");
/* All segments of a one-page ring with 32 indirect segments each, and some. */
#define DEFAULT_PERSISTENT_GRANTS 1056u
/* A mapping each, of which a process may have 65530. */
#define PERSISTENT_GRANTS_MAX 2048u
/* Each is a thread; more than there are CPUs help nobody. */
#define DEFAULT_QUEUES_MAX 4u
#define DEFAULT_POOL_BYTES (UINT64_C(16) << 20)
/* A user a disk, from a range that systemd and the likes leave free. */
#define DEFAULT_WORKER_UIDS 1879048192u
/* Above 2^31 - 1 not all programs take them. */
#define WORKER_UIDS_MAX (INT32_MAX - BACKEND_VBDS_MAX)
#define WORKER_NAME "xen-diskd-worker"
#define HOLD_NAME "xen-diskd-hold"

static const char help[] =
	"Usage: xen-diskd [OPTION]...\n"
	"Serves virtual block devices to Xen guests.\n"
	"\n"
	"  --run-dir=DIR            control socket and run-time state\n"
	"                           (default: " DEFAULT_RUN_DIR ")\n"
	"  --worker=PATH            program that serves one vbd, PATH-git and\n"
	"                           PATH-nbd those of git and NBD (default:\n"
	"                           " WORKER_NAME " beside this program)\n"
	"  --flush-timeout=SECONDS  how long a failed flush is tried again\n"
	"                           before the disk fails (default: 60)\n"
	"  --persistent-grants=NUMBER  most pages of a guest that a queue\n"
	"                           keeps mapped (default: 1056; 0: none)\n"
	"  --inflight-bytes=SIZE    most data of requests in flight that a\n"
	"                           queue holds, 2M to 64M (default: 16M)\n"
	"  --queues=NUMBER          most queues of one disk, each a thread\n"
	"                           (default: one a CPU, at most 4)\n"
	"  --ring-page-order=ORDER  largest ring, of 2^ORDER pages, 0 to 4\n"
	"                           (default: 4)\n"
	"  --sandbox=on|off         put walls around the workers (default: on)\n"
	"  --worker-uids=UID        first of 4096 user ids that workers run as\n"
	"                           (default: 1879048192; 0: root's)\n"
	"  --log-level=LEVEL        error, warning, info or debug (default:\n"
	"                           info)\n"
	"  --help                   print this help and exit\n"
	"  --version                print the version and exit\n"
	"\n"
	"See xen-diskd(8).\n";

enum {
	OPTION_RUN_DIR = 256,
	OPTION_WORKER,
	OPTION_FLUSH_TIMEOUT,
	OPTION_PERSISTENT_GRANTS,
	OPTION_INFLIGHT_BYTES,
	OPTION_QUEUES,
	OPTION_RING_PAGE_ORDER,
	OPTION_SANDBOX,
	OPTION_WORKER_UIDS,
	OPTION_LOG_LEVEL,
	OPTION_HELP,
	OPTION_VERSION,
};

static const struct option long_options[] = {
	{ "run-dir", required_argument, NULL, OPTION_RUN_DIR },
	{ "worker", required_argument, NULL, OPTION_WORKER },
	{ "flush-timeout", required_argument, NULL, OPTION_FLUSH_TIMEOUT },
	{ "persistent-grants", required_argument, NULL,
	  OPTION_PERSISTENT_GRANTS },
	{ "inflight-bytes", required_argument, NULL, OPTION_INFLIGHT_BYTES },
	{ "queues", required_argument, NULL, OPTION_QUEUES },
	{ "ring-page-order", required_argument, NULL, OPTION_RING_PAGE_ORDER },
	{ "sandbox", required_argument, NULL, OPTION_SANDBOX },
	{ "worker-uids", required_argument, NULL, OPTION_WORKER_UIDS },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ NULL, 0, NULL, 0 },
};

/* The programs of this very build lie beside the one that runs. */
static int program_beside(const char *name, char path[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash || (size_t)(slash + 1 - path) + strlen(name) + 1 > PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(slash + 1, name);
	return 0;
}

static int set_worker(struct options *options, const char *path,
		      struct error_text *err)
{
	if (strlen(path) >= sizeof(options->worker))
		return error_set(err, -ENAMETOOLONG,
				 "longer than %zu characters",
				 sizeof(options->worker) - 1);
	strcpy(options->worker, path);
	return 0;
}

static unsigned int default_queues(void)
{
	long nr_cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (nr_cpus < 1)
		return 1;
	return nr_cpus < (long)DEFAULT_QUEUES_MAX ? (unsigned int)nr_cpus
						  : DEFAULT_QUEUES_MAX;
}

static int set_number(unsigned int *field, unsigned int min, unsigned int max,
		      const char *text, struct error_text *err)
{
	uint64_t value;
	int rc = number_parse(text, max, &value);

	if (rc < 0 || value < min)
		return error_set(err, rc ? rc : -ERANGE,
				 "not a number from %u to %u", min, max);
	*field = (unsigned int)value;
	return 0;
}

static int set_flush_timeout(struct options *options, const char *text,
			     struct error_text *err)
{
	unsigned int seconds = 0;
	int rc = set_number(&seconds, 0, UINT32_MAX, text, err);

	if (!rc)
		options->flush_timeout_ms = seconds * UINT64_C(1000);
	return rc;
}

/* Kept in whole pages, of which a request takes some. */
static int set_inflight_bytes(struct options *options, const char *text,
			      struct error_text *err)
{
	const uint64_t min =
		(uint64_t)PAGE_POOL_PAGES_MIN * PAGE_POOL_PAGE_BYTES;
	const uint64_t max =
		(uint64_t)PAGE_POOL_PAGES_MAX * PAGE_POOL_PAGE_BYTES;
	uint64_t bytes;
	int rc = number_parse_size(text, &bytes);

	if (rc < 0 || bytes < min || bytes > max)
		return error_set(err, rc ? rc : -ERANGE,
				 "not a size from %lluM to %lluM",
				 (unsigned long long)min >> 20,
				 (unsigned long long)max >> 20);
	options->limits.pool_pages =
		(unsigned int)(bytes / PAGE_POOL_PAGE_BYTES);
	return 0;
}

static int set_switch(bool *field, const char *text, struct error_text *err)
{
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off"))
		return error_set(err, -EINVAL, "neither on nor off");
	*field = on;
	return 0;
}

static int set_log_level(struct options *options, const char *text,
			 struct error_text *err)
{
	if (log_level_parse(text, &options->log_level) < 0)
		return error_set(err, -EINVAL,
				 "none of error, warning, info and debug");
	return 0;
}

static int take_option(struct options *options, int option,
		       struct error_text *err)
{
	switch (option) {
	case OPTION_RUN_DIR:
		options->run_dir = optarg;
		return 0;
	case OPTION_WORKER:
		return set_worker(options, optarg, err);
	case OPTION_FLUSH_TIMEOUT:
		return set_flush_timeout(options, optarg, err);
	case OPTION_PERSISTENT_GRANTS:
		return set_number(&options->limits.persistent_grants, 0,
				  PERSISTENT_GRANTS_MAX, optarg, err);
	case OPTION_INFLIGHT_BYTES:
		return set_inflight_bytes(options, optarg, err);
	case OPTION_QUEUES:
		return set_number(&options->limits.queues, 1,
				  CONNECTION_QUEUES_MAX, optarg, err);
	case OPTION_RING_PAGE_ORDER:
		return set_number(&options->limits.ring_page_order, 0,
				  RING_PAGE_ORDER_MAX, optarg, err);
	case OPTION_SANDBOX:
		return set_switch(&options->sandbox, optarg, err);
	case OPTION_WORKER_UIDS:
		return set_number(&options->worker_uids, 0, WORKER_UIDS_MAX,
				  optarg, err);
	case OPTION_LOG_LEVEL:
		return set_log_level(options, optarg, err);
	case OPTION_HELP:
		fputs(help, stdout);
		return 1;
	case OPTION_VERSION:
		puts("xen-diskd " XEN_DISKD_VERSION);
		return 1;
	default:
		return -ENOENT; /* getopt has said it */
	}
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
	struct options *options = ret_options;
	int option, index = 0, rc;
	struct error_text err;

	*options = (struct options){
		.run_dir = DEFAULT_RUN_DIR,
		.log_level = LOG_LEVEL_INFO,
		.flush_timeout_ms = DEFAULT_FLUSH_TIMEOUT_S * 1000,
		.sandbox = true,
		.worker_uids = DEFAULT_WORKER_UIDS,
		.limits = { .ring_page_order = RING_PAGE_ORDER_MAX,
			    .queues = default_queues(),
			    .persistent_grants = DEFAULT_PERSISTENT_GRANTS,
			    .pool_pages =
				    DEFAULT_POOL_BYTES / PAGE_POOL_PAGE_BYTES },
	};
	rc = program_beside(WORKER_NAME, options->worker);
	if (!rc)
		rc = program_beside(HOLD_NAME, options->hold);
	if (rc < 0) {
		fprintf(stderr, "xen-diskd: find my own programs: %s\n",
			strerror(-rc));
		return -EINVAL;
	}
	while ((option = getopt_long(argc, argv, "", long_options, &index)) !=
	       -1) {
		rc = take_option(options, option, &err);
		if (rc == 1)
			return 1;
		if (rc == 0)
			continue;
		if (rc != -ENOENT)
			fprintf(stderr, "xen-diskd: --%s=%s: %s\n",
				long_options[index].name, optarg, err.text);
		goto usage;
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "xen-diskd: unexpected argument '%s'\n", argv[optind]);
usage:
	fputs("Try 'xen-diskd --help'.\n", stderr);
	return -EINVAL;
}
