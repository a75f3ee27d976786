# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What the scenarios of git disks share, in dom0; they source it themselves.
#
#	repository NAME           an empty bare one; prints its path
#	repository_fill DIR FILES WORD   a commit on its main
#	git_bomb DIR              the same with more files than anything holds
#	disk_sums DIR REVISION [CONTENTS], guest_mount NAME OPTIONS,
#	guest_sums NAME [DIRECTORY [TEST]], list_unread
#	same_files NAME OPTIONS FILE [COUNT [DIRECTORY [TEST]]]
#	                          what the guest sees is what git has
#	boot_by_grub pv|pvh LOADER KERNEL PROTOCOL [KILLS]
#
# A list of sums has "directory  ./PATH" or "SHA256  ./PATH" for all that is on
# a disk, under the names that it has there, sorted.

# With no configuration but the repository's own, whoever owns that.
git() {
	GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \
		GIT_AUTHOR_NAME=Tester GIT_AUTHOR_EMAIL=tester@example.org \
		GIT_COMMITTER_NAME=Tester \
		GIT_COMMITTER_EMAIL=tester@example.org \
		command git -c safe.directory='*' "$@"
}

repository() {
	rm -rf "${IMAGES:?}/$1"
	git init -q --bare --initial-branch=main "$IMAGES/$1"
	echo "$IMAGES/$1"
}

# In directories of a hundred; some empty, most of a few sectors, a few larger.
# The files resemble each other, and a delta of a delta is costly when emulated.
repository_fill() {
	awk -v files="$2" -v word="$3" 'BEGIN {
		print "commit refs/heads/main"
		print "committer Tester <tester@example.org> 1614834367 +0000"
		print "data 0"
		for (i = 0; i < files; i++) {
			text = ""
			lines = i % 97 ? i * 7 % 60 : 2000
			for (n = 0; n < lines; n++)
				text = text word ", file " i ", line " n "\n"
			printf "M 100644 inline %02d/file-number-%05d.txt\n",
				i / 100, i
			printf "data %d\n%s\n", length(text), text
		}
	}' | git -C "$1" fast-import --quiet --depth=3
}

git_bomb() {
	local i id mode=100644\ blob
	id=$(echo small | git -C "$1" hash-object -w --stdin)
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		id=$(for i in 0 1 2 3 4 5 6 7 8 9; do
			printf '%s %s\t%s\n' "$mode" "$id" "$i"
		done | git -C "$1" mktree)
		mode='040000 tree'
	done
	git -C "$1" update-ref refs/heads/bomb \
		"$(git -C "$1" commit-tree "$id" -m bomb)"
}

# Unpacks each of the objects that are listed, as a file named by its id, and
# prints their sums: all the bytes are git's.  Nothing is written to DIR, which
# is a bare repository.
object_sums() {
	local objects=$LAB/objects files=$LAB/files tree
	rm -rf "$objects" "$files"
	mkdir -p "$objects" "$files"
	tree=$(awk '{ printf "100644 blob %s\t%s\n", $1, $1 }' |
		GIT_ALTERNATE_OBJECT_DIRECTORIES=$1/objects \
			GIT_OBJECT_DIRECTORY=$objects git -C "$1" mktree)
	GIT_ALTERNATE_OBJECT_DIRECTORIES=$1/objects \
		GIT_OBJECT_DIRECTORY=$objects \
		git -C "$1" archive "$tree" | tar -x -C "$files"
	(cd "$files" && find . -type f -printf '%P\n' | xargs sha256sum)
	rm -rf "$objects" "$files"
}

# The names are git-fat's.  CONTENTS are the sums of the objects, if known.
disk_sums() {
	git-fat ls "$1" "$2" >"$LAB/names"
	if [ -n "${3:-}" ]; then
		cp "$3" "$LAB/contents"
	else
		awk '$1 == "blob" && !seen[$2]++ { print $2 }' "$LAB/names" |
			object_sums "$1" >"$LAB/contents"
	fi
	awk -F '\t' '
		NR == FNR {
			sum[substr($0, 67)] = substr($0, 1, 64)
			next
		}
		{ split($1, column, " ") }
		column[1] == "tree" { print "directory  ./" $2; next }
		{ print sum[column[2]] "  ./" $2 }
		' "$LAB/contents" "$LAB/names" | sort
}

# The first partition of xvdb, on /mnt.
guest_mount() {
	guest_run "$1" "n=0
		until [ -b /dev/xvdb1 ]; do
			n=\$((n + 1)); [ \$n -lt 200 ] || exit 1
			usleep 50000
		done
		mount -t vfat -o '$2' /dev/xvdb1 /mnt" ||
		fail "guest $1 cannot mount the disk with $2"
}

