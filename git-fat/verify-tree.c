/* SPDX-License-Identifier: BSD-2-Clause */
/* What git has in a directory, and which of it an entry on the disk is. */
#include "git-fat/verify-private.h"

#include "git-fat/names.h"
#include "git-fat/repository.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* U+F000, where what FAT does not have in names is mapped to. */
#define ESCAPE 0xf000u
#define TREE_BYTES_MAX (4u << 20)
#define MARK_DIGITS 4u /* a renamed one has as many of its id, or a multiple */

/* ---- names ----------------------------------------------------------------- */

static void add_character(struct verify_name *name, uint32_t character)
{
	char *p = name->bytes + name->nr_bytes;
	size_t nr = character < 0x80      ? 1
		    : character < 0x800   ? 2
		    : character < 0x10000 ? 3
					  : 4;

	if (nr == 1) {
		p[0] = (char)character;
	} else {
		for (size_t i = nr; --i; character >>= 6)
			p[i] = (char)(0x80 | (character & 0x3f));
		p[0] = (char)((0xf00u >> nr & 0xff) | character);
	}
	name->nr_bytes += nr;
}

static bool is_half(uint16_t unit)
{
	return (unit & 0xf800) == 0xd800;
}

bool verify_name_of_units(const uint16_t *units, unsigned int nr_units,
			  struct verify_name *ret_name)
{
	ret_name->nr_bytes = 0;
	for (unsigned int i = 0; i < nr_units; i++) {
		uint32_t character = units[i];

		if (is_half(units[i])) {
			if (character >= 0xdc00 || i + 1 == nr_units ||
			    !is_half(units[i + 1]) || units[i + 1] < 0xdc00)
				return false;
			character = 0x10000 + ((character - 0xd800) << 10) +
				    (units[++i] - 0xdc00u);
		}
		if (character >= ESCAPE && character <= ESCAPE + 0xff)
			ret_name->bytes[ret_name->nr_bytes++] =
				(char)(character - ESCAPE);
		else
			add_character(ret_name, character);
	}
	return true;
}

void verify_path(const struct path_name *path,
		 const struct verify_directory *directory,
		 const struct verify_entry *entry, struct path_name *ret_path)
{
	struct verify_name name;

	*ret_path = *path;
	if (verify_name_of_units(directory->units + entry->units,
				 entry->nr_units, &name))
		path_name_append(ret_path, name.bytes, name.nr_bytes);
	else
		path_name_append(ret_path, (const char *)entry->short_name,
				 VERIFY_SHORT_BYTES);
}

/* ---- the tree object -------------------------------------------------------- */

/* What each entry is in the layout; only followed links need it. */
static const struct layout_entry **
places_of(struct verify *v, const struct layout_tree *tree, uint32_t nr)
{
	const struct layout_entry **places =
		calloc((size_t)nr + 1, sizeof(*places));
	uint32_t nr_entries = tree->nr_files + tree->nr_subdirectories;

	for (uint32_t i = 0; places && i < nr_entries; i++) {
		const struct layout_entry *entry =
			&v->tree->layout->entries[tree->entries + i];

		if (entry->position < nr)
			places[entry->position] = entry;
	}
	return places;
}

static bool is_directory(struct verify *v, const struct layout_tree *tree,
			 const struct layout_entry *place)
{
	return place - v->tree->layout->entries >=
	       (ptrdiff_t)tree->entries + tree->nr_files;
}

static void set_directory(struct verify *v, struct verify_child *child,
			  const struct layout_entry *place)
{
	const struct layout_tree *tree = &v->tree->layout->trees[place->tree];

	child->directory = true;
	child->node.known = true;
	child->node.layout = tree;
	child->node.submodule = child->raw.kind == RAW_TREE_GITLINK;
	git_oid_fromraw(&child->node.id, child->raw.id);
	if (child->raw.kind == RAW_TREE_SYMLINK) {
		child->node.submodule = tree->empty;
		git_oid_fromraw(&child->node.id, tree->id);
	}
}

/* What the entry should be on the disk; place: what the layout says. */
static bool fill_child(struct verify *v, const struct layout_tree *tree,
		       const struct layout_entry *place,
		       struct verify_child *child)
{
	bool directory;

	if (!place)
		return false;
	directory = is_directory(v, tree, place);
	git_oid_fromraw(&child->id, child->raw.id);
	switch (child->raw.kind) {
	case RAW_TREE_SYMLINK:
		if (tree->has_links)
			git_oid_fromraw(&child->id, place->id);
		if (tree->has_links && directory)
			set_directory(v, child, place);
		return true;
	case RAW_TREE_FILE:
		return !directory;
	default:
		if (directory)
			set_directory(v, child, place);
		return directory;
	}
}

