# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# Workers and supervisors that are killed under load, for the scenarios that count
# them, in dom0; they source it themselves.  Each kill is at the first moment from a
# random time on at which requests are in flight: that they are is no finding.
#
#	workers NAME TYPE COUNT            another disk of the guest goes on
#	daemons NAME TYPE VICTIM COUNT     supervisor, restart or everything
#	kills_report                       what it came to; fails if that is too little

# shellcheck source=/dev/null
. /lab/lib-load.sh
NR_KILLS=0 NR_BUSY=0 NR_REPLAYED=0 IN_FLIGHT=
# A line for each kill with requests in flight: of whom, and the milliseconds from the
# kill to the first answer that the guest has not had before it.
ANSWERS=$LAB/first-answers
: >"$ANSWERS"

# disk_stat NAME KEY [VDEV]
disk_stat() {
	xen-diskctl stat --json "$1" "${3:-xvdb}" | jq -r ".[0].$2"
}

# kill_busy worker|supervisor|restart|everything: $worker is the id of the worker
# that serves, $table its in-flight table.
kill_busy() {
	local busy supervisor victims signal=9
	supervisor=$(daemon_pids)
	case $1 in
	worker) victims=$worker ;;
	supervisor) victims=$supervisor ;;
	restart) victims=$supervisor signal=15 ;;
	everything) victims="$supervisor $(worker_pids)" ;;
	esac
	nap 200 1500
	# shellcheck disable=SC2086 # several
	exec {killer}< <(exec kill-busy "$worker" "$table" 10 $signal $victims)
	read -r busy <&"$killer" || fail "$1: not killed"
	[ "$1" = worker ] ||
		wait_for "! kill -0 $supervisor 2>/dev/null" 15
	NR_KILLS=$((NR_KILLS + 1))
	NR_BUSY=$((NR_BUSY + (busy > 0)))
	[ "$busy" = 0 ] || IN_FLIGHT=1
}

# first_answer VICTIM: after kill_busy, when there is somebody again to give it.
first_answer() {
	local ms
	if [ -n "$IN_FLIGHT" ]; then
		read -r ms <&"$killer" || fail "$1: no answer after the kill"
		echo "$1 $ms" >>"$ANSWERS"
	fi
	exec {killer}<&-
	IN_FLIGHT=
}

# The worker that serves; nothing while none does.
serving() {
	disk_stat "$1" 'worker | select(.status == "connected").pid'
}

# Another one has the ring.
succeeded() {
	local next
	next=$(serving "$1")
	[ -n "$next" ] && [ "$next" != "$worker" ] && worker=$next
}

# The one that there was.
adopted() {
	[ "$(serving "$1")" = "$worker" ]
}

# What this supervisor has seen carried out again, and no errors.
count_replayed() {
	NR_REPLAYED=$((NR_REPLAYED + $(disk_stat "$1" requests.replayed)))
	assert_eq "$(disk_stat "$1" requests.errors)" 0 'errors'
}

begin() {
	guest_need "$1" "$2"
	img=$(image "$1.img" 32M)
	mkfs.ext4 -q "$img"
	attach "$1" xvdb "$img"
	table=/run/xen-diskd/vbd-$(xl domid "$1")-51728.inflight
	worker=$(serving "$1")
	load_start "$1"
}

end() {
	load_finish "$1"
	detach "$1" xvdb
	load_check "$img"
}

# workers NAME TYPE COUNT
workers() {
	local img table worker other
	note "$2 guest, its worker killed $3 times"
	begin "$1" "$2"
	attach "$1" xvdc "$(image "$1-other.img" 16M)"
	other=$(disk_stat "$1" worker.pid xvdc)
	for _ in $(seq "$3"); do
		kill_busy worker
		wait_for "succeeded $1" 20
		first_answer worker
	done
	count_replayed "$1"
	guest_run "$1" 'blkverify load /dev/xvdc 1 --max=256K' 60 ||
		fail 'the other disk was disturbed'
	assert_eq "$(disk_stat "$1" worker.pid xvdc)" "$other" \
		"the other disk's worker"
	detach "$1" xvdc
	end "$1"
}

# Without a supervisor the guest's I/O goes on.
served_without() {
	guest_run "$1" 'blkverify load /dev/xvdc 1 --max=64K' 60 ||
		fail 'the disk is not served'
}

# daemons NAME TYPE VICTIM COUNT
daemons() {
	local img table worker
	note "$2 guest, $3 $4 times"
	begin "$1" "$2"
	attach "$1" xvdc "$(image "$1-other.img" 16M)"
	for _ in $(seq "$4"); do
		[ "$3" != everything ] || count_replayed "$1"
		kill_busy "$3"
		[ "$3" = everything ] || served_without "$1"
		daemon_start
		[ "$3" != everything ] || wait_for "succeeded $1" 20
		[ "$3" = everything ] || wait_for "adopted $1" 20
		first_answer "$3"
	done
	count_replayed "$1"
	detach "$1" xvdc
	end "$1"
}

kills_report() {
	daemon_log | grep -qE 'worker \(pid [0-9]+\) was killed by signal 9' ||
		fail 'the log says nothing of the dead workers'

	# Of supervisors: that of a worker which serves on.  Of everything, with the
	# time that the scenario takes to start the supervisor.
	sort -k 1,1 -k 2,2n "$ANSWERS" | awk '
		function report() {
			if (nr)
				printf "kill to first response, %s, %d of them: " \
					"median %d ms, p99 %d ms\n", kind, nr,
					ms[int((nr + 1) / 2)],
					ms[int(nr * 99 / 100) + (nr < 100)]
			nr = 0
		}
		$1 != kind { report(); kind = $1 }
		{ ms[++nr] = $2 }
		END { report() }'
	assert_eq "$(wc -l <"$ANSWERS")" "$NR_BUSY" 'first responses'
	note "kills: $NR_KILLS, with requests in flight, as chosen: $NR_BUSY;" \
		"requests carried out again: $NR_REPLAYED"
	[ "$NR_REPLAYED" -gt 0 ] || fail 'no request was carried out again'
	[ $((NR_BUSY * 100)) -ge $((NR_KILLS * 80)) ] ||
		fail 'too few kills had requests in flight'
}
