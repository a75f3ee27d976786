/* SPDX-License-Identifier: BSD-2-Clause */
/* What proc(5) shows of a worker. */
#include "tests/sim/walls.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#else
#define SANITIZER 0
#endif

#define KEPT_MAX 8u
#define STATUS_BYTES 4096u

struct root {
	pid_t pid;
	const char *kept[KEPT_MAX];
	unsigned int nr_kept;
	unsigned int nr_found;
};

/* ---- its threads ----------------------------------------------------------- */

/* All of a status file; false when whose it is has ended. */
static bool read_status(const char *path, char *text, size_t nr_bytes)
{
	FILE *f = fopen(path, "re");
	size_t n;

	need(f || errno == ENOENT, "%s: %s", path, strerror(errno));
	if (!f)
		return false;
	n = fread(text, 1, nr_bytes - 1, f);
	need(!ferror(f) || errno == ESRCH, "%s: %s", path, strerror(errno));
	fclose(f);
	text[n] = '\0';
	return n != 0;
}

/* The value of a line, which is required, as far as the next blank. */
static const char *value_of(const char *text, const char *key)
{
	static char value[64];
	char wanted[32];
	const char *at;

	snprintf(wanted, sizeof(wanted), "\n%s:\t", key);
	at = strstr(text, wanted);
	need(at && sscanf(at + strlen(wanted), "%63s", value) == 1,
	     "a status without %s", key);
	return value;
}

static void expect_value(const char *text, const char *key, const char *wanted)
{
	const char *value = value_of(text, key);

	need(!strcmp(value, wanted), "%s is %s, not %s", key, value, wanted);
}

/* The test may be run within filters itself. */
static void check_filters(const char *text)
{
	char ours[STATUS_BYTES];
	int wanted;

	read_status("/proc/self/status", ours, sizeof(ours));
	wanted = atoi(value_of(ours, "Seccomp_filters")) + !SANITIZER;
	need(atoi(value_of(text, "Seccomp_filters")) == wanted,
	     "%s filters, not %d", value_of(text, "Seccomp_filters"), wanted);
	if (!SANITIZER)
		expect_value(text, "Seccomp", "2");
}

static void check_thread(const char *text)
{
	static const char *const none[] = { "CapInh", "CapPrm", "CapEff",
					    "CapBnd", "CapAmb" };

	for (unsigned int i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		expect_value(text, none[i], "0000000000000000");
	expect_value(text, "NoNewPrivs", "1");
	need(strcmp(value_of(text, "Uid"), "0"), "root's");
	check_filters(text);
}

static void check_threads(pid_t pid)
{
	char path[300], text[STATUS_BYTES];
	struct dirent *entry;
	unsigned int nr = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	need(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", pid,
			 entry->d_name);
		if (!read_status(path, text, sizeof(text)))
			continue;
		check_thread(text);
		nr++;
	}
	closedir(dir);
	/* Of one that is connected. */
	need(nr >= 2, "no thread of a queue");
}

/* The files of what is not dumpable are root's here. */
static void check_dumpable(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	need(stat(path, &st) == 0, "%s: %s", path, strerror(errno));
	need((st.st_uid == 0) == !SANITIZER, "%s is user %u's", path,
	     st.st_uid);
}

/* ---- its root ---------------------------------------------------------------- */

/* Whether path is outer or something below it. */
static bool is_below(const char *path, const char *outer)
{
	size_t length = strlen(outer);

	return !strncmp(path, outer, length) &&
	       (path[length] == '\0' || path[length] == '/');
}

/* What is kept that has to do with path, as itself, above it or below. */
static const char *kept_of(const struct root *root, const char *path)
{
	for (unsigned int i = 0; i < root->nr_kept; i++) {
		if (is_below(path, root->kept[i]) ||
		    is_below(root->kept[i], path))
			return root->kept[i];
	}
	return NULL;
}

/* All there is below path but for what is kept, which is counted. */
static void walk(struct root *root, const char *path)
{
	char full[400], inside[300];
	struct dirent *entry;
	const char *kept;
	DIR *dir;

	snprintf(full, sizeof(full), "/proc/%d/root%s", root->pid, path);
	dir = opendir(full);
	need(dir, "%s: %s", full, strerror(errno));
	while ((entry = readdir(dir)) != NULL) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(inside, sizeof(inside), "%s/%s", path, entry->d_name);
		kept = kept_of(root, inside);
		need(kept, "'%s' is seen from within", inside);
		if (strcmp(kept, inside) != 0)
			walk(root, inside);
		else
			root->nr_found++;
	}
	closedir(dir);
}

static void check_mount(const struct root *root, const char *where,
			const char *options, unsigned int *nr_roots)
{
	const char *kept = kept_of(root, where);
	bool is_root = !strcmp(where, "/");

	*nr_roots += is_root;
	need(is_root || (kept && is_below(where, kept)),
	     "'%s' is mounted within", where);
	need(strstr(options, "ro,") == options, "'%s' is %s", where, options);
	need(strstr(options, "nosuid") && strstr(options, "noexec") &&
		     (is_root || strstr(options, "nodev")),
	     "'%s' is %s", where, options);
}

/* All that is mounted, the old root had it stayed. */
static void check_mounts(const struct root *root)
{
	char path[64], line[1024], where[300], options[200];
	unsigned int nr_roots = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", root->pid);
	f = fopen(path, "re");
	need(f != NULL, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		need(sscanf(line, "%*s %*s %*s %*s %299s %199s", where,
			    options) == 2,
		     "%s: %s", path, line);
		check_mount(root, where, options, &nr_roots);
	}
	fclose(f);
	need(nr_roots == 1, "%u mounts at the root", nr_roots);
}

static void check_root(const struct host *h, pid_t pid,
		       const char *const *paths)
{
	struct root root = { .pid = pid };
	char transport[64];

	snprintf(transport, sizeof(transport), "%s/sim.sock", h->dir);
	root.kept[root.nr_kept++] = transport;
	if (SANITIZER)
		root.kept[root.nr_kept++] = "/proc";
	while (*paths) {
		need(root.nr_kept < KEPT_MAX, "too many paths");
		root.kept[root.nr_kept++] = *paths++;
	}
	walk(&root, "");
	need(root.nr_found == root.nr_kept, "of %u paths %u are there",
	     root.nr_kept, root.nr_found);
	check_mounts(&root);
}

/* ---- its network --------------------------------------------------------------- */

static void check_network(pid_t pid, bool network)
{
	char path[64];
	struct stat its, ours;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	need(stat(path, &its) == 0 && stat("/proc/self/ns/net", &ours) == 0,
	     "%s: %s", path, strerror(errno));
	need((its.st_ino == ours.st_ino) == network,
	     "network namespace %llu, of ours %llu",
	     (unsigned long long)its.st_ino, (unsigned long long)ours.st_ino);
}

/* ---- all of them ----------------------------------------------------------------- */

void walls_check(const struct host *h, pid_t pid, const char *const *paths,
		 bool network)
{
	check_threads(pid);
	check_dumpable(pid);
	check_root(h, pid, paths);
	check_network(pid, network);
}
