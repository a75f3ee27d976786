#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The engine bench: what the way from a guest's ring to the data and back costs,
# without Xen, beside others that serve the same bytes.
#
#	engine.sh --bin DIR [--rounds N] [--seconds N] [--json FILE]
#		[--case NAME]... [--disk DIR]
#
# DIR has our test programs; --disk names a folder on a disk that takes O_DIRECT
# (default: build/bench).  Cases, all of them without --case:
#	null    no medium: reads give zeroes, which the client checks
#	tmpfs   a file in memory; the client checks what it reads
#	disk    a file on a disk, past the page cache
#	queues  four queues beside one, 128 requests in flight
#	vbds    64 disks at once beside one
#	nbd     a disk behind an NBD server: nbd.sh
# Backends, which take turns in every round: xen-diskd (the simulated ring, the
# client a process of its own; data moved by grant copies); persistent, the same
# with grants that persist, as Linux's driver asks for; qsd, qemu-storage-daemon's
# vhost-user-blk with io_uring; fio, the same I/O by io_uring and no ring at all;
# nbdkit, its file plugin behind our NBD client, where the page cache is no help
# to it (tmpfs).  All clients send in the same batches (meter_batch()).
#
# Prints what summary.awk says, with the bounds of the file beside it.
#	cpu_us_per_io    CPU time of the server, its kernel threads included; of
#	                 fio, of all but its start
#	syscalls_per_io  of the server, from runs of its own, which counting slows
#	notifies_per_io  events that the server sends to the client
#	idle_*           memory of a worker before its first request; per vbd, its
#	                 own (PSS) and what the daemon has more with it
# This is what the engine costs; it is not how fast disks are on Xen.

set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

MEBIBYTES=256
ROUNDS=5
LENGTH=2
JSON=
BIN=
DISK=build/bench
CASES=()
# NAME BLOCK-BYTES DEPTH
LOADS='randread-4k-qd1 4096 1
randread-4k-qd32 4096 32
randread-4k-qd256 4096 256
randread-128k-qd8 131072 8
randwrite-4k-qd32 4096 32'

usage() {
	sed -n 's/^#\t\(engine.sh .*\)/usage: \1/p' "$0" >&2
	exit 2
}

while [ $# -gt 0 ]; do
	case $1 in
	--bin) BIN=$(realpath "${2:?}") ;;
	--rounds) ROUNDS=${2:?} ;;
	--seconds) LENGTH=${2:?} ;;
	--json) JSON=$(realpath "${2:?}") ;;
	--case) CASES+=("${2:?}") ;;
	--disk) DISK=${2:?} ;;
	*) usage ;;
	esac
	shift 2
done
[[ -d $BIN && "$ROUNDS $LENGTH" =~ ^[1-9][0-9]*\ [1-9][0-9]*$ ]] || usage
[ ${#CASES[@]} -gt 0 ] || CASES=(null tmpfs disk queues vbds nbd)

work=$(mktemp -d)
mkdir -p "$DISK"
disk_file=$(realpath "$DISK")/engine.img
memory_file=$(mktemp /dev/shm/xen-diskd-bench.XXXXXX)
servers=()

stop_servers() {
	local pid
	for pid in "${servers[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	servers=()
}

finish() {
	stop_servers
	rm -rf "$work" "$memory_file" "$disk_file"
}
# Set by server().
qsd_pid='' nbdkit_pid=''
trap finish EXIT
trap 'exit 1' INT TERM

say() {
	echo "# $*" >&2
}

die() {
	echo "engine.sh: $*" >&2
	[ ! -s "$work/out" ] || tail -n 20 "$work/out" >&2
	exit 1
}

# ---- the bytes -------------------------------------------------------------

file_of() {
	case $1 in
	tmpfs) echo "$memory_file" ;;
	disk) echo "$disk_file" ;;
	esac
}

# fio writes what it likes.
fill() {
	"$BIN/ring-bench" fill "$1" "$MEBIBYTES"
}

# What a client checks.
checks() {
	case $1 in
	null) echo zero ;;
	tmpfs) echo pattern ;;
	esac
}

# ---- servers that stay for a case ------------------------------------------

# server NAME COMMAND...: leaves its process in $NAME_pid.
server() {
	local name=$1 socket=$work/$1.socket tries=0
	shift
	"$@" >"$work/$name.log" 2>&1 &
	servers+=($!)
	printf -v "${name}_pid" %s $!
	# No event says that it listens.
	while [ ! -S "$socket" ]; do
		tries=$((tries + 1))
		{ [ "$tries" -lt 100 ] && kill -0 "${servers[-1]}"; } 2>/dev/null ||
			die "$name does not start: $(cat "$work/$name.log")"
		sleep 0.1
	done
}

