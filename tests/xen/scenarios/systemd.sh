# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# kernel: lab.systemd
# timeout: 900
#
# systemd is dom0's process 1, and our unit is what it was installed as: it has
# started at boot, once Debian's own init script had brought up XenStore.  Disks of
# each kind are served from inside its walls; workers and supervisor are killed, the
# unit is restarted, stopped and started, other programs are installed, and the
# watchdog bites, all under load: the guest sees pauses and no error, and what is not
# a worker's death or its replacement, the same workers serve on.

# shellcheck source=/dev/null
. /lab/lib-git.sh
# shellcheck source=/dev/null
. /lab/lib-load.sh
# shellcheck source=/dev/null
. /lab/lib-nbd.sh

BEGAN=@$(date +%s.%6N)

# journal OPTION...: the unit's, of this scenario.
journal() {
	journalctl -o cat -u xen-diskd --since "$BEGAN" "$@"
}

daemon_log() {
	journal
}

unit() {
	systemctl show -P "$1" "${2:-xen-diskd}"
}

# Which process serves a disk; nothing while none does.
worker_of() {
	xen-diskctl list --json 2>/dev/null | jq -r --arg vdev "$1" '.[] |
		select(.vdev == $vdev and .worker.status == "connected") |
		.worker.pid'
}

# Those of all disks that are served, VDEV:PID.
workers() {
	xen-diskctl list --json 2>/dev/null | jq -r '[.[] |
		select(.worker.status == "connected") |
		"\(.vdev):\(.worker.pid)"] | sort | join(" ")'
}

# What xvdb has from lib-load.sh, the others have here.  At the end all is read again
# that was ever written.
# shellcheck disable=SC2016 # the guest expands it
LOAD_OTHERS='
	for d in xvdc xvdd; do
		(blkverify load /dev/$d 3600 --max=16K --depth=1..2 \
			>/tmp/load.$d 2>&1 || touch /tmp/failed.others) &
	done
	until [ -e /tmp/stop ]; do
		[ "$(dd if=/dev/xvde iflag=direct bs=8k count=32 2>/dev/null |
			sha256sum)" = "SUM  -" ] || { touch /tmp/failed.others; break; }
	done
	until [ -e /tmp/stop ]; do usleep 100000; done
	kill $(pidof blkverify)
	wait
	cat /tmp/load.xvd?
	[ ! -e /tmp/failed.others ]
'

# On each disk more is begun and completed after this is called than a ring holds.
# shellcheck disable=SC2016 # the guest expands it
goes_on() {
	guest_run g1 '
		count() { awk "{ print \$1 + \$5 }" /sys/block/$1/stat; }
		for d in xvdb xvdc xvdd xvde; do
			count $d >/tmp/from.$d
		done
		for d in xvdb xvdc xvdd xvde; do
			until [ $(($(count $d) - $(cat /tmp/from.$d))) -ge 40 ]; do
				[ ! -e /tmp/failed.others ] || exit 1
				usleep 50000
			done
		done' 60 || fail "the disks are not served, or wrongly: $(guest_run \
		g1 'cat /tmp/load.xvd? /tmp/errors.? /sys/block/xvd?/stat')"
}

# The unit is up, all disks are served, and I/O goes on.
back() {
	wait_for "[ \"\$(unit ActiveState)\" = active ]" 20
	wait_for "[ \"\$(workers | wc -w)\" = 4 ]" 30
	goes_on
}

# back_as_before WHAT-HAS-HAPPENED: to none of the workers.
back_as_before() {
	back
	assert_eq "$(workers)" "$serving" "the workers, when the unit was $1"
}

# worker_killed VDEV: while it has requests in flight.
worker_killed() {
	local pid said
	pid=$(worker_of "$1")
	said=$(kill-busy "$pid" "/run/xen-diskd/vbd-$(xl domid g1)-$(
		vdev_number "$1").inflight" 10 9 "$pid" | paste -s -d ' ')
	[ "${said%% *}" -gt 0 ] || fail "$1: nothing was in flight"
	note "$1: in flight, and ms to the first response: $said"
	wait_for "[ -n \"\$(worker_of $1)\" ]" 30
	back
	assert_eq "$(workers | sed "s/$1:[0-9]*/$1:$pid/")" "$serving" \
		'the workers of other disks'
	[ "$(worker_of "$1")" != "$pid" ] || fail "$1: the same worker"
	serving=$(workers)
}

