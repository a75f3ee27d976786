/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * git-fat/verify.h: a sound disk has no findings, and each way to damage it
 * has one that names it.
 */
#include "git-fat/verify.h"

#include "common/list.h"
#include "git-fat/verify-private.h"
#include "tests/unit/git-fat/repository-fixture.h"
#include "tests/unit/git-fat/unit-git-fat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * An image in memory, what is behind its last used cluster being zero; and
 * what was found in it.
 */
struct image {
	struct verify_source source;
	struct verify_sink sink;
	uint8_t *bytes;
	size_t nr_bytes;
	uint64_t fail_at; /* reads of this offset fail */
	char found[64][1024];
	unsigned int nr_found;
	struct fixture fixture;
	struct git_disk *disk;
	const struct volume *volume;
	struct verify_tree tree;
};

static struct image image;

static int read_image(struct verify_source *source, uint64_t offset,
		      void *buffer, size_t nr_bytes, struct error_text *err)
{
	struct image *own = container_of(source, struct image, source);
	size_t held = 0;

	ck_assert_uint_le(offset, source->size_bytes);
	ck_assert_uint_le(nr_bytes, source->size_bytes - offset);
	if (own->fail_at >= offset && own->fail_at < offset + nr_bytes)
		return error_set(err, -EIO, "object is gone");
	if (offset < own->nr_bytes)
		held = own->nr_bytes - offset < nr_bytes
			       ? own->nr_bytes - (size_t)offset
			       : nr_bytes;
	if (held)
		memcpy(buffer, own->bytes + offset, held);
	memset((uint8_t *)buffer + held, 0, nr_bytes - held);
	return 0;
}

static void note(struct verify_sink *sink, const char *path, const char *what)
{
	struct image *own = container_of(sink, struct image, sink);

	if (own->nr_found < NR_OF(own->found))
		snprintf(own->found[own->nr_found], sizeof(own->found[0]),
			 "%s: %s", path, what);
	own->nr_found++;
}

/* Names of every kind, files of every size that matters. */
static git_oid make_tree(struct fixture *fixture)
{
	static char big[20000], name[256];
	struct fixture_file files[] = {
		{ MODE_FILE, "UPPER.TXT", "upper" },
		{ MODE_FILE, "lower name of a file.txt", "lower" },
		{ MODE_FILE, "thirteenunits", "thirteen" },
		{ MODE_FILE, "empty", "" },
		{ MODE_FILE, "big", big },
		{ MODE_FILE, "Case", "1" },
		{ MODE_FILE, "case", "2" },
		{ MODE_FILE, "CASE.", "3" },
		{ MODE_FILE, "case.C", "4" },
		{ MODE_FILE, "case.c", "4" },
		{ MODE_FILE, "a:b*", "colon" },
		{ MODE_FILE, "\xff\xfe", "bytes" },
		{ MODE_FILE, "\xef\x80\xba", "U+F03A" },
		{ MODE_FILE, "\xf0\x9f\x98\x80", "beyond the BMP" },
		{ MODE_FILE, name, "255 units" },
		{ MODE_FILE, "sub/file", "in sub" },
		{ MODE_FILE, "sub/deeper/file", "in deeper" },
		{ MODE_LINK, "sub/link", "deeper" },
		{ MODE_LINK, "dangling", "nowhere" },
		{ MODE_GITLINK, "sub/module", NULL },
		{ MODE_LINK, "to-module", "sub/module" },
		{ MODE_LINK, "to-file", "sub/deeper/file" },
	};

	memset(big, 'x', sizeof(big) - 1);
	memset(name, 'n', sizeof(name) - 1);
	return fixture_files(fixture, files, NR_OF(files));
}