start_qsd() {
	local node="driver=null-co,size=$((MEBIBYTES << 20)),read-zeroes=on"
	[ "$1" = null ] ||
		node="driver=file,aio=io_uring,filename=$(file_of "$1")"
	[ "$1" != disk ] || node+=,cache.direct=on
	server qsd qemu-storage-daemon --blockdev "$node,node-name=disk" \
		--export "vhost-user-blk,id=export,node-name=disk,addr.type=unix,\
addr.path=$work/qsd.socket,writable=on"
}

start_nbdkit() {
	server nbdkit nbdkit -f -U "$work/nbdkit.socket" file "$(file_of "$1")"
}

# ---- one run: prints METRIC=VALUE... ---------------------------------------

# The lines of a client that are metrics, as one.
metrics_of() {
	"$@" >"$work/out" 2>&1 || die "$1 fails"
	grep -E '^([a-z0-9_.]+=[0-9.]+ ?)+$' "$work/out" | paste -s -d ' '
}

# CASE LOAD BYTES DEPTH SECONDS [FEATURE...]
run_xen-diskd() {
	local target=null:size=${MEBIBYTES}M features=()
	[ "$1" = null ] || target=$(file_of "$1")
	[ "$3" -le 45056 ] || features+=(indirect)
	[ "$4" -le 32 ] || features+=(pages=8)
	[[ $2 != *write* ]] || features+=(write)
	# shellcheck disable=SC2046 # one word or none
	metrics_of "$BIN/ring-bench" run "$target" "$3" "$4" "$5" \
		"${features[@]}" $(checks "$1") "${@:6}"
}

run_persistent() {
	run_xen-diskd "$@" persistent
}

run_qsd() {
	local features=()
	[[ $2 != *write* ]] || features+=(write)
	# shellcheck disable=SC2046 # one word or none
	metrics_of "$BIN/vhost-bench" "$work/qsd.socket" "$qsd_pid" \
		"$MEBIBYTES" "$3" "$4" "$5" "${features[@]}" $(checks "$1") \
		"${@:6}"
}

# FILE-OF-CASE LOAD BYTES DEPTH: what is the same for a run and its start.  The batch
# is meter_batch()'s.
fio_command() {
	local batch=$(($4 > 32 ? 16 : ($4 + 1) / 2))
	echo fio --name=run --ioengine=io_uring --filename="$(file_of "$1")" \
		--rw="${2%%-*}" --bs="$3" --iodepth="$4" \
		--iodepth_batch_submit=$batch \
		--iodepth_batch_complete_min=$batch \
		--iodepth_batch_complete_max=$batch \
		--direct="$([ "$1" = disk ] && echo 1 || echo 0)" \
		--size="${MEBIBYTES}M" --norandommap --invalidate=0 \
		--lat_percentiles=1 --clat_percentiles=0 --output-format=json
}

