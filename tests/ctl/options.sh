#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Every option is in the help, in the manual page and in the completion, and
# none of them has one that the others lack: for xen-diskd, for git-fat, for
# xen-diskctl and for each of its commands.  Also that manual pages, completions
# and the unit are well formed.  Prints TAP.
#
# Environment: BIN, the directory of git-fat, xen-diskctl and xen-diskd; TOP,
# the top of the source tree.

set -eu

: "${BIN:?}" "${TOP:?}"
# shellcheck source=tests/ctl/tap.sh
. "$TOP/tests/ctl/tap.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mans=$TOP/man
completions=$TOP/dist/completion

# The long options in a text, one a line, sorted.
long_options() {
	{ grep -oE -- '--[a-z][a-z-]*' || true; } | sort -u
}

# What the lines of a help that begin with an option name, before they say what
# it does.
help_options() {
	local program=$1 text
	shift
	text=$("$BIN/$program" "$@" --help)
	sed -n -e 's/   *[^ -].*//' -e '/^  *--/p' <<< "$text" | long_options
}

# Options in mdoc source are written "Fl -name".
mdoc_options() {
	sed 's/Fl -/--/g' | long_options
}

# The commands that the program's help lists.
commands() {
	"$BIN/xen-diskctl" help |
		sed -n '/^commands/,/^$/s/^  \([a-z-]*\) .*/\1/p'
}

# The heading of a command in the manual page, continuation lines joined.
man_command() {
	sed -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' "$mans/xen-diskctl.8" |
		grep "^\\.It Cm $1 "
}

# complete PROGRAM WORD...: what bash offers for the last word.  A bash of its
# own, so that nothing but the completion file is at work.
complete_words() {
	# shellcheck disable=SC2016
	bash --norc -uc '
		. "$1/$2" || exit 1
		shift
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		[[ $(complete -p "$1") == *" -F "* ]] || exit 1
		"_${1//-/_}"
		printf "%s\n" "${COMPREPLY[@]}"
	' complete "$completions" "$@"
}

completion_options() {
	complete_words "$@" -- | sed 's/=$//' | sort -u
}

# Neither set may be empty: an extraction that finds nothing proves nothing.
same_set() {
	[ -n "$2" ]
	expect "$1" "$3" "$2"
}

# check_program PROGRAM SECTION
check_program() {
	local help source
	help=$(help_options "$1")
	# For xen-diskctl, the part of the page before its commands.
	source=$(sed '/^\.Sh COMMANDS/,$d' "$mans/$1.$2")
	same_set synopsis "$help" "$(mdoc_options <<< "${source%%
.Sh DESCRIPTION*}")"
	same_set 'manual page' "$help" \
		"$(grep '^\.It Fl' <<< "$source" | mdoc_options)"
	same_set completion "$help" "$(all_completion_options "$1")"
}

# Those of git-fat stand after a command, and "image" takes them all.
all_completion_options() {
	{
		completion_options "$1"
		[ "$1" != git-fat ] || completion_options git-fat image
	} | sort -u
}

check_command() {
	local help
	help=$(help_options xen-diskctl "$1")
	same_set 'manual page' "$help" "$(man_command "$1" | mdoc_options)"
	same_set completion "$help" "$(completion_options xen-diskctl "$1")"
}

check_commands() {
	local help
	help=$(commands)
	same_set 'manual page' "$help" \
		"$(sed -n '/^\.Sh COMMANDS/,/^\.Sh JSON/s/^\.It Cm \([^ ]*\).*/\1/p' \
			"$mans/xen-diskctl.8")"
	same_set completion "$help" "$(complete_words xen-diskctl '')"
}

# Help that is not from the option table, as in a command's paragraph, names
# no option that the command does not take.
check_help_text() {
	same_set "$1" "$(help_options xen-diskctl "$1")" \
		"$("$BIN/xen-diskctl" "$1" --help | long_options)"
}

check_git_fat_commands() {
	local help
	help=$("$BIN/git-fat" --help |
		sed -n '/^Commands/,/^$/s/^  \([a-z-]*\) .*/\1/p')
	same_set 'manual page' "$help" \
		"$(sed -n 's/^\.It Cm \([^ ]*\).*/\1/p' "$mans/git-fat.1")"
	same_set completion "$help" "$(complete_words git-fat '')"
}

