# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 240
#
# Path D: xen-diskd in a driver domain serves another guest, from a file and from
# the driver domain's own disk, which it has from the daemon in dom0.  No script
# runs; the driver domain's daemon may write nothing but its own directories.

NODES=

# The programs, with their libraries, and the modules that a daemon wants: what
# the driver domain has beyond any other guest.
driver_ramdisk() {
	local dir=$LAB/driver program file
	rm -rf "$dir"
	mkdir -p "$dir"/{bin,modules,lib/x86_64-linux-gnu,etc/xen/scripts,var}
	ln -s ../run "$dir/var/run"
	cp /etc/xen/scripts/block-xen-diskd "$dir/etc/xen/scripts/"
	for program in "$@"; do
		cp "$(command -v "$program")" "$dir/bin/"
		for file in $(ldd "$dir/bin/${program##*/}" |
			awk '/=> \// { print $3 }'); do
			cp -L -n "$file" "$dir/lib/x86_64-linux-gnu/"
		done
	done
	for file in xen-gntdev xen-evtchn xen-privcmd xenfs; do
		modprobe -D "$file" | awk '$1 == "insmod" { print $2 }'
	done | sort -u | xargs cp -t "$dir/modules"
	cat "$(guest_ramdisk)"
	(cd "$dir" && find . -mindepth 1 | cpio -o -H newc --quiet -R 0:0)
}

driver_daemon_start() {
	guest_run driver 'setsid xen-diskd --log-level=debug \
			</dev/null >>/run/xen-diskd.log 2>&1 &
		n=0
		until xen-diskctl list >/dev/null 2>&1; do
			n=$((n + 1)); [ $n -lt 200 ] || exit 1
			usleep 50000
		done'
}

driver_attach() {
	xl block-attach "$1" "$(driver_spec "$2" "$3")" || {
		guest_run driver 'tail -n 20 /run/xen-diskd.log'
		fail 'not attached'
	}
	guest_disk "$1" "$2"
}

driver_spec() {
	disk_spec "$1" "$2" backend=driver
}

# Nothing is left of the disks that it served.
driver_clean() {
	wait_for '[ -z "$(xenstore-ls "$NODES" 2>/dev/null)" ]' 10
	assert_eq "$(guest_run driver 'pidof xen-diskd-worker || true')" '' \
		'workers in the driver domain'
}

# What the driver domain grants is for its own disk, and comes and goes.
counters() {
	xen_counters | sed "s/^d$driver grants [0-9]* /d$driver /"
}

daemon_need
guest_need g1 pv
own=$(image own.img 16M)
driver_ramdisk xen-diskd xen-diskd-worker xen-diskctl xl xenstore-list \
	xenstore-write >"$LAB/driver.cpio"
GUEST_MEM=256 GUEST_RAMDISK=$LAB/driver.cpio GUEST_CONFIG='driver_domain = 1' \
	guest_create driver pv "$(disk_spec xvda "$own")"
rm "$LAB/driver.cpio"
driver=$(xl domid driver)
NODES=/local/domain/$driver/backend/vbd
node=$NODES/$(xl domid g1)/51728
guest_run driver 'for m in /modules/*.ko; do insmod $m || exit 1; done
	truncate -s 64M /run/file.img'
driver_daemon_start
before=$(counters)

note 'a file of the driver domain'
driver_attach g1 xvdb /run/file.img
assert_match "$(xl block-list g1)" "51728 +$driver +[0-9]+ +4.*$node" \
	'xl block-list'
guest_run g1 "blkverify write /dev/xvdb --bytes=$(scale 4M 32M) \
	--seed=$RANDOM --min=512 --max=1M --depth=1..64" 100 | tee "$LAB/verify.out"
xl block-detach g1 xvdb
guest_no_disk g1 xvdb
driver_clean
assert_eq "$(guest_run driver 'blkverify sum /run/file.img')" \
	"$(grep '^digest' "$LAB/verify.out")" 'the file'

note 'a disk of the driver domain, and its daemon killed: the worker serves on'
driver_attach g1 xvdb /dev/xvda
guest_run g1 "blkverify write /dev/xvdb --bytes=2M --seed=$RANDOM" |
	tee "$LAB/verify.out"
digest=$(grep '^digest' "$LAB/verify.out")
assert_eq "$(blkverify sum "$own")" "$digest" "the driver domain's disk"
guest_run driver 'pidof xen-diskd-worker >/run/worker
	kill -KILL $(pidof xen-diskd)'
assert_eq "$(guest_run g1 'echo 3 >/proc/sys/vm/drop_caches
	blkverify sum /dev/xvdb')" "$digest" 'what the guest reads meanwhile'
driver_daemon_start
guest_run driver 'until xen-diskctl list | grep -q connected; do
	usleep 50000; done
	[ "$(pidof xen-diskd-worker)" = "$(cat /run/worker)" ]'
assert_eq "$(guest_run g1 'echo 3 >/proc/sys/vm/drop_caches
	blkverify sum /dev/xvdb')" "$digest" 'what the guest reads'
guest_run g1 "blkverify load /dev/xvdb 2 --max=256K"

note 'its worker killed'
guest_start g1 load 'blkverify load /dev/xvdb 10 --max=256K'
guest_run driver 'kill -KILL $(pidof xen-diskd-worker)'
guest_await g1 load 60 || fail 'the guest saw more than a pause'
assert_eq "$(xs "$node/error")" '' 'error'
xl block-detach g1 xvdb
guest_no_disk g1 xvdb
driver_clean

note 'beside xl devd, which runs the script there and finds the directory gone'
guest_run driver 'mkdir -p /run/xen /var/lib /var/lock /proc/xen
	mount -t xenfs xenfs /proc/xen
	setsid xl -vvv devd -F </dev/null >/run/devd.log 2>&1 &
	until grep -q "ao .*create" /run/devd.log; do usleep 50000; done'
for _ in 1 2; do
	driver_attach g1 xvdb /run/file.img
	xl block-detach g1 xvdb
	guest_no_disk g1 xvdb
	driver_clean
done
guest_run driver 'cat /run/devd.log
	kill $(pidof xl)' >"$LAB/devd.log"
grep "$node add succeed" "$LAB/devd.log"

note 'a target that is not there'
assert_fails timeout 30 xl block-attach g1 "$(driver_spec xvdb /run/no.img)"
note "$OUTPUT"
assert_match "$(xs "$node/error")" 'no.img.*No such file' 'the error node'
xl block-detach g1 xvdb
driver_clean

note 'a guest that has it from the start, destroyed while it writes'
guest_create driven pv "$(driver_spec xvdb /dev/xvda)"
guest_disk driven xvdb
guest_start driven load 'blkverify load /dev/xvdb 600 --max=256K'
guest_run driven 'until [ "$(awk "{ print \$7 }" /sys/block/xvdb/stat)" -gt 500 ]
	do usleep 50000; done' 30
guest_destroy driven
driver_clean
assert_eq "$(counters)" "$before" 'counts of the hypervisor'
guest_run driver 'cat /run/xen-diskd.log' >"$LAB/driver.log"
! grep -iE 'permission|denied' "$LAB/driver.log" ||
	fail 'the driver domain tried what it may not'
