#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# xen-diskctl and the hotplug script without a daemon, and xen-diskctl against
# a daemon that answers badly.  What the real daemon answers is tested with it.
# Prints TAP.
#
# Environment: BIN, the directory of xen-diskctl; TEST_BIN, that of ctl-answer;
# TOP, the top of the source tree.

set -eu

: "${BIN:?}" "${TEST_BIN:?}" "${TOP:?}"
# shellcheck source=tests/ctl/tap.sh
. "$TOP/tests/ctl/tap.sh"

ctl=$(realpath "$BIN")/xen-diskctl
answer=$(realpath "$TEST_BIN")/ctl-answer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sock=$work/s
export LC_ALL=C.UTF-8

# Runs a command; status, out and err are what came of it.
run() {
	status=0
	"$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	out=$(cat "$work/out")
	err=$(cat "$work/err")
}

# Starts the bad daemon with the answer in file $1, and waits for its socket.
# The fifo is opened for writing by it alone, so reading it waits.
serve() {
	local word
	rm -f "$work/said"
	mkfifo "$work/said"
	# Without our own end of a fifo that it is to see the end of.
	"$answer" "$sock" "${2:-0}" < "$1" > "$work/said" 2>&1 7>&- &
	exec 8< "$work/said"
	read -r word <&8
	expect 'fake daemon' "$word" listening
}

# The request that the bad daemon got.
request() {
	local line
	read -r line <&8
	exec 8<&-
	printf '%s' "$line"
}

# with_answer ANSWER ARGUMENT...: runs xen-diskctl with the bad daemon.
with_answer() {
	printf '%s' "$1" > "$work/answer"
	shift
	serve "$work/answer"
	run "$ctl" --socket="$sock" "$@"
	sent=$(request)
}

milliseconds() {
	date +%s%3N
}

### command line

usage() {
	run "$ctl" "$@"
	expect status "$status" 2
	expect output "$out" ''
	expect_match 'standard error' "$err" '^xen-diskctl: '
}

check 'no command is a usage error' usage
check 'an unknown command is a usage error' usage frobnicate
check 'an unknown option is a usage error' usage list --frobnicate
check 'an option of another command is a usage error' usage list --force
check 'an unknown letter is a usage error' usage list -x
check 'an option without its value is a usage error' usage list --socket
check 'a value for an option without one is a usage error' usage list --json=1
check 'list with an operand is a usage error' usage list x
check 'attach with two operands is a usage error' usage attach g1 xvdb
check 'attach with four operands is a usage error' usage attach g1 xvdb /x y
check 'detach with one operand is a usage error' usage detach g1
check 'stat with one operand is a usage error' usage stat g1
check 'stat --watch=0 is a usage error' usage stat --watch=0
check 'stat --watch=soon is a usage error' usage stat --watch=soon
check 'resize with one operand is a usage error' usage resize g1
check 'upgrade with one operand is a usage error' usage upgrade g1
check 'limit without a limit is a usage error' usage limit g1 xvdb
check 'limit of something else is a usage error' usage limit g1 xvdb mbps=1
check 'limit that is no assignment is a usage error' usage limit g1 xvdb iops
check 'an unknown hotplug action is a usage error' usage hotplug online x
check 'help of an unknown command is a usage error' usage help frobnicate
check 'text that is not UTF-8 is a usage error' \
	usage attach g1 xvdb $'/x\xff'

offender() {
	run "$ctl" list -qx
	expect_match 'standard error' "$err" "option '-q'"
	run "$ctl" list --frobnicate x
	expect_match 'standard error' "$err" "option '--frobnicate'"
}
check 'a usage error names the option' offender

version() {
	run "$ctl" --version
	expect status "$status" 0
	expect_match output "$out" '^xen-diskctl [0-9]+\.[0-9]+'
}
check '--version shows the version' version

every_help() {
	local command
	run "$ctl" help
	expect status "$status" 0
	for command in list stat attach detach resize limit upgrade hotplug \
		setup-modprobe version help
	do
		expect_match help "$out" "^  $command "
	done
	for command in list stat attach detach resize limit upgrade hotplug \
		setup-modprobe version help
	do
		run "$ctl" "$command" --help
		expect status "$status" 0
		expect_match "$command --help" "$out" \
			"^usage: xen-diskctl $command"
	done
}
check 'every command has help' every_help

