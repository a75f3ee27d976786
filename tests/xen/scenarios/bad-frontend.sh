# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
#
# A frontend that writes nonsense: within 2 s it reads in the vbd's error node
# and in xen-diskctl list; the other disk of the host is served on.  dom0
# plays the frontend: the guest's driver is unloaded, its keys are ours.

daemon_need
guest_need g1 pv
guest_create liar pv
img=$(image liar.img 8M)
other=$(image other.img 8M)
attach g1 xvdb "$other"
guest_run liar 'rmmod xen-blkfront'
front=/local/domain/$(xl domid liar)/device/vbd/51728

# lie WHAT [KEY VALUE]...: keys of a frontend that reaches state 3.
lie() {
	local what=$1 back keys=()
	shift
	xl block-attach liar "$(disk_spec xvdb "$img")"
	back=$(backend_dir liar xvdb)
	keys=(ring-ref 8 event-channel 5 protocol x86_64-abi)
	while [ $# -gt 0 ]; do
		keys+=("$1" "$2")
		shift 2
	done
	local i
	for ((i = 0; i < ${#keys[@]}; i += 2)); do
		xenstore-write -- "$front/${keys[i]}" "${keys[i + 1]}"
	done
	xenstore-write "$front/state" 3
	local end=$((SECONDS + 3))
	until [ -n "$(xs "$back/error")" ]; do
		[ "$SECONDS" -lt "$end" ] || fail "$what: no error node"
		sleep 0.1
	done
	note "$what: $(xs "$back/error")"
	assert_match "$(xen-diskctl list)" '[Ee]rror|fail' \
		"$what: xen-diskctl list"
	xl block-detach liar xvdb --force
	wait_xs "$back" '' 10
	guest_run g1 'dd if=/dev/xvdb of=/dev/null bs=64k count=4 iflag=direct \
		2>/dev/null' || fail "$what: the other disk stopped"
}

lie 'unknown protocol' protocol alpha-abi
lie 'ring-ref that cannot be mapped' ring-ref 4000000000
lie 'ring-ref of nothing' ring-ref 700
lie 'ring-ref that is no number' ring-ref pony
lie 'negative ring-ref' ring-ref -1
lie 'huge ring-ref' ring-ref 99999999999999999999999
lie 'event channel that is no number' event-channel pony
lie 'event channel of nobody' event-channel 900
lie 'ring order beyond ours' ring-page-order 63
lie 'ring order that is no number' ring-page-order pony
lie 'too many queues' multi-queue-num-queues 4294967295
lie 'empty keys' ring-ref '' event-channel ''
detach g1 xvdb
