# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# A guest makes a file system, writes with fsync, unmounts; dom0 checks it.

daemon_need
guest_need g1 pv
img=$(image ext4.img 128M)
attach g1 xvdb "$img"
guest_run g1 'set -e
	mkfs.ext4 -q /dev/xvdb
	mount -t ext4 /dev/xvdb /mnt
	for i in $(seq '"$(scale 40 400)"'); do
		dd if=/dev/urandom of=/mnt/f$i bs=1k count=$((i * 7 % 97 + 1)) \
			conv=fsync 2>/dev/null
	done
	cd /mnt
	sha256sum f* >/tmp/sums
	cp /tmp/sums sums
	cd /
	umount /mnt' 120
detach g1 xvdb
e2fsck -fn "$img"
mkdir -p "$LAB/mnt"
mount -o loop,ro "$img" "$LAB/mnt"
(cd "$LAB/mnt" && sha256sum -c --quiet sums) || fail 'a file has changed'
umount "$LAB/mnt"
