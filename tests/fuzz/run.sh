#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The fuzzer over the inputs that are kept beside it, and from them on for a
# time.  Prints TAP.
#
#	run.sh [SECONDS]
#
# Environment: FUZZ, the fuzzer; what it finds is put where it lies.

set -euo pipefail

: "${FUZZ:?}"
corpus=$(dirname "$0")/corpus/raw-tree
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
	tail -n 60 "$work/log" | sed 's/^/# /'
}

if [ $# = 0 ]; then
	report 'the inputs that are kept' \
		"$FUZZ" -runs=0 -artifact_prefix="$(dirname "$FUZZ")/" "$corpus"
else
	# New inputs go into the first directory.
	mkdir "$work/found"
	report "$1 s from there" "$FUZZ" -max_total_time="$1" -timeout=10 \
		-print_final_stats=1 \
		-artifact_prefix="$(dirname "$FUZZ")/" "$work/found" "$corpus"
fi
echo 1..1
exit $status
