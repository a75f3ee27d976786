# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash
# timeout: 150
#
# Without the daemon: our command says so within 2 s, xl within its own limit.

guest_need g1 pv
img=$(image none.img 8M)
daemon_stop

start=$(date +%s%N)
assert_fails xen-diskctl list
end=$(date +%s%N)
note "$OUTPUT"
[ $(((end - start) / 1000000)) -le 2000 ] || fail 'xen-diskctl took too long'
assert_match "$OUTPUT" 'xen-diskd' 'the message of xen-diskctl'

assert_fails timeout 60 xl block-attach g1 "$(disk_spec xvdb "$img")"
note "$OUTPUT"
xl block-detach g1 xvdb --force || true

note 'started, it lets go of what was left; then it serves'
daemon_start
xl block-detach g1 xvdb || true
host_clean
attach g1 xvdb "$img"
detach g1 xvdb
