# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 400
#
# Disks with blocks of 4096 bytes behind a guest that writes any sector of 512:
# a loop device with direct I/O; null_blk, which can discard but cannot make
# zeroes; a file on a file system there.  All are served without the page cache,
# but for a file that ends in the middle of a block.

# Whether what the worker has open of a target is O_DIRECT.
is_direct() {
	local pid fd
	for pid in $(worker_pids); do
		for fd in "/proc/$pid/fd"/*; do
			[ "$(readlink "$fd")" = "$1" ] || continue
			grep -q '^flags:.*[4-7][0-7]\{4\}$' \
				"/proc/$pid/fdinfo/${fd##*/}" && echo yes ||
				echo no
			return
		done
	done
	fail "no worker has $1 open"
}

# serve TARGET FILE [DIRECT]: verified in the guest, and in the file behind it.
# The parts meet in the middle of a block.
serve() {
	attach g4k xvdb "$1"
	assert_eq "$(is_direct "$1")" "${3:-yes}" "direct I/O to $1"
	assert_eq "$(guest_run g4k 'cd /sys/block/xvdb/queue &&
		echo $(cat logical_block_size physical_block_size)')" \
		'512 4096' 'block sizes'
	verify_parts g4k xvdb "$2" 3 --bytes="$(scale 512K 8M)" --min=512 \
		--max=64K --depth=1..32
}

daemon_stop
daemon_start --queues=2
GUEST_VCPUS=2 guest_create g4k pv

img=$(image native.img 4M)
loop=$(losetup -f --show -b 4096 --direct-io=on "$img")
serve "$loop" "$img"
detach g4k xvdb
losetup -d "$loop"

note 'null_blk'
modprobe null_blk nr_devices=0
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
null=/sys/kernel/config/nullb/nullb0
mkdir "$null"
for setting in blocksize=4096 size=16 memory_backed=1 discard=1 power=1; do
	echo "${setting#*=}" >"$null/${setting%=*}"
done
assert_eq "$(cat /sys/block/nullb0/queue/write_zeroes_max_bytes)" 0 \
	'the zeroes that null_blk can make'
serve /dev/nullb0 /dev/nullb0
note 'discards'
cp /dev/nullb0 "$LAB/null.img"
# Not whole blocks: those within.
guest_run g4k "blkdiscard -o $((1048576 + 512)) -l $((4 << 20)) /dev/xvdb"
dd if=/dev/zero of="$LAB/null.img" conv=notrunc bs=4096 seek=257 count=1023 \
	2>/dev/null
detach g4k xvdb
assert_eq "$(sha256sum </dev/nullb0)" "$(sha256sum <"$LAB/null.img")" \
	'the device after the discard'
rm "$LAB/null.img"

note 'a file system that wants blocks'
mkfs.ext4 -q -F -O ^has_journal /dev/nullb0
mkdir -p "$LAB/mnt"
mount /dev/nullb0 "$LAB/mnt"
truncate -s 4M "$LAB/mnt/whole.img"
serve "$LAB/mnt/whole.img" "$LAB/mnt/whole.img"
detach g4k xvdb
truncate -s $(((4 << 20) + 512)) "$LAB/mnt/odd.img"
serve "$LAB/mnt/odd.img" "$LAB/mnt/odd.img" no
detach g4k xvdb
umount "$LAB/mnt"
echo 0 >"$null/power"
rmdir "$null"
modprobe -r null_blk
guest_destroy g4k
daemon_stop
