# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# Detach while mounted, and by force.

daemon_need
guest_create forced pv
img=$(image forced.img 32M)
mkfs.ext4 -q "$img"
attach forced xvdb "$img"
guest_run forced 'mount -t ext4 /dev/xvdb /mnt && echo kept >/mnt/x && sync'

note 'a plain detach of a mounted disk is refused or waits; the disk works on'
timeout 30 xl block-detach forced xvdb && fail 'a disk in use was detached'
guest_run forced 'echo more >/mnt/y && sync && cat /mnt/x' ||
	fail 'the disk no longer works'

note 'by force it goes at once'
start=$SECONDS
xl block-detach forced xvdb --force
host_clean
[ $((SECONDS - start)) -le 12 ] || fail 'the forced detach took long'
e2fsck -p "$img" || [ $? = 1 ] || fail 'the file system is damaged'
assert_eq "$(debugfs -R 'cat /x' "$img" 2>/dev/null)" kept 'the file'
