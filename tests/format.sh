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
said=$(clang-format --dry-run "${files[@]}" 2>&1) || true
echo "1..${#files[@]}"
n=0 status=0
for file in "${files[@]}"; do
	n=$((n + 1))
	if grep -F -A 2 "$file:" <<<"$said"; then
		echo "not ok $n - $file"
		status=1
	else
		echo "ok $n - $file"
	fi
done
exit $status
