/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Fuzzes what a new supervisor finds in its run directory: a connection's file,
 * as it was written, with changes.  What is refused is fine; what is taken has to
 * be what a frontend could have asked for.  For libFuzzer.
 *
 * An input is one byte of flags (1: with a checksum that fits; 2: cut; 4: the guest
 * has another ring), two of where it is cut, and then changes: two bytes of where, one of what.  So that it
 * means something yet when the file's layout is another one.
 */
#include "blkback/backend.h"
#include "blkback/page-pool.h"
#include "blkback/vbd-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX 65536

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct backend backend;
static const struct vbd_kind kind = { .name = "vbd" };
static char dir[] = "/dev/shm/fuzz-journal.XXXXXX";
static char path[64], table_path[64], mark[VBD_MARK_BYTES];
static bool over;
static char target[] = "/images/a.img", node[] = "/node";
static uint8_t written[FILE_MAX];
static size_t nr_written;

static void require(int holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* ---- what the journal asks of others --------------------------------------- */

int xenstore_read(struct xenstore *xs, xs_transaction_t tx, const char *where,
		  const char *key, char *value, size_t value_bytes)
{
	(void)xs, (void)tx, (void)where, (void)key;
	snprintf(value, value_bytes, "%s", over ? "over" : mark);
	return 0;
}

int xenstore_write(struct xenstore *xs, xs_transaction_t tx, const char *where,
		   const char *key, const char *value)
{
	(void)xs, (void)tx, (void)where, (void)key, (void)value;
	return 0;
}

struct vbd *backend_find_path(struct backend *of, const char *where)
{
	(void)of, (void)where;
	return NULL;
}

int vbd_write(struct vbd *vbd, enum xenbus_state new_state,
	      vbd_write_more *more)
{
	(void)new_state;
	return more(NULL, XBT_NULL, vbd);
}

bool vbd_version_is_sane(const char *version)
{
	return strnlen(version, BLOCK_VERSION_BYTES) < BLOCK_VERSION_BYTES;
}

/* ---- one file ---------------------------------------------------------------- */

static struct vbd new_vbd(void)
{
	return (struct vbd){
		.backend = &backend,
		.kind = &kind,
		.domid = 7,
		.devid = 51728,
		.path = node,
		.target = target,
		.inflight_fd = -1,
		.stats_fd = -1,
		.record_fd = -1,
	};
}

static void remove_all(void)
{
	unlink(path);
	unlink(table_path);
	rmdir(dir);
}

static void write_first(void)
{
	struct vbd vbd = new_vbd();
	struct error_text err;
	ssize_t n;
	int fd;

	vbd.params = (struct connection_params){
		.domid = vbd.domid,
		.protocol = "x86_64-abi",
		.nr_queues = 2,
		.ring_pages = 2,
		.pool_pages = PAGE_POOL_PAGES_MIN,
		.queues = { { 3, { 8, 9 } }, { 4, { 10, 11 } } },
	};
	vbd.info.size_bytes = 1 << 20;
	require(vbd_journal_create(&vbd, &err) == 0, err.text);
	memcpy(mark, vbd.mark, sizeof(mark));
	close(vbd.inflight_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = read(fd, written, sizeof(written));
	close(fd);
	require(n > 0 && n < FILE_MAX, "cannot read it");
	nr_written = (size_t)n;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	require(mkdtemp(dir) != NULL, "no directory");
	snprintf(path, sizeof(path), "%s/vbd-7-51728.connection", dir);
	snprintf(table_path, sizeof(table_path), "%s/vbd-7-51728.inflight",
		 dir);
	backend.options.run_dir = dir;
	write_first();
	atexit(remove_all);
	return 0;
}

/* FNV-1a over all before it, which is the last member. */
static void seal(uint8_t *file)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t end = nr_written - sizeof(hash);

	for (size_t i = 0; i < end; i++)
		hash = (hash ^ file[i]) * UINT64_C(0x100000001b3);
	memcpy(file + end, &hash, sizeof(hash));
}

static void put_file(const uint8_t *data, size_t size)
{
	uint8_t file[FILE_MAX];
	size_t n = nr_written;
	int fd;

	memcpy(file, written, n);
	for (size_t i = 3; i + 3 <= size; i += 3)
		file[(data[i] | (size_t)data[i + 1] << 8) % n] = data[i + 2];
	if (data[0] & 1)
		seal(file);
	if (data[0] & 2)
		n = (data[1] | (size_t)data[2] << 8) % (n + 1);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	require(write(fd, file, n) == (ssize_t)n, "cannot write it");
	close(fd);
}

static void check_taken(const struct vbd *vbd)
{
	const struct connection_params *params = &vbd->params;

	require(connection_abi(params) != NULL, "no ABI");
	require(params->domid == vbd->domid, "another guest's");
	require(params->nr_queues - 1 < CONNECTION_QUEUES_MAX, "queues");
	require(params->ring_pages - 1 < QUEUE_RING_PAGES_MAX, "pages");
	require(params->pool_pages <= PAGE_POOL_PAGES_MAX, "pool");
	require(!memcmp(vbd->mark, mark, sizeof(mark)), "another mark");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct connection_params none;
	struct vbd vbd = new_vbd();
	struct error_text err = { .text = "" };
	int rc;

	if (size < 3)
		return 0;
	put_file(data, size);
	over = data[0] & 4;
	rc = vbd_journal_load(&vbd, &err);
	require(!over || rc == -ESTALE, "of another ring");
	if (rc == 0) {
		require(vbd.inflight_fd >= 0, "no table");
		check_taken(&vbd);
	} else {
		require(vbd.inflight_fd < 0, "a table");
		require(over || strstr(err.text, dir), "it is not named");
		/* Where only the table is no good, the file is. */
		if (strstr(err.text, table_path))
			check_taken(&vbd);
		else
			require(!memcmp(&vbd.params, &none, sizeof(none)),
				"something is taken");
	}
	if (vbd.inflight_fd >= 0)
		close(vbd.inflight_fd);
	return 0;
}