# Whether a process runs what is installed now under that name.
is_installed() {
	[ "/proc/$1/exe" -ef "$(command -v "$2")" ]
}

# are_installed IS|IS-NOT: so it is of the workers of all disks.
are_installed() {
	local vdev pid is
	for vdev in xvdb:xen-diskd-worker xvdc:xen-diskd-worker \
		xvdd:xen-diskd-worker-nbd xvde:xen-diskd-worker-git; do
		pid=$(worker_of "${vdev%:*}")
		is=IS-NOT
		! is_installed "$pid" "${vdev#*:}" || is=IS
		assert_eq "$is" "$1" "$vdev: what is installed; runs \
$(readlink "/proc/$pid/exe")"
	done
}

# As a package does: each file is another than the one that runs.
install_again() {
	local program
	for program in xen-diskd xen-diskd-hold xen-diskd-worker \
		xen-diskd-worker-git xen-diskd-worker-nbd xen-diskctl; do
		program=$(command -v "$program")
		cp -p "$program" "$program.new"
		mv "$program.new" "$program"
	done
}

# started_again COUNT RESULT: by itself, so often since the boot.
started_again() {
	assert_eq "$(unit NRestarts)" "$1" 'starts by itself'
	assert_match "$(journal)" "Failed with result '$2'" 'the journal'
}

# capabilities NAME...: the mask of these, as in /proc.
capabilities() {
	local name mask=0
	for name in "$@"; do
		case $name in
		chown) mask=$((mask | 1 << 0)) ;;
		dac_override) mask=$((mask | 1 << 1)) ;;
		kill) mask=$((mask | 1 << 5)) ;;
		setgid) mask=$((mask | 1 << 6)) ;;
		setuid) mask=$((mask | 1 << 7)) ;;
		setpcap) mask=$((mask | 1 << 8)) ;;
		sys_admin) mask=$((mask | 1 << 21)) ;;
		mknod) mask=$((mask | 1 << 27)) ;;
		esac
	done
	printf '%016x\n' "$mask"
}

status_of() {
	sed -n "s/^$2:[[:space:]]*\([^[:space:]]*\).*/\1/p" "/proc/$1/status"
}

# What there is of the host below a process's root, but for a repository's objects.
root_of() {
	find "/proc/$1/root/" -mindepth 1 -path '*/objects/*' -prune -o \
		-printf '%P\n' | sort | tr '\n' ' '
}

mounts_of() {
	awk '{ print $5, substr($6, 1, 2) }' "/proc/$1/mountinfo" | sort |
		tr '\n' ' '
}

network_of() {
	readlink "/proc/$1/ns/net"
}

# expect_walls VDEV [MOUNT PARENT...]: those of its worker, which has what is mounted
# there, and the directories above that.
expect_walls() {
	local vdev=$1 mount=${2:-} pid key
	local paths=(dev dev/xen dev/xen/{evtchn,gntdev})
	pid=$(worker_of "$vdev")
	shift
	paths+=("$@")
	for key in CapBnd CapPrm CapEff CapInh CapAmb; do
		assert_eq "$(status_of "$pid" "$key")" 0000000000000000 "$vdev: $key"
	done
	[ "$(status_of "$pid" Uid)" -ge 1879048192 ] || fail "$vdev: user"
	assert_eq "$(status_of "$pid" NoNewPrivs)" 1 "$vdev: NoNewPrivs"
	assert_eq "$(status_of "$pid" Seccomp)" 2 "$vdev: Seccomp"
	# It has inherited those of the unit.
	assert_eq "$(status_of "$pid" Seccomp_filters)" \
		"$(($(status_of "$main" Seccomp_filters) + 1))" "$vdev: filters"
	assert_eq "$(root_of "$pid")" \
		"$(printf '%s\n' "${paths[@]}" | sort | tr '\n' ' ')" "$vdev: its root"
	assert_eq "$(mounts_of "$pid")" "/ ro ${mount:+/$mount ro }" "$vdev: mounts"
}

