# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 900
#
# Random writes at mixed sizes and depths from a PVH guest, read back there,
# then compared with the image.

daemon_need
guest_need g-pvh pvh
img=$(image verify.img 64M)
attach g-pvh xvdb "$img"
guest_run g-pvh "blkverify write /dev/xvdb --bytes=$(scale 26M 256M) \
	--seed=$RANDOM --min=512 --max=1M --depth=1..64" "$(scale 150 800)" |
	tee "$LAB/verify.out"
detach g-pvh xvdb
assert_eq "$(blkverify sum "$img")" "$(grep '^digest' "$LAB/verify.out")" \
	'the image'
