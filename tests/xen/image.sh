#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Builds what the lab boots, from Debian packages: dom0's root as an ext4
# image, Xen, the kernel, dom0's initramfs and the guests' initramfs.
#
#	image.sh [--xen VERSION] OUTDIR
#
# VERSION is 4.17, Debian 12's, or 4.20: Debian 13's Xen and user space over
# Debian 12's kernel, with the libraries of Debian 12 that our programs, which
# are built there, want.
#
# OUTDIR receives xen, vmlinux, initrd.img, dom0.img and stamp.  The stamp is
# the hash of this script, of the package list and of the versions that apt
# would install now, where this machine's apt knows them: nothing is built when
# it still holds.  Nothing of this project goes into the image; it arrives with
# each run (see lab_prepare in host-lib.sh), so a change of ours never costs a
# rebuild.
#
# Packages are unpacked, not configured.  No maintainer script is needed for
# what dom0 does here, and unpacking takes a quarter of the time.

set -euo pipefail
export LC_ALL=C

# The machine's own suite; another one is named in its place in apt's sources.
SUITE=bookworm

# What dom0 runs, and what xen-diskd and the scenarios need at run time.
DOM0_PACKAGES=(
	bash coreutils findutils gawk grep sed tar gzip util-linux mount procps
	psmisc kmod udev e2fsprogs dosfstools dmsetup cpio strace jq passwd
	base-files base-passwd libc-bin iproute2
	xen-utils-common xenstore-utils
	libnbd0 libgit2-1.5 liburing2 libjansson4
	libxenstore4 libxengnttab1 libxenevtchn1 libxentoollog1
	libpcre2-8-0 zlib1g
)
# What the peers, GRUB, the NBD servers and the systemd of Xen 4.17's scenarios
# need; the last two are for the init script of Xen.
DOM0_PACKAGES_4_17=(
	fio grub-xen-host qemu-system-xen libseccomp2 libcap-ng0 libglib2.0-0
	libfuse3-3
	systemd sysvinit-utils dpkg
)

# Unpacked beside the root: only a few of their files are kept.
KERNEL_META=linux-image-amd64
# All that the scenarios do with git is in its one program; the rest of the
# package would bring perl, curl and Kerberos along.
GIT=git
# Of the NBD servers too: the packages want a BitTorrent client, SSH and curl.
NBD_SERVERS=(nbdkit qemu-utils)
NBD_PROGRAMS=(nbdkit qemu-img qemu-nbd)
NBDKIT_PLUGINS=(file memory)
NBDKIT_FILTERS=(blocksize-policy cache delay log)

# In load order: the disk that holds the root, then the root's file system.
INITRD_MODULES=(
	virtio_ring virtio virtio_pci virtio_blk crc32c_generic ext4
)
DOM0_MODULES=(
	"${INITRD_MODULES[@]}"
	virtio_console xen-blkback xen-gntdev xen-gntalloc xen-evtchn
	xen-privcmd xenfs xen-blkfront loop dm_mod fat vfat nls_cp437
	nls_ascii nls_iso8859-1 nls_utf8 isofs null_blk brd
)
GUEST_MODULES=(
	xen-blkfront crc32c_generic ext4 vfat nls_cp437 nls_ascii
	nls_iso8859-1 nls_utf8 dm_mod
)
# Programs that busybox has no equal of here, with their libraries.
GUEST_PROGRAMS=(sbin/mke2fs sbin/e2fsck sbin/dmsetup usr/bin/flock)

say() {
	printf 'image: [%3ds] %s\n' "$SECONDS" "$*"
}

die() {
	printf 'image: %s\n' "$*" >&2
	exit 1
}

# The kernel that the meta package stands for, linux-image-6.1.0-NN-amd64.
kernel_package() {
	apt-cache depends --no-recommends --no-suggests "$KERNEL_META" |
		awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ {
			print $2; exit }'
}

inputs_hash() {
	{
		cat "$0" && echo "$XEN"
		apt-cache policy "${DOM0_PACKAGES[@]}" "$KERNEL" \
			"$GIT" "${NBD_SERVERS[@]}" busybox-static |
			awk '/^[^ ]/ || /Candidate:/'
	} | sha256sum | cut -d' ' -f1
}