static void image_init(bool partition, bool follow_links)
{
	char text[OBJECT_NAME_BYTES];
	struct git_disk_options options;
	struct git_disk_reader *reader;
	struct error_text err;
	git_oid tree;

	fixture_init(&image.fixture);
	tree = make_tree(&image.fixture);
	tree = fixture_commit(&image.fixture, &tree, 1700000001);
	options = fixture_options(&image.fixture, &tree, text);
	options.partition = partition;
	options.follow_links = follow_links;
	image.disk = fixture_disk(&options);
	image.volume = git_disk_volume(image.disk);
	image.nr_bytes = image.volume->data_sector * 512 +
			 (size_t)(image.volume->nr_clusters -
				  image.volume->nr_free_clusters) *
				 4096;
	image.bytes = malloc(image.nr_bytes);
	ck_assert_int_eq(git_disk_reader_open(image.disk, &reader, &err), 0);
	ck_assert_int_eq(
		git_disk_read(reader, 0, image.bytes, image.nr_bytes, &err), 0);
	git_disk_reader_close(reader);
	image.fail_at = UINT64_MAX;
	image.source.read = read_image;
	image.source.size_bytes = git_disk_size_bytes(image.disk);
	image.sink.found = note;
	image.tree.odb = image.fixture.odb;
	image.tree.root = git_disk_tree(image.disk)->tree;
	image.tree.layout = git_disk_layout(image.disk);
}

static void image_fini(void)
{
	git_disk_close(image.disk);
	fixture_fini(&image.fixture);
	free(image.bytes);
}

static struct verify_counts run(bool with_tree)
{
	struct verify_counts counts = { .nr_findings = 0 };
	struct error_text err;

	image.nr_found = 0;
	ck_assert_int_eq(verify_disk(&image.source,
				     with_tree ? &image.tree : NULL,
				     &image.sink, &counts, &err),
			 0);
	ck_assert_uint_eq(counts.nr_findings, image.nr_found);
	return counts;
}

START_TEST(sound_disk_has_no_findings)
{
	struct verify_counts counts;

	image_init(_i & 1, _i & 2);
	counts = run(true);
	ck_assert_msg(image.nr_found == 0, "%s", image.found[0]);
	/* A link to a directory brings its file along; the module's is one. */
	ck_assert_uint_eq(counts.nr_files, (_i & 2 ? 20u : 21u));
	ck_assert_uint_eq(counts.nr_directories, (_i & 2 ? 5u : 3u));
	ck_assert_uint_gt(counts.nr_bytes, 20000);
	run(false);
	ck_assert_uint_eq(image.nr_found, 0);
	image_fini();
}
END_TEST

/* ---- places in the image -------------------------------------------------------- */

static uint8_t *at_volume(size_t offset)
{
	return image.bytes + image.volume->partition_sector * 512 + offset;
}

static uint8_t *at_fat(unsigned int fat, uint32_t cluster)
{
	return image.bytes +
	       (image.volume->fat_sector + fat * image.volume->fat_sectors) *
		       512 +
	       (size_t)cluster * 4;
}

static uint8_t *at_cluster(uint32_t cluster)
{
	return image.bytes + image.volume->data_sector * 512 +
	       (size_t)(cluster - 2) * 4096;
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htole32(value);
	memcpy(at, &value, 4);
}

/* Both FATs. */
static void put_fat(uint32_t cluster, uint32_t value)
{
	put32(at_fat(0, cluster), value);
	put32(at_fat(1, cluster), value);
}

/* The slot with a short name that starts so. */
static uint8_t *slot_from(uint8_t *slot, const char *name)
{
	for (; *slot; slot += 32) {
		if (slot[11] != 0x0f && memcmp(slot, name, strlen(name)) == 0)
			return slot;
	}
	ck_abort_msg("no slot '%s'", name);
}

static uint8_t *root_slot(const char *name)
{
	return slot_from(at_cluster(2), name);
}

static uint32_t cluster_of(const uint8_t *slot)
{
	return (uint32_t)verify_le16(slot + 20) << 16 | verify_le16(slot + 26);
}

static void put_cluster(uint8_t *slot, uint32_t cluster)
{
	slot[20] = (uint8_t)(cluster >> 16);
	slot[21] = (uint8_t)(cluster >> 24);
	slot[26] = (uint8_t)cluster;
	slot[27] = (uint8_t)(cluster >> 8);
}

static uint8_t *sub(void)
{
	return at_cluster(cluster_of(root_slot("SUB  ")));
}

static uint8_t *root_end(void)
{
	uint8_t *slot = at_cluster(2);

	while (*slot)
		slot += 32;
	return slot;
}

/* ---- damages ---------------------------------------------------------------------- */

