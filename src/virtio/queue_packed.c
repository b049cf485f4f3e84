// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packed virtqueues: virtio 1.2, 2.8. The driver area holds the driver's event suppression structure, the device area the device's.
 *
 * Order. A descriptor's flags are read before the rest of it (2.8.21.1) and written after it; of several chains that are given back at
 * once, the first one's flags are written last, so that the driver sees none or all.
 */
#include "virtio/queue.h"

#include <errno.h>
#include <stdatomic.h>

enum { EVENT_ENABLE = 0, EVENT_DISABLE = 1, EVENT_DESC = 2 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};
_Static_assert(sizeof(struct desc) == 16, "2.8.13");
enum { DESC_FLAGS = 14 };

struct event {
	uint16_t desc; /* bits 0-14: place in the ring, bit 15: wrap counter */
	uint16_t flags;
};

/* 1 when a chain begins at the next place, 0, or -EPROTO. */
static int waiting(struct virtq *q)
{
	uint16_t flags;

	if (virtq_get16(q, q->desc + 16u * q->next_avail + DESC_FLAGS, &flags))
		return -EPROTO;
	atomic_thread_fence(memory_order_acquire);
	return !!(flags & DESC_AVAIL) == q->avail_wrap && !!(flags & DESC_USED) != q->avail_wrap;
}

/* 2.8.8: a table; of its flags only WRITE means something. */
static int add_table(struct virtq *q, struct virtq_element *e, uint64_t table, uint32_t len)
{
	struct desc d;

	if (!len || len % sizeof(d) || len / sizeof(d) > VIRTQ_CHAIN_MAX)
		return -EPROTO;
	for (uint32_t at = 0; at < len; at += sizeof(d)) {
		int ret;

		if (ram_read(q->ram, table + at, &d, sizeof(d)) || (d.flags & DESC_INDIRECT))
			return -EPROTO;
		ret = virtq_element_add(e, d.addr, d.len, d.flags & DESC_WRITE);
		if (ret)
			return ret;
	}
	return 0;
}

static int add_chain(struct virtq *q, struct virtq_element *e)
{
	unsigned at = q->next_avail;

	for (e->entries = 0; e->entries < q->size;) {
		struct desc d;
		int ret;

		if (ram_read(q->ram, q->desc + at * sizeof(d), &d, sizeof(d)))
			return -EPROTO;
		e->id = d.id; /* that of the last descriptor counts */
		e->entries++;
		at = at + 1 == q->size ? 0 : at + 1;
		if (d.flags & DESC_INDIRECT) {
			if (!q->indirect || (d.flags & DESC_NEXT) || e->entries > 1)
				return -EPROTO;
			return add_table(q, e, d.addr, d.len);
		}
		ret = virtq_element_add(e, d.addr, d.len, d.flags & DESC_WRITE);
		if (ret)
			return ret;
		if (!(d.flags & DESC_NEXT))
			return 0;
	}
	return -EPROTO;
}

/* The place @n entries on, and its wrap counter. */
static uint16_t advance(const struct virtq *q, uint16_t at, unsigned n, bool *wrap)
{
	unsigned next = at + n;

	if (next < q->size)
		return (uint16_t)next;
	*wrap = !*wrap;
	return (uint16_t)(next - q->size);
}

int virtq_packed_pop(struct virtq *q, struct virtq_element *e)
{
	int ret = waiting(q);

	if (ret <= 0)
		return ret;
	ret = add_chain(q, e);
	if (ret)
		return ret;
	if (e->entries > q->size - q->in_flight)
		return -EPROTO;
	q->next_avail = advance(q, q->next_avail, e->entries, &q->avail_wrap);
	q->in_flight += e->entries;
	return 1;
}

static int put_used(struct virtq *q, uint16_t at, bool wrap, uint16_t id, uint32_t written)
{
	uint64_t gpa = q->desc + 16u * at;
	struct {
		uint32_t len;
		uint16_t id;
	} used = { written, id };
	uint16_t flags = (uint16_t)((wrap ? DESC_AVAIL | DESC_USED : 0) | (written ? DESC_WRITE : 0));

	if (ram_write(q->ram, gpa + 8, &used.len, 4) || virtq_put16(q, gpa + 12, used.id))
		return -EPROTO;
	return virtq_put16(q, gpa + DESC_FLAGS, flags);
}

int virtq_packed_push(struct virtq *q, const struct virtq_element *e, const uint32_t *written, unsigned n)
{
	unsigned entries = 0;

	for (unsigned i = 0; i < n; i++)
		entries += e[i].entries;
	for (unsigned i = n, from_end = 0; i-- > 0;) {
		bool wrap = q->used_wrap;
		uint16_t at;

		from_end += e[i].entries;
		at = advance(q, q->next_used, entries - from_end, &wrap);
		if (put_used(q, at, wrap, e[i].id, written[i]))
			return -EPROTO;
	}
	q->next_used = advance(q, q->next_used, entries, &q->used_wrap);
	return 0;
}

int virtq_packed_interrupt(struct virtq *q, uint16_t used)
{
	struct event ev;
	uint16_t at;

	if (virtq_get16(q, q->driver + 2, &ev.flags))
		return -EPROTO;
	if (ev.flags != EVENT_DESC || !q->event_idx)
		return ev.flags != EVENT_DISABLE;
	atomic_thread_fence(memory_order_acquire);
	if (virtq_get16(q, q->driver, &ev.desc))
		return -EPROTO;
	at = ev.desc & 0x7fff;
	/* Of the round before: as if that went on below 0. */
	if (!!(ev.desc >> 15) != q->used_wrap)
		at = (uint16_t)(at - q->size);
	return virtq_passed(at, q->next_used, used);
}

int virtq_packed_want_kicks(struct virtq *q, bool on)
{
	int ret = 0;

	if (on && q->event_idx)
		ret = virtq_put16(q, q->device, (uint16_t)(q->next_avail | q->avail_wrap << 15));
	if (!ret)
		ret = virtq_put16(q, q->device + 2, !on ? EVENT_DISABLE : q->event_idx ? EVENT_DESC : EVENT_ENABLE);
	if (ret || !on)
		return ret;
	return waiting(q);
}
