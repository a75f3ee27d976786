/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What outlives supervisor and worker alike: two files for each connection, in
 * the run directory, which is in memory and root's alone; and the socket that a
 * worker which outlives its supervisor is found at.
 *
 * KIND-DOMID-DEVID.connection is the supervisor's: what the connection was made
 * of.  It is written whole under another name, and is there before a worker
 * serves.  KIND-DOMID-DEVID.inflight is the in-flight table, which the worker
 * has mapped; its size never changes, and all of it is allocated, so that a full
 * file system is refused here and is no SIGBUS there.
 *
 * KIND-DOMID-DEVID.sock is bound here, for the run directory is out of a worker's
 * reach; the worker listens, so that whoever connects learns its number.
 *
 * What cannot be used, as by a daemon of another version, is kept beside the files
 * of a connection that is begun anew with nothing in flight, and put back if there
 * is something: the version that wrote it can go on with it.
 *
 * A connection is told from later ones of the same numbers by a mark, random, in
 * the file and in the backend's directory: the toolstack makes that anew for each
 * device, and we write another for each connection.  While the ring of a guest that
 * has another is let go of, the mark is none that a file could have; what the file
 * says of the disk stays true.
 */
#include "blkback/vbd-private.h"

#include "blkback/backend.h"
#include "blkback/page-pool.h"
#include "common/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTION_MAGIC 0x63646278u /* "xbdc" */
#define CONNECTION_VERSION 6u
#define MARK_KEY "connection"
#define MARK_OVER "over"

struct connection_file {
	uint32_t magic, version;
	uint32_t bytes;
	uint32_t devid;
	int32_t slot; /* of the worker */
	char mark[VBD_MARK_BYTES];
	char target[PROVIDER_SPEC_BYTES];
	/* Bits: see block_info. */
	bool read_only : 1, disk_failed : 1, frontend_connected : 1;
	struct block_info info;
	struct connection_params params;
	uint64_t check; /* of all before it */
};

enum journal_file {
	CONNECTION,
	CONNECTION_NEW,
	INFLIGHT,
	CONNECTION_LOST,
	INFLIGHT_LOST,
	SOCKET
};

static void journal_path(const struct vbd *vbd, enum journal_file file,
			 char path[PATH_MAX])
{
	static const char *const suffixes[] = {
		[CONNECTION] = "connection",
		[CONNECTION_NEW] = "connection.new",
		[INFLIGHT] = "inflight",
		[CONNECTION_LOST] = "connection.lost",
		[INFLIGHT_LOST] = "inflight.lost",
		[SOCKET] = "sock",
	};

	snprintf(path, PATH_MAX, "%s/%s-%u-%u.%s",
		 vbd->backend->options.run_dir, vbd->kind->name, vbd->domid,
		 vbd->devid, suffixes[file]);
}

void vbd_journal_table_path(const struct vbd *vbd, char path[PATH_MAX])
{
	journal_path(vbd, INFLIGHT, path);
}

