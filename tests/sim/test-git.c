/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A git tree served as a disk, by the real daemon and worker: attached by the
 * control socket and by xl, its bytes, its version wherever that is told, and
 * the pin that keeps the commit while it is served.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blkback/worker-message.h"
#include "tests/sim/blkfront.h"
#include "tests/sim/host-process.h"
#include "tests/sim/load.h"
#include "tests/sim/walls.h"

#define XVDB 51728u
#define XVDC 51744u
#define REF_XVDB "refs/xen-diskd/1-51728"
#define REF_XVDC "refs/xen-diskd/1-51744"
/* nobody */
#define OTHER_ID 65534u
/* Of others than that one: www-data. */
#define GROUP_ID 33u
#define ID_BYTES 41
/* A refusal reaches xl's user within this. */
#define REFUSAL_MS 2000u
/* Of the part of the image that is compared: all that is not free. */
#define USED_BYTES (16u << 20)

static struct host h;
static struct guest *g;
static struct blkfront fe;
static char repository[64], target[96];
static char commit[ID_BYTES];
static char out[16384];

/* ---- programs ------------------------------------------------------------- */

/* Runs a command of the shell; its output, without the last newline. */
static const char *shell(const char *format, ...)
	__attribute__((format(printf, 1, 2)));
static const char *shell(const char *format, ...)
{
	char command[2048];
	size_t n;
	va_list ap;
	FILE *f;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	f = popen(command, "re");
	need(f, "popen: %s", strerror(errno));
	n = fread(out, 1, sizeof(out) - 1, f);
	while (n && out[n - 1] == '\n')
		n--;
	out[n] = '\0';
	need(pclose(f) == 0, "'%s': %s", command, out);
	return out;
}

/* A program that lies beside xen-diskctl. */
static const char *program_beside_ctl(const char *name)
{
	static char path[600];

	snprintf(path, sizeof(path), "%s", program_path(PROGRAM_CTL));
	snprintf(strrchr(path, '/') + 1, 64, "%s", name);
	return path;
}

/* No configuration but the repository's, a fixed identity, any owner. */
static void git_environment(void)
{
	setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
	setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
	setenv("GIT_CONFIG_COUNT", "1", 1);
	setenv("GIT_CONFIG_KEY_0", "safe.directory", 1);
	setenv("GIT_CONFIG_VALUE_0", "*", 1);
	setenv("GIT_AUTHOR_NAME", "Tester", 1);
	setenv("GIT_AUTHOR_EMAIL", "tester@example.org", 1);
	setenv("GIT_COMMITTER_NAME", "Tester", 1);
	setenv("GIT_COMMITTER_EMAIL", "tester@example.org", 1);
	unsetenv("GIT_DIR");
	unsetenv("GIT_WORK_TREE");
}

/* A commit on main whose files all differ from those of other numbers. */
static void make_commit(unsigned int number)
{
	shell("cd %s && seq %u 1 %u > numbers && echo %u > sub/number && "
	      "for i in 1 2 3 4 5 6; do "
	      "seq $((i + %u)) 3 40000 > \"sub/file number $i\"; done && "
	      "git add -A && git commit -q -m %u && git rev-parse HEAD",
	      repository, number, 200000 + number, number, number, number);
	snprintf(commit, sizeof(commit), "%.40s", out);
}

static void setup(void)
{
	git_environment();
	host_start(&h);
	g = host_guest(&h, 1, "g1");
	/* The hold helper is not root there. */
	need(chmod(h.dir, 0711) == 0, "chmod");
	snprintf(repository, sizeof(repository), "%s/repo", h.dir);
	snprintf(target, sizeof(target), "git:%s?ref=main&label=SIM",
		 repository);
	shell("umask 022; git init -q -b main %s && mkdir %s/sub", repository,
	      repository);
	make_commit(1);
}

static void setup_all(void)
{
	setup();
	host_daemon_start(&h);
}

static void teardown(void)
{
	host_stop(&h);
}

/* ---- the pin -------------------------------------------------------------- */

static bool pin_is(const char *reference, const char *object)
{
	char expected[128] = "";

	if (object)
		snprintf(expected, sizeof(expected), "%s %s", reference,
			 object);
	return !strcmp(shell("git -C %s for-each-ref "
			     "--format='%%(refname) %%(objectname)' '%s'",
			     repository, reference),
		       expected);
}

/* Waits until the pin is on an object, or is not there (NULL). */
static void wait_pin(const char *reference, const char *object)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	while (!pin_is(reference, object)) {
		need(host_now_ms() < end, "%s: '%s', not %s", reference, out,
		     object ? object : "absent");
		poll(NULL, 0, 5);
	}
}

/* ---- attaching -------------------------------------------------------------- */

static void attach(const char *vdev)
{
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s,s:s,s:s,s:b}",
						  "command", "attach", "domain",
						  "g1", "vdev", vdev, "target",
						  target, "readonly", 1)));
}

static void detach(const char *vdev)
{
	json_decref(host_control_ok(
		&h, json_pack("{s:s,s:s,s:s,s:b}", "command", "detach",
			      "domain", "g1", "vdev", vdev, "force", 1)));
}

