# SPDX-License-Identifier: BSD-2-Clause
#
# Medians and ratios of bench.sh, from the lines that dom0.sh prints.
#
#	awk -v header=TEXT -v json=FILE -f summary.awk RAW
#
# A ratio is that of the medians; behind it are the smallest and the largest
# ratio of a round, whose runs followed each other at once.

function value(field) {
	sub(/^[^=]*=/, "", field)
	return field + 0
}

# Of what `of` holds under key and the round; leaves the extremes in low, high.
function median(of, key,    n, i, j, x, sorted) {
	n = 0
	for (i = 1; i <= rounds; i++) {
		if (!((key, i) in of))
			continue
		x = of[key, i]
		for (j = n++; j > 0 && sorted[j] > x; j--)
			sorted[j + 1] = sorted[j]
		sorted[j + 1] = x
	}
	low = sorted[1]
	high = sorted[n]
	if (n % 2)
		return sorted[(n + 1) / 2]
	return (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}

function remember(list, known, name) {
	if (name in known)
		return
	known[name] = 1
	list[++known["", "n"]] = name
}

$1 == "raw" {
	key = $2 SUBSEP $4 SUBSEP $5
	rounds = $3 > rounds ? $3 : rounds
	remember(cases, case_known, $2)
	remember(backends, backend_known, $4)
	remember(loads, load_known, $5)
	iops[key, $3] = value($6)
	mbps[key, $3] = value($7)
	p50us[key, $3] = value($8)
	p99us[key, $3] = value($9)
	errors[key] += value($10)
}

function result(c, b, l,    key, m, line, object) {
	key = c SUBSEP b SUBSEP l
	if (!((key) in errors))
		return
	m = median(iops, key)
	line = sprintf("iops=%.0f", m)
	object = sprintf("\"iops\": %.0f, \"iops_min\": %.0f, " \
		"\"iops_max\": %.0f", m, low, high)
	spread = sprintf("iops-range=%.0f..%.0f", low, high)
	m = median(mbps, key)
	line = line sprintf(" mbps=%.1f", m)
	object = object sprintf(", \"mbps\": %.1f", m)
	m = median(p50us, key)
	line = line sprintf(" p50us=%.0f", m)
	object = object sprintf(", \"p50us\": %.0f", m)
	m = median(p99us, key)
	line = line sprintf(" p99us=%.0f errors=%d", m, errors[key])
	object = object sprintf(", \"p99us\": %.0f, \"errors\": %d", m,
		errors[key])
	print "bench-xen", c, b, l, line, spread
	results = results sprintf("%s\n    {\"case\": \"%s\", " \
		"\"backend\": \"%s\", \"load\": \"%s\", %s}",
		results ? "," : "", c, b, l, object)
}

function ratio(c, b, l,    ours, theirs, i, r) {
	ours = c SUBSEP "xen-diskd" SUBSEP l
	theirs = c SUBSEP b SUBSEP l
	if (!(ours in errors) || !(theirs in errors) || b == "xen-diskd")
		return ""
	for (i = 1; i <= rounds; i++)
		if (iops[theirs, i] && (ours, i) in iops)
			by_round[theirs, i] = iops[ours, i] / iops[theirs, i]
	r = median(iops, theirs)
	r = r ? median(iops, ours) / r : 0
	median(by_round, theirs)
	ratios = ratios sprintf("%s\n    {\"case\": \"%s\", " \
		"\"peer\": \"%s\", \"load\": \"%s\", \"ratio\": %.3f, " \
		"\"min\": %.3f, \"max\": %.3f}",
		ratios ? "," : "", c, b, l, r, low, high)
	return sprintf(" xen-diskd/%s=%.2f (%.2f..%.2f)", b, r, low, high)
}

function text(s) {
	gsub(/["\\]/, "\\\\&", s)
	return "\"" s "\""
}

END {
	for (c = 1; c in cases; c++)
		for (b = 1; b in backends; b++)
			for (l = 1; l in loads; l++)
				result(cases[c], backends[b], loads[l])
	for (c = 1; c in cases; c++)
		for (l = 1; l in loads; l++) {
			line = ""
			for (b = 1; b in backends; b++)
				line = line ratio(cases[c], backends[b],
					loads[l])
			if (line)
				print "ratio", cases[c], loads[l] line
		}
	if (json)
		printf "{\n  \"about\": %s,\n  \"rounds\": %d,\n" \
			"  \"results\": [%s\n  ],\n  \"ratios\": [%s\n  ]\n}\n",
			text(header), rounds, results, ratios >json
}
