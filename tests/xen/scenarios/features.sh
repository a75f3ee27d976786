# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
# soak-timeout: 900
#
# What Linux's frontend can choose of the rings, queues, persistent grants and
# indirect segments: every pair of two choices, and in the soak every
# combination; then what the daemon offers less of.  Each is verified on four
# CPUs at once, and discards.

# One for each CPU is the default, and dom0 has but two.
daemon_stop
daemon_start --queues=4
# The driver has pages for every segment of every slot.
GUEST_VCPUS=4 GUEST_MEM=512 guest_create features pv

# load ORDER QUEUES PERSISTENT SEGMENTS: the driver, with these at most.
load() {
	guest_run features "rmmod xen-blkfront
		modprobe xen-blkfront max_ring_page_order=$1 max_queues=$2 \
			feature_persistent=$3 max_indirect_segments=$4"
}

# negotiated ORDER QUEUES PERSISTENT SEGMENTS: what the disk has come to.
negotiated() {
	local front most
	front=/local/domain/$(xl domid features)/device/vbd/51728
	most=$(xs "$front/ring-page-order")
	assert_eq "${most:-0}" "$1" 'ring-page-order'
	most=$(xs "$front/multi-queue-num-queues")
	assert_eq "${most:-1}" "$2" 'multi-queue-num-queues'
	most=$(($(xs "$front/feature-persistent") *
		$(xs "$(backend_dir features xvdb)/feature-persistent")))
	assert_eq "$most" "$3" 'feature-persistent'
	most=$(guest_run features 'cat /sys/block/xvdb/queue/max_segments')
	assert_eq "$most" "$4" 'segments of a request'
}

# Two megabytes, and not a byte around them.
discards() {
	guest_run features 'rest() {
			for part in count=1 skip=3; do
				dd if=/dev/xvdb bs=1M iflag=direct $part
			done 2>/dev/null | sha256sum
		}
		before=$(rest)
		blkdiscard -o 1048576 -l 2097152 /dev/xvdb
		dd if=/dev/xvdb bs=1M skip=1 count=2 iflag=direct 2>/dev/null |
			tr -d "\000" | wc -c
		[ "$(rest)" = "$before" ]' >"$LAB/discards.out" ||
		fail 'a discard has taken more than it was to'
	assert_eq "$(cat "$LAB/discards.out")" 0 \
		'bytes that are not zero in what was discarded'
}

# one ORDER QUEUES PERSISTENT SEGMENTS: as it was loaded or offered.
one() {
	local img
	img=$(image features.img 4M)
	attach features xvdb "$img"
	negotiated "$@"
	verify_parts features xvdb "$img" 4 --bytes="$(scale 256K 8M)" \
		--min=512 --max=256K --depth=1..32
	discards
	detach features xvdb
	note "order $1, $2 queues, persistent $3, $4 segments: good"
}

combinations() {
	if [ -n "$SOAK" ]; then
		echo {0,4}/{1,4}/{0,1}/{11,32}
	else
		echo 0/1/0/11 0/4/1/32 4/1/1/32 4/4/0/32 4/4/1/11
	fi
}

for combination in $(combinations); do
	IFS=/ read -r order queues persistent segments <<<"$combination"
	load "$order" "$queues" "$persistent" "$segments"
	one "$order" "$queues" "$persistent" "$segments"
done

note 'a guest that wants all of a daemon that offers little'
daemon_stop
daemon_start --queues=1 --ring-page-order=0 --persistent-grants=0
load 4 4 1 32
one 0 1 0 32

guest_destroy features
daemon_stop