static void table_mark(void)
{
	image.bytes[510] = 0;
}
static void table_type(void)
{
	image.bytes[446 + 4] = 0x0b;
}
static void table_end(void)
{
	image.bytes[446 + 12] -= 8;
}
static void table_second(void)
{
	image.bytes[446 + 16 + 4] = 0x83;
}
static void table_beyond(void)
{
	put32(image.bytes + 446 + 8, UINT32_MAX);
}
static void boot_mark(void)
{
	at_volume(0)[511] = 0;
}
static void boot_sector_size(void)
{
	at_volume(0)[12] = 4;
}
static void boot_cluster_size(void)
{
	at_volume(0)[13] = 3;
}
static void boot_few_clusters(void)
{
	at_volume(0)[13] = 64;
}
static void boot_nr_fats(void)
{
	at_volume(0)[16] = 1;
}
static void boot_total(void)
{
	at_volume(0)[32] ^= 1;
}
static void boot_fat_size(void)
{
	put32(at_volume(36), 2);
}
static void boot_fat_size_huge(void)
{
	put32(at_volume(36), UINT32_MAX);
}
static void boot_hidden(void)
{
	at_volume(0)[28] ^= 1;
}
static void boot_root(void)
{
	put32(at_volume(44), 1);
}
static void boot_label(void)
{
	at_volume(0)[71] = 'H';
}
static void boot_label_bad(void)
{
	at_volume(0)[71] = '*';
}
static void backup(void)
{
	at_volume((6 + 2) * 512)[3] = 1;
}
static void fsinfo_signature(void)
{
	at_volume(512)[484] ^= 1;
}
static void fsinfo_count(void)
{
	at_volume(512)[488] ^= 1;
}
static void fsinfo_next(void)
{
	put32(at_volume(512 + 492), 3);
}
static void fat_media(void)
{
	put_fat(0, 0x0ffffff0);
}
static void fat_second(void)
{
	put_fat(1, 0x07ffffff);
}
static void fat_copies(void)
{
	at_fat(1, 2)[0] ^= 1;
}
static void fat_reserved(void)
{
	at_fat(0, 2)[3] |= 0xf0;
	at_fat(1, 2)[3] |= 0xf0;
}
static void fat_lost(void)
{
	put_fat(50000, 0x0fffffff);
}
static void fat_beyond(void)
{
	put_fat(65536 + 2, 1);
}
static void chain_free(void)
{
	put_fat(cluster_of(root_slot("BIG ")), 0);
}
static void chain_bad(void)
{
	put_fat(cluster_of(root_slot("BIG ")), 0x0ffffff7);
}
static void chain_out(void)
{
	put_fat(cluster_of(root_slot("BIG ")) + 1, 0x0ffffff0);
}
static void chain_circle(void)
{
	uint32_t cluster = cluster_of(root_slot("BIG "));

	put_fat(cluster + 1, cluster);
}
static void chain_short(void)
{
	put_fat(cluster_of(root_slot("BIG ")) + 1, 0x0fffffff);
}
static void chain_long(void)
{
	put_fat(cluster_of(root_slot("BIG ")) + 4, 60000);
	put_fat(60000, 0x0fffffff);
}
static void chain_shared(void)
{
	put_cluster(root_slot("UPPER"), cluster_of(root_slot("BIG ")));
}
static void directory_circle(void)
{
	put_fat(2, 2);
}
static void dot(void)
{
	put_cluster(sub(), 3);
}
static void dot_dot(void)
{
	put_cluster(sub() + 32, 2);
}
static void dot_missing(void)
{
	sub()[0] = 'X';
}
static void label_other(void)
{
	at_cluster(2)[0] = 'X';
}
static void label_missing(void)
{
	at_cluster(2)[11] = 0x21;
}
static void label_second(void)
{
	root_slot("UPPER")[11] = 0x08;
}
static void long_ordinal(void)
{
	(root_slot("LOWERN~1") - 32)[0] = 5;
}
static void long_checksum(void)
{
	(root_slot("LOWERN~1") - 32)[13] ^= 1;
}
static void long_checksums(void)
{
	(root_slot("LOWERN~1") - 32)[13] ^= 1;
	(root_slot("LOWERN~1") - 64)[13] ^= 1;
}
static void long_not_last(void)
{
	(root_slot("LOWERN~1") - 64)[0] &= 0xbf;
}
static void long_twice_last(void)
{
	(root_slot("LOWERN~1") - 32)[0] |= 0x40;
}
static void long_padding(void)
{
	/* The one with the end of 24 units in it. */
	memset(root_slot("LOWERN~1") - 64 + 30, 0, 2);
	memset(root_slot("LOWERN~1") - 64 + 28, 0, 2);
}
static void long_terminator(void)
{
	uint8_t *slot = root_slot("THIRTE~1") - 32;

	/* A part that has nothing in it. */
	memset(slot + 1, 0, 2);
}
static void long_unit(void)
{
	(root_slot("LOWERN~1") - 32)[1] = '?';
}
static void long_dot(void)
{
	(root_slot("THIRTE~1") - 32)[30] = '.';
}
static void long_surrogate(void)
{
	(root_slot("THIRTE~1") - 32)[4] = 0xd8;
}
static void long_orphan(void)
{
	memcpy(root_end(), root_slot("THIRTE~1") - 32, 32);
}
static void long_type(void)
{
	(root_slot("THIRTE~1") - 32)[12] = 1;
}
static void after_end(void)
{
	root_end()[64] = 'X';
}
static void deleted(void)
{
	root_slot("UPPER")[0] = 0xe5;
}
static void short_byte(void)
{
	root_slot("UPPER")[1] = 'p';
}
static void short_space(void)
{
	root_slot("UPPER")[1] = ' ';
}
static void case_flags(void)
{
	root_slot("UPPER")[12] = 0x08;
}
static void writable(void)
{
	root_slot("UPPER")[11] = 0x20;
}
static void hidden(void)
{
	root_slot("UPPER")[11] |= 2;
}
static void empty_cluster(void)
{
	put_cluster(root_slot("EMPTY"), 60000);
}
static void sized_without(void)
{
	put_cluster(root_slot("UPPER"), 0);
}
static void size_more(void)
{
	put32(root_slot("UPPER") + 28, 5000);
}
static void size_less(void)
{
	put32(root_slot("UPPER") + 28, 4);
}
static void directory_size(void)
{
	put32(root_slot("SUB ") + 28, 4096);
}
static void directory_nowhere(void)
{
	put_cluster(root_slot("SUB "), 0);
}
static void date_zero(void)
{
	memset(root_slot("UPPER") + 24, 0, 2);
}
static void time_bad(void)
{
	root_slot("UPPER")[15] = 0xff;
}
static void hundredths(void)
{
	root_slot("UPPER")[13] = 200;
}
static void same_short(void)
{
	memcpy(root_slot("UPPER"), "BIG        ", 11);
}
static void same_long(void)
{
	/* "Case" once more, as "case". */
	memcpy(root_end(), root_slot("CASE  ") - 32, 64);
	root_end()[-64 + 1] = 'c';
	/* Its short name is another: it is the long ones that are the same. */
	memcpy(root_end() - 32, "ZZZ     ", 8);
}
static void content(void)
{
	at_cluster(cluster_of(root_slot("BIG ")) + 3)[7] ^= 1;
}
static void slack(void)
{
	at_cluster(cluster_of(root_slot("UPPER")))[4095] = 1;
}
static void missing(void)
{
	memset(root_end() - 32, 0, 32);
	(root_end() - 32)[0] = 0;
}
static void strange(void)
{
	memcpy(root_end(), root_slot("EMPTY"), 32);
	memcpy(root_end() - 32, "STRANGE ", 8);
}
static void kind(void)
{
	root_slot("SUB ")[11] = 0x21;
}
static void unreadable(void)
{
	image.fail_at = (uint64_t)(at_cluster(cluster_of(root_slot("BIG "))) -
				   image.bytes);
}

