# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# The image cannot be read or written any more: the guest gets I/O errors for
# what fails, no wrong data, and the rest is served.

daemon_need
guest_need g1 pv
# A device-mapper disk whose middle third fails.
back=$(image io.img 24M)
loop=$(losetup -f --show "$back")
third=$((24 * 2048 / 3))
dmsetup create faulty <<-END
	0 $third linear $loop 0
	$third $third error
	$((2 * third)) $third linear $loop $((2 * third))
END
attach g1 xvdb /dev/mapper/faulty
guest_run g1 "dd if=/dev/urandom of=/dev/xvdb bs=64k count=16 oflag=direct \
	2>/dev/null" || fail 'the good part cannot be written'
guest_run g1 "dd if=/dev/xvdb of=/dev/null bs=4k count=1 iflag=direct \
	skip=$((third / 8 + 4)) 2>&1" && fail 'a failing read succeeded'
guest_run g1 "dd if=/dev/zero of=/dev/xvdb bs=4k count=1 oflag=direct \
	seek=$((third / 8 + 4)) 2>&1" && fail 'a failing write succeeded'
guest_run g1 "dd if=/dev/xvdb of=/dev/null bs=64k count=16 iflag=direct \
	2>/dev/null" || fail 'after an error nothing is served any more'
[ "$(guest_io_errors g1)" -ge 2 ] || fail 'the guest was told of no error'
detach g1 xvdb
dmsetup remove faulty
losetup -d "$loop"
