#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Instructions that our own objects execute for a request, on each path through
# the engine, beside the committed baseline.  Prints TAP.
#
#	instructions.sh PROGRAM [--update]
#
# PROGRAM is instructions.c beside this file, built as a release.  callgrind
# counts; what is in libc, liburing and the kernel is not ours and not counted,
# and neither is looking at the ring before sleeping.  Of two runs, one twice as
# long, the difference is taken, so that start and end do not count.  No clock
# and no race has a part in it: the same compiler gives the same numbers on any
# machine.
#
# Of them, those that write the request down for a successor have numbers of their
# own, of a small request and of one with many segments: in a path they would hide.
#
# A path that is more than 3 % away from tests/bench/instructions.baseline, up or
# down, has failed.  If that is meant to be: --update (make
# bench-instructions-update) writes the baseline anew, and it is committed alone,
# with the reason.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
baseline=$here/instructions.baseline
program=$(realpath "$1")
update=${2:-}
tolerance=3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

compiler() {
	${CC:-gcc} --version | head -n 1
}

# "FUNCTION INSTRUCTIONS" of all functions that are ours, for a whole run.
functions() {
	local path=$1 cycles=$2
	timeout 60 valgrind --tool=callgrind --compress-strings=no --compress-pos=no \
		--callgrind-out-file="$work/out" "$program" "$path" \
		"$cycles" >"$work/requests" 2>"$work/log" || {
		cat "$work/log" >&2
		exit 1
	}
	# A call's line has its callee's cost behind it, which is counted there.
	awk -v program="$program" '
		/^ob=/ { our_object = substr($0, 4) == program }
		/^fl=/ {
			our_file = /\/(blkback|common|providers)\/[^\/]+\.[ch]$/
		}
		/^fn=/ { name = substr($0, 4) }
		/^calls=/ { getline; next }
		/^[0-9+*-]/ && our_object && our_file { cost[name] += $2 }
		END { for (name in cost) print name, cost[name] }' "$work/out"
}

# "FUNCTION INSTRUCTIONS" for a request, the most expensive first.
per_request() {
	functions "$1" 1 >"$work/once"
	functions "$1" 2 >"$work/twice"
	awk -v requests="$(cat "$work/requests")" '
		NR == FNR { once[$1] = $2; next }
		$2 != once[$1] { print $1, ($2 - once[$1]) / requests }' \
		"$work/once" "$work/twice" | sort -k 2,2nr
}

sum() {
	awk '{ n += $2 } END { printf "%.2f\n", n }'
}

# Those of blkback/inflight.c.
journal_sum() {
	awk '$1 ~ /^(inflight_|check_of$)/' | sum
}

# Whether NOW is as it should be, and how far it is off.
compare() {
	awk -v now="$1" -v base="$2" -v most="$tolerance" 'BEGIN {
		if (!base)
			exit 1
		off = (now - base) * 100 / base
		printf "%+.2f %%", off
		exit !(off <= most && off >= -most) }'
}

number=0 failed=0
report() {
	number=$((number + 1))
	[ "$1" = ok ] || failed=$((failed + 1))
	echo "$1 $number - $2"
}

# check_number NAME NOW PATH
check_number() {
	local name=$1 now=$2 base off verdict=ok
	base=$(awk -v name="$name" '$1 == name { print $2 }' "$baseline")
	off=$(compare "$now" "$base") || verdict='not ok'
	report "$verdict" "$name: $now instructions a request, $off beside ${base:-no} of the baseline"
	[ "$verdict" = ok ] || sed 's/^/#   /' "$work/$3"
}

mapfile -t paths < <("$program")
journal_paths=(null-read-4k-copy null-read-128k-copy)
[ "$update" = --update ] || [ -e "$baseline" ] || {
	echo "instructions.sh: there is no baseline" >&2
	exit 1
}
for path in "${paths[@]}"; do
	per_request "$path" >"$work/$path"
	[ -s "$work/$path" ] || {
		echo "instructions.sh: nothing of ours was executed" >&2
		exit 1
	}
done

if [ "$update" = --update ]; then
	{
		echo "# Instructions of our own objects for a request:" \
			"tests/bench/instructions.sh"
		echo "# $(compiler)"
		for path in "${paths[@]}"; do
			echo "$path $(sum <"$work/$path")"
		done
		for path in "${journal_paths[@]}"; do
			echo "journal-$path $(journal_sum <"$work/$path")"
		done
	} >"$baseline"
	cat "$baseline"
	exit
fi

# That a difference is seen at all.
for now in 103.1 96.9; do
	verdict=ok
	! off=$(compare "$now" 100) || verdict='not ok'
	report "$verdict" "$off is too far off"
done
for path in "${paths[@]}"; do
	check_number "$path" "$(sum <"$work/$path")" "$path"
done
for path in "${journal_paths[@]}"; do
	check_number "journal-$path" "$(journal_sum <"$work/$path")" "$path"
done
echo "1..$number"
[ "$failed" = 0 ] || {
	echo "# $failed paths are more than $tolerance % off; the baseline was" \
		"made with $(sed -n '2s/^# //p' "$baseline"), this is" \
		"$(compiler)"
	echo "# if it is meant to be: make bench-instructions-update, and" \
		"commit tests/bench/instructions.baseline alone, with the reason"
	exit 1
}
