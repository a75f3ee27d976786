/* SPDX-License-Identifier: BSD-2-Clause */
/* The slots of one directory: what they say, and whether they may. */
#include "git-fat/verify-private.h"

#include "git-fat/names.h"

#include <errno.h>
#include <stdlib.h>

enum {
	READ_ONLY = 0x01,
	LABEL = 0x08,
	LONG_NAME = 0x0f,
	DIRECTORY = 0x10,
	ARCHIVE = 0x20,
};

#define LAST_PART 0x40
#define PART_UNITS 13u
#define PARTS_MAX 20u

/* A long name, the parts that have come so far; the last comes first. */
struct long_name {
	uint16_t units[PARTS_MAX * PART_UNITS];
	unsigned int nr_parts, next; /* next: 0 when it is whole */
	uint8_t checksum;
	bool open; /* a short name has to follow */
};

struct parser {
	struct verify *v;
	const char *path;
	const struct verify_place *place;
	struct verify_directory *directory;
	uint32_t slot; /* where it is, for messages */
	struct long_name name;
};

#define FOUND(p, what, ...) \
	verify_found((p)->v, (p)->path, "slot %u: " what, __VA_ARGS__)

/* ---- long names ------------------------------------------------------------ */

static uint8_t checksum_of(const uint8_t *short_name)
{
	uint8_t sum = 0;

	for (unsigned int i = 0; i < VERIFY_SHORT_BYTES; i++)
		sum = (uint8_t)((sum << 7 | sum >> 1) + short_name[i]);
	return sum;
}

static void take_units(struct long_name *name, const uint8_t *slot,
		       unsigned int part)
{
	static const uint8_t places[PART_UNITS] = { 1,  3,  5,  7,  9,  14, 16,
						    18, 20, 22, 24, 28, 30 };

	for (unsigned int i = 0; i < PART_UNITS; i++)
		name->units[part * PART_UNITS + i] =
			verify_le16(slot + places[i]);
}

static void start_long(struct parser *p, const uint8_t *slot)
{
	unsigned int ordinal = slot[0] & ~LAST_PART;

	if (p->name.open)
		FOUND(p, "a long name starts within another", p->slot);
	p->name.open = false;
	if (ordinal == 0 || ordinal > PARTS_MAX) {
		FOUND(p, "a long name of %u parts", p->slot, ordinal);
		return;
	}
	p->name.open = true;
	p->name.nr_parts = ordinal;
	p->name.next = ordinal;
	p->name.checksum = slot[13];
}

static void take_long(struct parser *p, const uint8_t *slot)
{
	struct long_name *name = &p->name;

	if (slot[12] || verify_le16(slot + 26))
		FOUND(p, "a long name's type or cluster is not zero", p->slot);
	if (slot[0] & LAST_PART)
		start_long(p, slot);
	if (!name->open) {
		FOUND(p, "a part of no long name", p->slot);
		return;
	}
	if (name->next == 0 || (slot[0] & ~LAST_PART) != (int)name->next) {
		FOUND(p, "part %u of a long name where part %u should be",
		      p->slot, slot[0], name->next);
		name->open = false;
		return;
	}
	if (slot[13] != name->checksum)
		FOUND(p, "checksums of a long name differ", p->slot);
	take_units(name, slot, --name->next);
}

/* The length of a long name, or 0, having reported what is wrong with it. */
static unsigned int long_length(struct parser *p)
{
	const struct long_name *name = &p->name;
	unsigned int room = name->nr_parts * PART_UNITS, nr = 0;

	while (nr < room && name->units[nr])
		nr++;
	for (unsigned int i = nr + 1; i < room; i++) {
		if (name->units[i] != 0xffff) {
			FOUND(p, "the padding of a long name is not all ones",
			      p->slot);
			break;
		}
	}
	if (nr > VERIFY_NAME_UNITS || nr + PART_UNITS <= room) {
		FOUND(p, "a long name of %u units in %u parts", p->slot, nr,
		      name->nr_parts);
		return 0;
	}
	return nr;
}

static bool is_legal_unit(uint16_t unit)
{
	return unit >= 0x20 && unit != 0x7f && unit != 0xffff &&
	       !(unit < 0x80 && strchr("\"*/:<>?\\|", unit));
}