select_xen() {
	SUITES=("$SUITE")
	case $1 in
	4.17)
		DOM0_PACKAGES+=("${DOM0_PACKAGES_4_17[@]}")
		;;
	4.20)
		# The newer of two versions wins; libgit2-1.5 has only one.
		SUITES=(trixie "$SUITE")
		NBD_SERVERS=() NBD_PROGRAMS=() NBDKIT_PLUGINS=() NBDKIT_FILTERS=()
		;;
	*) die "Xen '$1': 4.17 or 4.20" ;;
	esac
	XEN=$1
	DOM0_PACKAGES+=("xen-hypervisor-$XEN-amd64" "xen-utils-$XEN")
}

# Their entries for the selected suites.
debian_sources() {
	local suite
	for suite in "${SUITES[@]}"; do
		own_sources | sed "s/\b$SUITE\b/$suite/g"
	done
}

# The machine's own entries for Debian's suites, security included; mirrors of
# other projects are left out, whatever they are for.
own_sources() {
	local file
	for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$file" ] || continue
		awk -v s="$SUITE" '$1 == "deb" {
			i = 2
			if ($2 ~ /^\[/)
				while ($i !~ /\]$/)
					i++
			if ($2 ~ /^\[/)
				i++
			if ($(i + 1) ~ "^" s "(-updates|-security)?$")
				print
		}' "$file"
	done
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] || continue
		awk -v s="$SUITE" 'BEGIN { RS = ""; ORS = "\n\n" }
			$0 ~ "(^|\n)Suites:[^\n]*[ \t]" s "(-[a-z]+)?([ \t\n]|$)"
			' "$file"
	done
}

fetch_kernel_and_git() {
	mkdir -p "$work"/{debs,kernel,git,nbd}
	local name
	local get=(apt-get -q -o APT::Sandbox::User=root download
		"$KERNEL" "$GIT" "${NBD_SERVERS[@]}")
	(cd "$work/debs" && "${get[@]}") >"$work/download.log" 2>&1 || {
		apt-get -q update >>"$work/download.log" 2>&1
		(cd "$work/debs" && "${get[@]}") >>"$work/download.log" 2>&1
	} || {
		cat "$work/download.log" >&2
		die "cannot download $KERNEL, $GIT, ${NBD_SERVERS[*]}"
	}
	dpkg-deb -x "$work"/debs/"$KERNEL"_*.deb "$work/kernel"
	dpkg-deb -x "$work"/debs/"$GIT"_*.deb "$work/git"
	for name in "${NBD_SERVERS[@]}"; do
		dpkg-deb -x "$work"/debs/"$name"_*.deb "$work/nbd"
	done
}

# Strips the boot wrapper off a bzImage.  Xen and libxl would otherwise
# decompress it in emulated code at every boot of dom0 and of a guest.
extract_vmlinux() {
	local image=$1 out=$2 offset
	# The signatures of xz and zstd; the wrapper's own code may hold the
	# bytes too, so each place is tried until an ELF file comes out.
	for offset in $(grep -obUaP '\xFD7zXZ\x00' "$image" | cut -d: -f1); do
		tail -c +$((offset + 1)) "$image" | xz -dc >"$out" 2>/dev/null ||
			true
		is_elf "$out" && return 0
	done
	for offset in $(grep -obUaP '\x28\xB5\x2F\xFD' "$image" |
		cut -d: -f1); do
		tail -c +$((offset + 1)) "$image" | zstd -dc >"$out" \
			2>/dev/null || true
		is_elf "$out" && return 0
	done
	die "no kernel found inside $image"
}

is_elf() {
	[ "$(head -c 4 "$1" | tail -c 3)" = ELF ]
}

