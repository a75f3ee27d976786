# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# TAP for the scripts beside it: source it, run check once a test, and end with
# tap_end, whose status is the script's.  Standard output is the TAP stream;
# what a test prints goes into its diagnostics.

tap_count=0
tap_failed=0

# check NAME COMMAND [ARGUMENT...]: passes if the command does.
check() {
	local name=$1 output status=0
	shift
	tap_count=$((tap_count + 1))
	# In a subshell with -e of its own: every line of a test counts.
	set +e
	output=$(set -e; "$@" 2>&1)
	status=$?
	set -e
	if [ "$status" -eq 0 ]; then
		echo "ok $tap_count - $name"
		return
	fi
	echo "not ok $tap_count - $name"
	printf '%s\n' "$output" "status $status" | sed 's/^/# /'
	tap_failed=$((tap_failed + 1))
}

tap_end() {
	echo "1..$tap_count"
	[ "$tap_count" -gt 0 ] && [ "$tap_failed" -eq 0 ]
}

# expect WHAT GOT WANTED: fails with both unless they are equal.
expect() {
	[ "$2" = "$3" ] && return
	printf '%s: got\n%s\nwanted\n%s\n' "$1" "$2" "$3"
	return 1
}

# expect_match WHAT GOT PATTERN: fails unless the extended regular expression
# is found.
expect_match() {
	grep -qE -- "$3" <<< "$2" && return
	printf '%s: got\n%s\nwanted a match for\n%s\n' "$1" "$2" "$3"
	return 1
}
