#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The rules of docs/architecture.md that a compiler does not see: includes go
# downward only, every header compiles alone, every source file names its
# license, and no file names a place on somebody's own machine.  Prints TAP.
# Each rule is first tried on a tree that breaks it.

set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The modules.  A folder that is not listed may hold no C.
folders="common evtchn gnttab xenstore-watch providers nbd-client git-fat"
folders+=" blkback diskd diskctl tests"
contract='providers/(mailbox|provider|provider-spec|rmw)\.h'

# What a file of a folder may include, as one pattern over whole paths.
allowed() {
	case $1 in
	common) echo 'common/.*' ;;
	evtchn | gnttab | xenstore-watch) echo "(common|$1)/.*" ;;
	providers) echo '(common|providers)/.*' ;;
	nbd-client | git-fat) echo "(common|$1)/.*|$contract" ;;
	blkback)
		echo "(common|evtchn|gnttab|xenstore-watch|blkback)/.*|$contract"
		;;
	diskd) echo "(${folders// /|})/.*" | sed 's/|diskctl|tests//' ;;
	diskctl) echo '(common|diskctl)/.*' ;;
	tests) echo '.*' ;;
	*) echo 'no-such-file' ;;
	esac
}

# Within blkback each includes only earlier ones: one line a step, what is on
# one line includes nothing else of that line but its own header.  The source
# behind a header that has a private one comes after that, as the others of its
# kind do.
blkback_order="blkif-abi child-process grant-cache idle-poll page-pool throttle vdev
inflight ring
request
transfer
queue
queue-private
queue-open
connection connection-params
worker-message negotiate
worker-process
vbd
backend
vbd-private
vbd-change vbd-hold vbd-journal vbd-state vbd-upgrade vbd-worker"

# Fills rank[name] with the line.
declare -A rank
number=0
while read -r line; do
	number=$((number + 1))
	for name in $line; do
		rank[$name]=$number
	done
done <<<"$blkback_order"

# "file<TAB>included" for every include of our own below a folder.
includes() {
	local root=$1 folder=$2
	[ -d "$root/$folder" ] || return 0
	# shellcheck disable=SC2016 # the text is for awk
	(cd "$root" && find "$folder" -name '*.[ch]' -exec awk -F'"' '
		/^[[:space:]]*#[[:space:]]*include[[:space:]]*"/ {
			print FILENAME "\t" $2
		}' {} +)
}

# ---- rules: each prints what breaks it, for the tree in $1 ------------------

rule_includes() {
	local root=$1 folder=$2 file included pattern
	pattern=$(allowed "$folder")
	while IFS=$'\t' read -r file included; do
		if [ ! -e "$root/$included" ]; then
			echo "$file: '$included' is not a path from the top"
		elif [[ ! $included =~ ^($pattern)$ ]]; then
			echo "$file: may not include '$included'"
		elif [ "$folder" = providers ] &&
			concrete "$file" "$included"; then
			echo "$file: names the provider '$included'"
		fi
	done < <(includes "$root" "$folder")
}

# A provider's own headers are for its sources (NAME.c, NAME-PART.c), and the
# first for diskd's registry.
concrete() {
	[[ ! $2 =~ ^providers/ ]] && return 1
	[[ $2 =~ ^($contract)$ ]] && return 1
	[ "${1%%[-.]*}" != "${2%%[-.]*}" ]
}

rule_blkback_order() {
	local root=$1 file included from to private
	while IFS=$'\t' read -r file included; do
		[[ $included == blkback/* ]] || continue
		[ "${file%.*}" = "${included%.*}" ] && continue
		from=${file%.*} to=${included%.*}
		private=${rank[${from##*/}-private]:-}
		from=${rank[${from##*/}]:-} to=${rank[${to##*/}]:-}
		[[ $file == *.c && $private ]] && from=$((private + 1))
		if [ -z "$from" ] || [ -z "$to" ]; then
			echo "$file: it or '$included' has no place in the order"
		elif [ "$to" -ge "$from" ] && ! shared_header "$file" "$included"
		then
			echo "$file: '$included' is not an earlier one"
		fi
	done < <(includes "$root" blkback)
}

# connection-params.c is the other half of connection.h.
shared_header() {
	[[ $1 == "${2%.h}"-*.c ]]
}

rule_known_folders() {
	local root=$1 file
	for file in $(cd "$root" && sources | grep '\.[ch]$'); do
		[[ " $folders " == *" ${file%%/*} "* ]] ||
			echo "$file: lies in no module"
	done
}

rule_headers_alone() {
	local root=$1 header
	for header in $(cd "$root" && sources | grep '\.h$'); do
		(cd "$root" && ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -I. -Wall \
			-Wextra -Werror -fsyntax-only -x c - \
			<<<"#include \"$header\"" >"$scratch/log" 2>&1) ||
			echo "$header: $(grep -m 1 error: "$scratch/log")"
	done
}

# Every file that is or may be committed, in the current directory.
files() {
	git ls-files --cached --others --exclude-standard 2>"$scratch/log" |
		grep . || find . -path ./build -prune -o -type f -printf '%P\n'
}

sources() {
	local file start
	for file in $(files); do
		[ -f "$file" ] || continue
		case ${file##*/} in
		*.c | *.h | *.sh | *.mk | *.py | *.mutant | Makefile)
			echo "$file"
			;;
		*.*) ;;
		*)
			start=
			IFS= read -r -n 2 start 2>/dev/null <"$file" || true
			[ "$start" != '#!' ] || echo "$file"
			;;
		esac
	done
}

