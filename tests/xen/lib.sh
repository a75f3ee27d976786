# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# What a scenario may use, in dom0.  dom0/scenario sources this file and then
# the scenario, under `set -eu`: the first command that fails fails the
# scenario.
#
#	daemon_need [OPTION...]   starts xen-diskd unless it runs already
#	daemon_start, daemon_stop, daemon_log (what it logged in this scenario)
#	guest_need NAME pv|pvh    a guest that later scenarios may use too
#	guest_create NAME pv|pvh [DISK...]   one that ends with the scenario;
#	                          GUEST_WAIT: seconds to come up (60)
#	guest_run NAME CMD [SECONDS]         CMD's output and status
#	guest_io_errors NAME      how many its kernel logged in this scenario
#	guest_start NAME TAG CMD, guest_await NAME TAG [SECONDS]
#	                          the same in the background of the guest
#	attach NAME VDEV IMAGE [WORD...], detach NAME VDEV: by path C; by path A
#	                          after path_a
#	attach_refused TARGET PATTERN [WORD...]
#	verify_parts NAME VDEV FILE PARTS [OPTION...]   a blkverify a CPU
#	xen_counters, host_counters, wait_for, wait_xs, and the assertions below
#
# The daemon and the needed guests live as long as the boot, so a scenario costs
# what it does and no more.  Each ends on a clean host: see host_clean.

LAB=/run/lab
IMAGES=/root/images
DAEMON_LOG=$LAB/xen-diskd.log
CONSOLES=/var/log/xen/console
BACKEND=/local/domain/0/backend/vbd
BACKENDTYPE=phy
SOAK=${SOAK:-}
mkdir -p "$LAB/keep" "$IMAGES"

# ---- messages and assertions ----------------------------------------------

note() {
	printf '[%4ds] %s\n' "$SECONDS" "$*"
}

fail() {
	printf 'FAIL %s: %s\n' "${BASH_SOURCE[-1]##*/}:${BASH_LINENO[0]}" "$*"
	exit 1
}

# scale FEW MANY: the count for `make check`, or for the soak.
scale() {
	if [ -n "$SOAK" ]; then echo "$2"; else echo "$1"; fi
}

assert_eq() {
	[ "$1" = "$2" ] || fail "$3: is '$1', should be '$2'"
}

assert_match() {
	[[ $1 =~ $2 ]] || fail "$3: '$1' does not match '$2'"
}

# assert_fails COMMAND...: its output is left in $OUTPUT.
# shellcheck disable=SC2034
assert_fails() {
	if OUTPUT=$("$@" 2>&1); then
		fail "succeeded, but should not have: $*"
	fi
}

# wait_for CONDITION SECONDS: for what announces itself by no event.
wait_for() {
	local end=$((SECONDS + $2))
	until eval "$1"; do
		[ "$SECONDS" -lt "$end" ] || fail "after $2 s still not: $1"
		sleep 0.1
	done
}

# wait_xs PATH VALUE SECONDS: until the node reads so; '' means it is absent.
wait_xs() {
	local path=$1 value=$2 seconds=$3 pid line
	exec {xs_fd}< <(exec timeout "$seconds" xenstore-watch "$path")
	pid=$!
	while read -r line <&"$xs_fd"; do
		[ "$(xenstore-read "$path" 2>/dev/null)" != "$value" ] || break
		line=
	done
	kill "$pid" 2>/dev/null || true
	exec {xs_fd}<&-
	[ -n "$line" ] || fail "after $seconds s $path is \
'$(xenstore-read "$path" 2>/dev/null)', should be '$value'"
}

xs() {
	xenstore-read "$1" 2>/dev/null || true
}

# ---- the daemon ------------------------------------------------------------

daemon_pids() {
	pgrep -x xen-diskd || true
}

worker_pids() {
	pgrep -f '^[^ ]*xen-diskd-worker' || true
}

daemon_start() {
	command -v xen-diskd >/dev/null || fail 'xen-diskd is not installed'
	[ -z "$(daemon_pids)" ] || fail 'xen-diskd runs already'
	setsid xen-diskd --log-level=debug "$@" >>"$DAEMON_LOG" 2>&1 \
		</dev/null 9>&- &
	local pid=$!
	wait_for "xen-diskctl list >/dev/null 2>&1 ||
		! kill -0 $pid 2>/dev/null" 20
	kill -0 "$pid" 2>/dev/null || fail 'xen-diskd ended at once'
}

