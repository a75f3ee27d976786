/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * setup-modprobe: copies the modprobe.d example that keeps the kernel's
 * xen-blkback away into place, or removes it.  Never talks to the daemon.
 *
 * Only a file with the marker line is ever replaced or removed: an
 * administrator who takes the line out owns the file.
 */
#include "common/cleanup.h"
#include "common/error-text.h"
#include "diskctl/command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXAMPLE XEN_DISKD_DATADIR "/modprobe.d/xen-diskd.conf"
#define INSTALLED_DIR "/etc/modprobe.d"
#define INSTALLED INSTALLED_DIR "/xen-diskd.conf"
#define MARKER "# Managed by xen-diskctl setup-modprobe."

/* modprobe reads names that end in .conf only: never a half-written file. */
#define TEMPORARY INSTALLED ".new"

/* Far above the example; bounds what a foreign file can make us read. */
#define FILE_MAX_BYTES 65536

struct paths {
	char *example;
	char *installed_dir;
	char *installed;
	char *temporary;
	char *module;
	char *bound_vbds;
};

static char *path_below(const char *root, const char *path)
{
	char *joined;

	return asprintf(&joined, "%s%s", root, path) < 0 ? NULL : joined;
}

static void paths_fini(struct paths *paths)
{
	free(paths->example);
	free(paths->installed_dir);
	free(paths->installed);
	free(paths->temporary);
	free(paths->module);
	free(paths->bound_vbds);
}

/* -ENOMEM leaves them half built, for paths_fini(). */
static int paths_init(struct paths *paths, const char *root)
{
	paths->example = path_below(root, EXAMPLE);
	paths->installed_dir = path_below(root, INSTALLED_DIR);
	paths->installed = path_below(root, INSTALLED);
	paths->temporary = path_below(root, TEMPORARY);
	paths->module = path_below(root, "/sys/module/xen_blkback");
	paths->bound_vbds =
		path_below(root, "/sys/bus/xen-backend/drivers/vbd");
	return paths->example && paths->installed_dir && paths->installed &&
			       paths->temporary && paths->module &&
			       paths->bound_vbds
		       ? 0
		       : -ENOMEM;
}

static int fail(struct error_text *err, const char *verb, const char *path)
{
	int code = -errno;

	return error_set(err, code, "%s '%s': %s", verb, path, strerror(-code));
}

static int read_all(int fd, char *text, size_t *ret_used)
{
	size_t used = 0;
	ssize_t n;

	while ((n = read(fd, text + used, FILE_MAX_BYTES - used)) > 0)
		used += (size_t)n;
	if (n < 0)
		return -errno;
	*ret_used = used;
	return used < FILE_MAX_BYTES ? 0 : -EFBIG;
}

/* The file's text, the caller's to free. */
static int file_read(const char *path, char **ret_text, struct error_text *err)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;
	size_t used = 0;
	int rc;

	if (fd < 0)
		return fail(err, "open", path);
	text = malloc(FILE_MAX_BYTES + 1);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	rc = read_all(fd, text, &used);
	if (rc < 0) {
		free(text);
		errno = -rc;
		return fail(err, "read", path);
	}
	text[used] = '\0';
	*ret_text = text;
	return 0;
}

static int write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		ssize_t n = write(fd, text, left);

		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* Replaces the file as a whole or not at all. */
static int file_replace(const struct paths *paths, const char *text,
			struct error_text *err)
{
	cleanup_close int fd = -1;
	int rc;

	unlink(paths->temporary);
	fd = open(paths->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		  0644);
	if (fd < 0)
		return fail(err, "create", paths->temporary);
	rc = write_all(fd, text);
	if (rc == 0 && rename(paths->temporary, paths->installed) == 0)
		return 0;
	errno = rc < 0 ? -rc : errno;
	rc = fail(err, "write", paths->installed);
	unlink(paths->temporary);
	return rc;
}

static bool has_marker(const char *text)
{
	const char *found = strstr(text, MARKER);

	return found && (found == text || found[-1] == '\n');
}

/*
 * Reads the installed file: 0 with NULL if there is none, -EEXIST if it is
 * not ours to touch.
 */
static int installed_read(const struct paths *paths, char **ret_text,
			  struct error_text *err)
{
	char *text = NULL;
	int rc = file_read(paths->installed, &text, err);

	if (rc == -ENOENT) {
		*ret_text = NULL;
		return 0;
	}
	if (rc < 0)
		return rc;
	if (!has_marker(text)) {
		free(text);
		return error_set(err, -EEXIST,
				 "'%s' was not written by this command (or was "
				 "changed since): left as it is",
				 paths->installed);
	}
	*ret_text = text;
	return 0;
}

/* The vbds that the kernel's driver serves now, named on one line each. */
static unsigned int print_bound_vbds(const struct paths *paths)
{
	DIR *dir = opendir(paths->bound_vbds);
	const struct dirent *entry;
	unsigned int count = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, "vbd-", 4) != 0)
			continue;
		if (!count++)
			printf("xen-blkback serves these vbds now "
			       "(vbd-<domain id>-<device>):\n");
		printf("  %s\n", entry->d_name);
	}
	closedir(dir);
	return count;
}