static void connect_frontend(void)
{
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_X86_64);
	blkfront_connect(&fe);
	need(fe.info & 4, "info does not say read-only");
}

static void attach_connect(void)
{
	attach("xvdb");
	connect_frontend();
}

static void detach_finish(void)
{
	detach("xvdb");
	blkfront_fini(&fe);
}

static void expect_key(json_t *vbd, const char *key, const char *value)
{
	const char *got = json_string_value(json_object_get(vbd, key));

	need(got && !strcmp(got, value), "%s is %s, not %s", key,
	     got ? got : "no string", value);
}

static void expect_node(const char *key, const char *value)
{
	char *got =
		host_read(&h, "/local/domain/0/backend/vbd/1/%u/%s", XVDB, key);

	need(got && !strcmp(got, value), "%s is %s, not %s", key,
	     got ? got : "absent", value);
	free(got);
}

static pid_t worker_pid(void)
{
	json_t *vbd = host_list(&h, 1, XVDB);
	json_t *worker = json_object_get(vbd, "worker");
	pid_t pid = (pid_t)json_integer_value(json_object_get(worker, "pid"));

	need(pid > 0, "no worker");
	json_decref(vbd);
	return pid;
}

/* ---- the bytes --------------------------------------------------------------- */

/* The whole disk of a commit, in a file; its descriptor. */
static int open_image(const char *revision)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/disk.img", h.dir);
	shell("%s image --label=SIM %s %s > %s", program_beside_ctl("git-fat"),
	      repository, revision, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, "%s: %s", path, strerror(errno));
	unlink(path);
	return fd;
}

static void compare_range(int fd, uint64_t sector, unsigned int nr_sectors)
{
	uint8_t got[FE_SEGMENTS * FE_PAGE], wanted[sizeof(got)];
	size_t bytes = (size_t)nr_sectors * FE_SECTOR;

	need(blkfront_read(&fe, sector, got, nr_sectors) == FE_OKAY,
	     "read of sector %llu", (unsigned long long)sector);
	need(pread(fd, wanted, bytes, (off_t)(sector * FE_SECTOR)) ==
		     (ssize_t)bytes,
	     "read the image");
	need(!memcmp(got, wanted, bytes), "sector %llu differs",
	     (unsigned long long)sector);
}

/* Front, both FATs, all that lies on the disk, and the end. */
static void compare_disk(int fd)
{
	uint64_t nr = fe.nr_sectors;
	struct stat st;

	need(fstat(fd, &st) == 0 && (uint64_t)st.st_size == nr * FE_SECTOR,
	     "%llu sectors", (unsigned long long)nr);
	for (uint64_t s = 0; s < USED_BYTES / FE_SECTOR; s += 88)
		compare_range(fd, s, 88);
	for (unsigned int i = 1; i < 100; i += 3)
		compare_range(fd, nr - i, i < 88 ? i : 88);
}

/* The first sectors that tell commits apart: serial and files. */
static void compare_some(const char *revision)
{
	int fd = open_image(revision);

	compare_range(fd, 2048, 8);
	for (uint64_t s = 4096; s < 8192; s += 88)
		compare_range(fd, s, 88);
	close(fd);
}

/* ---- attach, list, detach ------------------------------------------------------ */

START_TEST(attach_by_control)
{
	char line[64];
	json_t *vbd;
	int fd;

	wait_pin(REF_XVDB, NULL);
	attach("xvdb");
	need(pin_is(REF_XVDB, commit), "not pinned when attached: %s", out);
	vbd = host_list(&h, 1, XVDB);
	expect_key(vbd, "version", commit);
	expect_key(vbd, "provider", "git");
	expect_key(vbd, "mode", "r");
	json_decref(vbd);
	connect_frontend();
	expect_node("version", commit);
	expect_node("state", "4");
	snprintf(line, sizeof(line), "\n    version: %s", commit);
	need(strstr(shell("%s --socket=%s/run/control.sock list",
			  program_path(PROGRAM_CTL), h.dir),
		    line),
	     "list prints %s", out);
	fd = open_image("main");
	compare_disk(fd);
	close(fd);
	detach_finish();
	wait_pin(REF_XVDB, NULL);
}
END_TEST

/* A disk without a version has no such node, line or pin. */
START_TEST(other_disks_have_no_version)
{
	char image[64];
	json_t *vbd;

	host_image(&h, "a.img", 1 << 20, image);
	snprintf(target, sizeof(target), "%s", image);
	attach("xvdb");
	connect_frontend();
	vbd = host_list(&h, 1, XVDB);
	need(json_is_null(json_object_get(vbd, "version")), "version");
	json_decref(vbd);
	need(!host_exists(&h, "%s/version", fe.backend), "node");
	need(!strstr(shell("%s --socket=%s/run/control.sock list",
			   program_path(PROGRAM_CTL), h.dir),
		     "version"),
	     "list prints %s", out);
	detach_finish();
}
END_TEST

