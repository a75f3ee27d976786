# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# Detach while mounted, and by force under load.  Linux guests of today give a
# mounted disk up when asked: what was synced is in the image, later writes fail
# in the guest, and the host is clean at once.

daemon_need
guest_create forced pv
img=$(image forced.img 32M)
mkfs.ext4 -q "$img"

# The journal is replayed, no more: -p fails on anything that needs a decision.
image_keeps() {
	e2fsck -p "$img" || [ $? = 1 ] || fail 'the file system is damaged'
	assert_eq "$(debugfs -R "cat $1" "$img" 2>/dev/null)" "$2" "file $1"
}

note 'plain, while mounted'
attach forced xvdb "$img"
guest_run forced 'mount -t ext4 /dev/xvdb /mnt && echo kept >/mnt/x && sync'
xl block-detach forced xvdb
disks_clean
guest_run forced 'dd if=/dev/zero of=/mnt/y bs=4k count=16 conv=fsync 2>&1' &&
	fail 'a write to a detached disk succeeded'
guest_run forced 'umount -l /mnt'
image_keeps /x kept

note 'by force, while mounted and under load'
attach forced xvdb "$img"
guest_run forced 'mount -t ext4 /dev/xvdb /mnt && echo again >/mnt/z && sync
	while dd if=/dev/zero of=/mnt/load bs=4k count=16 conv=fsync \
		2>/dev/null; do :; done >/dev/null 2>&1 &'
start=$SECONDS
xl block-detach forced xvdb --force
disks_clean
[ $((SECONDS - start)) -le 12 ] || fail 'the forced detach took long'
image_keeps /z again
