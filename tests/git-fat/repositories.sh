#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Kinds of repositories: each served, or refused at once with one line that
# names the repository or the path and says why.  Prints TAP.
#
# Environment: BIN, the directory of git-fat; TOP, the top of the source tree.

set -euo pipefail

# shellcheck source=tests/git-fat/lib.sh
. "$(dirname "$0")/lib.sh"

names=$'a.txt\nb.txt\nsub\nsub/c.txt'

# A worktree with two commits; b.txt is another in the first.
make() {
	git init -q -b main "$1"
	(
		cd "$1"
		mkdir sub
		echo a > a.txt
		seq 20000 > b.txt
		echo c > sub/c.txt
		git add -A
		git commit -q -m one
		seq 20001 > b.txt
		git commit -q -a -m two
	)
}
make "$work/base"
base=$work/base
git clone -q --bare "$base" "$work/bare.git"

# Fresh copies, for what spoils them.
copy() {
	rm -rf "$work/copy.git"
	cp -a "$work/bare.git" "$work/copy.git"
	git -C "$work/copy.git" repack -q -a -d
	copy=$work/copy.git
	pack=$(echo "$copy"/objects/pack/*.pack)
	chmod -R u+w "$copy"
}

# holds REPOSITORY [REF [OPTION...]]
holds() {
	local files
	files=$(served "$@")
	expect files "$files" "$names"
}

path_of_object() {
	echo "objects/${1:0:2}/${1:2}"
}

### served

check 'bare' holds "$work/bare.git" main
check 'a worktree' holds "$base" main
check "a worktree's .git directory" holds "$base/.git" main

linked() {
	git -C "$base" worktree add -q "$work/linked" main~1
	holds "$work/linked" HEAD
	holds "$work/linked/.git" HEAD
	# Its own HEAD, the branches of the first.
	cmp <("$git_fat" ls "$work/linked" HEAD) <("$git_fat" ls "$base" main~1)
	cmp <("$git_fat" ls "$work/linked" main) <("$git_fat" ls "$base" main)
}
check 'a linked worktree and its .git file' linked

alternates() {
	git clone -q --bare --shared "$base" "$work/shared.git"
	[ -z "$(find "$work/shared.git/objects" -name '??' -o -name '*.pack')" ]
	holds "$work/shared.git" main
	echo ../../base/.git/objects > "$work/shared.git/objects/info/alternates"
	holds "$work/shared.git" main
	echo ../../gone/objects > "$work/shared.git/objects/info/alternates"
	refused "repository '$work/shared.git': .*" "$work/shared.git" main
}
check 'alternates, absolute and relative; a lost one is refused' alternates

owner() {
	copy
	chown -R nobody "$copy"
	holds "$copy" main
}
if [ "$(id -u)" = 0 ]; then
	check "another user's" owner
else
	echo "ok $((++tap_count)) - another user's # SKIP not root"
fi

relative() {
	cd "$work"
	holds bare.git main
	holds base main
	cd base
	holds . main
	holds ../bare.git main
}
check 'a relative path' relative

packed_refs() {
	copy
	git -C "$copy" pack-refs --all --prune
	[ -z "$(find "$copy/refs" -type f)" ]
	holds "$copy" main
}
check 'refs in packed-refs alone' packed_refs

read_only() {
	copy
	chmod -R a-w "$copy"
	if [ "$(id -u)" = 0 ]; then
		# Root writes wherever it likes, but not here.
		# shellcheck disable=SC2016
		unshare -m sh -c 'mount --bind "$1" "$1" &&
			mount -o remount,bind,ro "$1" && ! touch "$1/x" &&
			"$2" image --partition=none "$1" main > "$3"' \
			sh "$copy" "$git_fat" "$work/ro.img" 2> "$work/err" ||
			{ cat "$work/err"; return 1; }
		"$git_fat" image --partition=none "$work/bare.git" main |
			cmp - "$work/ro.img"
	fi
	find "$copy" | sort > "$work/before"
	holds "$copy" main
	find "$copy" | sort | cmp - "$work/before"
	chmod -R u+w "$copy"
}
check 'a read-only directory, which gains nothing' read_only

shallow() {
	git clone -q --bare --depth=1 "file://$base" "$work/shallow.git"
	holds "$work/shallow.git" main
	refused "ref 'main~1': parent 0 does not exist|ref 'main~1': .*not found" \
		"$work/shallow.git" main~1
}
check 'a shallow clone: its tip, and nothing before it' shallow

ignored() {
	copy
	git -C "$copy" replace main main~1
	git -C "$copy" rev-parse main > "$copy/info/grafts"
	cmp <("$git_fat" ls "$copy" main) <("$git_fat" ls "$base" main)
	cmp <("$git_fat" ls "$copy" main~1) <("$git_fat" ls "$base" main~1)
}
check 'replaced objects and grafts are as if they were not there' ignored

partial() {
	local blob
	git -C "$base" config uploadpack.allowFilter true
	git clone -q --bare --filter=blob:none "file://$base" \
		"$work/partial.git"
	blob=$(git -C "$base" rev-parse main:a.txt)
	refused "repository '$work/partial.git': 'a.txt': object $blob is missing" \
		"$work/partial.git" main
	# What is there is served: fetch the blobs of one directory.
	git -C "$work/partial.git" cat-file blob main:sub/c.txt > "$work/c"
	[ "$(cat "$work/c")" = c ]
	names=c.txt holds "$work/partial.git" main --path=sub
	names=c.txt holds "$work/partial.git" main:sub
	refused "'a.txt': object $blob is missing" "$work/partial.git" main
}
check 'a partial clone: what is there, else the path that is not' partial

### refused

# denied PATH PATTERN
denied() {
	refused "^git-fat: repository '$1': .*($2)" "$1" HEAD
}

check 'missing' denied "$work/nowhere" 'failed to resolve path.*No such file'
mkdir "$work/empty"
check 'a directory that is none' denied "$work/empty" \
	'could not find repository|not found'
check 'a directory inside one' denied "$base/sub" \
	'could not find repository|not found'
check 'a file that is none' denied "$base/a.txt" '.git|repository|invalid'

unborn() {
	git init -q --bare -b main "$work/unborn.git"
	refused "unborn.git': ref 'HEAD': .*(not found|unborn)" \
		"$work/unborn.git" HEAD
	refused "unborn.git': ref 'main': .*not found" "$work/unborn.git" main
}
check 'an empty one' unborn

sha256() {
	git init -q --object-format=sha256 -b main "$work/sha256"
	git -C "$work/sha256" commit -q --allow-empty -m one
	refused "repository '$work/sha256': .*SHA-256" "$work/sha256" main
	refused "repository '$work/sha256/.git': .*SHA-256" \
		"$work/sha256/.git" main
}
check 'SHA-256' sha256

extension() {
	copy
	git config -f "$copy/config" core.repositoryFormatVersion 1
	git config -f "$copy/config" extensions.refStorage reftable
	refused "repository '$copy': .*refstorage" "$copy" main
	copy
	git config -f "$copy/config" core.repositoryFormatVersion 7
	refused "repository '$copy': .*version" "$copy" main
}
check 'reftable, and a version that is yet to come' extension

# What the configuration includes, when it is no file or has no end.
config() {
	local path
	for path in /dev/zero /dev/stdin "$work/copy.git" "$work/nowhere"; do
		copy
		printf '[include]\n\tpath = %s\n' "$path" >> "$copy/config"
		holds "$copy" main || refused "repository '$copy': " "$copy" main
	done
	copy
	printf '[include]\n\tpath = config\n' >> "$copy/config"
	refused "repository '$copy': .*include depth" "$copy" main
}
check 'a configuration that includes a device, a directory, itself' config

# Each names itself over and over: what is looked for anew each time has no end.
alternates_loop() {
	local i
	copy
	for ((i = 0; i < 200; i++)); do
		echo "$copy/objects"
		echo .
		echo ../objects/../objects
	done > "$copy/objects/info/alternates"
	holds "$copy" main
	seq -f "$work/none%g" 1001 > "$copy/objects/info/alternates"
	refused "repository '$copy': .*more than 1000 alternates" "$copy" main
	seq -f "$work/alternates/%g" 70 > "$copy/objects/info/alternates"
	xargs mkdir -p < "$copy/objects/info/alternates"
	refused "repository '$copy': .*more than 64 directories" "$copy" main
}
check 'alternates that name themselves, or too many' alternates_loop

### damaged

damaged_pack() {
	local at id
	copy
	id=$(git -C "$copy" rev-parse main:b.txt)
	at=$(git show-index < "${pack%.pack}.idx" |
		awk -v id="$id" '$2 == id { print $1 }')
	dd if=/dev/zero of="$pack" bs=1 seek=$((at + 12)) count=40 conv=notrunc \
		status=none
	refused "object $id" "$copy" main --partition=none
}
check 'a damaged pack' damaged_pack

# With the head of a pack gone, nothing in it is there.
no_pack() {
	copy
	printf 'XXXX' | dd of="$pack" bs=1 conv=notrunc status=none
	refused "repository '$copy': ref 'main'|'$copy': .*pack" "$copy" main
	copy
	truncate -s 100 "${pack%.pack}.idx"
	refused "repository '$copy': " "$copy" main
	copy
	truncate -s 200 "$pack"
	refused "repository '$copy': |object [0-9a-f]{40}" "$copy" main
	copy
	rm "${pack%.pack}.idx"
	refused "repository '$copy': " "$copy" main
}
check 'a pack or its index cut short' no_pack

damaged_loose() {
	local file id
	copy
	mv "$pack" "$work/pack"
	rm "${pack%.pack}".*
	git -C "$copy" unpack-objects -q < "$work/pack"
	id=$(git -C "$copy" rev-parse main:b.txt)
	file=$copy/$(path_of_object "$id")
	chmod u+w "$file"
	cp "$file" "$work/whole"
	: > "$file"
	refused "repository '$copy': 'b.txt': object $id" "$copy" main
	echo rubbish > "$file"
	refused "repository '$copy': 'b.txt': object $id" "$copy" main
	rm "$file"
	refused "repository '$copy': 'b.txt': object $id is missing" "$copy" main
	cp "$work/whole" "$file"
	holds "$copy" main
}
check 'a damaged loose object' damaged_loose

# A power cut leaves such: the size is told, the rest is not there.
cut_loose() {
	local file id size
	copy
	mv "$pack" "$work/pack"
	rm "${pack%.pack}".*
	git -C "$copy" unpack-objects -q < "$work/pack"
	id=$(git -C "$copy" rev-parse main:b.txt)
	file=$copy/$(path_of_object "$id")
	chmod u+w "$file"
	for size in 2000 200 8 2; do
		truncate -s "$size" "$file"
		refused "object $id" "$copy" main --partition=none
	done
}
check 'a loose object that is cut short' cut_loose

# Nobody writes to it; what waits is ended after 20 s and no refusal.
fifo_pack() {
	local file
	for file in "pack-$(printf '%040d' 1).idx" multi-pack-index; do
		copy
		mkfifo "$copy/objects/pack/$file"
		refused "repository '$copy': there is a pack that is no file" \
			"$copy" main
		rm "$copy/objects/pack/$file"
		ln -s /dev/zero "$copy/objects/pack/$file"
		refused "repository '$copy': there is a pack that is no file" \
			"$copy" main
	done
}
check 'a pack index that is a FIFO or a device' fifo_pack

# Sound to zlib, of the right size, and not what it is called.
other_content() {
	local file id
	copy
	mv "$pack" "$work/pack"
	rm "${pack%.pack}".*
	git -C "$copy" unpack-objects -q < "$work/pack"
	id=$(git -C "$copy" rev-parse main:a.txt)
	file=$copy/$(path_of_object "$id")
	other=$(echo x | git -C "$copy" hash-object -w --stdin)
	cp -f "$copy/$(path_of_object "$other")" "$file"
	refused "object $id.*" "$copy" main --verify=on
	"$git_fat" image "$copy" main > "$work/image"
	grep -qF "$id" <(git -C "$copy" ls-tree -r main)
	run "$git_fat" verify "$copy" main
	expect "verify: $err: status" "$status" 3
	expect_match verify "$err" 'a.txt'
}
check 'an object that is another: seen with verify=on' other_content

tap_end
