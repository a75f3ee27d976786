#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A dom0 shell for a person: real Xen, xen-diskd running, a PV guest g1 up.
#
#	shell.sh --dest DIR
#
# The serial console is this terminal.  `exit` powers the machine off; ^A x
# ends QEMU at once.

set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=host-lib.sh
. "$here/host-lib.sh"

DEST=
[ "${1:-}" != --dest ] || DEST=${2:?}
"$here/image.sh" "$LAB_IMAGE" || exit 1
lab_prepare_temporary "$DEST" || exit 1

saved=
restore() {
	[ -z "$saved" ] || stty "$saved"
	rm -rf "$LAB_WORK"
}
trap restore EXIT
if [ -t 0 ]; then
	saved=$(stty -g)
fi

LAB_KERNEL_ARGS+=' lab.shell'
echo 'Booting Xen; the shell comes when xen-diskd and the guest are up.'
# QEMU in the foreground has the terminal; nobody uses the control port.  -nic
# and the like are absent on purpose: nothing reaches this machine's network.
lab_qemu_command -chardev null,id=ctl -serial mon:stdio
"${LAB_QEMU[@]}"