static void check_units(struct parser *p, const uint16_t *units,
			unsigned int nr_units)
{
	struct verify_name ignored;

	for (unsigned int i = 0; i < nr_units; i++) {
		if (!is_legal_unit(units[i]))
			FOUND(p, "unit %04x is not legal in a long name",
			      p->slot, units[i]);
	}
	if (units[nr_units - 1] == '.' || units[nr_units - 1] == ' ')
		FOUND(p, "a long name ends in a dot or a space", p->slot);
	if (!verify_name_of_units(units, nr_units, &ignored))
		FOUND(p, "half a surrogate pair in a long name", p->slot);
}

/* ---- short names ----------------------------------------------------------- */

/* Writes "BASE.EXT"; returns the length. */
static unsigned int short_units(const uint8_t *bytes, uint16_t units[12])
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < 8 && bytes[i] != ' '; i++)
		units[nr++] = bytes[i];
	if (bytes[8] != ' ')
		units[nr++] = '.';
	for (unsigned int i = 8; i < 11 && bytes[i] != ' '; i++)
		units[nr++] = bytes[i];
	return nr;
}

static bool is_legal_part(const uint8_t *bytes, unsigned int nr_bytes)
{
	bool padding = false;

	for (unsigned int i = 0; i < nr_bytes; i++) {
		if (bytes[i] == ' ')
			padding = true;
		else if (padding || !verify_is_short_byte(bytes[i]))
			return false;
	}
	return true;
}

static void check_short(struct parser *p, const uint8_t *slot)
{
	if (slot[0] == ' ' || !is_legal_part(slot, 8) ||
	    !is_legal_part(slot + 8, 3))
		FOUND(p, "the short name is not a legal one", p->slot);
	if (slot[12])
		FOUND(p, "the case flags are not zero", p->slot);
}

static void check_date(struct parser *p, const char *what, uint16_t date)
{
	static const uint8_t days[] = { 31, 29, 31, 30, 31, 30,
					31, 31, 30, 31, 30, 31 };
	unsigned int month = date >> 5 & 15, day = date & 31;
	unsigned int year = 1980 + (date >> 9);
	bool leap = year % 4 == 0 && year != 2100;

	if (month < 1 || month > 12 || day < 1 || day > days[month - 1] ||
	    (month == 2 && day == 29 && !leap))
		FOUND(p, "the date %s is none", p->slot, what);
}

static void check_time(struct parser *p, const char *what, uint16_t time)
{
	if (time >> 11 > 23 || (time >> 5 & 63) > 59 || (time & 31) > 29)
		FOUND(p, "the time %s is none", p->slot, what);
}

static void check_times(struct parser *p, const uint8_t *slot)
{
	check_date(p, "made", verify_le16(slot + 16));
	check_date(p, "accessed", verify_le16(slot + 18));
	check_date(p, "written", verify_le16(slot + 24));
	check_time(p, "made", verify_le16(slot + 14));
	check_time(p, "written", verify_le16(slot + 22));
	if (slot[13] > 199)
		FOUND(p, "the time made has %u hundredths", p->slot, slot[13]);
}

static uint32_t slot_cluster(const uint8_t *slot)
{
	return (uint32_t)verify_le16(slot + 20) << 16 | verify_le16(slot + 26);
}

/* ---- slots ----------------------------------------------------------------- */

static void check_label(struct parser *p, const uint8_t *slot)
{
	if (p->place->depth != 1 || p->slot != 0)
		FOUND(p, "a label that is not at the start of the root",
		      p->slot);
	if (slot[11] != LABEL)
		FOUND(p, "attributes %02x of a label", p->slot, slot[11]);
	if (memcmp(slot, p->v->volume.label, VERIFY_SHORT_BYTES) != 0)
		FOUND(p, "the label is not that of the boot sector", p->slot);
	if (slot_cluster(slot) || verify_le32(slot + 28))
		FOUND(p, "a label with a cluster or a size", p->slot);
	check_times(p, slot);
}

