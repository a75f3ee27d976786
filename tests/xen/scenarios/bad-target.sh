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
fixed=$(image fixed.img 8M)
chattr +i "$fixed"
mkdir -p /mnt
mount -t tmpfs -o size=16M tmpfs /mnt
truncate -s 8M /mnt/ro-fs.img
mount -o remount,ro /mnt

# The elapsed milliseconds of xl block-attach, in MS; its output in OUTPUT.
timed_attach() {
	local start status=0
	start=$(date +%s%N)
	OUTPUT=$(timeout 30 xl block-attach g1 "$1" 2>&1) || status=$?
	MS=$((($(date +%s%N) - start) / 1000000))
	return "$status"
}

# refused TARGET PATTERN [WORD...]
refused() {
	local target=$1 pattern=$2 workers
	workers=$(worker_pids | wc -l)
	shift 2
	! timed_attach "$(disk_spec xvdb "$target" "$@")" ||
		fail "'$target' was attached"
	note "$MS ms, '$target': $(grep -m 1 'script:' <<<"$OUTPUT")"
	assert_match "$(grep 'script:' <<<"$OUTPUT")" "$pattern" \
		"what xl says about '$target'"
	xl block-detach g1 xvdb || true
	wait_xs "$(backend_dir g1 xvdb)" '' 10
	wait_xs "/libxl/$(xl domid g1)/device/vbd/51728" '' 10
	wait_for "[ \$(worker_pids | wc -l) = $workers ]" 10
	[ "$MS" -le 2000 ] || fail "'$target' took $MS ms"
}

refused /root/images/absent.img 'absent.img.*No such file'
refused /root/images 'images.*([Ii]s a directory|directory)'
refused /mnt/ro-fs.img 'ro-fs.img.*([Rr]ead-only|denied)'
refused "$ro" 'ro.img.*read-only'
refused "$fixed" 'fixed.img.*not permitted'
chattr -i "$fixed"
refused floppy:/root/x 'floppy.*([Uu]nknown|no .*provider)'
refused /root/images/short.img 'short.img.*512'
refused '' '(empty|no target)'
umount /mnt

note 'the same image, writable, for another guest'
attach g2 xvdb "$good"
refused "$good" 'good.img.*same image'
refused "file:$good" 'good.img.*same image'
detach g2 xvdb

note 'and after all that a good one works'
attach g1 xvdb "$good"
detach g1 xvdb
