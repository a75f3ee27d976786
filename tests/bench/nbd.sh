#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The NBD provider against fio's nbd engine, both as clients of one nbdkit
# memory server: random reads, runs in turn, medians.
#
#   tests/bench/nbd.sh NBD-BENCH RING-BENCH [SECONDS [RUNS [RAW]]]
#
# Prints one line a load:
#   bench nbd-4k-qd1 ours_iops=N fio_iops=N ratio=R cpu_ratio=R ring_iops=N
#       ring_ratio=R spread=P%
# where ratio is ours by fio's (larger is better) and cpu_ratio that of the
# client's CPU time for an I/O, the whole process's (smaller is better).
# ring_iops is what a guest's driver gets through the simulated ring, with
# daemon and worker as they are; ring_ratio is that by fio's.  spread is how far
# the slowest and fastest of our own runs are apart, of their median.
# What each run measured is put behind the file RAW, for summary.awk.
set -eu

bench=$1
ring=$2
seconds=${3:-3}
runs=${4:-5}
raw=${5:-/dev/null}

dir=$(mktemp -d)
server=
finish() {
	[ -z "$server" ] || kill "$server" 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

nbdkit -f -U "$dir/socket" memory 256M &
server=$!
tries=0
while [ ! -S "$dir/socket" ]; do
	tries=$((tries + 1))
	[ "$tries" -lt 100 ] || { echo "nbdkit does not start" >&2; exit 1; }
	sleep 0.1
done
uri="nbd+unix:///?socket=$dir/socket"

# Blocks that were never written cost the server less than others.
qemu-io -f raw -c 'write -P 90 0 128M' -c 'write -P 90 128M 128M' "$uri" \
	>/dev/null

# Each prints "IOPS CPU-microseconds-per-IO".
run_ours() { # BYTES DEPTH
	"$bench" cpu "$bench" read "$uri" "$1" "$2" "$seconds" \
		>"$dir/out" 2>"$dir/cpu"
	awk '{ split($1, n, "="); split($2, s, "=") }
	     FILENAME ~ /out$/ { ios = n[2]; time = s[2] }
	     FILENAME ~ /cpu$/ { cpu = n[2] }
	     END { print ios / time, cpu * 1000000 / ios }' \
		"$dir/out" "$dir/cpu"
}

run_ring() { # BYTES DEPTH
	"$ring" run "$uri" "$1" "$2" "$seconds" >"$dir/out" || {
		cat "$dir/out" >&2
		return 1
	}
	awk '/^iops=/ { split($1, n, "="); split($2, c, "=")
			print n[2], c[2] }' "$dir/out"
}

run_fio() { # BYTES DEPTH
	"$bench" cpu fio --name=nbd --ioengine=nbd --uri="$uri" \
		--rw=randread --bs="$1" --iodepth="$2" --time_based \
		--runtime="$seconds" --size=256M --norandommap \
		--output-format=terse --terse-version=3 \
		>"$dir/out" 2>"$dir/cpu"
	# Version 3: field 6 is KiB read, 8 IOPS.
	awk -F';' -v bytes="$1" '
	     FILENAME ~ /out$/ && NF > 20 { iops = $8; ios = $6 * 1024 / bytes }
	     FILENAME ~ /cpu$/ && /^cpu=/ { sub("cpu=", ""); cpu = $0 }
	     END { print iops, cpu * 1000000 / ios }' "$dir/out" "$dir/cpu"
}

median() { # FILE FIELD
	awk -v f="$2" '{ print $f }' "$1" | sort -n |
		awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'
}

spread() { # FILE
	sort -n "$1" | awk '{ a[NR] = $1 }
		END { print (a[NR] - a[1]) * 100 / a[int((NR + 1) / 2)] }'
}

note() { # BACKEND LOAD FILE
	tail -n 1 "$3" | awk -v "about=raw nbd $run $1 $2" '{
		printf "%s iops=%.0f cpu_us_per_io=%.3f\n", about, $1, $2
	}' >>"$raw"
}

load() { # NAME BYTES DEPTH
	: >"$dir/ours"
	: >"$dir/fio"
	: >"$dir/ring"
	run=0
	while [ "$run" -lt "$runs" ]; do
		run_ours "$2" "$3" >>"$dir/ours"
		run_fio "$2" "$3" >>"$dir/fio"
		run_ring "$2" "$3" >>"$dir/ring"
		run=$((run + 1))
		note nbd-provider "$1" "$dir/ours"
		note fio "$1" "$dir/fio"
		note xen-diskd "$1" "$dir/ring"
	done
	echo "$(median "$dir/ours" 1) $(median "$dir/fio" 1)" \
		"$(median "$dir/ours" 2) $(median "$dir/fio" 2)" \
		"$(median "$dir/ring" 1) $(spread "$dir/ours")" |
		awk -v name="$1" '{
			printf "bench %s ours_iops=%.0f fio_iops=%.0f ", \
				name, $1, $2
			printf "ratio=%.2f cpu_ratio=%.2f ", $1 / $2, $3 / $4
			printf "ring_iops=%.0f ring_ratio=%.2f spread=%.0f%%\n", \
				$5, $5 / $2, $6
		}'
}

echo "# commit $(git describe --always --dirty 2>/dev/null || echo unknown)," \
	"$(nproc) CPUs, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo |
		head -n 1)"
load nbd-4k-qd1 4096 1
load nbd-4k-qd32 4096 32
load nbd-128k-qd8 131072 8
