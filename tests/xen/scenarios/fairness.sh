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

# How many requests each of the two disks has had.
requests() {
	xen-diskctl stat --json |
		jq -c 'map(.requests.read + .requests.write)'
}

# both_have_had MORE BEFORE: so many more than they had then.
both_have_had() {
	jq -n -e --argjson before "$2" --argjson now "$(requests)" --argjson more \
		"$1" '[$now, $before] | transpose | map(.[0] - .[1] >= $more) | all'
}

# shares LOAD BYTES DEPTH
shares() {
	local name turns share before
	before=$(requests)
	# Both saturate for all of the time that counts: a load that ended and
	# began again would leave the other alone meanwhile, and the emulator is
	# slow with what runs for the first time.
	for name in g1 other; do
		guest_start "$name" load \
			"exec blkbench /dev/xvdb $1 $2 $3 $((seconds * 10))"
	done
	wait_for "both_have_had 1000 '$before' >/dev/null" 60
	turns=$({ timeout "$seconds" xen-diskctl stat --json --watch=1 || true; } |
		jq -s -c 'map(map(.requests.read + .requests.write))')
	share=$(jq 'transpose | map(add) | .[0] * 100 / add | floor' <<<"$turns")
	note "$1 of $2, $3 at once: $share per cent, by the second: $(jq -c \
		'map(.[0] * 100 / ([add, 1] | max) | floor)' <<<"$turns")"
	for name in g1 other; do
		guest_run "$name" 'killall blkbench'
	done
	for name in g1 other; do
		guest_await "$name" load 60
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
