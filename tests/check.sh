#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Runs test suites, some side by side, and adds up what they say.
#
#	check.sh OUT [-j JOBS] NAME=COMMAND... [--alone NAME=COMMAND...]
#
# Each suite prints TAP, or closes with libcheck's summary; its output goes to
# OUT/NAME.log and is shown when it failed.  A suite that ran nothing, or ended
# with an error that no test of it names, counts as one failure.  The last line
# is `N passed, N failed`, with `, N skipped` when there were any; skipped
# tests are listed by name, and those that failed once more at the end.

set -uo pipefail

out=$1
shift
jobs=1
if [ "$1" = -j ]; then
	jobs=$2
	shift 2
fi
mkdir -p "$out"
passed=0 failed=0 skipped=0 failures=

# Prints "passed failed skipped" of one log.
count() {
	awk '
	/^ok .*# *SKIP/ { s++; next }
	/^ok / { p++ }
	/^not ok / { f++ }
	match($0, /Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+/) {
		split(substr($0, RSTART, RLENGTH), n, /[^0-9]+/)
		p += n[2] - n[3] - n[4]
		f += n[3] + n[4]
	}
	END { print p + 0, f + 0, s + 0 }' "$1"
}

run_suite() {
	local name=$1 command=$2 start=$SECONDS status=0
	bash -c "$command" >"$out/$name.log" 2>&1 </dev/null || status=$?
	echo "$status $((SECONDS - start))" >"$out/$name.status"
}

report() {
	local name=$1 status seconds p f s
	read -r status seconds <"$out/$name.status"
	read -r p f s < <(count "$out/$name.log")
	if [ "$status" != 0 ] && [ "$f" = 0 ] || [ $((p + f)) = 0 ]; then
		f=$((f + 1))
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '%-28s %4d passed, %d failed%s  (%d s)\n' "$name" "$p" "$f" \
		"$([ "$s" = 0 ] || echo ", $s skipped")" "$seconds"
	grep -E '^ok .*# *SKIP' "$out/$name.log"
	[ "$f" = 0 ] && return
	echo "--- $name (status $status): the end of $out/$name.log"
	tail -n 80 "$out/$name.log"
	echo "---"
	failures+=$(grep -hE '^not ok |^[^ ]+:[0-9]+:[EF]:' "$out/$name.log" |
		head -n 5 | sed "s/^/FAILED $name: /" |
		grep . || echo "FAILED $name: status $status")$'\n'
}

names=()
for suite in "$@"; do
	# One after the other, when those before have ended.
	[ "$suite" != --alone ] || {
		jobs=1
		continue
	}
	name=${suite%%=*}
	names+=("$name")
	rm -f "$out/$name.status"
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	run_suite "$name" "${suite#*=}" &
done
wait
for name in "${names[@]}"; do report "$name"; done
printf %s "$failures"
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] ||
	echo ", $skipped skipped")"
[ "$failed" = 0 ]
