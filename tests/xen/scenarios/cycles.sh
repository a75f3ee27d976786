# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 300
# soak-timeout: 1800
#
# Attach and detach, again and again: nothing may be left over, by our account
# and by the hypervisor's.

daemon_need
guest_need g1 pv
img=$(image cycle.img 16M)

cycle() {
	attach g1 xvdb "$img"
	guest_run g1 'dd if=/dev/xvdb of=/dev/null bs=64k count=16 2>/dev/null
		dd if=/dev/zero of=/dev/xvdb bs=64k count=4 oflag=direct \
			2>/dev/null'
	detach g1 xvdb
}

# The first one may leave a cache warm; it is not counted.
cycle
host_clean
before=$(host_counters)
count=$(scale 10 100)
for _ in $(seq "$count"); do
	cycle
done
host_clean
assert_eq "$(host_counters)" "$before" "state after $count cycles"
note "$count cycles; $before"
