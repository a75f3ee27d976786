#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes a bare repository of one commit, packed: the sources of the kernel that
# Debian ships (package linux-source-6.1).
#
#	linux-tree.sh DIR [TARBALL]

set -euo pipefail

dir=$1
tarball=${2-$(find /usr/src -name 'linux-source-6.1.tar.xz')}
if [ ! -e "$tarball" ]; then
	echo 'linux-tree.sh: install linux-source-6.1' >&2
	exit 1
fi
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars)
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C.UTF-8
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
export GIT_AUTHOR_DATE='1614834367 +0000' GIT_COMMITTER_DATE='1614834367 +0000'
files=$(mktemp -d "$(dirname "$dir")/linux.XXXXXX")
trap 'rm -rf "$files"' EXIT
tar -xf "$tarball" -C "$files" --strip-components=1
git init -q --bare -b main "$dir"
git -C "$dir" config core.looseCompression 0
git -C "$dir" config gc.auto 0
export GIT_DIR=$dir GIT_WORK_TREE=$files
# Its own .gitignore names files that the tarball has.
git -C "$files" add -A -f .
commit=$(git commit-tree "$(git write-tree)" -m linux)
git update-ref refs/heads/main "$commit"
rm "$dir/index"
unset GIT_WORK_TREE
git repack -q -a -d
