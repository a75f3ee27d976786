# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 120
#
# Path B: our own attach and detach, and xl's commands on such a disk.

daemon_need
guest_need g1 pv
img=$(image b.img 16M)

xen-diskctl attach g1 xvdb "$img"
guest_disk g1 xvdb
assert_eq "$(xs "$(backend_dir g1 xvdb)/xen-diskd")" 1 'the marker key'
assert_match "$(xl block-list g1)" 51728 'xl block-list'
guest_run g1 'echo by-the-guest | dd of=/dev/xvdb bs=512 conv=sync 2>&1
	sync'
xen-diskctl detach g1 xvdb
guest_no_disk g1 xvdb
assert_eq "$(head -n 1 "$img" | tr -d '\0')" by-the-guest 'the image'
host_clean

note 'xl detaches what we attached'
xen-diskctl attach g1 xvdb "$img" --readonly
guest_disk g1 xvdb
assert_eq "$(guest_run g1 'cat /sys/block/xvdb/ro')" 1 'read-only in the guest'
xl block-detach g1 xvdb
guest_no_disk g1 xvdb