long_lines() {
	local command
	for command in '' list stat attach detach resize limit upgrade hotplug \
		setup-modprobe version
	do
		# shellcheck disable=SC2086
		run "$ctl" help $command
		if grep -E '.{81}' "$work/out"; then
			return 1
		fi
	done
}
check 'no help line is longer than 80 columns' long_lines

full_device() {
	status=0
	"$ctl" help > /dev/full 2> "$work/err" || status=$?
	expect status "$status" 1
	expect_match 'standard error' "$(cat "$work/err")" 'No space left'
}
check 'output that cannot be written is a failure' full_device

### no daemon

# unreachable PATTERN ARGUMENT...: exit code 3 within two seconds.
unreachable() {
	local pattern=$1 begin
	shift
	begin=$(milliseconds)
	run "$ctl" "$@"
	expect status "$status" 3
	[ $(($(milliseconds) - begin)) -lt 2000 ]
	expect_match 'standard error' "$err" "$pattern"
	expect lines "$(wc -l < "$work/err")" 1
}

check 'without a daemon list fails within 2 s, with path, cause and cure' \
	unreachable "'$work/none'.*No such file.*systemctl start" \
	--socket="$work/none" list
check 'without a daemon attach fails within 2 s' \
	unreachable 'No such file' attach --socket="$work/none" g1 xvdb /x
check 'without a daemon detach fails within 2 s' \
	unreachable 'No such file' detach --socket="$work/none" g1 xvdb
check 'without a daemon hotplug remove fails within 2 s' \
	unreachable 'No such file' hotplug remove --socket="$work/none" x
check 'without a daemon version fails within 2 s' \
	unreachable 'No such file' version --socket="$work/none"
check 'a socket path that is too long is told' \
	unreachable 'File name too long' \
	--socket="/$(printf '%0108d' 0)" list

dead_socket() {
	# What a daemon that was killed leaves behind: bound, nobody listens.
	printf '{"ok":true,"vbds":[]}\n' > "$work/answer"
	serve "$work/answer"
	run "$ctl" --socket="$sock" list
	expect status "$status" 0
	request > /dev/null
	unreachable 'Connection refused' --socket="$sock" list
}
check 'a socket left behind by a dead daemon is told' dead_socket

# hotplug_waits SOCKET: there is no daemon at SOCKET yet.
hotplug_waits() {
	local sock=$1 pid
	"$ctl" --socket="$sock" hotplug add backend/vbd/1/51728 &
	pid=$!
	# It has found no daemon when it sleeps; no event tells that it does.
	for _ in $(seq 200); do
		kill -0 "$pid"
		grep -Pzq 'Name:\txen-diskctl\n(.*\n)*State:\tS' \
			"/proc/$pid/status" && break
		sleep 0.05
	done
	grep -P 'State:\tS' "/proc/$pid/status"
	printf '{"ok":true}\n' > "$work/answer"
	serve "$work/answer"
	wait "$pid"
	expect request "$(request)" \
		'{"command":"hotplug-add","path":"backend/vbd/1/51728"}'
}

hotplug_waits_for_restart() {
	printf '{"ok":true,"vbds":[]}\n' > "$work/answer"
	serve "$work/answer"
	run "$ctl" --socket="$sock" list
	request > /dev/null
	[ -S "$sock" ]
	hotplug_waits "$sock"
}
check 'hotplug add waits for a daemon that comes later' \
	hotplug_waits "$work/late"
check 'hotplug add waits for a daemon that is being restarted' \
	hotplug_waits_for_restart

### requests and answers

