#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# What it costs to write every request down for a successor: the engine beside
# one built from the same source but for the journal's stores, in turn.
#
#	journal.sh [--rounds N] [--seconds N]
#
# Prints, for 4 KiB reads at depth 32 of no medium and of a file in memory, the
# CPU time of the server per request, and the ratio of each round's pair:
#
#	journal CASE cpu_us_per_io=WITH/WITHOUT ratio=MEDIAN (MIN..MAX) holds=yes|no
#
# and fails when the median is above 1.02.  In every other round the two change
# places.  How many instructions it is, instructions.sh counts, on any machine.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
rounds=15 length=2 most=1.02 failed=0

while [ $# -gt 0 ]; do
	case $1 in
	--rounds) rounds=${2:?} ;;
	--seconds) length=${2:?} ;;
	*)
		sed -n 's/^#\t\(journal.sh .*\)/usage: \1/p' "$0" >&2
		exit 2
		;;
	esac
	shift 2
done

# Not below /tmp, which the simulated host sees an empty one of.
work=$(mktemp -d /var/tmp/xen-diskd-journal.XXXXXX)
trap 'rm -rf "$work" /dev/shm/xen-diskd-journal.$$' EXIT

# Without checksums, states and indices; what is left is the private copy that
# a request is checked in, journal or not.
mkdir "$work/tree"
(cd "$top" && { git ls-files -co --exclude-standard 2>/dev/null | grep . ||
	find . -path ./build -prune -o -type f -print; }) |
	tar -C "$top" -c -T - | tar -C "$work/tree" -x
sed -E -i '/^\/\* ---- the stores/,/^\/\* ---- taking over/ {
	/^\tentry->(check|answer) = /d
	/^\t__atomic_store_n\(.*;$/d
	/^\t__atomic_store_n\(/,/;$/d
}' "$work/tree/blkback/inflight.c"
make -C "$top" -s release-programs >"$work/log" 2>&1 &&
	make -C "$work/tree" -s release-programs CFLAGS='-Wno-unused-parameter' \
		>>"$work/log" 2>&1 || {
	tail "$work/log"
	exit 1
}

# run TREE TARGET
run() {
	"$1/build/release/tests/ring-bench" run "$2" 4096 32 "$length" |
		sed -n 's/.*cpu_us_per_io=\([0-9.]*\).*/\1/p'
}

"$top/build/release/tests/ring-bench" fill "/dev/shm/xen-diskd-journal.$$" 64 \
	>/dev/null
for name in null tmpfs; do
	target=null:size=64M
	[ "$name" = null ] || target=/dev/shm/xen-diskd-journal.$$
	for round in $(seq "$rounds"); do
		if [ $((round % 2)) = 1 ]; then
			with=$(run "$top" "$target")
			without=$(run "$work/tree" "$target")
		else
			without=$(run "$work/tree" "$target")
			with=$(run "$top" "$target")
		fi
		echo "$with $without"
	done >"$work/$name"
	awk -v name="$name" -v most="$most" -v rounds="$rounds" '
		function median(values, n) {
			asort(values)
			return (values[int((n + 1) / 2)] + values[int(n / 2) + 1]) / 2
		}
		{ with[NR] = $1; without[NR] = $2; ratio[NR] = $1 / $2 }
		END {
			m = median(ratio, NR)
			holds = NR == rounds && m <= most
			printf "journal %s cpu_us_per_io=%.3f/%.3f ratio=%.3f (%.3f..%.3f) holds=%s\n",
				name, median(with, NR), median(without, NR),
				m, ratio[1], ratio[NR], holds ? "yes" : "no"
			exit !holds
		}' "$work/$name" || failed=$((failed + 1))
done
[ "$failed" = 0 ]
