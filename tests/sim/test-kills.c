/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workers that are killed at every store into the in-flight table and the ring,
 * one after the other in a chain, so that those of taking over are among them:
 * no acknowledged write is lost, and each request has one answer.
 *
 *	KILLS=N		so many of each kind, and not a few
 *	KILLS_SEED=N	another choice of them
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"
#include "tests/sim/killer.h"
#include "tests/sim/oracle.h"
#include "tests/sim/sim-wire.h"
#include "tests/unit/loop-device.h"

#define XVDB 51728u
#define DEPTH 32u
#define SECTORS_MAX (FE_SEGMENTS * FE_PAGE / FE_SECTOR)
/* Requests meet there more often. */
#define HOT_SECTORS 96u
#define QUICK_KILLS 100u
/*
 * The rarest place is where 1 % of a kind's kills are, and 4 % of those of all: of so
 * many, none is left out by chance.
 */
#define PLACES_KILLS_OF_KIND 3000u
#define PLACES_KILLS 600u
#define BUSY_PERCENT 80u
/*
 * Of one test.  libcheck counts a test's microseconds in an int: none may take
 * longer than 35 minutes, on slow machines as well.
 */
#define PART_KILLS 500u
#define LATER_US 300u
/* What a worker stores until a new connection stands, about. */
#define CONNECT_STORES 8u
#define CONNECTIONS 48u
#define PATIENCE_MS (4 * HOST_WAIT_MS)

enum medium { MEMORY, DISK, DEVICE, NBDKIT, QEMU_NBD, GIT };

static const struct kind {
	const char *name;
	enum medium medium;
	enum fe_abi abi;
	bool persistent;
	uint32_t ring_pages;
	bool out_of_order; /* it answers so */
} kinds[] = {
	{ "memory", MEMORY, FE_ABI_NATIVE, false, 1, false },
	{ "disk", DISK, FE_ABI_NATIVE, true, 1, true },
	{ "disk-x86_32", DISK, FE_ABI_X86_32, false, 2, true },
	{ "device", DEVICE, FE_ABI_NATIVE, false, 1, true },
	{ "nbdkit", NBDKIT, FE_ABI_NATIVE, false, 1, false },
	{ "qemu-nbd", QEMU_NBD, FE_ABI_NATIVE, true, 1, true },
	{ "git", GIT, FE_ABI_NATIVE, false, 1, false },
};
#define KINDS ((int)(sizeof(kinds) / sizeof(kinds[0])))

static struct host h;
static struct guest *g;
static struct blkfront fe;
static struct fe_queue *queue;
static const struct kind *kind;
static char image[96], target[256], socket_path[64];
static struct loop_device loop; /* of DEVICE */
static struct oracle oracle;
/* Of a disk that is only read: what it holds. */
static uint8_t contents[ORACLE_SECTORS * FE_SECTOR];
static struct killer *killer;
static uint64_t seed, first_kill;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- disks --------------------------------------------------------------- */

static void shell(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	need(system(command) == 0, "'%s'", command);
}

static void fill_image(int fd)
{
	oracle_fill_disk(contents);
	need(write(fd, contents, sizeof(contents)) == sizeof(contents) &&
		     fsync(fd) == 0,
	     "fill the image: %s", strerror(errno));
}

/* Without a name, so that it goes with the test however that ends. */
static void make_unnamed_image(int fd)
{
	need(fd >= 0, "make the image: %s", strerror(errno));
	fill_image(fd);
	snprintf(image, sizeof(image), "/proc/%d/fd/%d", getpid(), fd);
	snprintf(target, sizeof(target), "%s", image);
}

