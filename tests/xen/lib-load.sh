# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# A file system under load in a guest, for scenarios that kill what serves it,
# in dom0; they source it themselves.
#
#	load_start NAME           on xvdb, which has an ext4
#	load_finish NAME          in the guest all is as it was written, also when
#	                          it is read anew, and no I/O error was seen
#	load_check IMAGE          and in dom0, when the disk is detached
#	nap FROM TO               milliseconds, at random

nap() {
	local ms=$(($1 + RANDOM % ($2 - $1)))
	sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# Files with fsync, three at a time, and beside them random writes and verified
# reads without.
# shellcheck disable=SC2016 # the guest expands it
LOAD='
	writer() {
		i=0
		until [ -e /tmp/stop ]; do
			i=$((i + 1))
			f=w$1.$((i % 8))
			dd if=/dev/urandom of=/tmp/new.$1 bs=1k \
				count=$((i * 7 % 97 + 1)) 2>/dev/null
			dd if=/tmp/new.$1 of=/mnt/$f bs=64k conv=fsync ||
				touch /tmp/failed
			sha256sum </tmp/new.$1 | sed "s/-/$f/" >/tmp/sum.$f
		done 2>/tmp/errors.$1
		echo "writer $1: $i files"
	}
	rm -f /tmp/stop /tmp/failed /tmp/sum.*
	for w in 1 2 3; do
		writer $w &
	done
	until [ -e /tmp/stop ]; do
		blkverify load /mnt/random 2 --max=128K --seed=$RANDOM ||
			touch /tmp/failed /tmp/stop
	done >/tmp/loads 2>&1
	wait
	grep -v " 0 errors" /tmp/loads
	[ ! -e /tmp/failed ]
'

load_start() {
	guest_run "$1" 'mount -t ext4 /dev/xvdb /mnt && dd if=/dev/zero \
		of=/mnt/random bs=64k count=32 conv=fsync 2>/dev/null'
	guest_start "$1" load "$LOAD"
}

# In the guest: all the files have their sums, also read anew.
load_finish() {
	guest_run "$1" 'touch /tmp/stop'
	guest_await "$1" load 60 || fail "the load failed: $(guest_run "$1" \
		'cat /tmp/errors.* /tmp/loads | tail -n 5')"
	guest_run "$1" 'cat /tmp/sum.w* >/tmp/sums
		cd /mnt && sha256sum random >>/tmp/sums && cp /tmp/sums sums
		cd / && umount /mnt && mount -t ext4 /dev/xvdb /mnt &&
		cd /mnt && sha256sum -c -s /tmp/sums && cd / && umount /mnt &&
		sync /dev/xvdb' 60 || fail 'the guest finds other files'
	assert_eq "$(guest_io_errors "$1")" 0 'I/O errors in the guest'
}

load_check() {
	e2fsck -fn "$1"
	mkdir -p "$LAB/mnt"
	mount -o loop,ro "$1" "$LAB/mnt"
	(cd "$LAB/mnt" && sha256sum -c --quiet sums) ||
		fail 'a file has changed'
	umount "$LAB/mnt"
}
