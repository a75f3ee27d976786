# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 120
#
# access=ro: the guest sees a read-only disk, and a write that it sends all the
# same does not reach the image.

daemon_need
guest_need g1 pv
img=$(image ro.img 16M)
mkfs.ext4 -q "$img"
sum=$(sha256sum <"$img")
attach g1 xvdb "$img" access=ro
assert_eq "$(xs "$(backend_dir g1 xvdb)/mode")" r 'mode'
assert_eq "$(guest_run g1 'cat /sys/block/xvdb/ro')" 1 'read-only in the guest'
guest_run g1 'dd if=/dev/zero of=/dev/xvdb bs=4k count=1 oflag=direct 2>&1' &&
	fail 'a write to a read-only disk succeeded'
guest_run g1 'mount -t ext4 -o ro,noload /dev/xvdb /mnt && ls /mnt && umount /mnt'
guest_run g1 'dd if=/dev/xvdb of=/dev/null bs=1M 2>&1'
detach g1 xvdb
assert_eq "$(sha256sum <"$img")" "$sum" 'the image'
