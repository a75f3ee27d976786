# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 120
#
# What is attached stays: the commit is pinned, so that neither the loss of the
# branch nor git gc takes it from the guest; detached, it is let go.

# shellcheck source=/dev/null
. /lab/lib-git.sh
daemon_need
guest_need g1 pv
pin=refs/xen-diskd/$(xl domid g1)-51728

# collect REPOSITORY: what nobody refers to is gone.
collect() {
	git -C "$1" reflog expire --expire=now --all
	git -C "$1" gc --quiet --prune=now
}

no_pin() {
	wait_for "! git -C '$1' show-ref -q --verify '$pin'" 5
}

repo=$(repository pin.git)
repository_fill "$repo" 40 pinned
commit=$(git -C "$repo" rev-parse main)
disk_sums "$repo" main >"$LAB/pinned"
# Hardly a cache: what is read is read from the repository.
attach g1 xvdb "git:$repo?ref=main&cache=64K" access=ro
assert_eq "$(git -C "$repo" for-each-ref --format='%(objectname) %(refname)' \
	refs/xen-diskd)" "$commit $pin" 'the pin'
assert_match "$(xen-diskctl list)" "version: $commit" 'xen-diskctl list'
assert_eq "$(xs "$(backend_dir g1 xvdb)/version")" "$commit" 'in XenStore'
same_files g1 ro,utf8 "$LAB/pinned"

note 'the branch goes, and another one comes'
git -C "$repo" update-ref -d refs/heads/main
repository_fill "$repo" 3 other
collect "$repo"
assert_eq "$(guest_sums g1 | tail -n 1)" "$(sha256sum <"$LAB/pinned")" \
	'what the guest reads without a branch, after git gc'
guest_run g1 'umount /mnt'
detach g1 xvdb
no_pin "$repo"
git -C "$repo" cat-file -e "$commit"
collect "$repo"
assert_fails git -C "$repo" cat-file -e "$commit"

note 'what is attached now is the other one'
disk_sums "$repo" main >"$LAB/other"
attach g1 xvdb "git:$repo?ref=main" access=ro
same_files g1 ro,utf8 "$LAB/other"
guest_run g1 'umount /mnt'
detach g1 xvdb
no_pin "$repo"

note "nobody's repository"
# The pin is made by its owner, who has to get there.
chmod 711 /root "$IMAGES"
chown -R nobody:nogroup "$repo"
attach g1 xvdb "git:$repo?ref=main" access=ro
assert_eq "$(stat -c %U:%G "$repo/$pin")" nobody:nogroup 'whose the pin is'
assert_eq "$(find "$repo" ! -user nobody)" '' 'files of others'
detach g1 xvdb
no_pin "$repo"
assert_eq "$(find "$repo" ! -user nobody)" '' 'files of others'

note 'a repository that cannot be written'
mkdir -p "$LAB/mnt"
mount --bind "$repo" "$LAB/mnt"
mount -o remount,bind,ro "$LAB/mnt"
attach g1 xvdb "git:$LAB/mnt?ref=main" access=ro
daemon_log | grep 'served without a pin' || fail 'the log says nothing'
same_files g1 ro,utf8 "$LAB/other"
guest_run g1 'umount /mnt'
detach g1 xvdb
wait_for "umount '$LAB/mnt'" 5
