/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill-busy: kills while a worker has requests in flight, and tells how long it takes
 * until the guest has an answer.
 *
 *	kill-busy PID TABLE SECONDS SIGNAL VICTIM...
 *
 * Stops worker PID at random times, a few milliseconds apart, until its in-flight
 * table TABLE, of one queue, has a request in it that is not answered, or SECONDS
 * have passed.  Then it sends SIGNAL, a number, to each VICTIM, which may be the
 * worker itself, continues the worker, and prints how many requests there are.
 * Starting programs to look would take so much longer than a request does, that a
 * fast disk is found idle each time.
 *
 * If there are any it prints, on another line, the milliseconds from the first kill to
 * the first answer that was not there before it.  Whoever serves then writes down in
 * the table how far the guest can see (rsp_done), as soon as the ring says so.
 */
#include "blkback/inflight.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MAX_US 20000L
#define LOOK_US 500L
#define ANSWER_MS 60000LL

struct worker {
	pid_t pid;
	const struct inflight_header *table;
	size_t bytes;
};

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000L;
}

static void pause_us(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000L }, NULL);
}

/* The letter of proc(5) for a thread's state; 0 when it is gone. */
static char state_of(pid_t pid, const char *thread)
{
	char path[320], line[512], *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%s/stat", (int)pid, thread);
	file = fopen(path, "r");
	if (!file)
		return 0;
	end = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
	fclose(file);
	return end && end[1] ? end[2] : 0;
}

static bool is_stopped(pid_t pid)
{
	bool stopped = true;
	struct dirent *entry;
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (!dir)
		err(1, "%s", path);
	while (stopped && (entry = readdir(dir))) {
		char state = entry->d_name[0] == '.'
				     ? 'T'
				     : state_of(pid, entry->d_name);

		if (state == 'Z' || state == 'X')
			errx(1, "process %d has died", (int)pid);
		stopped = !state || state == 'T';
	}
	closedir(dir);
	return stopped;
}

static void stop(pid_t pid)
{
	if (kill(pid, SIGSTOP) < 0)
		err(1, "process %d", (int)pid);
	while (!is_stopped(pid))
		pause_us(100);
}

static void map(struct worker *worker, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *mapping;

	if (fd < 0 || fstat(fd, &st) < 0)
		err(1, "%s", path);
	mapping = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	worker->table = mapping;
	worker->bytes = (size_t)st.st_size;
	if (worker->table->magic != INFLIGHT_MAGIC ||
	    worker->table->version != INFLIGHT_VERSION ||
	    worker->table->entry_bytes != sizeof(struct inflight_entry) ||
	    worker->bytes < INFLIGHT_HEADER_BYTES +
				    worker->table->nr_entries *
					    sizeof(struct inflight_entry))
		errx(1, "%s: not an in-flight table", path);
}

static unsigned int in_flight(const struct worker *worker)
{
	const struct inflight_entry *entries =
		(const void *)((const char *)worker->table +
			       INFLIGHT_HEADER_BYTES);
	unsigned int count = 0;

	for (unsigned int i = 0; i < worker->table->nr_entries; i++)
		count += entries[i].state == INFLIGHT_TAKEN;
	return count;
}

/*
 * Of a worker that is stopped or dead.  Answers that were written, and not yet seen
 * to be published, may have been seen by the guest: they do not count.
 */
static uint32_t seen_at_most(const struct worker *worker)
{
	return __atomic_load_n(&worker->table->rsp_intent, __ATOMIC_ACQUIRE);
}

static long long wait_for_answer(const struct worker *worker, uint32_t seen,
				 long long start)
{
	while ((int32_t)(__atomic_load_n(&worker->table->rsp_done,
					 __ATOMIC_ACQUIRE) -
			 seen) <= 0) {
		if (now_ms() - start > ANSWER_MS)
			errx(1, "no answer for %lld ms", ANSWER_MS);
		pause_us(LOOK_US);
	}
	return now_ms() - start;
}

static pid_t process(const char *text)
{
	pid_t pid = atoi(text);

	if (pid <= 0)
		errx(2, "'%s' is no process", text);
	return pid;
}

int main(int argc, char **argv)
{
	struct worker worker = { 0 };
	long long end, start;
	unsigned int busy;
	uint32_t seen;

	if (argc < 6)
		errx(2, "usage: kill-busy PID TABLE SECONDS SIGNAL VICTIM...");
	worker.pid = process(argv[1]);
	end = now_ms() + atoi(argv[3]) * 1000LL;
	srandom((unsigned int)(getpid() + now_ms()));
	map(&worker, argv[2]);
	for (;;) {
		stop(worker.pid);
		busy = in_flight(&worker);
		if (busy || now_ms() >= end)
			break;
		kill(worker.pid, SIGCONT);
		pause_us(random() % PAUSE_MAX_US);
	}
	seen = seen_at_most(&worker);
	start = now_ms();
	for (int i = 5; i < argc; i++)
		if (kill(process(argv[i]), atoi(argv[4])) < 0)
			err(1, "process %s", argv[i]);
	kill(worker.pid, SIGCONT);
	printf("%u\n", busy);
	fflush(stdout);
	if (busy)
		printf("%lld\n", wait_for_answer(&worker, seen, start));
	return 0;
}
