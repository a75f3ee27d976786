#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# The checks of corpus.sh with a big tree: 79,000 files of the kernel's
# sources.  Takes some minutes and 8 GiB of $TMPDIR.  Prints TAP.
#
#	soak.sh [TARBALL]
#
# Environment: BIN, the directory of git-fat; TOP, the top of the source tree.

set -euo pipefail

: "${BIN:?}" "${TOP:?}"
here=$(dirname "$0")
linux=$(mktemp -d)
trap 'rm -rf "$linux"' EXIT
"$here/linux-tree.sh" "$linux/repo.git" "$@"
"$here/corpus.sh" linux "$linux/repo.git" main