# On the first line, or the second where the first is #!.
rule_license() {
	cd "$1"
	# shellcheck disable=SC2016 # the text is for awk
	sources | xargs -r awk '
		FNR == 1 { shebang = /^#!/ }
		FNR == 1 + shebang && !/SPDX-License-Identifier: BSD-2-Clause/ {
			print FILENAME ": does not begin with its SPDX line"
		}'
}

# Somebody's home or scratch directory, and package registries.
forbidden='/(home|Users|work|tmp/prompts)/|deb[.]debian[.]org'
forbidden+='|(pypi|crates|npmjs|rubygems)[.](org|io|com)'
forbidden+='|(proxy|sum)[.]golang[.]org'

rule_forbidden_text() {
	cd "$1"
	files | xargs -r grep -nEIs -- "$forbidden" || true
}

# ---- TAP ------------------------------------------------------------------

number=0
failures=0

# ok DESCRIPTION COMMAND...: passes when the command prints nothing.
ok() {
	local what=$1 found
	shift
	number=$((number + 1))
	found=$("$@")
	if [ -z "$found" ]; then
		echo "ok $number - $what"
		return
	fi
	failures=$((failures + 1))
	echo "not ok $number - $what"
	# shellcheck disable=SC2001 # sed prefixes each line
	sed 's/^/# /' <<<"$found"
}

# finds DESCRIPTION LINES COMMAND...: passes when it prints that many lines.
finds() {
	local what=$1 lines=$2 found
	shift 2
	found=$("$@" | grep -c .) || true
	# shellcheck disable=SC2016 # the text is for awk
	ok "$what ($lines planted)" awk -v l="$lines" -v f="$found" \
		'BEGIN { if (l != f) print f " found" }'
}

put() {
	mkdir -p "$(dirname "$scratch/tree/$1")"
	printf '%s\n' "${@:2}" >"$scratch/tree/$1"
}

license='/* SPDX-License-Identifier: BSD-2-Clause */'
bad_tree() {
	put common/log.h "$license" '#include "providers/file.h"'
	put common/bad.c "$license" '#include "log.h"'
	put evtchn/evtchn.h "$license" '#include "gnttab/gnttab.h"'
	put gnttab/gnttab.h "$license"
	put providers/file.h "$license" '# include "blkback/ring.h"'
	put providers/null.c "$license" '#include "providers/file.h"'
	put blkback/ring.h "$license" '#include "blkback/queue.h"'
	put blkback/queue.h "$license" '#include "tests/sim/sim.h"' \
		'#include "providers/file.h"' '#include "providers/provider.h"'
	put blkback/newcomer.c "$license" '#include "blkback/ring.h"'
	put providers/provider.h "$license"
	put diskctl/x.c "$license" '#include "diskd/options.h"'
	put diskd/options.h "$license" '#include "tests/sim/sim.h"'
	put tests/sim/sim.h "$license"
	put elsewhere/x.c "$license"
	put diskd/unlicensed.c 'int x;'
	put diskd/script '#!/bin/sh' '# no license'
	put alone/good.h "$license" '#include <stddef.h>' 'size_t good(void);'
	put alone/bad.h "$license" 'size_t needs_stddef(void);'
	put alone/worse.h "$license" '#include "bad.h"' 'size_t needs_it_too(void);'
	put diskd/place.sh "# $license" "cd /ho""me/somebody"
}

bad_tree
bad=$scratch/tree
finds "a bad include of common is found" 2 rule_includes "$bad" common
finds "a bad include of evtchn is found" 1 rule_includes "$bad" evtchn
finds "a bad include of providers is found" 2 rule_includes "$bad" providers
finds "a bad include of blkback is found" 2 rule_includes "$bad" blkback
finds "a bad include of diskctl is found" 1 rule_includes "$bad" diskctl
finds "a bad include of diskd is found" 1 rule_includes "$bad" diskd
finds "a bad order in blkback is found" 2 rule_blkback_order "$bad"
finds "an unknown folder is found" 4 rule_known_folders "$bad"
finds "a header that needs another is found" 2 rule_headers_alone "$bad/alone"
finds "a missing license is found" 2 rule_license "$bad"
finds "a forbidden place is found" 1 rule_forbidden_text "$bad"

for folder in $folders; do
	ok "$folder includes downward only" rule_includes "$top" "$folder"
done
ok "blkback keeps its order" rule_blkback_order "$top"
ok "every folder with C is a module" rule_known_folders "$top"
ok "headers compile alone" rule_headers_alone "$top"
ok "source files begin with their license" rule_license "$top"
ok "no file names a place on somebody's machine" rule_forbidden_text "$top"

echo "1..$number"
[ "$failures" = 0 ]
