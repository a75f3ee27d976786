# SPDX-License-Identifier: BSD-2-Clause
#
# Medians and ratios of a bench, from the lines that its runs print:
#	raw CASE ROUND BACKEND LOAD METRIC=VALUE...
#
#	awk -v prefix=WORD -v ratio=WORD -v ours=BACKENDS -v compared=METRICS
#		-v header=TEXT -v json=FILE -v bounds=FILE -f summary.awk RAW
#
# Prints
#	PREFIX CASE BACKEND LOAD METRIC=MEDIAN... COMPARED-range=MIN..MAX...
#	RATIO CASE LOAD [METRIC] OURS/PEER=R (MIN..MAX) ...
#	PREFIX-bound CASE BACKEND LOAD METRIC=MEDIAN bound=OP VALUE holds=yes|no
# A ratio is that of the medians; behind it are the smallest and the largest
# ratio of a round, whose runs followed each other at once.  The metric is named
# where several are compared.  Errors are added up.
#
# bounds has lines "CASE LOAD METRIC PEER OP VALUE", OP <= or >=.  PEER - is for
# what the backends that are ours do themselves; the others are put behind their
# ratios, as "bound=OP VALUE holds=yes|no".

function metric_name(field) {
	sub(/=.*/, "", field)
	return field
}

function metric_value(field) {
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

function shown(x) {
	return sprintf(x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : "%.3f", x)
}

function text(s) {
	gsub(/["\\]/, "\\\\&", s)
	return "\"" s "\""
}

function place(c, b, l) {
	return sprintf("\"case\": %s, \"backend\": %s, \"load\": %s", text(c),
		text(b), text(l))
}

BEGIN {
	split(ours, list)
	for (i in list)
		is_ours[list[i]] = 1
	nr_compared = split(compared, compare)
	for (i = 1; i <= nr_compared; i++)
		is_compared[compare[i]] = 1
	while (bounds && (getline <bounds) > 0)
		if (NF == 6 && $1 !~ /^#/) {
			bound_op[$1, $2, $3, $4] = $5
			bound_value[$1, $2, $3, $4] = $6
		}
}

$1 == "raw" {
	key = $2 SUBSEP $4 SUBSEP $5
	rounds = $3 > rounds ? $3 : rounds
	remember(cases, case_known, $2)
	remember(backends, backend_known, $4)
	remember(loads, load_known, $5)
	for (f = 6; f <= NF; f++) {
		m = metric_name($f)
		remember(metrics, metric_known, m)
		there[key, m] = 1
		value[key, m, $3] = metric_value($f)
		sum[key, m] += metric_value($f)
	}
}

# " bound=OP VALUE holds=yes|no", if x has a bound.
function verdict(c, l, m, peer, x,    op, limit) {
	if (!((c, l, m, peer) in bound_op))
		return ""
	op = bound_op[c, l, m, peer]
	limit = bound_value[c, l, m, peer]
	holds = (op == "<=" ? x <= limit : x >= limit) ? "yes" : "no"
	bound_json = sprintf(", \"bound\": %s, \"holds\": %s",
		text(op limit), holds == "yes" ? "true" : "false")
	return " bound=" op limit " holds=" holds
}

function result(c, b, l,    key, i, m, x, line, ranges, object, said) {
	key = c SUBSEP b SUBSEP l
	for (i = 1; i in metrics; i++) {
		m = metrics[i]
		if (!((key, m) in there))
			continue
		if (m == "errors") {
			line = line sprintf(" errors=%d", sum[key, m])
			object = object sprintf(", \"errors\": %d", sum[key, m])
			continue
		}
		x = median(value, key SUBSEP m)
		line = line " " m "=" shown(x)
		if (m in is_compared)
			ranges = ranges " " m "-range=" shown(low) ".." \
				shown(high)
		object = object sprintf(", \"%s\": %.7g, \"%s_min\": %.7g, " \
			"\"%s_max\": %.7g", m, x, m, low, m, high)
		said = b in is_ours ? verdict(c, l, m, "-", x) : ""
		if (said)
			bound_lines = bound_lines prefix "-bound " c " " b " " \
				l " " m "=" shown(x) said "\n"
	}
	if (!line)
		return
	print prefix, c, b, l line ranges
	results = results sprintf("%s\n    {%s%s}", results ? "," : "",
		place(c, b, l), object)
}

function compare_two(c, l, m, our, peer,    mine, theirs, i, r, by_round) {
	mine = c SUBSEP our SUBSEP l SUBSEP m
	theirs = c SUBSEP peer SUBSEP l SUBSEP m
	if (!(mine in there) || !(theirs in there))
		return ""
	for (i = 1; i <= rounds; i++)
		if (value[theirs, i] && (mine, i) in value)
			by_round[theirs, i] = value[mine, i] / value[theirs, i]
	r = median(value, theirs)
	r = r ? median(value, mine) / r : 0
	median(by_round, theirs)
	bound_json = ""
	i = verdict(c, l, m, peer, r)
	ratios = ratios sprintf("%s\n    {%s, \"peer\": %s, \"metric\": %s, " \
		"\"ratio\": %.3f, \"min\": %.3f, \"max\": %.3f%s}",
		ratios ? "," : "", place(c, our, l), text(peer), text(m), r,
		low, high, bound_json)
	return sprintf(" %s/%s=%.2f (%.2f..%.2f)%s", our, peer, r, low, high, i)
}

function ratio_line(c, l, m,    o, p, line) {
	for (o = 1; o in backends; o++)
		for (p = 1; p in backends; p++)
			if (backends[o] in is_ours && !(backends[p] in is_ours))
				line = line compare_two(c, l, m, backends[o],
					backends[p])
	if (line)
		print ratio, c, l (nr_compared > 1 ? " " m : "") line
}

END {
	for (c = 1; c in cases; c++)
		for (b = 1; b in backends; b++)
			for (l = 1; l in loads; l++)
				result(cases[c], backends[b], loads[l])
	for (c = 1; c in cases; c++)
		for (l = 1; l in loads; l++)
			for (i = 1; i <= nr_compared; i++)
				ratio_line(cases[c], loads[l], compare[i])
	printf "%s", bound_lines
	if (json)
		printf "{\n  \"about\": %s,\n  \"rounds\": %d,\n" \
			"  \"results\": [%s\n  ],\n  \"ratios\": [%s\n  ]\n}\n",
			text(header), rounds, results, ratios >json
}