# Leaves the list in the guest and prints the list's own sum: a console is slow.
# What is in the guest's page cache is read anew.  Of the files of DIRECTORY the
# names alone are taken, as UNREAD has them: to find one by its name Linux reads
# half of a directory, and the shell lists them without.  TEST is find's.
guest_sums() {
	local directory=${2:-./none} test=${3:-}
	guest_run "$1" "echo 3 >/proc/sys/vm/drop_caches
		cd /mnt
		{
			find . -mindepth 1 -path $directory -prune -o \
				-type d -print | sed 's/^/directory  /'
			find . -path $directory -prune -o -type f $test \
				-print0 | xargs -0 sha256sum
			[ ! -d $directory ] ||
				printf 'unread  %s\\n' $directory $directory/*
		} >/tmp/all 2>/tmp/errors
		grep -vF '?' /tmp/all | sort >/tmp/sums
		grep -cF '?' /tmp/all /tmp/errors
		sha256sum </tmp/sums" "$(scale 200 800)"
}

# list_unread DIRECTORY: a list as guest_sums would have it.
list_unread() {
	sed "s|^[^ ]*  $1\(/.*\)\?\$|unread  $1\1|" | sort
}

# same_files NAME OPTIONS FILE [COUNT [DIRECTORY [TEST]]]: mounts, compares with
# the list in FILE, and leaves it mounted.  COUNT files more have names that these
# options cannot express: Linux puts question marks.
same_files() {
	local start=$SECONDS
	guest_mount "$1" "$2"
	guest_sums "$1" "${5:-}" "${6:-}" >"$LAB/sums"
	assert_eq "$(sed -n 1,2p "$LAB/sums" | paste -s -d ' ')" \
		"/tmp/all:${4:-0} /tmp/errors:0" "odd names with $2"
	if [ "$(tail -n 1 "$LAB/sums")" != "$(sha256sum <"$3")" ]; then
		guest_run "$1" 'head -n 5 /tmp/errors
			gzip -c /tmp/sums >/tmp/sums.gz'
		guest_run "$1" 'base64 /tmp/sums.gz' 100 | base64 -d |
			gzip -d | comm -3 "$3" - | head -n 20 || true
		fail "mounted with $2, the disk has other files"
	fi
	note "$(wc -l <"$3") names with $2: $((SECONDS - start)) s"
}

# ---- guests that GRUB starts ------------------------------------------------

# import_file PATH FILE: for git fast-import.
import_file() {
	printf 'M 100644 inline %s\ndata %d\n' "$1" "$(stat -c %s "$2")"
	cat "$2"
	echo
}

# boot_repository KERNEL WORDS: a kernel, a guest's initramfs, what GRUB is to do
# with them and a file with words; prints the path.
boot_repository() {
	local repo
	repo=$(repository boot.git)
	cat >"$LAB/grub.cfg" <<-END
		linux /boot/kernel $(guest_arguments)
		initrd /boot/initrd
		boot
	END
	echo "$2" >"$LAB/words"
	# Each MiB takes GRUB a second.
	gzip -1 <"$(guest_ramdisk)" >"$LAB/initrd"
	{
		echo 'commit refs/heads/main'
		echo 'committer Tester <tester@example.org> 1614834367 +0000'
		echo 'data 0'
		import_file boot/grub/grub.cfg "$LAB/grub.cfg"
		import_file boot/kernel "/boot/guest/$1"
		import_file boot/initrd "$LAB/initrd"
		import_file words "$LAB/words"
	} | git -C "$repo" -c core.compression=0 \
		-c fastimport.unpackLimit=1 fast-import --quiet
	echo "$repo"
}

grub_reads() {
	local nr
	nr=$(xen-diskctl stat --json grub xvda 2>/dev/null |
		jq '.[0].requests.read // 0') || true
	echo "${nr:-0}"
}

# kills_while_grub_reads TIMES: of the worker; GRUB's driver never leaves state 3.
# shellcheck disable=SC2016 # wait_for evaluates it
kills_while_grub_reads() {
	local kills reads=0 state
	for ((kills = 0; kills < $1; kills++)); do
		reads=$((reads + 200))
		wait_for '[ "$(grub_reads)" -ge '"$reads ]" 100
		state=$(xs "/local/domain/$(xl domid grub)/device/vbd/51712/state")
		assert_eq "$state" 3 "the state of GRUB's driver"
		kill -KILL "$(worker_pids)"
	done
}

# boot_by_grub pv|pvh LOADER KERNEL PROTOCOL [KILLS]: a guest whose disk GRUB reads
# over a ring of that protocol, and then its Linux, with the protocol of 64 bits.  It
# is given the time to start twice: emulated, GRUB for PVH has been seen to die of a
# triple fault with Xen's own registers in place of the guest's.  The worker is killed
# KILLS times while GRUB reads.
boot_by_grub() {
	local repo words vbd start=$SECONDS kills=${5:-0} killer i protocols=
	words="read by Linux, started by GRUB for $1: $RANDOM"
	repo=$(boot_repository "$3" "$words")
	note "the repository: $((SECONDS - start)) s, $(du -sm "$repo" |
		cut -f 1) MiB"
	kills_while_grub_reads "$kills" &
	killer=$!
	GUEST_LOADER=/usr/lib/grub-xen/$2 GUEST_MEM=256 GUEST_WAIT=170 \
		guest_create grub "$1" "$(disk_spec xvda "git:$repo?ref=main" \
			access=ro)"
	wait "$killer" || fail 'the worker was not killed while GRUB read'
	vbd=$(xl domid grub)/51712
	note "Linux is up, after $kills kills in GRUB"
	assert_eq "$(guest_run grub 'mkdir -p /mnt
		mount -t vfat -o ro,utf8 /dev/xvda1 /mnt && cat /mnt/words')" \
		"$words" 'the file on the disk'
	assert_eq "$(guest_run grub 'cat /proc/cmdline' |
		grep -o 'console=.*')" "$(guest_arguments | sed 's/ *$//')" \
		"what grub.cfg says to the kernel"
	daemon_log | grep -a "$vbd: connected"
	for ((i = 0; i <= kills; i++)); do protocols+="$4 "; done
	assert_eq "$(daemon_log | sed -n \
		"s|.*vbd $vbd: connected, protocol \([^,]*\),.*|\1|p" |
		paste -s -d ' ')" "${protocols}x86_64-abi" \
		'the protocols, in turn'
	xen-diskctl list
	assert_eq "$(xen-diskctl list --json |
		jq -r '.[] | .protocol + " " + .version')" \
		"x86_64-abi $(git -C "$repo" rev-parse main)" 'xen-diskctl list'
	guest_destroy grub
	host_clean
	assert_eq "$(git -C "$repo" for-each-ref refs/xen-diskd)" '' 'pins'
}
