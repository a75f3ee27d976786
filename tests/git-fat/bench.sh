#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What `make bench-git` prints: medians of five, of one run on one machine.
#
#	bench.sh [REPOSITORY]
#
# The repository's branch main; without one, the kernel's sources.
#
# git-layout	from exec to the first sector of the partition, and anonymous
#		memory at that point; against checking the tree out and mkfs +
#		mcopy, and against checking it out and nbdkit's floppy plugin,
#		as many times as long (which is let off the first sector: the
#		end of its handshake counts)
# git-seqread	the speed of reading the whole disk, in that of
#		`git cat-file --batch --buffer` with the same blobs in the same
#		order
# git-random4k	the slowest of 1000 reads of 4 KiB in a blob of 256 MiB, after
#		the first
#
# Environment: BIN, the directory of git-fat; TEST_BIN, that of
# git-first-sector; TOP, the top of the source tree; RUNS, 5; BLOB_MIB, 256.

set -euo pipefail
shopt -s inherit_errexit

: "${TEST_BIN:?}"
# shellcheck source=tests/git-fat/lib.sh
. "$(dirname "$0")/lib.sh"

runs=${RUNS-5}
first_sector=$(realpath "$TEST_BIN")/git-first-sector
if [ $# -gt 0 ]; then
	repo=$(realpath "$1")
else
	repo=$work/linux.git
	"$(dirname "$0")/linux-tree.sh" "$repo"
fi

# seconds COMMAND...: how long it took; it must do.
seconds() {
	local begin=$EPOCHREALTIME
	"$@" > "$work/said" < /dev/null
	perl -e 'printf "%.6f\n", $ARGV[1] - $ARGV[0]' "$begin" "$EPOCHREALTIME"
}

median() {
	sort -g | sed -n "$(((runs + 1) / 2))p"
}

# of_runs COMMAND...: the median of what it prints.
of_runs() {
	for _ in $(seq "$runs"); do "$@"; done | median
}

divide() {
	perl -e 'printf "%.2f\n", $ARGV[0] / $ARGV[1]' "$1" "$2"
}

check_out() {
	rm -rf "$work/tree"
	mkdir "$work/tree"
	git -C "$repo" archive main | tar -x -C "$work/tree"
}

by_mcopy() {
	local bytes
	check_out
	# Room for half a cluster a file, and what mkfs takes.
	bytes=$(($(du -s --apparent-size -B1 "$work/tree" | cut -f 1) +
		$(find "$work/tree" | wc -l) * 4096 + (300 << 20)))
	rm -f "$work/mcopy.img"
	truncate -s "$((bytes / 4096 * 4096))" "$work/mcopy.img"
	mkfs.fat -F 32 -s 8 "$work/mcopy.img"
	# What collides is skipped, which it calls an error: it makes no disk
	# of all the files.
	mcopy -s -D s -i "$work/mcopy.img" "$work/tree/"* :: \
		2> "$work/skipped" || [ $? = 1 ]
	dd if="$work/mcopy.img" bs=512 count=1 status=none
}

by_floppy() {
	check_out
	# shellcheck disable=SC2016
	nbdkit -U - floppy "$work/tree" --run 'nbdinfo --size "$uri"'
}

git_first_sector() {
	"$first_sector" sector "$repo" main
}

whole_disk() {
	"$git_fat" image "$repo" main > /dev/null
}

all_blobs() {
	git -C "$repo" cat-file --batch --buffer < "$work/blobs" > /dev/null
}

layout() {
	local own mcopy floppy anon
	git_first_sector > "$work/said"
	own=$(of_runs seconds git_first_sector)
	anon=$(of_runs git_first_sector)
	mcopy=$(of_runs seconds by_mcopy)
	floppy=$(of_runs seconds by_floppy)
	rm -rf "$work/tree" "$work/mcopy.img"
	printf 'bench git-layout seconds=%.3f anon_mib=%s vs_mcopy=%s vs_floppy=%s\n' \
		"$own" "$(divide "$anon" 1024)" "$(divide "$mcopy" "$own")" \
		"$(divide "$floppy" "$own")"
}

sequential() {
	local own gits
	"$git_fat" ls "$repo" main | awk '$1 == "blob" { print $2 }' \
		> "$work/blobs"
	whole_disk
	own=$(of_runs seconds whole_disk)
	gits=$(of_runs seconds all_blobs)
	echo "bench git-seqread ratio=$(divide "$gits" "$own")"
}

random4k() {
	local blob id
	blob=$work/blob.git
	git init -q --bare -b main "$blob"
	# No two pages of it are the same, and none compresses.
	id=$(perl -e 'srand 1;
		my $part = pack "N*", map { int rand 2**32 } 1 .. 2**18;
		for my $i (1 .. $ARGV[0]) {
			print pack("N", $i), substr $part, 4;
		}' "${BLOB_MIB-256}" | git -C "$blob" hash-object -w --stdin)
	id=$(printf '100644 blob %s\tblob\n' "$id" | git -C "$blob" mktree)
	git -C "$blob" update-ref refs/heads/main \
		"$(git -C "$blob" commit-tree -m blob "$id")"
	git -C "$blob" repack -q -a -d
	echo "bench git-random4k max_ms=$(of_runs \
		"$first_sector" random "$blob" main 1000)"
	rm -rf "$blob"
}

layout
sequential
random4k
