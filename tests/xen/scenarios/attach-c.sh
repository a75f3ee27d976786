# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 120
#
# Path C, as the README shows it: xl block-attach with our script, a file
# system written by the guest, xl block-detach, the image in dom0.

daemon_need
guest_need g1 pv
img=$(image c.img 64M)
mkfs.ext4 -q "$img"

before=$(xen_counters)
attach g1 xvdb "$img"
assert_match "$(xl block-list g1)" '51728 +0 +[0-9]+ +4' 'xl block-list'
assert_match "$(xen-diskctl list)" "$(xl domid g1)" 'xen-diskctl list'
xen-diskctl list --json | jq -e . >/dev/null ||
	fail 'xen-diskctl list --json is not JSON'
assert_eq "$(xs "$(backend_dir g1 xvdb)/sectors")" 131072 'sectors'
guest_run g1 'mount -t ext4 /dev/xvdb /mnt && echo hello >/mnt/x &&
	umount /mnt'
detach g1 xvdb
e2fsck -fn "$img"
assert_eq "$(debugfs -R 'cat /x' "$img" 2>/dev/null)" hello 'the file'
assert_eq "$(xen_counters)" "$before" 'counts of the hypervisor'
assert_eq "$(xl block-list g1 | sed 1d)" '' 'xl block-list after detach'
