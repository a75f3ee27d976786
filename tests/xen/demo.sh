#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The demonstration behind `make demo`: real Xen, a PV guest, a disk that
# xen-diskd serves to it, and another that it makes of a git repository.
#
#	demo.sh --dest DIR
#
# DIR is a tree that `make install DESTDIR=DIR` made.  Every step is printed as
# a person would type it, with what it answered.  What decides is a nonce made
# here, now: the guest writes it to its disk, and it must be in the image after
# the disk was detached; it is committed, and the guest must read it.

set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=host-lib.sh
. "$here/host-lib.sh"

if [ "${1:-}" != --dest ] || [ ! -d "${2:-}" ]; then
	echo 'usage: demo.sh --dest DIR' >&2
	exit 2
fi
DEST=$2
DOMAIN=g1
IMAGE=/root/demo.img
DISK="vdev=xvdb,backendtype=phy,script=block-xen-diskd,target=$IMAGE"
NOTES=/root/notes
GIT_DISK='vdev=xvdb,backendtype=phy,script=block-xen-diskd,access=ro'
GIT_DISK+=",target=git:$NOTES?ref=main"

step() {
	printf '\n[%3ds] == %s\n' "$SECONDS" "$*"
}

failed() {
	printf '\n[%3ds] DEMO FAILED: %s\n' "$SECONDS" "$*"
	if [ -n "$LAB_PID" ]; then
		echo '--- what xen-diskd said last:'
		dom0_run 'tail -n 40 /run/lab/xen-diskd.log' 20
	fi
	lab_console_tail 15
	exit 1
}

# Runs a command in dom0, shows its output and keeps it in ANSWER.
answered() {
	local status=0
	ANSWER=$(dom0_run "$2" "$3") || status=$?
	[ -z "$ANSWER" ] || printf '%s\n' "$ANSWER"
	[ "$status" = 0 ] || failed "$1 ended with status $status"
}

# Shows a command at dom0's prompt and runs it there.
dom0() {
	printf 'dom0# %s\n' "$1"
	answered "dom0: '$1'" "$1" "${2:-60}"
}

# Shows a command at the guest's prompt and runs it there.
guest() {
	local quoted
	printf -v quoted '%q' "$1"
	printf 'guest# %s\n' "$1"
	answered "guest: '$1'" ". /lab/lib.sh; guest_run $DOMAIN $quoted 30" 60
}

quiet() {
	dom0_run "$1" "${2:-60}" || failed "$3"
}

# Files that were there before the demo: this project's own.
real_files() {
	local top=$here/../..
	(cd "$top" && find README.md LICENSE man -type f 2>/dev/null)
}

pack_files() {
	local top=$here/../.. dir=$DEST_COPY/root/demo-files
	mkdir -p "$dir"
	real_files | (cd "$top" && cpio -pdm --quiet "$dir") ||
		failed 'cannot copy the files for the image'
	[ -n "$(real_files)" ] || failed 'no files to make an image from'
}

bring_up() {
	step 'the lab image (built once from Debian packages)'
	"$here/image.sh" "$LAB_IMAGE" || failed 'no lab image'
	echo "image: $(cut -c1-16 "$LAB_IMAGE/stamp")"
	step 'the payload: this tree as installed'
	DEST_COPY=$(mktemp -d "${TMPDIR:-/var/tmp}/xen-demo.XXXXXX")
	cp -a "$DEST/." "$DEST_COPY/"
	pack_files
	lab_prepare_temporary "$DEST_COPY" || failed 'cannot make the payload'
	rm -rf "$DEST_COPY"
	step 'booting Xen and dom0 under emulation'
	lab_boot || failed 'Xen did not boot'
	dom0 "xl info | grep -E '^(xen_version|total_memory|release)'"
}

