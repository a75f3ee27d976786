# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the suites of git-fat share: a place to work in that is removed at the
# end, git with no configuration but the repository's own and a fixed identity
# and date, and running git-fat.  Sourced; prints nothing.
#
# Environment: BIN, the directory of git-fat; TOP, the top of the source tree.

: "${BIN:?}" "${TOP:?}"
# shellcheck source=tests/ctl/tap.sh
. "$TOP/tests/ctl/tap.sh"

# The variables that would lead git to some other repository.
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars)
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
# Repositories that are not ours, too.
export GIT_CONFIG_COUNT=1
export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org
export GIT_COMMITTER_NAME=Tester GIT_COMMITTER_EMAIL=tester@example.org
export GIT_AUTHOR_DATE='1614834367 +0000' GIT_COMMITTER_DATE='1614834367 +0000'
export LC_ALL=C.UTF-8 TZ=UTC

# libgit2 1.5 leaks where it fails to open or to resolve, and with each extension
# that a configuration names.  Our own leaks the unit tests find.
export ASAN_OPTIONS=detect_leaks=0${ASAN_OPTIONS+:$ASAN_OPTIONS}

git_fat=$(realpath "$BIN")/git-fat
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs a command; status and err are what came of it, and $work/out.
run() {
	status=0
	"$@" > "$work/out" 2> "$work/err" < /dev/null || status=$?
	err=$(cat "$work/err")
}

# served REPOSITORY REF [OPTION...]: the names of the files, one a line, sorted,
# that git-fat has for it, after it has read them all.
served() {
	run timeout 20 "$git_fat" verify "$@"
	expect "verify $*: $err: status" "$status" 0
	run timeout 20 "$git_fat" ls "$@"
	expect "ls $*: $err: status" "$status" 0
	cut -f 2 "$work/out" | LC_ALL=C sort
}

# refused PATTERN ARGUMENT...: git-fat image fails at once, with one line that
# the pattern matches.
refused() {
	local pattern=$1
	shift
	run timeout 20 "$git_fat" image "$@"
	expect "status ($err)" "$status" 1
	expect_match 'standard error' "$err" "$pattern"
	expect lines "$(wc -l < "$work/err")" 1
}