daemon_need() {
	[ -n "$(daemon_pids)" ] || daemon_start "$@"
}

daemon_stop() {
	local pid
	for pid in $(daemon_pids); do
		kill -INT "$pid"
		wait_for "! kill -0 $pid 2>/dev/null" 15
	done
}

daemon_log() {
	tail -c +"$((LOG_FROM + 1))" "$DAEMON_LOG" 2>/dev/null || true
}

# Open files of supervisor and workers; an idle daemon's must not grow.
daemon_fds() {
	local pid n=0
	for pid in $(daemon_pids) $(worker_pids); do
		n=$((n + $(find "/proc/$pid/fd" -mindepth 1 | wc -l)))
	done
	echo "$n"
}

# ---- guests ------------------------------------------------------------------

guest_exists() {
	xl domid "$1" >/dev/null 2>&1
}

guest_ramdisk() {
	[ -e "$LAB/guest.cpio" ] ||
		cat /boot/guest/base.cpio /lab/guest/extra.cpio \
			>"$LAB/guest.cpio"
	echo "$LAB/guest.cpio"
}

# What a guest's kernel is told; GUEST_ARGS adds to it.
guest_arguments() {
	echo "console=hvc0 quiet mitigations=off nokaslr panic=1 loglevel=4" \
		"${GUEST_ARGS:-}"
}

# guest_config NAME pv|pvh [DISK...]: a GUEST_LOADER is started in place of the
# kernel, and finds what it needs by itself.  GUEST_RAMDISK takes the place of
# the ordinary one; GUEST_CONFIG is a line more.
guest_config() {
	local name=$1 type=$2 disk list=
	shift 2
	for disk in "$@"; do
		list+="${list:+, }'$disk'"
	done
	printf '%s = "%s"\n' name "$name" type "$type"
	if [ -n "${GUEST_LOADER:-}" ]; then
		echo "kernel = \"$GUEST_LOADER\""
	else
		cat <<-END
			kernel = "/boot/guest/vmlinux"
			ramdisk = "${GUEST_RAMDISK:-$(guest_ramdisk)}"
			extra = "$(guest_arguments)"
		END
	fi
	cat <<-END
		memory = ${GUEST_MEM:-128}
		vcpus = ${GUEST_VCPUS:-1}
		on_crash = "destroy"
		on_reboot = "restart"
		disk = [ $list ]
		${GUEST_CONFIG:-}
	END
}

console_size() {
	stat -c %s "$CONSOLES/guest-$1.log" 2>/dev/null || echo 0
}

# guest_ready NAME FROM [SECONDS]: until its init has said so on the console,
# beyond byte FROM of the console's log.
guest_ready() {
	local name=$1 from=$2 seconds=${3:-60} log=$CONSOLES/guest-$1.log
	local pid fd line
	wait_for "[ -e $log ]" "$seconds"
	exec {fd}< <(exec timeout "$seconds" tail -c +"$((from + 1))" -f "$log")
	pid=$!
	while read -r line <&"$fd"; do
		[[ $line != *@@GUEST-READY* ]] || break
	done
	kill "$pid" 2>/dev/null || true
	exec {fd}<&-
	# What was read last may be half a line, when the time was up.
	[[ $line == *@@GUEST-READY* ]] || fail "guest $name did not come up in $seconds s"
}

guest_create() {
	local from
	from=$(console_size "$1")
	guest_config "$@" >"$LAB/$1.cfg"
	xl create -q "$LAB/$1.cfg"
	guest_ready "$1" "$from" "${GUEST_WAIT:-60}"
}

guest_need() {
	guest_exists "$1" || guest_create "$1" "$2"
	touch "$LAB/keep/$1"
	guest_run "$1" "echo '$KERNEL_LOG_MARK' >/dev/kmsg"
}

# The I/O errors that the guest's kernel has logged since the scenario began:
# a shared guest has those of earlier scenarios too, which want some.
KERNEL_LOG_MARK='lab: a scenario begins'

