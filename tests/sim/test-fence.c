/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A dead worker's direct I/O still lands: on a device that holds one of its
 * writes until the successor is at the fence, or through it, the guest's next
 * write to the same place must not be undone.
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
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/blkfront.h"
#include "tests/sim/slow-file.h"
#include "tests/unit/loop-device.h"

#define XVDB 51728u
#define XVDC 51744u
#define DISK_BYTES (1u << 20)
#define SECTOR 64u
#define NR_SECTORS 8u
/* See providers/file.c. */
#define FENCE_BYTE (INT64_C(1) << 62)

static struct host h;
static struct guest *g;
static struct blkfront fe;
static struct slow_file *slow;
static struct loop_device loop;

static void setup(void)
{
	char path[64];

	host_start(&h);
	host_image(&h, "slow", DISK_BYTES, path);
	slow = slow_file_open(&h, path, DISK_BYTES);
	loop_device_open(&loop, path, false, FE_SECTOR);
	/* Else one write after the other. */
	need(ioctl(loop.fd, LOOP_SET_DIRECT_IO, 1ul) == 0, "direct: %s",
	     strerror(errno));
	host_daemon_start(&h);
	g = host_guest(&h, 1, "g1");
}

static void teardown(void)
{
	host_daemon_stop(&h);
	loop_device_close(&loop);
	slow_file_close(&h, slow);
	host_stop(&h);
}

/* Of a disk that shares its image: its own. */
static bool has_own_byte;

/* Somebody waits for the lock of the device's fence. */
static bool fence_has_waiter(void)
{
	char line[256], inode[32], byte[32];
	bool has = false;
	struct stat st;
	FILE *f = fopen("/proc/locks", "re");

	need(f && stat(loop.path, &st) == 0, "%s", strerror(errno));
	snprintf(inode, sizeof(inode), ":%llu ", (unsigned long long)st.st_ino);
	snprintf(byte, sizeof(byte), " %lld ", (long long)FENCE_BYTE);
	while (!has && fgets(line, sizeof(line), f))
		has = strstr(line, "->") && strstr(line, "OFDLCK") &&
		      strstr(line, inode) &&
		      !strstr(line, byte) == has_own_byte;
	fclose(f);
	return has;
}

static void submit_write(uint8_t fill)
{
	static uint8_t bytes[NR_SECTORS * FE_SECTOR];
	struct fe_request rq;

	memset(bytes, fill, sizeof(bytes));
	blkfront_fill(&fe, &rq, FE_WRITE, SECTOR, NR_SECTORS, 0, 0);
	blkfront_data_put(&fe, &rq, bytes);
	blkfront_submit(&fe.queues[0], &fe, &rq);
	blkfront_kick(&fe, &fe.queues[0]);
}

static void take_answer(void)
{
	struct fe_response rsp;

	need(blkfront_poll(&fe, &fe.queues[0], &rsp, HOST_WAIT_MS),
	     "no answer");
	need(rsp.status == FE_OKAY, "status %d", rsp.status);
}

/* True when the successor waits, false when it answers. */
static bool successor_waits(void)
{
	uint64_t end = host_now_ms() + HOST_WAIT_MS;

	for (;;) {
		if (fence_has_waiter())
			return true;
		if (*blkfront_rsp_prod(&fe.queues[0]) != fe.queues[0].rsp_cons)
			return false;
		need(host_now_ms() < end, "it does neither");
		poll(NULL, 0, 2); /* nothing tells a reader of /proc/locks */
	}
}

static void expect_on_disk(uint8_t fill)
{
	uint8_t got[NR_SECTORS * FE_SECTOR];

	need(blkfront_read(&fe, SECTOR, got, NR_SECTORS) == FE_OKAY, "read");
	for (size_t i = 0; i < sizeof(got); i++)
		need(got[i] == fill,
		     "byte %zu is %#x, and %#x was "
		     "acknowledged last",
		     i, got[i], fill);
}

