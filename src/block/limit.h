// SPDX-License-Identifier: GPL-2.0-or-later
/* Private to block/: rate limits as token buckets, on CLOCK_MONOTONIC. */
#ifndef SUBRING_BLOCK_LIMIT_H
#define SUBRING_BLOCK_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

/*
 * A bucket fills with @rate tokens a second, up to a tenth of a second's worth. Who takes more than is there is let through while
 * it is not in debt: so a request larger than the bucket passes too, and the next ones wait for it.
 */
struct bucket {
	uint64_t rate; /* 0: no limit */
	uint64_t capacity_ns; /* how far the bucket may be ahead */
	uint64_t free_ns; /* when it is out of debt; what is before now is credit */
};

struct limiter {
	struct bucket ops, bytes;
};

void limiter_init(struct limiter *l, uint64_t ops, uint64_t bytes, uint64_t now_ns);
/* 0: the request was let through and paid for. Else when to ask again, in ns. */
uint64_t limiter_take(struct limiter *l, uint64_t bytes, uint64_t now_ns);

#endif
