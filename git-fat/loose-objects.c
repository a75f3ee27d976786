/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading loose objects, each checked against what it says of itself. */
#include "git-fat/loose-objects.h"

#include "common/list.h"
#include "common/number.h"

#include <dirent.h>
#include <fcntl.h>
#include <git2/sys/odb_backend.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* As libgit2 has them: packs first. */
#define PACK_PRIORITY 2
#define LOOSE_PRIORITY 1
/* As git has it: alternates of alternates, and so on. */
#define ALTERNATES_DEPTH_MAX 5
#define ALTERNATES_BYTES_MAX (1u << 20)
/* Each may name many, itself among them: directories, and lines in all. */
#define PLACES_MAX 64u
#define ALTERNATES_MAX 1000u

#define INPUT_BYTES (64u << 10)
/* "commit ", a size, a NUL: 28 bytes at most. */
#define HEADER_BYTES 64u
/* What a byte of deflate's can become at most. */
#define DEFLATE_RATIO_MAX 1032u
/* Of what is no blob. */
#define OTHER_BYTES_MAX (64u << 20)

struct loose_backend {
	git_odb_backend backend;
	/* libgit2's own, for what needs no reading; we free it. */
	git_odb_backend *inner;
	char *objects_path;
};

/* An object that is being read. */
struct loose_file {
	int fd;
	uint64_t file_bytes;
	z_stream stream;
	bool ended; /* the stream has */
	uint8_t input[INPUT_BYTES];
	/* The header, and what came with it of the content. */
	uint8_t head[HEADER_BYTES];
	size_t head_bytes, content_at;
	git_object_t type;
	uint64_t size_bytes;
};

static int fail(const char *message)
{
	git_error_set_str(GIT_ERROR_ODB, message);
	return GIT_ERROR;
}

/* ---- one file --------------------------------------------------------------- */

static int open_file(const struct loose_backend *loose, const git_oid *id,
		     struct loose_file *file)
{
	char name[GIT_OID_HEXSZ + 1], path[PATH_MAX];
	struct stat st;

	git_oid_tostr(name, sizeof(name), id);
	if (snprintf(path, sizeof(path), "%s/%.2s/%s", loose->objects_path,
		     name, name + 2) >= (int)sizeof(path))
		return fail("the path of a loose object is too long");
	/* Not to wait for anybody should it be a FIFO. */
	file->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (file->fd < 0)
		return GIT_ENOTFOUND;
	if (fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    inflateInit(&file->stream) != Z_OK) {
		close(file->fd);
		return fail("a loose object cannot be read");
	}
	file->file_bytes = (uint64_t)st.st_size;
	return 0;
}

static void close_file(struct loose_file *file)
{
	inflateEnd(&file->stream);
	close(file->fd);
}

/*
 * Inflates up to nr_bytes into output; *ret_done is less only where the stream
 * ends.
 */
static int inflate_some(struct loose_file *file, uint8_t *output,
			size_t nr_bytes, size_t *ret_done)
{
	z_stream *stream = &file->stream;
	size_t done = 0;

	while (done < nr_bytes && !file->ended) {
		size_t room = nr_bytes - done;
		ssize_t got;
		int rc;

		if (!stream->avail_in) {
			got = read(file->fd, file->input, sizeof(file->input));
			if (got <= 0)
				return fail("a loose object is cut short");
			stream->next_in = file->input;
			stream->avail_in = (uInt)got;
		}
		stream->next_out = output + done;
		stream->avail_out = room < UINT_MAX ? (uInt)room : UINT_MAX;
		room = stream->avail_out;
		rc = inflate(stream, Z_NO_FLUSH);
		if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
			return fail("a loose object is damaged");
		done += room - stream->avail_out;
		file->ended = rc == Z_STREAM_END;
	}
	*ret_done = done;
	return 0;
}

/* "TYPE SIZE" and a NUL. */
static int parse_header(struct loose_file *file)
{
	char *text = (char *)file->head, *space;
	const char *nul = memchr(text, '\0', file->head_bytes);

	if (!nul)
		return fail("a loose object has no header");
	space = strchr(text, ' ');
	if (!space)
		return fail("a loose object has no size");
	*space = '\0';
	file->type = git_object_string2type(text);
	if (!git_object_typeisloose(file->type))
		return fail("a loose object is of no known type");
	/* SIZE_MAX is left out: libgit2 may want a byte more. */
	if (number_parse(space + 1, SIZE_MAX - 1, &file->size_bytes) < 0)
		return fail("a loose object has a size that is no number");
	file->content_at = (size_t)(nul - text) + 1;
	return 0;
}

/* Opens an object and reads its header. */
static int open_object(const struct loose_backend *loose, const git_oid *id,
		       struct loose_file *file)
{
	int rc;

	memset(file, 0, offsetof(struct loose_file, input));
	rc = open_file(loose, id, file);
	if (rc < 0)
		return rc;
	rc = inflate_some(file, file->head, sizeof(file->head),
			  &file->head_bytes);
	if (rc == 0)
		rc = parse_header(file);
	if (rc < 0)
		close_file(file);
	return rc;
}