START_TEST(two_disks_two_pins)
{
	char first[ID_BYTES];

	attach("xvdb");
	snprintf(first, sizeof(first), "%s", commit);
	make_commit(2);
	attach("xvdc");
	need(pin_is(REF_XVDB, first), "%s", out);
	need(pin_is(REF_XVDC, commit), "%s", out);
	detach("xvdb");
	wait_pin(REF_XVDB, NULL);
	need(pin_is(REF_XVDC, commit), "%s", out);
	detach("xvdc");
	wait_pin(REF_XVDC, NULL);
}
END_TEST

/* What is served stays, whatever becomes of the branch. */
START_TEST(survives_gc)
{
	char first[ID_BYTES];

	attach_connect();
	snprintf(first, sizeof(first), "%s", commit);
	shell("cd %s && git checkout -q --orphan new && git rm -rqf . && "
	      "git commit -q --allow-empty -m empty && git branch -D main && "
	      "git reflog expire --expire=now --all && "
	      "git gc -q --prune=now",
	      repository);
	compare_some(first);
	detach_finish();
	wait_pin(REF_XVDB, NULL);
	shell("cd %s && git gc -q --prune=now && ! git cat-file -e %s 2>&1",
	      repository, first);
}
END_TEST

/* Of one repository that borrows from another, the objects of both. */
START_TEST(worker_is_sandboxed)
{
	char own[96], borrowed[96];
	const char *const paths[] = { own, borrowed, NULL };

	snprintf(borrowed, sizeof(borrowed), "%s/.git/objects", repository);
	shell("git clone -q -s %s %s/borrower", repository, h.dir);
	snprintf(repository, sizeof(repository), "%s/borrower", h.dir);
	snprintf(own, sizeof(own), "%s/.git/objects", repository);
	snprintf(target, sizeof(target), "git:%s?ref=main&label=SIM",
		 repository);
	make_commit(2);
	attach_connect();
	compare_some("main");
	walls_check(&h, worker_pid(), paths, false);
	detach_finish();
	wait_pin(REF_XVDB, NULL);
}
END_TEST

/* ---- xl ------------------------------------------------------------------------ */

static int xl(const char *const argv[])
{
	return host_xl(&h, out, sizeof(out), argv);
}

static int xl_attach(const char *disk, char mode)
{
	const char *argv[] = { "block-attach", "g1", NULL, NULL };
	char spec[256];

	snprintf(spec, sizeof(spec),
		 "vdev=xvdb,access=%c,backendtype=phy,"
		 "script=block-xen-diskd,target=%s",
		 mode, disk);
	argv[2] = spec;
	return xl(argv);
}

START_TEST(attach_by_xl)
{
	static const char *const argv[] = { "block-detach", "--force", "g1",
					    "xvdb", NULL };
	int fd;

	need(xl_attach(target, 'r') == 0, "block-attach: %s", out);
	need(pin_is(REF_XVDB, commit), "not pinned when attached: %s", out);
	connect_frontend();
	expect_node("version", commit);
	fd = open_image(commit);
	compare_disk(fd);
	close(fd);
	need(xl(argv) == 0, "block-detach: %s", out);
	blkfront_fini(&fe);
	wait_pin(REF_XVDB, NULL);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
}
END_TEST

/* Formats with the repository's path. */
static const struct {
	const char *target;
	char mode;
	const char *cause;
} xl_bad[] = {
	{ "git:%s/none?ref=main", 'r', "/repo/none'" },
	{ "git:%s?ref=nowhere", 'r', "ref 'nowhere'" },
	{ "git:%s?ref=main", 'w', "is read-only; attach it read-only" },
	{ "git:%s?ref=main&path=none", 'r', "path 'none'" },
	{ "git:%s?ref=main&colour=red", 'r', "no option 'colour'" },
	{ "git:repo?ref=main&why=%s", 'r', "not an absolute path" },
};

START_TEST(xl_refusals)
{
	static const char *const argv[] = { "block-detach", "--force", "g1",
					    "xvdb", NULL };
	uint64_t begin = host_now_ms();
	char disk[128];

	snprintf(disk, sizeof(disk), "%s", xl_bad[_i].target);
	*strstr(disk, "%s") = '\0';
	snprintf(disk + strlen(disk), sizeof(disk) - strlen(disk), "%s%s",
		 repository, strstr(xl_bad[_i].target, "%s") + 2);
	need(xl_attach(disk, xl_bad[_i].mode) != 0, "attached '%s'", disk);
	need(host_now_ms() - begin < REFUSAL_MS, "refused after %llu ms",
	     (unsigned long long)(host_now_ms() - begin));
	need(strstr(out, xl_bad[_i].cause), "xl says: %s", out);
	wait_pin(REF_XVDB, NULL);
	need(xl(argv) == 0, "block-detach: %s", out);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
}
END_TEST

/* ---- whose pin it is ----------------------------------------------------------- */

static void expect_owner(const char *path, unsigned int id)
{
	char full[160];
	struct stat st;

	snprintf(full, sizeof(full), "%s/.git/%s", repository, path);
	need(stat(full, &st) == 0, "%s: %s", full, strerror(errno));
	need(st.st_uid == id && st.st_gid == id, "%s belongs to %u:%u", path,
	     st.st_uid, st.st_gid);
}

