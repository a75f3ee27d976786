# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
#
# A guest's root on our disk, named in its configuration; rebooted from inside
# and by xl.

daemon_need
img=$(image root.img 192M)
mkdir -p "$LAB/root"
(cd "$LAB/root" && cpio -idm --quiet </boot/guest/base.cpio &&
	cpio -idmu --quiet </lab/guest/extra.cpio) ||
	fail 'cannot unpack the guest'
touch "$LAB/root/is-root"
mkdir -p "$LAB/root/mnt"
mkfs.ext4 -q -d "$LAB/root" "$img"
rm -rf "$LAB/root"

GUEST_ARGS=lab.root=/dev/xvda guest_create rooted pv \
	"$(disk_spec xvda "$img")"
rooted() {
	guest_run rooted "mount | grep -q '^/dev/xvda on / ' &&
		[ -e /is-root ]" || fail 'the root is not our disk'
}
rooted
guest_run rooted 'echo first >/boots; sync'

for way in inside xl inside; do
	from=$(console_size rooted)
	case $way in
	inside)
		guest_run rooted 'sync
			(usleep 300000; reboot -f) >/dev/null 2>&1 &'
		;;
	xl) xl reboot rooted ;;
	esac
	guest_ready rooted "$from" 90
	rooted
	guest_run rooted "echo $way >>/boots; sync"
done
assert_eq "$(guest_run rooted 'cat /boots' | tr '\n' ' ')" \
	'first inside xl inside ' 'what each boot left'
guest_destroy rooted
host_clean
e2fsck -p "$img" || [ $? = 1 ] || fail 'the file system is damaged'