/* All the content, and nothing more. */
static int read_content(struct loose_file *file, uint8_t *content)
{
	size_t had = file->head_bytes - file->content_at, done;
	uint8_t beyond;
	int rc;

	if (had > file->size_bytes)
		return fail("a loose object holds more than it says");
	memcpy(content, file->head + file->content_at, had);
	rc = inflate_some(file, content + had, file->size_bytes - had, &done);
	if (rc < 0)
		return rc;
	if (had + done < file->size_bytes)
		return fail("a loose object holds less than it says");
	/* The end of the stream, with its checksum, is still to come. */
	rc = inflate_some(file, &beyond, 1, &done);
	if (rc == 0 && done)
		return fail("a loose object holds more than it says");
	return rc;
}

static int check_size(const struct loose_file *file)
{
	if (file->size_bytes / DEFLATE_RATIO_MAX > file->file_bytes)
		return fail("a loose object is too short for what it says");
	if (file->type != GIT_OBJECT_BLOB && file->size_bytes > OTHER_BYTES_MAX)
		return fail("a loose object that is no blob has over 64 MiB");
	return 0;
}

static int read_object(struct loose_backend *loose, const git_oid *id,
		       void **ret_data, size_t *ret_bytes,
		       git_object_t *ret_type)
{
	struct loose_file file;
	uint8_t *content = NULL;
	int rc = open_object(loose, id, &file);

	if (rc < 0)
		return rc;
	rc = check_size(&file);
	if (rc < 0)
		goto out;
	/* libgit2 wants a NUL behind it. */
	content = git_odb_backend_data_alloc(&loose->backend,
					     file.size_bytes + 1);
	if (!content) {
		rc = GIT_ERROR;
		goto out;
	}
	rc = read_content(&file, content);
	if (rc < 0) {
		git_odb_backend_data_free(&loose->backend, content);
		goto out;
	}
	content[file.size_bytes] = '\0';
	*ret_data = content;
	*ret_bytes = file.size_bytes;
	*ret_type = file.type;
out:
	close_file(&file);
	return rc;
}

/* ---- the backend ------------------------------------------------------------ */

static struct loose_backend *loose_of(git_odb_backend *backend)
{
	return container_of(backend, struct loose_backend, backend);
}

static int backend_read(void **ret_data, size_t *ret_bytes,
			git_object_t *ret_type, git_odb_backend *backend,
			const git_oid *id)
{
	return read_object(loose_of(backend), id, ret_data, ret_bytes,
			   ret_type);
}

static int backend_read_header(size_t *ret_bytes, git_object_t *ret_type,
			       git_odb_backend *backend, const git_oid *id)
{
	struct loose_file file;
	int rc = open_object(loose_of(backend), id, &file);

	if (rc < 0)
		return rc;
	close_file(&file);
	*ret_bytes = file.size_bytes;
	*ret_type = file.type;
	return 0;
}

static int backend_exists(git_odb_backend *backend, const git_oid *id)
{
	git_odb_backend *inner = loose_of(backend)->inner;

	return inner->exists(inner, id);
}

static int backend_exists_prefix(git_oid *ret_id, git_odb_backend *backend,
				 const git_oid *id, size_t nr_digits)
{
	git_odb_backend *inner = loose_of(backend)->inner;

	return inner->exists_prefix(ret_id, inner, id, nr_digits);
}

static int backend_read_prefix(git_oid *ret_id, void **ret_data,
			       size_t *ret_bytes, git_object_t *ret_type,
			       git_odb_backend *backend, const git_oid *id,
			       size_t nr_digits)
{
	int rc = backend_exists_prefix(ret_id, backend, id, nr_digits);

	if (rc < 0)
		return rc;
	return backend_read(ret_data, ret_bytes, ret_type, backend, ret_id);
}

static void backend_free(git_odb_backend *backend)
{
	struct loose_backend *loose = loose_of(backend);

	if (loose->inner)
		loose->inner->free(loose->inner);
	free(loose->objects_path);
	free(loose);
}

static int new_backend(const char *objects_path, git_odb_backend **ret_backend)
{
	struct loose_backend *loose = calloc(1, sizeof(*loose));
	int rc;

	if (!loose)
		return fail("no memory");
	loose->objects_path = strdup(objects_path);
	rc = loose->objects_path
		     ? git_odb_backend_loose(&loose->inner, objects_path, -1, 0,
					     0, 0)
		     : fail("no memory");
	if (rc < 0) {
		backend_free(&loose->backend);
		return rc;
	}
	loose->backend = (git_odb_backend){
		.version = GIT_ODB_BACKEND_VERSION,
		.read = backend_read,
		.read_prefix = backend_read_prefix,
		.read_header = backend_read_header,
		.exists = backend_exists,
		.exists_prefix = backend_exists_prefix,
		.free = backend_free,
	};
	*ret_backend = &loose->backend;
	return 0;
}

/* ---- the places -------------------------------------------------------------- */