static int count_raw(const git_odb_object *object, uint32_t *ret_nr,
		     const char **ret_reason)
{
	struct raw_tree_entry entry;
	struct raw_tree raw;
	int more;

	*ret_nr = 0;
	raw_tree_init(&raw, git_odb_object_data((git_odb_object *)object),
		      git_odb_object_size((git_odb_object *)object));
	while ((more = raw_tree_next(&raw, &entry, ret_reason)) > 0)
		++*ret_nr;
	return more;
}

static int fill_children(struct verify *v, const char *path,
			 const struct layout_tree *tree,
			 struct verify_children *children)
{
	const struct layout_entry **places = places_of(v, tree, children->nr);
	const char *reason;
	struct raw_tree raw;

	children->list =
		calloc((size_t)children->nr + 1, sizeof(*children->list));
	if (!places || !children->list) {
		free(places);
		return -ENOMEM;
	}
	raw_tree_init(&raw, git_odb_object_data(children->object),
		      git_odb_object_size(children->object));
	for (uint32_t i = 0; i < children->nr; i++) {
		struct verify_child *child = &children->list[i];

		raw_tree_next(&raw, &child->raw, &reason);
		if (!fill_child(v, tree, places[i], child))
			verify_found(v, path,
				     "entry %u of its tree is not laid out as "
				     "what it is",
				     i);
	}
	free(places);
	return 0;
}

int verify_children_read(struct verify *v, const char *path,
			 const struct verify_node *node,
			 struct verify_children *children)
{
	const char *reason = NULL;
	struct error_text err;

	*children = (struct verify_children){ .object = NULL };
	if (!node->known || node->submodule)
		return 0;
	if (repository_read(v->tree->odb, &node->id, GIT_OBJECT_TREE,
			    TREE_BYTES_MAX, &children->object, &err) < 0) {
		verify_found(v, path, "its tree cannot be read: %s", err.text);
		return 0;
	}
	if (count_raw(children->object, &children->nr, &reason) < 0) {
		verify_found(v, path, "its tree has %s", reason);
		children->nr = 0;
		return 0;
	}
	return fill_children(v, path, node->layout, children);
}

void verify_children_fini(struct verify_children *children)
{
	git_odb_object_free(children->object);
	free(children->list);
}

/* ---- which is which ---------------------------------------------------------- */

/* Children by name, to be searched. */
static int compare_names(const void *a, const void *b)
{
	const struct raw_tree_entry *x =
		&(*(struct verify_child *const *)a)->raw;
	const struct raw_tree_entry *y =
		&(*(struct verify_child *const *)b)->raw;
	size_t nr =
		x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
	int order = memcmp(x->name, y->name, nr);

	if (order)
		return order;
	return (x->name_bytes > y->name_bytes) -
	       (x->name_bytes < y->name_bytes);
}

static struct verify_child *find_child(struct verify_child **sorted,
				       uint32_t nr,
				       const struct verify_name *name)
{
	struct verify_child key = {
		.raw = { .name = name->bytes, .name_bytes = name->nr_bytes },
	};
	struct verify_child *wanted = &key;
	struct verify_child **found =
		bsearch(&wanted, sorted, nr, sizeof(*sorted), compare_names);

	return found && !(*found)->matched ? *found : NULL;
}

/* How many digits of the id stand at a place. */
static unsigned int nr_id_digits(const uint16_t *units, unsigned int nr_units,
				 const unsigned char *id)
{
	static const char digits[] = "0123456789abcdef";
	unsigned int nr = 0;

	while (nr < nr_units && nr < RAW_TREE_ID_BYTES * 2 &&
	       units[nr] == digits[id[nr / 2] >> (nr % 2 ? 0 : 4) & 15])
		nr++;
	return nr;
}

/*
 * Whether a name without what stands from mark to end is the child's: its
 * beginning and its end, and all of it unless the name had to be cut.
 */
static bool is_without_mark(const uint16_t *units, unsigned int nr_units,
			    unsigned int mark, unsigned int end,
			    const struct raw_tree_entry *raw)
{
	struct verify_name front, back;
	size_t nr;

	if (!verify_name_of_units(units, mark, &front) ||
	    !verify_name_of_units(units + end, nr_units - end, &back))
		return false;
	nr = front.nr_bytes + back.nr_bytes;
	return nr <= raw->name_bytes &&
	       (nr == raw->name_bytes || nr_units >= VERIFY_NAME_UNITS - 1) &&
	       memcmp(front.bytes, raw->name, front.nr_bytes) == 0 &&
	       memcmp(back.bytes, raw->name + raw->name_bytes - back.nr_bytes,
		      back.nr_bytes) == 0;
}

