#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Every form of gitrevisions(7) that names one commit, tag or tree comes to the
# tree that git has for it; those that libgit2 lacks, and those that name
# something else, are refused by name.  Prints TAP.
#
# Environment: BIN, the directory of git-fat; TOP, the top of the source tree.

set -euo pipefail

# shellcheck source=tests/git-fat/lib.sh
. "$(dirname "$0")/lib.sh"

repo=$work/repo

# Each step is a day after the last, from 2021-03-04 05:06:07 UTC on.
next_day() {
	days=$((days + 1))
	export GIT_COMMITTER_DATE="$((1614834367 + days * 86400)) +0000"
	export GIT_AUTHOR_DATE=$GIT_COMMITTER_DATE
}

# commit MESSAGE: each has a tree of its own.
commit() {
	next_day
	echo "$1" > file
	mkdir -p "dir/$days"
	echo "$1" > "dir/$days/file"
	git add -A
	git commit -q -m "$1"
}

# Two branches, merged; tags of each kind; a remote with its own branches.
make_repository() {
	days=-1
	git init -q -b main "$repo"
	cd "$repo"
	commit 'the first'
	git tag light
	commit 'a second, fix: it'
	git tag -a -m one v1
	commit 'a third'
	commit 'a fourth'
	git checkout -q -b side v1
	commit 'on the side'
	commit '!odd beginning'
	git checkout -q main
	next_day
	git merge -q -s ours -m 'the merge' side
	commit 'the last'
	# A tag of a tag.
	git tag -a -m nested nested v1
	git tag -a -m tree-tag of-tree 'main^{tree}'
	git tag -a -m blob-tag of-blob main:file
	git tag light-tree 'main^{tree}'
	git branch dotted/name.with-dash main~2
	git branch 'br{ce}s' main~1
	git branch beef main~1
	git branch at@sign main~2
	git branch main@ main~2
	git branch twice main~2
	git tag twice main~1
	git branch "$(git rev-parse side)" main~2
	git update-ref refs/other/place main~2
	git symbolic-ref refs/heads/symbolic refs/heads/side
	git clone -q --bare . "$work/far"
	git remote add origin "$work/far"
	git fetch -q origin
	git remote set-head origin main
	git branch -q -u origin/side main
	git config push.default upstream
	git config remote.pushDefault origin
	next_day
	echo stashed >> file
	git stash push -q
}

# same FORM...: the tree that git has, for each.
same() {
	local form tree
	cd "$repo"
	for form; do
		# Asked for first: behind a colon, ^{tree} would be a path.
		tree=$(git rev-parse -q --verify --end-of-options "$form")
		tree=$(git rev-parse "$tree^{tree}")
		run "$git_fat" ls . "$tree"
		expect "tree $tree: $err: status" "$status" 0
		mv "$work/out" "$work/wanted"
		run timeout 10 "$git_fat" ls . "$form"
		expect "$form: $err: status" "$status" 0
		diff "$work/wanted" "$work/out"
		[ -s "$work/out" ]
	done
}

# not_same PATTERN FORM...: refused each, with the form and the cause.
not_same() {
	local pattern=$1 form
	shift
	for form; do
		refused "$pattern" "$repo" "$form"
		expect_match "$err" "$(grep -cF -- "ref '$form': " <<< "$err")" 1
	done
}

check 'a repository is made' make_repository
id=$(git -C "$repo" rev-parse main)
tree=$(git -C "$repo" rev-parse 'main^{tree}')
check 'ids, whole and short' same "$id" "${id:0:4}" "${id:0:7}" "${id:0:39}" \
	"${id^^}" "${id:0:9}~1" "$tree" "${tree:0:8}" \
	"$(git -C "$repo" rev-parse v1)"
check 'an id comes before a branch of that name' \
	same "$(git -C "$repo" rev-parse side)"
check 'what git describe prints' same \
	"$(git -C "$repo" describe --tags main)" "anything-12-g${id:0:7}"
check 'refs, in each of the six places' same main heads/main refs/heads/main \
	origin/side remotes/origin/side refs/remotes/origin/side origin v1 \
	tags/v1 refs/tags/v1 HEAD FETCH_HEAD ORIG_HEAD other/place \
	refs/other/place stash
check 'refs with odd names' same dotted/name.with-dash 'br{ce}s' beef beef~1 \
	at@sign at@sign~1 heads/main@^0 symbolic
check 'a tag comes before a branch of that name' same twice heads/twice
check '@ for HEAD' same @ @~1 @^ @^0 '@^{tree}' @~1^2 @:dir
check 'REF@{N}' same 'main@{0}' 'main@{1}' 'main@{3}' 'refs/heads/main@{1}' \
	'@{0}' '@{1}' '@{2}' '@{1}~1' 'main@{1}:dir' 'stash@{0}' 'side@{1}'
check 'REF@{DATE}' same 'main@{2021-03-06 00:00:00}' 'main@{2021-03-05}' \
	'@{2021-03-07}' 'main@{yesterday}' 'main@{now}' '@{5 minutes ago}' \
	'@{2021-03-06 00:00:00}:dir' '@{yesterday}~1'
