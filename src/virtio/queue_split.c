// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Split virtqueues: virtio 1.2, 2.7.
 *
 * Order. The available index is read before the entries that it covers (2.7.13.2), used entries are written before the used
 * index (2.7.14), and the used index before the driver's event suppression is read, as the wish for notifications is before the available
 * index (2.7.10). ram_write ends with a full barrier; reads are kept in order by acquire fences.
 */
#include "virtio/queue.h"

#include <errno.h>
#include <stdatomic.h>

enum { AVAIL_FLAGS = 0, AVAIL_IDX = 2, AVAIL_RING = 4, USED_FLAGS = 0, USED_IDX = 2, USED_RING = 4 };
enum { NO_INTERRUPT = 1, NO_NOTIFY = 1 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
_Static_assert(sizeof(struct desc) == 16, "2.7.5");

/* How many chains wait: at most the ring's size, or -EPROTO. */
static int waiting(struct virtq *q)
{
	uint16_t idx, n;

	if (virtq_get16(q, q->driver + AVAIL_IDX, &idx))
		return -EPROTO;
	atomic_thread_fence(memory_order_acquire);
	n = (uint16_t)(idx - q->next_avail);
	return n > q->size ? -EPROTO : n;
}

/* Adds the chain that begins with descriptor @at of the @count at @table. */
static int add_chain(struct virtq *q, struct virtq_element *e, uint64_t table, unsigned count, unsigned at, bool nested)
{
	for (unsigned steps = 0; steps < count; steps++) {
		struct desc d;
		int ret;

		if (at >= count || ram_read(q->ram, table + at * sizeof(d), &d, sizeof(d)))
			return -EPROTO;
		if (d.flags & DESC_INDIRECT) {
			/* 2.7.5.3.1: negotiated, not in a table, nothing after it, whole descriptors */
			if (!q->indirect || nested || (d.flags & DESC_NEXT) || !d.len || d.len % sizeof(d) ||
			    d.len / sizeof(d) > VIRTQ_CHAIN_MAX)
				return -EPROTO;
			return add_chain(q, e, d.addr, d.len / sizeof(d), 0, true);
		}
		ret = virtq_element_add(e, d.addr, d.len, d.flags & DESC_WRITE);
		if (ret)
			return ret;
		if (!(d.flags & DESC_NEXT))
			return 0;
		at = d.next;
	}
	return -EPROTO; /* it has more descriptors than there are: a loop */
}

int virtq_split_pop(struct virtq *q, struct virtq_element *e)
{
	int n = waiting(q), ret;

	if (n <= 0)
		return n;
	if (q->in_flight >= q->size ||
	    virtq_get16(q, q->driver + AVAIL_RING + 2u * (q->next_avail & (q->size - 1u)), &e->id))
		return -EPROTO;
	ret = add_chain(q, e, q->desc, q->size, e->id, false);
	if (ret)
		return ret;
	e->entries = 1;
	q->next_avail++;
	q->in_flight++;
	return 1;
}

int virtq_split_push(struct virtq *q, const struct virtq_element *e, const uint32_t *written, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = q->device + USED_RING + 8u * ((uint16_t)(q->next_used + i) & (q->size - 1u));
		uint32_t used[2] = { e[i].id, written[i] };

		if (ram_write(q->ram, at, used, sizeof(used)))
			return -EPROTO;
	}
	q->next_used = (uint16_t)(q->next_used + n);
	return virtq_put16(q, q->device + USED_IDX, q->next_used);
}

int virtq_split_interrupt(struct virtq *q, uint16_t used)
{
	uint16_t v;

	if (virtq_get16(q, q->driver + (q->event_idx ? AVAIL_RING + 2u * q->size : AVAIL_FLAGS), &v))
		return -EPROTO;
	return q->event_idx ? virtq_passed(v, q->next_used, used) : !(v & NO_INTERRUPT);
}

int virtq_split_want_kicks(struct virtq *q, bool on)
{
	int ret = 0, n;

	if (!q->event_idx)
		ret = virtq_put16(q, q->device + USED_FLAGS, on ? 0 : NO_NOTIFY);
	else if (on) /* without it the event index lies in the past */
		ret = virtq_put16(q, q->device + USED_RING + 8u * q->size, q->next_avail);
	if (ret || !on)
		return ret;
	n = waiting(q);
	return n > 0 ? 1 : n;
}
