# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 200
# soak-timeout: 1200
#
# The guest unloads its driver and loads it again.  Linux of today does not
# take up a disk that it has closed (with the kernel's blkback it is the same),
# so what is asked of us is: all of the guest's is let go, a frontend that
# starts anew is answered with state 2, and the loaded driver gets the disk
# when it is attached again.

daemon_need
# Of its own: a disk that was taken away while mounted keeps the driver busy.
guest_create reload pv
img=$(image reload.img 16M)
without=$(xen_counters)
attach reload xvdb "$img"
guest_run reload 'dd if=/dev/urandom of=/dev/xvdb bs=64k count=8 oflag=direct \
	2>/dev/null; dd if=/dev/xvdb bs=64k count=8 2>/dev/null |
	sha256sum >/tmp/before'
front=/local/domain/$(xl domid reload)/device/vbd/51728

for i in $(seq "$(scale 2 20)"); do
	# xenbus holds the module of a driver that is bound to a device.
	guest_run reload 'echo vbd-51728 >/sys/bus/xen/drivers/vbd/unbind
		rmmod xen-blkfront'
	wait_xs "$(backend_dir reload xvdb)/state" 6 15
	assert_eq "$(xen_counters)" "$without" 'counts without the driver'
	xenstore-write "$front/state" 1
	wait_xs "$(backend_dir reload xvdb)/state" 2 15
	guest_run reload 'modprobe xen-blkfront'
	xl block-detach reload xvdb --force
	disks_clean
	attach reload xvdb "$img"
	guest_run reload 'dd if=/dev/xvdb bs=64k count=8 2>/dev/null |
		sha256sum | cmp - /tmp/before' || fail "reload $i: other data"
done
detach reload xvdb
