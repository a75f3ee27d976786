# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# image: xen-4.20
# timeout: 240
#
# Path A: xl's backendtype=tap, a kind of node that the kernel has no driver for.
# So xen-blkback is there all the time, and has a disk of its own.

# shellcheck source=/dev/null
. /lab/lib-git.sh
path_a
daemon_need
guest_need g1 pv
blkback_load
assert_match "$(xl info)" 'xen_version +: 4\.20' 'xl info'
before=$(xen_counters)

note 'a file, beside a disk of xen-blkback'
img=$(image a.img 64M)
theirs=$(image theirs.img 16M)
attach g1 xvdb "$img"
xl block-attach g1 "vdev=xvdc,backendtype=phy,script=block,target=$theirs"
guest_disk g1 xvdc
node=$(backend_dir g1 xvdb)
assert_eq "$(xs "$node/params")" "aio:$img" 'params'
assert_eq "$(xs "$node/sectors")" 131072 'sectors'
assert_match "$(xl block-list g1)" "51728 +0 +[0-9]+ +4.*$node" 'xl block-list'
assert_eq "$(xen-diskctl list --json | jq -r '.[] | .kind + " " + .target')" \
	"vbd3 $img" 'xen-diskctl list'
guest_start g1 theirs 'blkverify load /dev/xvdc 5 --max=256K'
guest_run g1 "blkverify write /dev/xvdb --bytes=$(scale 8M 64M) \
	--seed=$RANDOM --min=512 --max=1M --depth=1..64" 150 |
	tee "$LAB/verify.out"
guest_await g1 theirs
detach g1 xvdb
assert_eq "$(blkverify sum "$img")" "$(grep '^digest' "$LAB/verify.out")" \
	'the image'
detach g1 xvdc

note 'a commit'
repo=$(repository a.git)
repository_fill "$repo" 30 by-path-a
disk_sums "$repo" main >"$LAB/by-path-a"
attach g1 xvdb "git:$repo?ref=main" access=ro
same_files g1 ro,utf8 "$LAB/by-path-a"
guest_run g1 'umount /mnt'
xen-diskctl detach g1 xvdb
guest_no_disk g1 xvdb
wait_for '[ -z "$(losetup -n -l)" ]' 10
assert_eq "$(xen_counters)" "$before" 'counts of the hypervisor'
host_clean

note 'what is refused, and why, in the words of xl'
attach_refused /root/images/absent.img 'absent.img.*No such file'
attach_refused floppy:/root/x 'floppy.*([Uu]nknown|no .*provider)'
attach_refused "$img" 'vhd' format=vhd
guest_create g2 pv "$(disk_spec xvdb "$img")"
attach_refused "$img" 'a.img.*same image'

note 'a guest that has it from the start, destroyed while it writes'
guest_disk g2 xvdb
guest_start g2 load 'blkverify load /dev/xvdb 600 --max=256K'
guest_run g2 'until [ "$(awk "{ print \$7 }" /sys/block/xvdb/stat)" -gt 500 ]
	do usleep 50000; done' 30
guest_destroy g2
host_clean
blkback_unload