/* A module built into the kernel has no initstate. */
static bool module_is_built_in(const struct paths *paths)
{
	cleanup_free char *initstate = path_below(paths->module, "/initstate");

	return initstate && access(initstate, F_OK) < 0;
}

static void print_module_state(const struct paths *paths)
{
	if (access(paths->module, F_OK) < 0) {
		printf("xen-blkback is not loaded now.\n");
		return;
	}
	if (module_is_built_in(paths)) {
		printf("xen-blkback is built into this kernel: modprobe "
		       "cannot keep it away.\n"
		       "Use xen-diskctl attach, which works beside it.\n");
		return;
	}
	printf("xen-blkback is loaded now, and takes disks until it is "
	       "unloaded.\n");
	if (print_bound_vbds(paths))
		printf("Detach them first: unloading stops their I/O.\n");
	printf("To unload it: modprobe -r xen-blkback\n");
}

static void print_cost(const struct paths *paths)
{
	printf("This keeps the kernel driver xen-blkback from being loaded "
	       "(%s).\n"
	       "What it costs: every other disk of this host that has "
	       "backendtype=phy and is\n"
	       "served by xen-blkback (LVM volumes, partitions, loop devices) "
	       "stops working\n"
	       "from the next attach, guest start or boot on.\n"
	       "What it gives: disks with script=block-xen-diskd work from "
	       "xl block-attach and\n"
	       "from disk=[...] in a guest's configuration.  Without it, use "
	       "xen-diskctl attach\n"
	       "or, with xl of Xen 4.19 or later, backendtype=tap.\n",
	       paths->installed);
}

static bool confirmed(const struct arguments *arguments)
{
	char line[16];

	if (arguments->values[OPTION_YES])
		return true;
	printf("Go on? [y/N] ");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	return strcasecmp(line, "y\n") == 0 || strcasecmp(line, "yes\n") == 0;
}

static int make_directory(const char *path, struct error_text *err)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return fail(err, "create", path);
	return 0;
}

static int install(const struct arguments *arguments, const struct paths *paths,
		   struct error_text *err)
{
	cleanup_free char *example = NULL;
	cleanup_free char *old = NULL;
	int rc = file_read(paths->example, &example, err);

	if (rc == 0)
		rc = installed_read(paths, &old, err);
	if (rc < 0)
		return rc;
	if (old && strcmp(old, example) == 0) {
		printf("%s is in place already.\n", paths->installed);
		print_module_state(paths);
		return 0;
	}
	print_cost(paths);
	print_module_state(paths);
	if (!confirmed(arguments))
		return error_set(err, -ECANCELED,
				 "not confirmed: nothing was changed");
	rc = make_directory(paths->installed_dir, err);
	if (rc == 0)
		rc = file_replace(paths, example, err);
	if (rc == 0)
		printf("Wrote %s.\n", paths->installed);
	return rc;
}

static int undo(const struct paths *paths, struct error_text *err)
{
	cleanup_free char *old = NULL;
	int rc = installed_read(paths, &old, err);

	if (rc < 0)
		return rc;
	if (!old) {
		printf("%s is not there: nothing to undo.\n", paths->installed);
		return 0;
	}
	if (unlink(paths->installed) < 0)
		return fail(err, "remove", paths->installed);
	printf("Removed %s: xen-blkback can be loaded again, and the kernel "
	       "does so\nby itself for the next disk with backendtype=phy.\n",
	       paths->installed);
	return 0;
}

static int run_setup_modprobe(const struct arguments *arguments)
{
	const char *root = arguments->values[OPTION_ROOT];
	struct paths paths = { 0 };
	struct error_text err;
	int rc = paths_init(&paths, root ? root : "");

	if (rc < 0)
		error_set(&err, rc, "out of memory");
	else if (arguments->values[OPTION_UNDO])
		rc = undo(&paths, &err);
	else
		rc = install(arguments, &paths, &err);
	paths_fini(&paths);
	if (rc == 0)
		return EXIT_CODE_DONE;
	complain("%s", err.text);
	return EXIT_CODE_FAILED;
}

const struct command command_setup_modprobe = {
	.name = "setup-modprobe",
	.operands = "",
	.summary = "keep the kernel's xen-blkback away, for xl",
	.description =
		"Lets xl attach disks to xen-diskd, by keeping the kernel's "
		"xen-blkback from\n"
		"being loaded.  This takes away all other disks of this host "
		"that xen-blkback\n"
		"serves; it says so, and asks.  Copies\n"
		"  " EXAMPLE "\n"
		"to\n"
		"  " INSTALLED,
	.options = OPTION_BIT(OPTION_UNDO) | OPTION_BIT(OPTION_YES) |
		   OPTION_BIT(OPTION_ROOT),
	.run = run_setup_modprobe,
};