/* "." and "..", slots 0 and 1. */
static void check_dot(struct parser *p, const uint8_t *slot)
{
	static const uint8_t names[2][VERIFY_SHORT_BYTES] = {
		{ ".          " },
		{ "..         " },
	};
	const char *name = p->slot ? ".." : ".";
	uint32_t want = p->slot ? p->place->parent_cluster : p->place->cluster;

	if (memcmp(slot, names[p->slot], VERIFY_SHORT_BYTES) != 0) {
		FOUND(p, "'%s' is missing", p->slot, name);
		return;
	}
	if (slot[11] != (DIRECTORY | READ_ONLY))
		FOUND(p, "attributes %02x of '%s'", p->slot, slot[11], name);
	if (slot_cluster(slot) != want)
		FOUND(p, "'%s' is cluster %u, not %u", p->slot, name,
		      slot_cluster(slot), want);
	if (verify_le32(slot + 28))
		FOUND(p, "'%s' has a size", p->slot, name);
	check_times(p, slot);
}

static void check_entry(struct parser *p, const uint8_t *slot,
			const struct verify_entry *entry)
{
	check_short(p, slot);
	check_times(p, slot);
	if (!(slot[11] & READ_ONLY))
		FOUND(p, "not read-only", p->slot);
	if ((slot[11] & ~READ_ONLY) != (entry->directory ? DIRECTORY : ARCHIVE))
		FOUND(p, "attributes %02x", p->slot, slot[11]);
	if (entry->directory && entry->size_bytes)
		FOUND(p, "a directory with a size", p->slot);
	if (entry->directory && !entry->cluster)
		FOUND(p, "a directory without a cluster", p->slot);
	if (!entry->directory && !entry->size_bytes && entry->cluster)
		FOUND(p, "an empty file with cluster %u", p->slot,
		      entry->cluster);
	if (!entry->directory && entry->size_bytes && !entry->cluster)
		FOUND(p, "a file of %u bytes without a cluster", p->slot,
		      entry->size_bytes);
}

/* The long name that stands before a short one, and how long it is. */
static unsigned int close_long(struct parser *p, const uint8_t *slot)
{
	unsigned int nr_units;

	if (!p->name.open)
		return 0;
	p->name.open = false;
	if (p->name.next) {
		FOUND(p, "%u parts of its long name are missing", p->slot,
		      p->name.next);
		return 0;
	}
	if (p->name.checksum != checksum_of(slot))
		FOUND(p, "the checksum of its long name is wrong", p->slot);
	nr_units = long_length(p);
	if (nr_units)
		check_units(p, p->name.units, nr_units);
	return nr_units;
}

/* There is room: no more entries nor units than slots have. */
static void take_short(struct parser *p, const uint8_t *slot)
{
	struct verify_directory *directory = p->directory;
	struct verify_entry *entry = &directory->entries[directory->nr_entries];
	uint16_t *units = directory->units + directory->nr_units;
	unsigned int nr_units = close_long(p, slot);

	*entry = (struct verify_entry){
		.units = directory->nr_units,
		.has_long = nr_units != 0,
		.directory = slot[11] & DIRECTORY,
		.cluster = slot_cluster(slot),
		.size_bytes = verify_le32(slot + 28),
	};
	memcpy(entry->short_name, slot, VERIFY_SHORT_BYTES);
	if (nr_units)
		memcpy(units, p->name.units, nr_units * sizeof(*units));
	else
		nr_units = short_units(slot, units);
	check_entry(p, slot, entry);
	if (!nr_units)
		return; /* reported: a name of spaces */
	entry->nr_units = (uint16_t)nr_units;
	directory->nr_units += nr_units;
	directory->nr_entries++;
}

static void take_slot(struct parser *p, const uint8_t *slot)
{
	if (p->place->depth > 1 && p->slot < 2) {
		check_dot(p, slot);
		return;
	}
	if (slot[0] == 0xe5) {
		FOUND(p, "marked as deleted", p->slot);
		return;
	}
	if ((slot[11] & 0x3f) == LONG_NAME) {
		take_long(p, slot);
		return;
	}
	if (p->place->depth == 1 && p->slot == 0 && !(slot[11] & LABEL))
		FOUND(p, "the label is missing", p->slot);
	if (slot[11] & LABEL)
		check_label(p, slot);
	else
		take_short(p, slot);
}

