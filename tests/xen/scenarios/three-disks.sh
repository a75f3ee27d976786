# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 200
# soak-timeout: 600
#
# Three disks on two guests under load; one guest is destroyed; the other sees
# no error.

daemon_need
guest_need g1 pv
guest_create victim pv
for n in 1 2 3; do
	image "three$n.img" 32M >/dev/null
done
attach g1 xvdb "$IMAGES/three1.img"
attach g1 xvdc "$IMAGES/three2.img"
attach victim xvdb "$IMAGES/three3.img"

seconds=$(scale 15 120)
guest_start g1 b "blkverify load /dev/xvdb $seconds --max=256K --seed=1"
guest_start g1 c "blkverify load /dev/xvdc $seconds --max=256K --seed=2"
guest_start victim b 'blkverify load /dev/xvdb 600 --max=256K'
wait_for '[ "$(xl list | wc -l)" -ge 4 ]' 5
guest_run victim 'until [ "$(awk "{ print \$7 }" /sys/block/xvdb/stat)" \
	-gt 1000 ]; do usleep 100000; done' 30
guest_destroy victim
guest_await g1 b "$((seconds + 60))"
guest_await g1 c "$((seconds + 60))"
assert_eq "$(guest_io_errors g1)" 0 'I/O errors in the guest that lives'
detach g1 xvdb
detach g1 xvdc
