#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Trees and objects that were made to do harm: each is refused (or served)
# within two seconds and 64 MiB, and a refusal names the path.  Prints TAP.
#
# Environment: BIN, the directory of git-fat; TOP, the top of the source tree.

set -euo pipefail

# shellcheck source=tests/git-fat/lib.sh
. "$(dirname "$0")/lib.sh"

readonly seconds_max=2 kib_max=65536
repo=$work/repo.git
git init -q --bare -b main "$repo"
export GIT_DIR=$repo
git config core.compression 1

# bounded ARGUMENT...: git-fat, measured (timeout ends one that waits); a sanitizer's memory is not counted.
bounded() {
	local elapsed user system kib try in_time=0
	# Of a processor: what else the machine does is not counted, but that the
	# other half of a core was busy makes it slower.
	for try in 1 2 3; do
		run timeout 20 /usr/bin/time -q -o "$work/usage" \
			-f '%e %U %S %M' "$git_fat" "$@"
		read -r elapsed user system kib < "$work/usage"
		echo "$try: $elapsed s, of which $user + $system busy; $kib KiB"
		if grep -q __asan_init "$git_fat"; then return; fi
		[ "$kib" -le "$kib_max" ]
		in_time=$(awk -v u="$user" -v s="$system" \
			-v m="$seconds_max" 'BEGIN { print u + s <= m }')
		[ "$in_time" = 0 ] || break
	done
	expect 'soon enough' "$in_time" 1
}

# bad REF PATTERN: refused within bounds, in one line.
bad() {
	bounded image --partition=none "$repo" "$1"
	expect "status ($err)" "$status" 1
	expect_match 'standard error' "$err" "^git-fat: repository '$repo': $2"
	expect lines "$(wc -l < "$work/err")" 1
}

# The bytes of an id.
raw_id() {
	perl -e 'print pack "H*", $ARGV[0]' "$1"
}

# raw MODE NAME [ID]: one entry of a tree, as it is stored.
raw() {
	printf '%s %b\0' "$1" "$2"
	raw_id "${3:-$empty}"
}

raw_tree() {
	git hash-object -t tree -w --literally --stdin
}

# loose TYPE SIZE: the object whose content is on standard input, whatever
# size it is said to have; prints the id that it is filed under.
loose() {
	local id
	id=$(printf '%s %s' "$1" "$2" | sha1sum | cut -c 1-40)
	mkdir -p "$repo/objects/${id:0:2}"
	perl -MCompress::Zlib -e '
		binmode STDIN;
		my $z = deflateInit(-Level => 1);
		print $z->deflate("$ARGV[0] $ARGV[1]\0");
		while (read STDIN, my $part, 1 << 20) {
			print $z->deflate($part);
		}
		print $z->flush' "$1" "$2" > "$repo/objects/${id:0:2}/${id:2}"
	echo "$id"
}

empty=$(git hash-object -w --stdin < /dev/null)
nothing=$(git mktree < /dev/null)
small=$(echo x | git hash-object -w --stdin)

# in_directory TREE: a tree with it as d/e.
in_directory() {
	raw 40000 d "$(raw 40000 e "$1" | raw_tree)" | raw_tree
}

### too much

bomb() {
	local levels=$1 width=$2 tree=$3 i
	for _ in $(seq "$levels"); do
		tree=$(for i in $(seq 0 $((width - 1))); do
			raw 40000 "d$i" "$tree"
		done | raw_tree)
	done
	echo "$tree"
}

file_tree=$(raw 100644 f "$small" | raw_tree)
check 'a bomb of 10^9 files is refused' bad "$(bomb 9 10 "$file_tree")" \
	"'.*': more than [0-9]+ files and directories"
ten_files=$(for i in $(seq 0 9); do raw 100644 "f$i" "$small"; done | raw_tree)
check 'ten trees of ten entries are refused' bad "$(bomb 9 10 "$ten_files")" \
	"'d0(/d0)*': more than [0-9]+ files and directories"

served_bomb() {
	local tree
	tree=$(bomb 3 10 "$ten_files")
	bounded ls "$repo" "$tree"
	expect "status ($err)" "$status" 0
	expect files "$(grep -c ^blob "$work/out")" 10000
}
check 'a small one is served' served_bomb

deep_tree() {
	# One process writes all of them.
	perl -MDigest::SHA=sha1 -MCompress::Zlib -e '
		my ($dir, $id, $depth) = @ARGV;
		$id = pack "H*", $id;
		for (1 .. $depth) {
			my $tree = "40000 d\0$id";
			$tree = "tree " . length($tree) . "\0$tree";
			$id = sha1 $tree;
			my $hex = unpack "H*", $id;
			my $path = "$dir/objects/" . substr($hex, 0, 2);
			mkdir $path;
			open my $file, ">", "$path/" . substr($hex, 2) or die;
			print $file compress($tree);
		}
		print unpack("H*", $id), "\n"' "$repo" "$file_tree" "$1"
}
check '10,000 directories in each other are refused' bad \
	"$(deep_tree 10000)" "'d(/d)*(/[.]{3}|[.]{3})?': directories nested more"
