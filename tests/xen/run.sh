#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Runs scenarios on real Xen and reports them as TAP.
#
#	run.sh [--dest DIR] [--out DIR] [SCENARIO...]
#
# DIR of --dest is a tree that `make install DESTDIR=DIR` made; it is what is
# tested.  Scenarios NAME.sh share one boot of dom0; NAME.host.sh run here, one
# after the other, and boot their own.  --out receives NAME.log for each,
# console.log and xen-diskd.log.  SOAK=1 asks for the whole counts.
#
# A scenario's line "# timeout: SECONDS" (or "# soak-timeout:") bounds it; a line
# "# image: xen-4.20" has it run on that Xen, and "# kernel: WORD" in a dom0 whose
# kernel was given that word, in each case with the others that want it.  A
# dom0 that crashes or hangs fails the scenario it was running; one new boot is
# tried for the others.  A scenario whose guest the emulator has lost, which
# nothing that we test can do (dom0/scenario), says so and is run again, twice at
# most.  The exit status is 0 only when all ran and passed.

set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=host-lib.sh
. "$here/host-lib.sh"

DEST=
OUT=$here/../../build/lab/out
NAMES=()
PASSED=0 FAILED=0 NUMBER=0
declare -A BOOTS=()
# What the shared boot is of: see boot_of.
BOOTED=
# The scenarios of file images take 11 minutes together, those of git 3, those of
# NBD 2, those of features, limits and media 6, those of other attach paths 3, that
# of systemd 8, those of deaths 12; a slow machine takes half as long again.
TOTAL_LIMIT=${LAB_TOTAL_LIMIT:-$([ -n "${SOAK:-}" ] && echo 14400 || echo 4300)}

usage() {
	sed -n 's/^#\t\(run.sh .*\)/usage: \1/p' "$0" >&2
	exit 2
}

parse() {
	while [ $# -gt 0 ]; do
		case $1 in
		--dest) DEST=${2:?} && shift 2 ;;
		--out) OUT=${2:?} && shift 2 ;;
		-*) usage ;;
		*) NAMES+=("$1") && shift ;;
		esac
	done
	[ ${#NAMES[@]} -gt 0 ] || all_names
	local name
	for name in "${NAMES[@]}"; do
		scenario_file "$name" >/dev/null || {
			echo "run.sh: no scenario '$name'" >&2
			exit 2
		}
	done
	order_names
}

# Each change of image is a boot: the scenarios of one follow each other.
order_names() {
	local name
	mapfile -t NAMES < <(for name in "${NAMES[@]}"; do
		printf '%s\t%s\n' "$(boot_of "$name")" "$name"
	done | sort -s -t $'\t' -k 1,1 | cut -f 2)
}

# The boot that it is run in, in the order of the alphabet.
boot_of() {
	local file word
	file=$(scenario_file "$1")
	word=$(kernel_of "$file")
	case $file in
	*.host.sh) echo 2 ;;
	*) echo "1$(image_of "$file")${word:+-$word}" ;;
	esac
}

image_of() {
	sed -n 's/^# image: */-/p' "$1" | head -n 1
}

kernel_of() {
	sed -n 's/^# kernel: *//p' "$1" | head -n 1
}

make_images() {
	local name
	for name in "${NAMES[@]}"; do
		image_of "$(scenario_file "$name")"
		echo
	done | sort -u | while read -r name; do
		lab_make_image "$name" || return 1
	done
}

all_names() {
	local file
	for file in "$here"/scenarios/*.sh; do
		case $file in
		*.host.sh) ;;
		*) NAMES+=("$(basename "$file" .sh)") ;;
		esac
	done
	for file in "$here"/scenarios/*.host.sh; do
		[ ! -e "$file" ] || NAMES+=("$(basename "$file" .host.sh)")
	done
}

scenario_file() {
	local file
	for file in "$here/scenarios/$1.sh" "$here/scenarios/$1.host.sh"; do
		[ ! -e "$file" ] || { echo "$file" && return; }
	done
	return 1
}

limit_of() {
	local key=timeout value
	[ -z "${SOAK:-}" ] || key=soak-timeout
	value=$(sed -n "s/^# $key: *//p" "$1" | head -n 1)
	echo "${value:-$([ -n "${SOAK:-}" ] && echo 1800 || echo 120)}"
}

