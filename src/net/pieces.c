// SPDX-License-Identifier: GPL-2.0-or-later
/* A bounded queue of copied frames. */
#include "net/pieces.h"

#include "net/net_private.h"

#include <stdlib.h>

void pieces_init(struct pieces *q, size_t max_frames, size_t max_bytes)
{
	*q = (struct pieces){ .max_frames = max_frames, .max_bytes = max_bytes };
	q->tail = &q->head;
}

bool pieces_put(struct pieces *q, const struct iovec *iov, unsigned iovs, const struct net_offload *o)
{
	size_t len = net_iov_len(iov, iovs);
	struct piece *f;

	if (q->frames >= q->max_frames || len > q->max_bytes - q->bytes)
		return false;
	f = malloc(sizeof(*f) + len);
	if (!f)
		return false;
	f->next = NULL;
	f->offload = *o;
	f->len = (uint32_t)len;
	net_iov_read(iov, iovs, 0, f->bytes, len);
	*q->tail = f;
	q->tail = &f->next;
	q->frames++;
	q->bytes += len;
	return true;
}

void pieces_drop_first(struct pieces *q)
{
	struct piece *f = q->head;

	q->head = f->next;
	if (!q->head)
		q->tail = &q->head;
	q->frames--;
	q->bytes -= f->len;
	free(f);
}

void pieces_clear(struct pieces *q)
{
	while (q->head)
		pieces_drop_first(q);
}
