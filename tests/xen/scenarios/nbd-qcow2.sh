# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# A qcow2 image, served by qemu-nbd: with the commands of
# xen-diskd-providers(7), word for word.  The guest fills it with a pattern,
# then with a file system.

# shellcheck source=/dev/null
. /lab/lib-nbd.sh
daemon_need
guest_need g1 pv

# The first example below that heading.
example=$(sed -n '/^\.Sy qcow2/,/^\.Ed/p' \
	/usr/share/man/man7/xen-diskd-providers.7 |
	sed '1,/^\.Bd/d; /^\.Ed/d; s/\\e$/\\/; s/\<DOM\>/g1/')
[ -n "$example" ] || fail 'the manual has no example'
printf '%s\n' "$example"

socket=$(sed -n 's/.*--socket=\([^ ]*\).*/\1/p' <<<"$example")
[ -n "$socket" ] || fail 'the example has no socket'

web=/srv/web.qcow2
mkdir -p /srv
qemu-img create -q -f qcow2 "$web" 16M

attach_as_told() {
	unix_server "$socket" bash -c "$(sed '/&$/q' <<<"$example" |
		sed 's/&$//; s/^qemu-nbd /exec &/')"
	eval "$(sed '1,/&$/d' <<<"$example")"
	guest_disk g1 xvdb
}

detach_and_check() {
	assert_eq "$(guest_io_errors g1)" 0 'I/O errors in the guest'
	detach g1 xvdb
	server_stop
	rm -r "$(dirname "$socket")"
	qemu-img check "$web"
}

note 'a pattern'
fill="--bytes=$(scale 4M 64M) --seed=$RANDOM --max=256K --depth=1..16"
attach_as_told
# shellcheck disable=SC2086 # words
guest_run g1 "blkverify write /dev/xvdb $fill" "$(scale 60 300)"
detach_and_check
expected=$(image expected.img 16M)
# shellcheck disable=SC2086
blkverify write "$expected" $fill
qemu-img compare -f qcow2 -F raw "$web" "$expected"

note 'a file system'
attach_as_told
# shellcheck disable=SC2016 # the guest expands it
guest_run g1 'mkfs.ext4 -q -F /dev/xvdb && mount -t ext4 /dev/xvdb /mnt &&
	cd /mnt && for i in 1 2 3 4 5 6 7 8 9; do
		dd if=/dev/urandom of=f$i bs=1k count=$((i * 37)) conv=fsync \
			2>/dev/null || exit 1
	done && sha256sum f* >sums && cd / && umount /mnt' 60
detach_and_check
qemu-img convert -f qcow2 -O raw "$web" "$IMAGES/web.img"
e2fsck -fn "$IMAGES/web.img"
mkdir -p "$LAB/mnt"
mount -o loop,ro "$IMAGES/web.img" "$LAB/mnt"
(cd "$LAB/mnt" && sha256sum -c --quiet sums) || fail 'a file has changed'
umount "$LAB/mnt"
rm "$web"