guest_io_errors() {
	guest_run "$1" "dmesg | awk '
		/$KERNEL_LOG_MARK/ { n = 0 }
		/I\/O error/ { n++ }
		END { print n + 0 }'"
}

guest_destroy() {
	rm -f "$LAB/keep/$1"
	xl destroy "$1"
	wait_for "! xl domid $1 >/dev/null 2>&1" 20
}

guest_pty() {
	xenstore-read "/local/domain/$(xl domid "$1")/console/tty"
}

guest_run() {
	GUEST_SEQ=$((${GUEST_SEQ:-0} + 1))
	guestexec "$(guest_pty "$1")" "$BASHPID.$RANDOM.$GUEST_SEQ" \
		"${3:-30}" "$2"
}

# A job outlives the console it was started from, so it can run through a
# migration; its output and status wait in the guest's /run.
guest_start() {
	guest_run "$1" "rm -f /run/job.$2.*
		(sh -c '$3' >/run/job.$2.out 2>&1
		echo \$? >/run/job.$2.tmp
		mv /run/job.$2.tmp /run/job.$2.status) >/dev/null 2>&1 &"
}

guest_await() {
	guest_run "$1" "
		n=0
		until [ -e /run/job.$2.status ]; do
			n=\$((n + 1)); [ \$n -lt $((${3:-60} * 10)) ] || break
			usleep 100000
		done
		cat /run/job.$2.out
		exit \$(cat /run/job.$2.status 2>/dev/null || echo 124)" \
		"$((${3:-60} + 10))"
}

# guest_disk NAME VDEV [SECONDS]: until the guest has the disk.
guest_disk() {
	guest_run "$1" "n=0
		until [ -b /dev/$2 ] && [ \$(cat /sys/block/$2/size) != 0 ]; do
			n=\$((n + 1)); [ \$n -lt $((${3:-10} * 20)) ] || exit 1
			usleep 50000
		done" "$((${3:-10} + 5))" || fail "guest $1 has no $2"
}

guest_no_disk() {
	guest_run "$1" "n=0
		while [ -b /dev/$2 ]; do
			n=\$((n + 1)); [ \$n -lt 200 ] || exit 1
			usleep 50000
		done" || fail "guest $1 still has $2"
}

# ---- disks ---------------------------------------------------------------------

# image NAME SIZE: a fresh sparse image; prints its path.
image() {
	rm -f "$IMAGES/$1"
	truncate -s "$2" "$IMAGES/$1"
	echo "$IMAGES/$1"
}

# The kind of node that is nobody's but ours, and its name in xl's language.
path_a() {
	BACKEND=/local/domain/0/backend/vbd3
	BACKENDTYPE=tap
}

# disk_spec VDEV TARGET [WORD...]: what the path is called in xl's language.
disk_spec() {
	local vdev=$1 target=$2 word words=
	shift 2
	for word in "$@"; do
		words+=",$word"
	done
	echo "vdev=$vdev,backendtype=$BACKENDTYPE$words,script=block-xen-diskd,target=$target"
}

attach() {
	local name=$1 vdev=$2
	shift
	xl block-attach "$name" "$(disk_spec "$@")"
	guest_disk "$name" "$vdev"
}

# The elapsed milliseconds of xl block-attach, in MS; its output in OUTPUT.
timed_attach() {
	local start status=0
	start=$(date +%s%N)
	OUTPUT=$(timeout 30 xl block-attach "$1" "$2" 2>&1) || status=$?
	MS=$((($(date +%s%N) - start) / 1000000))
	return "$status"
}

# The milliseconds from the daemon's first look at the last disk to its last error.
refusal_ms() {
	daemon_log | awk '
		function ms(text, part) {
			split(text, part, /[:.]/)
			return ((part[1] * 60 + part[2]) * 60 + part[3]) * 1000 +
				part[4]
		}
		/worker none -> none/ { start = ms($1) }
		/ error: vbd/ { end = ms($1) }
		END { print end - start }'
}