# git_fat_status ARGUMENT...: with what it ends, and no output of its own.
git_fat_status() {
	local status=0
	"$BIN/git-fat" "$@" > "$work/git-fat" 2>&1 || status=$?
	echo "$status"
}

# What the program takes is what the completion offers: an option it does not
# know is a wrong command line, one it knows gets as far as the repository.
check_git_fat_options() {
	local command options option value
	options=$(completion_options git-fat image)
	for command in image ls verify; do
		for option in $options; do
			value=1
			case $option in
			--partition) value=none ;;
			--symlinks) value=text ;;
			--verify) value=off ;;
			esac
			git_fat_status "$command" "$option=$value" \
				"$work/none" HEAD
		done > "$work/status"
		expect "$command" \
			"$(paste -d' ' <(echo "$options") "$work/status" |
				sed -n 's/ 1$//p')" \
			"$(completion_options git-fat "$command")"
	done
}

git_fat_exit_codes() {
	expect codes "$(sed -n '/^\.Sh EXIT STATUS/,/^\.El/s/^\.It //p' \
		"$mans/git-fat.1" | xargs)" '0 1 2 3'
	expect version "$(git_fat_status --version)" 0
	expect 'no repository' "$(git_fat_status ls "$work/none" HEAD)" 1
	expect 'bad option' "$(git_fat_status ls --bad "$work/none" HEAD)" 2
}

check 'xen-diskd: help, manual page and completion have the same options' \
	check_program xen-diskd 8
check 'xen-diskctl: help, manual page and completion have the same options' \
	check_program xen-diskctl 8
check 'git-fat: help, manual page and completion have the same options' \
	check_program git-fat 1
check 'git-fat: help, manual page and completion have the same commands' \
	check_git_fat_commands
check 'git-fat: each command takes the options that are completed for it' \
	check_git_fat_options
check 'git-fat: the exit codes are those of the manual page' git_fat_exit_codes
check 'xen-diskctl: help, manual page and completion have the same commands' \
	check_commands
for command in $(commands); do
	check "xen-diskctl $command: same options everywhere" \
		check_command "$command"
done
check 'xen-diskctl: setup-modprobe --help names only its own options' \
	check_help_text setup-modprobe

completes_values() {
	expect '--log-level=' \
		"$(complete_words xen-diskd --log-level = '' | xargs)" \
		'error warning info debug'
	expect '--log-level=w' \
		"$(complete_words xen-diskd --log-level = w)" warning
	expect '--sandbox=' \
		"$(complete_words xen-diskd --sandbox = '' | xargs)" 'on off'
	touch "$work/image"
	expect '--socket=' "$(complete_words xen-diskctl --socket = \
		"$work/im")" "$work/image"
	expect 'attach target' "$(complete_words xen-diskctl attach g1 xvdb \
		"$work/im")" "$work/image"
	expect '--watch=' "$(complete_words xen-diskctl stat --watch = '')" ''
	expect limits "$(complete_words xen-diskctl limit g1 xvdb '' |
		xargs)" 'iops= bps='
	expect 'a limit' "$(complete_words xen-diskctl limit g1 xvdb iops = \
		'')" ''
	expect 'after --socket' "$(complete_words xen-diskctl --socket = /s \
		hotplug r)" remove
	expect '--partition=' "$(complete_words git-fat ls --partition = '' |
		xargs)" 'mbr none'
	mkdir "$work/repository"
	expect repository "$(complete_words git-fat ls --path = x \
		"$work/rep")" "$work/repository"
	expect ref "$(complete_words git-fat ls --cache 1M "$work/repository" \
		H)" HEAD
}
refuses_values() {
	local option status
	for option in --inflight-bytes=2095103 --inflight-bytes=65M \
		--inflight-bytes=much --queues=0 --queues=17 \
		--ring-page-order=5 --persistent-grants=2049
	do
		status=0
		"$BIN/xen-diskd" "$option" > "$work/said" 2>&1 || status=$?
		expect "$option" "$status" 2
		grep -q -- "^xen-diskd: $option: " "$work/said"
	done
}
check 'xen-diskd refuses values that are out of bounds' refuses_values

check 'completion offers values, files and actions' completes_values