/* A decimal number behind a hyphen, for those whose whole id does not do. */
static unsigned int number_length(const uint16_t *units, unsigned int nr_units)
{
	unsigned int nr = 1;

	if (!nr_units || units[0] != '-')
		return 0;
	while (nr < nr_units && units[nr] >= '0' && units[nr] <= '9')
		nr++;
	return nr > 1 ? nr : 0;
}

/* Whether a name is the child's with a mark: `~` and digits of its id. */
static bool is_marked(const uint16_t *units, unsigned int nr_units,
		      const struct raw_tree_entry *raw)
{
	for (unsigned int i = 0; i < nr_units; i++) {
		unsigned int nr;

		if (units[i] != '~')
			continue;
		nr = nr_id_digits(units + i + 1, nr_units - i - 1, raw->id);
		if (nr == RAW_TREE_ID_BYTES * 2 &&
		    is_without_mark(
			    units, nr_units, i,
			    i + 1 + nr +
				    number_length(units + i + 1 + nr,
						  nr_units - i - 1 - nr),
			    raw))
			return true;
		for (nr -= nr % MARK_DIGITS; nr; nr -= MARK_DIGITS) {
			if (is_without_mark(units, nr_units, i, i + 1 + nr,
					    raw))
				return true;
		}
	}
	return false;
}

static struct verify_child *find_renamed(struct verify_children *children,
					 const uint16_t *units,
					 unsigned int nr_units)
{
	for (uint32_t i = 0; i < children->nr; i++) {
		struct verify_child *child = &children->list[i];

		if (!child->matched && is_marked(units, nr_units, &child->raw))
			return child;
	}
	return NULL;
}

static void match_exact(const struct verify_directory *directory,
			struct verify_child **sorted, uint32_t nr,
			struct verify_child **matches)
{
	struct verify_name name;

	for (uint32_t i = 0; i < directory->nr_entries; i++) {
		const struct verify_entry *entry = &directory->entries[i];

		if (!verify_name_of_units(directory->units + entry->units,
					  entry->nr_units, &name))
			continue;
		matches[i] = find_child(sorted, nr, &name);
		if (matches[i])
			matches[i]->matched = true;
	}
}

/* Those that are left: renamed, or not from here. */
static void match_renamed(struct verify *v, const struct path_name *path,
			  const struct verify_directory *directory,
			  struct verify_children *children,
			  struct verify_child **matches)
{
	for (uint32_t i = 0; i < directory->nr_entries; i++) {
		const struct verify_entry *entry = &directory->entries[i];
		struct path_name own;

		if (matches[i])
			continue;
		matches[i] =
			find_renamed(children, directory->units + entry->units,
				     entry->nr_units);
		if (matches[i]) {
			matches[i]->matched = true;
			continue;
		}
		verify_path(path, directory, entry, &own);
		verify_found(v, own.text, "is not in the tree");
	}
}

static void report_missing(struct verify *v, const struct path_name *path,
			   const struct verify_children *children)
{
	for (uint32_t i = 0; i < children->nr; i++) {
		const struct verify_child *child = &children->list[i];
		struct path_name own = *path;

		if (child->matched)
			continue;
		path_name_append(&own, child->raw.name, child->raw.name_bytes);
		verify_found(v, own.text, "is not on the disk");
	}
}

int verify_children_match(struct verify *v, const struct path_name *path,
			  const struct verify_directory *directory,
			  struct verify_children *children,
			  struct verify_child ***ret_matches)
{
	struct verify_child **sorted =
		calloc((size_t)children->nr + 1, sizeof(struct verify_child *));
	struct verify_child **matches =
		calloc((size_t)directory->nr_entries + 1,
		       sizeof(struct verify_child *));

	if (!sorted || !matches) {
		free(sorted);
		free(matches);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < children->nr; i++)
		sorted[i] = &children->list[i];
	qsort(sorted, children->nr, sizeof(struct verify_child *),
	      compare_names);
	match_exact(directory, sorted, children->nr, matches);
	match_renamed(v, path, directory, children, matches);
	report_missing(v, path, children);
	free(sorted);
	*ret_matches = matches;
	return 0;
}
