# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 2400
#
# Guests destroyed while they read and write.

daemon_need
img=$(image destroy.img 32M)

once() {
	guest_create victim pv
	attach victim xvdb "$img"
	guest_start victim load 'blkverify load /dev/xvdb 600 --max=256K'
	guest_run victim 'n=0
		until [ "$(awk "{ print \$7 }" /sys/block/xvdb/stat)" -gt 1000 ]
		do
			n=$((n + 1)); [ $n -lt 300 ] || exit 1
			usleep 50000
		done' 30 || fail 'the load does not write'
	guest_destroy victim
	host_clean
}

# The first one may leave a cache warm; it is not counted.
once
before=$(host_counters)
count=$(scale 2 20)
for _ in $(seq "$count"); do
	once
done
assert_eq "$(host_counters)" "$before" "state after $count destroyed guests"
note "$count guests destroyed under load"