serve_disk() {
	step 'xen-diskd starts in dom0'
	echo 'dom0# xen-diskd &'
	quiet '. /lab/lib.sh; daemon_start' 40 'xen-diskd does not start'
	dom0 'pgrep -al xen-diskd'
	step 'a PV Linux guest'
	quiet ". /lab/lib.sh; guest_config $DOMAIN pv >/root/$DOMAIN.cfg" 20 \
		'no configuration'
	dom0 "grep -E '^(name|type|kernel|memory)' /root/$DOMAIN.cfg"
	echo "dom0# xl create $DOMAIN.cfg"
	quiet ". /lab/lib.sh; guest_create $DOMAIN pv" 90 'the guest is not up'
	dom0 'xl list'
	step 'an image with a file system made from real files'
	dom0 "truncate -s 64M $IMAGE"
	dom0 "mkfs.ext4 -q -d /root/demo-files $IMAGE && ls -ls $IMAGE"
}

use_disk() {
	step 'the disk goes to the guest'
	dom0 "xl block-attach $DOMAIN '$DISK'"
	quiet ". /lab/lib.sh; guest_disk $DOMAIN xvdb" 30 \
		'the guest sees no disk'
	dom0 "xl block-list $DOMAIN"
	dom0 'xen-diskctl list'
	step 'the guest uses it'
	guest 'mount -t ext4 /dev/xvdb /mnt'
	guest 'ls -lR /mnt'
	guest 'head -n 12 /mnt/README.md'
	local sum='find . -type f | sort | xargs cat | sha256sum' read_by_guest
	guest "cd /mnt && $sum"
	read_by_guest=$ANSWER
	dom0 "cd /root/demo-files && $sum"
	[ "$ANSWER" = "$read_by_guest" ] ||
		failed 'the guest read other bytes than the files hold'
	guest "echo $NONCE >/mnt/from-the-guest"
	guest 'umount /mnt'
	step 'the disk goes away'
	dom0 "xl block-detach $DOMAIN xvdb"
	dom0 "xl block-list $DOMAIN"
}

judge() {
	step 'what the guest wrote is in the image'
	dom0 "e2fsck -fn $IMAGE"
	dom0 "debugfs -R 'cat /from-the-guest' $IMAGE 2>/dev/null"
	[ "$ANSWER" = "$NONCE" ] ||
		failed "the image holds '$ANSWER', the guest wrote '$NONCE'"
}

# commit TEXT MESSAGE
commit() {
	dom0 "echo '$1' >$NOTES/hello.txt"
	dom0 "cd $NOTES && git add hello.txt && git commit -q -m '$2'"
	dom0 "git -C $NOTES log --oneline"
}

# The guest must find this text in the disk's file.
read_notes() {
	dom0 "xl block-attach $DOMAIN '$GIT_DISK'"
	quiet ". /lab/lib.sh; guest_disk $DOMAIN xvdb &&
		guest_run $DOMAIN 'until [ -b /dev/xvdb1 ]; do
			usleep 50000; done'" 30 'the guest sees no partition'
	dom0 'xen-diskctl list'
	guest 'mount -t vfat -o ro,utf8 /dev/xvdb1 /mnt'
	guest 'ls -l /mnt'
	guest 'cat /mnt/hello.txt'
	[ "$ANSWER" = "$1" ] ||
		failed "the guest read '$ANSWER', committed was '$1'"
	guest 'umount /mnt'
	dom0 "xl block-detach $DOMAIN xvdb"
}

serve_git() {
	step 'a git repository with a file'
	dom0 'git config --global user.name "A person"'
	dom0 'git config --global user.email person@example.org'
	dom0 "git init -q --initial-branch=main $NOTES"
	commit "hello, $NONCE" 'A file'
	step 'the guest reads it on a vfat disk'
	read_notes "hello, $NONCE"
	step 'another commit; the disk, attached again, has it'
	commit "hello again, $NONCE" 'Another content'
	read_notes "hello again, $NONCE"
}

# Not the guest's, not dom0's: nobody could know it before this run.
NONCE=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
bring_up
serve_disk
use_disk
judge
serve_git
lab_stop
printf '\n[%3ds] DEMO PASSED: %s was written by the guest and is in the image,
	was committed and was read by the guest\n' "$SECONDS" "$NONCE"
