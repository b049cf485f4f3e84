// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What split and packed virtqueues have in common: elements and how their memory is reached, starting, state.
 *
 * Invariants: in an element, out_len and in_len are the sums of its segments, each at most 2^32 (2.7.4.2: "chain MUST NOT be
 * more than 2^32 bytes"), and no segment is empty. Nothing is popped while `size` or more are in flight.
 */
#include "virtio/queue.h"

#include "virtio/ids.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct state_field virtq_fields[] = {
	STATE_UINT(struct virtq, size),
	STATE_UINT(struct virtq, ready),
	STATE_UINT(struct virtq, desc),
	STATE_UINT(struct virtq, driver),
	STATE_UINT(struct virtq, device),
	STATE_UINT(struct virtq, vector),
	STATE_UINT(struct virtq, next_avail),
	STATE_UINT(struct virtq, next_used),
	STATE_UINT(struct virtq, avail_wrap),
	STATE_UINT(struct virtq, used_wrap),
	STATE_UINT(struct virtq, unsignalled),
	STATE_UINT(struct virtq, kicks),
	STATE_END,
};

void virtq_reset(struct virtq *q)
{
	*q = (struct virtq){
		.size = q->size_max,
		.vector = 0xffff,
		.avail_wrap = true,
		.used_wrap = true,
		.kicks = true,
		.size_max = q->size_max,
		.ram = q->ram,
	};
}

static void virtq_negotiate(struct virtq *q, uint64_t features)
{
	q->packed = features & VIRTIO_F_RING_PACKED;
	q->indirect = features & VIRTIO_F_INDIRECT_DESC;
	q->event_idx = features & VIRTIO_F_EVENT_IDX;
}

/* 2.7 and 2.8.10: sizes and alignments. */
static bool virtq_possible(const struct virtq *q)
{
	if (!q->size || q->size > q->size_max || (!q->packed && (q->size & (q->size - 1))))
		return false;
	return !(q->desc & 15) && !(q->driver & (q->packed ? 3 : 1)) && !(q->device & 3);
}

int virtq_start(struct virtq *q, uint64_t features)
{
	virtq_negotiate(q, features);
	if (!virtq_possible(q))
		return -EINVAL;
	q->ready = true;
	return 0;
}

int virtq_loaded(struct virtq *q, uint64_t features)
{
	virtq_negotiate(q, features);
	q->in_flight = 0;
	if (q->size > q->size_max)
		return -EPROTO;
	if (q->ready && (!virtq_possible(q) ||
			 (q->packed && (q->next_avail >= q->size || q->next_used >= q->size))))
		return -EPROTO;
	return 0;
}

/* --- numbers in guest memory --- */

int virtq_get16(struct virtq *q, uint64_t gpa, uint16_t *v)
{
	return ram_read(q->ram, gpa, v, 2) ? -EPROTO : 0;
}

int virtq_put16(struct virtq *q, uint64_t gpa, uint16_t v)
{
	return ram_write(q->ram, gpa, &v, 2) ? -EPROTO : 0;
}

/* --- rings --- */

int virtq_pop(struct virtq *q, struct virtq_element *e)
{
	e->outs = e->ins = 0;
	e->out_len = e->in_len = 0;
	if (!q->ready)
		return 0;
	return q->packed ? virtq_packed_pop(q, e) : virtq_split_pop(q, e);
}

void virtq_unpop(struct virtq *q, const struct virtq_element *e)
{
	if (!q->packed) {
		q->next_avail--;
		q->in_flight--;
		return;
	}
	q->in_flight -= e->entries;
	if (q->next_avail < e->entries) {
		q->next_avail += q->size;
		q->avail_wrap = !q->avail_wrap;
	}
	q->next_avail -= e->entries;
}

int virtq_push(struct virtq *q, const struct virtq_element *e, const uint32_t *written, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned entries = q->packed ? e[i].entries : 1;

		q->in_flight -= entries;
		q->unsignalled = q->unsignalled + entries > 0xffff ? 0xffff : (uint16_t)(q->unsignalled + entries);
	}
	return q->packed ? virtq_packed_push(q, e, written, n) : virtq_split_push(q, e, written, n);
}

int virtq_interrupt(struct virtq *q)
{
	uint16_t used = q->unsignalled;

	if (!used)
		return 0;
	q->unsignalled = 0;
	return q->packed ? virtq_packed_interrupt(q, used) : virtq_split_interrupt(q, used);
}

int virtq_want_kicks(struct virtq *q, bool on)
{
	if (!q->ready)
		return 0;
	q->kicks = on;
	return q->packed ? virtq_packed_want_kicks(q, on) : virtq_split_want_kicks(q, on);
}

/* --- elements --- */