deepest() {
	local tree
	tree=$(deep_tree 255)
	bounded ls "$repo" "$tree"
	expect "status ($err)" "$status" 0
	expect lines "$(wc -l < "$work/out")" 256
}
check '256 are served' deepest

# Two ways on from each directory to the next: 2^30 paths, each link followed.
links() {
	local last link tree
	last=$(raw 100644 z "$small" | raw_tree)
	tree=$(for i in $(seq 10 40); do
		link=$(printf '../d%d' $((i + 1)) | git hash-object -w --stdin)
		raw 40000 "d$i" "$({
			raw 120000 a "$link"
			raw 120000 b "$link"
			raw 100644 "z$i" "$small"
		} | raw_tree)"
	done | cat - <(raw 40000 d41 "$last") | raw_tree)
	bounded image --partition=none --symlinks=follow "$repo" "$tree"
	expect "status ($err)" "$status" 1
	expect_match 'standard error' "$err" 'too many symbolic links'
}
check 'links that lead to ever more are refused' links

# A link into a wide directory costs as much as going through it.
wide_links() {
	local link tree wide
	wide=$(wide_tree 30000 8)
	link=$(printf 'w/00030000' | git hash-object -w --stdin)
	tree=$(perl -e 'my ($link, $wide) = map { pack "H*", $_ } @ARGV;
		printf "120000 l%05d\0%s", $_, $link for 1 .. 5000;
		print "40000 w\0$wide"' "$link" "$wide" | raw_tree)
	bounded image --partition=none --symlinks=follow "$repo" "$tree"
	expect "status ($err)" "$status" 1
	expect_match 'standard error' "$err" "'l.*too many symbolic links"
}

# Entries of a tree, their number, with names of so many letters.
wide_tree() {
	perl -e 'my ($n, $length, $id) = @ARGV;
		$id = pack "H*", $id;
		for (1 .. $n) {
			printf "100644 %0${length}d\0%s", $_, $id;
		}' "$1" "$2" "$empty" | raw_tree
}
check 'links into a wide directory are refused' wide_links
check '65,537 entries are refused' bad \
	"$(in_directory "$(wide_tree 65537 8)")" "'d/e': .*65536"
check '10,000 long names are refused' bad \
	"$(in_directory "$(wide_tree 10000 200)")" "'d/e': .*slots"
check 'an overlong name is refused' bad \
	"$(in_directory "$(wide_tree 1 256)")" "'d/e/0+.*': .*255"

zeros() {
	local id
	id=$(head -c 1073741824 /dev/zero | loose tree 1073741824)
	bad "$(in_directory "$id")" "'d/e': .*1073741824 bytes"
	bad "$id" ".*$id.*"
}
check 'a tree object of 1 GiB of zeros is refused' zeros

# An index may name one object by any number of ids: these differ in two bytes.
alike() {
	perl -MDigest::SHA=sha1 -MCompress::Zlib -e '
		my ($dir, $number) = @ARGV;
		my @ids = map { "alike" x 3 . "abc" . pack "n", $_ } 1 .. $number;
		my $pack = pack("a4 N N C", "PACK", 2, $number, 2 << 4) .
			compress("");
		my $trailer = sha1 $pack;
		my $index = "\377tOc" . pack("N*", 2,
			map { $_ < ord "a" ? 0 : $number } 0 .. 255);
		$index .= join("", @ids) . pack("N*", (0) x $number) .
			pack("N*", (12) x $number) . $trailer;
		mkdir $dir;
		my $name = "$dir/pack-" . unpack "H*", $trailer;
		open my $file, ">", "$name.pack" or die;
		print $file $pack, $trailer;
		open $file, ">", "$name.idx" or die;
		print $file $index, sha1 $index;
		binmode STDOUT;
		printf "40000 A%05d\0%s", $_, $ids[$_ - 1] for 1 .. $number' \
		"$repo/objects/pack" "$1" | raw_tree
}
alike_trees() {
	bounded ls "$repo" "$(alike 60000)"
	rm "$repo"/objects/pack/pack-*
	expect "status ($err)" "$status" 0
	expect lines "$(wc -l < "$work/out")" 60000
}
check '60,000 trees whose ids are alike are served' alike_trees

### not what it says it is

# Behind a blob, so that its size is asked for, and read.
lying_blob() {
	local id
	id=$(head -c 100 /dev/zero | loose blob "$1")
	bad "$(in_directory "$(raw 100644 liar "$id" | raw_tree)")" \
		"'d/e/liar': $2"
}
check 'a blob said to have 5 GiB is refused' lying_blob 5368709120 \
	'5368709120 bytes are more than a file'
check 'a blob said to have 2^64 bytes is refused' lying_blob \
	18446744073709551616 "object"
check 'a blob said to have -1 bytes is refused' lying_blob -1 'object'

# What it holds is found out only when it is read.
lying_read() {
	local id
	id=$(head -c 100 /dev/zero | loose blob "$1")
	bounded image --partition=none "$repo" \
		"$(raw 100644 liar "$id" | raw_tree)"
	expect "status ($err)" "$status" 1
	expect_match 'standard error' "$err" "object $id"
}
check 'a blob with less than it says is refused' lying_read 101
check 'a blob with far less is refused' lying_read 4000000000
check 'a blob with more than it says is refused' lying_read 99

check 'a blob as a tree is refused' bad "$(in_directory "$small")" \
	"'d/e': .*a blob, not a tree"
check 'a tree as a file is refused' bad \
	"$(in_directory "$(raw 100644 f "$nothing" | raw_tree)")" \
	"'d/e/f': .*a tree, not a blob"
check 'a commit as a file is refused' bad "$(in_directory "$(raw 100644 f \
	"$(git commit-tree -m x "$nothing")" | raw_tree)")" \
	"'d/e/f': .*a commit, not a blob"
check 'a missing blob is refused' bad "$(in_directory "$(raw 100644 f \
	0123456789012345678901234567890123456789 | raw_tree)")" \
	"'d/e/f': object 0123456789012345678901234567890123456789 is missing"
check 'a missing tree is refused' bad "$(in_directory \
	0123456789012345678901234567890123456789)" \
	"'d/e': object 0123456789012345678901234567890123456789 is missing"

### malformed trees

# malformed WHAT PATTERN: the tree on standard input is refused.
malformed() {
	local tree
	tree=$(in_directory "$(raw_tree)")
	check "a tree with $1 is refused" bad "$tree" "'d/e[^']*': .*$2"
}
malformed 'a name twice' 'twice' < <(raw 100644 a; raw 100644 a)
malformed 'a file and a directory of one name' 'twice' \
	< <(raw 100644 a; raw 40000 a "$nothing")
malformed 'one name twice, apart' 'twice' \
	< <(raw 100644 a; raw 100644 a.b; raw 40000 a "$nothing")
malformed 'names out of order' 'order' < <(raw 100644 b; raw 100644 a)
malformed 'a directory out of order' 'order' \
	< <(raw 40000 a "$nothing"; raw 100644 a.b)
malformed 'an empty name' 'without a name' < <(raw 100644 '')
malformed "the name '.'" "named '.'" < <(raw 100644 .)
malformed "the name '..'" "named '..'" < <(raw 100644 ..)
malformed "a directory named '..'" "named '..'" < <(raw 40000 .. "$nothing")
malformed "the name '.git'" "named '.git'" < <(raw 40000 .git "$nothing")
malformed "the name '.GiT'" "named '.git'" < <(raw 40000 .GiT "$nothing")
malformed 'a slash' 'slash' < <(raw 100644 a/b)
malformed 'nothing but a slash' 'slash' < <(raw 100644 /)
for mode in 0100644 040000 0 1 100600 120644 170000 10064 1006444 644 x \
	' 100644' -100644 100648 37777777777777777777777; do
	malformed "the mode '$mode'" 'mode' < <(raw "$mode" a)
done
malformed 'no mode' 'mode|cut short' < <(raw '' a)
malformed 'an id cut short' 'cut short' < <(raw 100644 a | head -c 12)
malformed 'no end to a name' 'cut short' < <(raw 100644 a | head -c 8)
malformed 'no name' 'cut short' < <(raw 100644 a | head -c 7)
malformed 'half a mode' 'cut short' < <(raw 100644 a | head -c 4)
malformed 'a mode and no more' 'cut short' < <(printf '100644')
malformed 'a byte too many' 'mode|cut short' < <(raw 100644 a; printf '\0')
malformed 'a digit too many' 'cut short' < <(raw 100644 a; printf 1)
malformed 'zeros behind it' 'mode' < <(raw 100644 a; head -c 100 /dev/zero)
malformed 'nothing but zeros' 'mode' < <(head -c 1000 /dev/zero)
malformed 'nothing of a tree' 'mode|cut short' < <(printf 'what is this?')

# A name is shown in one line, whatever is in it.
malformed 'control characters' 'slash' < <(raw 100644 'a\n\033[2J\r/')
plain() {
	local tree
	tree=$(raw 100644 'a\n\033[2J/' | raw_tree)
	bad "$(in_directory "$tree")" ".*"
	expect 'control characters' "$(tr -d ' -~\n' < "$work/err" | wc -c)" 0
}
check 'control characters do not get into the message' plain

tap_end