#define DAMAGE(name, text)        \
	{                         \
#name, name, text \
	}

static const struct damage {
	const char *name;
	void (*damage)(void);
	const char *found;
} damages[] = {
	DAMAGE(table_mark, "partition table: the mark is 43520"),
	DAMAGE(table_type, "partition table: the type of the partition is 11"),
	DAMAGE(table_end, "partition table: the end of the partition is"),
	DAMAGE(table_second, "partition table: there is more than one"),
	DAMAGE(table_beyond, "partition table: the partition is not on the"),
	DAMAGE(boot_mark, "boot sector: the mark is 85"),
	DAMAGE(boot_sector_size, "boot sector: the number of bytes a sector"),
	DAMAGE(boot_cluster_size, "boot sector: clusters of 3 sectors"),
	DAMAGE(boot_few_clusters, "boot sector: 8192 clusters are too few"),
	DAMAGE(boot_nr_fats, "boot sector: the number of FATs is 1"),
	DAMAGE(boot_total, "boot sector: the number of sectors is"),
	DAMAGE(boot_fat_size, "boot sector: the FATs are too short"),
	DAMAGE(boot_fat_size_huge, "boot sector: there is no room"),
	DAMAGE(boot_hidden, "boot sector: the number of hidden sectors"),
	DAMAGE(boot_root, "/: its chain leads to cluster 1, which there is"),
	DAMAGE(boot_label, "/: slot 0: the label is not that of the boot"),
	DAMAGE(boot_label_bad, "boot sector: the label is not a legal one"),
	DAMAGE(backup, "boot sector: the backup of sector 2 is not equal"),
	DAMAGE(fsinfo_signature, "FSInfo: the second signature is"),
	DAMAGE(fsinfo_count, "FSInfo: the number of free clusters is"),
	DAMAGE(fsinfo_next, "FSInfo: the next free cluster, 3, is not free"),
	DAMAGE(fat_media, "FAT: the entry of cluster 0 is"),
	DAMAGE(fat_second, "FAT: the entry of cluster 1 is"),
	DAMAGE(fat_copies, "FAT: the two of them are not equal"),
	DAMAGE(fat_reserved, "FAT: reserved bits of the entry of cluster 2"),
	DAMAGE(fat_lost, "FAT: 1 clusters are marked as used and are in no"),
	DAMAGE(fat_beyond, "FAT: the entry of cluster 65538, which there is"),
	DAMAGE(chain_free, "big: cluster"),
	DAMAGE(chain_free, "of its chain is marked as free"),
	DAMAGE(chain_bad, "of its chain is marked as bad"),
	DAMAGE(chain_out, "big: its chain leads to cluster 268435440, which"),
	DAMAGE(chain_circle, "of its chain is in a chain already"),
	DAMAGE(chain_short, "big: its chain has 2 clusters; its 19999 bytes"),
	DAMAGE(chain_long, "big: its chain is longer than the 5 clusters"),
	DAMAGE(chain_shared, "of its chain is in a chain already"),
	DAMAGE(directory_circle, "/: cluster 2 of its chain is in a chain"),
	DAMAGE(dot, "sub: slot 0: '.' is cluster 3, not "),
	DAMAGE(dot_dot, "sub: slot 1: '..' is cluster 2, not 0"),
	DAMAGE(dot_missing, "sub: slot 0: '.' is missing"),
	DAMAGE(label_other, "/: slot 0: the label is not that of the boot"),
	DAMAGE(label_missing, "/: slot 0: the label is missing"),
	DAMAGE(label_second, "a label that is not at the start of the root"),
	DAMAGE(long_ordinal, "part 5 of a long name where part 1 should be"),
	DAMAGE(long_checksum, "checksums of a long name differ"),
	DAMAGE(long_checksums, "the checksum of its long name is wrong"),
	DAMAGE(long_not_last, "a part of no long name"),
	DAMAGE(long_twice_last, "a long name starts within another"),
	DAMAGE(long_padding, "the padding of a long name is not all ones"),
	DAMAGE(long_terminator, "a long name of 0 units in 1 parts"),
	DAMAGE(long_unit, "unit 003f is not legal in a long name"),
	DAMAGE(long_dot, "a long name ends in a dot or a space"),
	DAMAGE(long_surrogate, "half a surrogate pair in a long name"),
	DAMAGE(long_orphan, "a long name without a short one"),
	DAMAGE(long_type, "a long name's type or cluster is not zero"),
	DAMAGE(after_end, "something after the end"),
	DAMAGE(deleted, "marked as deleted"),
	DAMAGE(short_byte, "the short name is not a legal one"),
	DAMAGE(short_space, "the short name is not a legal one"),
	DAMAGE(case_flags, "the case flags are not zero"),
	DAMAGE(writable, "not read-only"),
	DAMAGE(hidden, "attributes 23"),
	DAMAGE(empty_cluster, "an empty file with cluster 60000"),
	DAMAGE(sized_without, "a file of 5 bytes without a cluster"),
	DAMAGE(size_more, "UPPER.TXT: its chain has 1 clusters; its 5000"),
	DAMAGE(size_less, "UPPER.TXT: what is behind its end is not zero"),
	DAMAGE(directory_size, "a directory with a size"),
	DAMAGE(directory_nowhere, "a directory without a cluster"),
	DAMAGE(date_zero, "the date written is none"),
	DAMAGE(time_bad, "the time made is none"),
	DAMAGE(hundredths, "the time made has 200 hundredths"),
	DAMAGE(same_short, "one of its names is one of"),
	DAMAGE(same_long, "one of its names is one of"),
	DAMAGE(content, "big: its content is not blob"),
	DAMAGE(slack, "UPPER.TXT: what is behind its end is not zero"),
	DAMAGE(missing, "is not on the disk"),
	DAMAGE(strange, "STRANGE: is not in the tree"),
	DAMAGE(kind, "sub: is a file, not a directory"),
	DAMAGE(unreadable, "big: cannot be read: object is gone"),
};

