# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# An image in dom0's tmpfs, which is read out of a mapping: holes stay holes, what
# is written is read, a worker that is killed is nothing to the guest, and an
# image that is cut short is an error and not the worker's end.

daemon_need
guest_need g1 pv
img=$LAB/in-memory.img
rm -f "$img"
truncate -s 64M "$img"

blocks() {
	stat -c %b "$img"
}

# Of the image, by the worker; 0 or more.
mapped_kilobytes() {
	awk '/in-memory.img/ { on = 1 } /^VmFlags/ { on = 0 }
		on && /^Rss/ { sum += $2 } END { print sum + 0 }' \
		"/proc/$(worker_pids)/smaps"
}

read_all='dd if=/dev/xvdb of=/dev/null bs=1M iflag=direct 2>/dev/null'

attach g1 xvdb "$img"
guest_run g1 "$read_all && $read_all"
assert_eq "$(blocks)" 0 'blocks of an image that was only read'
guest_run g1 "blkverify write /dev/xvdb --bytes=$(scale 16M 256M) \
	--seed=$RANDOM --min=512 --max=1M --depth=1..32" "$(scale 90 400)" |
	tee "$LAB/in-memory.out"
guest_run g1 "$read_all && $read_all"
[ "$(mapped_kilobytes)" -ge 1024 ] || fail 'nothing of it is mapped'
note "$(mapped_kilobytes) KiB are mapped, of $(($(blocks) / 2)) that there are"

guest_start g1 load 'exec blkbench /dev/xvdb randread 4096 32 60'
before=$(xen-diskctl stat --json | jq '.[0].requests.read')
for ((kills = 1; kills <= $(scale 3 20); kills++)); do
	wait_for "[ \$(xen-diskctl stat --json |
		jq '.[0].requests.read') -ge $((before + kills * 500)) ]" 30
	kill -KILL "$(worker_pids)"
done
wait_for "[ \$(xen-diskctl stat --json |
	jq '.[0].requests.read') -ge $((before + kills * 500)) ]" 30
guest_run g1 'killall blkbench'
guest_await g1 load 30
detach g1 xvdb
assert_eq "$(blkverify sum "$img")" \
	"$(grep '^digest' "$LAB/in-memory.out")" 'the image'

# All of it is there, and mapped; then 2 MiB are not.
blkverify sum "$img" >/dev/null
dd if=/dev/urandom of="$img" bs=1M count=64 conv=notrunc 2>/dev/null
attach g1 xvdb "$img"
guest_run g1 "$read_all && blkdiscard -o 1048576 -l 2097152 /dev/xvdb &&
	$read_all && $read_all"
assert_eq "$(blocks)" $((62 * 2048)) 'blocks after a discard'

worker=$(worker_pids)
truncate -s 32M "$img"
guest_run g1 "$read_all" && fail 'what was cut off was read'
guest_run g1 'dd if=/dev/xvdb of=/dev/null bs=1M count=32 iflag=direct \
	2>/dev/null'
assert_eq "$(worker_pids)" "$worker" 'the worker'
truncate -s 64M "$img"
detach g1 xvdb
rm -f "$img"
