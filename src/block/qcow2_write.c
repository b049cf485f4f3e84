// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes, zeroes and discards.
 *
 * Invariants:
 *  - Data is written before the entry that refers to it is set, in memory; an entry is changed before what it referred to is
 *    freed (with the next commit). Either may be followed by a commit at any time.
 *  - What a cluster has outside of the bytes that are written is what the disk had there.
 */
#include "block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int qcow2_l2_for_write(struct qcow2 *q, uint64_t offset, struct table **out, unsigned *index)
{
	uint64_t l1_index = offset >> (q->bits + q->l2_bits), l1, host, got;
	struct table *old = NULL, *t;
	int ret;

	*index = (unsigned)(offset >> q->bits & ((1u << q->l2_bits) - 1));
	if (l1_index >= q->l1_size)
		return -EIO;
	l1 = q->l1[l1_index];
	if (l1 & QCOW2_L1_RESERVED)
		return -EIO;
	if (l1 & QCOW2_COPIED)
		return table_get(q, l1 & QCOW2_OFFSET, TABLE_L2, true, out);
	ret = refs_alloc(q, 1, &host, &got);
	if (ret)
		return ret;
	if (l1 & QCOW2_OFFSET)
		ret = table_get(q, l1 & QCOW2_OFFSET, TABLE_L2, true, &old);
	if (!ret)
		ret = table_new(q, host, TABLE_L2, &t);
	if (ret) {
		refs_undo(q, host, 1);
		return ret;
	}
	if (old)
		memcpy(t->data, old->data, q->cluster);
	qcow2_set_l1(q, (uint32_t)l1_index, host | QCOW2_COPIED);
	if (old)
		refs_free_later(q, (l1 & QCOW2_OFFSET) >> q->bits);
	*out = t;
	return 0;
}

static bool in_place(uint64_t entry)
{
	return entry & QCOW2_COPIED && entry & QCOW2_OFFSET && !(entry & (QCOW2_COMPRESSED | QCOW2_ZERO | QCOW2_L2_RESERVED));
}

static int write_slice(struct qcow2 *q, uint64_t host, const struct iovec *iov, unsigned iovs, size_t skip, uint64_t bytes)
{
	size_t done = 0;

	while (done < bytes) {
		struct iovec slice[64];
		size_t got;
		unsigned n = iov_slice(iov, iovs, skip + done, (size_t)bytes - done, slice, 64, &got);
		int ret = n ? file_writev(q->img->fd, host + done, slice, n, false) : -EINVAL;

		if (ret)
			return ret;
		done += got;
	}
	return 0;
}

static bool reads_as_zero(struct qcow2 *q, uint64_t offset, uint64_t bytes, int *ret)
{
	*ret = 0;
	while (bytes) {
		struct image *in;
		struct extent e;

		*ret = image_map(q->img, offset, bytes, true, &e, &in);
		if (*ret || e.kind != EXTENT_ZERO)
			return false;
		offset += e.bytes;
		bytes -= e.bytes;
	}
	return true;
}

/* Copies what the disk has at @offset to @host, where the file has zeroes already if @fresh. */
static int fill(struct qcow2 *q, uint64_t offset, uint64_t host, uint64_t bytes, bool fresh)
{
	void *memory;
	int ret;

	if (!bytes || (fresh && reads_as_zero(q, offset, bytes, &ret)))
		return 0;
	memory = malloc(bytes);
	if (!memory)
		return -ENOMEM;
	ret = image_read_buffer(q->img, offset, memory, bytes);
	if (!ret)
		ret = file_write(q->img->fd, host, memory, bytes);
	free(memory);
	return ret;
}

/* Fills [offset, offset + bytes) into clusters at @host, the first and the last of which may be written in part. */
static int write_new(struct qcow2 *q, uint64_t offset, uint64_t bytes, uint64_t host, uint64_t clusters, const struct iovec *iov,
		     unsigned iovs, size_t skip)
{
	uint64_t head = offset & (q->cluster - 1), end = head + bytes, tail = (clusters << q->bits) - end;
	bool fresh = host >= q->file_end && !q->img->device;
	int ret;

	if (q->file_end < host + (clusters << q->bits))
		q->file_end = host + (clusters << q->bits);
	ret = fill(q, offset - head, host, head, fresh);
	if (!ret)
		ret = write_slice(q, host + head, iov, iovs, skip, bytes);
	if (!ret)
		ret = fill(q, offset + bytes, host + end, tail, fresh);
	return ret;
}