# Prints "IOS IOPS P50 P99 P999 CPU", latencies in ns, CPU in s.
fio_figures() {
	"$BIN/nbd-bench" cpu "$@" >"$work/out" 2>"$work/cpu" || die "fio fails"
	jq -r '.jobs[0] | if .write.total_ios > 0 then .write else .read end |
		(.lat_ns.percentile // {}) as $p |
		"\(.total_ios) \(.iops) \($p["50.000000"] // 0) " +
		"\($p["99.000000"] // 0) \($p["99.900000"] // 0)"' \
		<(sed -n '/^{/,$p' "$work/out") | paste -d ' ' - \
		<(sed -n 's/^cpu=//p' "$work/cpu")
}

run_fio() {
	local command
	[ $# -eq 5 ] || return 0 # its system calls are not counted
	read -r -a command < <(fio_command "$@")
	{
		fio_figures "${command[@]}" --number_ios=1
		fio_figures "${command[@]}" --time_based --runtime="$5"
	} | awk 'NR == 1 { start = $6 }
		NR == 2 {
			printf "iops=%.0f cpu_us_per_io=%.3f p50us=%.2f ",
				$2, ($6 - start) * 1e6 / $1, $3 / 1e3
			printf "p99us=%.2f p99.9us=%.2f p99_by_p50=%.2f\n",
				$4 / 1e3, $5 / 1e3, $4 / $3
		}'
}

# Ticks of CPU time.
ticks() {
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

run_nbdkit() {
	local before
	[ $# -eq 5 ] && [ "$2" = randread-4k-qd32 ] || return 0
	before=$(ticks "$nbdkit_pid")
	"$BIN/nbd-bench" read "nbd+unix:///?socket=$work/nbdkit.socket" \
		"$3" "$4" "$5" >"$work/out" 2>&1 || die "nbd-bench fails"
	awk -F '[= ]' -v "ticks=$(($(ticks "$nbdkit_pid") - before))" \
		-v "hz=$(getconf CLK_TCK)" '/^ios=/ {
			printf "iops=%.0f cpu_us_per_io=%.3f\n", $2 / $4,
				ticks / hz * 1e6 / $2 }' "$work/out"
}

# ---- cases -------------------------------------------------------------------

# Another goes first in each round, as the machine's speed drifts.
rotated() {
	local n=$((($1 - 1) % ($# - 1)))
	shift
	echo "${@:n + 1}" "${@:1:n}"
}

# raw CASE ROUND BACKEND LOAD METRICS...
note() {
	[ $# -lt 5 ] || echo "raw $*" | tee -a "$work/raw" | sed 's/^/# /' >&2
}

# CASE ROUND BACKENDS...
round() {
	local case=$1 number=$2 name bytes depth backend
	shift 2
	[ "$case" != tmpfs ] || fill "$memory_file"
	while read -r name bytes depth; do
		for backend in $(rotated "$number" "$@"); do
			# shellcheck disable=SC2046 # metrics are words
			note "$case" "$number" "$backend" "$name" \
				$(run_"$backend" "$case" "$name" "$bytes" \
					"$depth" "$LENGTH")
			# shellcheck disable=SC2046
			[ "$number" != 1 ] || note "$case" 1 "$backend" "$name" \
				$(run_"$backend" "$case" "$name" "$bytes" \
					"$depth" 1 syscalls)
		done
	done <<<"$LOADS"
}

case_of_loads() {
	local number backends=("${@:2}")
	start_qsd "$1"
	[[ " ${backends[*]} " != *" nbdkit "* ]] || start_nbdkit "$1"
	for ((number = 1; number <= ROUNDS; number++)); do
		round "$1" "$number" "${backends[@]}"
	done
	stop_servers
}

case_null() {
	case_of_loads null xen-diskd persistent qsd
}

case_tmpfs() {
	fill "$memory_file"
	case_of_loads tmpfs xen-diskd persistent qsd fio nbdkit
}

case_disk() {
	fill "$disk_file"
	case_of_loads disk xen-diskd persistent qsd fio
}

# CASE PEER DEPTH OUR-FEATURE PEER'S-FEATURE: the same engine in two ways.
case_of_ways() {
	local number provider backend target feature load
	fill "$memory_file"
	for ((number = 1; number <= ROUNDS; number++)); do
		for provider in null tmpfs; do
			load=$provider-4k-qd$3
			target=null:size=${MEBIBYTES}M
			[ "$provider" = null ] || target=$memory_file
			for backend in $(rotated "$number" xen-diskd "$2"); do
				feature=$4
				[ "$backend" = xen-diskd ] || feature=$5
				# shellcheck disable=SC2046 # as above
				note "$1" "$number" "$backend" "$load" \
					$(metrics_of "$BIN/ring-bench" run \
						"$target" 4096 "$3" "$LENGTH" \
						"$feature" \
						"$(checks "$provider")")
			done
		done
	done
}

case_queues() {
	case_of_ways queues one-queue 128 queues=4 pages=4
}

case_vbds() {
	case_of_ways vbds one-vbd 32 vbds=64 vbds=1
}

case_nbd() {
	"$here/nbd.sh" "$BIN/nbd-bench" "$BIN/ring-bench" "$LENGTH" "$ROUNDS" \
		"$work/raw"
}

# ---- all of it ---------------------------------------------------------------

about="commit $(git -C "$here" describe --always --dirty 2>/dev/null ||
	echo unknown), $(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' \
	/proc/cpuinfo | head -n 1), Linux $(uname -r), $(fio --version), $(
	qemu-storage-daemon --version | sed -n '1s/.*version \([^ ]*\).*/QEMU \1/p')"
[ -e /sys/kernel/tracing/events ] ||
	mount -t tracefs none /sys/kernel/tracing
say "bench: $about, $ROUNDS rounds of $LENGTH s"
for name in "${CASES[@]}"; do
	[ "$(type -t "case_$name")" = function ] || die "no case '$name'"
	"case_$name"
done
echo "# bench: $about, $ROUNDS rounds of $LENGTH s"
awk -v prefix=bench -v ratio=bench-ratio -v ours='xen-diskd persistent nbd-provider' \
	-v compared='iops cpu_us_per_io' -v header="$about" -v json="$JSON" \
	-v bounds="$here/bounds" -f "$here/summary.awk" "$work/raw"
