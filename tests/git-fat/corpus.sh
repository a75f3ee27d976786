#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Whole trees as disks: sound to fsck.fat and to git-fat verify, holding what
# git has, to mtools, and the same to the bit whatever the zone, the locale,
# the packing, the memory and the number of threads.
#
#	corpus.sh                  the corpora of the fast suite
#	corpus.sh NAME REPO REF    another one
#
# Prints TAP.  Environment: BIN, the directory of git-fat; TOP, the top of the
# source tree.

set -euo pipefail

# shellcheck source=tests/git-fat/lib.sh
. "$(dirname "$0")/lib.sh"

# SHA-256 of the torture tree without a partition table, policy version 1.
readonly golden=031087915db65fae4fc978f8bd401ced65ca19bda6f9b4ded6a738d5f4b2c12f

# Real histories, with the deltas that git once made of them, chains of 50: the
# repositories of libgit2's own tests, as Debian ships them.  redundant.git is
# 800 commits of some project; the pack of testrepo.git is libgit2's own first
# 270, up to this one.
readonly fixtures=/usr/share/doc/libgit2-fixtures/examples
readonly libgit2_early=fb20a5a4b6185d9188d82c874db3d9729ef31f3b

image() {
	"$git_fat" image --partition=none "$@"
}

# Copies what REF of REPO needs into the bare repository $1, loose.
copy_loose() {
	local copy=$1 repository=$2 ref=$3 commit shallow
	commit=$(git -C "$repository" rev-parse --verify "$ref^{commit}")
	shallow=$(git -C "$repository" rev-parse --absolute-git-dir)/shallow
	git init -q --bare "$copy"
	git -C "$copy" config core.compression 1
	if [ -e "$shallow" ]; then cp "$shallow" "$copy/shallow"; fi
	git -C "$repository" pack-objects -q --revs --stdout <<< "$commit" |
		git -C "$copy" unpack-objects -q
	git -C "$copy" update-ref refs/heads/main "$commit"
}

fsck_clean() {
	run fsck.fat -n "$img"
	expect "fsck.fat: $(cat "$work/out" "$work/err"): status" "$status" 0
	expect 'lines of fsck.fat' "$(wc -l < "$work/out")" 2
	expect 'complaints' "$err" ''
}

verify_clean() {
	run "$git_fat" verify "$repo" main
	expect "$err: status" "$status" 0
	expect 'findings' "$err" ''
	expect_match output "$(cat "$work/out")" \
		'^verified: [0-9]+ files, [0-9]+ directories, [0-9]+ bytes$'
}

# The same volume behind a partition table; it counts the sectors before it.
partition_table() {
	"$git_fat" image "$repo" main > "$work/mbr.img"
	run sfdisk -l "$work/mbr.img"
	expect_match sfdisk "$(cat "$work/out")" '^Disklabel type: dos$'
	expect_match sfdisk "$(cat "$work/out")" \
		"mbr.img1 +2048 +[0-9]+ +$(($(stat -c %s "$img") / 512)) .* c W95"
	expect 'partitions' "$(grep -c 'mbr.img[0-9]' "$work/out")" 1
	"$git_fat" image "$repo" main |
		cmp -l -i 1048576:0 - "$img" > "$work/differ" || true
	# Bytes from 1 on: 0x1d of the boot sector and of its copy.
	expect 'bytes that differ' "$(awk '{ print $1, $2, $3 }' \
		"$work/differ")" $'30 10 0\n3102 10 0'
	rm "$work/mbr.img"
}

# The paths of git-fat ls, kind $1 (blob or tree), as mtools calls them on
# Linux: it has no characters beyond the BMP.
listed() {
	awk -F '\t' -v kind="$1" '{ split($1, f, / +/) }
		f[1] == kind { print f[2] "\t" f[3] "\t" $2 }' "$work/ls" |
		perl -CSD -pe 's/[^\x{0}-\x{ffff}]/__/g'
}

# Directories of the root that hold names of more bytes than Linux takes.
too_wide() {
	perl -ne 'print "$1\n" if m{^[^\t]*\t([^/]*)/(?:.*/)?[^/\n]{256}}' \
		"$work/ls" | uniq
}

# Takes what is in the directories of $work/wide out of listed lines.
but_wide() {
	awk -F '\t' -v list="$work/wide" '
		BEGIN { while ((getline name < list) > 0) wide[name] }
		{ split($3, step, "/") }
		!(step[1] in wide)'
}

# A file's id, size and path, for all that mtools has copied out.
copied() {
	find . -type f -printf '%P\n' | git hash-object --no-filters \
		--stdin-paths > "$work/ids"
	find . -type f -printf '%s\t%P\n' | paste "$work/ids" -
}

