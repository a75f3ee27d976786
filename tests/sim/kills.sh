#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Workers killed at every store of the in-flight table and of the ring, for as
# long as it takes: each kind of disk a process of its own, as many at once as there
# are processors.  With six at once on two of these the kernel took seconds now and then
# to end a process and to begin one, and once in 102,000 times more than 20 s: it
# waits for grace periods of RCU and for work queues there, each of which has to wait
# for a processor.
#
#	kills.sh PROGRAM DIRECTORY
#
# KILLS is how many of all kinds together, KILLS_SEED which.  Each kind's output
# is in DIRECTORY; the sums are printed, and are the status.  With 15,552 or more of a
# kind it fails unless they were at every point, with 3000 at every kind of store.

set -euo pipefail

program=$1
out=$2
kinds="memory disk disk-x86_32 device nbdkit qemu-nbd git"
total=${KILLS:-119000}
share=$(((total + 6) / 7))
mkdir -p "$out"
start=$SECONDS
failed=0 running=0 short=0 skipped=0

# One of those that run; a failure of it is counted.
await_one() {
	wait -n || failed=$((failed + 1))
	running=$((running - 1))
}

export KILLS_SEED=${KILLS_SEED:-1}
for kind in $kinds; do
	[ "$running" -lt "$(nproc)" ] || await_one
	CK_RUN_CASE=$kind KILLS=$share "$program" \
		>"$out/$kind.log" 2>&1 </dev/null &
	running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
	await_one
done
for kind in $kinds; do
	if grep "^ok - kills/$kind # SKIP" "$out/$kind.log"; then
		skipped=$((skipped + 1))
		continue
	fi
	# Without the daemon's log, of which a failure prints much.
	grep -E ':[FES]:' "$out/$kind.log" || tail -n 1 "$out/$kind.log"
	awk -v kind="$kind" -v share="$share" '
	/ kills in / {
		kills += $3
		points = $10 # of all parts up to this
		for (i = 11; i < NF; i++) {
			if ($(i + 1) == "with")
				busy += $i
			if ($(i + 1) == "requests" && $(i + 2) == "replayed,")
				replayed += $i
			if ($(i + 1) == "answers" && $(i + 2) == "out")
				overtaking += $i
			if ($i == "p99" && $(i + 1) > worst)
				worst = $(i + 1)
		}
	}
	END {
		printf "kills %s: %d, at %d points, %d with requests in " \
			"flight, %d requests replayed, %d answers out of " \
			"order, p99 %.1f ms at most\n",
			kind, kills, points, busy, replayed, overtaking, worst
		exit kills < share
	}' "$out/$kind.log" || short=$((short + 1))
done
cat "$out"/*.log | awk -v seconds=$((SECONDS - start)) '
$1 == "kills" && $3 == "place:" {
	n = $4
	sub(/^.* at /, "")
	places[$0] += n
	total += n
}
END {
	for (place in places)
		printf "%8d at %s\n", places[place], place | "sort -k 3"
	close("sort -k 3")
	printf "kills: %d in %d s, %.1f points a second\n", total, seconds,
		total / (seconds ? seconds : 1)
}'
echo "kinds failed: $failed, with fewer kills than $share: $short, not to be had" \
	"here: $skipped"
[ "$failed" = 0 ] && [ "$short" = 0 ]
