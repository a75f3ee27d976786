#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Puts one fault after the other into a copy of the source, and requires that
# the test which is there for it fails.
#
#	run.sh [NAME...]	all mutants, or those whose name contains NAME
#	run.sh --apply [NAME...]
#		whether they apply, and there is such a test, and no more
#
# A mutant is a file beside this one:
#
#	why:      one sentence
#	file:     what it changes
#	sed:      a script for sed -E that changes exactly one line of it
#	program:  the test program, as in build/VARIANT/tests/
#	suite:    the suite, or nothing when the program has just one
#	case:     the test case, or nothing for all of them
#	test:     the test that must fail
#
# A mutant that does not apply or build, that survives, or that some other
# test catches instead, counts as failed.  So does a test that fails without
# any fault.  Prints TAP; the last line is "N passed, N failed".

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# The longest that a program may take.
seconds=120
# Not below /tmp, which the tests see an empty one of.
work=$(mktemp -d /var/tmp/xen-diskd-mutants.XXXXXX)
# Tests that become other users have files in it.
chmod 711 "$work"
trap 'rm -rf "$work"' EXIT
tree=$work/tree
number=0 passed=0 failed=0
declare -A baseline field

copy_tree() {
	mkdir "$tree"
	(cd "$top" && { git ls-files -co --exclude-standard 2>/dev/null |
		grep . || find . -path ./build -prune -o -type f -print; }) |
		tar -C "$top" -c -T - | tar -C "$tree" -x
}

# Fills field[] from a mutant's file.
read_mutant() {
	local line key
	field=([suite]='' [case]='')
	while IFS= read -r line; do
		[[ $line =~ ^([a-z]+):[[:space:]]*(.*)$ ]] || continue
		key=${BASH_REMATCH[1]}
		field[$key]=${BASH_REMATCH[2]}
	done <"$1"
	for key in why file sed program test; do
		[ -n "${field[$key]:-}" ] || {
			echo "it has no '$key:'"
			return 1
		}
	done
}

# Changes the copy; complains unless it is one line.
apply() {
	local source=$tree/${field[file]} lines
	[ -f "$top/${field[file]}" ] || {
		echo "there is no ${field[file]}"
		return 1
	}
	sed -E "${field[sed]}" "$top/${field[file]}" >"$source" 2>&1 || {
		tail -n 1 "$source"
		return 1
	}
	lines=$(diff "$top/${field[file]}" "$source" |
		awk '/^</ { o++ } /^>/ { n++ } END { print o + 0, n + 0 }')
	case $lines in
	"1 1" | "1 0" | "0 1") return 0 ;;
	esac
	echo "it changes (old new) $lines lines of ${field[file]}, not one"
	return 1
}

restore() {
	cp "$top/${field[file]}" "$tree/${field[file]}"
}

# Builds what the program needs.
build() {
	local targets=build/release/tests/${field[program]}
	case ${field[program]} in
	unit-nbd)
		targets+=" build/release/tests/nbd-hostile-server"
		targets+=" build/release/tests/nbd-volatile-server"
		;;
	test-*)
		targets+=" all"
		targets+=" build/release/tests/xen-diskd-worker-sim"
		targets+=" build/release/tests/xen-diskd-worker-sim-git"
		targets+=" build/release/tests/xen-diskd-worker-sim-nbd"
		targets+=" build/release/tests/xen-diskd-worker-poison"
		targets+=" build/release/tests/xen-diskd-worker-other"
		targets+=" build/release/tests/nbd-volatile-server"
		targets+=" build/release/tests/xenstored-preload.so"
		;;
	esac
	# shellcheck disable=SC2086 # a list
	make -C "$tree" -j "$(nproc)" VARIANT=release $targets \
		>"$work/build.log" 2>&1 || {
		echo "it does not build: $(grep -m 1 error "$work/build.log")"
		return 1
	}
}