int virtq_element_add(struct virtq_element *e, uint64_t gpa, uint32_t len, bool in)
{
	uint64_t *sum = in ? &e->in_len : &e->out_len;

	if (!in && e->ins)
		return -EPROTO;
	if (!len)
		return 0;
	if (*sum + len > 1ull << 32 || e->outs + e->ins == VIRTQ_CHAIN_MAX)
		return -EPROTO;
	if (e->outs + e->ins == e->seg_max) {
		unsigned max = e->seg_max ? e->seg_max * 2 : 16;
		struct virtq_segment *seg = realloc(e->seg, max * sizeof(*seg));

		if (!seg)
			return -ENOMEM;
		e->seg = seg;
		e->seg_max = max;
	}
	e->seg[e->outs + e->ins] = (struct virtq_segment){ gpa, len };
	*sum += len;
	if (in)
		e->ins++;
	else
		e->outs++;
	return 0;
}

void virtq_element_free(struct virtq_element *e)
{
	free(e->seg);
	*e = (struct virtq_element){ 0 };
}

void virtq_iov_free(struct virtq_iov *v)
{
	free(v->iov);
	*v = (struct virtq_iov){ 0 };
}

/* A walk through a range of an element's out or in part. */
struct part {
	const struct virtq_segment *seg, *end;
	uint64_t offset, left;
	uint64_t gpa; /* of this step */
	size_t len;
};

static int part_begin(struct part *p, const struct virtq_element *e, bool in, uint64_t offset, uint64_t len)
{
	uint64_t sum = in ? e->in_len : e->out_len;

	if (offset > sum || len > sum - offset)
		return -ENODATA;
	p->seg = e->seg + (in ? e->outs : 0);
	p->end = p->seg + (in ? e->ins : e->outs);
	p->offset = offset;
	p->left = len;
	return 0;
}

static bool part_next(struct part *p)
{
	while (p->left && p->seg < p->end && p->offset >= p->seg->len) {
		p->offset -= p->seg->len;
		p->seg++;
	}
	if (!p->left || p->seg == p->end)
		return false;
	p->gpa = p->seg->gpa + p->offset;
	p->len = p->seg->len - p->offset < p->left ? p->seg->len - p->offset : p->left;
	p->left -= p->len;
	p->offset += p->len;
	return true;
}

int virtq_read(struct virtq *q, const struct virtq_element *e, uint64_t offset, void *buf, uint64_t len)
{
	struct part p;
	uint8_t *to = buf;
	int ret = part_begin(&p, e, false, offset, len);

	if (ret)
		return ret;
	for (; part_next(&p); to += p.len)
		if (ram_read(q->ram, p.gpa, to, p.len))
			return -EPROTO;
	return 0;
}

int virtq_write(struct virtq *q, const struct virtq_element *e, uint64_t offset, const void *buf, uint64_t len)
{
	struct part p;
	const uint8_t *from = buf;
	int ret = part_begin(&p, e, true, offset, len);

	if (ret)
		return ret;
	for (; part_next(&p); from += p.len)
		if (ram_write(q->ram, p.gpa, from, p.len))
			return -EPROTO;
	return 0;
}

static int iov_grow(struct virtq_iov *v)
{
	unsigned max = v->max ? v->max * 2 : 32;
	struct iovec *iov;

	if (max > VIRTQ_IOV_MAX)
		return -E2BIG;
	iov = realloc(v->iov, max * sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	v->iov = iov;
	v->max = max;
	return 0;
}

static int map_part(struct virtq *q, bool in, uint64_t gpa, size_t len, struct virtq_iov *v)
{
	for (;;) {
		struct iovec *iov = v->iov + v->count;
		unsigned room = v->max - v->count;
		int n = -E2BIG;

		if (room)
			n = in ? ram_write_begin(q->ram, gpa, len, iov, room) :
				 ram_read_iov(q->ram, gpa, len, iov, room);
		if (n == -E2BIG)
			n = iov_grow(v);
		else if (n >= 0)
			v->count += (unsigned)n;
		if (n)
			return n > 0 ? 0 : n == -E2BIG || n == -ENOMEM ? n : -EPROTO;
	}
}

int virtq_map(struct virtq *q, const struct virtq_element *e, bool in, uint64_t offset, uint64_t len, struct virtq_iov *v)
{
	struct part p;
	int ret = part_begin(&p, e, in, offset, len);

	while (!ret && part_next(&p))
		ret = map_part(q, in, p.gpa, p.len, v);
	return ret;
}

void virtq_unmap_in(struct virtq *q, const struct virtq_element *e, uint64_t offset, uint64_t len)
{
	struct part p;

	if (part_begin(&p, e, true, offset, len))
		return;
	while (part_next(&p))
		ram_write_end(q->ram, p.gpa, p.len);
}
