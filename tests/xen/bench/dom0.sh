#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The part of bench.sh that runs in dom0: lets backends serve the same bytes to
# one guest, in turn, and measures there.
#
#	dom0.sh start             daemon and guest; prints what the machine is
#	dom0.sh make CASE         the bytes
#	dom0.sh round CASE NUMBER SECONDS BACKEND...
#	dom0.sh profile CASE SECONDS BACKEND...
#	dom0.sh drop CASE
#
# `round` prints a line for each backend and load:
#	raw CASE NUMBER BACKEND LOAD iops=N mbps=N p50us=N p99us=N errors=N
# `profile` prints what an I/O takes of the guest's and of dom0's CPU time, perf's
# own sampling included, and whose dom0's processors are meanwhile (swapper: at
# rest).  A PV domain's timer is an event, which waits until events are let in
# again, so that no function of the kernel could be told from the next one.
#	profile CASE BACKEND LOAD iops=N ... guest_us_per_io=N dom0_us_per_io=N
#	 PERCENT COMMAND
#
# Cases, by where the 64 MiB are:
#	tmpfs  in memory, as a file: blkback's is behind a loop device
#	disk   a file on dom0's disk, past the page cache
#	brd    in memory, as a block device: no loop device in the way
# QEMU always has dom0's page cache between: past it, it insists on Linux AIO,
# which Debian's build for Xen does not have.
# Each backend is there only while it serves: blkback's module is unloaded and
# QEMU is gone when others have their turn.  xen-diskd then has no worker.

set -euo pipefail
# shellcheck source=../lib.sh
. /lab/lib.sh

GUEST=bench
VDEV=xvdb
MEBIBYTES=64
QEMU=/usr/libexec/xen-qemu-system-i386
# NAME KIND BLOCK-BYTES DEPTH
LOADS='randread-4k-qd1 randread 4096 1
randread-4k-qd32 randread 4096 32
randwrite-4k-qd32 randwrite 4096 32
seqread-128k-qd8 seqread 131072 8
seqwrite-128k-qd8 seqwrite 131072 8'

evidence() {
	local status=$?
	trap - EXIT
	[ "$status" != 0 ] || exit 0
	tail -n 20 "$DAEMON_LOG" "$LAB/qemu.log" 2>/dev/null
	xenstore-ls -f /local/domain/0/backend 2>/dev/null | tail -n 40
	dmesg | tail -n 15
	# 125 would tell the host that dom0 is dead.
	exit 1
}

# ---- the bytes --------------------------------------------------------

bytes_path() {
	case $1 in
	tmpfs) echo /tmp/bench.img ;;
	disk) echo "$IMAGES/bench.img" ;;
	brd) echo /dev/ram0 ;;
	*) fail "no case '$1'" ;;
	esac
}

# All written: no backend must be the one that has them allocated.
bytes_make() {
	local path
	path=$(bytes_path "$1")
	[ "$1" != brd ] ||
		modprobe brd rd_nr=1 rd_size=$((MEBIBYTES * 1024))
	dd if=/dev/urandom of="$path" bs=1M count="$MEBIBYTES" conv=fsync \
		status=none
}

# Memory that one case holds must not be short in the next.
bytes_drop() {
	case $1 in
	brd) modprobe -r brd ;;
	*) rm -f "$(bytes_path "$1")" ;;
	esac
}

# QEMU leaves the bytes in the page cache, and whoever then writes past it has
# to clear them out, page by page: everyone starts without.
bytes_forget() {
	local path
	[ "$1" = disk ] || return 0
	path=$(bytes_path "$1")
	sync "$path"
	dd if="$path" iflag=nocache count=0 status=none
}

# ---- the backends -----------------------------------------------------

blkback_serve() {
	local path=$2
	blkback_load
	LOOP=
	if [ "$1" != brd ]; then
		LOOP=$(losetup -f --show \
			--direct-io="$([ "$1" = disk ] && echo on || echo off)" \
			"$path")
		path=$LOOP
		[ "$1" != disk ] ||
			assert_eq "$(losetup -n -O DIO "$LOOP" | tr -d ' ')" 1 \
				'whether the loop device does direct I/O'
	fi
	xl block-attach "$GUEST" "$path,raw,$VDEV,rw"
}

blkback_leave() {
	[ -z "$LOOP" ] || losetup -d "$LOOP"
	blkback_unload
	# udevd looks at its rules every 3 s at most, and would load the module
	# again for the next disk.
	udevadm control --reload
}

