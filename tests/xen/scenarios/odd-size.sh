# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# Sizes that are multiples of 512 but not of 4096, to the last sector.

daemon_need
guest_need g1 pv
for sectors in 1 7 2049 65537; do
	img=$(image odd.img $((sectors * 512)))
	attach g1 xvdb "$img"
	assert_eq "$(guest_run g1 'cat /sys/block/xvdb/size')" "$sectors" 'size'
	bytes=$((sectors * 512 * 16))
	[ "$bytes" -le $((4 << 20)) ] || bytes=4M
	guest_run g1 "blkverify write /dev/xvdb --bytes=$bytes --seed=$sectors \
		--max=64K" 60 | tee "$LAB/odd.out"
	detach g1 xvdb
	assert_eq "$(blkverify sum "$img")" "$(grep '^digest' "$LAB/odd.out")" \
		"the image of $sectors sectors"
done