START_TEST(pin_is_the_owners)
{
	shell("chown -R %u:%u %s", OTHER_ID, OTHER_ID, repository);
	attach_connect();
	need(pin_is(REF_XVDB, commit), "%s", out);
	expect_owner("refs/xen-diskd", OTHER_ID);
	expect_owner(REF_XVDB, OTHER_ID);
	compare_some("main");
	detach_finish();
	wait_pin(REF_XVDB, NULL);
}
END_TEST

/* Somebody's .git file must not lead to what he could not read himself. */
START_TEST(no_borrowed_rights)
{
	static const char *const detach[] = { "block-detach", "--force", "g1",
					      "xvdb", NULL };

	shell("chmod 700 %s/.git && mkdir %s/theirs && "
	      "echo 'gitdir: %s/.git' > %s/theirs/.git && "
	      "chown -R %u:%u %s/theirs && chmod 755 %s %s/theirs",
	      repository, h.dir, repository, h.dir, OTHER_ID, OTHER_ID, h.dir,
	      h.dir, h.dir);
	snprintf(target, sizeof(target), "git:%s/theirs?ref=main", h.dir);
	need(xl_attach(target, 'r') != 0, "attached: %s", out);
	need(strstr(out, "repository '"), "xl says: %s", out);
	need(xl(detach) == 0, "block-detach: %s", out);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	/* It was the rights that kept him out. */
	shell("chown -R %u:%u %s/.git", OTHER_ID, OTHER_ID, repository);
	need(xl_attach(target, 'r') == 0, "xl says: %s", out);
	need(xl(detach) == 0, "block-detach: %s", out);
}
END_TEST

/*
 * Somebody's repository, whose references and reflogs are in a directory of
 * root's: what he cannot write to himself is not written to for him.
 */
START_TEST(no_pin_where_it_leads)
{
	shell("cd %s && mkdir -p lair/logs/refs/xen-diskd theirs && "
	      "chmod 1777 lair && cp -r repo/.git/objects repo/.git/refs lair && "
	      "git config -f lair/config core.logAllRefUpdates always && "
	      "git config -f lair/config core.repositoryformatversion 0 && "
	      "echo untouched >victim && chmod 600 victim && "
	      "ln -s %s/victim lair/logs/refs/xen-diskd/1-51728 && "
	      "echo %s/lair >theirs/commondir && cp repo/.git/HEAD theirs && "
	      "chown -R %u:%u theirs lair/objects lair/refs lair/logs "
	      "lair/config && chmod 755 %s",
	      h.dir, h.dir, h.dir, OTHER_ID, OTHER_ID, h.dir);
	snprintf(target, sizeof(target), "git:%s/theirs?ref=main", h.dir);
	attach_connect();
	need(strcmp(shell("cat %s/victim", h.dir), "untouched") == 0,
	     "root wrote for him: %s", out);
	detach_finish();
}
END_TEST

/* A link on the way to a repository of root's is not root's for that. */
START_TEST(no_rights_by_a_link)
{
	static const char *const detach[] = { "block-detach", "--force", "g1",
					      "xvdb", NULL };

	shell("cd %s && chmod 700 repo && mkdir theirs && "
	      "ln -s %s/repo theirs/r && chown -h %u:%u theirs theirs/r && "
	      "chmod 755 . theirs",
	      h.dir, h.dir, OTHER_ID, OTHER_ID);
	snprintf(target, sizeof(target), "git:%s/theirs/r?ref=main", h.dir);
	need(xl_attach(target, 'r') != 0, "attached: %s", out);
	need(strstr(out, "repository '"), "xl says: %s", out);
	need(xl(detach) == 0, "block-detach: %s", out);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	/* It was the rights that kept him out. */
	shell("chmod 755 %s", repository);
	need(xl_attach(target, 'r') == 0, "xl says: %s", out);
	need(xl(detach) == 0, "block-detach: %s", out);
}
END_TEST

/* The group of a .git, which it may have from its directory, is no right either. */
START_TEST(no_rights_by_a_group)
{
	static const char *const detach[] = { "block-detach", "--force", "g1",
					      "xvdb", NULL };

	shell("cd %s && chgrp -R %u repo/.git && chmod -R g=rX,o= repo/.git && "
	      "mkdir theirs && echo 'gitdir: %s/.git' >theirs/.git && "
	      "chown -R %u:%u theirs && chmod 755 . theirs",
	      h.dir, GROUP_ID, repository, OTHER_ID, GROUP_ID);
	snprintf(target, sizeof(target), "git:%s/theirs?ref=main", h.dir);
	need(xl_attach(target, 'r') != 0, "attached: %s", out);
	need(strstr(out, "repository '"), "xl says: %s", out);
	need(xl(detach) == 0, "block-detach: %s", out);
}
END_TEST

/* The owner may not write there; nor does root instead. */
START_TEST(read_only_repository)
{
	shell("chown %u:%u %s/.git && chmod 755 %s/.git/refs", OTHER_ID,
	      OTHER_ID, repository, repository);
	attach_connect();
	need(host_log_has(&h, "vbd 1/51728: repository '"), "not in the log");
	need(host_log_has(&h, ": served without a pin"), "not in the log");
	expect_node("version", commit);
	compare_some("main");
	need(pin_is(REF_XVDB, NULL), "%s", out);
	detach_finish();
	need(!host_log_has(&h, "the pin is left"), "released what was not");
}
END_TEST