# sends REQUEST ARGUMENT...: what a command sends, white space left out.
sends() {
	local wanted=${1//[[:space:]]/}
	shift
	with_answer $'{"ok":true,"vbds":[],"version":"9.8"}\n' "$@"
	expect status "$status" 0
	expect request "$sent" "$wanted"
}

requests() {
	sends '{"command":"list"}' list
	sends '{"command":"attach", "domain":"g1", "vdev":"xvdb",
		"target":"/x.img", "readonly":false}' attach g1 xvdb /x.img
	sends '{"command":"attach", "domain":"7", "vdev":"xvdb",
		"target":"file:/a\nb\"", "readonly":true}' \
		attach 7 xvdb $'file:/a\nb"' --readonly
	sends '{"command":"detach", "domain":"g1", "vdev":"xvdb",
		"force":false}' detach g1 xvdb
	sends '{"command":"detach", "domain":"g1", "vdev":"xvdb",
		"force":true}' detach --force g1 xvdb
	sends '{"command":"stat"}' stat
	sends '{"command":"stat", "domain":"g1", "vdev":"xvdb"}' stat g1 xvdb
	sends '{"command":"limit", "domain":"g1", "vdev":"xvdb",
		"iops":"500"}' limit g1 xvdb iops=500
	sends '{"command":"limit", "domain":"g1", "vdev":"xvdb",
		"bps":"10M", "iops":""}' limit g1 xvdb bps=10M iops=
	sends '{"command":"hotplug-remove", "path":"backend/vbd/1/51728"}' \
		hotplug remove backend/vbd/1/51728
	sends '{"command":"version"}' version
	expect_match output "$out" '^xen-diskd 9\.8$'
}
check 'each command sends its request' requests

resize() {
	local request='{"command":"resize","domain":"g1","vdev":"xvdb","shrink":'
	with_answer $'{"ok":true,"size_bytes":1048576}\n' resize g1 xvdb
	expect status "$status" 0
	expect request "$sent" "${request}false}"
	expect output "$out" '1048576 bytes'
	with_answer $'{"ok":true,"size_bytes":512}\n' resize --shrink g1 xvdb
	expect request "$sent" "${request}true}"
	with_answer $'{"ok":true,"size_bytes":"512"}\n' resize g1 xvdb
	expect status "$status" 3
	expect_match 'standard error' "$err" 'no size'
}
check 'resize tells the size' resize

refusal() {
	with_answer $'{"ok":false,"error":"no domain g1"}\n' attach g1 xvdb /x
	expect status "$status" 1
	expect 'standard error' "$err" 'xen-diskctl: no domain g1'
	with_answer $'{"ok":false}\n' detach g1 xvdb
	expect status "$status" 1
	expect_match 'standard error' "$err" 'no reason'
}
check 'a refusal is exit code 1 with the reason' refusal

# bad_answer ANSWER PATTERN: exit code 3, saying so.
bad_answer() {
	with_answer "$1" list
	expect status "$status" 3
	expect output "$out" ''
	expect_match 'standard error' "$err" "$2"
}

check 'no answer is exit code 3' bad_answer '' 'closed the connection'
check 'half an answer is exit code 3' \
	bad_answer '{"ok":true' 'closed the connection'
check 'an answer that is not JSON is exit code 3' \
	bad_answer $'what?\n' 'not JSON'
check 'an answer that is no object is exit code 3' \
	bad_answer $'[]\n' 'boolean'
check 'an answer whose ok is a string is exit code 3' \
	bad_answer $'{"ok":"true"}\n' 'boolean'
check 'an answer with two oks is exit code 3' \
	bad_answer $'{"ok":false,"ok":true}\n' 'not JSON'
check 'a list without an array is exit code 3' \
	bad_answer $'{"ok":true,"vbds":{}}\n' 'array'

endless() {
	head -c 17000000 /dev/zero | tr '\0' ' ' > "$work/answer"
	serve "$work/answer"
	run "$ctl" --socket="$sock" list
	expect status "$status" 3
	expect_match 'standard error' "$err" 'longer than 16 MiB'
	request > /dev/null
}
check 'an endless answer is cut off' endless

silent() {
	# A fifo that is open for writing, and stays empty.
	mkfifo "$work/silence"
	exec 7<> "$work/silence"
	serve "$work/silence"
	run "$ctl" --socket="$sock" list
	exec 7>&-
	expect status "$status" 3
	expect_match 'standard error' "$err" 'no answer .* within 10 s'
	request > /dev/null
}
check 'a daemon that hangs is given up' silent

notice() {
	printf '{"ok":true}\n' > "$work/answer"
	serve "$work/answer" 3000
	run "$ctl" --socket="$sock" detach g1 xvdb
	expect status "$status" 0
	expect_match 'standard error' "$err" 'waiting for the guest'
	expect lines "$(wc -l < "$work/err")" 1
	request > /dev/null
}
check 'a detach that takes long says what it waits for' notice

