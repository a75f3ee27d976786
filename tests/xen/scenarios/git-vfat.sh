# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 300
# soak-timeout: 1800
#
# Git trees as vfat disks of a Linux guest: the names are those that git-fat
# tells, the bytes are git's, in both ways that Linux has of using UTF-8.  The
# disk cannot be written: the guest's kernel refuses, and what it lets through
# when it is led around its own flag, we refuse.

# shellcheck source=/dev/null
. /lab/lib-git.sh
daemon_need
guest_need g1 pv

# requests KEY: its count for the only disk.
requests() {
	xen-diskctl list --json | jq ".[0].requests.$1"
}

refuse_writes() {
	local read='echo 3 >/proc/sys/vm/drop_caches
		dd if=/dev/xvdb bs=64k count=32 2>/dev/null | sha256sum'
	local before errors
	assert_eq "$(guest_run g1 'blockdev --getro /dev/xvdb')" 1 'the flag'
	guest_run g1 'touch /mnt/new 2>&1' && fail 'a file was made'
	guest_run g1 'mount -o remount,rw /mnt 2>&1' && fail 'remounted'
	guest_run g1 'umount /mnt'
	guest_run g1 'mount -t vfat -o rw /dev/xvdb1 /mnt 2>&1 &&
		touch /mnt/new 2>&1' && fail 'mounted, and a file was made'
	guest_run g1 'umount /mnt 2>/dev/null
		dd if=/dev/urandom of=/dev/xvdb bs=4k count=1 conv=fsync 2>&1' &&
		fail 'the disk was written'

	note 'Linux lets writes through to a read-only disk below dm'
	before=$(guest_run g1 "$read")
	errors=$(requests errors)
	assert_eq "$(requests write)" 0 'writes that came to us'
	guest_run g1 'blockdev --setrw /dev/xvdb
		modprobe dm_mod &&
		echo "0 4096 linear /dev/xvdb 0" | dmsetup create forced \
			--noudevsync --noudevrules'
	guest_run g1 'dd if=/dev/urandom of=/dev/dm-0 bs=4k count=8 \
		oflag=direct 2>&1' && fail 'a forced write succeeded'
	guest_run g1 'dmsetup remove --noudevsync --noudevrules forced'
	[ "$(requests errors)" -gt "$errors" ] || fail 'it never came to us'
	[ "$(guest_io_errors g1)" -ge 1 ] || fail 'the guest had no I/O error'
	assert_eq "$(guest_run g1 "$read")" "$before" 'the disk'
}

# serve REPOSITORY [CONTENTS]: compares both ways, and leaves it attached and
# mounted.  The files of a huge directory are read in a soak only, the two large
# ones twice in a soak only.
serve() {
	local unnamed huge=./many once='[24]0-mib\.' test='! -name [24]0-mib.*'
	[ -z "$SOAK" ] || huge=./none once='^$' test=
	disk_sums "$1" main "${2:-}" | list_unread "$huge" >"$LAB/utf8"
	# With 16 bits a character there is nothing above U+FFFF.
	grep -av $'[\xf0-\xf4]' "$LAB/utf8" |
		grep -av "$once" >"$LAB/iocharset"
	unnamed=$(grep -ac $'[\xf0-\xf4]' "$LAB/utf8") || true
	note "$1: the sums that it should have are known"
	attach g1 xvdb "git:$1?ref=main" access=ro
	same_files g1 ro,utf8 "$LAB/utf8" 0 "$huge"
	guest_run g1 'umount /mnt'
	# Debian's kernel has utf8 as its default.
	same_files g1 ro,utf8=0,iocharset=utf8 "$LAB/iocharset" "$unnamed" \
		"$huge" "$test"
}

serve /lab/torture.git /lab/torture.sums
refuse_writes
detach g1 xvdb

repo=$(repository many.git)
repository_fill "$repo" "$(scale 1000 12000)" many
serve "$repo"
guest_run g1 'umount /mnt'
detach g1 xvdb
assert_eq "$(git -C "$repo" fsck --strict 2>&1)" '' 'the repository'
