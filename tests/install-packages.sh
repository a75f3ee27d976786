#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Installs the Debian packages that are named, one a line, in the given files
# and are not there yet.
#
#	install-packages.sh FILE...

set -eu
export DEBIAN_FRONTEND=noninteractive

missing=()
while read -r package; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = \
		installed ] || missing+=("$package")
done < <(sed 's/#.*//; /^[[:space:]]*$/d' "$@" | sort -u)
[ ${#missing[@]} -gt 0 ] || exit 0

echo "installing: ${missing[*]}"
if [ "$(id -u)" != 0 ]; then
	echo "as root: apt-get install ${missing[*]}" >&2
	exit 1
fi
# Xen's packages must not start services on a machine that runs no Xen.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 0755 $policy
	trap 'rm -f $policy' EXIT
fi
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
