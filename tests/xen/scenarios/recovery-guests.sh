# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 300
#
# Guests that go while nobody looks: destroyed, crashed or rebooted while their
# worker, the supervisor, or both are gone.  All of it is cleaned up, and the next
# guest finds on its disk what was written and nothing else.

daemon_need
img=$(image recovered.img 32M)
BEFORE=$(host_counters)

# A guest with requests in flight, on the disk.
# shellcheck disable=SC2016,SC2034 # wait_for evaluates it
begin() {
	guest_create leaver pv "$(disk_spec xvdb "$img")"
	NODE=$BACKEND/$(xl domid leaver)/51728
	guest_start leaver load 'blkverify load /dev/xvdb 600 --max=256K'
	wait_for '[ "$(xen-diskctl stat --json leaver xvdb |
		jq ".[0].requests.in_flight")" != 0 ]' 20
}

# The toolstack has begun to take the guest's disk away, and waits for us.
# shellcheck disable=SC2016
being_destroyed() {
	wait_for '[ "$(xs "$NODE/online")" = 0 ]' 20
}

# Neither has a successor.
# shellcheck disable=SC2016
kill_everything() {
	kill -STOP "$(daemon_pids)"
	# shellcheck disable=SC2046 # several
	kill -KILL $(worker_pids) "$(daemon_pids)"
	wait_for '[ -z "$(daemon_pids)$(worker_pids)" ]' 10
}

# All is as it was before the first guest.
check_gone() {
	local files
	host_clean
	files=$(find /run/xen-diskd -name 'vbd*')
	assert_eq "$files" '' 'files of guests that are gone'
	assert_eq "$(host_counters)" "$BEFORE" 'counts of the host'
}

# leave WHAT-IS-GONE: the guest is destroyed meanwhile.  The toolstack waits for
# the backend, which is there again in time.
leave() {
	local pid
	note "destroyed while $1 is gone"
	begin
	case $1 in
	worker) kill -STOP "$(worker_pids)" ;;
	supervisor) kill -KILL "$(daemon_pids)" ;;
	everything) kill_everything ;;
	esac
	xl destroy leaver &
	pid=$!
	being_destroyed
	case $1 in
	worker) kill -KILL "$(worker_pids)" ;;
	*) daemon_start ;;
	esac
	wait "$pid" || true
	wait_for '! xl domid leaver >/dev/null 2>&1' 20
	check_gone
}

leave worker
leave supervisor
leave everything

note 'crashes while everything is gone'
begin
kill_everything
guest_run leaver 'echo c >/proc/sysrq-trigger' 5 || true
being_destroyed
daemon_start
wait_for '! xl domid leaver >/dev/null 2>&1' 30
check_gone

note 'reboots while everything is gone'
begin
kill_everything
from=$(console_size leaver)
guest_run leaver '(usleep 300000; reboot -f) >/dev/null 2>&1 &'
being_destroyed
daemon_start
guest_ready leaver "$from" 90
guest_run leaver 'blkverify load /dev/xvdb 2 --max=256K' 60 ||
	fail 'the load failed after the reboot'
assert_eq "$(xen-diskctl stat --json leaver xvdb |
	jq '.[0].requests.replayed')" 0 'requests of the guest before'
assert_eq "$(guest_io_errors leaver)" 0 'I/O errors'
guest_destroy leaver
check_gone
