# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 1200
#
# xl save and xl restore under a mounted file system and a running load.

daemon_need
guest_create saved pv
img=$(image saved.img 32M)
attach saved xvdb "$img"
for i in $(seq "$(scale 2 10)"); do
	guest_start saved load 'blkverify load /dev/xvdb 20 --max=256K'
	xl save saved "$LAB/saved.state"
	host_clean
	xl restore "$LAB/saved.state"
	rm -f "$LAB/saved.state"
	guest_await saved load 60 || fail "the load failed after restore $i"
	assert_eq "$(guest_io_errors saved)" 0 'I/O errors'
done
detach saved xvdb