/* Where objects are looked for: a directory, and its alternates. */
struct places {
	git_odb *odb;
	unsigned int nr, nr_alternates;
	struct {
		dev_t device;
		ino_t inode;
	} visited[PLACES_MAX];
};

static int add_backend(git_odb *odb, git_odb_backend *backend, int priority,
		       bool alternate)
{
	int rc = alternate ? git_odb_add_alternate(odb, backend, priority)
			   : git_odb_add_backend(odb, backend, priority);

	if (rc < 0)
		backend->free(backend);
	return rc;
}

/* The text of `info/alternates`, for the caller to free; NULL without one. */
static char *read_alternates(const char *objects_path)
{
	char path[PATH_MAX], *text = NULL;
	struct stat st;
	ssize_t got;
	int fd;

	if (snprintf(path, sizeof(path), "%s/info/alternates", objects_path) >=
	    (int)sizeof(path))
		return NULL;
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 &&
	    st.st_size <= ALTERNATES_BYTES_MAX)
		text = malloc((size_t)st.st_size + 1);
	got = text ? read(fd, text, (size_t)st.st_size) : -1;
	close(fd);
	if (got < 0) {
		free(text);
		return NULL;
	}
	text[got] = '\0';
	return text;
}

static int add_place(struct places *places, const char *objects_path,
		     unsigned int depth);

static int add_alternate(struct places *places, const char *objects_path,
			 const char *line, unsigned int depth)
{
	char path[PATH_MAX];
	int length;

	if (!*line || *line == '#')
		return 0;
	if (places->nr_alternates++ == ALTERNATES_MAX)
		return fail("there are more than 1000 alternates");
	if (*line == '/')
		length = snprintf(path, sizeof(path), "%s", line);
	else
		length = snprintf(path, sizeof(path), "%s/%s", objects_path,
				  line);
	if (length >= (int)sizeof(path))
		return fail("the path of an alternate is too long");
	return add_place(places, path, depth + 1);
}

static int add_alternates(struct places *places, const char *objects_path,
			  unsigned int depth)
{
	char *text, *rest, *line;
	int rc = 0;

	if (depth == ALTERNATES_DEPTH_MAX)
		return 0;
	text = read_alternates(objects_path);
	rest = text;
	while (rc == 0 && (line = strsep(&rest, "\n")))
		rc = add_alternate(places, objects_path, line, depth);
	free(text);
	return rc;
}

/* libgit2 would wait for whoever writes to a FIFO there, for ever. */
static int check_packs(const char *objects_path)
{
	char path[PATH_MAX];
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int rc = 0;

	if (snprintf(path, sizeof(path), "%s/pack", objects_path) >=
	    (int)sizeof(path))
		return fail("the path of the packs is too long");
	dir = opendir(path);
	if (!dir)
		return 0;
	while (rc == 0 && (entry = readdir(dir))) {
		if (entry->d_type == DT_REG || entry->d_type == DT_DIR)
			continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
		    !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
			rc = fail("there is a pack that is no file");
	}
	closedir(dir);
	return rc;
}

/* 1 for a directory that is yet to be added, 0 for none or one that has been. */
static int visit(struct places *places, const char *objects_path)
{
	struct stat st;

	if (stat(objects_path, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	for (unsigned int i = 0; i < places->nr; i++) {
		if (places->visited[i].device == st.st_dev &&
		    places->visited[i].inode == st.st_ino)
			return 0;
	}
	if (places->nr == PLACES_MAX)
		return fail("there are alternates in more than 64 directories");
	places->visited[places->nr].device = st.st_dev;
	places->visited[places->nr++].inode = st.st_ino;
	return 1;
}

static int add_place(struct places *places, const char *objects_path,
		     unsigned int depth)
{
	git_odb_backend *backend;
	int rc = visit(places, objects_path);

	/* An alternate that is gone is passed over, as git does. */
	if (rc < 0 || (rc == 0 && depth))
		return rc;
	rc = check_packs(objects_path);
	if (rc == 0)
		rc = git_odb_backend_pack(&backend, objects_path);
	if (rc == 0)
		rc = add_backend(places->odb, backend, PACK_PRIORITY,
				 depth > 0);
	if (rc == 0)
		rc = new_backend(objects_path, &backend);
	if (rc < 0)
		return rc;
	rc = add_backend(places->odb, backend, LOOSE_PRIORITY, depth > 0);
	return rc < 0 ? rc : add_alternates(places, objects_path, depth);
}

int loose_objects_open_odb(const char *objects_path, git_odb **ret_odb)
{
	struct places places = { .nr = 0 };
	int rc = git_odb_new(&places.odb);

	if (rc < 0)
		return rc;
	rc = add_place(&places, objects_path, 0);
	if (rc < 0) {
		git_odb_free(places.odb);
		return rc;
	}
	*ret_odb = places.odb;
	return 0;
}

const char *loose_objects_place(git_odb *odb, size_t index)
{
	git_odb_backend *backend;

	for (size_t i = 0; git_odb_get_backend(&backend, odb, i) == 0; i++) {
		if (backend->read == backend_read && index-- == 0)
			return loose_of(backend)->objects_path;
	}
	return NULL;
}
