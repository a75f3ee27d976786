# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 500
# soak-timeout: 3000
#
# Workers are killed under load, again and again, and both worker and supervisor
# at once: their guests notice a pause, and another disk not even that.  When
# supervisors are killed, or stopped, workers serve on, and the next one adopts
# them.

# shellcheck source=/dev/null
. /lab/lib-kills.sh
daemon_need

workers g1 pv "$(scale 18 180)"
daemons g1 pv supervisor "$(scale 4 50)"
daemons g1 pv restart "$(scale 1 10)"
daemons g1 pv everything "$(scale 2 20)"
kills_report