verdict() {
	local status=$1 name=$2 seconds=$3
	NUMBER=$((NUMBER + 1))
	if [ "$status" = 0 ]; then
		PASSED=$((PASSED + 1))
		echo "ok $NUMBER - $name # $seconds s"
		return
	fi
	FAILED=$((FAILED + 1))
	echo "not ok $NUMBER - $name # $seconds s, status $status"
	[ ! -s "$OUT/$name.log" ] ||
		grep -a -m 3 '^FAIL' "$OUT/$name.log" | sed 's/^/# /'
	echo "# the log: $OUT/$name.log"
}

# The shared boot, made when the first scenario that is run in it needs it.
ensure_boot() {
	local boot file
	boot=$(boot_of "$1")
	file=$(scenario_file "$1")
	[ "$boot" = "$BOOTED" ] || end_shared_boot
	[ -z "$LAB_PID" ] || return 0
	[ "${BOOTS[$boot]:-0}" -lt 2 ] || return 1
	BOOTS[$boot]=$((${BOOTS[$boot]:-0} + 1))
	BOOTED=$boot
	LAB_IMAGE=$LAB_IMAGE$(image_of "$file") \
		LAB_KERNEL_ARGS="$LAB_KERNEL_ARGS $(kernel_of "$file")" \
		lab_boot && return 0
	lab_console_tail | sed 's/^/# /'
	return 1
}

run_in_dom0() {
	local name=$1 limit=$2 status
	ensure_boot "$name" || {
		echo 'FAIL did not run: no dom0' >"$OUT/$name.log"
		return 125
	}
	dom0_run "SOAK='${SOAK:-}' exec /lab/dom0/scenario '$name'" "$limit" \
		>"$OUT/$name.log" 2>&1
	status=$?
	[ "$status" != 0 ] || return 0
	if [ "$status" = 125 ]; then
		lab_kill
		lab_console_tail | tee -a "$OUT/$name.log" | sed 's/^/# /'
		cp "$LAB_WORK/console.log" "$OUT/console-$name.log"
	elif ! dom0_run '/lab/dom0/scenario --reset' 60 \
		>>"$OUT/$name.log" 2>&1; then
		lab_kill
	fi
	return "$status"
}

# A process of its own, with a boot and a work directory of its own.
run_on_host() {
	local name=$1 limit=$2 work=$LAB_WORK/host-$1
	mkdir -p "$work"
	LAB_WORK=$work LAB_DEST=$DEST timeout -k 20 "$limit" \
		bash "$(scenario_file "$name")" >"$OUT/$name.log" 2>&1
	local status=$?
	[ ! -f "$work/console.log" ] ||
		cp "$work/console.log" "$OUT/console-$name.log"
	rm -rf "$work"
	return "$status"
}

run_one() {
	local name=$1 file limit start=$SECONDS status=0
	file=$(scenario_file "$name")
	limit=$(limit_of "$file")
	if [ "$SECONDS" -ge "$TOTAL_LIMIT" ]; then
		echo 'FAIL did not run: out of time' >"$OUT/$name.log"
		status=124
	elif [[ $file == *.host.sh ]]; then
		end_shared_boot
		run_on_host "$name" "$limit" || status=$?
	else
		for _ in 1 2 3; do
			status=0
			run_in_dom0 "$name" "$limit" || status=$?
			[ "$status" = 123 ] || break
			echo "# $name: QEMU has lost a guest's state"
			cp "$OUT/$name.log" "$OUT/$name-lost.log"
		done
	fi
	verdict "$status" "$name" "$((SECONDS - start))"
}

end_shared_boot() {
	[ -n "$LAB_PID" ] || return 0
	dom0_run '{ cat /run/lab/xen-diskd.log
		journalctl -u xen-diskd; } 2>/dev/null' 20 >>"$OUT/xen-diskd.log"
	lab_stop
	cp "$LAB_WORK/console.log" "$OUT/console${BOOTED#1}.log"
}

main() {
	parse "$@"
	mkdir -p "$OUT"
	OUT=$(cd "$OUT" && pwd)
	rm -f "$OUT"/*.log
	make_images | sed 's/^/# /' || exit 1
	[[ " ${NAMES[*]} " != *" git-vfat "* ]] || LAB_TORTURE=1
	lab_prepare_temporary "$DEST" || exit 1
	unset LAB_TORTURE
	echo "1..${#NAMES[@]}"
	local name
	for name in "${NAMES[@]}"; do
		run_one "$name"
	done
	end_shared_boot
	echo "$PASSED passed, $FAILED failed"
	[ "$FAILED" = 0 ] && [ "$PASSED" = "${#NAMES[@]}" ]
}

main "$@"
