# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# NBD disks that cannot be: each is told in xl's own output, with the server's
# own reason where it has one, within the 10 s that it has to answer, and
# block-detach leaves nothing.

# shellcheck source=/dev/null
. /lab/lib-nbd.sh
daemon_need
guest_need g1 pv
socket=$LAB/bad.sock
unix="nbd+unix:///?socket=$socket"
# For nobody waits but for a server that is silent.
# shellcheck disable=SC2034 # attach_refused reads it
ATTACH_MS=5000

# refused TARGET PATTERN: of the server that runs, which ends with it.
refused() {
	attach_refused "$@"
	server_stop
}

# nbdkit_with ARGUMENT...
nbdkit_with() {
	unix_server "$socket" nbdkit -f --unix "$socket" "$@"
}

# stranger PORT GREETING: a service of another kind.
stranger() {
	tcp_server "$1" gawk -v greeting="$2" "BEGIN {
		client = \"/inet/tcp/$1/0/0\"
		printf \"%s\", greeting |& client
		client |& getline
	}"
}

fds=$(daemon_fds)
note 'nobody is there'
refused "$unix" 'bad.sock.*No such file'
refused nbd://localhost/web 'localhost:10809.*[Cc]onnection refused'
if [ -n "$SOAK" ]; then
	refused 'nbd://[::1]:10999/web' '::1.*10999'
	refused nbd://no-such-host/web 'no-such-host'
	nbdkit_with memory 8M
	server_kill
	refused "$unix" 'bad.sock.*[Cc]onnection refused'
fi

note 'another service'
stranger 2525 '220 mail.example.org ESMTP\r\n'
refused nbd://127.0.0.1:2525/web '127.0.0.1:2525.*server'
stranger 2526 ''
ATTACH_MS=12000 refused nbd://127.0.0.1:2526/web '127.0.0.1:2526.*timed out'
[ "$MS" -ge 9000 ] || fail "a silent server was given $MS ms only"

note 'exports that are not as they should be'
truncate -s 8M "$IMAGES/web.img"
unix_server "$socket" qemu-nbd --persistent --shared=0 --format=raw \
	--socket="$socket" --export-name=web "$IMAGES/web.img"
refused "nbd+unix:///absent?socket=$socket" "absent"
nbdkit_with memory 500
refused "$unix" 'bad.sock.*500 bytes'
# No server's own idea, but qemu-nbd passes on what its image demands.
unix_server "$socket" qemu-nbd --persistent --shared=0 --socket="$socket" \
	--image-opts "driver=blkdebug,align=131072,image.driver=file,\
image.filename=$IMAGES/web.img"
refused "$unix" 'bad.sock.*min: 131072'

note 'TLS on one side only'
echo guest:0123456789abcdef0123456789abcdef >"$LAB/psk"
nbdkit_with --tls=require --tls-psk="$LAB/psk" memory 8M
refused "$unix" 'bad.sock.*TLS'
nbdkit_with --tls=off memory 8M
refused "nbds+unix:///?socket=$socket&tls-psk-file=$LAB/psk" 'bad.sock.*TLS'

note 'options'
nbdkit_with memory 8M
attach_refused "$unix&pony=1" 'pony'
server_stop
assert_eq "$(daemon_fds)" "$fds" 'open files of the daemon'

note 'and after all that a good one works, over TCP'
tcp_server 10809 qemu-nbd --persistent --shared=0 --format=raw \
	--bind=127.0.0.1 --export-name='a web/site' "$IMAGES/web.img"
attach g1 xvdb 'nbd://127.0.0.1/a%20web/site'
guest_run g1 'echo by-the-guest | dd of=/dev/xvdb bs=512 conv=sync 2>&1
	sync'
detach g1 xvdb
server_stop
assert_eq "$(head -n 1 "$IMAGES/web.img" | tr -d '\0')" by-the-guest 'the image'