/* ---- a helper that misbehaves ---------------------------------------------------- */

/*
 * Starts the daemon out of a directory with a helper of our own beside it, a
 * shell script; "exec $HOLD" in it goes on with the real one.  NULL: none.
 */
static void start_with_helper(const char *script)
{
	static char daemon[64];
	char path[80];
	FILE *f;

	snprintf(daemon, sizeof(daemon), "%s/bin/xen-diskd", h.dir);
	shell("mkdir %s/bin && cp %s %s", h.dir, program_path(PROGRAM_DAEMON),
	      daemon);
	setenv("HOLD", program_beside_ctl("xen-diskd-hold"), 1);
	setenv("DIR", h.dir, 1);
	if (script) {
		snprintf(path, sizeof(path), "%s-hold", daemon);
		f = fopen(path, "we");
		need(f, "%s: %s", path, strerror(errno));
		fprintf(f, "#!/bin/sh\n%s\n", script);
		fclose(f);
		need(chmod(path, 0755) == 0, "chmod");
	}
	setenv("TEST_DAEMON", daemon, 1);
	host_daemon_start(&h);
}

static const struct {
	const char *script, *log;
} bad_helpers[] = {
	{ NULL, "xen-diskd-hold' to take what is served: No such file" },
	{ "kill -9 $$", "signal 9 (Killed): what is served may be taken" },
	{ "exit 3", "exited with status 3: what is served may be taken" },
};

START_TEST(helper_fails)
{
	start_with_helper(bad_helpers[_i].script);
	attach_connect();
	need(host_log_has(&h, bad_helpers[_i].log), "not in the log");
	compare_some("main");
	detach_finish();
}
END_TEST

/* The helper stops itself first, and writes its pid where we can wait for it. */
#define STOPPING_HELPER(verb)                              \
	"[ $1 = " verb " ] || exec $HOLD \"$@\"\n"         \
	"echo $$ > $DIR/pid && mv $DIR/pid $DIR/stopped\n" \
	"kill -STOP $$\n"                                  \
	"exec $HOLD \"$@\""

static bool is_stopped(pid_t pid)
{
	char path[32], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	need(f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1, "%s", path);
	fclose(f);
	return state == 'T';
}

static pid_t wait_stopped(void)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;
	char path[64];
	int pid = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/stopped", h.dir);
	while (!(f = fopen(path, "re"))) {
		need(host_now_ms() < end, "the helper did not start");
		poll(NULL, 0, 2);
	}
	need(fscanf(f, "%d", &pid) == 1 && pid > 1, "no pid");
	fclose(f);
	unlink(path);
	while (!is_stopped(pid)) {
		need(host_now_ms() < end, "the helper does not stop");
		poll(NULL, 0, 2);
	}
	return pid;
}

static void *let_go_on(void *arg)
{
	pid_t pid = *(pid_t *)arg;

	poll(NULL, 0, 300);
	kill(pid, SIGCONT);
	return NULL;
}

/* Until the commit is held nobody is told that the disk is there. */
START_TEST(slow_helper)
{
	pthread_t thread;
	pid_t pid;
	json_t *vbd;

	start_with_helper(STOPPING_HELPER("take"));
	host_vbd_add(&h, g, XVDB, target, 'r');
	pid = wait_stopped();
	vbd = host_list(&h, 1, XVDB);
	need(json_is_null(json_object_get(vbd, "version")), "version");
	need(json_is_null(json_object_get(vbd, "size_bytes")), "size_bytes");
	json_decref(vbd);
	need(pin_is(REF_XVDB, NULL), "%s", out);
	pthread_create(&thread, NULL, let_go_on, &pid);
	/* Answered when it is held. */
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s}", "command",
						  "hotplug-add", "path",
						  "backend/vbd/1/51728")));
	need(pin_is(REF_XVDB, commit), "%s", out);
	pthread_join(thread, NULL);
	connect_frontend();
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	wait_pin(REF_XVDB, NULL);
}
END_TEST

/* Taken and let go of again, one after the other. */
START_TEST(detach_while_holding)
{
	pthread_t thread;
	pid_t pid;

	start_with_helper(STOPPING_HELPER("take"));
	host_vbd_add(&h, g, XVDB, target, 'r');
	pid = wait_stopped();
	pthread_create(&thread, NULL, let_go_on, &pid);
	host_vbd_force(&h, g, XVDB);
	pthread_join(thread, NULL);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	need(pin_is(REF_XVDB, NULL), "%s", out);
}
END_TEST

