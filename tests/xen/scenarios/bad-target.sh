# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 200
#
# Faults at attach: each is told in xl's own output within 2 s with its subject
# and cause, and block-detach leaves nothing.

daemon_need
guest_need g1 pv
guest_need g2 pv
good=$(image good.img 8M)
image short.img 1000 >/dev/null
ro=$(image ro.img 8M)
chmod 444 "$ro"
mkdir -p /mnt
mount -t tmpfs -o size=16M tmpfs /mnt
truncate -s 8M /mnt/ro-fs.img
mount -o remount,ro /mnt

# refused TARGET PATTERN [WORD...]
refused() {
	local target=$1 pattern=$2 start end
	shift 2
	start=$(date +%s%N)
	assert_fails timeout 30 xl block-attach g1 \
		"$(disk_spec xvdb "$target" "$@")"
	end=$(date +%s%N)
	note "target '$target': $(grep -m 1 'script:' <<<"$OUTPUT")"
	assert_match "$(grep 'script:' <<<"$OUTPUT")" "$pattern" \
		"what xl says about '$target'"
	[ $(((end - start) / 1000000)) -le 2000 ] ||
		fail "'$target' took $(((end - start) / 1000000)) ms"
	xl block-detach g1 xvdb || true
	host_clean
}

refused /root/images/absent.img 'absent.img.*No such file'
refused /root/images 'images.*([Ii]s a directory|directory)'
refused /mnt/ro-fs.img 'ro-fs.img.*([Rr]ead-only|denied)'
refused floppy:/root/x 'floppy.*([Uu]nknown|no .*provider)'
refused /root/images/short.img 'short.img.*512'
refused '' '(empty|no target)'
umount /mnt

note 'the same image, writable, for another guest'
attach g2 xvdb "$good"
refused "$good" 'good.img.*(in use|already|another)'
refused "file:$good" 'good.img.*(in use|already|another)'
detach g2 xvdb

note 'and after all that a good one works'
attach g1 xvdb "$good"
detach g1 xvdb
