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

attach_refused /root/images/absent.img 'absent.img.*No such file'
attach_refused /root/images 'images.*([Ii]s a directory|directory)'
attach_refused /mnt/ro-fs.img 'ro-fs.img.*([Rr]ead-only|denied)'
attach_refused "$ro" 'ro.img.*read-only'
attach_refused "$fixed" 'fixed.img.*not permitted'
chattr -i "$fixed"
attach_refused floppy:/root/x 'floppy.*([Uu]nknown|no .*provider)'
attach_refused /root/images/short.img 'short.img.*512'
attach_refused '' '(empty|no target)'
umount /mnt

note 'the same image, writable, for another guest'
attach g2 xvdb "$good"
attach_refused "$good" 'good.img.*same image'
attach_refused "file:$good" 'good.img.*same image'
detach g2 xvdb

note 'and after all that a good one works'
attach g1 xvdb "$good"
detach g1 xvdb