# As libxl would start and remember it for a guest with a qdisk from the
# beginning: libxl refuses to attach one to a guest that has no QEMU.
qdisk_serve() {
	local domid
	domid=$(xl domid "$GUEST")
	"$QEMU" -xen-domid "$domid" -xen-attach -name "$GUEST" \
		-machine xenpv -m 128 -nodefaults -no-user-config -display none \
		-serial null -monitor null </dev/null >"$LAB/qemu.log" 2>&1 &
	QEMU_PID=$!
	wait_xs "/local/domain/0/device-model/$domid/state" running 30
	QEMU_NODE=/local/domain/$domid/image/device-model-pid
	xenstore-write "$QEMU_NODE" "$QEMU_PID"
	xl block-attach "$GUEST" \
		"vdev=$VDEV,format=raw,backendtype=qdisk,target=$2"
}

qdisk_leave() {
	xenstore-rm "$QEMU_NODE"
	xenstore-rm "/local/domain/0/device-model/$(xl domid "$GUEST")"
	kill "$QEMU_PID"
	wait "$QEMU_PID" || true
}

xen-diskd_serve() {
	xl block-attach "$GUEST" "$(disk_spec "$VDEV" "$2")"
}

xen-diskd_leave() {
	wait_for "[ -z \"\$(worker_pids)\" ]" 10
}

# ---- the commands -----------------------------------------------------

# In one go: each command that the guest is sent costs a second.
loads_script() {
	local name kind block depth
	while read -r name kind block depth; do
		echo "echo -n '$name '"
		echo "blkbench /dev/$VDEV $kind $block $depth $1 || exit"
	done <<<"$LOADS"
}

measure() {
	local result
	result=$(guest_run "$GUEST" "$(loads_script "$2")" \
		"$((5 * ($2 + 20)))") || fail "$1: $result"
	# shellcheck disable=SC2001 # each line
	sed "s/^/raw $1 /" <<<"$result"
}

start() {
	# The log is for people; debug messages would cost only one backend.
	daemon_start --log-level=info
	guest_create "$GUEST" pv
	touch "$LAB/keep/$GUEST"
	echo "machine Xen $(cat /sys/hypervisor/version/{major,minor,extra} |
		paste -s -d '.' | sed 's/\.\././'), dom0 and guest Linux" \
		"$(uname -r), $(nproc) CPUs in dom0, 1 in the guest (PV)"
}

round() {
	local case=$1 number=$2 seconds=$3 backend
	shift 3
	for backend in "$@"; do
		bytes_forget "$case"
		"${backend}_serve" "$case" "$(bytes_path "$case")"
		guest_disk "$GUEST" "$VDEV"
		udevadm settle
		measure "$case $number $backend" "$seconds"
		detach "$GUEST" "$VDEV"
		"${backend}_leave"
	done
}

# Of the guest, then of dom0: what their virtual CPUs have had, in seconds.
cpu_seconds() {
	xl list | awk -v guest="$GUEST" '
		$1 == guest { of_guest = $6 }
		$1 == "Domain-0" { of_dom0 = $6 }
		END { print of_guest, of_dom0 }'
}

PERF=(env LD_LIBRARY_PATH=/lab/perf /lab/perf/perf)

# CASE BACKEND SECONDS NAME KIND BLOCK-BYTES DEPTH
profile_load() {
	local before after result iops pid data=$LAB/perf.data
	before=$(cpu_seconds)
	"${PERF[@]}" record -q -a -e cpu-clock -F 499 -o "$data" &
	pid=$!
	result=$(guest_run "$GUEST" "blkbench /dev/$VDEV $5 $6 $7 $3" \
		"$(($3 + 20))") || fail "$2: $result"
	kill -INT "$pid"
	wait "$pid" || true
	after=$(cpu_seconds)
	# blkbench goes on for half a second longer than it counts.
	iops=${result#iops=}
	awk -v seconds="$3" -v what="$1 $2 $4 $result" -v iops="${iops%% *}" '
		{ guest = $3 - $1; dom0 = $4 - $2; n = iops * (seconds + 0.5) }
		END {
			printf "profile %s guest_us_per_io=%.1f dom0_us_per_io=%.1f\n",
				what, guest * 1e6 / n, dom0 * 1e6 / n
		}' <<<"$before $after"
	"${PERF[@]}" report -i "$data" --stdio --sort comm --percent-limit 1 \
		2>/dev/null | sed '/^#/d; /^$/d; s/  */ /g'
}

profile() {
	local case=$1 seconds=$2 backend name kind block depth
	shift 2
	for backend in "$@"; do
		bytes_forget "$case"
		"${backend}_serve" "$case" "$(bytes_path "$case")"
		guest_disk "$GUEST" "$VDEV"
		udevadm settle
		while read -r name kind block depth <&3; do
			profile_load "$case" "$backend" "$seconds" \
				"$name" "$kind" "$block" "$depth"
		done 3<<<"$LOADS"
		detach "$GUEST" "$VDEV"
		"${backend}_leave"
	done
}

trap evidence EXIT
verb=$1
shift
case $verb in
start) start ;;
make) bytes_make "$1" ;;
round) round "$@" ;;
profile) profile "$@" ;;
drop) bytes_drop "$1" ;;
*) fail "no command '$verb'" ;;
esac
