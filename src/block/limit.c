// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rate limits. A bucket is kept as the time at which its debt is paid (the "virtual scheduling" form of the leaky bucket,
 * ITU-T I.371 Annex A), so that nothing has to be filled and no rounding adds up.
 *
 * Invariant: free_ns is never more than capacity_ns before the time of the last look.
 */
#include "block/limit.h"

static const uint64_t second = 1000000000;

static void bucket_init(struct bucket *b, uint64_t rate, uint64_t now_ns)
{
	*b = (struct bucket){.rate = rate, .capacity_ns = second / 10, .free_ns = now_ns};
}

void limiter_init(struct limiter *l, uint64_t ops, uint64_t bytes, uint64_t now_ns)
{
	bucket_init(&l->ops, ops, now_ns);
	bucket_init(&l->bytes, bytes, now_ns);
}

static uint64_t wait_until(const struct bucket *b, uint64_t now_ns)
{
	return b->rate && b->free_ns > now_ns ? b->free_ns : 0;
}

static void pay(struct bucket *b, uint64_t tokens, uint64_t now_ns)
{
	if (!b->rate)
		return;
	if (now_ns > b->capacity_ns && b->free_ns < now_ns - b->capacity_ns)
		b->free_ns = now_ns - b->capacity_ns;
	b->free_ns += (uint64_t)((unsigned __int128)tokens * second / b->rate);
}

uint64_t limiter_take(struct limiter *l, uint64_t bytes, uint64_t now_ns)
{
	uint64_t a = wait_until(&l->ops, now_ns), b = wait_until(&l->bytes, now_ns);

	if (a || b)
		return a > b ? a : b;
	pay(&l->ops, 1, now_ns);
	pay(&l->bytes, bytes, now_ns);
	return 0;
}
