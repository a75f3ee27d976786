#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The fuzzers over the inputs that are kept beside them, and from them on for a
# time, which they share.  Prints TAP.
#
#	run.sh [SECONDS]
#
# Environment: FUZZ, the directory of the fuzzers; what they find is put there.

set -euo pipefail

: "${FUZZ:?}"
here=$(dirname "$0")
fuzzers=(raw-tree inflight journal)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# report NAME COMMAND...
report() {
	local name=$1
	shift
	if "$@" > "$work/log" 2>&1; then
		echo "ok - $name"
	else
		echo "not ok - $name"
		status=1
	fi
	# Without the progress, which would hide what was found.
	sed '/^#[0-9]/d; s/^/# /' "$work/log" | tail -n 60
}

for fuzzer in "${fuzzers[@]}"; do
	program=$FUZZ/fuzz-$fuzzer
	corpus=$here/corpus/$fuzzer
	if [ $# = 0 ]; then
		report "$fuzzer: the inputs that are kept" \
			"$program" -runs=0 -artifact_prefix="$FUZZ/$fuzzer-" \
			"$corpus"
		continue
	fi
	# New inputs go into the first directory.
	mkdir "$work/$fuzzer"
	report "$fuzzer: $(($1 / ${#fuzzers[@]})) s from there" \
		"$program" -max_total_time=$(($1 / ${#fuzzers[@]})) -timeout=10 \
		-print_final_stats=1 -artifact_prefix="$FUZZ/$fuzzer-" \
		"$work/$fuzzer" "$corpus"
done
echo "1..${#fuzzers[@]}"
exit $status