# In a mount namespace of its own, so that a test that is cut short leaves
# nothing behind.
start_program() {
	local env=(CK_LOG_FILE_NAME="$work/events" UNIT_TMPDIR="$work")
	# Check takes an empty name for one that nothing has.
	[ -z "${field[suite]}" ] || env+=(CK_RUN_SUITE="${field[suite]}")
	[ -z "${field[case]}" ] || env+=(CK_RUN_CASE="${field[case]}")
	# shellcheck disable=SC2016 # the text is for the inner shell
	env "${env[@]}" timeout -k 5 "$seconds" unshare -m bash -c \
		'mount -t tmpfs none /tmp && exec "$0"' \
		"$tree/build/release/tests/${field[program]}" \
		>"$work/run.log" 2>&1 </dev/null &
	program_pid=$!
}

# Check's log, a line a test: FILE:LINE:RESULT:CASE:TEST:ITERATION: MESSAGE.
# S is a failure of the fixture that ends the test.
# Stops at the first failure of the named test; sets seen and others.
run_program() {
	local line watcher
	seen='' others=''
	rm -f "$work/events"
	mkfifo "$work/events"
	start_program
	# Open for writing too: a program may end without having opened it.
	exec {events}<>"$work/events"
	{
		tail --pid="$program_pid" -f /dev/null
		echo END >&"$events"
	} &
	watcher=$!
	while IFS= read -r line <&"$events" && [ "$line" != END ]; do
		[[ $line =~ :([PFES]):([^:]*):([^:]*):[0-9]+: ]] || continue
		if [ "${BASH_REMATCH[3]}" = "${field[test]}" ]; then
			seen=${BASH_REMATCH[1]}
			[ "$seen" = P ] || break
		elif [ "${BASH_REMATCH[1]}" != P ]; then
			others+=" ${BASH_REMATCH[3]}"
		fi
	done
	kill "$program_pid" 2>/dev/null || true
	wait "$program_pid" || true
	wait "$watcher" || true
	exec {events}<&-
}

# Whether the named test passes when nothing is wrong.
baseline() {
	local key="${field[program]} ${field[suite]} ${field[case]}"
	key+=" ${field[test]}"
	if [ -z "${baseline[$key]:-}" ]; then
		build || return 1
		run_program
		baseline[$key]=${seen:-absent}
	fi
	[ "${baseline[$key]}" = P ] || {
		echo "without it, ${field[test]} of ${field[program]}" \
			"does not pass (${baseline[$key]})"
		return 1
	}
}

check_mutant() {
	read_mutant "$1" && baseline && apply && build || return 1
	run_program
	case $seen in
	F | E | S) return 0 ;;
	esac
	echo "it survives ${field[test]} of ${field[program]};" \
		"caught by:${others:- nothing}"
	return 1
}

# Of those that apply: seconds for all, where tests take hours.
check_applies() {
	read_mutant "$1" && apply || return 1
	grep -qrE "^[A-Z]+_TEST\(${field[test]}[,)]" "$top/tests" || {
		echo "there is no test ${field[test]}"
		return 1
	}
}

run_mutant() {
	local name
	name=$(basename "$1" .mutant)
	number=$((number + 1))
	field=()
	if "$check" "$1" >"$work/reason"; then
		echo "ok $number - $name: ${field[test]}"
		passed=$((passed + 1))
	else
		echo "not ok $number - $name"
		sed 's/^/# /' "$work/reason"
		failed=$((failed + 1))
	fi
	[ -z "${field[file]:-}" ] || [ ! -f "$top/${field[file]}" ] || restore
}

wanted() {
	local name=$1 word
	shift
	[ $# = 0 ] && return 0
	for word; do
		[[ $name == *"$word"* ]] && return 0
	done
	return 1
}

check=check_mutant
if [ "${1:-}" = --apply ]; then
	check=check_applies
	shift
fi
copy_tree
for mutant in "$here"/*.mutant; do
	wanted "$(basename "$mutant")" "$@" && run_mutant "$mutant"
done
echo "1..$number"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" != 0 ]
