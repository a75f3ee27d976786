#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Checks that every C file is as .clang-format has it.  Prints TAP.  With
# --fix, makes it so.

set -eu
cd "$(dirname "$0")/.."

mapfile -t files < <(git ls-files '*.c' '*.h')
if [ "${1:-}" = --fix ]; then
	exec clang-format -i "${files[@]}"
fi
echo "1..${#files[@]}"
n=0 status=0
for file in "${files[@]}"; do
	n=$((n + 1))
	if clang-format "$file" | diff -u "$file" - >&2; then
		echo "ok $n - $file"
	else
		echo "not ok $n - $file"
		status=1
	fi
done
exit $status
