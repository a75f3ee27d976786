#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes one bare repository with every name and shape that has ever hurt a FAT
# file system or the code that fills one.
#
#	torture.sh DIR
#
# The same objects each time, to the bit: prints the id of the commit, which is
# the tip of refs/heads/main, and fails when it is not the one written below.

set -euo pipefail

# Whoever changes the tree on purpose changes this, and the golden image of
# corpus.sh with it.
readonly commit_wanted=7f9d6f93c189d9e63baa3b7fb98342724ddcdda3

dir=$1
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars)
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C.UTF-8
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
# An odd second: FAT keeps two, and the odd one in the hundredths.
export GIT_AUTHOR_DATE='1614834367 +0000' GIT_COMMITTER_DATE='1614834367 +0000'

git init -q --bare --initial-branch=main "$dir"
git -C "$dir" config core.looseCompression 1
export GIT_DIR=$dir
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT

blob() {
	git hash-object -w --stdin
}

# Lines of git mktree -z, from arguments NAME, with a blob for each whose
# content tells them apart.
files() {
	local name i=0
	rm -f "$parts"/*
	for name; do
		i=$((i + 1))
		printf 'the file %s\n' "$name" > "$parts/$i"
	done
	seq -f "$parts/%.0f" "$i" |
		git hash-object -w --no-filters --stdin-paths |
		for name; do
			read -r id
			printf '100644 blob %s\t%s\0' "$id" "$name"
		done
}

# The same content under each name.
twins() {
	local id name
	id=$(echo 'the same in all of them' | blob)
	for name; do printf '100644 blob %s\t%s\0' "$id" "$name"; done
}

# entry MODE NAME ID
entry() {
	local type=blob
	case $1 in
	040000) type=tree ;;
	160000) type=commit ;;
	esac
	printf '%s %s %s\t%s\0' "$1" "$type" "$3" "$2"
}

# entry of a directory, its entries on standard input.
directory() {
	entry 040000 "$1" "$(git mktree -z --missing)"
}

# A symbolic link.
link() {
	entry 120000 "$1" "$(printf '%s' "$2" | blob)"
}

# repeat COUNT TEXT
repeat() {
	printf "%.0s$2" $(seq "$1")
}

some_commit=0123456789abcdef0123456789abcdef01234567

case_variants() {
	files Makefile makefile MAKEFILE xt_CONNMARK.h xt_connmark.h \
		FILE.TXT file.txt File.Txt
	twins readme README Readme ReadMe
	# Dotted and dotless I, sharp s, Kelvin and Angstrom signs, sigmas.
	files İ ı i I straße STRASSE strasse straẞe ß ẞ SS ss \
		$'\u212a' K k $'\u212b' Å å Σ σ ς ǅ ǆ Ǆ µ μ ſ
	# What an earlier collision is renamed to is a name here already.
	files clash Clash CLASH
	files "clash~$(printf 'the file Clash\n' | git hash-object --stdin |
		cut -c 1-4)"
	files dir.d | directory Dir
	files dIR
	entry 160000 DIR "$some_commit"
}

unicode() {
	# é composed and decomposed, beyond the BMP, right to left.
	files $'\u00e9' $'e\u0301' 😀 👩‍👩‍👧‍👦 𝔘𝔫𝔦 שלום 日本語.txt
	# Not UTF-8: stray bytes, overlong, a surrogate, cut short.
	files $'\xff\xfe' $'\xe5first' $'\xe5' $'\xc0\x80' $'\xed\xa0\x80' \
		$'\xf4\x90\x80\x80' $'caf\xe9' $'\xe2\x82' $'x\x80y'
	# What stands for others on the disk.
	files $'\uf03a' $'\uf001' $'\uf0ff' $'\uf100' $'a\uf03ab' a:b \
		$'\ufffd' $'\uffff' $'\ufeffbom' $'\u202egpj.exe'
}

illegal() {
	# shellcheck disable=SC2016
	files 'wh?at*' 'back\slash' 'pipe|' 'quote"' '<lt>' 'q?' 'q*' \
		$'tab\t' $'line\nfeed' $'\x01' $'\x7f' $'\x1b[2J' $'cr\r' \
		"it's" '$HOME' '%20' '[x]' 'a+b' 'a,b' 'a;b' 'a=b' '#'
	files below | directory 'c:'
}

devices() {
	files aux.c NUL COM1.txt con PRN lpt9 'CLOCK$' nul.tar.gz CON.d.e
}

dots() {
	files 'trail.' trail 'trail..' 'space ' space 'space  ' 'both. ' \
		'both .' ' lead' '  lead' ' ' '...' '....' .gitignore .a \
		..a '. a' a.b.c a..b 'UPPER.TXT' lower.txt 'UPPER.txt' \
		upper 12345678.123 123456789.123 12345678.1234 A.B a.b. A.B.
	files below | directory 'dir.'
	files below | directory dir
}

aliases() {
	files git~1 LONGFI~1.TXT makefi~1 Makefile.am Makefile.in \
		LONGFI~3.TXT longfi~5.txt 'LONG F~1.TXT' _~1 _~2 ü ö
	# shellcheck disable=SC2046
	files $(seq -f 'longfilename%.0f.txt' 0 14)
}

lengths() {
	local n
	for n in 1 12 13 14 25 26 27 39 254 255; do
		files "$(repeat "$n" x)"
	done
	# The last that Linux takes, in bytes.
	files "$(repeat 127 é)z"
	# Collisions that there is no room to tell apart behind.
	files "$(repeat 255 y)" "$(repeat 255 Y)" "$(repeat 251 w).txt" \
		"$(repeat 251 W).txt"
}

# More bytes than Linux takes in a name, but no more than 255 UTF-16 units: in a
# directory of their own, for they cannot be copied out.
wide() {
	files "$(repeat 255 é)" "$(repeat 127 😀)z" "z$(repeat 127 😀)" \
		"$(repeat 85 語)xy" "$(repeat 255 語)"
}

many() {
	# shellcheck disable=SC2046
	twins $(seq -f 'entry number %.0f of the many.c' 1 3000 | tr ' ' _)
}

deep() {
	local id
	id=$(files bottom | git mktree -z)
	for _ in $(seq 59); do
		id=$(entry 040000 a-level "$id" | git mktree -z)
	done
	entry 040000 deep "$id"
}

links() {
	link passwd ../../etc/passwd
	link up ../../../../../..
	link absolute /etc/passwd
	link file ../case/Makefile
	link directory ../dots
	link through directory/lower.txt
	link chain through
	link dangling nowhere
	link slash file/
	link loop loop
	link here .
	link submodule ../submodule
	link odd $'not a path\n\xff'
	link longest "$(repeat 2047 ./)x"
}

sizes() {
	local n
	for n in 0 1 511 512 513 4095 4096 4097 8192 65536; do
		entry 100644 "$n" "$(seq 20000 | head -c "$n" | blob)"
	done
	# Neither a repeat within zlib's window nor the same in any two places.
	perl -e 'srand 1;
		my $part = pack "N*", map { int rand 2**32 } 1 .. 2**18;
		for my $i (1 .. 20) { print pack("N", $i), substr $part, 4 }' |
		blob > "$parts/id"
	entry 100644 20-mib.bin "$(cat "$parts/id")"
	(set +o pipefail; seq 10000000 | head -c 41943040) | blob > "$parts/id"
	entry 100644 40-mib.txt "$(cat "$parts/id")"
}

special() {
	entry 100644 pointer.lfs "$(printf '%s\n' \
		'version https://git-lfs.github.com/spec/v1' \
		"oid sha256:$(repeat 64 7)" 'size 12345' | blob)"
	entry 100755 script.sh "$(echo '#!/bin/sh' | blob)"
	entry 160000 submodule "$some_commit"
	entry 100644 zero "$(blob < /dev/null)"
	directory nothing < /dev/null
	echo '*.lfs filter=lfs' > "$parts/attributes"
	entry 100644 .gitattributes "$(blob < "$parts/attributes")"
	# The same tree in two places.
	files a b c | directory twin-1
	files a b c | directory twin-2
}

root=$(
	{
		case_variants | directory case
		unicode | directory unicode
		illegal | directory illegal
		devices | directory devices
		dots | directory dots
		aliases | directory aliases
		lengths | directory lengths
		wide | directory wide
		many | directory many
		deep
		links | directory links
		sizes | directory sizes
		special
		files MAKEFILE makefile GIT
	} | git mktree -z --missing
)
commit=$(git commit-tree "$root" -m 'All that hurts')
git update-ref refs/heads/main "$commit"
echo "$commit"
if [ "$commit" != "$commit_wanted" ]; then
	echo "torture.sh: commit $commit, not $commit_wanted: the tree is" \
		'another than it was' >&2
	exit 1
fi