/* The node is made anew while the old pin is being released. */
START_TEST(attach_while_releasing)
{
	pthread_t thread;
	pid_t pid;

	start_with_helper(STOPPING_HELPER("release"));
	attach("xvdb");
	host_vbd_detach_begin(&h, g, XVDB);
	host_remove(&h, "/local/domain/1/device/vbd/%u", XVDB);
	pid = wait_stopped();
	need(pin_is(REF_XVDB, commit), "%s", out);
	host_remove(&h, "/local/domain/0/backend/vbd/1/%u", XVDB);
	host_vbd_add(&h, g, XVDB, target, 'r');
	pthread_create(&thread, NULL, let_go_on, &pid);
	need(host_wait_value(&h, "2", HOST_WAIT_MS,
			     "/local/domain/0/backend/vbd/1/%u/state", XVDB),
	     "the new node is not taken");
	pthread_join(thread, NULL);
	json_decref(host_control_ok(&h, json_pack("{s:s,s:s}", "command",
						  "hotplug-add", "path",
						  "backend/vbd/1/51728")));
	need(pin_is(REF_XVDB, commit), "%s", out);
	connect_frontend();
	host_vbd_detach_begin(&h, g, XVDB);
	host_remove(&h, "%s", fe.path);
	pid = wait_stopped();
	kill(pid, SIGCONT);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
	wait_pin(REF_XVDB, NULL);
}
END_TEST

/* Never ends by itself: taking for one disk, releasing for the other. */
#define STUCK_HELPER                               \
	"case $1.$2 in take.1/51728|"              \
	"release.1/51744) kill -STOP $$ ;; esac\n" \
	"exec $HOLD \"$@\""
/* Of the helper, and some for all else. */
#define STUCK_MS_MIN 4500u
#define STUCK_MS_MAX 7500u

static void expect_stuck(uint64_t begin)
{
	uint64_t ms = host_now_ms() - begin;

	need(ms >= STUCK_MS_MIN && ms <= STUCK_MS_MAX, "took %llu ms",
	     (unsigned long long)ms);
}

/* Neither an attach nor a detach waits for it for ever. */
START_TEST(helper_is_stuck)
{
	uint64_t begin;

	start_with_helper(STUCK_HELPER);
	begin = host_now_ms();
	attach_connect();
	expect_stuck(begin);
	need(host_log_has(&h, "killed: served without a hold"),
	     "not in the log");
	compare_some("main");
	detach_finish();
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
	attach("xvdc");
	need(pin_is(REF_XVDC, commit), "%s", out);
	begin = host_now_ms();
	detach("xvdc");
	expect_stuck(begin);
	need(host_wait_unlisted(&h, 1, XVDC), "still listed");
	need(host_log_has(&h, "killed: what was served stays held"),
	     "not in the log");
}
END_TEST

/* Nor does the daemon when it is to end. */
START_TEST(stop_while_stuck)
{
	uint64_t begin;
	int status;

	start_with_helper(STOPPING_HELPER("take"));
	host_vbd_add(&h, g, XVDB, target, 'r');
	wait_stopped();
	begin = host_now_ms();
	kill(h.daemon, SIGTERM);
	need(process_wait(h.daemon, STUCK_MS_MAX, &status), "it does not end");
	expect_stuck(begin);
	need(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x",
	     status);
	h.daemon = 0;
}
END_TEST

/* Nor does it wait for a worker that is kept in its open. */
START_TEST(open_hangs)
{
	shell("cd %s/.git && rm config && mkfifo config", repository);
	host_vbd_add(&h, g, XVDB, target, 'r');
	need(host_wait_worker(&h, 1, XVDB, "opening"), "not opening");
	poll(NULL, 0, 200);
	need(host_wait_worker(&h, 1, XVDB, "opening"), "not opening");
	host_vbd_force(&h, g, XVDB);
	need(host_wait_unlisted(&h, 1, XVDB), "still listed");
}
END_TEST

#define NR_CYCLES 20

/* Open descriptors and children of the daemon. */
static void count_daemon(unsigned int *ret_nr_fds,
			 unsigned int *ret_nr_children)
{
	int pid = (int)h.daemon;

	*ret_nr_fds = (unsigned int)atoi(shell("ls /proc/%d/fd | wc -l", pid));
	*ret_nr_children = (unsigned int)atoi(
		shell("cat /proc/%d/task/*/children | wc -w", pid));
}

START_TEST(attach_again_and_again)
{
	unsigned int nr_fds[2], nr_children[2];
	uint64_t end;
	uint8_t data[FE_PAGE];

	for (unsigned int i = 0; i < NR_CYCLES; i++) {
		attach_connect();
		need(blkfront_read(&fe, 2048, data, 8) == FE_OKAY, "read");
		detach_finish();
		wait_pin(REF_XVDB, NULL);
		need(host_wait_unlisted(&h, 1, XVDB), "still listed");
		if (i == 0)
			count_daemon(&nr_fds[0], &nr_children[0]);
	}
	/* What was asked of it last is closed a moment later. */
	end = host_now_ms() + HOST_WAIT_MS;
	do
		count_daemon(&nr_fds[1], &nr_children[1]);
	while (nr_fds[1] > nr_fds[0] && host_now_ms() < end);
	need(nr_fds[1] <= nr_fds[0], "%u descriptors, were %u", nr_fds[1],
	     nr_fds[0]);
	need(nr_children[1] == nr_children[0], "%u children, were %u",
	     nr_children[1], nr_children[0]);
}
END_TEST

/* ---- ends ------------------------------------------------------------------------ */

#define UPGRADES 5

