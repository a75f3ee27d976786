# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the scenarios of NBD disks share, in dom0; they source it themselves.
#
#	server_start COMMAND...   in the background; SERVER is its process id,
#	                          its output is in $LAB/server.out
#	server_kill               SIGKILL; returns when it is gone
#	server_stop               asks it to go, if it has not gone
#	server_status KEY         of the only disk, as xen-diskctl tells it
#	unix_server SOCKET COMMAND..., tcp_server PORT COMMAND...
#	                          and waits until it listens
#	calls LOG, unanswered LOG what nbdkit's log filter saw come, and of that,
#	                          what it never answered
#
# No server outlives its scenario; host_reset sees to those of a failed one.

SERVER=

server_start() {
	[ -z "$SERVER" ] || fail "a server runs already: $SERVER"
	TMPDIR=$LAB setsid "$@" >"$LAB/server.out" 2>&1 </dev/null 9>&- &
	SERVER=$!
}

# The shell tells of what was killed.
server_reap() {
	wait "$SERVER" 2>/dev/null || true
	SERVER=
}

server_kill() {
	kill -KILL "$SERVER" || fail "the server had ended: $(cat \
		"$LAB/server.out")"
	server_reap
}

server_stop() {
	[ -n "$SERVER" ] || return 0
	kill "$SERVER" 2>/dev/null || true
	server_reap
}

# A server that was killed leaves its socket, and the next finds it in use.
unix_server() {
	local socket=$1
	shift
	rm -f "$socket"
	server_start "$@"
	wait_for "[ -S '$socket' ] || ! kill -0 $SERVER" 10
	[ -S "$socket" ] || fail "$1: $(cat "$LAB/server.out")"
}

tcp_server() {
	local listens
	listens=$(printf ':%04X 0+:0000 0A' "$1")
	shift
	server_start "$@"
	wait_for "grep -qE '$listens' /proc/net/tcp /proc/net/tcp6" 10
}

server_status() {
	xen-diskctl list --json | jq -r ".[0].server.$1"
}

# DATE TIME connection=N ACTION id=N [offset=N count=N fua=N] ...
# DATE TIME connection=N ...ACTION id=N return=N
calls() {
	awk '$4 ~ /^(Read|Write|Flush)$/ { print $4, $6, $7 }' "$1"
}

unanswered() {
	awk '$4 ~ /^(Read|Write|Flush)$/ {
			open[$3 " " $5] = $4 " " $6 " " $7
		}
		$4 ~ /^\.\.\./ { delete open[$3 " " $5] }
		END { for (id in open) print open[id] }' "$1"
}
