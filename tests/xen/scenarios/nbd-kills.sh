# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 200
# soak-timeout: 1200
#
# The server of a disk is killed, again and again, and started again after
# a while: the guest notices a pause.  First one that keeps what it was given,
# then one with a cache that dies with it: nbdkit's cache filter, which writes
# nothing to its file before a FLUSH.  What the guest saw flushed is looked for
# in the file, with the server dead.

# shellcheck source=/dev/null
. /lab/lib-nbd.sh
# shellcheck source=/dev/null
. /lab/lib-load.sh
daemon_need
guest_need g1 pv

SOCKET=$LAB/kills.sock
TARGET="nbd+unix:///?socket=$SOCKET&reconnect=1"
NR_STARTS=0 NR_KILLS=0 NR_BUSY=0 NR_AGAIN=0 NR_RESENT=0

# Slow, as a disk is and an emulated dom0's page cache is not: so there is
# something in flight.  Each run has a log of its own.
serve() {
	local filters=(--filter=log --filter=delay) cache=()
	if [ "$1" = volatile ]; then
		filters+=(--filter=cache)
		cache=(cache=writeback)
	fi
	NR_STARTS=$((NR_STARTS + 1))
	unix_server "$SOCKET" nbdkit -f --unix "$SOCKET" "${filters[@]}" \
		file "$img" "${cache[@]}" rdelay=30ms wdelay=100ms \
		logfile="$LAB/server.log.$NR_STARTS"
}

# At a random time; if nothing is in flight just then, at the next.
server_kill_busy() {
	nap 200 1500
	for _ in $(seq 20); do
		kill -STOP "$SERVER"
		[ -z "$(unanswered "$LAB/server.log.$NR_STARTS")" ] || break
		kill -CONT "$SERVER"
		nap 0 100
	done
	server_kill
}

kill_under_load() {
	local i open
	for i in $(seq "$2"); do
		server_kill_busy
		open=$(unanswered "$LAB/server.log.$NR_STARTS" | wc -l)
		NR_KILLS=$((NR_KILLS + 1))
		NR_BUSY=$((NR_BUSY + (open > 0)))
		NR_AGAIN=$((NR_AGAIN + open))
		nap 0 1000
		serve "$1"
		wait_for "[ \"\$(server_status reconnects)\" -ge $i ]" 20
	done
}

# What a server had not answered has come to one of its successors.
all_sent_again() {
	local n lost
	for n in $(seq "$1" $((NR_STARTS - 1))); do
		lost=$(comm -23 <(unanswered "$LAB/server.log.$n" | sort -u) \
			<(for later in $(seq $((n + 1)) "$NR_STARTS"); do
				calls "$LAB/server.log.$later"
			done | sort -u))
		assert_eq "$lost" '' "requests of server $n not sent again"
	done
}

# ext4_under_kills KIND COUNT
ext4_under_kills() {
	local first
	note "a $1 server, killed $2 times"
	img=$(image "$1.img" 32M)
	mkfs.ext4 -q "$img"
	serve "$1"
	first=$NR_STARTS
	attach g1 xvdb "$TARGET"
	load_start g1
	kill_under_load "$1" "$2"
	note 'the last one lives'
	load_finish g1
	NR_RESENT=$((NR_RESENT + $(server_status resent)))
	all_sent_again "$first"
	# With it goes what no FLUSH has made it write.
	[ "$1" = file ] || server_kill
	detach g1 xvdb
	server_stop
	load_check "$img"
	note 'checked'
}

# lost_writes COUNT: acknowledged writes that are gone with the server are
# there when a FLUSH is.
lost_writes() {
	local was sum resent=0
	note 'acknowledged writes, lost before they are flushed'
	img=$(image lost.img 2M)
	serve volatile
	attach g1 xvdb "$TARGET"
	for _ in $(seq "$1"); do
		was=$(sha256sum <"$img")
		sum=$(guest_run g1 'dd if=/dev/urandom of=/tmp/data bs=64k \
				count=32 2>/dev/null
			dd if=/tmp/data of=/dev/xvdb bs=64k oflag=direct \
				2>/dev/null && sha256sum </tmp/data')
		server_kill
		assert_eq "$(sha256sum <"$img")" "$was" \
			'the server is not volatile: the image'
		guest_start g1 flush 'sync /dev/xvdb'
		nap 0 1000
		serve volatile
		guest_await g1 flush 30 || fail 'the flush failed'
		server_kill
		assert_eq "$(sha256sum <"$img")" "$sum" 'the image after FLUSH'
		serve volatile
		# shellcheck disable=SC2016 # wait_for evaluates it
		wait_for '[ "$(server_status state)" = connected ]' 20
		[ "$(server_status resent)" -gt "$resent" ] ||
			fail 'nothing was sent again'
		resent=$(server_status resent)
	done
	assert_eq "$(guest_io_errors g1)" 0 'I/O errors in the guest'
	detach g1 xvdb
	server_kill
	note "$1 times 2 MiB lost; $resent writes sent again"
}

ext4_under_kills file "$(scale 4 20)"
ext4_under_kills volatile "$(scale 2 20)"
note "kills: $NR_KILLS, with requests in flight: $NR_BUSY"
note "requests in flight sent again: $NR_AGAIN," \
	"acknowledged writes sent again: $NR_RESENT"
[ $((NR_BUSY * 100)) -ge $((NR_KILLS * 80)) ] ||
	fail 'too few kills had requests in flight'
lost_writes "$(scale 3 20)"
