/* SPDX-License-Identifier: BSD-2-Clause */
/* Token buckets, each kept as the time at which it is full. */
#include "blkback/throttle.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define BURST_NS (THROTTLE_BURST_MS * NS_PER_MS)

static uint64_t load(const uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static void bucket_set(struct throttle_bucket *bucket, uint64_t per_s)
{
	__atomic_store_n(&bucket->per_s, per_s, __ATOMIC_RELAXED);
	__atomic_store_n(&bucket->full_ns, 0, __ATOMIC_RELAXED);
}

void throttle_set(struct throttle *throttle, const struct block_limits *limits)
{
	bucket_set(&throttle->ops, limits->iops);
	bucket_set(&throttle->bytes, limits->bps);
}

bool throttle_active(const struct throttle *throttle)
{
	return load(&throttle->ops.per_s) || load(&throttle->bytes.per_s);
}

/*
 * The time from which the bucket is no longer in debt for this.  A request has
 * at most 1 MiB, and a limit is at least 1: the product fits.
 */
static uint64_t bucket_pay(struct throttle_bucket *bucket, uint64_t amount,
			   uint64_t now_ns)
{
	uint64_t full = load(&bucket->full_ns), per_s, next;

	do {
		per_s = load(&bucket->per_s);
		if (!per_s || !amount)
			return 0;
		next = full > now_ns ? full : now_ns;
		next += (amount * NS_PER_S + per_s - 1) / per_s;
	} while (!__atomic_compare_exchange_n(&bucket->full_ns, &full, next,
					      true, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return next > BURST_NS ? next - BURST_NS : 0;
}

void throttle_pay(struct throttle *throttle, struct throttle_payer *payer,
		  uint64_t bytes, uint64_t now_ns)
{
	uint64_t ops_ns = bucket_pay(&throttle->ops, 1, now_ns);
	uint64_t bytes_ns = bucket_pay(&throttle->bytes, bytes, now_ns);

	payer->paid_ns = ops_ns > bytes_ns ? ops_ns : bytes_ns;
}

bool throttle_may_take(struct throttle_payer *payer, bool has_requests,
		       uint64_t now_ns, uint64_t *ret_waited_ns)
{
	bool may = now_ns >= payer->paid_ns, waits = !may && has_requests;

	*ret_waited_ns = 0;
	if (waits && !payer->waits)
		payer->waits_since_ns = now_ns;
	else if (!waits && payer->waits)
		*ret_waited_ns = now_ns - payer->waits_since_ns;
	payer->waits = waits;
	return may;
}

uint64_t throttle_wait_ms(const struct throttle_payer *payer, uint64_t now_ns)
{
	if (payer->paid_ns <= now_ns + NS_PER_MS)
		return 1;
	return (payer->paid_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
}

void throttle_join(const struct throttle *throttle,
		   struct throttle_payer *payer)
{
	uint64_t ops = load(&throttle->ops.full_ns);
	uint64_t bytes = load(&throttle->bytes.full_ns);
	uint64_t full = ops > bytes ? ops : bytes;

	payer->paid_ns = full > BURST_NS ? full - BURST_NS : 0;
}