# attach_refused TARGET PATTERN [WORD...]: to g1, as xvdb.  xl itself tells the
# cause, within ATTACH_MS (2 s), and block-detach leaves nothing.  Of what xl takes
# for itself, which an emulated machine makes long, a second counts.
attach_refused() {
	local target=$1 pattern=$2 workers
	workers=$(worker_pids | wc -l)
	shift 2
	! timed_attach g1 "$(disk_spec xvdb "$target" "$@")" ||
		fail "'$target' was attached"
	note "$MS ms, '$target': $(grep -m 1 'script:' <<<"$OUTPUT")"
	assert_match "$(grep 'script:' <<<"$OUTPUT")" "$pattern" \
		"what xl says about '$target'"
	xl block-detach g1 xvdb || true
	wait_xs "$(backend_dir g1 xvdb)" '' 10
	wait_xs "/libxl/$(xl domid g1)/device/vbd/51728" '' 10
	wait_for "[ \$(worker_pids | wc -l) = $workers ]" 10
	[ "$MS" -le "${ATTACH_MS:-2000}" ] ||
		[ $(($(refusal_ms) + 1000)) -le "${ATTACH_MS:-2000}" ] ||
		fail "'$target' took $MS ms, $(refusal_ms) of them ours"
}

detach() {
	xl block-detach "$1" "$2"
	guest_no_disk "$1" "$2"
}

# verify_parts NAME VDEV FILE PARTS [OPTION...]: equal parts of a disk, each
# written and read back on a CPU of its own, at the same time; then FILE, which
# is behind the disk, has to have the same.
verify_parts() {
	local name=$1 vdev=$2 file=$3 parts=$4 sectors i
	shift 4
	sectors=$(($(guest_run "$name" "cat /sys/block/$vdev/size") / parts))
	guest_run "$name" "
		modprobe dm_mod
		rm -f /run/part*
		i=0
		while [ \$i -lt $parts ]; do
			echo \"0 $sectors linear /dev/$vdev \$((i * $sectors))\" |
				dmsetup create part\$i --noudevsync --noudevrules
			(taskset -c \$((i % \$(nproc))) blkverify write \
				/dev/dm-\$i --seed=\$((i + 1)) $* \
				>/run/part\$i.out 2>&1 ||
				touch /run/part.failed) &
			i=\$((i + 1))
		done
		wait
		while [ \$i -gt 0 ]; do
			i=\$((i - 1))
			dmsetup remove part\$i --noudevsync --noudevrules
		done
		cat /run/part?.out
		[ ! -e /run/part.failed ]" 90 >"$LAB/parts.out" 2>&1 || {
		cat "$LAB/parts.out"
		fail "the parts of $vdev in $name"
	}
	for ((i = 0; i < parts; i++)); do
		dd if="$file" of="$LAB/part" bs=512 skip=$((i * sectors)) \
			count="$sectors" 2>/dev/null
		assert_eq "$(blkverify sum "$LAB/part")" \
			"$(grep '^digest' "$LAB/parts.out" |
				sed -n "$((i + 1))p")" "part $i of $file"
	done
	rm "$LAB/part"
}

