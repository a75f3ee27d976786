# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
#
# An image, and a block device, that grow while a guest has them mounted: it
# sees the new size at once.  Smaller ones are refused.

guest_size() {
	guest_run g1 'cat /sys/block/xvdb/size'
}

# resized SECTORS [OPTION...]: the guest has it without doing anything.
resized() {
	local sectors=$1
	shift
	assert_eq "$(xen-diskctl resize "$@" g1 xvdb)" "$((sectors * 512)) bytes" \
		'what resize says'
	guest_run g1 "n=0
		until [ \$(cat /sys/block/xvdb/size) = $sectors ]; do
			n=\$((n + 1)); [ \$n -lt 200 ] || exit 1
			usleep 50000
		done" 15 || fail "the guest sees $(guest_size) sectors, not $sectors"
}

# writes_at SECTOR: one sector, which has reached the image when it returns.
# busybox's dd goes round the page cache in whole pages only: so fsync.
writes_at() {
	guest_run g1 "yes $1 | dd of=/dev/xvdb bs=512 count=1 seek=$1 \
		iflag=fullblock conv=notrunc,fsync 2>&1"
}

daemon_need
guest_need g1 pv
img=$(image resize.img 32M)
attach g1 xvdb "$img"
guest_run g1 'mkfs.ext4 -q /dev/xvdb && mount -t ext4 /dev/xvdb /mnt' 60
guest_start g1 load 'n=0
	until [ -e /run/enough ]; do
		n=$((n + 1))
		dd if=/dev/urandom of=/mnt/f$((n % 20)) bs=4k count=20 \
			conv=fsync 2>/dev/null || exit 1
	done
	echo "$n files"'
truncate -s 64M "$img"
assert_eq "$(guest_size)" 65536 'the size before anybody asked'
resized 131072
truncate -s 100M "$img"
resized 204800
writes_at 204799
assert_eq "$(dd if="$img" bs=512 skip=204799 2>/dev/null | head -n 1)" 204799 \
	'the last sector'
writes_at 204800 && fail 'there is something behind the end'
truncate -s 50M "$img"
assert_fails xen-diskctl resize g1 xvdb
assert_match "$OUTPUT" '--shrink' 'the refusal'
assert_eq "$(guest_size)" 204800 'the size after the refusal'
resized 102400 --shrink
guest_run g1 'touch /run/enough'
guest_await g1 load 30
guest_run g1 'umount /mnt'
detach g1 xvdb
e2fsck -fn "$img"

# The same for a device.
img=$(image resize-device.img 8M)
loop=$(losetup -f --show "$img")
attach g1 xvdb "$loop"
truncate -s 24M "$img"
losetup -c "$loop"
resized 49152
writes_at 49151
detach g1 xvdb
assert_eq "$(dd if="$img" bs=512 skip=49151 2>/dev/null | head -n 1)" 49151 \
	'the last sector of the device'
losetup -d "$loop"
