# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
#
# What a worker that was taken over gets at of another guest than its own, tried from
# within a worker's walls: docs/architecture.md says what these cannot give, and this
# holds that to be so.  The other guest grants a page to dom0 and offers it a port, as
# each does with a disk; here nobody connects to that.

daemon_need
guest_need g1 pv
guest_create other pv
attach g1 xvdb "$(image walls.img 8M)"
worker=$(xen-diskctl list --json | jq -r '.[] |
	select(.vdev == "xvdb" and .worker.status == "connected") | .worker.pid')
user=$(awk '$1 == "Uid:" { print $2 }' "/proc/$worker/status")
own=$(xl domid g1) other=$(xl domid other)

note 'a worker of g1, from outside'
for line in 'Seccomp: 2' 'NoNewPrivs: 1' 'CapPrm: 0000000000000000' \
	'CapBnd: 0000000000000000'; do
	assert_eq "$(awk -v key="${line%% *}" '$1 == key { print $1, $2 }' \
		"/proc/$worker/status")" "$line" 'its status'
done
assert_eq "$(find "/proc/$worker/root/" -mindepth 1 -printf '%P %y %m %U\n' | sort)" \
	"dev d 755 0
dev/xen d 755 0
dev/xen/evtchn c 600 $user
dev/xen/gntdev c 600 $user" 'its root'
[ "$(readlink "/proc/$worker/ns/net")" != "$(readlink /proc/self/ns/net)" ] ||
	fail 'it has the network of dom0'

note "a disk of the other guest's, half connected"
front=/local/domain/$other/device/vbd/51728
back=/local/domain/0/backend/lab/$other/51728
xenstore-write "$back" '' "$front" ''
xenstore-chmod "$back" n0 "r$other"
xenstore-chmod "$front" "n$other" r0
xenstore-write "$back/frontend" "$front" "$back/frontend-id" "$other" \
	"$back/online" 1 "$back/state" 2
xenstore-write "$front/backend" "$back" "$front/backend-id" 0 \
	"$front/virtual-device" 51728 "$front/device-type" disk "$front/state" 1
wait_xs "$front/state" 3 30

note "grant $(xs "$front/ring-ref") and port $(xs "$front/event-channel") of" \
	"domain $other, tried by user $user for domain $own"
foreign "$user" "$own" "$other" "$(xs "$front/ring-ref")" \
	"$(xs "$front/event-channel")" | tee "$LAB/foreign.out"

# outcome WHAT: of that attempt.
outcome() {
	sed -n "s/^$1: //p" "$LAB/foreign.out"
}

note 'held off: a port of another guest, by a handle that is restricted'
assert_eq "$(outcome 'port, restricted to its own guest')" EACCES 'the port'
assert_eq "$(outcome 'port, restricted to that guest')" yes 'the port is offered'
note 'not held off: the same port, by a handle that it did not restrict'
assert_eq "$(outcome 'port, not restricted')" yes 'the port'
assert_eq "$(outcome 'port, taken already')" EINVAL "that guest's own backend"
note 'not held off: a page of another guest, by gntdev, which has no restriction'
[ "$(outcome 'page, not granted')" != yes ] || fail 'a page that nobody granted'
assert_eq "$(outcome page)" yes 'the page'
assert_eq "$(outcome 'page, words')" '0 1 0 1' 'a ring that is new'

xenstore-rm /local/domain/0/backend/lab
detach g1 xvdb
rm "$LAB/foreign.out"
