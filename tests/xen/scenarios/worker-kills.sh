# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 400
# soak-timeout: 1800
#
# Workers are killed under load, again and again: their guests notice a pause,
# and another disk not even that.  Each kill is at a random time, or at the next
# at which requests are in flight.

# shellcheck source=/dev/null
. /lab/lib-load.sh
daemon_need
NR_KILLS=0 NR_BUSY=0

# disk_stat NAME KEY [VDEV]
disk_stat() {
	xen-diskctl stat --json "$1" "${3:-xvdb}" | jq -r ".[0].$2"
}

# kill_busy NAME: leaves the id of the one that is dead in KILLED.
kill_busy() {
	local busy
	KILLED=$(disk_stat "$1" worker.pid)
	nap 200 1500
	for _ in $(seq 20); do
		kill -STOP "$KILLED"
		busy=$(disk_stat "$1" requests.in_flight)
		[ "$busy" = 0 ] || break
		kill -CONT "$KILLED"
		nap 0 100
	done
	kill -KILL "$KILLED"
	NR_KILLS=$((NR_KILLS + 1))
	NR_BUSY=$((NR_BUSY + (busy > 0)))
}

# Another one has the ring.
succeeded() {
	[ "$(disk_stat "$1" worker.status)" = connected ] &&
		[ "$(disk_stat "$1" worker.pid)" != "$KILLED" ]
}

# ext4_under_kills NAME TYPE COUNT
ext4_under_kills() {
	local img other
	note "$2 guest, its worker killed $3 times"
	guest_need "$1" "$2"
	img=$(image "$1.img" 32M)
	mkfs.ext4 -q "$img"
	attach "$1" xvdb "$img"
	attach "$1" xvdc "$(image "$1-other.img" 16M)"
	other=$(disk_stat "$1" worker.pid xvdc)
	load_start "$1"
	for _ in $(seq "$3"); do
		kill_busy "$1"
		wait_for "succeeded $1" 20
	done
	guest_run "$1" 'blkverify load /dev/xvdc 1 --max=256K' 60 ||
		fail 'the other disk was disturbed'
	load_finish "$1"
	note "$(disk_stat "$1" requests.replayed) requests carried out again," \
		"$(disk_stat "$1" requests.errors) errors"
	[ "$(disk_stat "$1" requests.replayed)" -gt 0 ] ||
		fail 'no request was carried out again'
	assert_eq "$(disk_stat "$1" requests.errors)" 0 'errors'
	assert_eq "$(disk_stat "$1" worker.pid xvdc)" "$other" \
		"the other disk's worker"
	detach "$1" xvdb
	detach "$1" xvdc
	load_check "$img"
}

ext4_under_kills g1 pv "$(scale 18 180)"
ext4_under_kills g-pvh pvh "$(scale 2 20)"
daemon_log | grep -qE 'worker \(pid [0-9]+\) was killed by signal 9' ||
	fail 'the log says nothing of the dead workers'
note "kills: $NR_KILLS, with requests in flight: $NR_BUSY"
[ $((NR_BUSY * 100)) -ge $((NR_KILLS * 80)) ] ||
	fail 'too few kills had requests in flight'
