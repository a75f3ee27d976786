# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
#
# The host's side of the lab: makes a run's payload, boots Xen in QEMU, sends
# commands to dom0 and ends the machine, politely or by pulling the plug.
# Sourced by run.sh, demo.sh, shell.sh, bench/bench.sh and the scenarios that the
# host drives.
#
#	lab_make_image [-xen-VERSION]  that one, in LAB_IMAGE or beside it
#	lab_prepare WORK [DEST]   makes the payload in WORK; DEST is what
#	                          `make install DESTDIR=DEST` left; with
#	                          LAB_TORTURE set, /lab/torture.git and
#	                          /lab/torture.sums are in it
#	lab_prepare_temporary [DEST]  in a directory removed on exit
#	lab_boot [QEMU-OPTION...] returns when dom0 takes commands
#	dom0_run CMD [SECONDS]    output on stdout, returns CMD's status;
#	                          124 when it took too long, 125 when dom0 is
#	                          dead or hung (the machine is then gone)
#	lab_stop                  dom0 powers off
#	lab_kill                  SIGKILL to QEMU: a power cut
#	lab_console_tail [LINES]

LAB_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LAB_IMAGE=${LAB_IMAGE:-$LAB_SRC/../../build/lab/image}
LAB_BOOT_LIMIT=${LAB_BOOT_LIMIT:-150}
LAB_PID=
LAB_SEQ=0
LAB_KERNEL_ARGS=${LAB_KERNEL_ARGS:-}

# Emulation makes each of Xen's and Linux's mitigations costly, and the lab
# has nobody to protect from anybody.
LAB_XEN_ARGS='dom0_mem=1024M,max:1024M dom0_max_vcpus=2 console=com1'
LAB_XEN_ARGS+=' com1=115200,8n1 conring_size=4M spec-ctrl=no xpti=no iommu=no'
LAB_DOM0_ARGS='console=hvc0 quiet mitigations=off nokaslr panic=1 oops=panic'
# SMAP: dom0 crashes in create_bounce_frame; RDTSCP: PVH guests die; XSAVE (and
# AVX with it): programs in PVH guests, rarely in dom0, die of wrong memory.
LAB_CPU=max,smap=off,smep=off,pku=off,la57=off,rdtscp=off,xsave=off

lab_die() {
	printf 'lab: %s\n' "$*" >&2
	return 125
}

lab_make_image() {
	local version=${1#-xen-}
	"$LAB_SRC/image.sh" ${version:+--xen "$version"} "$LAB_IMAGE$1"
}

lab_compile() {
	local out=$1
	shift
	"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra -static -pthread -o "$out" "$@"
}

# The guests' second initramfs, which the kernel unpacks over the first.
lab_guest_cpio() {
	local dir=$1 out=$2
	mkdir -p "$dir/bin" "$dir/dev"
	install -m 755 "$LAB_SRC/guest/init" "$dir/init"
	lab_compile "$dir/bin/blkverify" "$LAB_SRC/guest/blkverify.c" &&
		lab_compile "$dir/bin/blkbench" "$LAB_SRC/guest/blkbench.c" ||
		return 1
	(cd "$dir" && find . | cpio -o -H newc --quiet -R 0:0) >"$out"
}

# With the walls of a worker.
lab_foreign() {
	local top=$LAB_SRC/../..
	lab_compile "$1" -D_GNU_SOURCE -I "$top" "$LAB_SRC/dom0/foreign.c" \
		"$top"/diskd/sandbox*.c "$top/common/error-text.c" \
		-lxenevtchn -lxengnttab -lxentoolcore -lxentoollog -lseccomp
}

# A root whose /bin, /sbin and /lib are links must not be given directories.
lab_merge_usr() {
	local d
	for d in bin sbin lib; do
		[ -d "$1/$d" ] || continue
		mkdir -p "$1/usr/$d"
		cp -a "$1/$d/." "$1/usr/$d/"
		rm -rf "${1:?}/$d"
	done
}

# Made here, with the sums of all its files: emulated, it would take minutes.
lab_torture() (
	# shellcheck disable=SC2034 # lib-git.sh works there
	LAB=$LAB_WORK IMAGES=$LAB_WORK
	# shellcheck source=lib-git.sh
	. "$LAB_SRC/lib-git.sh"
	"$LAB_SRC/../git-fat/torture.sh" "$1/torture.git" >/dev/null &&
		git -C "$1/torture.git" cat-file --batch-all-objects \
			--batch-check | awk '$2 == "blob" { print $1 }' |
		object_sums "$1/torture.git" >"$1/torture.sums"
)

# This machine's, which is of dom0's suite, and what it needs but libc.
lab_perf() {
	local perf
	perf=$(command -v perf) || {
		lab_die 'perf is not installed'
		return
	}
	mkdir "$1/perf" && cp -L "$perf" "$1/perf/perf" &&
		ldd "$perf" | awk '$3 ~ /^\// && $1 !~ /^(libc|libm|libpthread)\.so/ {
			print $3
		}' | xargs -r cp -L -t "$1/perf"
}