# lint_page PAGE: fails on any output, which covers any level of warning.
lint_page() {
	local output
	output=$(mandoc -T lint -W warning "$1") && expect lint "$output" ''
}
for page in "$mans"/*.[0-9]; do
	check "manual page ${page##*/} is lint-clean" lint_page "$page"
done

# A page must list every exit code that another part of the tests relies on.
exit_codes() {
	local section
	section=$(sed -n '/^\.Sh EXIT STATUS/,/^\.El/p' "$mans/xen-diskctl.8")
	expect codes "$(sed -n 's/^\.It //p' <<< "$section" | xargs)" '0 1 2 3'
	expect 'codes in help' "$("$BIN/xen-diskctl" help |
		sed -n 's/^  \([0-9]\)  .*/\1/p' | xargs)" '0 1 2 3'
}
check 'exit codes: help and manual page agree' exit_codes

unit=$work/unit/xen-diskd.service
mkdir -p "$work/unit"
printf '#!/bin/sh\n' > "$work/unit/xen-diskd"
chmod +x "$work/unit/xen-diskd"
sed "s,@sbindir@,$work/unit," "$TOP/dist/xen-diskd.service" > "$unit"

unit_is_valid() {
	local output
	# Without its manual page installed, which --man=no leaves alone.
	output=$(systemd-analyze verify --man=no --recursive-errors=no \
		"$unit" 2>&1)
	expect output "$output" ''
}
check 'the systemd unit is valid' unit_is_valid

# exposed_at_most LEVEL UNIT: LEVEL has one decimal, --threshold= is ten times it.
exposed_at_most() {
	[[ $1 =~ ^[0-9]\.[0-9]$ ]]
	systemd-analyze security --offline=yes --no-pager \
		--threshold="${1/.}" "$2"
}

unit_is_hardened() {
	local level
	level=$(sed -n 's/.*an exposure level of \([0-9.]*\) .*/\1/p' \
		"$TOP/docs/architecture.md")
	exposed_at_most "$level" "$unit"
	# One option less is seen.
	mkdir "$work/weaker"
	grep -v '^NoNewPrivileges=' "$unit" > "$work/weaker/xen-diskd.service"
	! exposed_at_most "$level" "$work/weaker/xen-diskd.service"
}
check 'the systemd unit is no more exposed than documented' unit_is_hardened

# What an entry of SystemCallFilter= stands for, sets within sets included.
system_calls() {
	local name
	for name in "$@"; do
		case $name in
		@*)
			# shellcheck disable=SC2046 # a word each
			system_calls $(systemd-analyze syscall-filter \
				--no-pager "$name" | sed -n 's/^    //p' |
				grep -v '^#')
			;;
		*) echo "$name" ;;
		esac
	done
}

# The filter of the unit is a worker's, too, before its own.
unit_allows_workers() {
	local calls
	calls=$(grep -oP 'SCMP_SYS\(\K\w+' "$TOP/diskd/sandbox-syscalls.c" |
		sort -u)
	[ "$(wc -l <<< "$calls")" -gt 50 ]
	# shellcheck disable=SC2046 # a word each
	expect 'not allowed by the unit' "$(comm -23 <(echo "$calls") \
		<(system_calls $(sed -n 's/^SystemCallFilter=//p' "$unit") |
			sort -u))" ''
}
check 'the systemd unit allows the system calls of workers' unit_allows_workers

# Under whatever umask; others' files stay.
uninstall_takes_all() {
	local root=$work/root made
	(umask 077 && make -s -C "$TOP" install DESTDIR="$root" >/dev/null)
	made=$(find "$root" -type f | wc -l)
	[ "$made" -gt 15 ]
	expect 'not readable by all' "$(find "$root" -type f ! -perm -0444)" ''
	: > "$root/usr/bin/other"
	make -s -C "$TOP" uninstall DESTDIR="$root" >/dev/null
	expect 'left over' "$(find "$root" -type f)" "$root/usr/bin/other"
}
check 'uninstall takes all that install has made' uninstall_takes_all

check 'shell code is clean' shellcheck -x "$TOP"/dist/block-xen-diskd \
	"$TOP"/dist/completion/* "$TOP"/tests/ctl/*.sh

tap_end
