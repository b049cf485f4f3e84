// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A bounded queue of copied frames. `head` is the oldest; `frames` and `bytes` count what is in it, and never go above
 * their limits.
 */
#ifndef SUBRING_NET_PIECES_H
#define SUBRING_NET_PIECES_H

#include "net/net.h"

struct piece {
	struct piece *next;
	uint32_t len;
	struct net_offload offload;
	uint8_t bytes[];
};

struct pieces {
	struct piece *head, **tail;
	size_t frames, bytes, max_frames, max_bytes;
};

void pieces_init(struct pieces *q, size_t max_frames, size_t max_bytes);
void pieces_clear(struct pieces *q);
/* False: there is no room. */
bool pieces_put(struct pieces *q, const struct iovec *iov, unsigned iovs, const struct net_offload *o);
static inline struct piece *pieces_first(const struct pieces *q)
{
	return q->head;
}
void pieces_drop_first(struct pieces *q);

#endif
