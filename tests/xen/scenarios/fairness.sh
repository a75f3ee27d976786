# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 600
#
# Two guests that both want all there is get 40 to 60 per cent each, as the
# daemon counts it over the same seconds.

daemon_need
guest_need g1 pv
guest_create other pv
seconds=$(scale 10 60)
for name in g1 other; do
	img=$(image "fair-$name.img" 32M)
	dd if=/dev/urandom of="$img" bs=1M count=32 conv=notrunc 2>/dev/null
	attach "$name" xvdb "$img"
done

# shares LOAD BYTES DEPTH
shares() {
	local name rates share
	for name in g1 other; do
		guest_start "$name" load "rm -f /run/enough
			until [ -e /run/enough ]; do
				blkbench /dev/xvdb $1 $2 $3 5 || exit 1
			done"
	done
	wait_for "[ \"\$(xen-diskctl stat --json | jq '[.[].requests.in_flight |
		select(. > 0)] | length')\" = 2 ]" 20
	# The first of the arrays that it goes on to print.
	rates=$({ timeout $((seconds * 2)) xen-diskctl stat --json \
		--watch="$seconds" || true; } | jq -s -c \
		'.[0] | map(.requests.read + .requests.write)')
	share=$(jq '.[0] * 100 / (.[0] + .[1]) | floor' <<<"$rates")
	note "$1 of $2, $3 at once: $rates a second, $share per cent"
	for name in g1 other; do
		guest_run "$name" 'touch /run/enough'
	done
	for name in g1 other; do
		guest_await "$name" load 60 >/dev/null
	done
	[ "$share" -ge 40 ] && [ "$share" -le 60 ] ||
		fail "the first one has $share per cent"
}

shares randread 4096 32
shares seqread 131072 8
[ -z "$SOAK" ] || shares randwrite 4096 32
detach g1 xvdb
detach other xvdb
guest_destroy other
