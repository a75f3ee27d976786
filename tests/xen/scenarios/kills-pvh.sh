# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 200
# soak-timeout: 900
#
# As kills, its workers only, for a PVH guest: one of its own, as QEMU may lose
# such a guest, and then all is to be run again.

# shellcheck source=/dev/null
. /lab/lib-kills.sh
daemon_need

workers g-pvh pvh "$(scale 2 20)"
kills_report