lab_prepare() {
	LAB_WORK=$1
	local dest=${2:-} stage=$1/payload
	rm -rf "$stage"
	mkdir -p "$stage/lab/bin" "$stage/lab/guest" "$LAB_WORK/guest"
	if [ -n "$dest" ]; then
		cp -a "$dest/." "$stage/" || return 1
		lab_merge_usr "$stage"
	fi
	cp -a "$LAB_SRC"/{dom0,scenarios,bench,lib*.sh} "$stage/lab/"
	[ -z "${LAB_TORTURE:-}" ] || lab_torture "$stage/lab" || return 1
	[ -z "${LAB_PERF:-}" ] || lab_perf "$stage/lab" || return 1
	lab_guest_cpio "$LAB_WORK/guest" "$stage/lab/guest/extra.cpio" &&
		cp "$LAB_WORK/guest/bin/blkverify" "$stage/lab/bin/" &&
		lab_compile "$stage/lab/bin/guestexec" \
			"$LAB_SRC/guest/guestexec.c" &&
		lab_compile "$stage/lab/bin/kill-busy" -I "$LAB_SRC/../.." \
			"$LAB_SRC/dom0/kill-busy.c" &&
		lab_foreign "$stage/lab/bin/foreign" || return 1
	tar -C "$stage" --owner=0 --group=0 -cf "$LAB_WORK/payload.tar" . ||
		return 1
	truncate -s %1M "$LAB_WORK/payload.tar"
}

# The same in a directory that goes when this shell does, and the machine too.
lab_prepare_temporary() {
	LAB_WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/xen-lab.XXXXXX") || return 1
	trap 'lab_kill; rm -rf "$LAB_WORK"' EXIT
	trap 'exit 130' INT TERM
	lab_prepare "$LAB_WORK" "${1:-}"
}

# Sets LAB_QEMU; the caller adds a chardev named ctl and a serial port.
lab_qemu_command() {
	local kernel="$LAB_IMAGE/vmlinux $LAB_DOM0_ARGS $LAB_KERNEL_ARGS"
	local disk=if=virtio,format=raw
	# shellcheck disable=SC2054 # the commas are QEMU's
	LAB_QEMU=(qemu-system-x86_64 -machine q35 -accel tcg,thread=multi
		-cpu "$LAB_CPU" -smp 2 -m 3072
		-kernel "$LAB_IMAGE/xen" -append "$LAB_XEN_ARGS"
		-initrd "$kernel,$LAB_IMAGE/initrd.img"
		-drive "$disk,file=$LAB_IMAGE/dom0.img,cache=unsafe,snapshot=on"
		-drive "$disk,file=$LAB_WORK/payload.tar,readonly=on"
		-device virtio-serial-pci
		-device virtserialport,chardev=ctl,name=lab
		-display none -nodefaults -no-reboot "$@")
}

# Starts QEMU with the control port on a pair of named pipes.  QEMU inherits
# our write end of the answering pipe, so its death reads as end of file.
lab_start_qemu() {
	local w=$LAB_WORK
	rm -f "$w/ctl.in" "$w/ctl.out"
	mkfifo "$w/ctl.in" "$w/ctl.out"
	lab_qemu_command -chardev "pipe,id=ctl,path=$w/ctl" "$@"
	(exec "${LAB_QEMU[@]}" 9>"$w/ctl.out" 2>"$w/qemu.log" </dev/null) &
	LAB_PID=$!
	exec 8<"$w/ctl.out" 7<>"$w/ctl.in"
}

lab_boot() {
	local deadline=$((SECONDS + LAB_BOOT_LIMIT)) line
	: "${LAB_SERIAL:=file:$LAB_WORK/console.log}"
	lab_start_qemu -serial "$LAB_SERIAL" "$@"
	while IFS= read -r -t "$((deadline - SECONDS + 1))" line <&8; do
		[ "$line" != '@@READY' ] || return 0
	done
	lab_kill
	lab_die 'dom0 did not come up'
}

# Reads dom0's answer to command $1 until second $2 of this shell's clock.
lab_answer() {
	local id=$1 deadline=$2 line rest
	while IFS= read -r -t "$((deadline - SECONDS + 1))" line <&8; do
		line=${line%$'\r'}
		case $line in
		"@@BEG $id") ;;
		*"@@END $id "*)
			rest=${line##*"@@END $id "}
			line=${line%"@@END $id "*}
			[ -z "$line" ] || printf '%s\n' "$line"
			return "$rest"
			;;
		*) printf '%s\n' "$line" ;;
		esac
	done
	lab_kill
	lab_die 'dom0 does not answer'
}

# Not to be called in a subshell that must learn of the machine's death; the
# caller sees it by status 125.
dom0_run() {
	local cmd=$1 limit=${2:-60}
	if [ -z "$LAB_PID" ] || ! kill -0 "$LAB_PID" 2>/dev/null; then
		lab_die 'the machine is not running'
		return
	fi
	LAB_SEQ=$((LAB_SEQ + 1))
	local id=$BASHPID.$LAB_SEQ
	printf 'run %s %s %s\n' "$id" "$limit" \
		"$(printf '%s' "$cmd" | base64 -w0)" >&7
	lab_answer "$id" "$((SECONDS + limit + 40))"
}

lab_close() {
	exec 7>&- 8<&-
	LAB_PID=
}

lab_kill() {
	[ -n "$LAB_PID" ] || return 0
	kill -KILL "$LAB_PID" 2>/dev/null
	wait "$LAB_PID" 2>/dev/null
	lab_close
	return 0
}

lab_stop() {
	[ -n "$LAB_PID" ] || return 0
	local line
	kill -0 "$LAB_PID" 2>/dev/null && echo poweroff >&7
	# End of file comes when QEMU has gone.
	while IFS= read -r -t 30 line <&8; do :; done
	lab_kill
}

lab_console_tail() {
	local log=$LAB_WORK/console.log
	[ -f "$log" ] || return 0
	printf -- '--- the console ends with:\n'
	tail -n "${1:-30}" "$log" | tr -d '\r'
}
