/* SPDX-License-Identifier: BSD-2-Clause */
/* One pass over a raw tree object, each entry checked against the last. */
#include "git-fat/raw-tree.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *text;
	enum raw_tree_kind kind;
} modes[] = {
	{ "100644", RAW_TREE_FILE },    { "40000", RAW_TREE_DIRECTORY },
	{ "100755", RAW_TREE_FILE },    { "120000", RAW_TREE_SYMLINK },
	{ "160000", RAW_TREE_GITLINK }, { "100664", RAW_TREE_FILE },
};

#define NR_MODES (sizeof(modes) / sizeof(modes[0]))
#define MODE_BYTES_MAX 6

void raw_tree_init(struct raw_tree *tree, const void *data, size_t bytes)
{
	*tree = (struct raw_tree){ .next = data };
	/* An empty object may come without data. */
	tree->end = bytes ? tree->next + bytes : tree->next;
}

static const char truncated[] = "an entry that is cut short";

/* Reads the mode and its space; returns the reason to refuse it, or NULL. */
static const char *read_mode(const unsigned char **p, const unsigned char *end,
			     enum raw_tree_kind *kind)
{
	size_t left = (size_t)(end - *p);
	size_t window = left < MODE_BYTES_MAX + 1 ? left : MODE_BYTES_MAX + 1;
	const unsigned char *space = memchr(*p, ' ', window);
	size_t nr_bytes;

	if (**p == '0')
		return "an entry whose mode starts with a zero";
	if (!space)
		return left <= MODE_BYTES_MAX
			       ? truncated
			       : "an entry with a mode that git does not write";
	nr_bytes = (size_t)(space - *p);
	for (size_t i = 0; i < NR_MODES; i++) {
		if (strlen(modes[i].text) == nr_bytes &&
		    !memcmp(modes[i].text, *p, nr_bytes)) {
			*kind = modes[i].kind;
			*p = space + 1;
			return NULL;
		}
	}
	return "an entry with a mode that git does not write";
}

static const char *check_name(const char *name, size_t nr_bytes)
{
	if (!nr_bytes)
		return "an entry without a name";
	if (nr_bytes == 1 && name[0] == '.')
		return "an entry named '.'";
	if (nr_bytes == 2 && !memcmp(name, "..", 2))
		return "an entry named '..'";
	if (nr_bytes == 4 && !strncasecmp(name, ".git", 4))
		return "an entry named '.git'";
	if (memchr(name, '/', nr_bytes))
		return "an entry with a slash in its name";
	return NULL;
}

/* The byte after a common prefix of nr_bytes, as trees are sorted by. */
static int byte_after(const struct raw_tree_entry *entry, size_t nr_bytes)
{
	if (nr_bytes < entry->name_bytes)
		return (unsigned char)entry->name[nr_bytes];
	return entry->kind == RAW_TREE_DIRECTORY ? '/' : 0;
}

static const char *check_order(const struct raw_tree_entry *last,
			       const struct raw_tree_entry *entry)
{
	size_t common = last->name_bytes < entry->name_bytes
				? last->name_bytes
				: entry->name_bytes;
	int order;

	if (!last->name)
		return NULL;
	order = memcmp(last->name, entry->name, common);
	if (!order && last->name_bytes == entry->name_bytes)
		return "the same name twice";
	if (!order)
		order = byte_after(last, common) - byte_after(entry, common);
	return order < 0 ? NULL : "entries that are not in order";
}

int raw_tree_next(struct raw_tree *tree, struct raw_tree_entry *ret_entry,
		  const char **ret_reason)
{
	const unsigned char *p = tree->next, *nul;
	struct raw_tree_entry entry;

	if (p == tree->end)
		return 0;
	*ret_reason = read_mode(&p, tree->end, &entry.kind);
	if (*ret_reason)
		return -EBADMSG;
	nul = memchr(p, '\0', (size_t)(tree->end - p));
	if (!nul || (size_t)(tree->end - nul) < 1 + RAW_TREE_ID_BYTES) {
		*ret_reason = truncated;
		return -EBADMSG;
	}
	entry.name = (const char *)p;
	entry.name_bytes = (size_t)(nul - p);
	entry.id = nul + 1;
	*ret_reason = check_name(entry.name, entry.name_bytes);
	if (!*ret_reason)
		*ret_reason = check_order(&tree->last, &entry);
	*ret_entry = entry;
	if (*ret_reason)
		return -EBADMSG;
	tree->next = entry.id + RAW_TREE_ID_BYTES;
	tree->last = entry;
	return 1;
}
