# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 260
#
# A PV guest that boots from a git disk: GRUB finds its configuration, kernel
# and initramfs there, though its worker is killed time and again meanwhile, then
# Linux connects to the same vbd.

# shellcheck source=/dev/null
. /lab/lib-git.sh
daemon_need
boot_by_grub pv grub-x86_64-xen.bin vmlinux.gz x86_64-abi 3