/* While the guest reads; the commit and its pin stay. */
START_TEST(upgraded_under_load)
{
	static const uint8_t operations[] = { FE_READ };
	static uint8_t model[USED_BYTES];
	struct load load = {
		.fe = &fe,
		.model = model,
		.nr_sectors = USED_BYTES / FE_SECTOR,
		.operations = operations,
		.nr_operations = 1,
		.depth = LOAD_DEPTH,
		.seed = 0x5eed,
	};
	uint64_t longest = 0;
	json_t *vbd;
	int fd = open_image("main");

	need(pread(fd, model, sizeof(model), 0) == sizeof(model), "image");
	close(fd);
	attach_connect();
	for (unsigned int k = 0; k < UPGRADES; k++) {
		pid_t old = worker_pid();
		uint64_t pause_ms;
		json_t *answer;

		fd = host_control_begin(
			&h, json_pack("{s:s,s:s,s:s}", "command", "upgrade",
				      "domain", "g1", "vdev", "xvdb"));
		pause_ms = load_until(&load, fd);
		answer = host_control_end(fd);
		need(json_is_true(json_object_get(answer, "ok")), "upgrade: %s",
		     json_string_value(json_object_get(answer, "error")));
		json_decref(answer);
		need(worker_pid() != old, "it is the same");
		longest = pause_ms > longest ? pause_ms : longest;
	}
	load_land_all_but(&load, 0);
	printf("# upgrade of a git disk: longest pause of %d: %llu ms\n",
	       UPGRADES, (unsigned long long)longest);
	vbd = host_list(&h, 1, XVDB);
	expect_key(vbd, "version", commit);
	json_decref(vbd);
	need(pin_is(REF_XVDB, commit), "the pin: %s", out);
	detach_finish();
	wait_pin(REF_XVDB, NULL);
}
END_TEST

/*
 * The guest has mounted what it was given: that is what it gets again, though
 * the branch has gone on.
 */
START_TEST(daemon_restart)
{
	char served[ID_BYTES];

	attach_connect();
	snprintf(served, sizeof(served), "%s", commit);
	compare_some(served);
	make_commit(2);
	if (_i)
		host_kill_everything(&h);
	else
		host_daemon_stop(&h);
	need(pin_is(REF_XVDB, served), "the daemon took it along: %s", out);
	host_daemon_start(&h);
	need(host_wait_worker(&h, 1, XVDB, "connected"), "not connected");
	need(pin_is(REF_XVDB, served), "another is pinned: %s", out);
	expect_node("version", served);
	compare_some(served);
	detach_finish();
	wait_pin(REF_XVDB, NULL);
}
END_TEST

START_TEST(worker_killed)
{
	attach_connect();
	need(kill(worker_pid(), SIGKILL) == 0, "kill");
	compare_some(commit);
	need(pin_is(REF_XVDB, commit), "%s", out);
	detach_finish();
	wait_pin(REF_XVDB, NULL);
}
END_TEST

START_TEST(hostile_requests)
{
	uint8_t data[FE_PAGE] = { 1 };
	struct fe_request rq;

	attach_connect();
	need(fe.feature_flush, "features");
	need(blkfront_write(&fe, 2048, data, 8) == FE_ERROR, "write");
	blkfront_fill(&fe, &rq, FE_BARRIER, 2048, 8, 0, 0);
	need(blkfront_do(&fe, &rq) == FE_ERROR, "barrier");
	blkfront_fill(&fe, &rq, FE_READ, fe.nr_sectors - 7, 8, 0, 0);
	need(blkfront_do(&fe, &rq) == FE_ERROR, "past the end");
	blkfront_fill(&fe, &rq, FE_READ, 1ull << 60, 8, 0, 0);
	need(blkfront_do(&fe, &rq) == FE_ERROR, "far away");
	blkfront_fill_discard(&fe, &rq, 2048, 8);
	need(blkfront_do(&fe, &rq) == FE_EOPNOTSUPP, "discard");
	need(blkfront_flush(&fe) == FE_OKAY, "flush");
	compare_some("main");
	detach_finish();
}
END_TEST

/* Objects are taken from under the disk: the guest's reads fail, it stays. */
START_TEST(objects_vanish)
{
	uint8_t data[FE_PAGE];

	attach_connect();
	need(blkfront_read(&fe, 2048, data, 8) == FE_OKAY, "front");
	shell("rm -rf %s/.git/objects/*", repository);
	/* The root directory is the first cluster of the data. */
	for (unsigned int i = 0, nr_bad = 0; nr_bad < 5; i++) {
		need(i < 4096, "nothing failed");
		nr_bad += blkfront_read(&fe, 2048 + i * 8, data, 8) == FE_ERROR;
	}
	need(host_log_has(&h, "provider git: read of 4096 bytes at"),
	     "not in the log");
	need(blkfront_read(&fe, 2048, data, 8) == FE_OKAY, "front");
	need(host_wait_worker(&h, 1, XVDB, "connected"), "the worker is gone");
	detach_finish();
}
END_TEST