static bool is_found(const char *text)
{
	for (unsigned int i = 0; i < image.nr_found && i < NR_OF(image.found);
	     i++) {
		if (strstr(image.found[i], text))
			return true;
	}
	return false;
}

START_TEST(each_damage_is_found)
{
	uint8_t *good;

	image_init(true, false);
	good = malloc(image.nr_bytes);
	memcpy(good, image.bytes, image.nr_bytes);
	for (size_t i = 0; i < NR_OF(damages); i++) {
		memcpy(image.bytes, good, image.nr_bytes);
		image.fail_at = UINT64_MAX;
		damages[i].damage();
		run(true);
		if (is_found(damages[i].found))
			continue;
		for (unsigned int j = 0; j < image.nr_found && j < 8; j++)
			fprintf(stderr, "%s\n", image.found[j]);
		ck_abort_msg("%s: not found: %s", damages[i].name,
			     damages[i].found);
	}
	free(good);
	image_fini();
}
END_TEST

/* Whatever is in an image: no read beyond it, and an end. */
START_TEST(noise_is_survived)
{
	uint32_t seed = 1;
	uint8_t *good;

	image_init(_i, false);
	good = malloc(image.nr_bytes);
	memcpy(good, image.bytes, image.nr_bytes);
	for (unsigned int i = 0; i < 200; i++) {
		size_t front = image.volume->fat_sector * 512 + 400;

		memcpy(image.bytes, good, image.nr_bytes);
		for (unsigned int j = 0; j < 4; j++) {
			size_t range = j & 1 ? front : image.nr_bytes;
			size_t start =
				j == 2 ? image.volume->data_sector * 512 : 0;

			seed = seed * 1664525 + 1013904223;
			start += (seed >> 4) % (range - start);
			image.bytes[start] = (uint8_t)(seed >> 24);
		}
		run(i & 1);
	}
	free(good);
	image_fini();
}
END_TEST

START_TEST(small_disks_are_survived)
{
	image_init(true, false);
	for (uint64_t size = 0; size < 2600 * 512; size += 50 * 512 + 1) {
		image.source.size_bytes = size;
		run(true);
		ck_assert_uint_ge(image.nr_found, 1);
	}
	image_fini();
}
END_TEST

Suite *suite_verify(void)
{
	Suite *suite = suite_create("verify");
	TCase *tc = tcase_create("verify");

	tcase_set_timeout(tc, 20);
	tcase_add_loop_test(tc, sound_disk_has_no_findings, 0, 4);
	tcase_add_test(tc, each_damage_is_found);
	tcase_add_loop_test(tc, noise_is_survived, 0, 2);
	tcase_add_test(tc, small_disks_are_survived);
	suite_add_tcase(suite, tc);
	return suite;
}
