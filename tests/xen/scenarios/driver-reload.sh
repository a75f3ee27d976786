# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# The guest unbinds and unloads its driver: the backend lets go of everything
# and closes.  Linux keeps the device it had at state 6 from then on, whoever
# the backend is, so the disk comes back when it is attached again.

daemon_need
# Of its own: a disk that was taken away while mounted keeps the driver busy.
guest_create reload pv
img=$(image reload.img 16M)
attach reload xvdb "$img"
guest_run reload 'dd if=/dev/urandom of=/dev/xvdb bs=64k count=8 oflag=direct \
	2>/dev/null; dd if=/dev/xvdb bs=64k count=8 2>/dev/null |
	sha256sum >/tmp/before'
for i in $(seq "$(scale 3 20)"); do
	# xenbus holds the module of a driver that is bound to a device.
	guest_run reload 'echo vbd-51728 >/sys/bus/xen/drivers/vbd/unbind
		rmmod xen-blkfront'
	wait_xs "$(backend_dir reload xvdb)/state" 6 15
	assert_match "$(xen-diskctl list)" 'reload .*Closed' 'list'
	guest_run reload 'modprobe xen-blkfront'
	detach reload xvdb
	attach reload xvdb "$img"
	guest_disk reload xvdb 20
	guest_run reload 'dd if=/dev/xvdb bs=64k count=8 2>/dev/null |
		sha256sum | cmp - /tmp/before' || fail "reload $i: other data"
done
detach reload xvdb
