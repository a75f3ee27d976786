#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# xen-diskd beside the kernel's blkback and QEMU's qdisk: one boot of real Xen,
# one guest, the same bytes served by each in turn, the same loads.
#
#	bench.sh --dest DIR [OPTION...]
#
# Options: --rounds N, --seconds N, --json FILE, --profile, and as often as wanted --case
# NAME and --backend NAME; cases and backends are those of dom0.sh, without the
# options all of them.  DIR is a tree that `make install DESTDIR=DIR` made.
# Prints
#	bench-xen CASE BACKEND LOAD iops=N mbps=N p50us=N p99us=N errors=N
#		iops-range=MIN..MAX
#	ratio CASE LOAD xen-diskd/BACKEND=R (MIN..MAX) ...
# where the numbers are medians of the rounds, after a line about the machine.
# --json writes the same to FILE.  What it is at goes to standard error.
# With --profile each load is run once, for so many seconds, and what dom0.sh prints
# of it is all: where the time goes, and no figures to compare, for perf takes its
# share.
#
# The machine is emulated, so only the ratios mean anything; and single runs
# there differ by a factor of two, so backends take turns in every round.

# shellcheck disable=SC2119 # functions of host-lib.sh that take options

set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../host-lib.sh
. "$here/../host-lib.sh"

DEST=
ROUNDS=5
LENGTH=3
JSON=
PROFILE=
CASES=()
BACKENDS=()
# Seconds that a load takes beside those it is measured for, and a disk's
# coming and going, with much to spare.
LOAD_EXTRA=10
DISK_EXTRA=60

usage() {
	sed -n 's/^#\t\(bench.sh .*\)/usage: \1/p' "$0" >&2
	exit 2
}

parse() {
	while [ $# -gt 0 ]; do
		case $1 in
		--dest) DEST=${2:?} ;;
		--rounds) ROUNDS=${2:?} ;;
		--seconds) LENGTH=${2:?} ;;
		--case) CASES+=("${2:?}") ;;
		--backend) BACKENDS+=("${2:?}") ;;
		--profile)
			PROFILE=yes
			shift
			continue
			;;
		--json) JSON=$(realpath "${2:?}") ;;
		*) usage ;;
		esac
		shift 2
	done
	[[ -d $DEST && "$ROUNDS $LENGTH" =~ ^[1-9][0-9]*\ [1-9][0-9]*$ ]] ||
		usage
	[ ${#CASES[@]} -gt 0 ] || CASES=(tmpfs disk brd)
	[ ${#BACKENDS[@]} -gt 0 ] || BACKENDS=(blkback qdisk xen-diskd)
}

header() {
	echo "commit $(git -C "$here" describe --always --dirty 2>/dev/null ||
		echo unknown), $(nproc) CPUs, $(sed -n \
		's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)," \
		"$(qemu-system-x86_64 --version |
			sed -n 's/^QEMU emulator version \([^ ]*\).*/QEMU \1/p')" \
		"TCG, $1"
}

# dom0 COMMAND SECONDS: what it says is kept, for the medians.
dom0() {
	dom0_run "exec /lab/bench/dom0.sh $1" "$2" |
		tee -a "$LAB_WORK/raw" | sed -u 's/^/# /' >&2
}

# Another backend goes first in each round, as the machine's speed drifts.
rotated() {
	local n=$((($1 - 1) % ${#BACKENDS[@]}))
	echo "${BACKENDS[@]:n}" "${BACKENDS[@]:0:n}"
}

run_case() {
	local name=$1 number
	local limit=$((${#BACKENDS[@]} * (5 * (LENGTH + LOAD_EXTRA) + DISK_EXTRA)))
	dom0 "make $name" 60 || return
	for ((number = 1; number <= ROUNDS; number++)); do
		dom0 "round $name $number $LENGTH $(rotated "$number")" \
			"$limit" || return
	done
	dom0 "drop $name" 60
}

profile_case() {
	local limit=$((${#BACKENDS[@]} * (5 * (LENGTH + 60) + DISK_EXTRA)))
	dom0 "make $1" 60 || return
	dom0 "profile $1 $LENGTH ${BACKENDS[*]}" "$limit" || return
	dom0 "drop $1" 60
}

main() {
	local name about run=run_case
	parse "$@"
	if [ -n "$PROFILE" ]; then
		run=profile_case
		export LAB_PERF=yes
	fi
	"$here/../image.sh" "$LAB_IMAGE" | sed 's/^/# /' >&2 || exit 1
	lab_prepare_temporary "$DEST" || exit 1
	lab_boot || {
		lab_console_tail >&2
		exit 1
	}
	dom0 start 120 || exit 1
	about=$(header "$(sed -n 's/^machine //p' "$LAB_WORK/raw")")
	echo "# bench-xen: $about, $ROUNDS rounds of $LENGTH s"
	for name in "${CASES[@]}"; do
		"$run" "$name" || exit 1
	done
	lab_stop
	if [ -n "$PROFILE" ]; then
		grep -v '^machine ' "$LAB_WORK/raw"
		exit 0
	fi
	awk -v prefix=bench-xen -v ratio=ratio -v ours=xen-diskd \
		-v compared=iops -v header="$about" -v json="$JSON" \
		-f "$here/../../bench/summary.awk" "$LAB_WORK/raw"
}

main "$@"
