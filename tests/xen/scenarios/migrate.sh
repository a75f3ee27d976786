# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 500
# soak-timeout: 3000
#
# xl migrate to this host under load: both domains' disks are the same image.  Then
# while what serves the disk is gone: the worker is killed before, and none succeeds
# it until the toolstack takes the old domain's disk away; the supervisor is killed
# when the guest suspends, and comes back when the new domain waits for its disk.  The
# guest sees a pause, and nothing is left.
# A PVH guest, because Debian's Xen is built without shadow paging and cannot
# track the pages that a PV guest dirties.

daemon_need
img=$(image mover.img 32M)
guest_create mover pvh

counts() {
	host_counters | sed "s/^d$(xl domid mover) /mover /"
}

# Under load; of so few requests that Xen gets done with the pages that they dirty.
# shellcheck disable=SC2034 # wait_for evaluates it
begin() {
	attach mover xvdb "file:$img?iops=50"
	guest_start mover load 'blkverify load /dev/xvdb 600 --max=256K'
	old=$(xl domid mover)
	backends=$(xenstore-list "$BACKEND")
	worker=$(worker_pids)
}

# With requests in flight.
stop_worker() {
	xen-diskctl limit mover xvdb iops=0
	kill -STOP "$worker"
	while [ "$(xen-diskctl stat --json mover xvdb |
		jq '.[0].requests.in_flight')" = 0 ]; do
		kill -CONT "$worker"
		sleep 0.05
		kill -STOP "$worker"
	done
}

# The migration is xl's, and its status is waited for.
migrate() {
	xl migrate -s '' mover 'xl migrate-receive' &
	migration=$!
}

# The load is ended, and finds all that it has ever written.
# shellcheck disable=SC2016 # the guest expands it, or wait_for
end() {
	wait "$migration" || fail 'xl migrate failed'
	wait_for '[ "$(xl list | grep -c mover)" = 1 ]' 20
	[ "$(xl domid mover)" != "$old" ] || fail 'the domain did not move'
	guest_run mover 'kill $(pidof blkverify)'
	xen-diskctl limit mover xvdb iops=0
	guest_await mover load 60 || fail 'the load failed'
	assert_eq "$(guest_io_errors mover)" 0 'I/O errors'
	assert_eq "$(xs "$(backend_dir mover xvdb)/error")" '' 'error'
	detach mover xvdb
	disks_clean
}

# Waits for the image's fence (docs/architecture.md), and has it until its input ends.
# shellcheck disable=SC2016
FENCE='import fcntl, os, struct, sys
image = os.open(sys.argv[1], os.O_RDWR)
lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 1 << 62, 1, 0)
fcntl.fcntl(image, 38, lock) # F_OFD_SETLKW
print("taken", flush=True)
sys.stdin.read()'

status_of_old() {
	xen-diskctl list --json | jq -r ".[] | select(.domid == $old) |
		.worker.status"
}

# No successor gets past the fence, nor does the new domain's worker.
without_worker() {
	local word
	begin
	stop_worker
	coproc HOLDER { exec python3 -c "$FENCE" "$img"; }
	wait_for "grep -q -e '-> OFDLCK' /proc/locks" 20
	kill -KILL "$worker"
	read -r word <&"${HOLDER[0]}"
	assert_eq "$word" taken 'the fence'
	migrate
	wait_for "[ \"\$(xs $BACKEND/$old/51728/online)\" = 0 ]" 120
	assert_eq "$(status_of_old)" connecting "the old domain's worker"
	eval "exec ${HOLDER[1]}>&-"
	end
}

# shellcheck disable=SC2016 # wait_for evaluates it
without_supervisor() {
	begin
	# A line at once, and one when the toolstack asks the guest to suspend.
	exec {suspend}< <(exec timeout 60 xenstore-watch \
		"/local/domain/$old/control/shutdown")
	read -r _ <&"$suspend"
	migrate
	read -r _ <&"$suspend" || fail 'the guest was not asked to suspend'
	kill -KILL "$(daemon_pids)"
	exec {suspend}<&-
	wait_for '[ "$(xenstore-list "$BACKEND")" != "$backends" ]' 60
	assert_eq "$(worker_pids)" "$worker" 'the worker, meanwhile'
	daemon_start
	end
}

with_all() {
	begin
	migrate
	end
}

for i in $(seq "$(scale 1 10)"); do
	for how in with_all without_worker without_supervisor; do
		note "move $i, $how"
		before=$(counts)
		"$how"
		assert_eq "$(counts)" "$before" 'counts of the host'
	done
done
