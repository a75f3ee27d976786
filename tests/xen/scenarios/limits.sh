# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 200
#
# Limits in the target, by plain xl, and set while the guest is at it.

# bench LOAD BYTES DEPTH: fills iops and mbps, without fractions.
bench() {
	local line seconds
	seconds=$(scale 4 20)
	line=$(guest_run g1 "blkbench /dev/xvdb $1 $2 $3 $seconds" \
		$((seconds + 30)))
	note "$1 of $2, $3 at once: $line"
	iops=$(sed 's/^iops=\([0-9]*\).*/\1/' <<<"$line")
	mbps=$(sed 's/.* mbps=\([0-9]*\).*/\1/' <<<"$line")
	assert_match "$line" 'errors=0$' 'the guest'
}

# within NUMBER LEAST MOST WHAT
within() {
	[ "$1" -ge "$2" ] && [ "$1" -le "$3" ] ||
		fail "$4 is $1, not from $2 to $3"
}

daemon_need
guest_need g1 pv
img=$(image limits.img 64M)
dd if=/dev/urandom of="$img" bs=1M count=64 conv=notrunc 2>/dev/null
attach g1 xvdb "file:$img?iops=100&bps=4M"
bench randread 4096 16
within "$iops" 80 104 'requests a second, of 100'
bench seqread 131072 4
within "$mbps" 3 4 'MB a second, of 4.2'
bench randwrite 4096 16
within "$iops" 80 104 'writes a second, of 100'
[ "$(xen-diskctl stat --json g1 xvdb | jq '.[0].requests.throttled_ms')" \
	-gt 1000 ] || fail 'stat does not tell of it'
xen-diskctl limit g1 xvdb iops=30
bench randread 4096 16
within "$iops" 24 31 'requests a second, of 30'
xen-diskctl limit g1 xvdb iops=0 bps=0
bench randread 4096 16
within "$iops" 200 1000000 'requests a second, of any number'
xen-diskctl stat
detach g1 xvdb
