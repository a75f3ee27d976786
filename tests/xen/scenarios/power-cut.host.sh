#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# timeout: 300
# soak-timeout: 1200
#
# Power cut.  A guest appends records, each made safe by fsync, and tells their
# numbers; QEMU is killed; the next boot must find every record that was told.
# The image lies, sparse, on an ext4 of a disk of its own, which is no snapshot
# and has a cache mode that honours flushes: what the daemon leaves in dom0's
# page cache, or in dom0's ext4 as an allocation not yet committed, is lost.

set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../host-lib.sh
. "$here/../host-lib.sh"

fail() {
	echo "FAIL $*"
	lab_console_tail 15
	exit 1
}

boot() {
	lab_boot -drive "if=virtio,format=raw,cache=writeback,file=$disk" ||
		fail 'no boot'
	dom0_run 'mkdir -p /srv && mount -t ext4 /dev/vdc /srv' || fail 'no disk'
}

# Guest and daemon in dom0, and the guest's journal running.
start_journal() {
	dom0_run ". /lab/lib.sh; set -eu
		daemon_start
		truncate -s 64M /srv/$1.img
		sync
		guest_create g1 pv
		attach g1 xvdb /srv/$1.img
		guest_start g1 journal 'blkverify journal /dev/xvdb \
			--mode=$1 --seed=$seed'" 120 || fail 'no journal'
}

# Waits until enough are told, then takes the last number told and pulls the
# plug.  More may have been made safe since: those are not asked for.
acknowledged() {
	acked=$(dom0_run ". /lab/lib.sh
		guest_run g1 'until [ \$(grep -c ACK /run/job.journal.out) -ge $enough ]
			do usleep 100000; done
			tail -n 2 /run/job.journal.out | sed -n \"s/^ACK //p\" |
			head -n 1' 100" 120) || fail "no $enough records"
	[[ $acked =~ ^[0-9]+$ ]] || fail "no number told: '$acked'"
}

trap lab_kill EXIT
disk=$LAB_WORK/power.img
enough=$([ -n "${SOAK:-}" ] && echo 500 || echo 50)
lab_prepare "$LAB_WORK" "$LAB_DEST" || exit 1
for mode in buffered direct; do
	seed=$RANDOM
	rm -f "$disk"
	truncate -s 256M "$disk"
	mke2fs -q -F -t ext4 "$disk"
	boot
	start_journal "$mode"
	acknowledged
	lab_kill
	echo "$mode: QEMU killed after record $acked"
	boot
	dom0_run "blkverify replay /srv/$mode.img --acked=$acked --seed=$seed" ||
		fail "$mode: acknowledged records are missing"
	lab_stop
done