/* As many reads as the ring takes, all of what has to be inflated. */
START_TEST(detach_while_inflating)
{
	struct fe_request rq;

	snprintf(target, sizeof(target), "git:%s?ref=main&label=SIM&cache=0",
		 repository);
	attach_connect();
	for (unsigned int i = 0; i < 32; i++) {
		blkfront_fill(&fe, &rq, FE_READ, 4096 + i * 88, 88,
			      i * FE_SEGMENTS, 0);
		blkfront_submit(&fe.queues[0], &fe, &rq);
	}
	blkfront_kick(&fe, &fe.queues[0]);
	if (_i == 0)
		detach_finish();
	else
		host_guest_destroy(&h, g);
	need(sim_wait_idle(h.sim, HOST_WAIT_MS) == 0, "maps or ports left");
	wait_pin(REF_XVDB, NULL);
	if (_i)
		blkfront_abandon(&fe);
}
END_TEST

/* ---- a worker that was taken over -------------------------------------------------- */

/* Our own program as the worker: opens at once, says so too often. */
static int hostile_worker(void)
{
	struct worker_message message;
	int fd = -1;

	if (worker_message_receive(WORKER_SOCKET_FD, &message, &fd) != 1)
		return 1;
	memset(&message, 0, sizeof(message));
	message.type = WORKER_OPENED;
	message.opened = (struct block_info){
		.size_bytes = 1 << 20,
		.logical_block_bytes = 512,
		.physical_block_bytes = 4096,
		.read_only = true,
		.hold_version = true,
	};
	snprintf(message.opened.version, sizeof(message.opened.version), "%s",
		 getenv("VERSION"));
	for (int i = 0; i < 20; i++)
		worker_message_send(WORKER_SOCKET_FD, &message, -1);
	memset(message.opened.version, 'a', sizeof(message.opened.version));
	worker_message_send(WORKER_SOCKET_FD, &message, -1);
	do
		if (worker_message_receive(WORKER_SOCKET_FD, &message, &fd) !=
		    1)
			return 1;
	while (message.type != WORKER_QUIT);
	return 0;
}

START_TEST(opened_twenty_times)
{
	static char worker[64] = "/tmp/xd-worker.XXXXXX";

	/* The daemon finds git's worker beside the one that it is given. */
	need(mkdtemp(worker), "mkdtemp");
	shell("ln -s /proc/%d/exe %s/w && ln -s /proc/%d/exe %s/w-git",
	      (int)getpid(), worker, (int)getpid(), worker);
	setenv("TEST_WORKER", strcat(worker, "/w"), 1);
	setenv("VERSION", commit, 1);
	start_with_helper("echo x >> $DIR/runs\nexec $HOLD \"$@\"");
	attach("xvdb");
	need(pin_is(REF_XVDB, commit), "%s", out);
	need(host_wait_worker(&h, 1, XVDB, "ready"), "not ready");
	need(!strcmp(shell("wc -l < %s/runs", h.dir), "1"), "%s helpers ran",
	     out);
	detach("xvdb");
	wait_pin(REF_XVDB, NULL);
	shell("rm -r ${TEST_WORKER%%/w}");
}
END_TEST

int main(int argc, char **argv)
{
	TCase *tc, *own, *walls;
	Suite *suite;

	if (argc == 3 && !strcmp(argv[1], "vbd"))
		return hostile_worker();
	suite = suite_create("git");
	tc = tcase_create("served");
	own = tcase_create("helper");
	walls = tcase_create("walls");
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup_all, teardown);
	tcase_add_test(tc, attach_by_control);
	tcase_add_test(tc, other_disks_have_no_version);
	tcase_add_test(tc, two_disks_two_pins);
	tcase_add_test(tc, survives_gc);
	tcase_add_test(tc, attach_by_xl);
	tcase_add_loop_test(tc, xl_refusals, 0, 6);
	tcase_add_test(tc, pin_is_the_owners);
	tcase_add_test(tc, no_pin_where_it_leads);
	tcase_add_test(tc, no_rights_by_a_link);
	tcase_add_test(tc, no_rights_by_a_group);
	tcase_add_test(tc, no_borrowed_rights);
	tcase_add_test(tc, read_only_repository);
	tcase_add_test(tc, open_hangs);
	tcase_add_test(tc, attach_again_and_again);
	tcase_add_loop_test(tc, daemon_restart, 0, 2);
	tcase_add_test(tc, worker_killed);
	tcase_add_test(tc, upgraded_under_load);
	tcase_add_test(tc, hostile_requests);
	tcase_add_test(tc, objects_vanish);
	tcase_add_loop_test(tc, detach_while_inflating, 0, 2);
	suite_add_tcase(suite, tc);

	tcase_set_timeout(own, 60);
	tcase_add_checked_fixture(own, setup, teardown);
	tcase_add_loop_test(own, helper_fails, 0, 3);
	tcase_add_test(own, slow_helper);
	tcase_add_test(own, detach_while_holding);
	tcase_add_test(own, attach_while_releasing);
	tcase_add_test(own, helper_is_stuck);
	tcase_add_test(own, stop_while_stuck);
	tcase_add_test(own, opened_twenty_times);
	suite_add_tcase(suite, own);

	tcase_set_timeout(walls, 60);
	tcase_add_checked_fixture(walls, setup_all, teardown);
	tcase_add_test(walls, worker_is_sandboxed);
	suite_add_tcase(suite, walls);
	return host_run(suite);
}