static bool server_answers(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", socket_path);
	answers = connect(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	close(fd);
	return answers;
}

/*
 * qemu-nbd answers out of order, and takes a new connection while it still knows
 * the old.  nbdkit 1.32 is slow, and with more than one thread falls over its
 * own assertion when a client goes at a bad time (raw_send_socket(), sock >= 0).
 */
static void make_server(void)
{
	const char *const nbdkit[] = { "nbdkit",      "-f",
				       "-U",          socket_path,
				       "--threads=1", "--filter=delay",
				       "file",        image,
				       "rdelay=1ms",  "wdelay=1ms",
				       NULL };
	const char *const qemu[] = {
		"qemu-nbd", "-t", "-e",        "8",   "-f",
		"raw",      "-k", socket_path, image, NULL
	};
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	int fd;

	snprintf(image, sizeof(image), "%s/disk.img", h.dir);
	fd = open(image, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	need(fd >= 0, "%s: %s", image, strerror(errno));
	fill_image(fd);
	close(fd);
	snprintf(socket_path, sizeof(socket_path), "%s/nbd.sock", h.dir);
	/* A new fence with each kill, as fast as they come, would never be lifted. */
	snprintf(target, sizeof(target), "nbd+unix:///?socket=%s&fence=0",
		 socket_path);
	h.server = process_start(&h, "server.log", NULL,
				 kind->medium == NBDKIT ? nbdkit : qemu);
	while (!server_answers()) {
		need(host_now_ms() < end, "the server does not start");
		poll(NULL, 0, 2);
	}
}

static void make_repository(void)
{
	need(chmod(h.dir, 0711) == 0, "chmod"); /* the helper is not root */
	shell("umask 022; export GIT_CONFIG_GLOBAL=/dev/null; cd %s && "
	      "git init -q -b main repo && cd repo && seq 1 90000 > numbers && "
	      "head -c 300000 /dev/urandom > random && git add -A && "
	      "git -c user.name=Tester -c user.email=tester@example.org "
	      "commit -q -m 1",
	      h.dir);
	snprintf(target, sizeof(target), "git:%s/repo?ref=main&label=SIM",
		 h.dir);
}

/* On the medium itself, so that it has several writes at a time. */
static void make_device(void)
{
	loop_device_open(&loop, image, false, FE_SECTOR);
	need(ioctl(loop.fd, LOOP_SET_DIRECT_IO, 1ul) == 0, "direct: %s",
	     strerror(errno));
	snprintf(target, sizeof(target), "%s", loop.path);
}

static void make_disk(void)
{
	const char *dir = getenv("UNIT_TMPDIR");

	switch (kind->medium) {
	case MEMORY:
		make_unnamed_image(memfd_create("kills", MFD_CLOEXEC));
		break;
	case DISK:
	case DEVICE:
		make_unnamed_image(open(dir ? dir : "/var/tmp",
					O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
		if (kind->medium == DEVICE)
			make_device();
		break;
	case NBDKIT:
	case QEMU_NBD:
		make_server();
		break;
	case GIT:
		make_repository();
	}
}

/* ---- load ------------------------------------------------------------------ */

static struct flight {
	bool used;
	uint64_t id;
	struct fe_request rq;
	unsigned int nr_sectors;
	uint32_t number; /* the oracle's, of a write */
	uint64_t floor[SECTORS_MAX]; /* of a read, when it was submitted */
	uint64_t order; /* among all that were submitted */
} flights[DEPTH];
static uint64_t nr_submitted, nr_overtaking; /* answers */

static uint8_t choose_operation(void)
{
	uint32_t dice = rnd(100);

	if (kind->medium == GIT || dice < 45)
		return FE_READ;
	if (dice < 88)
		return FE_WRITE;
	if (dice < 92 && fe.feature_barrier)
		return FE_BARRIER;
	if (dice < 96 && fe.feature_discard && fe.discard_granularity)
		return FE_DISCARD;
	return fe.feature_flush ? FE_FLUSH : FE_WRITE;
}

static void fill_request(unsigned int i, uint8_t op, uint64_t sector,
			 unsigned int nr, unsigned int skip)
{
	struct flight *f = &flights[i];

	if (op == FE_DISCARD)
		blkfront_fill_discard(&fe, &f->rq, sector, nr);
	else if (nr && op != FE_BARRIER && fe.max_indirect_segments &&
		 rnd(4) == 0)
		blkfront_fill_indirect(&fe, &f->rq, op, sector, nr,
				       i * FE_SEGMENTS, skip, i);
	else
		blkfront_fill(&fe, &f->rq, op, sector, nr, i * FE_SEGMENTS,
			      skip);
	f->nr_sectors = nr;
}

static void tell_oracle(struct flight *f, uint8_t op)
{
	static uint8_t data[SECTORS_MAX * FE_SECTOR];

	if (op == FE_BARRIER)
		oracle_barrier(&oracle);
	if (op == FE_READ)
		memcpy(f->floor, &oracle.floor[f->rq.sector],
		       f->nr_sectors * sizeof(f->floor[0]));
	else if (op == FE_DISCARD)
		f->number = oracle_submit(&oracle, f->rq.sector, f->nr_sectors,
					  NULL);
	else if (f->nr_sectors)
		f->number = oracle_submit(&oracle, f->rq.sector, f->nr_sectors,
					  data);
	if (op == FE_WRITE || op == FE_BARRIER)
		blkfront_data_put(&fe, &f->rq, data);
}

static void launch(unsigned int i)
{
	unsigned int skip = rnd(8), nr = 1 + rnd(rnd(2) ? 8 : SECTORS_MAX - 8);
	struct flight *f = &flights[i];
	uint8_t op = choose_operation();
	uint64_t sector =
		rnd(2) ? rnd(HOT_SECTORS) : rnd(ORACLE_SECTORS - SECTORS_MAX);

	if (op == FE_FLUSH || (op == FE_BARRIER && rnd(4) == 0))
		nr = 0;
	fill_request(i, op, nr ? sector : 0, nr, skip);
	tell_oracle(f, op);
	f->used = true;
	f->order = nr_submitted++;
	f->id = blkfront_submit(queue, &fe, &f->rq);
}

static void check_read(const struct flight *f)
{
	static uint8_t data[SECTORS_MAX * FE_SECTOR];

	blkfront_data_get(&fe, &f->rq, data);
	if (kind->medium == GIT)
		need(!memcmp(data, contents + f->rq.sector * FE_SECTOR,
			     f->nr_sectors * FE_SECTOR),
		     "read of sector %llu + %u differs",
		     (unsigned long long)f->rq.sector, f->nr_sectors);
	else
		oracle_check(&oracle, f->rq.sector, f->nr_sectors, f->floor,
			     data, "read");
}

/* One that was submitted before it has no answer yet. */
static bool overtakes(const struct flight *f)
{
	for (unsigned int i = 0; i < DEPTH; i++)
		if (flights[i].used && flights[i].order < f->order)
			return true;
	return false;
}

static void landed(const struct fe_response *rsp)
{
	unsigned int i = 0;
	struct flight *f;

	while (!(flights[i].used && flights[i].id == rsp->id))
		need(++i < DEPTH, "an id that is not in flight");
	f = &flights[i];
	f->used = false;
	nr_overtaking += overtakes(f);
	need(rsp->status == FE_OKAY, "op %u sector %llu + %u: status %d",
	     rsp->operation, (unsigned long long)f->rq.sector, f->nr_sectors,
	     rsp->status);
	switch (f->rq.operation) {
	case FE_READ:
		check_read(f);
		break;
	case FE_DISCARD:
		oracle_discarded(&oracle, f->number, f->rq.sector,
				 f->nr_sectors);
		break;
	case FE_WRITE:
	case FE_BARRIER:
		if (f->nr_sectors)
			oracle_written(&oracle, f->number, f->rq.sector,
				       f->nr_sectors);
	}
}

/* ---- how long it took --------------------------------------------------------- */

static struct {
	uint64_t kills; /* that were seen */
	bool waits; /* for the first answer after the last of them */
	uint64_t since_ns;
	uint32_t rsp_prod;
	uint64_t *took_ns;
	size_t nr;
	uint64_t last_ns; /* answer */
} pauses;

/* True when there was another since the last time. */
static bool look_for_kill(void)
{
	uint64_t kills = __atomic_load_n(&killer->nr_kills, __ATOMIC_ACQUIRE);

	if (kills == pauses.kills)
		return false;
	pauses.kills = kills;
	pauses.waits = true;
	pauses.since_ns = killer->kill_ns;
	pauses.rsp_prod = killer->kill_rsp_prod;
	return true;
}

static void note_answer(void)
{
	pauses.last_ns = now_ns();
	if (!pauses.waits || (int32_t)(queue->rsp_cons - pauses.rsp_prod) <= 0)
		return;
	pauses.took_ns[pauses.nr++] = pauses.last_ns - pauses.since_ns;
	pauses.waits = false;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static double pause_ms(double part)
{
	if (!pauses.nr)
		return 0;
	return (double)pauses
		       .took_ns[(size_t)(part * (double)(pauses.nr - 1))] /
	       1e6;
}

/* ---- a run --------------------------------------------------------------------- */

static void arm(bool armed)
{
	__atomic_store_n(&killer->armed, armed, __ATOMIC_RELAXED);
}

static void check_image(void)
{
	if (kind->medium == GIT)
		return;
	host_image_read(image, contents, sizeof(contents));
	oracle_check(&oracle, 0, ORACLE_SECTORS, oracle.floor, contents,
		     "image");
}

static void take_answers(void)
{
	struct fe_response rsp;

	while (blkfront_take(&fe, queue, &rsp)) {
		landed(&rsp);
		note_answer();
	}
}

/*
 * As a guest does, which looks at its ring when an event tells it to, and never
 * before.  Returns without one after a while, as kills wake nobody.
 */
static void wait_and_take(void)
{
	struct pollfd p = { queue->event_fd, POLLIN, 0 };
	static bool asleep;

	asleep = asleep || blkfront_rest(queue);
	if (asleep && poll(&p, 1, 20) != 1)
		return;
	asleep = false;
	blkfront_events(queue);
	take_answers();
}

/* A worker, or supervisor, that is stuck is told from a medium that is slow. */
static void print_waits(void)
{
	static const char tasks[] =
		"for t in $(grep -l '^State:.D' /proc/*/task/*/status) "
		"$(grep -l 'iou' /proc/[0-9]*/comm | sed 's,comm$,status,') "
		"$(ls -d /proc/$0/task/*/status) "
		"$(pgrep -P $0 | sed 's,.*,/proc/&/task/&/status,'); do "
		"cd ${t%/status} && echo \"$t: $(cat comm): $(cat wchan)\" && "
		"cat stack; done; cat /proc/locks; date; "
		"for t in $(grep -l kworker /proc/[0-9]*/comm); do "
		"cd ${t%/comm}; case $(cat wchan) in worker_thread|rescuer*) "
		";; *) echo $(cat comm); cat stack;; esac; done; "
		"ps -eo stat,pri,pid,etimes,pcpu,wchan:25,args | grep ^R; "
		"tail /proc/pressure/* /sys/block/*/inflight";
	char command[sizeof(tasks) + 32];

	snprintf(command, sizeof(command), "sh -c \"$WAITS\" %d 2>&1",
		 (int)h.daemon);
	setenv("WAITS", tasks, 1);
	printf("no answer for %u ms:\n", PATIENCE_MS / 10);
	fflush(stdout);
	if (system(command) != 0)
		printf("not all could be read\n");
	fflush(stdout);
}

static void check_patience(void)
{
	static uint64_t printed_ns;
	uint64_t waited_ns = now_ns() - pauses.last_ns;
	json_t *vbd;
	const char *error;

	killer_check(killer);
	if (waited_ns < PATIENCE_MS * UINT64_C(1000000) / 10)
		return;
	if (printed_ns != pauses.last_ns) {
		printed_ns = pauses.last_ns; /* once of each stall */
		print_waits();
	}
	vbd = host_list(&h, 1, XVDB);
	error = json_string_value(json_object_get(vbd, "error"));
	need(!error, "after %llu kills: %s", (unsigned long long)pauses.kills,
	     error);
	json_decref(vbd);
	need(waited_ns < PATIENCE_MS * UINT64_C(1000000),
	     "no answer for %u ms after %llu kills, %u are missing",
	     PATIENCE_MS, (unsigned long long)pauses.kills, queue->nr_busy);
}

static void run_until(uint64_t nr_kills)
{
	unsigned int depth = 1 + rnd(DEPTH);

	pauses.last_ns = now_ns();
	while (pauses.kills < nr_kills) {
		for (unsigned int i = 0; i < depth; i++)
			if (!flights[i].used)
				launch(i);
		blkfront_kick(&fe, queue);
		wait_and_take();
		if (look_for_kill()) {
			/*
			 * A server is sent all again that it has not flushed,
			 * the older before the newer: while that goes on, only
			 * what the guest reads tells.
			 */
			if (!h.server)
				check_image();
			depth = 1 + rnd(DEPTH);
		}
		check_patience();
	}
}

/* All are answered, once, and what was acknowledged is there. */
static void settle(void)
{
	struct fe_response rsp;

	arm(false);
	while (queue->nr_busy) {
		wait_and_take();
		check_patience();
	}
	if (fe.feature_flush)
		need(blkfront_flush(&fe) == FE_OKAY, "flush");
	need(!blkfront_take(&fe, queue, &rsp), "an answer too many");
	check_image();
}

static uint64_t replayed(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	uint64_t nr = (uint64_t)json_integer_value(
		json_object_get(json_object_get(vbd, "requests"), "replayed"));

	json_decref(vbd);
	return nr;
}

static void report(uint64_t nr_ns)
{
	uint64_t kills = killer->nr_kills;

	qsort(pauses.took_ns, pauses.nr, sizeof(*pauses.took_ns), by_value);
	printf("kills %s: %llu kills in %.1f s, %.1f/s, at %llu of %u points; %llu "
	       "with requests in flight, %llu before the worker's first answer; %llu stores "
	       "stepped, %llu requests replayed, %llu answers out of order; "
	       "kill to first response, traced: median %.1f ms, p99 %.1f ms, worst %.1f ms of %zu\n",
	       kind->name, (unsigned long long)kills, (double)nr_ns / 1e9,
	       (double)kills * 1e9 / (double)nr_ns,
	       (unsigned long long)killer->nr_points, KILLER_POINTS,
	       (unsigned long long)killer->nr_busy,
	       (unsigned long long)killer->nr_first,
	       (unsigned long long)killer->nr_stores,
	       (unsigned long long)replayed(),
	       (unsigned long long)nr_overtaking, pause_ms(0.5), pause_ms(0.99),
	       pause_ms(1), pauses.nr);
	for (int i = 0; i < STORE_PLACES; i++)
		printf("kills %s: place: %llu at %s\n", kind->name,
		       (unsigned long long)killer->kills[i],
		       store_place_names[i]);
	fflush(stdout);
}

static void read_contents(void)
{
	for (uint64_t s = 0; s < ORACLE_SECTORS; s += 64)
		need(blkfront_read(&fe, s, contents + s * FE_SECTOR, 64) ==
			     FE_OKAY,
		     "read sector %llu", (unsigned long long)s);
}

static void attach(void)
{
	char *error = host_vbd_attach(&h, g, XVDB, target,
				      kind->medium == GIT ? 'r' : 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, kind->abi);
	fe.persistent = kind->persistent;
	fe.ring_pages = kind->ring_pages;
	queue = &fe.queues[0];
	blkfront_connect(&fe);
	if (kind->medium == GIT)
		read_contents();
}

static void plan_ring(struct killer_plan *plan)
{
	plan->ring = (const uint32_t *)(const void *)queue->ring;
	plan->ring_offset =
		SIM_GUEST_HEAD_BYTES + (uint64_t)queue->frame * SIM_PAGE_BYTES;
	plan->ring_pages = queue->nr_pages;
}

/* What is there already, it does not follow. */
static void start_killer(uint64_t first_stores)
{
	struct killer_plan plan = {
		.kind = (unsigned int)(kind - kinds),
		.seed = number_of("KILLS_SEED", 1) * 7919,
		.first_kill = first_kill,
		.first_stores = first_stores,
		.later_us = LATER_US,
	};

	plan_ring(&plan);
	killer = killer_start(h.daemon, &plan);
	/* Before the first that it follows has begun. */
	arm(!first_stores);
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
}

static void setup(void)
{
	host_start(&h);
	h.daemon_options[0] = "--log-level=warning";
	host_daemon_start(&h);
	g = host_guest(&h, 1, "g1");
	oracle_init(&oracle);
}

static void teardown(void)
{
	int status;

	if (h.server) {
		kill(h.server, SIGKILL);
		need(process_wait(h.server, HOST_WAIT_MS, &status), "server");
		h.server = 0;
	}
	host_stop(&h);
	if (loop.path[0])
		loop_device_close(&loop);
	oracle_fini(&oracle);
}

static uint64_t kills_of_kind(void)
{
	return number_of("KILLS", QUICK_KILLS);
}

/* Of a kind's kills, a part. */
START_TEST(every_store)
{
	uint64_t part = (uint64_t)_i / KINDS, start;
	uint64_t nr = kills_of_kind() - part * PART_KILLS;

	if (nr > PART_KILLS)
		nr = PART_KILLS;
	first_kill = part * PART_KILLS;
	kind = &kinds[_i % KINDS];
	seed = number_of("KILLS_SEED", 1) + (part << 32);
	pauses.took_ns = calloc(nr + 1, sizeof(*pauses.took_ns));
	need(pauses.took_ns, "no memory");
	make_disk();
	attach();
	start_killer(0);
	start = now_ns();
	run_until(nr);
	start = now_ns() - start;
	settle();
	report(start);
	/* Fewer tell nothing of how many. */
	need(nr < QUICK_KILLS ||
		     killer->nr_busy * 100 >= killer->nr_kills * BUSY_PERCENT,
	     "requests in flight at %llu kills of %llu only",
	     (unsigned long long)killer->nr_busy,
	     (unsigned long long)killer->nr_kills);
	need(nr < QUICK_KILLS || !kind->out_of_order || nr_overtaking,
	     "all answers came in order");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	killer_stop(killer);
	free(pauses.took_ns);
}
END_TEST

/* One connection after the other, each with a table that is being begun. */
START_TEST(new_connections)
{
	uint8_t got[FE_PAGE];

	kind = &kinds[0];
	seed = number_of("KILLS_SEED", 1);
	make_disk();
	attach();
	start_killer(CONNECT_STORES);
	for (unsigned int i = 0; i < CONNECTIONS; i++) {
		uint64_t end, kills = killer->nr_kills;

		blkfront_close(&fe);
		blkfront_set_state(&fe, FE_INITIALISING);
		need(blkfront_wait_backend(&fe, FE_INIT_WAIT), "no state 2");
		blkfront_alloc(&fe);
		plan_ring(&killer->plan);
		arm(true);
		blkfront_publish(&fe);
		for (end = host_now_ms() + HOST_WAIT_MS;
		     __atomic_load_n(&killer->nr_kills, __ATOMIC_ACQUIRE) ==
		     kills;
		     poll(NULL, 0, 1)) /* it tells nobody */
			need(host_now_ms() < end, "nothing is killed");
		arm(false);
		need(blkfront_wait_backend(&fe, FE_CONNECTED), "no state 4");
		blkfront_set_state(&fe, FE_CONNECTED);
		need(blkfront_read(&fe, 0, got, 8) == FE_OKAY, "read");
	}
	need(killer->kills[STORE_HEADER], "none at %s",
	     store_place_names[STORE_HEADER]);
	for (int i = 0; i < STORE_PLACES; i++)
		printf("new connections: place: %llu at %s\n",
		       (unsigned long long)killer->kills[i],
		       store_place_names[i]);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	killer_stop(killer);
}
END_TEST

/* Of a kind; a table is begun for new connections only. */
START_TEST(reached)
{
	unsigned int i = (unsigned int)_i;

	need(kills_of_kind() < killer_round() ||
		     killer_points_of(i) == KILLER_POINTS,
	     "%s: %llu kills at %llu points of %u only", kinds[i].name,
	     (unsigned long long)kills_of_kind(),
	     (unsigned long long)killer_points_of(i), KILLER_POINTS);
	for (unsigned int place = 0; place < STORE_PLACES; place++)
		need(place == STORE_HEADER || killer_kills_of(i, place),
		     "%s: none of %llu kills at %s", kinds[i].name,
		     (unsigned long long)kills_of_kind(),
		     store_place_names[place]);
}
END_TEST

START_TEST(every_place)
{
	for (unsigned int place = 0; place < STORE_PLACES; place++) {
		uint64_t nr = 0;

		for (unsigned int i = 0; i < KINDS; i++)
			nr += killer_kills_of(i, place);
		ck_assert_msg(nr, "no kill at %s", store_place_names[place]);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kills");
	bool all = getenv("KILLS") != NULL;
	int parts = (int)((kills_of_kind() + PART_KILLS - 1) / PART_KILLS);
	const char *missing;
	TCase *tc;

	killer_init(KINDS);
	for (int i = 0; i < KINDS; i++) {
		tc = tcase_create(kinds[i].name);

		tcase_set_timeout(tc, all ? 1e6 : 120);
		tcase_add_checked_fixture(tc, setup, teardown);
		suite_add_tcase(suite, tc);
		missing = kinds[i].medium == DEVICE ? loop_device_missing()
						    : NULL;
		if (missing) {
			printf("ok - kills/%s # SKIP %s\n", kinds[i].name,
			       missing);
			continue;
		}
		for (int part = 0; part < parts; part++)
			tcase_add_loop_test(tc, every_store, part * KINDS + i,
					    part * KINDS + i + 1);
		if (i == 0)
			tcase_add_test(tc, new_connections);
		/* After the others of this kind, which it is about. */
		if (kills_of_kind() >= PLACES_KILLS_OF_KIND)
			tcase_add_loop_test(tc, reached, i, i + 1);
	}
	tc = tcase_create("all kinds");
	if (kills_of_kind() * KINDS >= PLACES_KILLS)
		tcase_add_test(tc, every_place);
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