### what is shown

vbd='{"domid":1,"domain":"g1","devid":51728,"vdev":"xvdb","kind":"vbd",
"path":"/local/domain/0/backend/vbd/1/51728","target":"/srv/a.img",
"provider":"file","mode":"w","state":"Connected","worker":{"pid":123,
"status":"connected"},"size_bytes":1610612736,"protocol":"x86_64-abi",
"error":null,"requests":{"read":1,"write":2,"flush":3,"errors":0}}'
vbd=${vbd//$'\n'/}

second='{"domid":12,"domain":"","vdev":"xvda","state":"InitWait",
"mode":"r","size_bytes":512,"target":"/srv/long-name.img","worker":null,
"error":"open failed"}'
second=${second//$'\n'/}

table() {
	with_answer '{"ok":true,"vbds":['"$vbd,$second"']}'$'\n' list
	expect status "$status" 0
	expect table "$out" "\
DOMAIN  VDEV  STATE      MODE  SIZE  TARGET              WORKER
g1      xvdb  Connected  w     1.5G  /srv/a.img          123 connected
12      xvda  InitWait   r     512B  /srv/long-name.img  -
    error: open failed"
}
check 'list shows a table' table

# What is served where it has a name of its own, before what is wrong with it.
versions() {
	local commit=0123456789abcdef0123456789abcdef01234567
	local versioned=${vbd/\"error\":null/\"error\":\"bad\",\"version\":\"$commit\"}
	with_answer '{"ok":true,"vbds":['"$versioned,$vbd"']}'$'\n' list
	expect status "$status" 0
	expect table "$out" "\
DOMAIN  VDEV  STATE      MODE  SIZE  TARGET      WORKER
g1      xvdb  Connected  w     1.5G  /srv/a.img  123 connected
    version: $commit
    error: bad
g1      xvdb  Connected  w     1.5G  /srv/a.img  123 connected"
	local odd='{"version":null},{"version":7},{"version":"'"$evil"'"}'
	with_answer '{"ok":true,"vbds":['"$odd"']}'$'\n' list
	expect status "$status" 0
	expect lines "$(wc -l < "$work/out")" 5
	expect last "$(tail -n 1 "$work/out")" "    version: $shown"
	with_answer '{"ok":true,"vbds":['"$versioned"']}'$'\n' list --json
	expect_match json "$out" "^    \"version\": \"$commit\",\$"
}

# How the server behind a disk is: the state, and the numbers that are not 0.
servers() {
	local server='"server":{"state":"connecting","reconnects":3,"waiting":12,'
	server+='"resent":0}'
	local served=${vbd/\"error\":null/\"error\":\"bad\",\"version\":\"1\",$server}
	with_answer '{"ok":true,"vbds":['"$served,$vbd"']}'$'\n' list
	expect status "$status" 0
	expect table "$out" "\
DOMAIN  VDEV  STATE      MODE  SIZE  TARGET      WORKER
g1      xvdb  Connected  w     1.5G  /srv/a.img  123 connected
    version: 1
    server: connecting, 3 reconnects, 12 requests wait
    error: bad
g1      xvdb  Connected  w     1.5G  /srv/a.img  123 connected"
	with_answer '{"ok":true,"vbds":['"$served"']}'$'\n' list --json
	expect_match json "$out" '^    "server": \{$'
	expect_match json "$out" '^      "waiting": 12,?$'
}

# One server a line, then its line; without one, it has none.
hostile_servers() {
	local server line max=9223372036854775807 long
	long=$(printf '%0100d' 0)
	while IFS=$'\t' read -r server line; do
		with_answer '{"ok":true,"vbds":[{"server":'"$server"'}]}'$'\n' list
		expect "status of $server" "$status" 0
		expect "$server" "$(tail -n +3 "$work/out")" "$line"
		expect 'standard error' "$err" ''
	done <<-END
		null
		7
		"connected"
		[]
		{}	    server: -
		{"state":7}	    server: -
		{"state":"connected"}	    server: connected
		{"state":"x","waiting":-1,"resent":1}	    server: x, 1 acknowledged writes sent again
		{"state":"x","waiting":"2","resent":{}}	    server: x
		{"state":"x","waiting":1.5,"resent":[3]}	    server: x
		{"state":"$evil"}	    server: $shown
		{"state":"$long"}	    server: ${long:0:32}
		{"state":"${long:0:40}","reconnects":$max,"waiting":$max,"resent":$max}	    server: ${long:0:32}, $max reconnects, $max requests wait, $max acknowledged writes sent again
	END
}

### stat

# A disk that has done so much: reads, bytes read, milliseconds throttled.
stat_vbd() {
	local disk='{"domain":"g1","vdev":"xvdb","path":"/a","requests":{
		"read":'$1',"write":2,"flush":3,"discard":0,"errors":0,
		"read_bytes":'$2',"written_bytes":1536,"in_flight":5,
		"slots":64,"grants_mapped":7,"throttled_ms":'$3'},
		"queues":[{"read":'$1',"slots":64}],
		"limits":{"iops":0,"bps":0},"server":null}'
	printf '%s' "${disk//[$'\n\t']/}"
}

stat_titles='DOMAIN  VDEV  READS  WRITES  FLUSHES  DISCARDS  ERRORS  READ'
stat_titles+='  WRITTEN  INFLIGHT  GRANTS  THROTTLED'

stat_table() {
	local disk limited
	disk=$(stat_vbd 12 49152 1500)
	limited=${disk/\"iops\":0,\"bps\":0/\"iops\":500,\"bps\":10485760}
	with_answer '{"ok":true,"vbds":['"$disk,$limited"']}'$'\n' stat
	expect status "$status" 0
	expect table "$out" "\
$stat_titles
g1      xvdb  12     2       3        0         0       48K   1.5K     5/64      7       1500ms
g1      xvdb  12     2       3        0         0       48K   1.5K     5/64      7       1500ms
    limits: iops=500 bps=10M"
	limited=${disk/\"bps\":0/\"bps\":1024}
	with_answer '{"ok":true,"vbds":['"$limited"']}'$'\n' stat g1 xvdb
	expect limit "$(tail -n 1 "$work/out")" '    limits: bps=1K'
	disk=${disk/\"slots\":64,\"grants/\"replayed\":29,\"poisoned\":1,\"fenced_ms\":45,\"slots\":64,\"grants}
	with_answer '{"ok":true,"vbds":['"$disk"']}'$'\n' stat
	expect deaths "$(tail -n 1 "$work/out")" \
		'    deaths: 29 requests carried out again, 1 given up, 45ms waited for I/O under way'
	with_answer '{"ok":true,"vbds":['"$disk"']}'$'\n' stat --json
	expect status "$status" 0
	expect_match json "$out" '^      "throttled_ms": 1500,?$'
}
check 'stat shows a table' stat_table

stat_hostile() {
	local vbds='null,1,[],{"requests":[],"limits":7,"queues":{}}'
	vbds+=',{"requests":{"read":"x","read_bytes":-1,"slots":1.5},"limits":{"iops":-1}}'
	with_answer '{"ok":true,"vbds":['"$vbds"']}'$'\n' stat
	expect status "$status" 0
	expect rows "$(wc -l < "$work/out")" 6
	expect 'standard error' "$err" ''
	with_answer '{"ok":true,"vbds":7}'$'\n' stat
	expect status "$status" 3
}
check 'a stat with members of the wrong type is no harm' stat_hostile

# Differences over the time between two answers, of which the second may be
# late, but not early; one that has become less began anew.  The daemon is
# waited for in between, and is asked a third time in vain.
stat_watch() {
	local second pid reads
	second="$(stat_vbd 1600 4096 250)"
	second+=",$(stat_vbd 30 0 0 | sed 's,"/a","/b",')"
	printf '{"ok":true,"vbds":[%s]}\n' "$(stat_vbd 1000 0 0)" \
		> "$work/answer1"
	printf '{"ok":true,"vbds":[%s]}\n' "$second" > "$work/answer2"
	: > "$work/answer3"
	serve "$work/answer1"
	"$ctl" --socket="$sock" stat --watch=2 > "$work/out" &
	pid=$!
	request > /dev/null
	serve "$work/answer2"
	request > /dev/null
	serve "$work/answer3"
	request > /dev/null
	status=0
	wait "$pid" || status=$?
	expect status "$status" 3
	expect titles "$(sed -n 1p "$work/out")" "$stat_titles"
	expect lines "$(wc -l < "$work/out")" 3
	reads=$(awk 'NR == 2 { print $3 }' "$work/out")
	[ "$reads" -le 300 ] && [ "$reads" -ge 30 ]
	# 5 are in flight now: that is not a second's worth of them.
	expect others "$(awk 'NR == 2 { print $4, $10, $11 }' "$work/out")" \
		'0 5/64 7'
	reads=$(awk 'NR == 3 { print $3 }' "$work/out")
	[ "$reads" -le 15 ] && [ "$reads" -ge 1 ]
}
check 'stat --watch shows what it was in a second' stat_watch

# One size a line: bytes, then what is shown.
sizes() {
	local bytes shown
	while read -r bytes shown; do
		with_answer '{"ok":true,"vbds":[{"size_bytes":'"$bytes"'}]}'$'\n' \
			list
		expect "$bytes" "$(awk 'NR == 2 { print $5 }' "$work/out")" \
			"$shown"
	done <<-END
		0 0B
		1023 1023B
		1024 1K
		1536 1.5K
		1048575 1023.9K
		67108864 64M
		1099511627776 1T
		9223372036854775807 7.9E
		-1 -
		null -
		"x" -
	END
}
check 'sizes are shown in their unit' sizes

hostile_types() {
	local vbds='null,1,[],"x",{"worker":{"pid":"p"}}'
	vbds+=',{"domain":{},"error":7,"worker":[]}'
	with_answer '{"ok":true,"vbds":['"$vbds"']}'$'\n' list
	expect status "$status" 0
	expect rows "$(wc -l < "$work/out")" 7
	expect 'standard error' "$err" ''
}
check 'members of the wrong type are no harm' hostile_types

# Control characters, C1 in UTF-8 and right-to-left override.
evil='a\u001b[2Jb\rc\nd\u009be\u202ef\u007fg\\h\u00e9'

shown='a\x1b[2Jb\x0dc\x0ad\xc2\x9be\xe2\x80\xaef\x7fg\\hé'

escapes() {
	local vbds='{"domain":"'"$evil"'","error":"'"$evil"'"}'
	with_answer '{"ok":false,"error":"'"$evil"'"}'$'\n' list
	expect status "$status" 1
	expect 'standard error' "$err" "xen-diskctl: $shown"
	with_answer '{"ok":true,"vbds":['"$vbds"']}'$'\n' list
	expect status "$status" 0
	expect lines "$(wc -l < "$work/out")" 3
	if LC_ALL=C grep -aP '[\x00-\x09\x0b-\x1f\x7f]|\xc2\x9b|\xe2\x80\xae' \
		"$work/out"; then
		return 1
	fi
}
check 'control characters from the daemon are escaped' escapes
check 'list shows the version of what is served' versions
check 'list shows how the server behind a disk is' servers
check 'a server that is no such object is no harm' hostile_servers

escapes_bytes() {
	printf '{"ok":false,"error":"\\u00e9"}\n' > "$work/answer"
	serve "$work/answer"
	LC_ALL=C run "$ctl" --socket="$sock" list
	request > /dev/null
	expect 'standard error' "$err" 'xen-diskctl: \xc3\xa9'
}
check 'outside a UTF-8 locale all but ASCII is escaped' escapes_bytes

json() {
	with_answer '{"ok":true,"vbds":['"$vbd"']}'$'\n' list --json
	expect status "$status" 0
	expect first "$(head -n 1 "$work/out")" '['
	expect_match output "$out" '^    "size_bytes": 1610612736,$'
	expect_match output "$out" '^    "error": null,$'
	with_answer '{"ok":true,"vbds":["'"$evil"'"]}'$'\n' list --json
	expect status "$status" 0
	expect string "$(sed -n 2p "$work/out" | tr 'A-F' 'a-f')" \
		'  "a\u001b[2Jb\rc\nd\u009be\u202ef\u007fg\\h\u00e9"'
}
check 'list --json is the array, in ASCII' json

### setup-modprobe

root=$work/root
installed=$root/etc/modprobe.d/xen-diskd.conf
# Where this build looks for the example, as its help tells.
example=$("$ctl" setup-modprobe --help | sed -n 's,^  \(/.*share/.*\)$,\1,p')

fresh_root() {
	rm -rf "$root"
	mkdir -p "$root$(dirname "$example")" "$root/etc"
	cp "$TOP/dist/modprobe.d/xen-diskd.conf" "$root$example"
}

modprobe_yes() {
	fresh_root
	run "$ctl" setup-modprobe --root="$root" --yes
	expect status "$status" 0
	expect_match output "$out" 'What it costs'
	expect_match output "$out" 'not loaded now'
	cmp "$root$example" "$installed"
	expect mode "$(stat -c %a "$installed")" 644
	expect leftovers "$(ls "$root/etc/modprobe.d")" xen-diskd.conf
	run "$ctl" setup-modprobe --root="$root" --yes
	expect 'second time' "$status" 0
	expect_match output "$out" 'in place already'
	run "$ctl" setup-modprobe --root="$root" --undo
	expect undo "$status" 0
	[ ! -e "$installed" ]
	run "$ctl" setup-modprobe --root="$root" --undo
	expect 'second undo' "$status" 0
	expect_match output "$out" 'nothing to undo'
}
check 'setup-modprobe installs, says what it costs, and undoes' modprobe_yes

modprobe_asks() {
	fresh_root
	run "$ctl" setup-modprobe --root="$root"
	expect 'end of input' "$status" 1
	expect_match 'standard error' "$err" 'not confirmed'
	[ ! -e "$installed" ]
	status=0
	echo n | "$ctl" setup-modprobe --root="$root" || status=$?
	expect no "$status" 1
	[ ! -e "$installed" ]
	echo y | "$ctl" setup-modprobe --root="$root"
	cmp "$root$example" "$installed"
}
check 'setup-modprobe without --yes asks' modprobe_asks

modprobe_foreign() {
	fresh_root
	mkdir "$root/etc/modprobe.d"
	echo '# mine' > "$installed"
	run "$ctl" setup-modprobe --root="$root" --yes
	expect install "$status" 1
	expect_match 'standard error' "$err" 'left as it is'
	run "$ctl" setup-modprobe --root="$root" --undo
	expect undo "$status" 1
	expect content "$(cat "$installed")" '# mine'
}
check "setup-modprobe leaves an administrator's file alone" modprobe_foreign

modprobe_old() {
	fresh_root
	mkdir "$root/etc/modprobe.d"
	printf '%s\n' '# Managed by xen-diskctl setup-modprobe.' old \
		> "$installed"
	run "$ctl" setup-modprobe --root="$root" --yes
	expect status "$status" 0
	cmp "$root$example" "$installed"
}
check 'setup-modprobe replaces its own file of an older version' modprobe_old

modprobe_missing() {
	fresh_root
	rm "$root$example"
	run "$ctl" setup-modprobe --root="$root" --yes
	expect status "$status" 1
	expect_match 'standard error' "$err" "open '$root$example': No such"
}
check 'setup-modprobe without its example says so' modprobe_missing

modprobe_loaded() {
	local bound=$root/sys/bus/xen-backend/drivers/vbd
	fresh_root
	mkdir -p "$root/sys/module/xen_blkback"
	run "$ctl" setup-modprobe --root="$root" --yes
	expect_match 'built in' "$out" 'built into this kernel'
	"$ctl" setup-modprobe --root="$root" --undo
	echo live > "$root/sys/module/xen_blkback/initstate"
	mkdir -p "$bound/vbd-3-51712"
	run "$ctl" setup-modprobe --root="$root" --yes
	expect_match loaded "$out" 'modprobe -r xen-blkback'
	expect_match loaded "$out" '^  vbd-3-51712$'
	expect_match loaded "$out" 'Detach them first'
}
check 'setup-modprobe tells whether xen-blkback is loaded' modprobe_loaded

modprobe_config() {
	local out
	out=$(modprobe -C "$TOP/dist/modprobe.d" -c)
	expect_match config "$out" '^blacklist xen_blkback$'
	expect_match config "$out" '^install xen_blkback /bin/false$'
}
check 'modprobe understands the example' modprobe_config

### the hotplug script

tools=$work/tools
store=$work/store
mkdir "$tools" "$store"
# xenstore-list and xenstore-write on a directory; there is no XenStore here.
cat > "$tools/xenstore-list" <<END
#!/bin/sh
ls "$store/\$1"
END
cat > "$tools/xenstore-write" <<END
#!/bin/sh
while [ \$# -gt 1 ]; do
	mkdir -p "$store/\${1%/*}"
	printf '%s' "\$2" > "$store/\$1"
	shift 2
done
END
chmod +x "$tools/xenstore-list" "$tools/xenstore-write"

# As make install makes it, with the stand-ins first in PATH.
script=$work/block-xen-diskd
sed "s,@sbindir@,$tools," "$TOP/dist/block-xen-diskd" > "$script"

# fake_ctl STATUS MESSAGE: xen-diskctl from now on.
fake_ctl() {
	printf '#!/bin/sh\necho "$@" > %s\necho "%s" >&2\nexit %s\n' \
		"$work/called" "$2" "$1" > "$tools/xen-diskctl"
	chmod +x "$tools/xen-diskctl"
}

xenbus=backend/vbd/1/51728
fresh_store() {
	rm -rf "${store:?}"/*
	mkdir -p "$store/$xenbus"
	echo 2 > "$store/$xenbus/state"
}

hotplug() {
	fresh_store
	run env XENBUS_PATH="$xenbus" sh "$script" "$1"
}

hotplug_done() {
	fake_ctl 0 ''
	hotplug add
	expect status "$status" 0
	expect call "$(cat "$work/called")" "hotplug add $xenbus"
	hotplug remove
	expect call "$(cat "$work/called")" "hotplug remove $xenbus"
	expect store "$(ls "$store/$xenbus")" state
}
check 'hotplug script: passes add and remove on' hotplug_done

hotplug_unreachable() {
	# The real command, for its message and its exit code.
	printf '#!/bin/sh\nexec %s --socket=%s list\n' "$ctl" "$work/none" \
		> "$tools/xen-diskctl"
	hotplug add
	expect status "$status" 1
	expect_match hotplug-error "$(cat "$store/$xenbus/hotplug-error")" \
		"^cannot reach xen-diskd at '$work/none': No such file"
	expect hotplug-status "$(cat "$store/$xenbus/hotplug-status")" error
	expect_match 'standard error' "$err" 'cannot reach xen-diskd'
}
check 'hotplug script: an unreachable daemon is told to libxl' \
	hotplug_unreachable

hotplug_reason() {
	fake_ctl 1 'xen-diskctl: no such file'
	fresh_store
	echo "the daemon's" > "$store/$xenbus/hotplug-error"
	run env XENBUS_PATH="$xenbus" sh "$script" add
	expect status "$status" 1
	expect hotplug-error "$(cat "$store/$xenbus/hotplug-error")" \
		"the daemon's"
	hotplug add
	expect status "$status" 1
	expect hotplug-error "$(cat "$store/$xenbus/hotplug-error")" \
		'no such file'
}
check "hotplug script: the daemon's own reason is kept" hotplug_reason

hotplug_missing() {
	rm -f "$tools/xen-diskctl"
	fresh_store
	# The script's own PATH may find an installed one: look before.
	if PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		command -v xen-diskctl > "$work/found"; then
		echo "xen-diskctl is installed: $(cat "$work/found")"
		return 1
	fi
	run env -i XENBUS_PATH="$xenbus" /bin/sh "$script" add
	expect status "$status" 1
	expect_match hotplug-error "$(cat "$store/$xenbus/hotplug-error")" \
		'xen-diskctl.*not found'
}
check 'hotplug script: a missing xen-diskctl is told to libxl' hotplug_missing

hotplug_gone() {
	fake_ctl 3 'xen-diskctl: cannot reach'
	hotplug remove
	expect 'remove' "$status" 0
	expect store "$(ls "$store/$xenbus")" state
	rm -r "${store:?}/backend"
	run env XENBUS_PATH="$xenbus" sh "$script" add
	expect 'add' "$status" 1
	[ ! -e "$store/backend" ]
	fake_ctl 1 'xen-diskctl: still mapped'
	hotplug remove
	expect 'refused remove' "$status" 1
}
check 'hotplug script: never stands in the way of a removal' hotplug_gone

hotplug_usage() {
	fake_ctl 0 ''
	hotplug online
	expect action "$status" 2
	run env -u XENBUS_PATH sh "$script" add
	expect path "$status" 2
}
check 'hotplug script: refuses what libxl does not do' hotplug_usage

tap_end
