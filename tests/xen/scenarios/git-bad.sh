# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 120
#
# Git disks that cannot be: each is told in xl's own output within 2 s with its
# subject and cause, and block-detach leaves nothing, in the repository neither.

# shellcheck source=/dev/null
. /lab/lib-git.sh
daemon_need
guest_need g1 pv
repo=$(repository bad.git)
repository_fill "$repo" 3 bad
git_bomb "$repo"
blob=main:00/file-number-00001.txt

# refused TARGET PATTERN
refused() {
	attach_refused "$1" "$2" access=ro
}

refused 'git:/root/images/absent.git?ref=main' \
	"repository '/root/images/absent.git'"
refused "git:$repo?ref=absent" "ref 'absent'.*not found"
refused "git:$repo?ref=main..bomb" "ref 'main..bomb'.*range"
refused "git:$repo?ref=$blob" "ref '$blob': a blob"
refused "git:$repo?ref=main&path=no/such" "path 'no/such'"
refused "git:$repo?ref=main&cache=pony" 'cache=pony is not a size'
refused "git:$repo?ref=bomb" 'more than [0-9]+ files and directories'
if [ -n "$SOAK" ]; then
	refused 'git:/root/images?ref=main' "repository '/root/images'"
	refused 'git:bad.git' 'bad.git.*not an absolute path'
	refused "git:$repo?ref=main&partition=gpt" 'partition=gpt'
	refused "git:$repo?ref=main&pony=1" "no option 'pony'"
fi
attach_refused "git:$repo?ref=main" 'is read-only; attach it read-only'
assert_eq "$(git -C "$repo" for-each-ref refs/xen-diskd)" '' 'pins'

note 'and after all that a good one works'
disk_sums "$repo" main >"$LAB/good"
attach g1 xvdb "git:$repo?ref=main" access=ro
same_files g1 ro,utf8 "$LAB/good"
guest_run g1 'umount /mnt'
detach g1 xvdb