static void attach(const char *target)
{
	char *error = host_vbd_attach(&h, g, XVDB, target, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(&fe, &h, g, XVDB, FE_ABI_NATIVE);
	blkfront_connect(&fe);
}

/* The device has the write, and does not end it. */
static void submit_held(void)
{
	slow_file_hold(slow);
	submit_write(0x11);
	slow_file_wait_held(slow);
}

/* The guest is gone, and the toolstack wants its disk back. */
static void detach_begin(void)
{
	host_vbd_detach_begin(&h, g, XVDB);
	host_remove(&h, "%s", fe.path);
}

static void expect_closed_when_landed(void)
{
	/* One that waits to connect has five seconds to let go. */
	need(host_wait_worker(&h, 1, XVDB, "fencing") ||
		     host_wait_worker(&h, 1, XVDB, "fencing"),
	     "nobody waits for it");
	need(!host_wait_value(&h, "6", 100, "%s/state", fe.backend),
	     "state 6 before the write has landed");
	slow_file_let_go(slow);
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
}

START_TEST(late_write_undoes_nothing)
{
	bool waits;

	attach(loop.path);
	submit_held();
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
	waits = successor_waits();
	if (waits)
		slow_file_let_go(slow);
	take_answer();
	submit_write(0x22);
	take_answer();
	/* It was answered while the first was not on the disk yet. */
	if (!waits)
		slow_file_let_go(slow);
	expect_on_disk(0x22);
	need(waits, "the successor did not wait");
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/*
 * The toolstack may give the image to others at state 6.  0: the guest lets go
 * when the worker is dead already; 1: while its successor is at the fence.
 */
START_TEST(closed_when_it_has_landed)
{
	pid_t pid;

	attach(loop.path);
	submit_held();
	pid = host_worker_pid(&h, 1, XVDB);
	need(_i || kill(h.daemon, SIGSTOP) == 0, "stop");
	need(kill(pid, SIGKILL) == 0, "kill");
	need(!_i || successor_waits(), "the successor did not wait");
	detach_begin();
	need(_i || kill(h.daemon, SIGCONT) == 0, "go on");
	expect_closed_when_landed();
}
END_TEST

/* 0: the daemon is killed meanwhile; 1: told to end; 2: who waits is killed. */
START_TEST(closed_after_more_deaths)
{
	attach(loop.path);
	submit_held();
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
	detach_begin();
	need(host_wait_worker(&h, 1, XVDB, "fencing"), "nobody waits for it");
	switch (_i) {
	case 0:
		host_daemon_kill(&h);
		host_daemon_start(&h);
		break;
	case 1:
		host_daemon_leave(&h);
		host_daemon_start(&h);
		break;
	default:
		need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
	}
	expect_closed_when_landed();
}
END_TEST

/*
 * A daemon that cannot read what the one before has written down: nobody could
 * carry out again what the worker has not answered, so it has its time.
 */
START_TEST(worker_without_a_record_is_not_hurried)
{
	char path[96];

	attach(loop.path);
	submit_held();
	host_daemon_kill(&h);
	snprintf(path, sizeof(path), "%s/run/vbd-1-%u.connection", h.dir, XVDB);
	need(unlink(path) == 0, "unlink: %s", strerror(errno));
	host_daemon_start(&h);
	need(!host_wait_worker(&h, 1, XVDB, "dead"), "it was killed");
	need(!host_wait_worker(&h, 1, XVDB, "dead"), "it was killed");
	slow_file_let_go(slow);
	take_answer();
	expect_on_disk(0x11);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
}
END_TEST

/* Nobody can wait for it by that name any more, which is said. */
START_TEST(closed_though_it_is_another)
{
	char name[96], other[64];
	pid_t pid;

	host_image(&h, "other", DISK_BYTES, other);
	snprintf(name, sizeof(name), "%s/name", h.dir);
	need(symlink(loop.path, name) == 0, "symlink");
	attach(name);
	submit_held();
	pid = host_worker_pid(&h, 1, XVDB);
	need(kill(h.daemon, SIGSTOP) == 0, "stop");
	need(kill(pid, SIGKILL) == 0, "kill");
	need(unlink(name) == 0 && symlink(other, name) == 0, "symlink");
	detach_begin();
	need(kill(h.daemon, SIGCONT) == 0, "go on");
	host_vbd_detach_end(&h, g, XVDB);
	need(host_log_has(&h, "had under way may still be written"),
	     "nothing is said");
	slow_file_let_go(slow);
	blkfront_fini(&fe);
}
END_TEST

/* The same image under two domids of one machine: localhost migration. */
START_TEST(closed_though_the_other_has_the_lock)
{
	struct blkfront other;
	struct guest *g2 = host_guest(&h, 2, "g2");
	char vm[64];

	snprintf(vm, sizeof(vm), "/vm/%s", g->uuid);
	host_write(&h, vm, "/local/domain/2/vm");
	attach(loop.path);
	submit_held();
	need(!host_vbd_attach(&h, g2, XVDB, loop.path, 'w'), "attach");
	blkfront_init(&other, &h, g2, XVDB, FE_ABI_NATIVE);
	blkfront_alloc(&other);
	blkfront_publish(&other);
	while (!fence_has_waiter())
		poll(NULL, 0, 2);
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
	slow_file_let_go(slow);
	need(blkfront_wait_backend(&other, FE_CONNECTED), "not connected");
	need(host_wait_worker(&h, 1, XVDB, "connecting"), "no successor");
	detach_begin();
	/* One that waits to connect has five seconds to let go. */
	need(host_wait_value(&h, "6", 2 * HOST_WAIT_MS, "%s/state", fe.backend),
	     "no state 6");
	host_vbd_detach_end(&h, g, XVDB);
	blkfront_fini(&fe);
	host_vbd_force(&h, g2, XVDB);
	blkfront_fini(&other);
}
END_TEST

static void attach_other(struct blkfront *other, const char *target)
{
	char *error = host_vbd_attach(&h, g, XVDC, target, 'w');

	need(!error, "attach: %s", error);
	blkfront_init(other, &h, g, XVDC, FE_ABI_NATIVE);
	blkfront_connect(other);
}

/* Of another place than the write that is held. */
static void write_and_read(struct blkfront *other, uint8_t fill)
{
	uint8_t wrote[FE_PAGE], got[FE_PAGE];

	memset(wrote, fill, sizeof(wrote));
	need(blkfront_write(other, 0, wrote, 8) == FE_OKAY, "write");
	need(blkfront_flush(other) == FE_OKAY, "flush");
	need(blkfront_read(other, 0, got, 8) == FE_OKAY, "read");
	need(!memcmp(got, wrote, sizeof(got)), "data");
}

/*
 * Each of two disks of one image waits for its own dead worker: the other goes on
 * meanwhile, and has a successor itself.
 */
START_TEST(shared_image_is_not_held_up)
{
	struct blkfront other;
	char target[80];
	pid_t pid;

	has_own_byte = true;
	snprintf(target, sizeof(target), "file:%s?share=yes", loop.path);
	attach(target);
	attach_other(&other, target);
	write_and_read(&other, 1);
	submit_held();
	pid = host_worker_pid(&h, 1, XVDC);
	need(kill(host_worker_pid(&h, 1, XVDB), SIGKILL) == 0, "kill");
	need(successor_waits(), "the successor did not wait");
	write_and_read(&other, 2);
	need(host_worker_pid(&h, 1, XVDC) == pid, "the other's worker");
	need(kill(pid, SIGKILL) == 0, "kill");
	write_and_read(&other, 3);
	need(fence_has_waiter(), "it does not wait any more");
	slow_file_let_go(slow);
	take_answer();
	expect_on_disk(0x11);
	write_and_read(&other, 4);
	host_vbd_force(&h, g, XVDB);
	blkfront_fini(&fe);
	host_vbd_force(&h, g, XVDC);
	blkfront_fini(&other);
}
END_TEST

int main(void)
{
	const char *missing = loop_device_missing();
	Suite *suite = suite_create("fence");
	TCase *tc = tcase_create("fence");

	if (!missing)
		missing = slow_file_missing();
	if (missing) {
		printf("ok - fence/late_write_undoes_nothing # SKIP %s\n",
		       missing);
	} else {
		tcase_set_timeout(tc, 30);
		tcase_add_checked_fixture(tc, setup, teardown);
		tcase_add_test(tc, late_write_undoes_nothing);
		tcase_add_loop_test(tc, closed_when_it_has_landed, 0, 2);
		tcase_add_loop_test(tc, closed_after_more_deaths, 0, 3);
		tcase_add_test(tc, worker_without_a_record_is_not_hurried);
		tcase_add_test(tc, closed_though_it_is_another);
		tcase_add_test(tc, closed_though_the_other_has_the_lock);
		tcase_add_test(tc, shared_image_is_not_held_up);
	}
	suite_add_tcase(suite, tc);
	return host_run(suite);
}