# Else the dates above would show nothing.
check 'REF@{DATE} is not the tip' expect date \
	"$(git -C "$repo" rev-parse 'main@{2021-03-06 00:00:00}')" \
	"$(git -C "$repo" rev-parse 'main~4')"
check '@{-N}' same '@{-1}' '@{-2}' '@{-1}~1' '@{-1}@{1}' '@{-1}:dir'
check '@{upstream}' same '@{u}' '@{upstream}' 'main@{u}' \
	'main@{upstream}~1' '@{u}@{0}' '@{u}:dir'
check 'REV^N and REV~N' same HEAD^ HEAD^0 HEAD^1 main~1^2 main~1^2~1 HEAD~ HEAD~0 \
	HEAD~2 HEAD~~ HEAD^^ main~1^2^ main~1~1 main^1^1 v1~1 nested^ \
	'main^{tree}^{tree}' main~01 'HEAD~1^{/the}^'
check 'REV^{TYPE}' same 'v1^{}' 'v1^{commit}' 'v1^{tree}' 'v1^{tag}' \
	'nested^{}' 'nested^{tag}' 'nested^{commit}' 'nested^{tree}' \
	'main^{}' 'main^{commit}' 'main^{tree}' 'v1^{}~1'
check 'a tag of a tag, a tag of a tree' same nested of-tree 'of-tree^{}' \
	'of-tree^{tree}' of-tree:dir light light-tree light-tree:dir
check 'REV^{/TEXT}' same 'HEAD^{/fix}' 'HEAD^{/a third}' 'HEAD^{/^a t}' \
	'main^{/side}' 'main~2^{/first}' 'HEAD^{/fix: it}:dir' 'HEAD^{/s.*t}'
check ':/TEXT' same :/fix ':/a second, fix: it' ':/^a t' :/side ':/^the last' \
	':/fi.*it'
check 'REV:PATH of a directory' same main: HEAD: main:dir main:dir/1 v1:dir \
	nested:dir main~2:dir 'main^{tree}:dir' main~1^2:dir \
	"${id:0:7}:dir" "$tree:dir" main:dir/

check 'a range is refused' not_same 'a range, not one' main..side main...side \
	..main main.. ^main main^@ main^! main^- main^-1 main~1^-2 @^@ @^! ^
check 'an entry of the index is refused' not_same 'entry of the index' \
	:file :dir :0:file :0:dir :1:file :2:file :
check 'a blob is refused' not_same ': a blob, neither' main:file of-blob \
	'of-blob^{}' 'of-blob^{blob}' "$(git -C "$repo" rev-parse main:file)"
check '@{push} is refused' not_same "'@\\{push\\}' is not supported" \
	'@{push}' 'main@{push}' 'main@{PUSH}' 'main@{push}:dir'
check 'HEAD@{N} and HEAD@{DATE} are refused' not_same \
	"'HEAD@\\{...\\}' is not supported" 'HEAD@{0}' 'HEAD@{1}' \
	'HEAD@{yesterday}' 'HEAD@{1}~1' 'HEAD@{1}:dir'
check '@{UPSTREAM} is refused' not_same 'lower case' '@{U}' 'main@{Upstream}'
check 'REV^{object} is refused' not_same "'\\^\\{object\\}' is not" \
	'main^{object}' 'v1^{object}~1'
check 'REV^{/!…} and REV^{/} are refused' not_same 'is not supported' \
	'HEAD^{/!-last}' 'HEAD^{/!!odd}' 'HEAD^{/!odd}' 'HEAD^{/}'
check ':/!… is refused' not_same "':/!' is not supported" ':/!-last' ':/!!odd'
check 'a relative path is refused' not_same 'start at the top of the tree' \
	main:./dir main:../dir main:. main:..
check 'REF@ is refused' not_same "'@' at the end" main@ side@ HEAD@ @@
check 'what is not there is refused' not_same \
	'not found|does not exist|only [0-9]+ entries|Invalid pattern' \
	nosuch HEAD~99 HEAD^3 main:nosuch 'main@{99}' '@{-9}' 'light@{u}' \
	'HEAD^{/nosuch}' :/nosuch 'HEAD^{/a..b}' deadbeef "${id}00" \
	0000000000000000000000000000000000000000 HEAD~4294967297 \
	'main^{blob}' 'main^{nosuch}' refs/heads
check 'what is malformed is refused' not_same 'Invalid pattern|is empty|a range' \
	'' 'main ' ' main' 'ma*n' 'HEAD^{/' 'main@{' 'main^{' '~1' '~' '@{' \
	'@{-1' 'main@{-1}' HEAD~-1 refs/heads/../heads/main

# With 700 objects some share their first four digits; the same ones each time.
ambiguous() {
	local short
	cd "$repo"
	mkdir "$work/many"
	seq 700 | split -l 1 -a 3 - "$work/many/"
	short=$(printf '%s\n' "$work/many/"* | git hash-object -w --stdin-paths |
		cut -c 1-4 | sort | uniq -d | head -n 1)
	[ -n "$short" ]
	not_same 'ambiguous|too short' "$short" "${id:0:3}"
}
check 'a short id that could be two things is refused' ambiguous
tap_end
