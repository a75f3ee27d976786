/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stop-busy: stops a worker while it has requests in flight.
 *
 *	stop-busy PID TABLE SECONDS
 *
 * Stops process PID at random times, a few milliseconds apart, until its
 * in-flight table TABLE, of one queue, has a request in it, or SECONDS have
 * passed.  Leaves it stopped, and prints how many requests there are.  Starting
 * programs to look would take so much longer than a request does, that a fast
 * disk is found idle each time.
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
		count += entries[i].state != INFLIGHT_FREE;
	return count;
}

int main(int argc, char **argv)
{
	struct worker worker = { 0 };
	unsigned int busy;
	long long end;

	if (argc != 4)
		errx(2, "usage: stop-busy PID TABLE SECONDS");
	worker.pid = atoi(argv[1]);
	if (worker.pid <= 0)
		errx(2, "'%s' is no process", argv[1]);
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
	printf("%u\n", busy);
	return 0;
}
