# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# A worker dies: logged, listed, reaped; the other disk goes on; the dead one
# can be detached.

daemon_need
guest_need g1 pv
guest_create widow pv
attach g1 xvdb "$(image live.img 16M)"
first=$(worker_pids)
attach widow xvdb "$(image dead.img 16M)"
second=$(worker_pids | grep -vxF "$first")
assert_match "$second" '^[0-9]+$' 'the second worker'

guest_start g1 load 'blkverify load /dev/xvdb 10 --max=256K'
kill -KILL "$second"
wait_for "! kill -0 $second 2>/dev/null" 5
wait_for "xen-diskctl list | grep -q dead" 5
daemon_log | grep -iE 'worker.*(died|killed|signal|exited)' ||
	fail 'the log says nothing of the dead worker'
guest_await g1 load 40 || fail 'the other disk was disturbed'
xl block-detach widow xvdb --force
wait_xs "$BACKEND/$(xl domid widow)/51728" '' 10
assert_eq "$(worker_pids)" "$first" 'workers'
detach g1 xvdb