copied_out() {
	local -a tops
	run "$git_fat" ls "$repo" main
	expect "ls: $err: status" "$status" 0
	mv "$work/out" "$work/ls"
	# git's blobs are the disk's, each as often.
	git -C "$repo" ls-tree -r main | awk '$2 == "blob" { print $3 }' |
		sort > "$work/wanted"
	listed blob | cut -f 1 | sort | cmp - "$work/wanted"
	too_wide > "$work/wide"
	mapfile -t tops < <(cut -f 2 "$work/ls" | grep -v / |
		grep -vxFf "$work/wide")
	rm -rf "$work/tree"
	mkdir "$work/tree"
	mcopy -s -n -i "$img" "${tops[@]/#/::}" "$work/tree"
	listed blob | but_wide | LC_ALL=C sort > "$work/wanted"
	(cd "$work/tree" && copied) | LC_ALL=C sort > "$work/got"
	diff "$work/wanted" "$work/got" | head -n 20
	cmp "$work/wanted" "$work/got"
	[ -s "$work/got" ]
	listed tree | but_wide | cut -f 3 | LC_ALL=C sort > "$work/wanted"
	(cd "$work/tree" && find . -mindepth 1 -type d -printf '%P\n') |
		LC_ALL=C sort > "$work/got"
	diff "$work/wanted" "$work/got"
	rm -rf "$work/tree"
}

# same_image [VARIABLE=VALUE...] [OPTION...]: to the bit.
same_image() {
	local -a variables=()
	while [[ ${1-} == [A-Z]* ]]; do
		variables+=("$1")
		shift
	done
	env "${variables[@]}" "$git_fat" image --partition=none "$@" \
		"$repo" main | cmp - "$img"
}

packed_image() {
	git -C "$repo" repack -q -a -d
	expect 'loose objects' "$(git -C "$repo" count-objects)" \
		'0 objects, 0 kilobytes'
	same_image --cache=1M --readers=8
}

repacked_image() {
	git -C "$repo" repack -q -a -d -f --depth=250 --window=20
	same_image TZ=America/St_Johns --cache=1G --readers=1 --verify=on
}

# corpus NAME REPO REF
corpus() {
	local name=$1
	repo=$work/$name.git img=$work/$name.img
	check "$name: copied" copy_loose "$repo" "$2" "$3"
	check "$name: made an image of" image_first
	check "$name: fsck.fat finds nothing" fsck_clean
	check "$name: git-fat verify finds nothing" verify_clean
	check "$name: the same behind a partition table" partition_table
	check "$name: mtools copies out what git has" copied_out
	check "$name: the same in another zone and locale, by one thread" \
		same_image TZ=Asia/Kathmandu LC_ALL=tr_TR.UTF-8 \
		LANG=tr_TR.UTF-8 --cache=1M --readers=1
	check "$name: the same loose, with much memory, by eight threads" \
		same_image --cache=1G --readers=8
	check "$name: the same packed" packed_image
	check "$name: the same repacked, with long chains of deltas" \
		repacked_image
}

image_first() {
	image "$repo" main > "$img"
}

golden_image() {
	local sum policy
	policy=$(sed -n 's/^#define GIT_DISK_POLICY_VERSION //p' \
		"$TOP/git-fat/git-disk.h")
	sum=$(sha256sum < "$work/torture.img")
	[ "${sum%% *}" = "$golden" ] && [ "$policy" = 1 ] && return
	echo "SHA-256 of the torture tree: ${sum%% *}"
	echo "wanted of policy version 1:  $golden"
	echo "GIT_DISK_POLICY_VERSION is $policy."
	echo 'The same commit has become another disk.  If that is meant, raise'
	echo 'GIT_DISK_POLICY_VERSION, say in docs/git-fat.md what is new, and'
	echo 'write both down here.'
	return 1
}

# The project's own history; in an exported tree, one commit of its files.
own_repository() {
	if git -C "$TOP" rev-parse -q --verify 'HEAD^{commit}' > /dev/null &&
		[ -e "$TOP/.git" ]; then
		own=$TOP
		return
	fi
	own=$work/own
	git init -q "$own"
	git --git-dir="$own/.git" --work-tree="$TOP" add -A
	git --git-dir="$own/.git" commit -q -m 'What was exported'
}

if [ $# -gt 0 ]; then
	corpus "$@"
	tap_end
	exit
fi

check 'torture: made, the same as ever' \
	"$(dirname "$0")/torture.sh" "$work/made"
corpus torture "$work/made" main
check 'torture: the golden image of policy version 1' golden_image
rm -f "$work/torture.img"
own_repository
corpus own "$own" HEAD
rm -f "$work/own.img"
corpus history "$fixtures/redundant.git" master
rm -f "$work/history.img"
corpus libgit2 "$fixtures/testrepo.git" "$libgit2_early"
tap_end