note 'after boot'
assert_eq "$(cat /proc/1/comm)" systemd 'process 1'
wait_for "[ \"\$(unit ActiveState)\" != activating ]" 20
assert_eq "$(unit ActiveState) $(unit SubState)" 'active running' 'the unit'
assert_eq "$(unit UnitFileState)" enabled 'the unit'
assert_eq "$(unit StatusText)" 'disks: 0' 'its status text'
assert_eq "$(unit NRestarts)" 0 'starts by itself'
xen=$(unit ActiveEnterTimestampMonotonic xen)
[ "$xen" -gt 0 ] || fail 'xen.service was not started'
[ "$(unit ExecMainStartTimestampMonotonic)" -ge "$xen" ] ||
	fail 'the unit was started before xen.service was there'
note "systemd $(systemctl --version | sed -n '1s/systemd //p'):" \
	"$(systemd-analyze security --no-pager xen-diskd | tail -n 1)"
note "$(systemd-analyze time | head -n 1)"

note 'the walls of the unit'
main=$(unit MainPID)
assert_eq "$(status_of "$main" CapBnd)" "$(capabilities chown dac_override kill \
	setgid setuid setpcap sys_admin mknod)" 'capabilities'
assert_eq "$(status_of "$main" CapEff)" "$(status_of "$main" CapBnd)" 'the same'
assert_eq "$(status_of "$main" NoNewPrivs)" 1 'NoNewPrivs'
assert_eq "$(cat "/proc/$main/oom_score_adj")" -900 'its OOM score'
assert_eq "$(status_of "$main" Seccomp)" 2 'Seccomp'
OUTPUT=$(nsenter -t "$main" -m touch /etc/here /usr/here 2>&1) &&
	fail 'files of the system can be written'
assert_eq "$(grep -c 'Read-only file system' <<<"$OUTPUT")" 2 "$OUTPUT"

note "disks: a file in a home, a device, an export, and somebody else's commit"
guest_need g1 pv
home=/home
mkdir -p $home
img=$home/systemd.img
rm -f "$img"
truncate -s 32M "$img"
mkfs.ext4 -q "$img"
modprobe brd rd_nr=1 rd_size=16384
tcp_server 10809 nbdkit -f -p 10809 -i 127.0.0.1 memory 16M
repo=$home/systemd.git
rm -rf "$repo"
git init -q --bare --initial-branch=main "$repo"
repository_fill "$repo" 30 by-systemd
chown -R 1000:1000 "$repo"
attach g1 xvdb "$img"
attach g1 xvdc /dev/ram0
attach g1 xvdd nbd://127.0.0.1/
attach g1 xvde "git:$repo?ref=main" access=ro
assert_eq "$(unit StatusText)" 'disks: 4' 'its status text'
assert_match "$(git -C "$repo" for-each-ref refs/xen-diskd)" 'xen-diskd' 'the pin'
assert_eq "$(find "$repo/refs/xen-diskd" ! -uid 1000)" '' 'pins of others'
for vdev in xvdb xvdc xvdd xvde; do
	pid=$(worker_of "$vdev")
	assert_eq "$(cat "/proc/$pid/oom_score_adj")" 0 "$vdev: its OOM score"
	assert_match "$(cat "/proc/$pid/cgroup")" '/xen-diskd.service$' \
		"$vdev: control group"
done
for vdev in xvdb xvdc xvdd; do
	expect_walls "$vdev"
done
expect_walls xvde home/systemd.git/objects home/systemd.git home
for vdev in xvdb xvdc xvde; do
	[ "$(network_of "$(worker_of "$vdev")")" != "$(network_of self)" ] ||
		fail "$vdev: network"
done
assert_eq "$(network_of "$(worker_of xvdd)")" "$(network_of self)" 'xvdd: network'

