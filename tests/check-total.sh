#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Adds up the closing lines `N passed, N failed[, N skipped]` of several runs
# of check.sh, and lists what failed.  A log without such a line counts as a
# failure.
#
#	check-total.sh LOG...

set -euo pipefail

passed=0 failed=0 skipped=0
for log in "$@"; do
	grep '^FAILED ' "$log" || true
	line=$(tail -n 1 "$log" 2>/dev/null || true)
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
	else
		echo "$log: it has no closing line: the run broke off" >&2
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] ||
	echo ", $skipped skipped")"
[ "$failed" = 0 ]
