/* SPDX-License-Identifier: BSD-2-Clause */
/* Chains of clusters, each cluster in one chain once. */
#include "git-fat/verify-private.h"

#define FAT_VALUE_MASK 0x0fffffffu
#define FAT_BAD_CLUSTER 0x0ffffff7u

/* An entry of the first FAT; the cluster is one that there is. */
static bool fat_entry(struct verify *v, uint32_t cluster, uint32_t *ret_value)
{
	uint64_t at = (uint64_t)cluster * 4;
	uint64_t piece = at / VERIFY_PIECE_BYTES * VERIFY_PIECE_BYTES;
	uint64_t left = v->volume.fat_bytes - piece;

	if (piece != v->window_at) {
		v->window_at = UINT64_MAX;
		if (!verify_read(v, "FAT", v->volume.fats[0] + piece, v->window,
				 left < VERIFY_PIECE_BYTES
					 ? (size_t)left
					 : VERIFY_PIECE_BYTES))
			return false;
		v->window_at = piece;
	}
	*ret_value = verify_le32(v->window + (at - piece)) & FAT_VALUE_MASK;
	return true;
}

void verify_chain_start(struct verify_chain *chain, struct verify *v,
			const char *path, uint32_t first, uint32_t limit)
{
	*chain = (struct verify_chain){
		.v = v,
		.path = path,
		.next = first,
		.limit = limit,
	};
}

static bool break_chain(struct verify_chain *chain)
{
	chain->broken = true;
	chain->next = 0;
	return false;
}

static bool check_cluster(struct verify_chain *chain, uint32_t cluster)
{
	struct verify *v = chain->v;

	if (cluster < VERIFY_FIRST_CLUSTER ||
	    cluster - VERIFY_FIRST_CLUSTER >= v->volume.nr_clusters)
		verify_found(v, chain->path,
			     "its chain leads to cluster %u, which there is "
			     "not",
			     cluster);
	else if (verify_is_seen(v, cluster))
		verify_found(v, chain->path,
			     "cluster %u of its chain is in a chain already",
			     cluster);
	else if (chain->nr_clusters == chain->limit)
		verify_found(v, chain->path,
			     "its chain is longer than the %u clusters that it "
			     "should have",
			     chain->limit);
	else
		return true;
	return break_chain(chain);
}

/* Takes the next cluster; there is one. */
static bool take(struct verify_chain *chain)
{
	uint32_t cluster = chain->next, value;
	struct verify *v = chain->v;

	if (!check_cluster(chain, cluster))
		return false;
	v->seen[cluster / 8] |= (uint8_t)(1u << cluster % 8);
	chain->nr_clusters++;
	if (!fat_entry(v, cluster, &value))
		return break_chain(chain);
	if (value == 0 || value == FAT_BAD_CLUSTER) {
		verify_found(v, chain->path,
			     "cluster %u of its chain is marked as %s", cluster,
			     value ? "bad" : "free");
		return break_chain(chain);
	}
	chain->next = value > FAT_BAD_CLUSTER ? 0 : value;
	return true;
}

uint32_t verify_chain_run(struct verify_chain *chain, uint32_t max,
			  uint32_t *ret_first)
{
	uint32_t first = chain->next, nr = 0;

	while (chain->next && chain->next == first + nr && nr < max &&
	       take(chain))
		nr++;
	*ret_first = first;
	return nr;
}
