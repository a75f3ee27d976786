# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 260
#
# A PVH guest that boots from a git disk: GRUB, of 32 bits, finds its
# configuration, kernel and initramfs there, then Linux, of 64 bits, connects to
# the same vbd.

# shellcheck source=/dev/null
. /lab/lib-git.sh
daemon_need
boot_by_grub pvh grub-i386-xen_pvh.bin vmlinuz x86_32-abi