note 'an image on a file system that was mounted after the start'
mkdir -p $home/later
mount -t tmpfs later $home/later
truncate -s 16M $home/later/a.img
attach g1 xvdf $home/later/a.img
guest_run g1 'blkverify load /dev/xvdf 1 --max=64K && blkdiscard /dev/xvdf' ||
	fail 'an error on it'
assert_eq "$(du -k $home/later/a.img | cut -f 1)" 0 'what a discard has left'
detach g1 xvdf
umount $home/later

note 'a worker killed: of a file, of a device, of a commit'
load_start g1
# git-fat says that nobody wanted the rest.
sum=$(git-fat image "$repo" main 2>/dev/null | head -c 256K | sha256sum) || true
guest_start g1 others "${LOAD_OTHERS/SUM  -/$sum}"
serving=$(workers)
worker_killed xvdb
worker_killed xvdc
worker_killed xvde
assert_eq "$(unit MainPID)" "$main" 'the supervisor'

note 'the supervisor killed'
systemctl kill --kill-whom=main --signal=KILL xen-diskd
wait_for "[ \"\$(unit NRestarts)\" = 1 ]" 20
back_as_before killed
started_again 1 signal
assert_eq "$(unit StatusText)" 'disks: 4' 'its status text'

note 'restarted'
main=$(unit MainPID)
systemctl restart xen-diskd
back_as_before restarted
[ "$(unit MainPID)" != "$main" ] || fail 'the same supervisor'

note 'stopped, and started'
systemctl stop xen-diskd
assert_eq "$(unit ActiveState) $(unit Result)" 'inactive success' 'the unit'
goes_on
assert_eq "$(unit ActiveState) $(daemon_pids)" 'inactive ' 'the unit'
systemctl start xen-diskd
back_as_before stopped

note 'others are installed'
install_again
systemctl restart xen-diskd
back_as_before replaced
is_installed "$(unit MainPID)" xen-diskd || fail 'the old supervisor'
are_installed IS-NOT
xen-diskctl upgrade | tee "$LAB/upgraded"
assert_eq "$(wc -l <"$LAB/upgraded")" 4 'disks that were moved'
back
are_installed IS
for pid in $serving; do
	! grep -qw "${pid#*:}" <<<"$(workers)" || fail "$pid: the same worker"
	[ ! -e "/proc/${pid#*:}" ] || fail "$pid: is there still"
done
serving=$(workers)

note 'hung'
main=$(unit MainPID)
pinged=$(unit WatchdogTimestampMonotonic)
wait_for "[ \"\$(unit WatchdogTimestampMonotonic)\" -gt $pinged ]" 30
kill -STOP "$main"
goes_on
assert_eq "$(unit MainPID)" "$main" 'the supervisor'
wait_for "[ \"\$(unit MainPID)\" != $main ] &&
	[ \"\$(unit ActiveState)\" = active ]" 60
back_as_before hung
assert_match "$(journal)" 'Watchdog timeout' 'the journal'
started_again 1 watchdog

note 'what the guest has seen'
load_finish g1
guest_await g1 others 60 || fail 'the load of the other disks failed'
assert_eq "$(guest_run g1 'sha256sum </dev/xvde' 60)" \
	"$(git-fat image "$repo" main | sha256sum)" 'the disk of the commit'
for vdev in xvdb xvdc xvdd xvde; do
	assert_eq "$(xs "$(backend_dir g1 "$vdev")/error")" '' "$vdev: error"
	detach g1 "$vdev"
done
load_check "$img"
wait_for "[ \"\$(unit StatusText)\" = 'disks: 0' ]" 10
assert_eq "$(find "$repo/refs/xen-diskd" -type f)" '' 'the pin'

note 'the journal'
assert_eq "$(journal | grep -c '^xen-diskd: version')" 5 'starts'
assert_fails grep -E 'Killing process [0-9]+ \(xen-diskd-work' <(journal)
assert_match "$(journal -p warning)" \
	'worker \(pid [0-9]+\) was killed by signal 9' 'warnings of the journal'
server_stop
modprobe -r brd
rm -rf "$img" "$repo"