/* As much of the write as one run of clusters takes; *done bytes. */
static int write_some(struct qcow2 *q, uint64_t offset, uint64_t bytes, const struct iovec *iov, unsigned iovs, size_t skip,
		      uint64_t *done)
{
	uint64_t head = offset & (q->cluster - 1), entry, host, got, want;
	unsigned index, entries = 1u << q->l2_bits, n = 1;
	struct table *t;
	int ret = qcow2_l2_for_write(q, offset, &t, &index);

	if (ret)
		return ret;
	entry = table_entry(t, index);
	want = (head + bytes + q->cluster - 1) >> q->bits;
	want = want < entries - index ? want : entries - index;
	if (in_place(entry)) {
		host = entry & QCOW2_OFFSET;
		while (n < want && in_place(table_entry(t, index + n)) &&
		       (table_entry(t, index + n) & QCOW2_OFFSET) == host + ((uint64_t)n << q->bits))
			n++;
		*done = ((uint64_t)n << q->bits) - head;
		*done = *done < bytes ? *done : bytes;
		if (!qcow2_good_cluster(q, host) || qcow2_is_metadata(q, host, (uint64_t)n << q->bits))
			return -EIO;
		return write_slice(q, host + head, iov, iovs, skip, *done);
	}
	while (n < want && !in_place(table_entry(t, index + n)))
		n++;
	ret = refs_alloc(q, n, &host, &got);
	if (ret)
		return ret;
	*done = (got << q->bits) - head;
	*done = *done < bytes ? *done : bytes;
	ret = write_new(q, offset, *done, host, got, iov, iovs, skip);
	/* The table may have left the cache meanwhile. */
	if (!ret)
		ret = qcow2_l2_for_write(q, offset, &t, &index);
	if (ret) {
		refs_undo(q, host, got);
		return ret;
	}
	for (uint64_t i = 0; i < got; i++) {
		entry = table_entry(t, index + (unsigned)i);
		table_set_entry(t, index + (unsigned)i, (host + (i << q->bits)) | QCOW2_COPIED);
		refs_free_entry(q, entry);
	}
	return 0;
}

int qcow2_write(struct image *img, uint64_t offset, const struct iovec *iov, unsigned iovs)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t bytes = iov_bytes(iov, iovs), at = 0;

	while (at < bytes) {
		uint64_t done;
		int ret = q->failed ? q->failed : write_some(q, offset + at, bytes - at, iov, iovs, (size_t)at, &done);

		if (ret)
			return ret;
		at += done;
	}
	return 0;
}

/* Zeroes into a part of a cluster. */
static int zero_part(struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	struct iovec iov = {NULL, bytes};
	int ret;

	if (!bytes || reads_as_zero(q, offset, bytes, &ret))
		return 0;
	if (ret)
		return ret;
	iov.iov_base = calloc(1, bytes);
	ret = iov.iov_base ? qcow2_write(q->img, offset, &iov, 1) : -ENOMEM;
	free(iov.iov_base);
	return ret;
}

enum drop { DROP_ZERO_KEEP, DROP_ZERO, DROP_DISCARD };

/* What a whole cluster's entry becomes; the same: nothing to do. */
static uint64_t dropped(const struct qcow2 *q, uint64_t entry, enum drop how)
{
	bool allocated = entry & (QCOW2_COMPRESSED | QCOW2_OFFSET);

	if (!allocated && (entry & QCOW2_ZERO || !q->img->backing || how == DROP_DISCARD))
		return entry;
	if (how == DROP_ZERO_KEEP && entry & QCOW2_OFFSET && entry & QCOW2_COPIED && !(entry & QCOW2_COMPRESSED))
		return entry | QCOW2_ZERO;
	return q->img->backing || how != DROP_DISCARD ? QCOW2_ZERO : 0;
}

/* Whole clusters, from @offset on, up to the end of the L2 table; *done bytes. */
static int drop_some(struct qcow2 *q, uint64_t offset, uint64_t bytes, enum drop how, uint64_t *done)
{
	uint64_t l1 = q->l1[offset >> (q->bits + q->l2_bits)];
	unsigned index = (unsigned)(offset >> q->bits & ((1u << q->l2_bits) - 1)), n = (1u << q->l2_bits) - index;
	struct table *t;
	int ret;

	if (bytes >> q->bits < n)
		n = (unsigned)(bytes >> q->bits);
	*done = (uint64_t)n << q->bits;
	if (!(l1 & QCOW2_OFFSET) && (how == DROP_DISCARD || !q->img->backing))
		return 0;
	for (unsigned i = 0; i < n; i++) {
		uint64_t old, new;

		/* Again for each: what is freed may make room in the cache for other tables. */
		ret = qcow2_l2_for_write(q, offset, &t, &index);
		if (ret)
			return ret;
		old = table_entry(t, index + i);
		new = dropped(q, old, how);
		if (new == old)
			continue;
		table_set_entry(t, index + i, new);
		if (!(new & QCOW2_OFFSET))
			refs_free_entry(q, old);
	}
	return 0;
}

static int drop_clusters(struct qcow2 *q, uint64_t offset, uint64_t end, enum drop how)
{
	while (offset < end) {
		uint64_t done;
		int ret = q->failed ? q->failed : drop_some(q, offset, end - offset, how, &done);

		if (ret)
			return ret;
		offset += done;
	}
	return 0;
}

int qcow2_zero(struct image *img, uint64_t offset, uint64_t bytes, bool unmap)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t end = offset + bytes, first = qcow2_round(q, offset), last = end & ~(q->cluster - 1);
	int ret;

	/* The last cluster of the disk may be there in part only. */
	if (end == img->bytes)
		last = qcow2_round(q, end);
	if (first >= last)
		return zero_part(q, offset, bytes);
	ret = zero_part(q, offset, first - offset);
	if (!ret)
		ret = drop_clusters(q, first, last, unmap ? DROP_ZERO : DROP_ZERO_KEEP);
	if (!ret && last < end)
		ret = zero_part(q, last, end - last);
	return ret;
}

int qcow2_discard(struct image *img, uint64_t offset, uint64_t bytes)
{
	struct qcow2 *q = qcow2_of(img);
	uint64_t end = offset + bytes, first = qcow2_round(q, offset), last = end & ~(q->cluster - 1);

	if (end == img->bytes)
		last = qcow2_round(q, end);
	return first < last ? drop_clusters(q, first, last, DROP_DISCARD) : 0;
}
