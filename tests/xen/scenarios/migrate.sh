# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 1200
#
# xl migrate to this host under load: both domains' disks are the same image.
# A PVH guest, because Debian's Xen is built without shadow paging and cannot
# track the pages that a PV guest dirties.

daemon_need
guest_create mover pvh
img=$(image mover.img 32M)
attach mover xvdb "$img"
for i in $(seq "$(scale 1 10)"); do
	guest_start mover load 'blkverify load /dev/xvdb 20 --max=256K'
	old=$(xl domid mover)
	xl migrate -s '' mover 'xl migrate-receive'
	wait_for '[ "$(xl list | grep -c mover)" = 1 ]' 20
	[ "$(xl domid mover)" != "$old" ] || fail 'the domain did not move'
	guest_await mover load 60 || fail "the load failed after move $i"
done
detach mover xvdb
