# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 120
#
# The lab itself, without xen-diskd: the kernel's blkback serves a PV and a PVH
# guest.  When this fails, look at the lab before looking at the daemon.

blkback_load
guest_need g1 pv
guest_need g2 pvh

for guest in g1 g2; do
	img=$(image "$guest.img" 64M)
	before=$(xen_counters)
	xl block-attach "$guest" "$img,raw,xvdb,rw"
	guest_disk "$guest" xvdb
	guest_run "$guest" 'set -e
		mkfs.ext4 -q /dev/xvdb
		mount /dev/xvdb /mnt
		echo "written by the guest" >/mnt/note
		sync
		umount /mnt'
	during=$(xen_counters)
	[ "$during" != "$before" ] ||
		fail 'an attached disk changed no count of the hypervisor'
	xl block-detach "$guest" xvdb
	guest_no_disk "$guest" xvdb
	wait_for '[ -z "$(losetup -n -l)" ]' 10
	e2fsck -fn "$img"
	assert_eq "$(debugfs -R 'cat /note' "$img" 2>/dev/null)" \
		'written by the guest' 'the file in the image'
	assert_eq "$(xen_counters)" "$before" 'counts after detach'
done
status=0
guest_run g1 'echo out; exit 7' || status=$?
assert_eq "$status" 7 'exit status of a command in the guest'
blkback_unload
