# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# Beside the kernel's blkback, which serves another disk of the same guest.

daemon_need
guest_need g1 pv
blkback_load
theirs=$(image theirs.img 32M)
ours=$(image ours.img 32M)

xl block-attach g1 "$theirs,raw,xvdc,rw"
guest_disk g1 xvdc
xen-diskctl attach g1 xvdb "$ours"
guest_disk g1 xvdb
guest_start g1 b 'blkverify load /dev/xvdb 8 --max=256K'
guest_start g1 c 'blkverify load /dev/xvdc 8 --max=256K'
guest_await g1 b
guest_await g1 c

note 'a node that the kernel holds is refused with the reason'
other=$(image other.img 8M)
assert_fails timeout 30 xl block-attach g1 "$(disk_spec xvdd "$other")"
assert_match "$OUTPUT" 'blkback|kernel' 'the message'
xl block-detach g1 xvdd || true

xen-diskctl detach g1 xvdb
guest_no_disk g1 xvdb
xl block-detach g1 xvdc
guest_no_disk g1 xvdc
wait_for '[ -z "$(losetup -n -l)" ]' 10
blkback_unload