static void check_rest(struct parser *p, const uint8_t *slots,
		       uint32_t nr_slots)
{
	for (size_t i = (size_t)p->slot * VERIFY_SLOT_BYTES;
	     i < (size_t)nr_slots * VERIFY_SLOT_BYTES; i++) {
		if (slots[i]) {
			FOUND(p, "something after the end", p->slot);
			return;
		}
	}
}

int verify_directory_parse(struct verify *v, const char *path,
			   const struct verify_place *place,
			   const uint8_t *slots, uint32_t nr_slots,
			   struct verify_directory *ret_directory)
{
	struct parser p = {
		.v = v, .path = path, .place = place, .directory = ret_directory
	};

	*ret_directory = (struct verify_directory){
		.entries = calloc((size_t)nr_slots + 1,
				  sizeof(struct verify_entry)),
		.units = calloc((size_t)nr_slots + 1,
				PART_UNITS * sizeof(uint16_t)),
	};
	if (!ret_directory->entries || !ret_directory->units)
		return -ENOMEM;
	for (; p.slot < nr_slots; p.slot++) {
		const uint8_t *slot =
			slots + (size_t)p.slot * VERIFY_SLOT_BYTES;

		if (!slot[0])
			break;
		take_slot(&p, slot);
	}
	if (p.name.open)
		FOUND(&p, "a long name without a short one", p.slot);
	if (p.slot < (place->depth > 1 ? 2u : 1u))
		FOUND(&p, "the directory has no head", p.slot);
	check_rest(&p, slots, nr_slots);
	return 0;
}

void verify_directory_fini(struct verify_directory *directory)
{
	free(directory->entries);
	free(directory->units);
}

/* ---- names that are the same ------------------------------------------------- */

/* A long or short name, folded. */
struct folded_name {
	const uint16_t *units;
	uint32_t entry;
	uint16_t nr_units;
};

static int compare_folded(const void *a, const void *b)
{
	const struct folded_name *x = a, *y = b;
	uint16_t nr_common =
		x->nr_units < y->nr_units ? x->nr_units : y->nr_units;
	int order = memcmp(x->units, y->units, nr_common * sizeof(x->units[0]));

	return order ? order : (int)x->nr_units - (int)y->nr_units;
}

static uint16_t *fold(struct folded_name *name, const uint16_t *units,
		      unsigned int nr_units, uint32_t entry, uint16_t *room)
{
	for (unsigned int i = 0; i < nr_units; i++)
		room[i] = fat_fold(units[i]);
	name->units = room;
	name->nr_units = (uint16_t)nr_units;
	name->entry = entry;
	return room + nr_units;
}

static void report_same(struct verify *v, const struct path_name *path,
			const struct verify_directory *directory, uint32_t a,
			uint32_t b)
{
	struct path_name paths[2];

	verify_path(path, directory, &directory->entries[a], &paths[0]);
	verify_path(path, directory, &directory->entries[b], &paths[1]);
	verify_found(v, paths[1].text,
		     "one of its names is one of '%s', but for case",
		     paths[0].text);
}

int verify_directory_unique(struct verify *v, const struct path_name *path,
			    const struct verify_directory *directory)
{
	size_t nr = (size_t)directory->nr_entries * 2, first = 0;
	struct folded_name *names = calloc(nr + 1, sizeof(*names));
	uint16_t *room = calloc((size_t)directory->nr_units +
					(size_t)directory->nr_entries * 12 + 1,
				sizeof(*room));
	uint16_t *next = room, units[12];

	if (!names || !room) {
		free(names);
		free(room);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < directory->nr_entries; i++) {
		const struct verify_entry *entry = &directory->entries[i];
		unsigned int nr_short = short_units(entry->short_name, units);

		next = fold(&names[2 * i], directory->units + entry->units,
			    entry->nr_units, i, next);
		next = fold(&names[2 * i + 1], units, nr_short, i, next);
	}
	qsort(names, nr, sizeof(*names), compare_folded);
	for (size_t i = 1; i < nr; i++) {
		if (compare_folded(&names[first], &names[i]) != 0)
			first = i;
		else if (names[first].entry != names[i].entry)
			report_same(v, path, directory, names[first].entry,
				    names[i].entry);
	}
	free(names);
	free(room);
	return 0;
}