# Prints the files of the named modules and of all they need, in load order.
module_files() {
	local name
	for name in "$@"; do
		modprobe -d "$work/kernel" -S "$KVER" --show-depends "$name" ||
			die "kernel $KVER has no module $name"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# Copies modules into a root, flat, and makes the tables modprobe reads.
install_modules() {
	local root=$1 dir
	shift
	dir=$root/lib/modules/$KVER
	mkdir -p "$dir/kernel"
	module_files "$@" | xargs cp -t "$dir/kernel"
	strip --strip-debug "$dir"/kernel/*.ko
	cp "$work/kernel/lib/modules/$KVER"/modules.{order,builtin} "$dir/"
	cp "$work/kernel/lib/modules/$KVER"/modules.builtin.modinfo "$dir/"
	depmod -b "$root" "$KVER"
}

build_root() {
	debian_sources >"$work/debian.sources"
	[ -s "$work/debian.sources" ] ||
		die "no apt source of this machine names $SUITE"
	local list
	printf -v list '%s,' "${DOM0_PACKAGES[@]}"
	mmdebstrap --mode=root --variant=extract --include="${list%,}" \
		--aptopt='Acquire::Languages "none"' \
		--aptopt='APT::Install-Recommends "false"' \
		--setup-hook='mkdir -p "$1"/usr/bin "$1"/usr/sbin "$1"/usr/lib \
			"$1"/usr/lib64; for d in bin sbin lib lib64; do
			ln -s usr/$d "$1"/$d; done' \
		"${SUITES[0]}" "$root" "$work/debian.sources" \
		>"$work/mmdebstrap.log" 2>&1 || {
		tail -n 30 "$work/mmdebstrap.log" >&2
		die 'mmdebstrap failed'
	}
	gzip -dc "$root/boot/xen-$XEN-amd64.gz" >"$out/xen"
	trim_root
	configure_root
}

trim_root() {
	rm -rf "$root"/usr/share/{doc,man,locale,info,lintian,bug,fonts} \
		"$root"/usr/share/{i18n,gtk-doc,X11,icons,zoneinfo} \
		"$root"/var/cache/apt "$root"/var/lib/apt \
		"$root"/usr/lib/udev/hwdb.d "$root"/usr/lib/x86_64-linux-gnu/gconv \
		"$root"/boot/xen*
	# Of QEMU the qdisk backend is used, for which no firmware runs.
	rm -rf "$root"/usr/share/{qemu,seabios} "$root"/usr/lib/ipxe
	find "$root" -name __pycache__ -prune -exec rm -rf {} +
}

install_nbd_servers() {
	local name lib=usr/lib/x86_64-linux-gnu/nbdkit
	mkdir -p "$root/$lib"/{plugins,filters}
	for name in "${NBD_PROGRAMS[@]}"; do
		cp "$work/nbd/usr/bin/$name" "$root/usr/bin/"
	done
	for name in "${NBDKIT_PLUGINS[@]}"; do
		cp "$work/nbd/$lib/plugins/nbdkit-$name-plugin.so" \
			"$root/$lib/plugins/"
	done
	for name in "${NBDKIT_FILTERS[@]}"; do
		cp "$work/nbd/$lib/filters/nbdkit-$name-filter.so" \
			"$root/$lib/filters/"
	done
}

# What maintainer scripts would have left behind, as far as dom0 needs it.
configure_root() {
	cp "$root"/usr/share/base-passwd/passwd.master "$root"/etc/passwd
	cp "$root"/usr/share/base-passwd/group.master "$root"/etc/group
	ln -sf gawk "$root"/usr/bin/awk
	ln -sf bash "$root"/usr/bin/sh
	ln -sf /proc/mounts "$root"/etc/mtab
	echo dom0 >"$root"/etc/hostname
	echo '127.0.0.1 localhost dom0' >"$root"/etc/hosts
	cp "$work/git/usr/bin/git" "$root/usr/bin/git"
	mkdir -p "$root"/usr/share/git-core/templates
	install_nbd_servers
	mkdir -p "$root"/var/log/xen/console "$root"/var/lib/xen \
		"$root"/{proc,sys,dev,run,tmp,root,lab} "$root"/etc/modprobe.d \
		"$root"/etc/xen
	ln -sfn /run "$root"/var/run
	ldconfig -r "$root"
	install_modules "$root" "${DOM0_MODULES[@]}"
}

# A cpio archive of a directory, in the form the kernel unpacks.  It stays
# uncompressed: reading it is cheaper than emulated decompression.
pack_cpio() {
	(cd "$1" && find . | cpio -o -H newc --quiet -R 0:0) >"$2"
}

busybox_tree() {
	local dir=$1
	mkdir -p "$dir"/{bin,dev,proc,sys,run,tmp,etc,mnt}
	cp "$(command -v busybox)" "$dir/bin/busybox"
	"$dir/bin/busybox" --list | while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$dir/bin/$applet"
	done
	ln -s bin "$dir/sbin"
}

build_initrd() {
	local dir=$work/initrd
	busybox_tree "$dir"
	mkdir -p "$dir/modules" "$dir/newroot"
	local n=10 file
	for file in $(module_files "${INITRD_MODULES[@]}"); do
		cp "$file" "$dir/modules/$n-${file##*/}"
		n=$((n + 1))
	done
	strip --strip-debug "$dir"/modules/*.ko
	cat >"$dir/init" <<-'END'
		#!/bin/sh
		# Mounts dom0's root, unpacks the run's payload onto it and
		# hands over to the payload's init.
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t devtmpfs dev /dev
		for m in /modules/*.ko; do insmod "$m"; done
		n=0
		until [ -b /dev/vda ] && [ -b /dev/vdb ]; do
			n=$((n + 1))
			[ "$n" -lt 100 ] || { echo "LAB: no disk"; poweroff -f; }
			usleep 100000
		done
		mount -t ext4 -o noatime /dev/vda /newroot ||
			{ echo "LAB: cannot mount the root"; poweroff -f; }
		tar -x -f /dev/vdb -C /newroot ||
			{ echo "LAB: cannot unpack the payload"; poweroff -f; }
		umount /proc /sys
		mount -o move /dev /newroot/dev
		exec switch_root /newroot /lab/dom0/init
	END
	chmod +x "$dir/init"
	pack_cpio "$dir" "$out/initrd.img"
}

# Copies a program of dom0's root with the libraries it names.
copy_program() {
	local program=$1 dir=$2 lib
	cp -L "$root/$program" "$dir/bin/"
	chroot "$root" /usr/bin/bash -c "LD_TRACE_LOADED_OBJECTS=1 /$program" |
		awk '/=> \// { print $3 } /^[ \t]*\/lib/ { print $1 }' |
		while read -r lib; do
			mkdir -p "$dir/lib/x86_64-linux-gnu"
			cp -L -n "$root/$lib" "$dir/lib/x86_64-linux-gnu/"
		done
	mkdir -p "$dir/lib64"
	cp -L "$root/lib64/ld-linux-x86-64.so.2" "$dir/lib64/"
}

build_guest() {
	local dir=$work/guest program
	busybox_tree "$dir"
	install_modules "$dir" "${GUEST_MODULES[@]}"
	rm -f "$dir/bin/mke2fs" "$dir/bin/fsck"
	for program in "${GUEST_PROGRAMS[@]}"; do
		copy_program "$program" "$dir"
	done
	ln -sf mke2fs "$dir/bin/mkfs.ext4"
	mkdir -p "$root/boot/guest"
	cp "$root/etc/mke2fs.conf" "$dir/etc/"
	pack_cpio "$dir" "$root/boot/guest/base.cpio"
	cp "$out/vmlinux" "$root/boot/guest/vmlinux"
	# For GRUB: that of PVH starts nothing but a bzImage, and that of PV
	# takes more than a minute, emulated, to unpack one.
	cp "$work/kernel/boot/vmlinuz-$KVER" "$root/boot/guest/vmlinuz"
	gzip -1 -c "$out/vmlinux" >"$root/boot/guest/vmlinux.gz"
}

build_disk() {
	# The file stays sparse: the free space is for the scenarios' images.
	truncate -s 6G "$out/dom0.img"
	mke2fs -q -F -t ext4 -L dom0 -m 0 -E lazy_itable_init=1 \
		-O ^metadata_csum -J size=32 -N 65536 -d "$root" "$out/dom0.img"
}

main() {
	local version=4.17 final hash
	[ "${1:-}" != --xen ] || { version=${2:?} && shift 2; }
	[ $# = 1 ] || die 'usage: image.sh [--xen VERSION] OUTDIR'
	final=$1
	select_xen "$version"
	KERNEL=$(kernel_package)
	[ -n "$KERNEL" ] || {
		apt-get -q update >/dev/null
		KERNEL=$(kernel_package)
	}
	[ -n "$KERNEL" ] || die "apt knows no $KERNEL_META"
	KVER=${KERNEL#linux-image-}
	hash=$(inputs_hash)
	if [ -f "$final/stamp" ] && [ "$(cat "$final/stamp")" = "$hash" ]; then
		return 0
	fi
	[ "$(id -u)" = 0 ] || die 'must be root to make the image'

	mkdir -p "$(dirname "$final")"
	final=$(cd "$(dirname "$final")" && pwd)/$(basename "$final")
	work=$(mktemp -d "$final.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	root=$work/root out=$work/out
	mkdir -p "$root" "$out"

	say "kernel $KVER, git and NBD servers: download and unpack"
	fetch_kernel_and_git
	extract_vmlinux "$work/kernel/boot/vmlinuz-$KVER" "$out/vmlinux"
	depmod -b "$work/kernel" "$KVER"
	say "dom0's root, Xen $XEN: ${#DOM0_PACKAGES[@]} packages and what they need"
	build_root
	say 'initramfs of dom0 and of the guests'
	build_initrd
	build_guest
	say "ext4 image of $(du -sm "$root" | cut -f1) MiB"
	build_disk
	echo "$hash" >"$out/stamp"
	rm -rf "$final.old"
	[ ! -e "$final" ] || mv "$final" "$final.old"
	mv "$out" "$final"
	rm -rf "$final.old"
	say "done: $final"
}

main "$@"