vdev_number() {
	local letter=${1#xvd}
	echo $((51712 + ($(printf '%d' "'$letter") - 97) * 16))
}

# backend_dir NAME VDEV
backend_dir() {
	echo "$BACKEND/$(xl domid "$1")/$(vdev_number "$2")"
}

# The kernel's driver beside ours, for other disks than ours.
blkback_load() {
	rm -f /etc/modprobe.d/xen-diskd.conf
	modprobe xen-blkback
}

blkback_unload() {
	modprobe -r xen-blkback || fail 'xen-blkback is still in use'
	printf '%s\n' 'blacklist xen-blkback' \
		'install xen-blkback /bin/false' \
		>/etc/modprobe.d/xen-diskd.conf
	# udevd looks at its configuration every 3 s at most, and would load the
	# module again for the next disk.
	udevadm control --reload
}

# ---- the hypervisor's own counts ---------------------------------------------------

# A line for each domain: its name, its grants that somebody has mapped, its
# event channels.
xen_counters() {
	xl dmesg -c >/dev/null
	xl debug-keys g
	xl debug-keys e
	xl dmesg | awk '
		/grant-table for remote d[0-9]+/ {
			match($0, /remote d[0-9]+/)
			dom = substr($0, RSTART + 8, RLENGTH - 8)
			grants[dom] += 0; seen[dom] = 1; part = "g"
		}
		/Event channel information for domain/ {
			dom = $NF; sub(/:.*/, "", dom)
			ports[dom] += 0; seen[dom] = 1; part = "e"
		}
		part == "g" && /\[0x[0-9a-f]+\]/ { grants[dom]++ }
		part == "e" && /\[[0-9]\/[0-9]\// { ports[dom]++ }
		END {
			for (dom in seen)
				printf "d%d grants %d ports %d\n", dom,
					grants[dom], ports[dom]
		}' | sort
}

# Open descriptors of the daemon and its workers, by what they are of.
daemon_fd_kinds() {
	local pid
	for pid in $(daemon_pids) $(worker_pids); do
		find "/proc/$pid/fd" -mindepth 1 -printf '%l\n'
	done | sed 's/:\[[0-9]*\]//' | sort | uniq -c |
		awk '{ $1 = $1; print }' | paste -s -d ,
}

# Of what may leak, by all accounts, a line a kind.
host_counters() {
	xen_counters
	echo "supervisors $(daemon_pids | wc -l) workers $(worker_pids | wc -l)"
	echo "fds: $(daemon_fd_kinds)"
	echo "gntdev maps $(grep -c gntdev /proc/[0-9]*/maps 2>/dev/null |
		awk -F: '{ n += $NF } END { print n + 0 }')"
	echo "nodes $(xenstore-ls -f /local/domain/0/backend | wc -l)" \
		"$(xenstore-ls -f /libxl | wc -l)"
	echo "run directory: $(find /run/xen-diskd -mindepth 1 -printf '%P\n' |
		sort | paste -s -d ' ')"
}

# ---- a clean host --------------------------------------------------------------------

# Prints what a scenario left behind; nothing when the host is clean.
host_leftovers() {
	local name
	for name in $(xl list | awk 'NR > 2 { print $1 }'); do
		[ -e "$LAB/keep/$name" ] || echo "domain $name"
	done
	xenstore-ls -f "${BACKEND%/*}" 2>/dev/null |
		sed -n "s|^${BACKEND%/*}/\(vbd3*/[0-9]*/[0-9]*\) .*|backend \1|p" ||
		true
	xenstore-ls -f /libxl 2>/dev/null |
		sed -n 's|^/libxl/\([0-9]*/device/vbd/[0-9]*\) .*|libxl \1|p' ||
		true
	worker_pids | sed 's/^/worker process /'
	losetup -n -l -O NAME | sed 's/^/loop device /'
}

# Waits for the end of what is on its way out: that may take its time, but not
# long.  The pattern names what may stay.
leftovers_gone() {
	local end=$((SECONDS + 10)) left
	while left=$(host_leftovers | grep -v "$1"); do
		[ "$SECONDS" -lt "$end" ] ||
			fail "left behind: $(tr '\n' ';' <<<"$left")"
		sleep 0.2
	done
}

host_clean() {
	leftovers_gone '^$'
}

# The same while a guest of the scenario's own lives on.
disks_clean() {
	leftovers_gone '^domain '
}

# By force, after a scenario failed.
host_reset() {
	local name pid
	for name in $(xl list | awk 'NR > 2 { print $1 }'); do
		timeout 20 xl destroy "$name"
	done
	for pid in $(daemon_pids) $(worker_pids); do
		kill -KILL "$pid"
	done
	pkill -KILL -x 'nbdkit|qemu-nbd'
	pkill -KILL -x gawk
	xenstore-rm "${BACKEND%/*}/vbd" 2>/dev/null
	xenstore-rm "${BACKEND%/*}/vbd3" 2>/dev/null
	umount "$LAB/mnt" /mnt 2>/dev/null
	rm -rf "$LAB"/keep/* "${IMAGES:?}"/*
	dmsetup remove_all 2>/dev/null
	losetup -D
	[ ! -d /sys/module/xen_blkback ] || blkback_unload
	# shellcheck disable=SC2016 # wait_for evaluates it
	wait_for '[ -z "$(host_leftovers)" ]' 10
}
