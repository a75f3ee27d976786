#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Draws what `make bench` and `make bench-xen` have measured.
#
#	charts.sh FROM TO
#
# For each of FROM/engine.json and FROM/xen.json that is there, TO/bench-NAME.svg:
# a panel for each case and metric, in it for each load and backend the median
# and, as a bar, the smallest and the largest of the rounds.  Commit, machine and
# number of rounds are in the heading.

set -euo pipefail
[ $# = 2 ] || {
	sed -n 's/^#\t\(charts.sh .*\)/usage: \1/p' "$0" >&2
	exit 2
}
from=$1 to=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The words that a filter finds, one a line, in their order.
words() {
	jq -r "reduce ($2) as \$w ([]; if any(. == \$w) then . else . + [\$w] end)
		| .[]" "$1"
}

# JSON CASE METRIC BACKEND: "PLACE MEDIAN MIN MAX", places being the loads'.
points() {
	local place=0 load
	for load in $(words "$1" ".results[] | select(.case == \"$2\") | .load"); do
		jq -r --arg c "$2" --arg m "$3" --arg b "$4" --arg l "$load" \
			--arg place "$place" '.results[] |
			select(.case == $c and .backend == $b and .load == $l) |
			select(.[$m]) |
			"\($place) \(.[$m]) \(.[$m + "_min"]) \(.[$m + "_max"])"' \
			"$1"
		place=$((place + 1))
	done
}

# The names of a case's loads, where they belong.
tics() {
	local place=0 load sep=''
	for load in $(words "$1" ".results[] | select(.case == \"$2\") | .load"); do
		printf '%s"%s" %s' "$sep" "$load" "$place"
		sep=', ' place=$((place + 1))
	done
}

# One panel's commands.
panel() {
	local json=$1 case=$2 metric=$3 title=$4 backend n=0 plots=() file
	local nr_loads
	nr_loads=$(words "$json" \
		".results[] | select(.case == \"$case\") | .load" | wc -l)
	for backend in $(words "$json" \
		".results[] | select(.case == \"$case\") | .backend"); do
		file=$work/$case.$metric.$backend
		points "$json" "$case" "$metric" "$backend" >"$file"
		[ -s "$file" ] || continue
		plots+=("'$file' using (\$1 + $n * 0.12):2:3:4 \
			with yerrorbars pt 7 ps 0.7 lw 1.5 title '$backend'")
		n=$((n + 1))
	done
	[ "$n" -gt 0 ] || {
		echo "set multiplot next"
		return
	}
	echo "set title '$case: $title' noenhanced"
	echo "set xtics ($(tics "$json" "$case")) rotate by -20 noenhanced"
	local IFS=,
	echo "plot [-0.5:$nr_loads - 0.3] ${plots[*]}"
}

# JSON SVG METRIC TITLE [METRIC TITLE]...
chart() {
	local json=$1 svg=$2 cases case i
	local metrics=("${@:3}")
	mapfile -t cases < <(words "$json" '.results[].case')
	{
		echo "set terminal svg size $((${#metrics[@]} * 360)),$((
			${#cases[@]} * 320 + 60)) font 'sans-serif,11' \
			background rgb 'white'"
		echo "set output '$work/chart.svg'"
		echo "set multiplot layout ${#cases[@]},$((
			${#metrics[@]} / 2)) title \"$(jq -r '.about +
			"\n\(.rounds) rounds: medians, smallest and largest" |
			gsub("[\"`\\\\]"; "")' "$json" |
			sed ':a;N;s/\n/\\n/;ta')\" noenhanced"
		echo 'set logscale y; set grid ytics; set key outside right top'
		echo 'set key noenhanced; set format y "%g"'
		for case in "${cases[@]}"; do
			for ((i = 0; i < ${#metrics[@]}; i += 2)); do
				panel "$json" "$case" "${metrics[i]}" \
					"${metrics[i + 1]}"
			done
		done
		echo 'unset multiplot'
	} >"$work/commands"
	gnuplot "$work/commands"
	# An SVG needs no license line, but a file of ours has one.
	sed '0,/?>/s//?>\n<!-- SPDX-License-Identifier: BSD-2-Clause -->/' \
		"$work/chart.svg" >"$svg"
	echo "$svg"
}

drawn=0
if [ -e "$from/engine.json" ]; then
	chart "$from/engine.json" "$to/bench-engine.svg" \
		iops 'I/O per second' \
		cpu_us_per_io 'CPU time of the server for an I/O, microseconds'
	drawn=1
fi
if [ -e "$from/xen.json" ]; then
	chart "$from/xen.json" "$to/bench-xen.svg" \
		iops 'I/O per second in the guest (emulated machine)' \
		p99us '99th percentile, microseconds'
	drawn=1
fi
[ "$drawn" = 1 ] || {
	echo "charts.sh: nothing has been measured: make bench, make bench-xen" >&2
	exit 1
}