/* FNV-1a: against damage, not against malice. */
static uint64_t check_of(const struct connection_file *file)
{
	const unsigned char *bytes = (const void *)file;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < offsetof(struct connection_file, check); i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static void remove_file(const struct vbd *vbd, enum journal_file file)
{
	char path[PATH_MAX];

	journal_path(vbd, file, path);
	unlink(path);
}

/* All but the connection's file. */
static void remove_tables(struct vbd *vbd)
{
	if (vbd->inflight_fd >= 0)
		close(vbd->inflight_fd);
	vbd->inflight_fd = -1;
	vbd->set_aside = false;
	for (int i = CONNECTION + 1; i <= INFLIGHT_LOST; i++)
		remove_file(vbd, (enum journal_file)i);
}

void vbd_journal_remove(struct vbd *vbd)
{
	remove_tables(vbd);
	remove_file(vbd, CONNECTION);
}

static bool exists(const struct vbd *vbd, enum journal_file file)
{
	char path[PATH_MAX];
	struct stat st;

	journal_path(vbd, file, path);
	return lstat(path, &st) == 0;
}

bool vbd_journal_exists(const struct vbd *vbd)
{
	return vbd->mark[0] &&
	       (exists(vbd, CONNECTION) || exists(vbd, CONNECTION_LOST) ||
		exists(vbd, INFLIGHT) || exists(vbd, INFLIGHT_LOST));
}

static void rename_file(const struct vbd *vbd, enum journal_file from,
			enum journal_file to)
{
	char from_path[PATH_MAX], to_path[PATH_MAX];

	journal_path(vbd, from, from_path);
	journal_path(vbd, to, to_path);
	if (rename(from_path, to_path) < 0)
		vbd_log(LOG_LEVEL_WARNING, vbd, "rename '%s': %s", from_path,
			strerror(errno));
}

/*
 * Unless both files are there, an attempt was cut short: what it has put aside is all
 * that there is.
 */
static void find_again(const struct vbd *vbd)
{
	if (exists(vbd, CONNECTION) && exists(vbd, INFLIGHT))
		return;
	if (exists(vbd, INFLIGHT_LOST))
		rename_file(vbd, INFLIGHT_LOST, INFLIGHT);
	if (exists(vbd, CONNECTION_LOST))
		rename_file(vbd, CONNECTION_LOST, CONNECTION);
}

/*
 * What is aside already is of an attempt that did not stand: nothing that was made
 * since is worth more, for it is forgotten when a connection stands.
 */
static void set_aside(struct vbd *vbd)
{
	vbd->set_aside = true;
	if (!exists(vbd, INFLIGHT_LOST) && exists(vbd, INFLIGHT))
		rename_file(vbd, INFLIGHT, INFLIGHT_LOST);
	if (!exists(vbd, CONNECTION_LOST) && exists(vbd, CONNECTION))
		rename_file(vbd, CONNECTION, CONNECTION_LOST);
}

/* Where there was none, there is none. */
static void put_back(const struct vbd *vbd, enum journal_file lost,
		     enum journal_file file)
{
	if (exists(vbd, lost))
		rename_file(vbd, lost, file);
	else
		remove_file(vbd, file);
}

void vbd_journal_put_back(struct vbd *vbd)
{
	if (!vbd->set_aside)
		return;
	if (vbd->inflight_fd >= 0)
		close(vbd->inflight_fd);
	vbd->inflight_fd = -1;
	/* Whoever is killed in between leaves none with another's table. */
	remove_file(vbd, CONNECTION);
	put_back(vbd, INFLIGHT_LOST, INFLIGHT);
	put_back(vbd, CONNECTION_LOST, CONNECTION);
	vbd->set_aside = false;
}

void vbd_journal_forget_lost(struct vbd *vbd)
{
	remove_file(vbd, CONNECTION_LOST);
	remove_file(vbd, INFLIGHT_LOST);
	vbd->set_aside = false;
}

/* ---- writing ------------------------------------------------------------ */

static int write_all(int fd, const void *bytes, size_t nr_bytes)
{
	ssize_t n = write(fd, bytes, nr_bytes);

	if (n < 0)
		return -errno;
	return (size_t)n == nr_bytes ? 0 : -ENOSPC;
}

static int write_connection(const struct vbd *vbd, struct error_text *err)
{
	struct connection_file file;
	char path[PATH_MAX], new_path[PATH_MAX];
	cleanup_close int fd = -1;
	int rc;

	/* Padding as well: it is in the checksum. */
	memset(&file, 0, sizeof(file));
	file.magic = CONNECTION_MAGIC;
	file.version = CONNECTION_VERSION;
	file.bytes = sizeof(file);
	file.devid = vbd->devid;
	file.slot = vbd->slot;
	memcpy(file.mark, vbd->mark, sizeof(file.mark));
	snprintf(file.target, sizeof(file.target), "%s", vbd->target);
	file.read_only = vbd->read_only;
	file.disk_failed = vbd->disk_failed;
	file.frontend_connected = vbd->frontend_connected;
	memcpy(&file.info, &vbd->info, sizeof(file.info));
	memcpy(&file.params, &vbd->params, sizeof(file.params));
	file.check = check_of(&file);
	journal_path(vbd, CONNECTION, path);
	journal_path(vbd, CONNECTION_NEW, new_path);
	/* Whatever is there: nobody waits for it. */
	unlink(new_path);
	fd = open(new_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : write_all(fd, &file, sizeof(file));
	if (!rc && rename(new_path, path) < 0)
		rc = -errno;
	if (rc < 0) {
		unlink(new_path);
		return error_set(err, rc, "write '%s': %s", path,
				 strerror(-rc));
	}
	return 0;
}

static int create_inflight(struct vbd *vbd, struct error_text *err)
{
	char path[PATH_MAX];
	int rc = 0;

	journal_path(vbd, INFLIGHT, path);
	vbd->inflight_fd = open(
		path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (vbd->inflight_fd < 0)
		rc = -errno;
	else
		rc = -posix_fallocate(
			vbd->inflight_fd, 0,
			(off_t)connection_inflight_bytes(&vbd->params));
	if (rc < 0)
		return error_set(err, rc, "make '%s': %s", path, strerror(-rc));
	return 0;
}

static int write_mark(struct xenstore *xs, xs_transaction_t tx, struct vbd *vbd)
{
	return xenstore_write(xs, tx, vbd->path, MARK_KEY, vbd->mark);
}

static int make_mark(struct vbd *vbd, struct error_text *err)
{
	uint64_t value;

	if (getrandom(&value, sizeof(value), 0) != sizeof(value))
		return error_set(err, -EIO, "mark the connection: %s",
				 strerror(errno));
	snprintf(vbd->mark, sizeof(vbd->mark), "%016llx",
		 (unsigned long long)value);
	return 0;
}

static int publish_mark(struct vbd *vbd, struct error_text *err)
{
	int rc = vbd_write(vbd, vbd->state, write_mark);

	if (rc == -ENOENT)
		rc = -ESTALE;
	if (rc < 0)
		return error_set(err, rc, "mark the connection: %s",
				 strerror(-rc));
	return 0;
}

static int write_over(struct xenstore *xs, xs_transaction_t tx, struct vbd *vbd)
{
	return xenstore_write(xs, tx, vbd->path, MARK_KEY, MARK_OVER);
}

static bool is_over(const struct vbd *vbd)
{
	return !strcmp(vbd->mark, MARK_OVER);
}

static void mark_over(struct vbd *vbd)
{
	snprintf(vbd->mark, sizeof(vbd->mark), "%s", MARK_OVER);
}

int vbd_journal_end(struct vbd *vbd)
{
	int rc = is_over(vbd) ? 0 : vbd_write(vbd, vbd->state, write_over);

	if (rc < 0)
		return rc;
	mark_over(vbd);
	remove_tables(vbd);
	return 0;
}

static int write_files(struct vbd *vbd, struct error_text *err)
{
	int rc = create_inflight(vbd, err);

	return rc < 0 ? rc : write_connection(vbd, err);
}

/* What has been found keeps its mark, and stays if that fails. */
static int create_instead(struct vbd *vbd, struct error_text *err)
{
	int old_fd = vbd->inflight_fd;
	int rc;

	vbd->inflight_fd = -1;
	set_aside(vbd);
	/* Of an attempt that did not stand. */
	remove_file(vbd, CONNECTION);
	remove_file(vbd, INFLIGHT);
	rc = write_files(vbd, err);
	if (rc < 0) {
		vbd_journal_put_back(vbd);
		vbd->inflight_fd = old_fd;
	} else if (old_fd >= 0) {
		close(old_fd);
	}
	return rc;
}

int vbd_journal_create(struct vbd *vbd, struct error_text *err)
{
	bool over = is_over(vbd);
	int rc;

	if (vbd->params.origin != QUEUE_NEW && vbd->mark[0])
		return create_instead(vbd, err);
	/* Until there is another, what the old file says of the disk is needed. */
	remove_tables(vbd);
	rc = make_mark(vbd, err);
	if (!rc)
		rc = write_files(vbd, err);
	if (!rc)
		rc = publish_mark(vbd, err);
	if (rc < 0 && over) {
		mark_over(vbd);
		remove_tables(vbd);
	} else if (rc < 0) {
		vbd_journal_remove(vbd);
	}
	return rc;
}

void vbd_journal_note(struct vbd *vbd)
{
	struct error_text err;

	if (vbd->inflight_fd >= 0 && write_connection(vbd, &err) < 0)
		vbd_log(LOG_LEVEL_WARNING, vbd, "%s", err.text);
}

void vbd_journal_update(struct vbd *vbd)
{
	struct error_text err;
	char path[PATH_MAX];

	if ((vbd->inflight_fd < 0 && !is_over(vbd)) ||
	    !write_connection(vbd, &err))
		return;
	/* What it says is so no more; and it is in the way on a full disk. */
	journal_path(vbd, CONNECTION, path);
	unlink(path);
	if (write_connection(vbd, &err) < 0)
		vbd_log(LOG_LEVEL_ERROR, vbd, "%s", err.text);
}

/* ---- reading ------------------------------------------------------------ */

static bool ends(const char *text, size_t bytes)
{
	return strnlen(text, bytes) < bytes;
}

/* As negotiate_read_frontend() makes them. */
static bool params_are_sane(const struct connection_params *params)
{
	return params->begun_as < QUEUE_LEFT &&
	       ends(params->protocol, sizeof(params->protocol)) &&
	       connection_abi(params) && params->nr_queues &&
	       params->nr_queues <= CONNECTION_QUEUES_MAX &&
	       params->ring_pages &&
	       params->ring_pages <= QUEUE_RING_PAGES_MAX &&
	       params->pool_pages >= PAGE_POOL_PAGES_MIN &&
	       params->pool_pages <= PAGE_POOL_PAGES_MAX &&
	       !(params->ring_pages & (params->ring_pages - 1));
}

/* Why what is there is not to be used, or NULL. */
static const char *refusal(const struct vbd *vbd,
			   const struct connection_file *file, size_t nr_bytes)
{
	if (nr_bytes < offsetof(struct connection_file, devid) ||
	    file->magic != CONNECTION_MAGIC)
		return "is damaged";
	if (file->version != CONNECTION_VERSION || file->bytes != sizeof(*file))
		return "is of another version of the daemon";
	if (nr_bytes != sizeof(*file) || file->check != check_of(file))
		return "is damaged";
	if (!ends(file->mark, sizeof(file->mark)) ||
	    (strcmp(file->mark, vbd->mark) != 0 && !is_over(vbd)))
		return "is of another connection";
	if (!ends(file->target, sizeof(file->target)) ||
	    strcmp(file->target, vbd->target) != 0 ||
	    file->read_only != vbd->read_only || file->devid != vbd->devid)
		return "is of another disk";
	if (!vbd_version_is_sane(file->info.version))
		return "is damaged";
	/* Of the disk alone: see take_disk(). */
	if (is_over(vbd))
		return NULL;
	if (file->params.domid != vbd->domid)
		return "is of another disk";
	return file->slot >= 0 && file->slot < (int)BACKEND_VBDS_MAX &&
			       params_are_sane(&file->params)
		       ? NULL
		       : "is damaged";
}

static int read_connection(const struct vbd *vbd, struct connection_file *file,
			   struct error_text *err)
{
	char path[PATH_MAX];
	cleanup_close int fd = -1;
	const char *reason;
	ssize_t n = -1;

	journal_path(vbd, CONNECTION, path);
	/* Whatever is there: nobody waits for it. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0)
		n = read(fd, file, sizeof(*file));
	if (n < 0)
		return error_set(err, -errno, "'%s': %s", path,
				 strerror(errno));
	reason = refusal(vbd, file, (size_t)n);
	if (reason)
		return error_set(err, -EINVAL, "'%s' %s", path, reason);
	return 0;
}

/* Of the disk, whatever ring the guest has. */
static void take_disk(struct vbd *vbd, const struct connection_file *file)
{
	vbd->info = file->info;
	vbd->disk_failed = file->disk_failed;
}

static void take_connection(struct vbd *vbd, const struct connection_file *file)
{
	take_disk(vbd, file);
	vbd->params = file->params;
	/* Of the next death nobody knows: it counts as one from outside. */
	vbd->params.crashed = false;
	vbd->frontend_connected = file->frontend_connected;
	vbd->slot = file->slot;
}

static int open_inflight(struct vbd *vbd, struct error_text *err)
{
	char path[PATH_MAX];
	struct stat st;
	int rc = 0;

	journal_path(vbd, INFLIGHT, path);
	vbd->inflight_fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (vbd->inflight_fd < 0 || fstat(vbd->inflight_fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode) ||
		 (uint64_t)st.st_size !=
			 connection_inflight_bytes(&vbd->params))
		return error_set(err, -EINVAL, "'%s' has been cut", path);
	if (rc < 0)
		return error_set(err, rc, "'%s': %s", path, strerror(-rc));
	return 0;
}

int vbd_journal_load(struct vbd *vbd, struct error_text *err)
{
	struct connection_file file;
	int rc = xenstore_read(vbd->backend->xs, XBT_NULL, vbd->path, MARK_KEY,
			       vbd->mark, sizeof(vbd->mark));

	if (rc < 0) {
		vbd->mark[0] = '\0';
		error_set(err, rc, "no connection is marked");
	} else if (is_over(vbd)) {
		if (!read_connection(vbd, &file, err))
			take_disk(vbd, &file);
		rc = error_set(err, -ESTALE, "the guest has another ring");
	} else {
		find_again(vbd);
		rc = read_connection(vbd, &file, err);
		if (!rc)
			take_connection(vbd, &file);
	}
	if (!rc)
		rc = open_inflight(vbd, err);
	/* It was made in place of these, and has not stood yet. */
	vbd->set_aside = !rc && (exists(vbd, CONNECTION_LOST) ||
				 exists(vbd, INFLIGHT_LOST));
	if (rc < 0) {
		if (vbd->inflight_fd >= 0)
			close(vbd->inflight_fd);
		vbd->inflight_fd = -1;
		vbd->lost = *err;
	}
	return rc;
}

/* ---- the worker's socket -------------------------------------------------- */

static int socket_address(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	memcpy(address->sun_path, path, strlen(path));
	return 0;
}

static int bind_socket(const char *path)
{
	struct sockaddr_un address;
	int rc = socket_address(path, &address);
	int fd;

	if (rc < 0)
		return rc;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int vbd_journal_listen(struct vbd *vbd)
{
	char path[PATH_MAX];
	int fd;

	journal_path(vbd, SOCKET, path);
	fd = bind_socket(path);
	if (fd < 0)
		vbd_log(LOG_LEVEL_WARNING, vbd,
			"make '%s': %s; the worker will end when the daemon "
			"does",
			path, strerror(-fd));
	return fd;
}

static int call(const char *path)
{
	struct sockaddr_un address;
	int rc = socket_address(path, &address);
	int fd;

	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

int vbd_journal_call(const struct vbd *vbd)
{
	char path[PATH_MAX];

	journal_path(vbd, SOCKET, path);
	return call(path);
}

void vbd_journal_hang_up(const struct vbd *vbd)
{
	char path[PATH_MAX];

	journal_path(vbd, SOCKET, path);
	unlink(path);
}

/* A worker that serves a disk which is gone ends when it is told so. */
static void dismiss(const char *directory, const char *name)
{
	const struct worker_message message = { .type = WORKER_QUIT };
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	fd = call(path);
	if (fd < 0)
		return;
	/* It reads this when it has noticed that its supervisor is gone. */
	worker_message_send(fd, &message, -1);
	close(fd);
}

/* ---- what is left of disks that are gone --------------------------------- */

/*
 * "KIND-DOMID-DEVID.what", of a node that is in XenStore no more, or was made anew
 * for another backend: whoever serves it has a mark there.
 */
static bool is_stale(struct backend *backend, const char *name)
{
	char kind[8], path[96], value[VBD_MARK_BYTES];
	unsigned int domid, devid;
	int end = 0;

	if (sscanf(name, "%7[a-z0-9]-%u-%u.%n", kind, &domid, &devid, &end) <
		    3 ||
	    (strncmp(name + end, "connection", strlen("connection")) != 0 &&
	     strncmp(name + end, "inflight", strlen("inflight")) != 0 &&
	     strcmp(name + end, "sock") != 0))
		return false;
	snprintf(path, sizeof(path), "/local/domain/%u/backend/%s/%u/%u",
		 backend->domid, kind, domid, devid);
	return !backend_find_path(backend, path) &&
	       xenstore_read(backend->xs, XBT_NULL, path, MARK_KEY, value,
			     sizeof(value)) == -ENOENT;
}

void vbd_journal_clean(struct backend *backend)
{
	DIR *dir = opendir(backend->options.run_dir);
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (!is_stale(backend, entry->d_name))
			continue;
		dismiss(backend->options.run_dir, entry->d_name);
		unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
}
