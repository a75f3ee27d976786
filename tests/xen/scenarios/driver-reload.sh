# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# The guest unloads its driver and loads it again: the disk comes back.

daemon_need
guest_need g1 pv
img=$(image reload.img 16M)
attach g1 xvdb "$img"
guest_run g1 'dd if=/dev/urandom of=/dev/xvdb bs=64k count=8 oflag=direct \
	2>/dev/null; dd if=/dev/xvdb bs=64k count=8 2>/dev/null |
	sha256sum >/tmp/before'
for i in $(seq "$(scale 3 20)"); do
	# The last close of the disk is settled a moment after dd ended.
	guest_run g1 'n=0
		until rmmod xen-blkfront 2>/run/rmmod; do
			n=$((n + 1)); [ $n -lt 50 ] ||
				{ cat /run/rmmod; lsmod; exit 1; }
			usleep 100000
		done'
	wait_xs "$(backend_dir g1 xvdb)/state" 2 15
	guest_run g1 'modprobe xen-blkfront'
	guest_disk g1 xvdb 20
	guest_run g1 'dd if=/dev/xvdb bs=64k count=8 2>/dev/null |
		sha256sum | cmp - /tmp/before' || fail "reload $i: other data"
done
detach g1 xvdb
